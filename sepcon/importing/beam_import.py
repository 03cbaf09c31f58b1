"""The shards of an import, written by the workers of an Apache Beam pipeline.

They are those that the processes of one machine would write, to the byte: what is mapped over is
the same function. The clips of each shard are listed in a file of its own beside the records, so
that no worker has to read a list of two million.
"""

from __future__ import annotations

import functools
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

from sepcon.importing.clip_source import ClipReader, ClipReference, ClipSource, shards_of
from sepcon.importing.import_folder import Plan, unfinished_shards, write_shard
from sepcon.runs.beam import run_pieces
from sepcon.runs.whole_file import scratch_folder, told_if_unwritable, whole_file

_LISTS = "lists"


def write_shards(
    root: Path, plan: Plan, source: ClipSource, *, pipeline_options: Sequence[str] = ()
) -> None:
    """Writes all shards that are missing.

    Args:
      root: the folder of the import, made ready by `import_folder.begin`, on a disk that all
        workers see under the same path; so must be what the source reads.
      plan: of the import.
      source: what is imported.
      pipeline_options: see `run_pieces`.

    Raises:
      SepconError: see `run_pieces`; or a shard cannot be written.
    """
    root = root.resolve()
    missing = unfinished_shards(root, plan)
    shards = shards_of(source.references, plan.clips_per_shard)
    with told_if_unwritable(root):
        scratch_folder(root / _LISTS)
    for number in missing:
        with whole_file(_list_path(root, number), durable=False) as scratch:
            scratch.write_bytes(pickle.dumps(list(shards[number])))
    work = functools.partial(_write_listed_shard, str(root), source.read)
    run_pieces(work, missing, shared_dir=root, pipeline_options=pipeline_options)
    shutil.rmtree(root / _LISTS, ignore_errors=True)


def _list_path(root: Path, number: int) -> Path:
    return root / _LISTS / f"{number:05d}.pickle"


def _write_listed_shard(root: str, read: ClipReader, number: int) -> None:
    """What a worker does for a shard."""
    references: list[ClipReference] = pickle.loads(_list_path(Path(root), number).read_bytes())
    write_shard(Path(root), number, read, references)
