"""Prints the processor seconds of a command of sepcon: the median of several starts.

    python tools/processor_time.py pretrain --gin_file=data/builtin_scenes.gin --gin_file=tiny.gin

Each start has a run folder of its own; all share prepared data, which a start before them makes.
User and system time of the process and of all that it starts are counted, not the time of a clock:
other processes change them less.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="starts; %(default)s")
    options, words = parser.parse_known_args(arguments)
    if options.runs < 1:
        print(f"sepcon: error: --runs: got {options.runs}, expected 1 or more", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        data = f"--gin_bindings=DATA_DIR='{folder}/data'"
        seconds = []
        for number in range(options.runs + 1):
            code, spent = _run([*words, data, f"--run_dir={folder}/{number}"], Path(folder))
            if code != 0:
                return code
            seconds.append(spent)
    for spent in seconds[1:]:
        print(f"{spent:.2f}")
    print(f"median {statistics.median(seconds[1:]):.2f} s of the processor")
    return 0


def _run(words: Sequence[str], folder: Path) -> tuple[int, float]:
    """Runs a command, whose output goes to a file; returns its code and processor seconds."""
    before = _spent()
    with open(folder / "output.txt", "w+") as output:
        command = [sys.executable, "-m", "sepcon", *words]
        code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
        if code != 0:
            output.seek(0)
            print(output.read(), file=sys.stderr, end="")
    return code, _spent() - before


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
