"""Mutated audio files through the one decoder, each with a limit of time and memory.

What may become of a file: it is decoded, or refused in one line by an AudioError. Everything else
is a fault of the decoder: a crash, a hang, more memory than the limit, another exception, a line of
some library on standard error. Encoders write the time and random numbers into some kinds, so that
the same seed does not make quite the same file again: files at fault are kept.
"""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from fire_mutations import mutated
from fire_process import CHATTER, CRASHED, DONE, HUNG, REFUSED, TRACEBACK, Worker, scratch_folder
from fire_table import Table

DECODED = "decoded"
KINDS = (
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ALAW"),
    ("WAV", "MS_ADPCM"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "GSM610"),
    ("AIFF", "PCM_16"),
    ("AIFF", "FLOAT"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
)
SECONDS, _MEMORY_BYTES = 10.0, 1 << 30


def table() -> Table:
    """An empty table."""
    bad = (CRASHED, HUNG, TRACEBACK, CHATTER)
    return Table("Mutated audio files through the decoder", "file", (DECODED, REFUSED), bad)


def originals(generator: np.random.Generator) -> dict[str, bytes]:
    """Returns a short whole file of every kind, and some of kinds that pipes and recorders make."""
    made = {}
    for container, subtype in KINDS:
        length = int(generator.integers(800, 6000))
        channels = 1 if subtype == "GSM610" else int(generator.integers(1, 3))
        file = io.BytesIO()
        samples = 0.1 * generator.normal(size=(length, channels))
        soundfile.write(file, samples, 16000, format=container, subtype=subtype)
        made[f"{container} {subtype}"] = file.getvalue()
    return made | _left_open(made)


def _left_open(made: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files whose sizes were never filled in, tagged ones, and chains."""
    flac = bytearray(made["FLAC PCM_16"])
    flac[21] &= 0xF0
    flac[22:26] = b"\0" * 4
    wav, aiff, caf = made["WAV PCM_16"], made["AIFF PCM_16"], made["CAF PCM_16"]
    w64, au, rf64 = made["W64 PCM_16"], made["AU PCM_16"], made["RF64 PCM_16"]
    unknown, none = struct.pack("<I", 0xFFFFFFFF), b"\0" * 4
    tag = b"ID3\3\0\0\0\0\1\0" + b"\0" * 200
    return {
        "FLAC of a pipe": bytes(flac),
        "WAV of a pipe": wav[:4] + unknown + wav[8:40] + unknown + wav[44:],
        "WAV never closed": wav[:4] + none + wav[8:40] + none + wav[44:],
        "AIFF never closed": _with(aiff, b"SSND", 4, none),
        "CAF of a pipe": _with(caf, b"data", 4, b"\xff" * 8),
        "W64 of a pipe": _with(w64, b"data", 16, b"\xff" * 8),
        "AU of a pipe": au[:8] + unknown + au[12:],
        "RF64 of a pipe": _with(rf64, b"ds64", 8, b"\xff" * 16),
        "MP3 without its length": made["MP3 MPEG_LAYER_III"]
        .replace(b"Xing", none)
        .replace(b"Info", none),
        "MP3 with a tag": tag + made["MP3 MPEG_LAYER_III"],
        "FLAC with a tag": tag + made["FLAC PCM_16"],
        "chain of Ogg": made["OGG VORBIS"] + made["OGG OPUS"],
    }


def _with(data: bytes, name: bytes, offset: int, changed: bytes) -> bytes:
    """A file with other bytes at an offset from a name in it."""
    place = data.index(name) + offset
    return data[:place] + changed + data[place + len(changed) :]


def mutations(
    whole: Mapping[str, bytes], seed: int, count: int
) -> Iterator[tuple[int, str, bytes]]:
    """Yields number, kind and content of mutated files.

    Args:
      whole: a file of each kind.
      seed: decides with the number of a file how it is changed.
      count: how many.
    """
    kinds = list(whole)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        yield number, kind, mutated(whole[kind], np.random.default_rng([seed, number]))


def fire(
    told: Table,
    *,
    count: int,
    seed: int,
    seconds: float = SECONDS,
    memory_bytes: int = _MEMORY_BYTES,
    keep: Path | None = None,
    whole: Mapping[str, bytes] | None = None,
    decode: Callable[[str], tuple[str, str]] | None = None,
) -> Iterator[int]:
    """Decodes mutated files in a process of its own; yields after each how many are done.

    Args:
      told: receives what became of each.
      count: how many.
      seed: of the mutations.
      seconds: for one file, before it counts as a hang.
      memory_bytes: that the decoder may take beyond what it has at its start.
      keep: a folder for files at fault; None keeps none.
      whole: a file of each kind; audio by default.
      decode: what decodes a file, in the fork, and says what became of it; that of audio by
        default.
    """
    whole, slowest = whole or originals(np.random.default_rng(seed)), 0.0
    with (
        scratch_folder() as scratch,
        Worker(
            decode or _decode,
            seconds=seconds,
            memory_bytes=memory_bytes,
            prepare=soundfile.available_formats,
        ) as worker,
    ):
        path = scratch / "mutated"
        for number, kind, data in mutations(whole, seed, count):
            path.write_bytes(data)
            start = time.perf_counter()
            became, detail = _became(*worker.call(str(path)))
            slowest = max(slowest, time.perf_counter() - start)
            told.add(kind, became, f"file {number} of seed {seed}: {detail}")
            if became in told.bad and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{seed}-{number}").write_bytes(data)
            grown = worker.largest_bytes / 1e6
            told.notes["most"] = (
                f"Slowest file {slowest:.2f} s (limit {seconds:g} s), largest growth of memory "
                f"{grown:.0f} MB (limit {memory_bytes / 1e6:.0f} MB)."
            )
            yield number + 1


def _became(called: str, answer: Any, said: str) -> tuple[str, str]:
    if called != DONE:
        return called, f"{answer} {said[-200:]}"
    became, detail = answer
    return (CHATTER, repr(said)) if said and became != TRACEBACK else (became, detail)


def _decode(path: str) -> tuple[str, str]:
    """Decodes a file, in the fork; returns what became of it, and more of it in a line."""
    from sepcon.audio import decode
    from sepcon.audio.files import AudioError

    try:
        audio = decode.decode_file(path)
    except AudioError as error:
        whole = "\n" not in str(error) and str(error).startswith(path)
        return (REFUSED if whole else TRACEBACK), str(error)
    except BaseException as error:
        return TRACEBACK, f"{type(error).__name__}: {error}"
    if not len(audio) or audio.dtype != np.int16:
        return TRACEBACK, f"gave {audio.dtype} {audio.shape}"
    return DECODED, ""
