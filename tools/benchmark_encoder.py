"""Measures training steps of encoders and the NT-Xent loss, beside PyTorch where it is given.

A step is forward pass, backward pass and Adam on a batch of log-mel patches of 64 bands, in float32
and with maps in bfloat16. NT-Xent is measured forward and backward: sepcon's, and as it is usually
written. Every row runs in a process of its own, and rows of one network take turns, with a float32
product of 2048 x 2048 among them: the GEMM peak. With one thread times are processor seconds, else
seconds of the clock; all are medians.

--torch takes a Python of an environment with torch and torchvision, whose networks of the same
names are measured in the same way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

from benchmark_process import (
    GEMM_GFLOP,
    BenchmarkProcess,
    add_arguments,
    run_benchmark,
    summarize,
)

from sepcon.reports.comparison import align

NT_XENT = "nt_xent"
_NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0", NT_XENT)
_PRECISIONS = ("float32", "bfloat16")
# What a table shows of a row: its head and its form.
_COLUMNS = {
    "network": ("", ""),
    "library": ("", ""),
    "form": ("", ""),
    "seconds": ("s", ".3f"),
    "gemm_gflop_per_second": ("GEMM peak", ".0f"),
    "peak_mib": ("peak MiB", ".0f"),
    "processor_share": ("of a core", ".0%"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    return run_benchmark(_parse(arguments), _run, _text)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, batch=64)
    parser.set_defaults(seconds=0.96)
    parser.add_argument(
        "--networks", nargs="+", default=_NETWORKS, metavar="NAME", help="%(default)s"
    )
    parser.add_argument("--pairs", type=int, default=4096, help="of NT-Xent; %(default)s")
    parser.add_argument("--torch", metavar="PYTHON", help="with torch and torchvision")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    rows = [row for network in options.networks for row in _rows(options, network)]
    return {"tensorflow": rows[0].pop("version"), "rows": rows, "ratios": _ratios(rows)}


def _rows(options: argparse.Namespace, network: str) -> list[dict[str, Any]]:
    """All forms of one network, which take turns."""
    forms = ("own", "plain") if network == NT_XENT else _PRECISIONS
    kinds = [("sepcon", form) for form in forms]
    if options.torch:
        kinds += [("torch", form) for form in (("plain",) if network == NT_XENT else _PRECISIONS)]
    with ExitStack() as stack:
        processes = {
            kind: stack.enter_context(closing(_process(options, network, *kind))) for kind in kinds
        }
        peaks = {kind: process.warm_up("step") for kind, process in processes.items()}
        rounds = [
            {
                (kind, call): process.sample(call)
                for kind, process in processes.items()
                for call in ("step", "gemm")
            }
            for _ in range(options.rounds)
        ]
    rows = []
    for library, form in kinds:
        kind = (library, form)
        step, gemm = (
            summarize([each[kind, call] for each in rounds], threads=options.threads)
            for call in ("step", "gemm")
        )
        rows.append(
            {
                "version": processes[kind].introduction["library"],
                "network": network,
                "library": library,
                "form": form,
                "seconds": step.seconds,
                "gemm_gflop_per_second": GEMM_GFLOP / gemm.seconds,
                "peak_mib": peaks[kind] / 2.0**20,
                "processor_share": step.processor_share,
            }
        )
    return rows


def _process(
    options: argparse.Namespace, network: str, library: str, form: str
) -> BenchmarkProcess:
    words = [f"--network={network}", f"--form={form}"]
    names = ("batch", "seconds", "pairs", "threads")
    words += [f"--{name}={getattr(options, name)}" for name in names]
    if library == "torch":
        return BenchmarkProcess("torch_encoder_process.py", words, options.torch)
    return BenchmarkProcess("encoder_process.py", words)


def _ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What a user asks: sepcon by torch, bfloat16 by float32, NT-Xent by the usual form."""
    times = {(row["network"], row["library"], row["form"]): row["seconds"] for row in rows}
    ratios = {}
    for (network, library, form), seconds in times.items():
        if library != "sepcon":
            continue
        others = {
            "torch": (network, "torch", "plain" if network == NT_XENT else form),
            "sepcon in float32": (network, "sepcon", "float32"),
            "plain TensorFlow": (network, "sepcon", "plain"),
        }
        for name, other in others.items():
            if form != "plain" and other in times and other != (network, library, form):
                ratios[f"{network}, {form} / {name}"] = seconds / times[other]
    return ratios


def _text(result: Mapping[str, Any]) -> str:
    cells = [
        [format(row[column], form) for column, (_, form) in _COLUMNS.items()]
        for row in result["rows"]
    ]
    head = [name or column for column, (name, _) in _COLUMNS.items()]
    ratios = [f"{name}: {value:.2f}" for name, value in result["ratios"].items()]
    return "\n".join([align([head, *cells]), *ratios])


if __name__ == "__main__":
    sys.exit(main())
