"""The benchmark of the input, at a size that takes a second."""

import dataclasses
import importlib
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(autouse=True)
def tools_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))


def test_patches_are_read_and_not_their_clips(tmp_path: Path) -> None:
    process = importlib.import_module("input_process")
    setting = process.Setting(tmp_path, 2, 3.0, 0.975, batch=8)
    files = process.make(setting, num_clips=4)
    assert {path.name for path in files} >= {"clips.tfrecord", "channels-00000.tfrecord"}
    halves = dataclasses.replace(setting, workers=2)
    taken = {}
    for form in process.FORMS:
        stream = process.stream_of(setting, form)
        taken[form] = process.read(stream, setting, 3)
        assert taken[form]["examples"] == 24
        assert taken[form]["used"] == 24 * 2 * 2 * 15_600
        half = process.read(process.stream_of(halves, form), halves, 3, worker=1)
        assert half["examples"] == 12
        # What is read ahead of the last batch counts too.
        assert half["read"] < 0.7 * taken[form]["read"]
    patches, whole = (taken[form] for form in process.FORMS)
    assert 0.7 < patches["read"] / patches["used"] < 2.0
    assert whole["read"] > 2 * patches["read"]


def test_processes_are_added_up_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = importlib.import_module("benchmark_input")
    answer = {
        "examples": 10.0,
        "used": 100.0,
        "cpu_seconds": 0.5,
        "read": 130.0,
        "from_disk": 200.0,
    }
    both = benchmark.combined([answer | {"seconds": 1.0}, answer | {"seconds": 2.0}])
    assert (both["read_by_used"], both["disk_by_used"]) == (1.3, 2.0)
    assert (both["per_core"], both["per_second"]) == (20.0, 10.0)
    row = {"form": "patches", "state": "cold", "processes": 2, **both}
    names = {"clips": 4, "clip_seconds": 10.0, "channels": 8, "patch_seconds": 0.975, "batch": 64}
    said = benchmark.text({**names, "disk_megabytes_per_second": 1234.0, "rows": [row]})
    assert "4 clips of 10 s with 8 channels, patches of 0.975 s" in said
    assert said.splitlines()[-1].split() == ["patches", "cold", "2", "1.30", "2.00", "20", "10"]
    assert benchmark.main(["--processes", "3", "--batch=64"]) == 1
    assert "error: --processes: 3 cannot share --batch=64" in capsys.readouterr().err
