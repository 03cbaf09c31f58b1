"""Measures a separator: size, arithmetic, time and memory, beside the speed of the machine.

Each network runs in a process of its own; all take turns, so that what disturbs one disturbs all.
In each of these processes a float32 matrix product of 2048 x 2048 is timed among the samples: the
GEMM peak. A training step is forward pass, MixIT loss, backward pass and Adam. Achieved GFLOP/s
count matrix products and convolutions alone, a step as three forward passes. With one thread times
are processor seconds, else seconds of the clock; all are medians.

--reference takes a checkout of google-research/sound-separation, of which the same step is timed;
that needs `pip install tf_keras attrs immutabledict`, tf_keras of TensorFlow's version.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from benchmark_process import (
    GEMM_GFLOP,
    BenchmarkProcess,
    Sample,
    add_arguments,
    run_benchmark,
    summarize,
)

from sepcon.errors import SepconError
from sepcon.reports.comparison import align

_CALLS = ("gemm", "forward", "step")
_MIB = 2.0**20
# What of a SeparatorConfig the reference leaves a choice of; in all else it has the defaults.
_CHOSEN = {
    "num_sources",
    "sample_rate_hz",
    "basis",
    "window_seconds",
    "hop_seconds",
    "num_coefficients",
    "mixture_consistency",
    "matmul_dtype",
}
_CONSISTENCIES = {"predicted": "pred_source", "magnitude_squared": "magsq", "uniform": "uniform"}
# What a table shows of a row: its head and its form.
_COLUMNS = {
    "network": ("", ""),
    "call": ("", ""),
    "seconds": ("s", ".3f"),
    "times_real_time": ("x real time", ".1f"),
    "gflop_per_second": ("GFLOP/s", ".0f"),
    "gemm_gflop_per_second": ("GEMM peak", ".0f"),
    "fraction_of_gemm": ("fraction", ".0%"),
    "peak_mib": ("peak MiB", ".0f"),
    "mib_above_baseline": ("above baseline", ".0f"),
    "processor_share": ("of a core", ".0%"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    return run_benchmark(_parse(arguments), _run, _text)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gin_file", action="append", help="of the network; default: models/separator_tdcn.gin"
    )
    parser.add_argument("--gin_bindings", action="append", default=[], help="of the network")
    parser.add_argument("--bfloat16", action="store_true", help="time it with bfloat16 too")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="time this checkout too")
    add_arguments(parser, batch=2)
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        network = stack.enter_context(closing(_separator(options)))
        described = network.introduction
        processes = {described["config"]["matmul_dtype"]: network}
        if options.bfloat16:
            binding = "SeparatorConfig.matmul_dtype='bfloat16'"
            processes["bfloat16"] = stack.enter_context(closing(_separator(options, binding)))
        if options.reference:
            processes["reference"] = stack.enter_context(closing(_reference(options, described)))
        # The smaller call first: memory that a call gives back stays with the process.
        memory = {
            name: {call: process.warm_up(call) for call in _CALLS}
            for name, process in processes.items()
        }
        samples = _in_turns(processes, options.rounds)
    audio_seconds = options.batch * options.seconds
    rows = [
        _row(name, call, samples, described["gflop"], audio_seconds, options.threads)
        | _memory_of(processes[name], memory[name][call])
        for name in processes
        for call in ("forward", "step")
    ]
    return {
        "tensorflow": described["tensorflow"],
        "parameters": {name: each.introduction["parameters"] for name, each in processes.items()},
        "gflop_per_second_of_audio": described["gflop"] / audio_seconds,
        "rows": rows,
        "ratios": _ratios(rows),
    }


def _separator(options: argparse.Namespace, *further: str) -> BenchmarkProcess:
    files = options.gin_file or ["models/separator_tdcn.gin"]
    words = [f"--gin_file={each}" for each in files]
    words += [f"--gin_bindings={each}" for each in [*options.gin_bindings, *further]]
    words += [f"--{name}={getattr(options, name)}" for name in ("batch", "seconds", "threads")]
    return BenchmarkProcess("separator_process.py", words)


def _reference(options: argparse.Namespace, described: Mapping[str, Any]) -> BenchmarkProcess:
    hparams = _reference_hparams(described["config"], described["defaults"])
    words = [f"--reference={options.reference}", f"--hparams={json.dumps(hparams)}"]
    words += [f"--batch={options.batch}", f"--samples={described['samples']}"]
    try:
        return BenchmarkProcess("reference_process.py", [*words, f"--threads={options.threads}"])
    except SepconError as error:
        raise SepconError(
            f"the reference in {options.reference} cannot be run: {error}; expected a checkout of "
            "google-research/sound-separation, and tf_keras, attrs and immutabledict installed"
        ) from None


def _reference_hparams(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The reference's hyperparameters for the network that a SeparatorConfig describes."""
    for name, only in defaults.items():
        if name not in _CHOSEN and config[name] != only:
            raise SepconError(
                f"SeparatorConfig.{name}: got {config[name]!r}, but the reference has only "
                f"{only!r}; leave --reference out"
            )
    return {
        "sr": config["sample_rate_hz"],
        "ws": config["window_seconds"],
        "hs": config["hop_seconds"],
        "learn_basis": config["basis"] == "learned",
        "num_coeffs": config["num_coefficients"],
        "mix_weights_type": _CONSISTENCIES[config["mixture_consistency"]],
        "signal_names": [f"source_{m}" for m in range(config["num_sources"])],
    }


