"""Finds files that were cut off, where the decoder would return the rest without a word.

libsndfile takes a shortened WAV, AIFF, AU or Ogg file for a shorter recording. The container says
how much there should be; this compares.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

# Sloppy writers count the header into the data or round it; less than this is not a cut.
_TOLERANCE_BYTES = 128
# Programs that write to a pipe cannot go back and fill in the size: they leave 0 or the maximum.
_UNKNOWN_BYTES, _MAX_32_BITS = 0x7FFFF000, 0xFFFFFFFF
_OGG_PAGE_BYTES = 65307
_OGG_LAST_PAGE = 4


def cut_off(path: str | Path) -> str | None:
    """Says in a few words how a file is incomplete, or returns None when nothing shows it.

    WAV (with RF64 and Wave64), AIFF and AU: over 128 bytes less of audio than the header claims.
    Ogg: the last page is incomplete or not marked as last. Other containers do not tell, or the
    decoder complains.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        magic = file.read(4)
        if magic in (b"RIFF", b"RF64"):
            return _cut_chunk(file, size, wanted=b"data", order="<")
        if magic in (b"RIFX", b"FORM"):
            wanted = b"data" if magic == b"RIFX" else b"SSND"
            return _cut_chunk(file, size, wanted=wanted, order=">")
        if magic == b"riff":
            return _cut_wave64(file, size)
        if magic in (b".snd", b"dns."):
            order = ">" if magic == b".snd" else "<"
            offset, length = struct.unpack(f"{order}2I", file.read(8))
            return _missing(offset, length, size)
        if magic == b"OggS":
            return _cut_ogg(file, size)
    return None


def _missing(offset: int, length: int, size: int) -> str | None:
    """What to say of audio of a claimed length, from a place on, in a file of this size."""
    missing = offset + length - size
    if missing > _TOLERANCE_BYTES and not _UNKNOWN_BYTES <= length <= _MAX_32_BITS:
        return f"its header claims {length} bytes of audio, but {missing} are missing"
    return None


def _cut_chunk(file: BinaryIO, size: int, *, wanted: bytes, order: str) -> str | None:
    offset, long_length = 12, _MAX_32_BITS
    while offset + 8 <= size:
        file.seek(offset)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        offset += 8
        if name == b"ds64":  # RF64 has the length of the audio here
            long_length = int.from_bytes(file.read(16)[8:], "little")
        if name == wanted:
            return _missing(offset, long_length if length == _MAX_32_BITS else length, size)
        offset += length + length % 2
    return "it ends before the audio begins"


def _cut_wave64(file: BinaryIO, size: int) -> str | None:
    offset = 40
    while offset + 24 <= size:
        file.seek(offset)
        name, length = struct.unpack("<4s12xQ", file.read(24))  # the length counts these 24 bytes
        if name == b"data":
            return _missing(offset + 24, length - 24, size)
        offset += max(24, length + -length % 8)
    return "it ends before the audio begins"


def _cut_ogg(file: BinaryIO, size: int) -> str | None:
    file.seek(max(0, size - 2 * _OGG_PAGE_BYTES))
    tail = file.read()
    start = tail.rfind(b"OggS")
    # The four letters can also stand inside a page by chance; a page that ends where the file
    # does is the last one.
    while start >= 0:
        page = tail[start:]
        segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if 27 + len(segments) + sum(segments) == len(page) and len(segments) == page[26]:
            return None if page[5] & _OGG_LAST_PAGE else "its last Ogg page is missing"
        start = tail.rfind(b"OggS", 0, start)
    return "its last Ogg page is incomplete"
