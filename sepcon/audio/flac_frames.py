"""What the frames of a FLAC file say of its length, where its header leaves that open or is wrong.

Files from pipes leave it open: the decoder then goes on behind the last frame, and takes what
stands there for damage. A frame says which samples it holds, but not how many bytes; it ends in a
checksum of itself.
"""

from __future__ import annotations

import dataclasses
import os
import string

from sepcon.audio.layout import Layout, Part, find

_STREAM_INFO_BYTES = 42
_MOST_HEAD_BYTES = 16
_MOST_FRAME_BYTES = 1 << 18
_LEAST_FRAME_BYTES = 9
_MOST_TRIES = 64
_TEXT = frozenset(string.printable.encode() + b"\0")
_MAGIC = b"fLaC"


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    table, mask = [], (1 << bits) - 1
    for byte in range(256):
        crc = byte << (bits - 8)
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc >> (bits - 1) else crc << 1) & mask
        table.append(crc)
    return tuple(table)


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)


@dataclasses.dataclass(frozen=True)
class _StreamInfo:
    """The header of the file: its bytes, samples per frame where that is fixed, and samples."""

    data: bytes

    @property
    def block_samples(self) -> int:
        return int.from_bytes(self.data[8:10], "big")

    @property
    def num_samples(self) -> int:
        """0 where it is not known."""
        return (self.data[21] & 0x0F) << 32 | int.from_bytes(self.data[22:26], "big")

    def with_samples(self, count: int) -> bytes:
        changed = bytearray(self.data)
        changed[21] = changed[21] & 0xF0 | count >> 32
        changed[22:26] = (count & 0xFFFFFFFF).to_bytes(4, "big")
        return bytes(changed)


def flac_layout(descriptor: int, magic: bytes, start: int, stop: int, size: int) -> Layout:
    """The layout of a FLAC file.

    Args:
      descriptor: of the open file.
      magic: its first 12 bytes.
      start: where it begins, behind tags.
      stop: where it ends, before tags.
      size: of the file.
    """
    info = _StreamInfo(os.pread(descriptor, _STREAM_INFO_BYTES, start))
    as_it_is = Layout(magic, Part(b"", start, stop) if start or stop < size else None)
    if len(info.data) < _STREAM_INFO_BYTES:
        return as_it_is
    begin = max(start, stop - _MOST_FRAME_BYTES)
    data = os.pread(descriptor, stop - begin, begin)
    last = _last_frame(data, info)
    if last is None:
        return as_it_is
    place, end_sample = last
    if 0 < info.num_samples < end_sample:
        return Layout(
            magic,
            damage=f"its header claims {info.num_samples} samples, its last frame ends with number "
            f"{end_sample}; its header is damaged, convert it again",
        )
    if info.num_samples or not _ends_in_no_audio(data, place):
        return as_it_is
    # With the length known, the decoder is not asked for more.
    head = info.with_samples(end_sample)
    return Layout(magic, Part(head, start + len(head), stop))


def holds_another_stream(descriptor: int, start: int) -> bool:
    """Whether behind the beginning of a FLAC file another one begins; reads all of it."""
    begin = start + len(_MAGIC)
    while (place := find(descriptor, _MAGIC, begin)) is not None:
        head = os.pread(descriptor, _STREAM_INFO_BYTES, place)
        begin = place + len(_MAGIC)
        # The first block of a file is its STREAMINFO, 34 bytes of it.
        if len(head) == _STREAM_INFO_BYTES and head[4] & 0x7F == 0 and head[5:8] == b"\0\0\x22":
            return True
    return False


def _last_frame(data: bytes, info: _StreamInfo) -> tuple[int, int] | None:
    """Where in `data` the last frame begins, and the number of samples up to its end."""
    place = len(data)
    for _ in range(_MOST_TRIES):
        place = data.rfind(b"\xff\xf8", 0, place + 1)
        if place < 0:
            return None
        end_sample = _end_sample(data[place : place + _MOST_HEAD_BYTES], info)
        if end_sample is not None:
            return place, end_sample
    return None


def _end_sample(head: bytes, info: _StreamInfo) -> int | None:
    """Samples up to the end of a frame of fixed block size; None if this is no header of one."""
    if len(head) < 6:
        return None
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    number_bytes = 1 if ones == 0 else ones
    code, rate_code = head[2] >> 4, head[2] & 0x0F
    block_bytes = {6: 1, 7: 2}.get(code, 0)
    length = 4 + number_bytes + block_bytes + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if ones == 1 or ones > 7 or len(head) <= length or code == 0:
        return None
    crc = 0
    for byte in head[:length]:
        crc = _CRC8[crc ^ byte]
    if crc != head[length]:
        return None
    number = head[4] & (0x7F if ones == 0 else 0xFF >> (ones + 1))
    for byte in head[5 : 4 + number_bytes]:
        number = number << 6 | byte & 0x3F
    return number * info.block_samples + _block_samples(code, head[4 + number_bytes :])


def _block_samples(code: int, behind: bytes) -> int:
    if code == 1:
        return 192
    if code < 6:
        return 576 << (code - 2)
    if code < 8:
        return int.from_bytes(behind[: code - 5], "big") + 1
    return 256 << (code - 8)


def _ends_in_no_audio(data: bytes, place: int) -> bool:
    """Whether behind the frame at a place something follows that is surely no audio.

    That is text, zeros, or fewer bytes than a frame has.
    """
    crc = 0
    for offset in range(place, len(data)):
        # Of data with its own checksum behind it the checksum is zero.
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ data[offset]]
        if crc == 0 and offset + 1 - place >= _LEAST_FRAME_BYTES:
            rest = data[offset + 1 :]
            # The first bytes of a frame that was cut off begin as all frames do.
            is_short = len(rest) < _LEAST_FRAME_BYTES and rest[:1] != b"\xff"
            if rest and (is_short or _TEXT.issuperset(rest)):
                return True
    return False
