"""What a container shows of a file, and a part of a file as a file of its own."""

from __future__ import annotations

import dataclasses
import os

# Sloppy writers count the header into the data or round it; less than this is not a cut.
_TOLERANCE_BYTES = 128
# Programs that write to a pipe cannot go back and fill in the size. They leave the greatest number
# of 31, 32, 63 or 64 bits, or one a little below: rounded to pages and then to blocks of all
# channels (at most 65,535 bytes), or with the header subtracted.
_UNKNOWN_SIZES = (
    (0x7FFFF000 - 0xFFFF, 0x80000000),
    (0xFFFFFFFF - 0x1FFFF, 0xFFFFFFFF),
    ((1 << 63) - 0x20000, 1 << 63),
    ((1 << 64) - 0x20000, 1 << 64),
)
_SEARCH_BYTES = 1 << 20
SEVERAL = (
    "holds several recordings one behind the other ({what}), of which only the first would be "
    "heard; cut it into parts"
)
SIDE_BY_SIDE = (
    "holds several streams of sound side by side, of which only the first would be heard; write "
    "each into a file of its own"
)


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a file to decode.

    Attributes:
      head: bytes to put before it: the header as it should have been.
      start: where it begins in the file.
      stop: where it ends.
    """

    head: bytes
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a container shows.

    Attributes:
      magic: the first bytes behind tags; empty for an empty file.
      part: what to decode in place of the file, or None for the file as it is.
      cut: how the recording is incomplete, in a few words, or None when nothing shows it.
      damage: likewise what else is wrong with it.
    """

    magic: bytes
    part: Part | None = None
    cut: str | None = None
    damage: str | None = None


def is_unknown(length: int) -> bool:
    """Whether a length in a header is what programs write that do not know it."""
    return any(low <= length <= high for low, high in _UNKNOWN_SIZES)


def missing(offset: int, length: int, size: int) -> str | None:
    """Says whether a file is shorter than its header claims.

    Args:
      offset: where the audio begins in the file.
      length: bytes of audio that the header claims.
      size: of the file, in bytes.

    Returns:
      What is missing, in a few words; None where nothing is.
    """
    lacking = offset + length - size
    if lacking > _TOLERANCE_BYTES and not is_unknown(length):
        return f"its header claims {length} bytes of audio, but {lacking} are missing"
    return None


def find(descriptor: int, wanted: bytes, offset: int) -> int | None:
    """Searches a file for some bytes.

    Args:
      descriptor: of the open file.
      wanted: the bytes.
      offset: where the search begins.

    Returns:
      The offset of the first match; None if there is none.
    """
    while data := os.pread(descriptor, _SEARCH_BYTES, offset):
        place = data.find(wanted)
        if place >= 0:
            return offset + place
        if len(data) < _SEARCH_BYTES:
            return None
        offset += len(data) - len(wanted) + 1
    return None


class PartOfFile:
    """A part of an open file as a file of its own, for a decoder that calls back.

    A decoder in C cannot be thrown at from inside its callback: what the system refuses to read
    ends the file for it, and then the recording is found to be incomplete.
    """

    def __init__(self, descriptor: int, part: Part) -> None:
        self._descriptor, self._part, self._place = descriptor, part, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = (0, self._place, len(self._part.head) + self._part.stop - self._part.start)[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, count: int) -> bytes:
        head = self._part.head[self._place : self._place + count]
        offset = self._part.start + max(0, self._place - len(self._part.head))
        count = max(0, min(count - len(head), self._part.stop - offset))
        try:
            data = head + os.pread(self._descriptor, count, offset)
        except OSError:
            data = head
        self._place += len(data)
        return data
