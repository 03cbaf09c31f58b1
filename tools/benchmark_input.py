"""Measures the input of pretraining: bytes that are read for those that are used, and its speed.

Makes clips of noise with separated channels in --folder. "patches" is the stream of pretraining:
kinds, places and channels are drawn first, then the patches are read. "whole clips" is what it was
before: each example brings its clip and all channels, of which two patches are used. Both read the
same number of examples, by one process and by several, each of which reads its rows of the batch.

Cold, the system is told to forget the files before; then bytes come from the disk, in whole pages.
"the disk" reads the same files from end to end, cold. Speeds are examples in a second of one core's
time, and of the clock for all processes together; the clock says little while others use the disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sepcon.errors import SepconError
from sepcon.reports.comparison import align

_COLUMNS = ("form", "state", "processes", "read_by_used", "disk_by_used", "per_core", "per_second")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    options = _parse(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="sepcon_input_", dir=options.folder) as folder:
            result = _run(options, Path(folder))
    except SepconError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if options.json else text(result))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--clips", type=int, default=128, help="made; %(default)s")
    add("--channels", type=int, default=8, help="of each; 0 for mixtures alone; %(default)s")
    add("--clip_seconds", type=float, default=10.0, help="%(default)g")
    add("--patch_seconds", type=float, default=0.975, help="%(default)g")
    add("--batch", type=int, default=64, help="examples in a global batch; %(default)s")
    add("--batches", type=int, default=8, help="read of each form; %(default)s")
    add("--processes", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    add("--threads", type=int, default=1, help="that read, in each process; %(default)s")
    add("--folder", help="on the disk to be measured; default: that of temporary files")
    add("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from input_process import FORMS, Setting, make

    for name in ("clips", "batch", "batches", "threads"):
        if getattr(options, name) < 1:
            raise SepconError(f"--{name}: got {getattr(options, name)}, expected 1 or more")
    for number in options.processes:
        if number < 1 or options.batch % number:
            raise SepconError(f"--processes: {number} cannot share --batch={options.batch}")
    names = ("channels", "clip_seconds", "patch_seconds", "batch", "threads")
    setting = Setting(folder, **{name: getattr(options, name) for name in names})
    files = make(setting, options.clips)
    rows = []
    for processes in options.processes:
        shared = dataclasses.replace(setting, workers=processes)
        with ExitStack() as stack:
            workers = [stack.enter_context(_Worker(shared, n)) for n in range(processes)]
            for form in FORMS:
                for state in ("cold", "warm"):
                    if state == "cold":
                        _forget(files)
                    taken = _together(workers, form, options.batches)
                    rows.append({"form": form, "state": state, "processes": processes, **taken})
    return {
        **{name: getattr(options, name) for name in (*names, "clips", "batches")},
        "disk_megabytes_per_second": _disk_speed(files),
        "rows": rows,
    }


class _Worker:
    """A process that reads; see input_process.py."""

    def __init__(self, setting: Any, number: int) -> None:
        values = dataclasses.asdict(setting) | {"folder": str(setting.folder)}
        script = str(Path(__file__).with_name("input_process.py"))
        words = [f"--setting={json.dumps(values)}", f"--worker={number}"]
        self._process = subprocess.Popen(
            [sys.executable, script, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **os.environ},
        )
        self._answer()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def ask(self, form: str, batches: int) -> None:
        """Tells it to read; `answer` waits for what that took."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([form, batches]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, float]:
        return json.loads(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SepconError("input_process.py has ended; see above")
        return line


def _together(workers: Sequence[_Worker], form: str, batches: int) -> dict[str, float]:
    """What all of them read at the same time, added up; seconds are those of the slowest."""
    for worker in workers:
        worker.ask(form, batches)
    answers = [worker.answer() for worker in workers]
    return combined(answers)


def combined(answers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Adds up what processes that read at the same time have taken."""
    names = ("examples", "used", "cpu_seconds", "read", "from_disk")
    sums = {name: sum(answer[name] for answer in answers) for name in names}
    seconds = max(answer["seconds"] for answer in answers)
    return {
        **sums,
        "seconds": seconds,
        "read_by_used": sums["read"] / sums["used"],
        "disk_by_used": sums["from_disk"] / sums["used"],
        "per_core": sums["examples"] / sums["cpu_seconds"],
        "per_second": sums["examples"] / seconds,
    }


def _forget(files: Sequence[Path]) -> None:
    """Has the system drop what it holds of the files in memory."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _disk_speed(files: Sequence[Path]) -> float:
    """Megabytes in a second, of the files read from end to end."""
    _forget(files)
    start, size = time.perf_counter(), 0
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while data := file.read(1 << 20):
                size += len(data)
    return 1e-6 * size / (time.perf_counter() - start)


def text(result: Mapping[str, Any]) -> str:
    """Returns the result as a table."""
    head = [
        "form",
        "files",
        "processes",
        "bytes read / used",
        "from disk / used",
        "examples/s and core",
        "examples/s",
    ]
    rows = [
        [
            str(row["form"]),
            str(row["state"]),
            str(row["processes"]),
            f"{row['read_by_used']:.2f}",
            f"{row['disk_by_used']:.2f}",
            f"{row['per_core']:,.0f}",
            f"{row['per_second']:,.0f}",
        ]
        for row in result["rows"]
    ]
    return (
        f"{result['clips']} clips of {result['clip_seconds']:g} s with {result['channels']} "
        f"channels, patches of {result['patch_seconds']:g} s, batches of {result['batch']}\n"
        f"the disk: {result['disk_megabytes_per_second']:,.0f} MB/s from end to end\n\n"
        + align([head, *rows])
    )


if __name__ == "__main__":
    sys.exit(main())
