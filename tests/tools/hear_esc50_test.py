"""ESC-50 as a task of HEAR: what the evaluation kit is given, and that no result is another's.

The kit itself needs PyTorch and is not installed here. Its place is taken by modules that read the
task as it does and write what it writes.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from encoder_stub import small_encoder, write_run
from esc50_stub import write_esc50

from sepcon.models.weights import state_folder, write_weights

EMBEDDINGS = """
import json, pathlib, sys
import soundfile
module, *flags = sys.argv[1:]
given = dict(flag.removeprefix("--").split("=") for flag in flags)
task = pathlib.Path(given["tasks-dir"]) / given["task"]
metadata = json.loads((task / "task_metadata.json").read_text())
folder = pathlib.Path("embeddings") / module / task.name
folder.mkdir(parents=True, exist_ok=True)
heard = {}
for split in metadata["splits"]:
    for name in json.loads((task / f"{split}.json").read_text()):
        audio, rate_hz = soundfile.read(task / "16000" / split / name)
        assert (audio.shape, rate_hz) == ((16000 * metadata["sample_duration"],), 16000)
        heard[name] = abs(audio).max()
(folder / "heard.json").write_text(json.dumps([given.get("model"), heard]))
"""
PREDICTIONS = """
import json, pathlib, os, sys
folder, grid = pathlib.Path(sys.argv[1]), sys.argv[2]
assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
assert (folder / "heard.json").exists()
assert grid == "--grid=faster", grid
names = ["top1_acc", "mAP", "d_prime", "aucroc"]
means = {f"test_{name}_mean": 0.5 + place for place, name in enumerate(names)}
scores = means | {f"test_{name}_std": 0.25 for name in names}
(folder / "test.predicted-scores.json").write_text(json.dumps({"aggregated_scores": scores}))
"""


@pytest.fixture
def tool(monkeypatch, repository):
    monkeypatch.syspath_prepend(str(repository / "tools"))
    return importlib.import_module("hear_esc50")


@pytest.fixture
def kit(tmp_path, monkeypatch) -> None:
    """A heareval for this process and those that it starts."""
    for step, program in (("embeddings", EMBEDDINGS), ("predictions", PREDICTIONS)):
        package = tmp_path / "kit" / "heareval" / step
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "runner.py").write_text(program)
    (tmp_path / "kit" / "heareval" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "kit"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "kit"))
    monkeypatch.delitem(sys.modules, "heareval", raising=False)


def words_of(tmp_path: Path) -> list[str]:
    write_run(tmp_path / "run")
    esc50 = write_esc50(tmp_path / "esc50", folds=(1, 2, 3, 4, 5), per_fold=1)
    return [
        f"--esc50={esc50}",
        f"--into={tmp_path / 'hear'}",
        f"--model={tmp_path / 'run'}",
        "--grid=faster",
    ]


def test_the_kit_is_given_the_task_and_its_scores_are_printed(tool, kit, tmp_path, capsys):
    words = words_of(tmp_path)
    assert tool.main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "mAP: 1.5000 (standard deviation of folds 0.2500)"
    assert len(printed) == 4
    task = tmp_path / "hear" / "tasks" / "esc50-v2.0.0-full"
    metadata = json.loads((task / "task_metadata.json").read_text())
    assert metadata["splits"] == [f"fold{number:02d}" for number in range(5)]
    assert (metadata["nfolds"], metadata["embedding_type"]) == (5, "scene")
    assert json.loads((task / "fold01.json").read_text())["2-2010-A-1.wav"] == ["rooster"]
    vocabulary = (task / "labelvocabulary.csv").read_text()
    assert vocabulary == "idx,label\n0,cat\n1,dog\n2,rain\n3,rooster\n"
    audio, _ = soundfile.read(task / "16000" / "fold01" / "2-2010-A-1.wav", dtype="int16")
    original, _ = soundfile.read(tmp_path / "esc50/audio/2-2010-A-1.wav", dtype="int16")
    np.testing.assert_array_equal(audio[: len(original)], original)
    assert not audio[len(original) :].any()
    heard = tmp_path / "hear/embeddings/sepcon.inference.hear/esc50-v2.0.0-full/heard.json"
    model, loudness = json.loads(heard.read_text())
    assert model == str(tmp_path / "run")
    assert len(loudness) == 20
    # Another model would be given the scores of this one.
    write_weights(small_encoder(7), state_folder(tmp_path / "run", 10))
    assert tool.main(words) == 1
    assert "is of another model; give another folder" in capsys.readouterr().err


def test_what_is_wrong_is_told_in_a_line(tool, tmp_path, capsys, monkeypatch):
    words = words_of(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert tool.main(words) == 1
    assert "heareval is not installed; tools/README.md says how" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    (tmp_path / "hear").mkdir()
    (tmp_path / "hear" / "mine.txt").touch()
    assert tool.main(words) == 1
    assert "hear: is not empty; give another folder" in capsys.readouterr().err
    assert tool.main([*words, "--model=nowhere"]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
