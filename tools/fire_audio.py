"""Sends mutated audio files through the decoder, each with a limit of time and memory, and counts.

    python tools/fire_audio.py --files 10000 --seed 0

What may become of a file: it is decoded, or refused in one line by an AudioError. Everything else
is a fault of the decoder: a crash, a hang, more memory than the limit, another exception, a line of
some library on standard error. The table says how many of each there were; exit code 1 if any.
Files at fault are kept in --keep; encoders write the time and random numbers into some kinds, so
that the same seed does not make quite the same file again.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import io
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile

DECODER_COMMAND = [sys.executable, __file__]
DECODED, REFUSED = "decoded", "refused"
EXPECTED = (DECODED, REFUSED)
CRASHED, HUNG, OTHER, CHATTER = "crashed", "hung", "other exception", "chatter on stderr"
FAULTS = (CRASHED, HUNG, OTHER, CHATTER)
_KINDS = (
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "MS_ADPCM"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
)
# Numbers that break arithmetic: none, signs, the greatest of 16, 24, 31 and 32 bits.
_EDGES = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0xFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TAGS = (b"TAG" + b"\0" * 125, b"\r\n", b"APETAGEX" + b"\xff" * 24, b"ID3\4\0\0\x7f\x7f\x7f\x7f")


@dataclasses.dataclass
class Table:
    """What became of mutated files.

    Attributes:
      counts: files by (kind of file, what became of it).
      slowest_seconds: of one file.
      largest_bytes: the peak of memory of a process that decoded, above that of its start.
      faults: what went wrong, one line each.
    """

    counts: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    slowest_seconds: float = 0.0
    largest_bytes: int = 0
    faults: list[str] = dataclasses.field(default_factory=list)

    def total(self, outcome: str) -> int:
        """Files of every kind of which this became."""
        return sum(count for (_, became), count in self.counts.items() if became == outcome)

    def text(self) -> str:
        """The table as Markdown."""
        columns = (*EXPECTED, *FAULTS)
        lines = ["| file | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for kind in sorted({kind for kind, _ in self.counts}):
            cells = " | ".join(str(self.counts[kind, became]) for became in columns)
            lines.append(f"| {kind} | {cells} |")
        lines.append("| all | " + " | ".join(str(self.total(name)) for name in columns) + " |")
        lines.append(
            f"\nslowest file {self.slowest_seconds:.2f} s, largest growth of memory "
            f"{self.largest_bytes / 1e6:.0f} MB"
        )
        return "\n".join(lines)


def originals(generator: np.random.Generator) -> dict[str, bytes]:
    """Returns a short whole file of every kind."""
    made = {}
    for container, subtype in _KINDS:
        length, channels = int(generator.integers(800, 6000)), int(generator.integers(1, 3))
        file = io.BytesIO()
        samples = 0.1 * generator.normal(size=(length, channels))
        soundfile.write(file, samples, 16000, format=container, subtype=subtype)
        made[f"{container} {subtype}"] = file.getvalue()
    return made


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """Changes a file in one to three of the ways in which files go wrong, or are made to."""
    for _ in range(int(generator.integers(1, 4))):
        change = _CHANGES[int(generator.integers(len(_CHANGES)))]
        data = change(data, generator) or b"\0"
    return data


def _place(data: bytes, generator: np.random.Generator) -> int:
    """A place in a file, every other time in its header."""
    end = len(data) if generator.random() < 0.5 else min(len(data), 128)
    return int(generator.integers(end))


def _flip(data: bytes, generator: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(generator.integers(1, 9))):
        changed[_place(data, generator)] ^= int(generator.integers(1, 256))
    return bytes(changed)


def _edge(data: bytes, generator: np.random.Generator) -> bytes:
    width, place = int(generator.choice([2, 3, 4, 8])), _place(data, generator)
    number = int(generator.choice(_EDGES)) & (1 << 8 * width) - 1
    order = "little" if generator.random() < 0.7 else "big"
    return data[:place] + number.to_bytes(width, order) + data[place + width :]  # type: ignore[arg-type]


def _cut(data: bytes, generator: np.random.Generator) -> bytes:
    return data[: int(generator.integers(1, len(data) + 1))]


def _drop(data: bytes, generator: np.random.Generator) -> bytes:
    place = _place(data, generator)
    return data[:place] + data[place + int(generator.integers(1, 400)) :]


def _insert(data: bytes, generator: np.random.Generator) -> bytes:
    place = _place(data, generator)
    return data[:place] + generator.bytes(int(generator.integers(1, 400))) + data[place:]


def _repeat(data: bytes, generator: np.random.Generator) -> bytes:
    first, second = sorted((_place(data, generator), _place(data, generator)))
    return data[:second] + data[first:]


def _tag(data: bytes, generator: np.random.Generator) -> bytes:
    tag = _TAGS[int(generator.integers(len(_TAGS)))]
    return data + tag if generator.random() < 0.6 else tag + data


_CHANGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    _flip,
    _edge,
    _edge,
    _cut,
    _drop,
    _insert,
    _repeat,
    _tag,
)


def mutations(
    whole: Mapping[str, bytes], seed: int, num_files: int
) -> Iterator[tuple[int, str, bytes]]:
    """Yields number, kind and content of mutated files.

    Args:
      whole: a file of each kind.
      seed: decides with the number of a file how it is changed.
      num_files: how many.
    """
    kinds = list(whole)
    for number in range(num_files):
        generator = np.random.default_rng([seed, number])
        kind = kinds[number % len(kinds)]
        yield number, kind, mutated(whole[kind], generator)


def fire(
    *,
    num_files: int,
    seed: int = 0,
    seconds: float = 10.0,
    memory_bytes: int = 1 << 30,
    keep: Path | None = None,
) -> Table:
    """Decodes mutated files in a process of its own, which is replaced when it dies or hangs.

    Args:
      num_files: how many.
      seed: of the mutations.
      seconds: for one file, before it counts as a hang.
      memory_bytes: that a decoder may take beyond what it has at its start.
      keep: a folder for files at fault; None keeps none.
    """
    table, whole = Table(), originals(np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as scratch, _Decoder(memory_bytes) as decoder:
        path = Path(scratch, "mutated")
        for number, kind, data in mutations(whole, seed, num_files):
            path.write_bytes(data)
            start = time.perf_counter()
            became, detail = decoder.decode(path, seconds)
            table.slowest_seconds = max(table.slowest_seconds, time.perf_counter() - start)
            table.counts[kind, became] += 1
            if became not in EXPECTED:
                table.faults.append(f"{kind}, file {number} of seed {seed}: {became}: {detail}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{seed}-{number}").write_bytes(data)
        table.largest_bytes = decoder.largest_bytes
    return table


class _Decoder:
    """A process that decodes one file after the other, and says what became of each."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[str] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self.largest_bytes = 0

    def decode(self, path: Path, seconds: float) -> tuple[str, str]:
        """Returns what became of the file, and more of it in a line."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        before = os.fstat(self._stderr.fileno()).st_size
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        answer = process.stdout.readline() if ready else ""
        if not answer:
            process.kill()
            code = process.wait()
            self._process = None
            return (CRASHED, f"exit code {code}") if ready else (HUNG, f"over {seconds} s")
        became, detail, grown = json.loads(answer)
        self.largest_bytes = max(self.largest_bytes, grown)
        said = os.pread(self._stderr.fileno(), 300, before)
        if said and became in EXPECTED:
            return CHATTER, repr(said)
        return became, detail

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [*DECODER_COMMAND, "--decode", str(self._memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
                env={**os.environ, "PYTHONWARNINGS": "always"},
            )
            assert self._process.stdout is not None
            self._process.stdout.readline()  # It says that it has started.
        return self._process

    def __enter__(self) -> _Decoder:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
        self._stderr.close()


def _decode_for_parent(memory_bytes: int) -> None:
    """Reads paths from standard input and writes to standard output what became of each."""
    from sepcon.audio.decode import decode_file
    from sepcon.audio.files import AudioError

    soundfile.available_formats()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes,) * 2)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("started", flush=True)
    for line in sys.stdin:
        became, detail = DECODED, ""
        try:
            audio = decode_file(line.rstrip("\n"))
            if not len(audio) or audio.dtype != np.int16:
                became, detail = OTHER, f"gave {audio.dtype} {audio.shape}"
        except AudioError as error:
            became, detail = REFUSED, str(error)
            if "\n" in detail or not detail.startswith(line.rstrip("\n")):
                became = OTHER
        except BaseException as error:
            became, detail = OTHER, f"{type(error).__name__}: {error}"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1024
        print(json.dumps([became, detail, grown]), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="mutated files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="limit for one file")
    parser.add_argument("--memory_mb", type=int, default=1024, help="limit beside the start's")
    parser.add_argument("--keep", type=Path, help="folder for files at fault")
    parser.add_argument("--decode", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.decode is not None:
        _decode_for_parent(given.decode)
        return 0
    table = fire(
        num_files=given.files,
        seed=given.seed,
        seconds=given.seconds,
        memory_bytes=given.memory_mb << 20,
        keep=given.keep,
    )
    print(table.text())
    for fault in table.faults:
        print(fault)
    return 1 if table.faults else 0


if __name__ == "__main__":
    sys.exit(main())
