"""Measures the MixIT loss, forward and backward: by inner products, and by exhaustive search.

Two references, one batch of noise. The exhaustive search builds the sums of all 2^M assignments,
as the loss is usually written, and stops at M = 8. Every row runs in a process of its own; all take
turns. With one thread times are processor seconds, else seconds of the clock; all are medians.
Memory is the most that the process held in a call, above what it held with its inputs alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

from benchmark_process import BenchmarkProcess, add_arguments, run_benchmark, summarize

from sepcon.reports.comparison import align

_MOST_FOR_EXHAUSTIVE = 8
_COLUMNS = ("search", "sources", "milliseconds", "mib_above_inputs", "processor_share")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    return run_benchmark(_parse(arguments), _run, _text)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, nargs="+", default=[8, 16], metavar="M")
    add_arguments(parser, batch=4)
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    kinds = [("products", sources) for sources in options.sources]
    kinds += [("exhaustive", m) for m in options.sources if m <= _MOST_FOR_EXHAUSTIVE]
    with ExitStack() as stack:
        processes = {kind: stack.enter_context(closing(_process(options, *kind))) for kind in kinds}
        peaks = {kind: process.warm_up("step") for kind, process in processes.items()}
        rounds = [
            {kind: process.sample("step") for kind, process in processes.items()}
            for _ in range(options.rounds)
        ]
    rows = []
    for kind in kinds:
        timing = summarize([each[kind] for each in rounds], threads=options.threads)
        above = peaks[kind] - processes[kind].introduction["held_bytes"]
        values = (*kind, 1e3 * timing.seconds, above / 2.0**20, timing.processor_share)
        rows.append(dict(zip(_COLUMNS, values, strict=True)))
    return {
        "tensorflow": next(iter(processes.values())).introduction["tensorflow"],
        "rows": rows,
        "ratios": _ratios(rows),
    }


def _process(options: argparse.Namespace, search: str, sources: int) -> BenchmarkProcess:
    words = [f"--search={search}", f"--sources={sources}"]
    words += [f"--{name}={getattr(options, name)}" for name in ("batch", "seconds", "threads")]
    return BenchmarkProcess("mixit_process.py", words)


def _ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Exhaustive by inner products at each M, and inner products at each M by the first M."""
    times = {(row["search"], row["sources"]): row["milliseconds"] for row in rows}
    searched = [m for search, m in times if search == "exhaustive"]
    ratios = {
        f"exhaustive / products, M = {m}": times["exhaustive", m] / times["products", m]
        for m in searched
    }
    first, *others = [m for search, m in times if search == "products"]
    ratios |= {
        f"products, M = {m} / M = {first}": times["products", m] / times["products", first]
        for m in others
    }
    return ratios


def _text(result: Mapping[str, Any]) -> str:
    forms = ("", "", ".1f", ".0f", ".0%")
    cells = [
        [format(row[column], form) for column, form in zip(_COLUMNS, forms, strict=True)]
        for row in result["rows"]
    ]
    ratios = [f"{name}: {value:.1f}" for name, value in result["ratios"].items()]
    return "\n".join([align([_COLUMNS, *cells]), *ratios])


if __name__ == "__main__":
    sys.exit(main())
