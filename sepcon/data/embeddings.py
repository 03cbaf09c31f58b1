"""Embeddings on disk: shards that appear whole, so that a killed job goes on where it was.

A store is a folder with index.json and `embeddings-00000-of-00012.npz`, ..., each of them an
uncompressed numpy archive with the arrays `ids` (unicode), `embedding` (float32 [clips, dim]) and
`labels` (uint8 [clips, classes]) of up to `shard_size` clips in the order of their dataset.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.errors import SepconError, one_line
from sepcon.run_folder import write_text

INDEX_FILE = "index.json"
_FORMAT = 1
# A truncated or overwritten archive shows itself as one of these.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Embeddings:
    """Clip embeddings in memory.

    Attributes:
      ids: [clips] unicode.
      embedding: [clips, dim] float32.
      labels: [clips, classes] uint8, multi-hot; no columns when unlabelled.
      class_names: the columns of `labels`.
    """

    ids: np.ndarray
    embedding: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class StoreLayout:
    """What a store holds, known before the first embedding is computed.

    Attributes:
      dataset: name of the embedded dataset.
      model: fingerprint of the model that embeds.
      class_names: names of the label columns.
      num_clips: clips in the dataset.
      shard_size: clips in every shard but the last.
    """

    dataset: str
    model: str
    class_names: tuple[str, ...]
    num_clips: int
    shard_size: int

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
        self.layout: StoreLayout = index["layout"]
        self.dim: int = index["dim"]

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
        except _DAMAGE as error:
            raise SepconError(
                f"{path} is missing or damaged ({one_line(error)}): "
                "run the command that wrote it again, it recomputes this file."
            ) from error

    def load(self) -> Embeddings:
        """Returns all clips.

        Raises:
          SepconError: a shard is missing or damaged.
        """
        shards = list(self.shards())
        return Embeddings(
            np.concatenate([shard.ids for shard in shards]),
            np.concatenate([shard.embedding for shard in shards]),
            np.concatenate([shard.labels for shard in shards]),
            self.layout.class_names,
        )


class EmbeddingWriter:
    """Writes a store shard by shard, in any order and in as many sessions as it takes.

    Args:
      folder: the store; made if it is not there.
      layout: what it is to hold.

    Raises:
      SepconError: the folder holds embeddings of something else.
      OSError: it cannot be written.
    """

    def __init__(self, folder: str | Path, layout: StoreLayout) -> None:
        if layout.num_clips < 1 or layout.shard_size < 1:
            raise ValueError(f"layout must have clips and a positive shard size, got {layout}.")
        self.folder = Path(folder)
        self.layout = layout
        self.folder.mkdir(parents=True, exist_ok=True)
        index = _read_index(self.folder)
        if index is None:
            self._write_index(dim=None)
        elif index["layout"] != layout:
            raise SepconError(_difference(self.folder, index["layout"], layout))

    def missing_shards(self) -> list[int]:
        """Returns the shards that are absent or damaged."""
        missing = []
        for shard in range(self.layout.num_shards):
            try:
                _read_shard(self.folder / self.layout.file_name(shard), self.layout, shard)
            except _DAMAGE:
                missing.append(shard)
        return missing

    def write_shard(
        self, shard: int, *, ids: np.ndarray, embedding: np.ndarray, labels: np.ndarray
    ) -> None:
        """Writes one shard, whole or not at all.

        Args:
          shard: its number.
          ids: [clips] unicode.
          embedding: [clips, dim] float32.
          labels: [clips, classes] uint8.
        """
        clips = self.layout.clips_in(shard)
        if not len(ids) == len(embedding) == len(labels) == clips:
            raise ValueError(
                f"shard {shard} holds {clips} clips, got {len(ids)} ids, "
                f"{len(embedding)} embeddings and {len(labels)} rows of labels."
            )
        path = self.folder / self.layout.file_name(shard)
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            np.savez(
                file,
                ids=np.asarray(ids, np.str_),
                embedding=np.asarray(embedding, np.float32),
                labels=np.asarray(labels, np.uint8),
            )
        temporary.replace(path)

    def finish(self) -> EmbeddingStore:
        """Marks the store as finished and opens it.

        Raises:
          SepconError: a shard is missing or damaged, or they differ in dimension.
        """
        dims = set()
        for shard in range(self.layout.num_shards):
            path = self.folder / self.layout.file_name(shard)
            try:
                dims.add(_read_shard(path, self.layout, shard).embedding.shape[1])
            except _DAMAGE as error:
                raise SepconError(f"{path} is missing or damaged: {one_line(error)}") from error
        if len(dims) != 1:
            raise SepconError(f"the shards in {self.folder} differ in dimension: {sorted(dims)}.")
        self._write_index(dim=dims.pop())
        return EmbeddingStore(self.folder)

    def _write_index(self, dim: int | None) -> None:
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
            "dim": dim,
        }
        write_text(self.folder / INDEX_FILE, json.dumps(content, indent=1))


def _read_index(folder: Path) -> dict[str, Any] | None:
    path = folder / INDEX_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}, expected {_FORMAT}")
        layout = StoreLayout(
            dataset=content["dataset"],
            model=content["model"],
            class_names=tuple(content["class_names"]),
            num_clips=content["num_clips"],
            shard_size=content["shard_size"],
        )
        return {"layout": layout, "complete": content["complete"], "dim": content["dim"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SepconError(
            f"{path} is damaged or no index of embeddings: {one_line(error)}"
        ) from error


def _read_shard(path: Path, layout: StoreLayout, shard: int) -> Embeddings:
    # Reading every byte checks every checksum: a shard cut or overwritten anywhere is noticed.
    with np.load(path, allow_pickle=False) as arrays:
        ids, embedding, labels = arrays["ids"], arrays["embedding"], arrays["labels"]
    clips, classes = layout.clips_in(shard), len(layout.class_names)
    if ids.shape != (clips,) or embedding.shape[:1] != (clips,) or labels.shape != (clips, classes):
        raise ValueError(
            f"shapes {ids.shape}, {embedding.shape}, {labels.shape} "
            f"for {clips} clips of {classes} classes"
        )
    return Embeddings(ids, embedding, labels, layout.class_names)


def _difference(folder: Path, found: StoreLayout, wanted: StoreLayout) -> str:
    for field in ("dataset", "model", "num_clips", "shard_size", "class_names"):
        old, new = getattr(found, field), getattr(wanted, field)
        if old != new:
            return (
                f"{folder} holds embeddings of something else ({field} {old!r}, now {new!r}). "
                "Give another run_dir, or remove that folder."
            )
    raise AssertionError("called on equal layouts")
