"""Trains the shallow classifier on as many clips as AudioSet has, and evaluates it in full.

Writes synthetic embeddings (tools/scale_data.py says of what kind), trains for one pass over them,
reading shards as `sepcon benchmark` does, and evaluates on clips of their own. Every stage stands
beside the least that its bytes or its arithmetic allow, measured in the same process:

- reading: the same files from the disk as plain bytes, through a checksum;
- training and prediction: floating point operations at the rate at which TensorFlow multiplies
  large matrices, measured before every block of steps, and the bytes;
- metrics: sorting the scores of every class, without which there is no ranking;
- bootstrap: bringing the weights of all resamples into the order of every class and adding them.

Stages and bounds are compared in processor seconds, so that other programs on the machine do not
count; those that do little but read, in seconds of the clock, for they wait for the disk, which
nothing else should use meanwhile. Files are read from the disk, not from what the system holds of
them in memory.

Memory is the most that the process ever held (getrusage), before scikit-learn is loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark_process import GEMM_GFLOP
from scale_data import NUM_CLASSES

from sepcon.embeddings.sources import HELD_BYTES
from sepcon.errors import SepconError
from sepcon.reports.comparison import align

_MIB = 2.0**20


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    options = _parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="sepcon_scale_", dir=options.folder))
    try:
        result = _run(options, folder)
    except SepconError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder)
    print(json.dumps(result, indent=2) if options.json else _text(result))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default, what in (
        ("clips", 2_000_000, "clips to train on"),
        ("evaluation_clips", 20_000, "clips to evaluate on"),
        ("dim", 512, "numbers in an embedding"),
        ("shard_size", 8192, "clips in a file"),
        ("batch", 1024, "clips in a step"),
        ("resamples", 1000, "of the bootstrap"),
        ("threads", 2, "of the process"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what}; %(default)s")
    parser.add_argument("--folder", help="where the embeddings may lie meanwhile (5.2 GB)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    names = ("clips", "evaluation_clips", "dim", "shard_size")
    row_bytes = 4 * options.dim + NUM_CLASSES
    if options.clips * row_bytes <= HELD_BYTES:
        raise SepconError(
            f"--clips: {options.clips} clips would be held in memory; give more than "
            f"{HELD_BYTES // row_bytes}"
        )
    start = time.monotonic()
    _start("scale_data.py", folder, options, names)
    generated = time.monotonic() - start
    output = _start("scale_process.py", folder, options, ("batch", "threads", "resamples"))
    measured = json.loads(output.splitlines()[-1])
    settings = {name: getattr(options, name) for name in (*names, "batch", "threads", "resamples")}
    return {
        **settings,
        **measured,
        "seconds_of_generation": generated,
        "stages": _stages(measured),
    }


def _start(script: str, folder: Path, options: argparse.Namespace, names: Sequence[str]) -> str:
    words = [f"--{name}={getattr(options, name)}" for name in names]
    process = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), f"--folder={folder}", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **os.environ},
    )
    if process.returncode:
        raise SepconError(f"{script} ended with code {process.returncode}; see above")
    return process.stdout


def _stages(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each stage with its time and the least that its bytes or its arithmetic allow."""
    # What the clock ran for beside the pass itself.
    others = ("row statistics", "mean average precision", "gemm")
    seconds, cpu = (
        {**taken, "pass": taken["training"] - sum(taken[each] for each in others)}
        for taken in (measured["seconds"], measured["cpu_seconds"])
    )
    read = cpu["raw reading"]
    cpu_per_gflop = measured["gemm_cpu_seconds"] / GEMM_GFLOP
    computed = measured["train_gflop"] * cpu_per_gflop
    predicted = measured["predict_gflop"] * cpu_per_gflop
    predicted += read * measured["test_bytes"] / measured["train_bytes"]
    bounds = {
        "row statistics": ("statistics, one pass", seconds, seconds["raw reading"]),
        "reading": ("reading beside the steps", seconds, seconds["raw reading"]),
        "steps": ("steps of the training pass", cpu, computed),
        "pass": ("training pass as a whole", cpu, computed + read),
        "mean average precision": ("validation", cpu, predicted + cpu["sorting"]),
        "prediction": ("prediction", cpu, predicted),
        "metrics": ("mAP, AUC, d-prime, lwlrap", cpu, cpu["sorting"]),
        "bootstrap": ("bootstrap", cpu, cpu["gathering"]),
    }
    return [
        {
            "stage": name,
            "seconds": seconds[key],
            "cpu_seconds": cpu[key],
            "bound": bound,
            "bound_of": "disk" if taken is seconds else "processors",
            "ratio": taken[key] / bound,
        }
        for key, (name, taken, bound) in bounds.items()
    ]


def _text(result: Mapping[str, Any]) -> str:
    cells = [
        [
            row["stage"],
            f"{row['seconds']:.2f}",
            f"{row['cpu_seconds']:.2f}",
            f"{row['bound']:.2f} ({row['bound_of']})",
            f"{row['ratio']:.2f}",
        ]
        for row in result["stages"]
    ]
    rate = result["train_bytes"] / 1e9 / result["seconds"]["raw reading"]
    gemm, cpu = (GEMM_GFLOP / result[name] for name in ("gemm_seconds", "gemm_cpu_seconds"))
    return "\n".join(
        [
            f"TensorFlow {result['tensorflow']}, {result['clips']:,} clips of {result['dim']}, "
            f"{result['train_bytes'] / 1e9:.2f} GB in shards of {result['shard_size']}, batch "
            f"{result['batch']}, {result['threads']} threads, {result['resamples']} resamples",
            align([["stage", "seconds", "processor seconds", "bound", "ratio"], *cells]),
            f"peak memory {result['peak_bytes'] / _MIB:,.0f} MiB; GEMM {gemm:.0f} GFLOP in a "
            f"second, {cpu:.0f} in a processor second; disk {rate:.2f} GB/s",
            f"scikit-learn, mAP and AUC: {result['seconds']['scikit-learn']:.2f} s, "
            f"{result['cpu_seconds']['scikit-learn']:.2f} processor seconds, differs by "
            f"{result['difference_to_scikit_learn']:.1e}",
            f"mAP {result['mAP']:.3f} ({result['mAP_interval'][0]:.3f} to "
            f"{result['mAP_interval'][1]:.3f}), AUC {result['AUC']:.3f}, d-prime "
            f"{result['d_prime']:.2f}, lwlrap {result['lwlrap']:.3f}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
