"""Plans a run past this machine: work, bytes, disk and hours of each stage, as a table.

Operations are counted from the gin files: those of runs/, then --gin_file and --gin_bindings. A
step of training counts as three forward passes. How fast this machine is comes from --measure,
which times every stage for some seconds, or from what an earlier --measure has written.

An accelerator does --accelerator_tflops in a large matrix product. A stage reaches as large a share
of it as it reaches here of the product timed beside it, times --utilisation; several accelerators
keep --parallel_efficiency of their speed. Every host reads its share of a training's batches.
Nothing in this has been tried on an accelerator. Where --measure itself runs on one (it is shown
none unless CUDA_VISIBLE_DEVICES is set), its measured speed stands for --accelerator_tflops and
--utilisation.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmark_process import BenchmarkProcess, summarize
from plan_networks import Costs, Networks, network_costs, read_networks
from plan_stages import Cluster, Rates, Stage, Workload, duration, make_stages, total

from sepcon.errors import SepconError
from sepcon.reports.comparison import markdown
from sepcon.runs import run_folder

_DEFAULT_FILES = ("scale/audioset.gin",)
_CALLS = ("separator_forward", "separator_step", "pretraining_step", "embed")
_CHORES = ("import", "classifier", "records", "patches")
_ASSUMED_TFLOPS = 100.0
# 2.43 TB for the 1,774,615 clips of the parquet distribution: FLAC, 24 bits, 48 kHz.
_SOURCE_BYTES = 1.37e6
_POSITIVE = (
    "clips",
    "clip_seconds",
    "source_bytes",
    "classes",
    "separator_passes",
    "pretraining_passes",
    "benchmark_passes",
    "states",
    "accelerator_tflops",
    "utilisation",
    "read_megabytes",
    "reads_per_second",
    "parallel_efficiency",
    "per_host",
    "cores",
    "batch",
    "threads",
    "rounds",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the plan; returns the exit code."""
    options = _parse(arguments)
    try:
        _check(options)
        networks = read_networks(options.gin_file or _DEFAULT_FILES, options.gin_bindings)
        measured = _measured(options)
        work = workload(options)
        costs = network_costs(networks, clip_samples=work.clip_samples, num_classes=work.classes)
        result = plan(options, work, networks, costs, measured)
    except SepconError as error:
        print(f"sepcon: error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if options.json else text(result), end="\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--gin_file", action="append", help="of the networks; default: scale/audioset.gin")
    add("--gin_bindings", action="append", default=[], help="of the networks")
    add("--clips", type=int, default=2_000_000, help="default: %(default)s")
    add("--clip_seconds", type=float, default=10.0, help="default: %(default)g")
    add("--source_bytes", type=float, default=_SOURCE_BYTES, help="of a clip; %(default)g")
    add("--classes", type=int, default=527, help="of the benchmark; %(default)s")
    add("--separator_passes", type=float, default=10.0, help="over all clips; %(default)g")
    add("--pretraining_passes", type=float, default=100.0, help="over all clips; %(default)g")
    add("--benchmark_passes", type=float, default=20.0, help="of the classifier; %(default)g")
    add("--states", type=int, default=4, help="of the separator, to pretrain on; %(default)s")
    add("--tagging_seconds", type=float, default=0.0, help="of a core for a clip of an import with "
        "taggers, decoding included; 0, as by default: without them")  # fmt: skip
    add("--scores", type=int, default=0, help="of all taggers for a clip; %(default)s")
    add("--mean_embedding", action="store_true", help="one embedding a clip, not one a patch")
    add("--accelerators", type=int, nargs="+", default=[1, 8, 64], help="default: 1 8 64")
    add("--accelerator_tflops", type=float, help="of each; default: 100, or as measured on one")
    add("--utilisation", type=float, help="default: 0.5, or 1 if measured on an accelerator")
    add("--parallel_efficiency", type=float, default=0.9, help="default: %(default)g")
    add("--per_host", type=int, default=8, help="accelerators of a host at most; %(default)s")
    add("--cores", type=int, default=os.cpu_count(), help="of a host; here %(default)s")
    add(
        "--read_megabytes",
        type=float,
        default=3000.0,
        help="of a disk, a second and host; %(default)g",
    )
    add("--reads_per_second", type=float, default=4e5, help="of a disk, small ones; %(default)g")
    add("--measure", action="store_true", help="time this machine, and keep it in --measurement")
    add("--measurement", type=Path, default=Path("plan_measurement.json"), metavar="FILE",
        help="what --measure found; default: %(default)s")  # fmt: skip
    add("--batch", type=int, default=8, help="clips at once in --measure; %(default)s")
    add("--threads", type=int, default=os.cpu_count(), help="in --measure; here %(default)s")
    add("--rounds", type=int, default=3, help="samples of each call in --measure; %(default)s")
    add("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _check(options: argparse.Namespace) -> None:
    for name in _POSITIVE:
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise SepconError(f"--{name}: got {value}, expected more than 0")
    for name in ("tagging_seconds", "scores"):
        if not getattr(options, name) >= 0:
            raise SepconError(f"--{name}: got {getattr(options, name)}, expected 0 or more")
    if min(options.accelerators) < 1:
        raise SepconError(f"--accelerators: got {min(options.accelerators)}, expected 1 or more")


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    """Times this machine if that is asked for; else reads what was found before."""
    path = options.measurement.expanduser()
    if options.measure:
        measured = measure(options)
        run_folder.write_text(path, json.dumps(measured, indent=2) + "\n")
        return measured
    try:
        measured = json.loads(path.read_text())
        rates(measured, read_megabytes=1.0, reads_per_second=1.0, tagging_seconds=0.0)
    except FileNotFoundError:
        raise SepconError(f"{path}: no such file; give --measure once, it writes it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SepconError(
            f"{path}: is not what --measure writes ({error!r}); give --measure again"
        ) from error
    return measured


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Times every stage on this machine; what is done by call and the median seconds of each."""
    files = options.gin_file or _DEFAULT_FILES
    words = [f"--gin_file={each}" for each in files]
    words += [f"--gin_bindings={each}" for each in options.gin_bindings]
    words += [f"--batch={options.batch}", f"--threads={options.threads}"]
    with closing(BenchmarkProcess("plan_process.py", words)) as process:
        described = process.introduction
        names = list(described["work"])
        for name in names:
            process.sample(name)  # traces
        samples: dict[str, list[Any]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                samples[name].append(process.sample(name))
    on_cpu = described["device"] == "CPU"
    timings = {
        # On an accelerator what the processors do meanwhile says nothing.
        name: summarize(each, threads=options.threads if on_cpu else 0)
        for name, each in samples.items()
    }
    return {
        "tensorflow": described["tensorflow"],
        "device": described["device"],
        "threads": options.threads,
        "cores": os.cpu_count(),
        "gin_files": list(files),
        "gin_bindings": options.gin_bindings,
        "work": described["work"],
        "seconds": {name: timing.seconds for name, timing in timings.items()},
        "processor_share": {name: timing.processor_share for name, timing in timings.items()},
    }


def rates(
    measured: Mapping[str, Any],
    *,
    read_megabytes: float,
    reads_per_second: float,
    tagging_seconds: float,
) -> Rates:
    """What a measurement says the machine does in a second, beside what its disk gives.

    Args:
      measured: see `measure`.
      read_megabytes: see `Rates`, as is `reads_per_second`.
      reads_per_second: from places all over the disk.
      tagging_seconds: see `Workload`.
    """
    speed = {name: measured["work"][name] / measured["seconds"][name] for name in measured["work"]}
    # Decoding and reading are of one thread whatever their number; the classifier has all of them.
    threads = {**dict.fromkeys(_CHORES, 1), "classifier": measured["threads"]}
    per_core = {chore: speed[chore] / threads[chore] for chore in _CHORES}
    if tagging_seconds:
        per_core["tagging"] = 1.0 / tagging_seconds
    return Rates(
        gemm_gflops=speed["gemm"],
        call_gflops={call: speed[call] for call in _CALLS},
        per_core=per_core,
        read_megabytes=read_megabytes,
        reads_per_second=reads_per_second,
    )


def workload(options: argparse.Namespace) -> Workload:
    """What the flags say is to be done."""
    return Workload(
        **{each.name: getattr(options, each.name) for each in dataclasses.fields(Workload)}
    )


def plan(
    options: argparse.Namespace,
    work: Workload,
    networks: Networks,
    costs: Costs,
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """Computes the table: of each stage the work and the hours, and what they follow from."""
    speeds = rates(
        measured,
        read_megabytes=options.read_megabytes,
        reads_per_second=options.reads_per_second,
        tagging_seconds=options.tagging_seconds,
    )
    on_accelerator = measured["device"] != "CPU"
    measured_tflops = 1e-3 * speeds.gemm_gflops if on_accelerator else _ASSUMED_TFLOPS
    tflops = options.accelerator_tflops or measured_tflops
    utilisation = options.utilisation or (1.0 if on_accelerator else 0.5)
    clusters = [
        Cluster(
            accelerators=number,
            tflops=tflops,
            utilisation=utilisation,
            parallel_efficiency=options.parallel_efficiency,
            per_host=options.per_host,
            cores=options.cores,
        )
        for number in options.accelerators
    ]
    here = Cluster(cores=measured["cores"])
    stages = make_stages(work, networks, costs)
    return {
        "workload": dataclasses.asdict(work),
        "costs": dataclasses.asdict(costs),
        "rates": dataclasses.asdict(speeds),
        "measured": dict(measured),
        "accelerator_tflops": tflops,
        "utilisation": utilisation,
        "parallel_efficiency": options.parallel_efficiency,
        "per_host": options.per_host,
        "cores": options.cores,
        "accelerators": options.accelerators,
        "stages": [_row(stage, speeds, here, clusters) for stage in stages],
        "sum": _work(total(stages)),
        "steps": _steps(stages, networks),
    }


def _row(stage: Stage, speeds: Rates, here: Cluster, clusters: Sequence[Cluster]) -> dict[str, Any]:
    durations = [duration(stage, speeds, cluster) for cluster in clusters]
    return {
        **_work(stage),
        "hours_here": duration(stage, speeds, here).hours,
        "hours": [each.hours for each in durations],
        "bound": [each.bound for each in durations],
    }


def _work(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "flops": stage.total_flops,
        "bytes_read": stage.bytes_read,
        "reads": stage.reads,
        "bytes_written": stage.bytes_written,
        "disk_bytes": stage.disk_bytes,
    }


def _steps(stages: Sequence[Stage], networks: Networks) -> dict[str, int]:
    steps = {stage.name: stage.steps for stage in stages}
    found = {"BATCH_SIZE": networks.pretraining_batch, "STEPS": steps["pretraining"]}
    if "separator training" in steps:
        found |= {
            "SEPARATOR_BATCH_SIZE": networks.separator_batch,
            "SEPARATOR_STEPS": steps["separator training"],
        }
    return found


def text(result: Mapping[str, Any]) -> str:
    """Returns the plan as Markdown: what it assumes, and the table."""
    many = result["accelerators"]
    head = [
        "stage",
        "PFLOP",
        "read, TB",
        "reads, 10^9",
        "written, TB",
        "disk, TB",
        "this machine, h",
    ]
    head += [f"{number} acc., h" for number in many] + ["waits for"]
    rows = [
        [
            *_cells(row),
            _number(row["hours_here"]),
            *(_number(hours) for hours in row["hours"]),
            " / ".join(dict.fromkeys(row["bound"])),
        ]
        for row in result["stages"]
    ]
    rows.append([*_cells(result["sum"]), *[""] * (len(many) + 2)])
    return f"{_assumptions(result)}\n\n{markdown([head, *rows])}"


def _cells(row: Mapping[str, Any]) -> list[str]:
    tera = [_number(1e-12 * row[name]) for name in ("bytes_read", "bytes_written", "disk_bytes")]
    reads = _number(1e-9 * row["reads"])
    return [row["name"], _number(1e-15 * row["flops"]), tera[0], reads, *tera[1:]]


def _number(value: float) -> str:
    """Two digits of what is small, none behind the point of what is large."""
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}"


def _assumptions(result: Mapping[str, Any]) -> str:
    work, measured = result["workload"], result["measured"]
    speeds, steps = result["rates"], result["steps"]
    calls = ", ".join(
        f"{name.replace('_', ' ')} {rate:.0f}" for name, rate in speeds["call_gflops"].items()
    )
    busy = min(measured["processor_share"].values()) / measured["threads"]
    tagged = f", tagged in {work['tagging_seconds']:g} s of a core each, {work['scores']:,} scores"
    passes = f"pretraining {work['pretraining_passes']:g}, classifier {work['benchmark_passes']:g}"
    if "SEPARATOR_STEPS" in steps:
        passes = f"separator {work['separator_passes']:g}, {passes}"
    return "\n".join(
        [
            f"{work['clips']:,} clips of {work['clip_seconds']:g} s"
            + (tagged if work["tagging_seconds"] else "")
            + f"; passes: {passes}; "
            + ", ".join(f"{name}={value}" for name, value in steps.items()),
            f"measured: {measured['device']}, {measured['threads']} threads of "
            f"{measured['cores']} cores (a call had at least {busy:.0%} of them); GFLOP/s: matrix "
            f"product {speeds['gemm_gflops']:.0f}, {calls}; import "
            f"{speeds['per_core']['import']:.1f} clips/s and core, whole records "
            f"{speeds['per_core']['records']:,.0f} MB/s and core, examples of two patches "
            f"{speeds['per_core']['patches']:,.0f}/s and core, classifier "
            f"{speeds['per_core']['classifier']:,.0f} embeddings/s and core",
            f"assumed: {result['accelerator_tflops']:g} TFLOP/s of an accelerator, utilisation "
            f"{result['utilisation']:g}, parallel efficiency {result['parallel_efficiency']:g}, "
            f"{result['per_host']} accelerators and {result['cores']} cores a host, whose disk "
            f"gives {speeds['read_megabytes']:,.0f} MB/s and {speeds['reads_per_second']:,.0f} "
            "reads/s",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
