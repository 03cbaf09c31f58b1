"""Beside a file of records: where the samples of each record lie, and its frames.

`NAME.envelope.npz` is an uncompressed numpy archive. All of it is made of the records alone, which
are read whole and checked for it: when they are written, or when an older file is first read by
place. Small arrays are loaded; of the frames, those that are asked for.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sepcon.data.example_bytes import bytes_span, find_records, integers, read_record
from sepcon.data.stored.frames import WORD_BYTES, frame_words, measure_frames
from sepcon.errors import SepconError, one_line
from sepcon.runs.progress import track
from sepcon.runs.whole_file import write_arrays

_FORMAT = 1
_FRAMES = "frames"
_SMALL = ("file", "offsets", "lengths", "counts", "ids", "label_counts", "label_numbers")
_LOCAL_HEADER = struct.Struct("<26xHH")  # its last two fields: lengths of name and of extra field
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    struct.error,
    NotImplementedError,
    RuntimeError,
)


@dataclasses.dataclass(frozen=True)
class RecordLayout:
    """What the records of a file are called inside.

    Attributes:
      samples: the feature with int16 samples as bytes, one row after the other.
      rows: how many rows that are.
      id: the feature with the id.
      labels: the feature with class numbers; "" for none.
    """

    samples: str
    rows: int = 1
    id: str = "id"
    labels: str = ""


@dataclasses.dataclass(frozen=True)
class Envelope:
    """What is known of the records of a file.

    Attributes:
      path: of the file with the frames.
      frames_offset: where in that file the frames of the first record begin, in bytes.
      offsets: int64 [records], where in the file of records the samples of each begin, in bytes.
      lengths: int64 [records], samples of a row.
      first_frames: int64 [records], the number of each one's first frame in the file.
      ids: [records] bytes.
      label_counts: int32 [records], how many class numbers each has.
      label_numbers: int32 [all of them].
    """

    path: str
    frames_offset: int
    offsets: np.ndarray
    lengths: np.ndarray
    first_frames: np.ndarray
    ids: np.ndarray
    label_counts: np.ndarray
    label_numbers: np.ndarray


def envelope_path(records: str | Path) -> Path:
    """Where the envelope of a file of records is."""
    return Path(f"{records}.envelope.npz")


def remove_envelope(records: str | Path) -> None:
    """Removes the envelope of a file that is written anew."""
    envelope_path(records).unlink(missing_ok=True)


def write_envelope(records: str | Path, layout: RecordLayout, *, cure: str) -> None:
    """Reads the records of a file, and writes their envelope beside it.

    Args:
      records: the file.
      layout: of its records.
      cure: what helps where it is damaged, for messages.

    Raises:
      SepconError: the file is damaged, its records are of another layout, or the envelope cannot be
        written.
    """
    path = str(records)
    found = find_records(path, cure=cure)
    offsets, lengths, frames, ids = [], [], [], []
    labels: list[list[int]] = []
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for number, (offset, length) in enumerate(found.tolist()):
            data = read_record(descriptor, offset, length, path=path, number=number, cure=cure)
            try:
                start, stop = bytes_span(data, layout.samples)
                samples = np.frombuffer(data[start:stop], "<i2").reshape(layout.rows, -1)
                ids.append(data[slice(*bytes_span(data, layout.id))])
                labels.append(integers(data, layout.labels) if layout.labels else [])
            except ValueError as error:
                raise SepconError(f"{path}: record {number}: {error}; {cure}") from error
            offsets.append(offset + start)
            lengths.append(samples.shape[1])
            frames.append(measure_frames(samples))
    finally:
        os.close(descriptor)
    empty = np.zeros((0, frame_words(layout.rows)), np.uint32)
    arrays = {
        "file": np.asarray([_FORMAT, os.path.getsize(path)], np.int64),
        "offsets": np.asarray(offsets, np.int64),
        "lengths": np.asarray(lengths, np.int64),
        "counts": np.asarray([len(each) for each in frames], np.int64),
        # With a byte behind it: numpy takes zeros at an end for padding.
        "ids": np.asarray([each + b"." for each in ids], np.bytes_),
        "label_counts": np.asarray([len(each) for each in labels], np.int32),
        "label_numbers": np.asarray([number for each in labels for number in each], np.int32),
        _FRAMES: np.concatenate([empty, *frames]),
    }
    write_arrays(envelope_path(path), arrays)


def open_envelopes(records: Sequence[str], layout: RecordLayout, *, cure: str) -> list[Envelope]:
    """Opens the envelopes of some files of records; makes those that are missing.

    Args:
      records: the files.
      layout: of their records.
      cure: what helps where one is damaged, for messages.

    Raises:
      SepconError: see `write_envelope`; or an envelope is damaged or of another file.
    """
    missing = [path for path in records if not envelope_path(path).is_file()]
    if missing:
        title = f"Measuring {os.path.dirname(missing[0])}"
        for path in track(missing, len(missing), title, unit="file"):
            write_envelope(path, layout, cure=cure)
    return [_open_envelope(path, layout) for path in records]


def _open_envelope(records: str, layout: RecordLayout) -> Envelope:
    path = envelope_path(records)
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            arrays = {name: _array(archive, name) for name in _SMALL}
            counts = arrays["counts"]
            if arrays["file"].tolist() != [_FORMAT, os.path.getsize(records)]:
                raise ValueError("it is of another file, or of another version")
            shape = int(counts.sum()), frame_words(layout.rows)
            offset = _frames_offset(file, archive.getinfo(f"{_FRAMES}.npy"), shape)
        return Envelope(
            path=str(path),
            frames_offset=offset,
            offsets=arrays["offsets"],
            lengths=arrays["lengths"],
            first_frames=np.cumsum(counts) - counts,
            ids=np.asarray([each[:-1] for each in arrays["ids"].tolist()], object),
            label_counts=arrays["label_counts"],
            label_numbers=arrays["label_numbers"],
        )
    except _DAMAGE as error:
        raise SepconError(
            f"{path}: is not the envelope of {os.path.basename(records)} ({one_line(error)}); "
            "delete it, the next command makes it anew"
        ) from error


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Reads a small array, whose checksum is checked before it is looked at."""
    data = io.BytesIO(archive.read(f"{name}.npy"))
    return np.lib.format.read_array(data, allow_pickle=False)


def _frames_offset(file: BinaryIO, member: zipfile.ZipInfo, shape: tuple[int, int]) -> int:
    """Where in the file the frames begin, an array of this shape."""
    header = io.BytesIO()
    description = {"descr": "<u4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    expected = header.getvalue()
    file.seek(member.header_offset)
    file.seek(sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))), os.SEEK_CUR)
    size = len(expected) + WORD_BYTES * shape[0] * shape[1]
    if file.read(len(expected)) != expected or member.file_size != size:
        raise ValueError("its frames are not what it announces")
    return file.tell()
