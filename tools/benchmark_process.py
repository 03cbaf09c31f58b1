"""A process whose calls are timed from outside, one at a time, so that several can take turns.

Each line on its standard input names a call, and a line of JSON answers it. Knows nothing of
TensorFlow: the process that runs the reference implementation needs another Keras than sepcon.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcon.errors import SepconError

Call = Callable[[], Any]
GEMM_SIZE = 2048
_WARM_UPS = 2
_PEAKS = 3
GEMM_GFLOP = 2e-9 * GEMM_SIZE**3


@dataclasses.dataclass(frozen=True)
class Sample:
    """One call: seconds of the clock, and of all processors together."""

    seconds: float
    cpu_seconds: float


@dataclasses.dataclass(frozen=True)
class Timing:
    """Medians of the samples of a call.

    Attributes:
      seconds: processor seconds on one thread, as other programs on the core then do not count;
        seconds of the clock on more.
      processor_share: processor seconds by seconds of the clock: how far the core was its own.
    """

    seconds: float
    processor_share: float


def summarize(samples: Sequence[Sample], *, threads: int) -> Timing:
    """Returns the medians of the samples of one call."""
    taken = [each.cpu_seconds if threads == 1 else each.seconds for each in samples]
    shares = [each.cpu_seconds / each.seconds for each in samples]
    return Timing(statistics.median(taken), statistics.median(shares))


def timed(call: Call) -> Sample:
    """Runs a call once."""
    seconds, cpu_seconds = time.perf_counter(), time.process_time()
    call()
    return Sample(time.perf_counter() - seconds, time.process_time() - cpu_seconds)


def peak_bytes(call: Call) -> int:
    """Runs a call and returns the most memory that this process held meanwhile."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    call()
    return _status_bytes("VmHWM")


def held_bytes() -> int:
    """Returns how much memory this process holds."""
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None, name
    return 1024 * int(match[1])


def serve(calls: Mapping[str, Call], introduction: Mapping[str, Any]) -> None:
    """Answers on standard output until standard input ends; what else is printed goes to stderr.

    Args:
      calls: by name. `peak NAME` asks for the memory of a call instead of its time.
      introduction: the first line, to which the memory held before any call is added.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({**introduction, "held_bytes": held_bytes()}), file=answers, flush=True)
    for line in sys.stdin:
        kind, _, name = line.strip().rpartition(" ")
        answer: Any = peak_bytes(calls[name]) if kind else dataclasses.asdict(timed(calls[name]))
        print(json.dumps(answer), file=answers, flush=True)


class BenchmarkProcess:
    """The other end of `serve`.

    Args:
      script: Python file beside this one that calls `serve`.
      words: its arguments.
      python: the interpreter that runs it; that of this process by default.

    Raises:
      SepconError: it ended; the message is the last line that it left.
    """

    def __init__(self, script: str, words: Sequence[str], python: str | None = None) -> None:
        self._script = script
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - see close
        self._process = subprocess.Popen(
            [python or sys.executable, str(Path(__file__).with_name(script)), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # Another interpreter finds sepcon's exceptions where this one does.
            env={
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "CUDA_VISIBLE_DEVICES": "-1",
                "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
                **os.environ,
            },
        )
        self.introduction: dict[str, Any] = self._read()

    def close(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def sample(self, name: str) -> Sample:
        """Lets it run a call."""
        return Sample(**self._ask(name))

    def warm_up(self, name: str) -> int:
        """Lets it run a call several times, and returns the most memory it held in the later ones.

        More than one of these count, as that was seen to differ.
        """
        for _ in range(_WARM_UPS):
            self.sample(name)
        return max(self._ask(f"peak {name}") for _ in range(_PEAKS))

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # reading says why
            print(line, file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        lines = [each for each in self._errors.read().splitlines() if each.strip()]
        reason = lines[-1].strip() if lines else f"code {code}"
        raise SepconError(f"{self._script} of the benchmark ended: {reason}")


def add_arguments(parser: argparse.ArgumentParser, *, batch: int) -> None:
    """Adds what all benchmarks can be told; `batch` is how many clips are worked on by default."""
    parser.add_argument("--batch", type=int, default=batch, help="clips at once; %(default)s")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a clip; %(default)g")
    parser.add_argument("--threads", type=int, default=1, help="of each process; %(default)s")
    parser.add_argument("--rounds", type=int, default=10, help="samples of each call; %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_benchmark(
    options: argparse.Namespace,
    run: Callable[[argparse.Namespace], dict[str, Any]],
    text: Callable[[Mapping[str, Any]], str],
) -> int:
    """Runs a benchmark and prints what it found; returns the exit code."""
    try:
        for name in ("batch", "seconds", "threads", "rounds"):
            if not getattr(options, name) > 0:
                raise SepconError(f"--{name}: got {getattr(options, name)}, expected more than 0")
        result = {
            name: getattr(options, name) for name in ("threads", "batch", "seconds", "rounds")
        }
        result |= run(options)
    except SepconError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if options.json else f"{_head(result)}\n{text(result)}")
    return 0


def _head(result: Mapping[str, Any]) -> str:
    return (
        f"TensorFlow {result['tensorflow']}, threads {result['threads']}, batch {result['batch']} "
        f"x {result['seconds']:g} s, medians of {result['rounds']}"
    )
