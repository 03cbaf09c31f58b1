"""Finds where the audio of a file lies, and whether all of it is there, from its container alone.

libsndfile decodes a WAV, AIFF, AU or Ogg file that was cut off as if it were a shorter recording;
the container says how much audio there should be. On the other hand libsndfile refuses complete
recordings that have a tag in front or behind, or a header that the recorder never completed; for
these files this module finds the part to decode. It reads a few headers, never the audio.
"""

from __future__ import annotations

import dataclasses
import os
import struct

# Sloppy writers count the header into the data or round it; less than this is not a cut.
_TOLERANCE_BYTES = 128
# Programs that write to a pipe cannot go back and fill in the size. They leave the greatest number
# of 31 or 32 bits, or one a little below: rounded to pages and then to blocks of all channels (at
# most 65,535 bytes), or with the header subtracted.
_UNKNOWN_SIZES = ((0x7FFFF000 - 0xFFFF, 0x80000000), (0xFFFFFFFF - 0x1FFFF, 0xFFFFFFFF))
_MAX_32_BITS = 0xFFFFFFFF
_OGG_FIRST_PAGE, _OGG_LAST_PAGE = 2, 4
_SEARCH_BYTES = 1 << 20
# Chunks that stand in WAV files. Their names tell where one begins when the byte that should make
# the one before even was left out.
_WAV_CHUNKS = frozenset(
    b"fmt |data|LIST|fact|JUNK|junk|bext|cue |smpl|inst|id3 |ID3 |PEAK|iXML|_PMX|FLLR|pad ".split(
        b"|"
    )
)


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a file to decode.

    Attributes:
      head: bytes to put before it: the header as it should have been; empty for none.
      start: offset in the file of its first byte.
      stop: offset behind its last byte.
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


def layout_of(descriptor: int) -> Layout:
    """Looks at the container of an open file.

    A WAV (also RF64 and Wave64), AIFF or AU file counts as cut off where more than 128 bytes of
    audio are missing that its header claims; an Ogg file where its last page is incomplete or not
    marked as the last, or where bytes lie between pages. Other containers do not say how long they
    should be, or their decoder reports the cut itself.

    Args:
      descriptor: of a file that is open for reading; its position does not matter.

    Returns:
      What the container shows; for an unknown kind of file only its first bytes.

    Raises:
      OSError: the file cannot be read.
    """
    size = os.fstat(descriptor).st_size
    start = _behind_tags(descriptor)
    stop = max(start, _before_tags(descriptor, size))
    magic = os.pread(descriptor, 12, start)
    if len(magic) < 12:
        return Layout(magic)
    if magic[:4] in (b"RIFF", b"RF64", b"RIFX"):
        return _wav_layout(descriptor, magic, start, stop, size)
    if magic[:4] == b"FORM":
        *_, missing = _missing_of_chunk(descriptor, start, size, wanted=b"SSND", order=">")
        return Layout(magic, cut=missing)
    if magic[:4] == b"riff":
        return Layout(magic, cut=_cut_wave64(descriptor, size))
    if magic[:4] in (b".snd", b"dns."):
        numbers = os.pread(descriptor, 8, start + 4)
        if len(numbers) < 8:
            return Layout(magic, cut="it ends before the audio begins")
        offset, length = struct.unpack(">2I" if magic[:4] == b".snd" else "<2I", numbers)
        return Layout(magic, cut=_missing(start + offset, length, size))
    if magic[:4] == b"OggS":
        return _ogg_layout(descriptor, magic, start, size)
    # Where a FLAC file leaves its length open the decoder would take a tag for damage.
    tagged = magic[:4] == b"fLaC" and stop < size
    return Layout(magic, Part(b"", start, stop) if tagged else None)


def _behind_tags(descriptor: int) -> int:
    """Where the file begins behind ID3v2 tags."""
    start = 0
    while (head := os.pread(descriptor, 10, start))[:3] == b"ID3" and len(head) == 10:
        start += 10 + _seven_bits(head[6:]) + (10 if head[5] & 0x10 else 0)
    return start


def _before_tags(descriptor: int, size: int) -> int:
    """Where the file ends before ID3v1, ID3v2, Lyrics3 and APE tags."""
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
            return stop
        if not 0 < taken <= stop:
            return stop
        stop -= taken
    return stop


def _seven_bits(data: bytes) -> int:
    """A number of ID3, seven bits in each byte."""
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def _missing(offset: int, length: int, size: int) -> str | None:
    """What to say of audio of a claimed length, from a place on, in a file of this size."""
    missing = offset + length - size
    if missing > _TOLERANCE_BYTES and not _is_unknown(length):
        return f"its header claims {length} bytes of audio, but {missing} are missing"
    return None


