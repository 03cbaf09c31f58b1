"""Every extra resolves to versions that were tried; setup.py and the record are of one mind."""

import importlib
import json
import os
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
resolve_extras = importlib.import_module("resolve_extras")
GROUPS = resolve_extras.GROUPS
RECORD = json.loads(resolve_extras.RECORD.read_text())
RESOLVED = RECORD["resolved"]


def test_the_record_is_of_the_requirements_of_today():
    cure = "setup.py has changed: run tools/resolve_extras.py --write, and try what is new"
    assert RECORD["digest"] == resolve_extras.digest(resolve_extras.read_setup()), cure


def test_every_extra_is_resolved():
    extras = {extra for group in GROUPS.values() for extra in group}
    assert extras == set(resolve_extras.read_setup())
    assert set(RESOLVED["3.11"]) == set(GROUPS)


def test_the_default_is_the_newest_tensorflow_and_extras_that_need_it_have_2_17(repository):
    pinned = {"tfio", "tpu"}
    for python, groups in RESOLVED.items():
        for group, versions in groups.items():
            expected = "2.17.1" if group in pinned and python != "3.13" else "2.21.0"
            assert versions["tensorflow"] == expected, (python, group)
    # What the check runs with is what the extras give.
    for group in ("dev", "tfio"):
        locked = read_lock(repository / "tools" / f"requirements-{group}.lock")
        for name, version in RESOLVED["3.11"][group].items():
            assert locked[name].rsplit(".", 1)[0] == version.rsplit(".", 1)[0], name


def read_lock(path: Path) -> dict[str, str]:
    """The versions for Python 3.11 of a lock and of what it includes."""
    locked: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            locked |= read_lock(path.parent / line.removeprefix("-r "))
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(
            {"python_full_version": "3.11.9"}
        ):
            locked[requirement.name] = str(requirement.specifier).removeprefix("==")
    return locked


@pytest.mark.skipif(
    "SEPCON_RESOLVE" not in os.environ,
    reason="asks the package index for minutes: set SEPCON_RESOLVE=1",
)
def test_pip_resolves_every_extra_as_recorded(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["resolve_extras.py"])
    assert resolve_extras.main() == 0
