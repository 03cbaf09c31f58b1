"""Embeddings on disk: shards that appear whole, so that a killed job goes on where it was.

A store is a folder with index.json and `embeddings-00000-of-00012.npz`, ..., each of them an
uncompressed numpy archive with the arrays `ids` (unicode), `embedding` (float32 [rows, dim]) and
`labels` (uint8 [clips, classes]) of up to `shard_size` clips in the order of their dataset. A clip
has one row, or one for each of its patches; then an array `patches` (int32 [clips]) counts them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.embeddings.archive import read_archive
from sepcon.errors import SepconError, one_line
from sepcon.runs.json_file import DAMAGE, read_json, told_if_damaged
from sepcon.runs.run_folder import write_text
from sepcon.runs.seals import changed_files, check_seals, write_seals
from sepcon.runs.whole_file import remove_leftovers, told_if_unwritable, write_arrays

INDEX_FILE = "index.json"
_FORMAT = 1
_SEALS_CURE = "remove the folder, and run the command that wrote it again"


@dataclass(frozen=True)
class Embeddings:
    """Clip embeddings in memory.

    Attributes:
      ids: [clips] unicode.
      embedding: [rows, dim] float32: a row for each clip, or for each patch of each clip in turn.
      labels: [clips, classes] uint8, multi-hot; no columns when unlabelled.
      class_names: the columns of `labels`.
      patches: [clips] int32, how many rows each clip has, at least one; None for one each.
    """

    ids: np.ndarray
    embedding: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    patches: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        return self.embedding.shape[1]

    @property
    def shard_rows(self) -> tuple[int, ...]:
        """The rows of the only shard: clips in memory are an `EmbeddingSource` too."""
        return (len(self.embedding),)

    def shard(self, shard: int) -> Embeddings:
        """Returns all clips, as shard 0.

        Raises:
          IndexError: another shard is asked for.
        """
        if shard != 0:
            raise IndexError(f"clips in memory have one shard, asked for number {shard}")
        return self

    @property
    def row_labels(self) -> np.ndarray:
        """Labels of each row, [rows, classes] uint8."""
        return self.labels if self.patches is None else self.labels.repeat(self.patches, axis=0)

    def mean_over_patches(self, values: np.ndarray) -> np.ndarray:
        """Averages over the rows of each clip.

        Args:
          values: [rows, n] float.

        Returns:
          [clips, n] float.
        """
        if self.patches is None:
            return values
        starts = np.cumsum(self.patches) - self.patches
        sums = np.add.reduceat(values, starts, axis=0)
        return sums / self.patches[:, np.newaxis].astype(values.dtype)

    def select(self, positions: np.ndarray) -> Embeddings:
        """Returns the clips at these positions [selected], in that order."""
        ids, labels = self.ids[positions], self.labels[positions]
        if self.patches is None:
            return Embeddings(ids, self.embedding[positions], labels, self.class_names)
        rows = np.split(np.arange(len(self.embedding)), np.cumsum(self.patches)[:-1])
        chosen = [rows[position] for position in positions]
        embedding = self.embedding[np.concatenate(chosen)] if chosen else self.embedding[:0]
        return Embeddings(ids, embedding, labels, self.class_names, self.patches[positions])


def concatenate(parts: Sequence[Embeddings]) -> Embeddings:
    """Puts the clips of several parts of one store together.

    Args:
      parts: at least one; all with the same classes, and all with or all without `patches`.

    Returns:
      All clips, in the order of the parts.
    """
    patches = [part.patches for part in parts if part.patches is not None]
    return Embeddings(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.embedding for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].class_names,
        np.concatenate(patches) if patches else None,
    )


@dataclass(frozen=True)
class StoreLayout:
    """What a store holds, known before the first embedding is computed.

    Attributes:
      dataset: name of the embedded dataset.
      model: fingerprint of the model that embeds.
      class_names: names of the label columns.
      num_clips: clips in the dataset.
      shard_size: clips in every shard but the last.
      patches: whether every patch of a clip has a row, or the clip one.
      digest: of the clips, see `ClipDataset`; empty where it is not known.
    """

    dataset: str
    model: str
    class_names: tuple[str, ...]
    num_clips: int
    shard_size: int
    patches: bool = False
    digest: str = ""

    @property
    def num_shards(self) -> int:
        return -(-self.num_clips // self.shard_size)

    def clips_in(self, shard: int) -> int:
        """Returns how many clips a shard holds."""
        return min(self.shard_size, self.num_clips - shard * self.shard_size)

    def file_name(self, shard: int) -> str:
        """Returns the file name of a shard."""
        return f"embeddings-{shard:05d}-of-{self.num_shards:05d}.npz"


class EmbeddingStore:
    """Reads a finished store.

    Args:
      folder: the store.

    Raises:
      SepconError: there is no store, or it is not finished.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        index = _read_index(self.folder)
        if index is None:
            raise SepconError(f"{folder} holds no embeddings: it has no {INDEX_FILE}.")
        if not index["complete"]:
            raise SepconError(
                f"the embeddings in {folder} are not finished: "
                "run the command that was writing them again, it goes on where it was."
            )
        check_seals(self.folder, cure=_SEALS_CURE)
        self.layout: StoreLayout = index["layout"]
        self.dim: int = index["dim"]
        self.class_names = self.layout.class_names
        self.shard_rows: tuple[int, ...] = tuple(index["shard_rows"])

    def __len__(self) -> int:
        return self.layout.num_clips

    def shards(self) -> Iterator[Embeddings]:
        """Yields the shards in order, one in memory at a time.

        Raises:
          SepconError: a shard is missing or damaged.
        """
        for shard in range(self.layout.num_shards):
            yield self.shard(shard)

    def shard(self, shard: int) -> Embeddings:
        """Returns one shard.

        Raises:
          SepconError: it is missing or damaged.
        """
        path = self.folder / self.layout.file_name(shard)
        try:
            return _read_shard(path, self.layout, shard)
        except DAMAGE as error:
            raise SepconError(
                f"{path} is missing or damaged ({one_line(error)}): "
                "run the command that wrote it again, it recomputes this file."
            ) from error

    def load(self) -> Embeddings:
        """Returns all clips.

        Raises:
          SepconError: a shard is missing or damaged.
        """
        return concatenate(list(self.shards()))


