"""Tags in front of recordings and behind them: ID3, Lyrics3, APE, and text."""

from __future__ import annotations

import os
import struct

_SEARCH_BYTES = 1 << 20
_ID3_HEAD_BYTES = 10
_PADDING_BYTES = 1 << 16


def behind_tags(descriptor: int) -> int:
    """Where the file begins behind ID3v2 tags."""
    start = 0
    while (head := os.pread(descriptor, _ID3_HEAD_BYTES, start))[:3] == b"ID3" and len(head) == 10:
        start += 10 + _seven_bits(head[6:]) + (10 if head[5] & 0x10 else 0)
    return _behind_padding(descriptor, start) if start else 0


def _behind_padding(descriptor: int, start: int) -> int:
    """Behind zeros that a tag does not count in, before a file that no decoder would look for."""
    data = os.pread(descriptor, _PADDING_BYTES, start)
    rest = data.lstrip(b"\0")
    return start + len(data) - len(rest) if rest.startswith(b"fLaC") else start


def before_tags(descriptor: int, size: int, *, search: bool = False) -> int:
    """Where the file ends before ID3v1, ID3v2, Lyrics3 and APE tags.

    Args:
      descriptor: of the open file.
      size: of the file.
      search: whether to look for tags too that do not say at their end where they begin: for files
        that leave their length open.
    """
    stop = size
    while stop:
        tail = os.pread(descriptor, min(stop, 355), max(0, stop - 355))
        if tail[-128:-125] == b"TAG":
            taken = 355 if tail[-355:-351] == b"TAG+" else 128
        elif tail[-32:-24] == b"APETAGEX":
            length, _, flags = struct.unpack("<3I", tail[-20:-8])
            taken = length + (32 if flags >> 31 else 0)
        elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
            taken = int(tail[-15:-9]) + 15
        elif tail[-10:-7] == b"3DI":
            taken = 20 + _seven_bits(tail[-4:])
        else:
            taken = _id3_without_foot(descriptor, stop) if search else 0
        if not 0 < taken <= stop:
            return stop
        stop -= taken
    return stop


def _id3_without_foot(descriptor: int, stop: int) -> int:
    """The length of an ID3v2 tag that ends exactly there; 0 for none."""
    begin = max(0, stop - _SEARCH_BYTES)
    tail = os.pread(descriptor, stop - begin, begin)
    place = tail.rfind(b"ID3")
    while place >= 0:
        head = tail[place : place + _ID3_HEAD_BYTES]
        # Each byte of the size has seven bits.
        if len(head) == _ID3_HEAD_BYTES and max(head[6:]) < 0x80 and head[3] in (2, 3, 4):
            length = _ID3_HEAD_BYTES + _seven_bits(head[6:])
            if place + length == len(tail):
                return length
        place = tail.rfind(b"ID3", 0, place)
    return 0


def _seven_bits(data: bytes) -> int:
    """A number of ID3, seven bits in each byte."""
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number
