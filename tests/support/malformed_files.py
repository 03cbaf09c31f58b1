"""A folder of malformed recordings, generated from a seed, with what must become of each."""

import dataclasses
import io
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

# Every fourth file of the folder is a good one with a name of this kind; so are the bad ones.
NAMES = [
    "plain",
    "with space",
    "日本語の録音",
    "запись",
    "تسجيل",
    "हिन्दी",
    "👩‍🚀🎧",
    "e\u0301 and é",
    "line\nbreak",
    "tab\tbell\a",
    "\x1b[31mred\x1b[0m",
    "-rf",
    "--separator=x",
    "%s%n{0}$HOME`id`",
    "<script>alert(1)<br>",
    "quote'\"\\",
    "#?&=:",
    "\u202etxt.live",
    "x" * 245,
    "ж" * 122,
    os.fsdecode(b"not \xff\xfe utf-8"),
    "a..b",
    "con.wav",
]


@dataclasses.dataclass(frozen=True)
class Made:
    """What was made. `expected`: done, failed, or either where the decoder may well read it."""

    path: Path
    kind: str
    expected: str


def _sound(generator: np.random.Generator, channels: int = 1) -> np.ndarray:
    return generator.normal(0.0, 0.1, (int(generator.integers(400, 6000)), channels))


def _encode(audio: np.ndarray, format: str, subtype: str | None = None, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=format, subtype=subtype)
    return file.getvalue()


def _wav(
    data: bytes = b"\0\0" * 500,
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = 16000,
    bits: int = 16,
    claimed: int | None = None,
) -> bytes:
    """A WAV file by hand, so that every number of its header can be wrong."""
    width = max(1, channels * bits // 8)
    form = struct.pack(
        "<HHIIHH", tag, channels, rate, rate * width & 0xFFFFFFFF, width & 0xFFFF, bits
    )
    size = len(data) if claimed is None else claimed
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) & 0xFFFFFFFF) + b"WAVE" + chunks


def _float_wav(values: np.ndarray) -> bytes:
    return _wav(values.astype("<f4").tobytes(), tag=3, bits=32)


def _good(generator: np.random.Generator) -> tuple[str, bytes]:
    ending = str(generator.choice(["wav", "flac", "ogg", "mp3", "aiff"]))
    rate = int(generator.choice([8000, 16000, 22050, 44100]))
    channels = int(generator.integers(1, 3))
    return ending, _encode(_sound(generator, channels), ending.upper(), rate=rate)


def _with_bad_number(generator: np.random.Generator) -> bytes:
    values = _sound(generator)[:, 0]
    values[generator.integers(len(values))] = generator.choice([np.nan, np.inf, -np.inf])
    return _float_wav(values)


def _cut(generator: np.random.Generator) -> tuple[str, bytes]:
    ending, data = _good(generator)
    return ending, data[: generator.integers(1, len(data))]


def _flipped(generator: np.random.Generator) -> tuple[str, bytes]:
    ending, data = _good(generator)
    changed = bytearray(data)
    for place in generator.integers(0, len(data), 8):
        changed[place] ^= int(generator.integers(1, 256))
    return ending, bytes(changed)


