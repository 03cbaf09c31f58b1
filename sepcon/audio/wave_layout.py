"""Where the audio of RIFF files lies: WAV, RIFX, RF64 and BW64, and Sony's Wave64."""

from __future__ import annotations

import dataclasses
import os
import string
import struct

from sepcon.audio.layout import SEVERAL, Layout, Part, is_unknown, missing
from sepcon.audio.tags import before_tags

_MAX_32_BITS = 0xFFFFFFFF
_LONG_FORMS = (b"RF64", b"BW64")
_SEARCH_BYTES = 1 << 16
# Chunks that stand in WAV files. Their names tell where one begins when the byte that should make
# the one before even was left out.
_WAV_CHUNKS = frozenset(
    b"fmt |data|LIST|fact|JUNK|junk|bext|cue |smpl|inst|id3 |ID3 |PEAK|iXML|_PMX|FLLR|pad ".split(
        b"|"
    )
)
# Those that writers put behind the audio.
_CHUNKS_BEHIND = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"_PMX", b"cue ", b"smpl")
_NAME_LETTERS = frozenset((string.ascii_letters + string.digits + " _-.").encode())
_WAVE64_HEAD, _WAVE64_CHUNK = 40, 24
_ADPCM = (0x02, 0x11)  # Microsoft's, IMA's


@dataclasses.dataclass
class _Chunks:
    """What a walk over chunks saw: the format chunk, whether a byte was left out, and the audio."""

    format: bytes = b""
    unpadded: bool = False
    audio: int | None = None
    claimed: int = 0


def wav_layout(descriptor: int, magic: bytes, start: int, stop: int, size: int) -> Layout:
    """The layout of a WAV file, of any of its forms.

    Args:
      descriptor: of the open file.
      magic: its first 12 bytes.
      start: where it begins, behind tags.
      stop: where it ends, before tags.
      size: of the file.
    """
    order = ">" if magic[:4] == b"RIFX" else "<"
    seen = _walk(descriptor, start, size, order)
    if seen.audio is None:
        return Layout(magic, cut="it ends before the audio begins")
    cut = missing(seen.audio, seen.claimed, size)
    if cut is not None or not seen.format:
        return Layout(magic, cut=cut)
    riff_size = struct.unpack(f"{order}I", magic[4:8])[0]
    if (damage := _second_file(descriptor, start + 8 + riff_size + riff_size % 2)) is not None:
        return Layout(magic, damage=damage)
    # The size was to be filled in at the end, unless what follows are the chunks behind no audio.
    never_closed = (
        seen.claimed == 0
        and seen.audio < stop
        and not _are_chunks(descriptor, seen.audio, stop, order)
    )
    is_open = never_closed or is_unknown(seen.claimed)
    end = size
    if is_open:
        end = _before_chunk(descriptor, before_tags(descriptor, size, search=True), order)
        end = seen.audio + _whole_blocks(seen.format, max(0, end - seen.audio))
    foreign = magic[:4] == b"BW64" or (magic[:4] == b"RF64" and is_open)
    if not (never_closed or (is_open and end < size) or seen.unpadded or foreign):
        return Layout(magic)
    if not is_open:
        end = min(seen.audio + seen.claimed, size)
    return Layout(magic, Part(_wav_head(order, seen.format, end - seen.audio), seen.audio, end))


def _walk(descriptor: int, start: int, size: int, order: str) -> _Chunks:
    offset, long_length, seen = start + 12, _MAX_32_BITS, _Chunks()
    while offset + 8 <= size:
        name, length = struct.unpack(f"{order}4sI", os.pread(descriptor, 8, offset))
        offset += 8
        if name == b"ds64":  # RF64 has the length of the audio here
            long_length = int.from_bytes(os.pread(descriptor, 16, offset)[8:], "little")
        if name == b"data":
            seen.audio = offset
            seen.claimed = long_length if length == _MAX_32_BITS else length
            return seen
        if name == b"fmt ":
            seen.format = os.pread(descriptor, min(length, 1 << 12), offset)
        offset += length
        if length % 2:
            here, padded = os.pread(descriptor, 4, offset), os.pread(descriptor, 4, offset + 1)
            unpadded = here in _WAV_CHUNKS and padded not in _WAV_CHUNKS
            seen.unpadded |= unpadded
            offset += 0 if unpadded else 1
    return seen


