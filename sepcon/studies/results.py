"""What the runs of a study said: its rows, where they come from, and the lines of study.csv."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sepcon.reports.results import RESULTS_FILE
from sepcon.runs import run_folder
from sepcon.studies.plan import Plan
from sepcon.studies.rows import Launch, World

_FIRST_COLUMNS = ("row", "rotation", "separator", "seed", "mAP", "mAP_low", "mAP_high", "d_prime")
_LAST_COLUMNS = ("seconds", "steps", "commit", "gin_files", "gin_bindings")
# All that may be shown while settings are being chosen.
_SELECTION_COLUMNS = ("row", "rotation", "separator", "seed", "validation_mAP", *_LAST_COLUMNS)

Row = dict[str, Any]


def study_results(plan: Plan, launch: Launch) -> list[Row]:
    """Returns the rows of all benchmarks, baselines first; `seconds` counts the pretraining too.

    Beside what the benchmark says, a row has its `commit`, `gin_files` and `gin_bindings`, and the
    `steps` of its pretraining; with several rotations its `rotation`, and with several separators
    the seed of its `separator` (None for rows without one).
    """
    results: list[Row] = []
    of_baselines = itertools.product(plan.rotations, plan.seeds) if plan.baselines else ()
    for rotation, seed in of_baselines:
        folder = plan.baselines_dir(rotation, seed)
        told = {
            "commit": run_folder.read_record(folder).get("commit", ""),
            "gin_files": ["runs/benchmark.gin", *launch.gin_files],
            "gin_bindings": [*launch.gin_bindings, *plan.rotations[rotation]],
            **_world(plan, World(rotation)),
        }
        results += [{**row, **told} for row in _read(folder)]
    order = {row.name: place for place, row in enumerate(plan.rows)}
    for run in sorted(plan.runs(), key=lambda run: order[run.row.name]):
        trained = run_folder.read_record(plan.pretrain_dir(run))
        (row,) = _read(plan.benchmark_dir(run))
        results.append(
            {
                **row,
                "seconds": round(float(trained["seconds"]) + float(row["seconds"]), 1),
                "steps": trained["steps"],
                "commit": trained.get("commit", ""),
                "gin_files": ["runs/pretrain.gin", run.row.gin_file, *launch.gin_files],
                "gin_bindings": [*launch.gin_bindings, *plan.rotations[run.world.rotation]],
                **_world(plan, run.world),
            }
        )
    return results


def _world(plan: Plan, world: World) -> Row:
    told: Row = {}
    if len(plan.rotations) > 1:
        told["rotation"] = world.rotation
    if len(plan.separator_seeds) > 1:
        told["separator"] = world.separator
    return told


def _read(folder: Path) -> list[Row]:
    return json.loads((folder / RESULTS_FILE).read_text())


def provenance(plan: Plan, results: Sequence[Row]) -> str:
    """Returns one paragraph: what means are over, how they are compared, and what made them."""
    parts = [f"Seeds {_list(plan.seeds)}"]
    if len(plan.rotations) > 1:
        parts[0] += f" in each of the rotations {_list(plan.rotations)}, which weigh the same"
    if len(plan.separator_seeds) > 1:
        parts[0] += (
            f"; rows with a separator are averaged over separators of seeds "
            f"{_list(plan.separator_seeds)} before anything else"
        )
    within = " within rotations" if len(plan.rotations) > 1 else ""
    parts.append(
        f"Intervals and p are Student's t over seeds{within}, of differences paired by seed"
        f"{' and rotation' if within else ''}; p is two-sided and not corrected for the number of "
        "rows. How much other test clips would change a figure is in study.csv, run by run: the "
        "bootstrap's interval, which of a single seed is shown here"
    )
    steps = dict.fromkeys(row["steps"] for row in results if "steps" in row)
    parts.append(
        f"Pretraining of {_list(steps)} steps{' (rows differ!)' if len(steps) > 1 else ''}"
    )
    parts.append(f"Commit {_list(dict.fromkeys(row['commit'] for row in results))}")
    return ". ".join(parts) + "; study.csv has the gin files and bindings of each row."


def _list(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def csv_text(results: Sequence[Row], *, final: bool) -> str:
    """Returns a line for each row; if not `final`, nothing that was measured on the test."""
    columns = _columns(results) if final else _SELECTION_COLUMNS
    present = {"row", *(key for result in results for key in result)}
    columns = [name for name in columns if name in present]
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for result in results:
        told = {
            "row": result["name"],
            "gin_files": " ".join(result["gin_files"]),
            "gin_bindings": "; ".join(result["gin_bindings"]),
        }
        writer.writerow({**result, **told})
    return table.getvalue()


def _columns(results: Sequence[Row]) -> list[str]:
    """All that rows say, what matters first: a further measure of the benchmark needs no line."""
    said = dict.fromkeys(key for result in results for key in result)
    between = [key for key in said if key not in (*_FIRST_COLUMNS, *_LAST_COLUMNS, "name")]
    return [*_FIRST_COLUMNS, *between, *_LAST_COLUMNS]
