"""Measures sepcon on two versions of TensorFlow, which take turns.

    python tools/benchmark_versions.py --other=.venv-tfio/bin/python

--other takes the Python of another environment; it runs the sepcon of this checkout too. Timed are
training steps of encoders and of the separator of gin/models/separator_tdcn.gin, and how long a
command loads TensorFlow. A matrix product is timed among the steps, which tells whether both had
the same machine. With one thread times are processor seconds, else seconds of the clock; all are
medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

from benchmark_process import BenchmarkProcess, add_arguments, run_benchmark, summarize

from sepcon.errors import SepconError
from sepcon.reports.comparison import align

SEPARATOR, LOADING = "separator", "loading TensorFlow"
_NETWORKS = ("mobilenet_v2", "resnet50", SEPARATOR)
_PATCHES, _PATCH_SECONDS = 16, 0.96
_LOAD = "from sepcon import startup; startup.load_tensorflow()"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    return run_benchmark(_parse(arguments), _run, _text)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--other", required=True, metavar="PYTHON", help="of the other environment")
    add_arguments(parser, batch=1)
    parser.set_defaults(seconds=4.0)
    parser.add_argument(
        "--networks",
        nargs="+",
        default=_NETWORKS,
        metavar="NAME",
        help=f"encoders, of {_PATCHES} patches for each clip, and {SEPARATOR}; %(default)s",
    )
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    versions: list[str] = []
    for network in options.networks:
        row, versions = _row(options, network)
        rows.append(row)
    rows.append(_loading(options))
    return {"tensorflow": " and ".join(versions), "rows": rows}


def _row(options: argparse.Namespace, network: str) -> tuple[dict[str, Any], list[str]]:
    pythons = (sys.executable, options.other)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(closing(_process(options, network, python))) for python in pythons
        ]
        for process in processes:
            process.warm_up("step")
        rounds = [
            {call: [process.sample(call) for process in processes] for call in ("step", "gemm")}
            for _ in range(options.rounds)
        ]
    steps, products = (
        [
            summarize([each[call][side] for each in rounds], threads=options.threads).seconds
            for side in (0, 1)
        ]
        for call in ("step", "gemm")
    )
    described = [process.introduction for process in processes]
    versions = [each.get("library") or each["tensorflow"] for each in described]
    return _compared(network, steps) | {"gemm_ratio": products[0] / products[1]}, versions


def _process(options: argparse.Namespace, network: str, python: str) -> BenchmarkProcess:
    if network == SEPARATOR:
        words = ["--gin_file=models/separator_tdcn.gin", f"--threads={options.threads}"]
        words += [f"--batch={options.batch}", f"--seconds={options.seconds}"]
        return BenchmarkProcess("separator_process.py", words, python)
    words = [f"--network={network}", "--form=float32", f"--batch={_PATCHES * options.batch}"]
    words += [f"--seconds={_PATCH_SECONDS}", "--pairs=1", f"--threads={options.threads}"]
    return BenchmarkProcess("encoder_process.py", words, python)


def _loading(options: argparse.Namespace) -> dict[str, Any]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for round_ in range(options.rounds + 1):
        for python, side in zip((sys.executable, options.other), seconds, strict=True):
            spent = _processor_seconds(python)
            if round_ > 0:  # The first compiles modules.
                side.append(spent)
    return _compared(LOADING, [median(side) for side in seconds])


def _processor_seconds(python: str) -> float:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | os.environ
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [python, "-c", _LOAD],
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
        capture_output=True,
        check=False,
    )
    if ended.returncode != 0:
        raise SepconError(f"{python}: cannot load TensorFlow (code {ended.returncode})")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _compared(what: str, seconds: Sequence[float]) -> dict[str, Any]:
    here, other = seconds
    return {"what": what, "here": here, "other": other, "ratio": here / other}


def _text(result: Mapping[str, Any]) -> str:
    head = ["", "s", "s, --other", "ratio", "ratio of matrix products"]
    columns = {"what": "", "here": ".3f", "other": ".3f", "ratio": ".2f", "gemm_ratio": ".2f"}
    cells = [
        [format(row[column], form) if column in row else "" for column, form in columns.items()]
        for row in result["rows"]
    ]
    return align([head, *cells])


if __name__ == "__main__":
    sys.exit(main())