def _second_file(descriptor: int, offset: int) -> str | None:
    """What to say of a file behind whose end, as it claims it, another begins."""
    head = os.pread(descriptor, 12, offset)
    if head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
        return SEVERAL.format(what="WAV files put together")
    return None


def _are_chunks(descriptor: int, offset: int, stop: int, order: str) -> bool:
    """Whether nothing but whole chunks follows from there to the end."""
    while offset + 8 <= stop:
        name, length = struct.unpack(f"{order}4sI", os.pread(descriptor, 8, offset))
        if not _NAME_LETTERS.issuperset(name):
            return False
        offset += 8 + length + length % 2
    return offset in (stop, stop + 1)


def _before_chunk(descriptor: int, stop: int, order: str) -> int:
    """Where audio of unknown length ends before chunks that end exactly at `stop`."""
    begin = max(0, stop - _SEARCH_BYTES)
    tail = os.pread(descriptor, stop - begin, begin)
    ends = [
        begin + place
        for name in _CHUNKS_BEHIND
        if (place := tail.rfind(name)) >= 0
        and len(tail) - place >= 8
        and 8 + place + _padded(struct.unpack(f"{order}I", tail[place + 4 : place + 8])[0])
        in (len(tail), len(tail) + 1)
    ]
    return _before_chunk(descriptor, min(ends), order) if ends else stop


def _whole_blocks(format: bytes, num_bytes: int) -> int:
    """Without the part of a block at the end, of which the decoder would make noise."""
    if len(format) < 14:
        return num_bytes
    tag, block = struct.unpack("<H10xH", format[:14])
    return num_bytes // block * block if tag in _ADPCM and block else num_bytes


def _padded(length: int) -> int:
    return length + length % 2


def _wav_head(order: str, format: bytes, num_bytes: int) -> bytes:
    """The beginning of a WAV file of these bytes of audio, all that a decoder needs."""
    length = min(num_bytes, _MAX_32_BITS)
    chunk = b"fmt " + struct.pack(f"{order}I", len(format)) + format + b"\0" * (len(format) % 2)
    riff = min(4 + len(chunk) + 8 + length, _MAX_32_BITS)
    magic = b"RIFX" if order == ">" else b"RIFF"
    return b"".join(
        [
            magic,
            struct.pack(f"{order}I", riff),
            b"WAVE",
            chunk,
            b"data",
            struct.pack(f"{order}I", length),
        ]
    )


def wave64_layout(descriptor: int, magic: bytes, start: int, size: int) -> Layout:
    """Reads the container of a Wave64 file, which libsndfile would decode to its last byte.

    Args:
      descriptor: of the open file.
      magic: its first bytes behind tags.
      start: offset of those bytes.
      size: of the file, in bytes.
    """
    offset = start + _WAVE64_HEAD
    while offset + _WAVE64_CHUNK <= size:
        # The length counts these 24 bytes.
        name, length = struct.unpack("<4s12xQ", os.pread(descriptor, _WAVE64_CHUNK, offset))
        if name == b"data":
            return _wave64_part(descriptor, magic, (start, offset + _WAVE64_CHUNK, size), length)
        offset += max(_WAVE64_CHUNK, length + -length % 8)
    return Layout(magic, cut="it ends before the audio begins")


def _wave64_part(
    descriptor: int, magic: bytes, places: tuple[int, int, int], length: int
) -> Layout:
    start, audio, size = places
    length -= _WAVE64_CHUNK
    is_open = length <= 0 or is_unknown(length)
    stop = max(audio, before_tags(descriptor, size, search=True)) if is_open else audio + length
    cut = None if is_open else missing(audio, length, size)
    if cut is not None or (start == 0 and stop >= size and not is_open):
        return Layout(magic, cut=cut)
    head = bytearray(os.pread(descriptor, audio - start, start))
    stop = min(stop, size)
    head[16:24] = struct.pack("<Q", stop - start)
    head[-8:] = struct.pack("<Q", stop - audio + _WAVE64_CHUNK)
    return Layout(magic, Part(bytes(head), audio, stop))
