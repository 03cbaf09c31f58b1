"""Finds where the audio of a file lies, and whether all of it is there, from its container alone.

libsndfile decodes a WAV, AIFF, AU, CAF or Ogg file that was cut off as if it were a shorter
recording; the container says how much audio there should be. On the other hand libsndfile refuses
complete recordings that have a tag in front or behind, or a header that the recorder never
completed, and decodes some tags as sound; for these files this module finds the part to decode. It
reads a few headers, of MP3 those of all frames, never the audio.
"""

from __future__ import annotations

import dataclasses
import os
import struct

from sepcon.audio.chunked_layouts import aiff_layout, au_layout, caf_layout
from sepcon.audio.flac_frames import flac_layout, holds_another_stream
from sepcon.audio.layout import SEVERAL, SIDE_BY_SIDE, Layout, Part, find
from sepcon.audio.mpeg_frames import mpeg_layout
from sepcon.audio.tags import before_tags, behind_tags
from sepcon.audio.wave_layout import wav_layout, wave64_layout

_MAGIC_BYTES = 12
_OGG_FIRST_PAGE, _OGG_LAST_PAGE = 2, 4
_OGG_NAME_BYTES = 8
# What the first page of a stream of sound begins with.
_OGG_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")


def layout_of(descriptor: int, *, to_end: bool = False) -> Layout:
    """Looks at the container of an open file.

    WAV (with RF64 and Wave64), AIFF, AU and CAF: over 128 bytes less of audio than the header
    claims is a cut. Ogg: a last page that is incomplete or not marked as last, bytes between pages,
    or pages that are missing. Other containers do not tell, or the decoder complains.

    Args:
      descriptor: of the open file.
      to_end: whether to look through the whole file where only that shows that it holds several
        recordings (FLAC); for files that are going to be read whole.

    Raises:
      OSError: the file cannot be read.
    """
    size = os.fstat(descriptor).st_size
    start = behind_tags(descriptor)
    stop = max(start, before_tags(descriptor, size))
    magic = os.pread(descriptor, _MAGIC_BYTES, start)
    if len(magic) < _MAGIC_BYTES:
        return Layout(magic)
    match magic[:4]:
        case b"RIFF" | b"RF64" | b"RIFX" | b"BW64":
            return wav_layout(descriptor, magic, start, stop, size)
        case b"riff":
            return wave64_layout(descriptor, magic, start, size)
        case b"FORM":
            return aiff_layout(descriptor, magic, start, size)
        case b".snd" | b"dns.":
            return au_layout(descriptor, magic, start, size)
        case b"caff":
            return caf_layout(descriptor, magic, start, size)
        case b"OggS":
            return _ogg_layout(descriptor, magic, start, size)
        case b"fLaC":
            stop = max(start, before_tags(descriptor, size, search=True))
            if to_end and holds_another_stream(descriptor, start):
                return Layout(magic, damage=SEVERAL.format(what="FLAC files put together"))
            return flac_layout(descriptor, magic, start, stop, size)
    return mpeg_layout(descriptor, magic, start, stop)


def _ogg_layout(descriptor: int, magic: bytes, start: int, size: int) -> Layout:
    """Goes from page to page: what follows the last one does not matter, a gap between two does."""
    pages, offset = _OggPages(), start
    while True:
        head = os.pread(descriptor, 27 + 255, offset)
        if head[:4] != b"OggS" or len(head) < 27 or len(head) < 27 + head[26]:
            break
        first_byte = offset + 27 + head[26]
        end = first_byte + sum(head[27 : 27 + head[26]])
        if end > size:
            return Layout(magic, cut="its last Ogg page is incomplete")
        damage = pages.add(head, os.pread(descriptor, _OGG_NAME_BYTES, first_byte), offset)
        if damage is not None:
            return Layout(magic, damage=damage)
        offset = end
    part = Part(b"", start, offset) if start else None
    if offset < size and find(descriptor, b"OggS", offset) is not None:
        if head[:4] == b"OggS":
            return Layout(magic, cut="its last Ogg page is incomplete")
        return Layout(magic, damage=f"is damaged, byte {offset} begins no Ogg page; fetch it again")
    if not pages.flags & _OGG_LAST_PAGE:
        return Layout(magic, cut="its last Ogg page is missing")
    return Layout(magic, part, damage=pages.end_damage())


@dataclasses.dataclass
class _OggPages:
    """What the pages of an Ogg file say of each other, one after the other.

    Attributes:
      flags: of the last page so far.
      begun: whether a page came that is not the first of its stream.
      sounding: serial number of the stream of sound, once it has begun.
      number: of its last page.
      position: where the sound of that page ends; 0 for a page of headers.
      is_ordered: whether that position is one, and not before that of an earlier page.
    """

    flags: int = 0
    begun: bool = False
    sounding: int | None = None
    number: int = 0
    position: int = 0
    is_ordered: bool = True

    def add(self, head: bytes, content: bytes, offset: int) -> str | None:
        """Takes the next page; returns what is wrong with the file."""
        self.flags, position, serial, number = struct.unpack("<BqII", head[5:22])
        if self.flags & _OGG_FIRST_PAGE:
            if self.begun:
                return SEVERAL.format(what="a chain of Ogg streams")
            if not content.startswith(_OGG_SOUND):
                return None
            if self.sounding is not None:
                return SIDE_BY_SIDE
            self.sounding, self.number = serial, number
            return None
        self.begun = True
        if serial == self.sounding:
            # Between headers and sound a station that is listened to later leaves a gap.
            if self.position > 0 and number > self.number + 1:
                return f"is damaged, pages before byte {offset} are missing; fetch it again"
            self.number = number
            if head[26]:  # A page that only ends the stream may hold nothing.
                self.is_ordered = position >= self.position
                self.position = max(position, self.position)
        return None

    def end_damage(self) -> str | None:
        """What is wrong with where the sound is said to end."""
        if self.is_ordered:
            return None
        return "is damaged, its last page does not say where the sound ends; fetch it again"
