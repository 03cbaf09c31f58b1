"""Finds files that were cut off, where the decoder would return the rest without a word.

libsndfile takes a shortened WAV, AIFF or Ogg file for a shorter recording. The container says how
much there should be; this compares.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

# Sloppy writers count the header into the data or round it; less than this is not a cut.
_TOLERANCE_BYTES = 128
# Programs that write to a pipe cannot go back and fill in the size: they leave 0 or the maximum.
_UNKNOWN_BYTES = 0x7FFFF000
_OGG_PAGE_BYTES = 65307
_OGG_LAST_PAGE = 4


def cut_off(path: str | Path) -> str | None:
    """Says in a few words how a file is incomplete, or returns None when nothing shows it.

    WAV and AIFF: the data chunk claims over 128 bytes more than the file has. Ogg: the last page
    is incomplete or not marked as last. Other containers do not tell, or the decoder complains.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        magic = file.read(4)
        if magic == b"RIFF":
            return _cut_chunk(file, size, wanted=b"data", order="<")
        if magic == b"FORM":
            return _cut_chunk(file, size, wanted=b"SSND", order=">")
        if magic == b"OggS":
            return _cut_ogg(file, size)
    return None


def _cut_chunk(file: BinaryIO, size: int, *, wanted: bytes, order: str) -> str | None:
    offset = 12
    while offset + 8 <= size:
        file.seek(offset)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        offset += 8
        if name == wanted:
            missing = offset + length - size
            if length < _UNKNOWN_BYTES and missing > _TOLERANCE_BYTES:
                return f"its header claims {length} bytes of audio, but {missing} are missing"
            return None
        offset += length + length % 2
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