class EmbeddingWriter:
    """Writes a store shard by shard, in any order and in as many sessions as it takes.

    Args:
      folder: the store; made if it is not there.
      layout: what it is to hold.

    Raises:
      SepconError: the folder holds embeddings of something else, or cannot be written.
    """

    def __init__(self, folder: str | Path, layout: StoreLayout) -> None:
        if layout.num_clips < 1 or layout.shard_size < 1:
            raise ValueError(f"layout must have clips and a positive shard size, got {layout}.")
        self.folder = Path(folder)
        self.layout = layout
        with told_if_unwritable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        index = _read_index(self.folder)
        if index is None:
            self._write_index(dim=None, shard_rows=None)
        elif (line := _difference(self.folder, index["layout"], layout)) is not None:
            raise SepconError(line)

    def missing_shards(self) -> list[int]:
        """Returns the shards that are absent, damaged, or not what was written before."""
        missing, changed = [], changed_files(self.folder, cure=_SEALS_CURE)
        for shard in range(self.layout.num_shards):
            name = self.layout.file_name(shard)
            try:
                _read_shard(self.folder / name, self.layout, shard)
            except DAMAGE:
                missing.append(shard)
            else:
                missing += [shard] if name in changed else []
        return missing

    def write_shard(
        self,
        shard: int,
        *,
        ids: np.ndarray,
        embedding: np.ndarray,
        labels: np.ndarray,
        patches: np.ndarray | None = None,
    ) -> None:
        """Writes one shard, whole or not at all.

        Args:
          shard: its number.
          ids: [clips] unicode.
          embedding: [rows, dim] float32.
          labels: [clips, classes] uint8.
          patches: [clips] int32, rows of each clip, where the layout has patches.

        Raises:
          WriteError: it cannot be written.
        """
        arrays = {
            "ids": np.asarray(ids, np.str_),
            "embedding": np.ascontiguousarray(embedding, np.float32),
            "labels": np.ascontiguousarray(labels, np.uint8),
        }
        if patches is not None:
            arrays["patches"] = np.asarray(patches, np.int32)
        _check_shard(arrays, self.layout, shard)
        path = self.folder / self.layout.file_name(shard)
        write_arrays(path, arrays)

    def finish(self) -> EmbeddingStore:
        """Marks the store as finished and opens it.

        Raises:
          SepconError: a shard is missing or damaged, or they differ in dimension.
        """
        dims, shard_rows = set(), []
        for shard in range(self.layout.num_shards):
            path = self.folder / self.layout.file_name(shard)
            try:
                rows, dim = _read_shard(path, self.layout, shard).embedding.shape
            except DAMAGE as error:
                raise SepconError(f"{path} is missing or damaged: {one_line(error)}") from error
            dims.add(dim)
            shard_rows.append(rows)
        if len(dims) != 1:
            raise SepconError(f"the shards in {self.folder} differ in dimension: {sorted(dims)}.")
        self._write_index(dim=dims.pop(), shard_rows=shard_rows)
        shards = [self.layout.file_name(shard) for shard in range(self.layout.num_shards)]
        write_seals(self.folder, [INDEX_FILE, *shards])
        return EmbeddingStore(self.folder)

    def _write_index(self, dim: int | None, shard_rows: list[int] | None) -> None:
        layout = self.layout
        content = {
            "format": _FORMAT,
            "complete": dim is not None,
            "dataset": layout.dataset,
            "model": layout.model,
            "class_names": layout.class_names,
            "num_clips": layout.num_clips,
            "shard_size": layout.shard_size,
            "shard_sizes": [layout.clips_in(shard) for shard in range(layout.num_shards)],
            "patches": layout.patches,
            **({"clips_digest": layout.digest} if layout.digest else {}),
            "shard_rows": shard_rows,
            "dim": dim,
        }
        write_text(self.folder / INDEX_FILE, json.dumps(content, indent=1))


