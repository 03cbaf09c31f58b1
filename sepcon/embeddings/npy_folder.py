"""Embeddings that were computed elsewhere, in `.npy` files, found by the ids of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sepcon.errors import SepconError, one_line
from sepcon.models.fingerprint import digest

IDS_FILE = "ids.txt"


@dataclass(frozen=True)
class EmbeddingFolder:
    """Gives the stored embedding of each clip; a `ClipEmbedder`.

    Attributes:
      path: the folder.
      fingerprint: changes when a file changes.
      sample_rate_hz: None: waveforms are not used.
    """

    path: Path
    fingerprint: str
    sample_rate_hz: int | None = None
    _table: np.ndarray | None = field(default=None, repr=False)
    _rows: dict[str, int] = field(default_factory=dict, repr=False)

    def embed_clips(
        self, ids: Sequence[str], waveform: np.ndarray, *, patches: bool
    ) -> Sequence[np.ndarray]:
        """See `ClipEmbedder`; the waveform is not used.

        Raises:
          SepconError: there is no embedding of a clip, or it has another shape or size.
        """
        del waveform
        found = [np.asarray(self._read(clip), np.float32) for clip in ids]
        for clip, embedding in zip(ids, found, strict=True):
            if embedding.ndim not in (1, 2) or not embedding.size:
                raise SepconError(
                    f"{self.path}: the array of clip {clip!r} has shape {embedding.shape}, "
                    "expected [dim] or [patches, dim]"
                )
        rows = [np.atleast_2d(embedding) for embedding in found]
        return rows if patches else [each.mean(axis=0, keepdims=True) for each in rows]

    def _read(self, clip: str) -> np.ndarray:
        if self._table is not None:
            if clip not in self._rows:
                raise SepconError(f"{self.path / IDS_FILE} does not name clip {clip!r}")
            return self._table[self._rows[clip]]
        # Clips of a folder are called by their files, with or without the ending.
        paths = [self.path / f"{clip}.npy", (self.path / clip).with_suffix(".npy")]
        for path in paths:
            if path.is_file():
                return _load(path)
        raise SepconError(f"{self.path} holds no embedding of clip {clip!r}: {paths[0]} is missing")


def npy_folder(*, path: str | Path) -> EmbeddingFolder:
    """Opens a folder of embeddings.

    Args:
      path: holds `<id of a clip>.npy`, [dim] or [patches, dim], where a `/` in an id is a folder;
        or ids.txt, one id a line, beside one array [clips, dim] or [clips, patches, dim], which is
        mapped into memory and not loaded.

    Returns:
      The embeddings, as `sepcon benchmark` takes them.

    Raises:
      SepconError: there is no folder, or ids and array do not fit together.
    """
    folder = Path(path).expanduser()
    files = sorted(folder.rglob("*.npy"))
    if not files:
        raise SepconError(f"{path}: holds no .npy file; expected embeddings, a file for each clip")
    states = [(str(file.relative_to(folder)), file.stat()) for file in files]
    fingerprint = digest(*(f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states))
    if not (folder / IDS_FILE).is_file():
        return EmbeddingFolder(folder, fingerprint)
    ids = (folder / IDS_FILE).read_text(encoding="utf-8").splitlines()
    if len(files) != 1:
        raise SepconError(f"{path}: {IDS_FILE} stands beside {len(files)} .npy files, expected one")
    table = _load(files[0])
    if table.ndim not in (2, 3) or len(table) != len(ids) or len(set(ids)) != len(ids):
        raise SepconError(
            f"{files[0]} has shape {table.shape} for {len(ids)} ids, {len(set(ids))} of them "
            "different, in ids.txt; expected [clips, dim] with an id for each"
        )
    rows = {clip: row for row, clip in enumerate(ids)}
    return EmbeddingFolder(folder, digest(fingerprint, *ids), None, table, rows)


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SepconError(f"{path} cannot be read as an array: {one_line(error)}") from error
