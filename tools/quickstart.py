"""Runs the main job: recordings, scenes, separator, views, encoders, and the shallow benchmark.

Called by tools/quickstart.sh, which makes the environment. Every stage is a `sepcon` command that
also works by itself; the log of each holds its command.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sepcon import comparison, run_folder
from sepcon.errors import SepconError
from sepcon.jobs import Job, run_jobs
from sepcon.quickstart_report import write_quickstart_report

BASELINE = "mixture-mixture"


@dataclasses.dataclass(frozen=True)
class Row:
    """A way of pretraining. `state`: the separator's state whose channels it sees, if any."""

    name: str
    folder: str
    views: str
    state: str = ""


MIXTURES = Row(BASELINE, "mixture_mixture", "views/mixture_mixture.gin")
TRAINED = Row(
    "mixture-channel, trained separator",
    "mixture_channel_trained",
    "views/mixture_channel.gin",
    "trained",
)
UNTRAINED = Row(
    "mixture-channel, untrained separator",
    "mixture_channel_untrained",
    "views/mixture_channel.gin",
    "untrained",
)
EQUALIZED = Row(
    "mixture-mixture, random equalization",
    "mixture_mixture_equalized",
    "views/mixture_mixture_equalized.gin",
)
# The gin value of each state's step: null is the last one.
STATES = {"trained": "None", "untrained": "0"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is run. `seconds`: of the separator, of one pretraining, of one benchmark."""

    gin_file: str
    rows: tuple[Row, ...]
    seeds: int
    seconds: tuple[float, float, float]


BUILTIN = Plan("quickstart/builtin.gin", (MIXTURES, TRAINED), 2, (120.0, 120.0, 30.0))
ESC50 = Plan(
    "quickstart/esc50.gin", (MIXTURES, TRAINED, UNTRAINED, EQUALIZED), 3, (330.0, 250.0, 30.0)
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the quickstart; returns the exit code."""
    options = _parse(arguments)
    try:
        return _run(options)
    except SepconError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sepcon: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/quickstart.sh", description=__doc__)
    parser.add_argument("--esc50", type=Path, metavar="DIR", help="an ESC-50 folder")
    parser.add_argument(
        "--run_dir", type=Path, default=Path("runs/quickstart"), help="default: %(default)s"
    )
    parser.add_argument("--seeds", type=int, help="pretrainings of each row; default: 2, ESC-50 3")
    parser.add_argument("--workers", type=int, default=2, help="stages at once (default: 2)")
    parser.add_argument(
        "--gin_bindings", action="append", default=[], help="further bindings for every stage"
    )
    parser.add_argument("--gin_file", action="append", default=[], help="further gin files")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    start = time.monotonic()
    plan = ESC50 if options.esc50 else BUILTIN
    seeds = range(plan.seeds if options.seeds is None else options.seeds)
    if options.esc50 and not (options.esc50 / "meta" / "esc50.csv").is_file():
        raise SepconError(
            f"{options.esc50} is not an ESC-50 folder: expected {options.esc50}/meta/esc50.csv "
            "and the recordings in audio/"
        )
    root = options.run_dir.expanduser().resolve()
    jobs = _jobs(plan, seeds, options, root)
    source = options.esc50 or "the built-in scenes"
    print(f"sepcon: {len(jobs)} stages on {source}, {options.workers} at once, into {root}")
    run_jobs(
        jobs,
        log_dir=root / "logs",
        workers=options.workers,
        environment={"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    rows = _results(plan, seeds, root)
    run_folder.write_text(root / "results.json", json.dumps(rows, indent=2) + "\n")
    summaries = comparison.summarize(rows, baseline=BASELINE)
    write_quickstart_report(root, source=str(source), rows=rows, summaries=summaries)
    print(comparison.align(comparison.table(summaries)))
    print(f"sepcon: {time.monotonic() - start:.0f} s; {root / 'results.json'}")
    print(f"sepcon: sounds, curves and tables: {root / 'report.html'}")
    return 0


@dataclasses.dataclass
class _Chain:
    """Collects jobs that share gin files and a run folder."""

    root: Path
    common: tuple[str, ...]
    jobs: list[Job] = dataclasses.field(default_factory=list)

    def add(
        self,
        verb: str,
        folder: str,
        *words: str,
        needs: Sequence[str] = (),
        seconds: float,
    ) -> str:
        """Adds `sepcon verb` with run folder root/folder; returns the job's name."""
        run_dir = self.root / folder
        name = folder.replace("/", "-")
        arguments = (
            verb,
            f"--gin_file=runs/{verb}.gin",
            *self.common,
            *words,
            f"--run_dir={run_dir}",
            # Two jobs of one thread do more than one job of two.
            "--num_threads=1",
        )
        done = functools.partial(run_folder.is_finished, run_dir)
        self.jobs.append(Job(name, arguments, tuple(needs), done, seconds))
        return name


def _jobs(plan: Plan, seeds: range, options: argparse.Namespace, root: Path) -> list[Job]:
    separator_seconds, pretrain_seconds, benchmark_seconds = plan.seconds
    chain = _Chain(root, _common_words(plan, options, root))
    prepare = chain.add("prepare", "prepare", seconds=25.0)
    separator = chain.add(
        "train_separator", "separator", needs=[prepare], seconds=separator_seconds
    )
    channels = {
        state: chain.add(
            "separate",
            f"channels/{state}",
            _bind(f"SEPARATOR='{root / 'separator'}'"),
            _bind(f"SEPARATOR_STEP={STATES[state]}"),
            needs=[separator],
            seconds=90.0,
        )
        for state in dict.fromkeys(row.state for row in plan.rows if row.state)
    }
    for seed in seeds:
        for row in plan.rows:
            pretrain = chain.add(
                "pretrain",
                f"pretrain/{row.folder}/seed{seed}",
                f"--gin_file={row.views}",
                _bind(f"SEED={seed}"),
                *([_bind(f"CHANNELS=['{root / 'channels' / row.state}']")] if row.state else []),
                needs=[channels[row.state]] if row.state else [prepare],
                seconds=pretrain_seconds,
            )
            chain.add(
                "benchmark",
                _benchmark_folder(row, seed),
                _bind(
                    f"MODELS={ {row.name: str(root / 'pretrain' / row.folder / f'seed{seed}')} }"
                ),
                _bind(f"SEEDS=({seed},)"),
                _bind("BASELINES=()"),
                needs=[pretrain],
                seconds=benchmark_seconds,
            )
    # The baselines need no weights, only the architecture that the first run writes down.
    first = f"pretrain/{plan.rows[0].folder}/seed{seeds[0]}"
    chain.add(
        "benchmark",
        "benchmark/baselines",
        _bind("MODELS={}"),
        _bind(f"benchmark_embeddings.reference='{root / first}'"),
        _bind(f"SEEDS={tuple(seeds)}"),
        needs=[first.replace("/", "-")],
        seconds=2 * len(seeds) * benchmark_seconds,
    )
    return chain.jobs


def _benchmark_folder(row: Row, seed: int) -> str:
    return f"benchmark/{row.folder}/seed{seed}"


def _results(plan: Plan, seeds: range, root: Path) -> list[dict[str, object]]:
    """The rows of all benchmarks, baselines first; `seconds` counts the pretraining too."""
    rows = _read_rows(root / "benchmark" / "baselines")
    for row in plan.rows:
        for seed in seeds:
            trained = run_folder.read_record(root / "pretrain" / row.folder / f"seed{seed}")
            for result in _read_rows(root / _benchmark_folder(row, seed)):
                seconds = round(float(trained["seconds"]) + float(result["seconds"]), 1)
                rows.append({**result, "seconds": seconds})
    return rows


def _read_rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.json").read_text())


def _common_words(plan: Plan, options: argparse.Namespace, root: Path) -> tuple[str, ...]:
    bindings = [f"DATA_DIR='{root / 'data'}'"]
    if options.esc50:
        bindings.append(f"ESC50_DIR='{options.esc50.expanduser().resolve()}'")
    files = [plan.gin_file, *options.gin_file]
    return (
        *[f"--gin_file={file}" for file in files],
        *[_bind(binding) for binding in [*bindings, *options.gin_bindings]],
    )


def _bind(binding: str) -> str:
    return f"--gin_bindings={binding}"


if __name__ == "__main__":
    sys.exit(main())