def _read_index(folder: Path) -> dict[str, Any] | None:
    path = folder / INDEX_FILE
    if not path.is_file():
        return None
    cure = "remove it, then `sepcon embed` goes on with the shards that are there"
    content = read_json(path, cure=cure)
    with told_if_damaged(path, cure=cure):
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}, expected {_FORMAT}")
        layout = StoreLayout(
            dataset=content["dataset"],
            model=content["model"],
            class_names=tuple(content["class_names"]),
            num_clips=int(content["num_clips"]),
            shard_size=int(content["shard_size"]),
            patches=content.get("patches", False),
            digest=str(content.get("clips_digest", "")),
        )
        # Stores written before patches were known have a row for each clip.
        rows = content.get("shard_rows", content["shard_sizes"])
        if content["complete"] and len(rows) != layout.num_shards:
            raise ValueError(f"{len(rows)} sizes of {layout.num_shards} shards")
        return {
            "layout": layout,
            "complete": content["complete"],
            "dim": content["dim"],
            "shard_rows": rows,
        }


def _read_shard(path: Path, layout: StoreLayout, shard: int) -> Embeddings:
    # Reading every byte checks every checksum: a shard cut or overwritten anywhere is noticed.
    arrays = read_archive(path)
    _check_shard(arrays, layout, shard)
    return Embeddings(
        arrays["ids"],
        arrays["embedding"],
        arrays["labels"],
        layout.class_names,
        arrays["patches"] if layout.patches else None,
    )


def _check_shard(arrays: Mapping[str, np.ndarray], layout: StoreLayout, shard: int) -> None:
    """Raises a ValueError if the arrays are not those of this shard."""
    clips, classes = layout.clips_in(shard), len(layout.class_names)
    ids, embedding, labels = arrays["ids"], arrays["embedding"], arrays["labels"]
    rows = clips
    if layout.patches:
        patches = arrays["patches"]
        if patches.shape != (clips,) or (patches < 1).any():
            raise ValueError(f"shard {shard} must count the patches of {clips} clips, one or more")
        rows = int(patches.sum())
    if ids.shape != (clips,) or embedding.shape[:1] != (rows,) or labels.shape != (clips, classes):
        raise ValueError(
            f"shapes {ids.shape}, {embedding.shape}, {labels.shape} "
            f"for {clips} clips of {classes} classes with {rows} rows"
        )


def _difference(folder: Path, found: StoreLayout, wanted: StoreLayout) -> str | None:
    """What is told of a store that holds something else; None for what is the same."""
    names = ["dataset", "model", "num_clips", "shard_size", "patches", "class_names"]
    # Stores of versions before say nothing of it.
    names += ["digest"] if found.digest and wanted.digest else []
    for field in names:
        old, new = getattr(found, field), getattr(wanted, field)
        if old != new:
            return (
                f"{folder} holds embeddings of something else ({field} {old!r}, now {new!r}). "
                "Give another run_dir, or remove that folder."
            )
    return None
