"""Where the audio of AIFF, AU and CAF files lies."""

from __future__ import annotations

import os
import struct

from sepcon.audio.layout import Layout, Part, is_unknown, missing
from sepcon.audio.tags import before_tags

_ENDS_EARLY = "it ends before the audio begins"
_MOST_HEAD_BYTES = 1 << 16
# What SoX writes into an AIFF file that goes to a pipe, rounded down to blocks.
_UNKNOWN_TO_SOX = range(0x7F000000 - 0xFFFF, 0x7F000000 + 9)


def aiff_layout(descriptor: int, magic: bytes, start: int, size: int) -> Layout:
    """Reads the container of an AIFF or AIFF-C file, also of one whose sizes were never filled in.

    Args:
      descriptor: of the open file.
      magic: its first bytes behind tags.
      start: offset of those bytes.
      size: of the file, in bytes.
    """
    offset, common = start + 12, None
    while offset + 8 <= size:
        name, length = struct.unpack(">4sI", os.pread(descriptor, 8, offset))
        offset += 8
        if name == b"COMM":
            common = os.pread(descriptor, min(length, _MOST_HEAD_BYTES), offset)
        if name == b"SSND":
            audio = offset + 8  # An offset and a block size, both zero in practice.
            # A chunk of 0 or 8 bytes holds nothing, and so nothing stands behind it.
            never_closed = length <= 8 and audio < size
            if not (never_closed or is_unknown(length) or length in _UNKNOWN_TO_SOX):
                return Layout(magic, cut=missing(offset, length, size))
            stop = max(audio, before_tags(descriptor, size, search=True))
            return Layout(magic, _aiff_part(magic, common, audio, stop))
        offset += length + length % 2
    return Layout(magic, cut=_ENDS_EARLY)


def _aiff_part(magic: bytes, common: bytes | None, audio: int, stop: int) -> Part | None:
    """The audio with the header that it should have had; None where it cannot be known."""
    if common is None or len(common) < 18:
        return None
    channels, _, bits = struct.unpack(">hIh", common[:8])
    block = channels * -(-bits // 8)
    if channels < 1 or bits < 1:
        return None
    frames = (stop - audio) // block
    length = frames * block
    common = common[:2] + struct.pack(">I", frames & 0xFFFFFFFF) + common[6:]
    chunks = b"COMM" + struct.pack(">I", len(common)) + common + b"\0" * (len(common) % 2)
    chunks += b"SSND" + struct.pack(">I", length + 8) + b"\0" * 8
    form = 4 + len(chunks) + length
    if form > 0xFFFFFFFF:
        return None
    return Part(b"FORM" + struct.pack(">I", form) + magic[8:12] + chunks, audio, audio + length)


def au_layout(descriptor: int, magic: bytes, start: int, size: int) -> Layout:
    """Reads the container of an AU file of either byte order.

    Args:
      descriptor: of the open file.
      magic: its first bytes behind tags.
      start: offset of those bytes.
      size: of the file, in bytes.
    """
    order = ">" if magic[:4] == b".snd" else "<"
    head = os.pread(descriptor, 24, start)
    if len(head) < 24:
        return Layout(magic, cut=_ENDS_EARLY)
    offset, length = struct.unpack(f"{order}2I", head[4:12])
    audio = start + offset
    is_open = is_unknown(length) or (length == 0 and audio < size)
    if not is_open:
        return Layout(magic, cut=missing(audio, length, size))
    stop = max(audio, before_tags(descriptor, size, search=True))
    if is_unknown(length) and stop == size and start == 0:
        return Layout(magic)  # As the decoder takes it.
    head = head[:4] + struct.pack(f"{order}2I", 24, min(stop - audio, 0xFFFFFFFF)) + head[12:]
    return Layout(magic, Part(head, audio, stop))


def caf_layout(descriptor: int, magic: bytes, start: int, size: int) -> Layout:
    """Reads the container of a CAF file, whose last chunk may be audio of unknown length (-1).

    Args:
      descriptor: of the open file.
      magic: its first bytes behind tags.
      start: offset of those bytes.
      size: of the file, in bytes.
    """
    offset = start + 8
    while offset + 12 <= size:
        name, length = struct.unpack(">4sq", os.pread(descriptor, 12, offset))
        offset += 12
        if name == b"data":
            # A count of edits stands before the samples, and counts.
            if length > 0 and not is_unknown(length):
                return Layout(magic, cut=missing(offset, length, size))
            return Layout(magic, _caf_part(descriptor, start, offset, size))
        if length < 0:
            break
        offset += length
    return Layout(magic, cut=_ENDS_EARLY)


def _caf_part(descriptor: int, start: int, audio: int, size: int) -> Part | None:
    if audio - start > _MOST_HEAD_BYTES:
        return None
    stop = max(audio, before_tags(descriptor, size, search=True))
    head = os.pread(descriptor, audio - start, start)
    return Part(head[:-8] + struct.pack(">q", stop - audio), audio, stop)