def _flac_that_claims_hours(generator: np.random.Generator) -> bytes:
    data = bytearray(_encode(_sound(generator), "FLAC"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    return bytes(data)


def _garbage(generator: np.random.Generator) -> bytes:
    return generator.bytes(int(generator.integers(1, 5000)))


# kind: (what must become of it, generator -> (ending, bytes)).
CONTENTS: dict[str, tuple[str, Callable[[np.random.Generator], tuple[str, bytes]]]] = {
    "cut": ("either", _cut),
    "flipped bytes": ("either", _flipped),
    "empty": ("failed", lambda g: (str(g.choice(["wav", "mp3", "ogg", "flac"])), b"")),
    "not a number": ("failed", lambda g: ("wav", _with_bad_number(g))),
    "no samples": ("failed", lambda g: ("wav", _wav(b""))),
    "7 channels": ("done", lambda g: ("wav", _encode(_sound(g, 7), "WAV", "FLOAT"))),
    "4 GHz": ("failed", lambda g: ("wav", _wav(rate=int(g.integers(2**31 - 9, 2**32))))),
    "7 Hz": ("failed", lambda g: ("wav", _wav(rate=int(g.integers(0, 900))))),
    "text": ("failed", lambda g: (str(g.choice(["wav", "flac", "ogg"])), b"Dear diary,\n" * 9)),
    "garbage": ("either", lambda g: (str(g.choice(["wav", "mp3", "ogg", "flac"])), _garbage(g))),
    "mp3 garbage": ("either", lambda g: ("mp3", b"\xff\xfb\x90\x64" + _garbage(g))),
    "picture": ("failed", lambda g: ("flac", b"\x89PNG\r\n\x1a\n" + _garbage(g))),
    "claims more": ("failed", lambda g: ("wav", _wav(claimed=int(g.integers(2000, 2**30))))),
    "claims less": ("done", lambda g: ("wav", _wav(g.bytes(900), claimed=500))),
    "size left open": ("done", lambda g: ("wav", _wav(g.bytes(900), claimed=0xFFFFFFFF))),
    "no channel": ("failed", lambda g: ("wav", _wav(channels=0))),
    "many channels": ("failed", lambda g: ("wav", _wav(channels=int(g.integers(1025, 2**16))))),
    "13 bits": ("either", lambda g: ("wav", _wav(bits=int(g.choice([0, 13, 57, 65535]))))),
    "unknown codec": ("failed", lambda g: ("wav", _wav(tag=0x1234))),
    "hours claimed": ("failed", lambda g: ("flac", _flac_that_claims_hours(g))),
    "header alone": ("failed", lambda g: ("wav", _wav()[: int(g.integers(1, 40))])),
    "too loud": ("failed", lambda g: ("wav", _float_wav(np.full(500, 3e38)))),
    "denormal": ("done", lambda g: ("wav", _float_wav(np.full(500, 1e-40)))),
}
THINGS = ["folder", "nested folder", "dangling", "itself", "loop", "pipe", "device", "locked"]


def _make_thing(path: Path, kind: str) -> None:
    """What is no file with content."""
    if kind == "folder":
        path.mkdir()
    elif kind == "nested folder":
        (path / "deeper").mkdir(parents=True)
        (path / "deeper" / "notes.txt").write_text("no sound")
    elif kind == "dangling":
        path.symlink_to("gone.wav")
    elif kind == "itself":
        path.symlink_to(path.name)
    elif kind == "loop":
        path.symlink_to(path.parent, target_is_directory=True)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(_wav())
        path.chmod(0)


def make_malformed(root: Path, *, count: int, num_good: int, seed: int = 0) -> list[Made]:
    """Fills a folder with `count` malformed things of every kind and some good recordings."""
    generator = np.random.default_rng(seed)
    # Nobody is locked out who is root.
    kinds = [*CONTENTS, *(t for t in THINGS if t != "locked" or os.geteuid())]
    chosen = [kinds[number % len(kinds)] for number in range(count)] + ["good"] * num_good
    return list(_make_all(root, [chosen[i] for i in generator.permutation(len(chosen))], generator))


def _make_all(root: Path, kinds: list[str], generator: np.random.Generator) -> Iterator[Made]:
    for number, kind in enumerate(kinds):
        if kind == "good":
            expected, (ending, data) = "done", _good(generator)
        elif kind in CONTENTS:
            expected, make = CONTENTS[kind]
            ending, data = make(generator)
        else:
            expected, ending, data = "failed", "wav", None
        folder = root / str(number % 7)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{NAMES[number % len(NAMES)]}{number}.{ending}"
        if data is None:
            _make_thing(path, kind)
        else:
            path.write_bytes(data)
        yield Made(path, kind, expected)
