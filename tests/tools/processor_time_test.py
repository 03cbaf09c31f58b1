"""The tool that counts processor seconds counts those of the command, and tells its errors."""

import re
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import processor_time

    return processor_time.main


def test_seconds_of_a_command(main, capsys):
    words = ["prepare", "--gin_file=data/builtin_scenes.gin", "--print_config"]
    assert main(["--runs=3", *words]) == 0
    *each, median = capsys.readouterr().out.splitlines()
    assert len(each) == 3
    assert all(0.02 < float(line) < 20 for line in each)
    assert median == f"median {sorted(each, key=float)[1]} s of the processor"


def test_a_command_that_fails_is_told(main, capsys):
    assert main(["--runs=1", "prepear"]) == 2
    assert re.match("sepcon: error: unknown verb 'prepear'.* prepare", capsys.readouterr().err)
    assert main(["--runs=0", "prepare"]) == 1
    assert "--runs: got 0, expected 1 or more" in capsys.readouterr().err
