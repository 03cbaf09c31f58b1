"""Which files hold audio, by their names and first bytes, and which of them libsndfile reads."""

from __future__ import annotations

import os
from pathlib import Path

_READ = (
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp3 .mp2 .mpga .aif .aiff .aifc .au .snd "
    ".caf"
)
AUDIO_ENDINGS = frozenset(_READ.split())

# Files that hold audio, or video with it, that libsndfile does not read.
_NOT_READ = (
    ".m4a .m4b .m4r .mp4 .m4v .mov .3gp .3g2 .aac .adts .ac3 .eac3 .dts .amr .awb .wma .asf .wmv "
    ".webm .weba .mka .mkv .avi .flv .ape .wv .tta .tak .mpc .mpp .dsf .dff .ra .rm .spx .gsm .qcp "
    ".oma .aa .aax .mid .midi"
)
UNREAD_ENDINGS = frozenset(_NOT_READ.split())

FFMPEG_LINE = "ffmpeg -i IN -vn OUT.flac"

# The first bytes of what libsndfile reads, with what has to follow behind the size.
_READ_MAGIC = {
    b"RIFF": b"WAVE",
    b"RIFX": b"WAVE",
    b"RF64": b"WAVE",
    b"BW64": b"WAVE",
    b"riff": b"",
    b"fLaC": b"",
    b"OggS": b"",
    b".snd": b"",
    b"caff": b"",
}


def looks_like_audio(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like an audio file that libsndfile reads; for names without an ending.

    MP3 files are known only where a tag or a frame stands at the very beginning.

    Args:
      path: the file; one that cannot be read is no audio.
    """
    try:
        # Opening a pipe would wait for a writer for ever.
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    if head[:4] == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC")
    if head[:3] == b"ID3":
        return True
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return head[1] & 0x18 != 0x08 and head[2] & 0xF0 not in (0x00, 0xF0)
    return head[:4] in _READ_MAGIC and head[8:].startswith(_READ_MAGIC[head[:4]])


def how_to_convert(path: str | os.PathLike[str], head: bytes) -> str | None:
    """Says how to convert a file of an audio format that libsndfile does not read.

    Args:
      path: the file.
      head: its first 12 bytes.

    Returns:
      A few words for an error message; None if it is not of a known audio format.
    """
    name = _name(head) or (
        Path(path).suffix.lower() if Path(path).suffix.lower() in UNREAD_ENDINGS else None
    )
    return None if name is None else f"it is {name}, convert it first: {FFMPEG_LINE}"


def _name(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return "MP4 (m4a, mp4, mov)"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "Matroska (webm, mkv)"
    if head[:4] == b"0&\xb2u":
        return "Windows Media (wma)"
    if head[:5] == b"#!AMR":
        return "AMR"
    if head[:2] in (b"\xff\xf1", b"\xff\xf9"):
        return "AAC"
    if head[:4] in (b"MAC ", b"wvpk", b"TTA1", b"tBaK"):
        return "a lossless format other than FLAC"
    return None
