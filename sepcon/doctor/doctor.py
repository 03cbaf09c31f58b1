"""The verb `doctor`: what this machine can run, and what is missing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

import sepcon
from sepcon.doctor.cases import CASES, CASES_OF_EACH_KIND, LARGE_CASES
from sepcon.doctor.check import Check
from sepcon.doctor.machine import machine_checks
from sepcon.doctor.speed import speed_checks
from sepcon.doctor.steps import step_checks
from sepcon.errors import SepconError
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir

REPORT_FILE = "doctor.json"


@claims_run_dir
def doctor(
    *,
    run_dir: str | Path,
    tasks: tuple[str, ...] | list[str] = (),
    quick: bool = False,
    json_lines: bool = False,
    config_text: str = "",
) -> list[Check]:
    """Looks at the machine, at a step of every task on each device, and at the speed.

    Needs no data. What it finds is printed line by line and kept in doctor.json, which names no
    folder and no host, to be sent with a report.

    Args:
      run_dir: receives doctor.json.
      tasks: of those that a step is taken of, the ones whose name begins so; all by default.
      quick: one of each kind unless `tasks` says otherwise, and no speed.
      json_lines: print each check as JSON.
      config_text: not used; all verbs get it.

    Returns:
      the checks.

    Raises:
      SepconError: no task has such a name, or a check has failed.
    """
    del config_text
    cases = {**CASES, **LARGE_CASES}
    chosen = {name: cases[name] for name in cases if not quick or name in CASES_OF_EACH_KIND}
    if tasks:
        chosen = {name: cases[name] for name in cases if name.startswith(tuple(tasks))}
    if not chosen:
        raise SepconError(f"tasks: got {list(tasks)}, expected beginnings of: {'; '.join(cases)}")
    accelerators = [
        f"{device.device_type}:{device.name.rsplit(':', maxsplit=1)[-1]}"
        for device in tf.config.list_logical_devices()
        if device.device_type != "CPU"
    ]
    checks = _told(machine_checks(), json_lines)
    if any(check.name.startswith("XLA on") and check.verdict == "FAIL" for check in checks):
        # Whatever compiles would end this process too.
        untried = Check("steps and speed", "FAIL", "not tried, as XLA fails", "see above")
        checks += _told([untried], json_lines)
    else:
        for name, make in chosen.items():
            checks += _told(step_checks(name, make, accelerators), json_lines)
        if not quick:
            checks += _told(speed_checks(accelerators), json_lines)
    _write(Path(run_dir), checks)
    failed = [check for check in checks if check.verdict == "FAIL"]
    if failed:
        raise SepconError(f"{len(failed)} of {len(checks)} checks failed, the first: {failed[0]}")
    return checks


def _told(checks: Iterable[Check], json_lines: bool) -> list[Check]:
    told = []
    for check in checks:
        print(json.dumps(dataclasses.asdict(check)) if json_lines else check, flush=True)
        told.append(check)
    return told


def _write(run_dir: Path, checks: list[Check]) -> None:
    report = {"sepcon": sepcon.__version__, "checks": [dataclasses.asdict(c) for c in checks]}
    run_dir.mkdir(parents=True, exist_ok=True)
    run_folder.write_text(run_dir / REPORT_FILE, json.dumps(report, indent=1) + "\n")
