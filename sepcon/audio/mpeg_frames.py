"""How many frames an MP3 file holds, and a header for the decoder that says so.

libmpg123 takes the number from the info frame (Xing, Info) that encoders put first. Where there is
none it is estimated from the size of the first frame, and libsndfile ends there: of a file of
variable bitrate it then hears a part alone. Where the number is too small, as in files put together
byte by byte, it hears as many. So frames are counted here, by their headers.
"""

from __future__ import annotations

import dataclasses
import os
import struct

from sepcon.audio.layout import Layout, Part

_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = {0b11: (44100, 48000, 32000), 0b10: (22050, 24000, 16000), 0b00: (11025, 12000, 8000)}
_LAYER_3 = 0b01
# Sync, version, layer and rate are the same in all frames of a file; bitrate and padding are not.
_SAME = 0xFFFE0C00
_MAX_JUNK_BYTES = 1 << 16
_INFO_BYTES = 12
_BLOCK_BYTES = 1 << 20
# A frame more or less is no reason to touch a file: some encoders count the info frame in.
_TOLERATED_FRAMES = 2
# So many alike behind bytes of another kind are MP3.
_SURE_FRAMES = 4


@dataclasses.dataclass(frozen=True)
class _Frame:
    """The header of a frame of layer III."""

    word: int

    @property
    def is_valid(self) -> bool:
        word = self.word
        return (
            word >> 21 == 0x7FF
            and (word >> 19 & 3) in _RATES_HZ
            and (word >> 17 & 3) == _LAYER_3
            # Free bitrates do not say how long their frames are.
            and 0 < word >> 12 & 15 < 15
            and (word >> 10 & 3) < 3
        )

    @property
    def is_version_1(self) -> bool:
        return (self.word >> 19 & 3) == 0b11

    @property
    def num_bytes(self) -> int:
        kbits = (_KBITS_1 if self.is_version_1 else _KBITS_2)[self.word >> 12 & 15]
        rate_hz = _RATES_HZ[self.word >> 19 & 3][self.word >> 10 & 3]
        return (144 if self.is_version_1 else 72) * kbits * 1000 // rate_hz + (self.word >> 9 & 1)

    @property
    def info_offset(self) -> int:
        """Where Xing or Info stands in an info frame: behind header and side information."""
        mono = (self.word >> 6 & 3) == 0b11
        return 4 + ((17 if mono else 32) if self.is_version_1 else (9 if mono else 17))


def mpeg_layout(descriptor: int, magic: bytes, start: int, stop: int) -> Layout:
    """The layout of an MP3 file; that of anything else is left to the decoder.

    Args:
      descriptor: of the open file.
      magic: its first 12 bytes.
      start: where it begins, behind tags.
      stop: where it ends, before tags.
    """
    data = _Window(descriptor, stop)
    first = _first_frame(data, start)
    if first is None:
        return Layout(magic)
    place, frame = first
    head = data.bytes_at(place, frame.num_bytes)
    claimed, is_info = _claimed_frames(head, frame)
    behind = place + frame.num_bytes if is_info else place
    count = _count_frames(data, behind, frame)
    if place > start and count < _SURE_FRAMES:
        return Layout(magic)  # Two headers may stand in noise by chance: the decoder shall judge.
    if claimed is not None and claimed and count <= claimed + _TOLERATED_FRAMES:
        # The decoder tells if there are fewer. Of a tag it believes the length.
        return Layout(magic, Part(b"", place, stop) if place > start > 0 else None)
    if claimed is not None:
        at = frame.info_offset + 8
        head = head[:at] + struct.pack(">I", count) + head[at + 4 :]
    else:
        head = _info_frame(frame, count)
    return Layout(magic, Part(head, behind, stop))


class _Window:
    """Reads a file forward in blocks, a few bytes at a time."""

    def __init__(self, descriptor: int, stop: int) -> None:
        self._descriptor, self.stop = descriptor, stop
        self._begin, self._data = 0, b""

    def bytes_at(self, place: int, count: int) -> bytes:
        """Some bytes at a place; fewer at the end."""
        count = min(count, max(0, self.stop - place))
        offset = place - self._begin
        if not 0 <= offset <= len(self._data) - count:
            self._begin = place
            self._data = os.pread(self._descriptor, max(_BLOCK_BYTES, count), place)
            offset = 0
        return self._data[offset : offset + count]

    def frame_at(self, place: int) -> _Frame | None:
        """The frame whose header stands at a place, if one does."""
        head = self.bytes_at(place, 4)
        frame = _Frame(int.from_bytes(head, "big")) if len(head) == 4 else None
        return frame if frame is not None and frame.is_valid else None


def _first_frame(data: _Window, start: int) -> tuple[int, _Frame] | None:
    """The first frame that another one like it follows."""
    for place in range(start, min(data.stop, start + _MAX_JUNK_BYTES)):
        frame = data.frame_at(place)
        if frame is not None:
            following = data.frame_at(place + frame.num_bytes)
            if following is not None and _alike(frame, following):
                return place, frame
    return None


def _alike(one: _Frame, other: _Frame) -> bool:
    return (one.word ^ other.word) & _SAME == 0


def _count_frames(data: _Window, place: int, like: _Frame) -> int:
    """Whole frames from a place on; junk between two is passed over as the decoder does."""
    count, lost = 0, 0
    while place + 4 <= data.stop and lost <= _MAX_JUNK_BYTES:
        frame = data.frame_at(place)
        if frame is None or not _alike(frame, like):
            place, lost = place + 1, lost + 1
            continue
        place, lost = place + frame.num_bytes, 0
        count += place <= data.stop
    return count


def _claimed_frames(head: bytes, frame: _Frame) -> tuple[int | None, bool]:
    """The number of frames that an info frame claims, if it does; and whether it is one."""
    at = frame.info_offset
    info = head[at : at + _INFO_BYTES]
    if head[36:40] == b"VBRI":
        return None, True
    if info[:4] not in (b"Xing", b"Info") or len(info) < _INFO_BYTES:
        return None, False
    has_count = info[7] & 1
    return (int.from_bytes(info[8:12], "big") if has_count else None), True


def _info_frame(like: _Frame, count: int) -> bytes:
    """A frame of silence that says how many frames follow."""
    for number in range(1, 15):
        # Without a checksum of its own, without padding.
        frame = _Frame(like.word & ~(0xF << 12 | 1 << 9) | number << 12 | 1 << 16)
        if frame.num_bytes >= frame.info_offset + _INFO_BYTES:
            break
    head = struct.pack(">I", frame.word).ljust(frame.info_offset, b"\0")
    return (head + b"Xing" + struct.pack(">2I", 1, count)).ljust(frame.num_bytes, b"\0")
