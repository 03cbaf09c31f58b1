"""An import on disk: shards of records, the manifest, the classes, and the plan it was made by.

Every file that can be seen is whole. A shard has two files, its records and its part of the
manifest; the part is written last and shows that the shard is finished. At the end the parts are
joined to the manifest.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sepcon.data.example_bytes import write_record
from sepcon.data.stored.envelope_file import RecordLayout, remove_envelope, write_envelope
from sepcon.errors import SepconError, refuse_pipe
from sepcon.importing.clip_source import ClipReader, ClipReference, ClipSource, Content, fingerprint
from sepcon.importing.import_shard import convert_shard
from sepcon.importing.manifest import (
    COLUMNS,
    Counts,
    ManifestRow,
    count,
    open_table,
    read_rows,
    write_rows,
)
from sepcon.importing.score_files import scores_path, write_scores
from sepcon.importing.tagger_note import TAGGERS_FILE, TaggerNote, read_notes, write_notes
from sepcon.runs import run_folder
from sepcon.runs.csv_text import write_csv_rows
from sepcon.runs.json_file import read_json, told_if_damaged
from sepcon.runs.seals import check_seals, write_seals
from sepcon.runs.whole_file import (
    remove_leftovers,
    scratch_folder,
    told_if_unwritable,
    whole_file,
)

MANIFEST = "manifest.csv"
CLASSES = "classes.csv"
PLAN = "plan.json"
# What the records of a shard hold.
CLIP_LAYOUT = RecordLayout("audio", labels="labels")
_PARTS = "parts"
_FORMAT = 1
_CHANGED_CURE = (
    "bring it back, or import again; `exclude` leaves clips out without a change of files"
)
_CHANGED = f"was changed since the import, by which its records are counted; {_CHANGED_CURE}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides the bytes of an import.

    Attributes:
      name: of the source.
      clips: all clips of the source.
      clips_per_shard: of the source; as many as are left out are missing from the records.
      list_digest: of the list of clips.
      format: version of this layout.
      content: what the records hold; before there was anything else, audio.
      settings: of the reader, as text.
    """

    name: str
    clips: int
    clips_per_shard: int
    list_digest: str
    format: int = _FORMAT
    content: Content = "audio"
    settings: str = ""

    @property
    def num_shards(self) -> int:
        """Shards of the whole list."""
        return -(-self.clips // self.clips_per_shard)


def shard_path(root: Path, number: int) -> Path:
    """Returns the TFRecord file of shard `number`, counted from 0, of the import in `root`."""
    return root / f"clips-{number:05d}.tfrecord"


def _part_path(root: Path, number: int) -> Path:
    return root / _PARTS / f"{number:05d}.csv"


def begin(root: Path, source: ClipSource, *, clips_per_shard: int) -> Plan:
    """Prepares the folder of an import, or checks that the same import can go on there.

    Args:
      root: the folder.
      source: the clips.
      clips_per_shard: clips of the source in each shard of records.

    Returns:
      What is to be imported, as it is written into the folder.

    Raises:
      SepconError: it holds the import of another list of clips, or cannot be written.
    """
    plan = _plan(source, clips_per_shard)
    if (root / PLAN).exists():
        _check_same(root, plan, "an unfinished")
    with told_if_unwritable(root):
        scratch_folder(root / _PARTS)
    for folder in (root, root / _PARTS):
        remove_leftovers(folder)
    with whole_file(root / CLASSES) as scratch, open_table(scratch, "w") as file:
        rows = enumerate(source.class_names)
        write_csv_rows(file, [("index", "display_name"), *rows])
    write_notes(root, source.taggers)
    run_folder.write_text(root / PLAN, json.dumps(_fields(plan), indent=1) + "\n")
    return plan


def check_finished(root: Path, source: ClipSource) -> None:
    """Raises a SepconError where a finished import is of another list of clips, or other labels."""
    _check_same(root, _plan(source, read_plan(root).clips_per_shard), "a finished")


def _plan(source: ClipSource, clips_per_shard: int) -> Plan:
    return Plan(
        source.name,
        len(source.references),
        clips_per_shard,
        fingerprint(source),
        content=source.content,
        settings=source.settings,
    )


def _check_same(root: Path, plan: Plan, state: str) -> None:
    found = read_plan(root)
    for field in dataclasses.fields(Plan):
        old, new = getattr(found, field.name), getattr(plan, field.name)
        if old != new:
            raise SepconError(
                f"{root}: holds {state} import with {field.name} {old or 'none'}, now it is "
                f"{new or 'none'}; bring the source and settings back, or choose another --run_dir"
            )


def _fields(plan: Plan) -> dict[str, Any]:
    """What is written of a plan; of sound without taggers no more than before there were images."""
    fields = dataclasses.asdict(plan)
    return {
        name: value
        for name, value in fields.items()
        if name not in ("content", "settings") or plan.content != "audio" or plan.settings
    }


def read_plan(root: Path) -> Plan:
    """Reads the plan of an import.

    Raises:
      SepconError: there is none, or of another layout.
    """
    path = root / PLAN
    if not path.is_file():
        raise SepconError(f"{path}: no such file; import clips with `sepcon import`")
    content = read_json(path, cure="import again")
    with told_if_damaged(path, cure="import again"):
        plan = Plan(**content)
        if not all(type(getattr(plan, name)) is int for name in ("clips", "clips_per_shard")):
            raise TypeError("clips and clips_per_shard must be whole numbers")
        if plan.clips_per_shard < 1:
            raise ValueError(f"clips_per_shard is {plan.clips_per_shard}")
    if plan.format != _FORMAT:
        raise SepconError(f"{path}: has format {plan.format}, expected {_FORMAT}; import again")
    return plan


def unfinished_shards(root: Path, plan: Plan) -> list[int]:
    """Numbers of the shards that are still to be written."""
    if (root / MANIFEST).exists():
        return []
    return [n for n in range(plan.num_shards) if not _part_path(root, n).exists()]


def count_finished(root: Path, plan: Plan) -> Counts:
    """Counts the clips of all finished shards."""
    if (root / MANIFEST).exists():
        return count(read_rows(root / MANIFEST))
    counts = Counts()
    for number in range(plan.num_shards):
        if _part_path(root, number).exists():
            counts.update(count(read_rows(_part_path(root, number), header=False)))
    return counts


def write_shard(
    root: Path, number: int, read: ClipReader, references: Sequence[ClipReference]
) -> Counts:
    """Converts a shard and writes its records and its part of the manifest.

    Args:
      root: the folder of the import.
      number: of the shard.
      read: the reader of the source.
      references: its clips.

    Returns:
      What became of its clips.

    Raises:
      SepconError: it cannot be written.
    """
    rows, scores, path = [], [], shard_path(root, number)
    remove_envelope(path)
    with whole_file(path) as scratch, open(scratch, "wb") as records:
        for row, record, of_taggers in convert_shard(read, references):
            rows.append(row)
            if record is not None:
                write_record(records, record)
                scores.append(of_taggers)
    if taggers := read_notes(root):
        write_scores(scores_path(root, number), taggers, scores)
    if read_plan(root).content == "audio":  # Images are read whole.
        write_envelope(path, CLIP_LAYOUT, cure="start the same command again")
    with whole_file(_part_path(root, number)) as scratch, open_table(scratch, "w") as part:
        write_rows(part, rows)
    return count(rows)


def finish(root: Path, plan: Plan) -> Counts:
    """Joins the parts of the manifest, once all shards are written.

    Args:
      root: the folder of the import.
      plan: of the import.

    Returns:
      The counts of the whole manifest.
    """
    parts = [_part_path(root, number) for number in range(plan.num_shards)]
    if not (root / MANIFEST).exists():
        with whole_file(root / MANIFEST) as scratch, open_table(scratch, "w") as file:
            write_csv_rows(file, [COLUMNS])
            for part in parts:
                with open_table(part, "r") as rows:
                    shutil.copyfileobj(rows, file)
    shutil.rmtree(root / _PARTS, ignore_errors=True)
    # A worker may outlive its killed parent by a moment, and begin a file in it.
    remove_leftovers(root)
    check_seals(root, cure=_CHANGED_CURE)
    names = [MANIFEST, CLASSES, PLAN]
    names += [shard_path(root, number).name for number in range(plan.num_shards)]
    if read_notes(root):
        names += [TAGGERS_FILE]
        names += [scores_path(root, number).name for number in range(plan.num_shards)]
    write_seals(root, names)
    return count(read_rows(root / MANIFEST))


@dataclasses.dataclass(frozen=True)
class FinishedImport:
    """An import that can be read.

    Attributes:
      root: its folder.
      name: of the source.
      class_names: of the classes.
      identity: a digest of the manifest, which is compared when it is opened.
      num_imported: records in all shards.
      records: paths of the shards, in order.
      content: what they hold.
      settings: of the reader that read it.
      taggers: what the scores of the clips are of.
    """

    root: Path
    name: str
    class_names: tuple[str, ...]
    identity: str
    num_imported: int
    records: tuple[Path, ...]
    content: Content = "audio"
    settings: str = ""
    taggers: tuple[TaggerNote, ...] = ()

    def rows(self) -> Iterator[ManifestRow]:
        """Yields what the manifest says of the imported clips, in the order of the records."""
        return (row for row in read_rows(self.root / MANIFEST) if not row.reason)


def open_import(root: Path) -> FinishedImport:
    """Opens a finished import.

    Raises:
      SepconError: there is none, it is not finished, or its files were changed since.
    """
    plan = read_plan(root)
    if not run_folder.is_finished(root):
        raise SepconError(
            f"{root}: is an unfinished import; start the same `sepcon import` again, it continues"
        )
    record = run_folder.read_record(root)
    with told_if_damaged(root / run_folder.RECORD_FILE, cure="import again"):
        identity, num_imported = str(record["manifest"]), int(record["imported"])
    if _digest(root / MANIFEST) != identity:
        raise SepconError(f"{root / MANIFEST}: {_CHANGED}")
    check_seals(root, cure=_CHANGED_CURE)
    return FinishedImport(
        root=root,
        name=plan.name,
        class_names=_read_classes(root / CLASSES),
        identity=identity,
        num_imported=num_imported,
        records=tuple(shard_path(root, number) for number in range(plan.num_shards)),
        content=plan.content,
        settings=plan.settings,
        taggers=read_notes(root),
    )


def _read_classes(path: Path) -> tuple[str, ...]:
    """The names of the classes, whose numbers in the table must be their places in it."""
    with told_if_damaged(path, cure="import again"), open_table(path, "r") as file:
        rows = list(csv.DictReader(file))
        if [row["index"] for row in rows] != [str(number) for number in range(len(rows))]:
            raise ValueError("its lines are not numbered from 0 on")
        names = tuple(row["display_name"] for row in rows)
        if None in names:
            raise ValueError("a line has no name")
        return names


def run_record(root: Path, counts: Counts) -> dict[str, Any]:
    """What a finished import says of itself in run.json."""
    taggers = [str(note) for note in read_notes(root)]
    hours = {"hours": round(counts.seconds / 3600, 3)} if counts.seconds else {}
    return {
        "clips": counts.clips,
        "imported": counts.kept,
        **hours,
        "left_out": dict(counts.left_out()),
        "manifest": _digest(root / MANIFEST),
        **({"taggers": taggers} if taggers else {}),
    }


def _digest(path: Path) -> str:
    with told_if_damaged(path, cure="import again"):
        refuse_pipe(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:8]
