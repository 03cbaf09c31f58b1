"""Every extra resolves to versions that were tried; setup.py and the record are of one mind."""

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

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
    pinned = {"tfio", "onnx", "beam", "tpu", "dev"}
    for python, groups in RESOLVED.items():
        for group, versions in groups.items():
            expected = "2.17.1" if group in pinned and python != "3.13" else "2.21.0"
            assert versions["tensorflow"] == expected, (python, group)
    lock = (repository / "tools" / "requirements-dev.lock").read_text()
    locked = dict(line.split(" ;")[0].split("==") for line in lock.splitlines())
    # What the check runs with is what the extra gives.
    for name, version in RESOLVED["3.11"]["dev"].items():
        assert locked[name].rsplit(".", 1)[0] == version.rsplit(".", 1)[0], name


@pytest.mark.skipif(
    "SEPCON_RESOLVE" not in os.environ,
    reason="asks the package index for minutes: set SEPCON_RESOLVE=1",
)
def test_pip_resolves_every_extra_as_recorded(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["resolve_extras.py"])
    assert resolve_extras.main() == 0