def _is_unknown(length: int) -> bool:
    return any(low <= length <= high for low, high in _UNKNOWN_SIZES)


@dataclasses.dataclass
class _Chunks:
    """What a walk over chunks saw: the format chunk, whether a byte was left out, and the audio."""

    format: bytes = b""
    unpadded: bool = False
    audio: int | None = None
    claimed: int = 0


def _walk(descriptor: int, start: int, size: int, *, wanted: bytes, order: str) -> _Chunks:
    offset, long_length, seen = start + 12, _MAX_32_BITS, _Chunks()
    while offset + 8 <= size:
        name, length = struct.unpack(f"{order}4sI", os.pread(descriptor, 8, offset))
        offset += 8
        if name == b"ds64":  # RF64 has the length of the audio here
            long_length = int.from_bytes(os.pread(descriptor, 16, offset)[8:], "little")
        if name == wanted:
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


def _missing_of_chunk(
    descriptor: int, start: int, size: int, *, wanted: bytes, order: str
) -> tuple[_Chunks, str | None]:
    seen = _walk(descriptor, start, size, wanted=wanted, order=order)
    if seen.audio is None:
        return seen, "it ends before the audio begins"
    return seen, _missing(seen.audio, seen.claimed, size)


def _wav_layout(descriptor: int, magic: bytes, start: int, stop: int, size: int) -> Layout:
    order = ">" if magic[:4] == b"RIFX" else "<"
    seen, cut = _missing_of_chunk(descriptor, start, size, wanted=b"data", order=order)
    if cut is not None or seen.audio is None or not seen.format:
        return Layout(magic, cut=cut)
    riff_size = struct.unpack(f"{order}I", magic[4:8])[0]
    # A header that was completed counts all that stands behind it, or says how much.
    never_closed = seen.claimed == 0 and riff_size != size - start - 8 and seen.audio < stop
    open_with_tag = _is_unknown(seen.claimed) and stop < size and seen.audio < stop
    if not (never_closed or open_with_tag or seen.unpadded):
        return Layout(magic)
    length = seen.claimed if seen.unpadded and not never_closed else stop - seen.audio
    end = min(stop if length > stop - seen.audio else seen.audio + length, size)
    return Layout(magic, Part(_wav_head(order, seen.format, end - seen.audio), seen.audio, end))


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


def _cut_wave64(descriptor: int, size: int) -> str | None:
    offset = 40
    while offset + 24 <= size:
        # The length counts these 24 bytes.
        name, length = struct.unpack("<4s12xQ", os.pread(descriptor, 24, offset))
        if name == b"data":
            return _missing(offset + 24, length - 24, size)
        offset += max(24, length + -length % 8)
    return "it ends before the audio begins"


def _ogg_layout(descriptor: int, magic: bytes, start: int, size: int) -> Layout:
    """Goes from page to page: what follows the last one does not matter, a gap between two does."""
    offset, flags, begun = start, 0, False
    while True:
        head = os.pread(descriptor, 27 + 255, offset)
        if head[:4] != b"OggS" or len(head) < 27 or len(head) < 27 + head[26]:
            break
        end = offset + 27 + head[26] + sum(head[27 : 27 + head[26]])
        if end > size:
            return Layout(magic, cut="its last Ogg page is incomplete")
        flags = head[5]
        if flags & _OGG_FIRST_PAGE and begun:
            return Layout(
                magic,
                damage="holds several recordings one behind the other (a chain of Ogg streams), of "
                "which only the first would be heard; cut it into parts",
            )
        begun = begun or not flags & _OGG_FIRST_PAGE
        offset = end
    part = Part(b"", start, offset) if start else None
    if offset < size and _find(descriptor, b"OggS", offset) is not None:
        if head[:4] == b"OggS":
            return Layout(magic, cut="its last Ogg page is incomplete")
        return Layout(magic, damage=f"is damaged, byte {offset} begins no Ogg page; fetch it again")
    if not flags & _OGG_LAST_PAGE:
        return Layout(magic, cut="its last Ogg page is missing")
    return Layout(magic, part)


def _find(descriptor: int, wanted: bytes, offset: int) -> int | None:
    """Where some bytes stand in a file from a place on."""
    while data := os.pread(descriptor, _SEARCH_BYTES, offset):
        place = data.find(wanted)
        if place >= 0:
            return offset + place
        if len(data) < _SEARCH_BYTES:
            return None
        offset += len(data) - len(wanted) + 1
    return None


class PartOfFile:
    """A part of an open file as a file of its own, for a decoder that reads by callbacks.

    A Python exception cannot pass through the decoder's C code. Where the system fails to read, the
    decoder therefore sees the end of the file, and `open_audio` then finds that samples are
    missing.

    Args:
      descriptor: of a file that is open for reading.
      part: the part of it.
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