def _in_turns(
    processes: Mapping[str, BenchmarkProcess], rounds: int
) -> dict[tuple[str, str], list[Sample]]:
    samples: dict[tuple[str, str], list[Sample]] = {}
    for _ in range(rounds):
        for name, process in processes.items():
            for call in _CALLS:
                samples.setdefault((name, call), []).append(process.sample(call))
    return samples


def _row(
    name: str,
    call: str,
    samples: Mapping[tuple[str, str], Sequence[Sample]],
    gflop: float,
    audio_seconds: float,
    threads: int,
) -> dict[str, Any]:
    timing = summarize(samples[name, call], threads=threads)
    gemm_rate = GEMM_GFLOP / summarize(samples[name, "gemm"], threads=threads).seconds
    rate = (3 if call == "step" else 1) * gflop / timing.seconds
    return {
        "network": name,
        "call": call,
        **dataclasses.asdict(timing),
        "gflop_per_second": rate,
        "gemm_gflop_per_second": gemm_rate,
        "fraction_of_gemm": rate / gemm_rate,
        "times_real_time": audio_seconds / timing.seconds,
    }


def _memory_of(process: BenchmarkProcess, peak: int) -> dict[str, float]:
    above = peak - process.introduction["held_bytes"]
    return {"peak_mib": peak / _MIB, "mib_above_baseline": above / _MIB}


def _ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Time of each network's calls by that of every later one, as "a / b, call"."""
    names = list(dict.fromkeys(row["network"] for row in rows))
    seconds = {(row["network"], row["call"]): row["seconds"] for row in rows}
    return {
        f"{a} / {b}, {call}": seconds[a, call] / seconds[b, call]
        for call in ("forward", "step")
        for number, b in enumerate(names)
        for a in names[:number]
    }


def _text(result: Mapping[str, Any]) -> str:
    cells = [
        [format(row[key], form) for key, (_, form) in _COLUMNS.items()] for row in result["rows"]
    ]
    heads = [title or key for key, (title, _) in _COLUMNS.items()]
    parameters = ", ".join(f"{name} {n:,}" for name, n in result["parameters"].items())
    head = (
        f"parameters: {parameters}\n"
        f"GFLOP per second of audio: {result['gflop_per_second_of_audio']:.3f} (forward)"
    )
    ratios = "\n".join(f"{name}: {value:.3f}" for name, value in result["ratios"].items())
    return "\n".join([head, align([heads, *cells]), ratios]).rstrip()


if __name__ == "__main__":
    sys.exit(main())
