"""Audio files as bytes, made by hand where no library writes them so."""

import io
import struct

import numpy as np
import soundfile

RATE = 16000
PIPE = 0x7FFFF000  # what sox, mplayer and others leave where they cannot go back


def tone(length: int = 4000) -> np.ndarray:
    """Int16 [samples] without a zero at the ends."""
    time = np.arange(length) / RATE
    return np.rint(9000 * np.cos(2 * np.pi * 440 * time) + 37).astype(np.int16)


def stored(samples: np.ndarray, width: int, channels: int) -> bytes:
    """Samples as little-endian integers of `width` bytes, the same in every channel."""
    wide = (samples.astype("<i4") << 8 * (width - 2)).tobytes()
    of_one = [wide[4 * n : 4 * n + width] * channels for n in range(len(samples))]
    return b"".join(of_one)


def fmt(width: int = 2, channels: int = 1, order: str = "<") -> bytes:
    block = width * channels
    numbers = (16, 1, channels, RATE, RATE * block, block, 8 * width)
    return b"fmt " + struct.pack(f"{order}IHHIIHH", *numbers)


def chunk(name: bytes, content: bytes, *, size: int | None = None, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(content) if size is None else size) + content


def riff(*chunks: bytes, size: int | None = None, magic: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    order = ">" if magic == b"RIFX" else "<"
    return magic + struct.pack(f"{order}I", len(body) if size is None else size) + body


ID3V2 = b"ID3\3\0\0" + bytes([0, 0, 40, 0]) + b"\0" * (40 * 128)


def encoded(kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(), RATE, format=kind, subtype=subtype)
    return file.getvalue()


def without_length(flac: bytes) -> bytes:
    """The file as a program writes it into a pipe: the number of samples is left open."""
    changed = bytearray(flac)
    changed[21] &= 0xF0
    changed[22:26] = b"\0" * 4
    return bytes(changed)


def ogg_pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    pages = []
    while data:
        head = 27 + data[26]
        size = head + sum(data[27:head])
        pages.append(data[:size])
        data = data[size:]
    return pages


def ogg_page(page: bytes, *, position: int | None = None, serial: int | None = None) -> bytes:
    """A page with another position of its end or another number of its stream, and its checksum."""
    changed = bytearray(page)
    if position is not None:
        changed[6:14] = struct.pack("<q", position)
    if serial is not None:
        changed[14:18] = struct.pack("<I", serial)
    changed[22:26] = b"\0" * 4
    checksum = 0
    for byte in changed:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum >> 31 else 0)) & 0xFFFFFFFF
    changed[22:26] = struct.pack("<I", checksum)
    return bytes(changed)
