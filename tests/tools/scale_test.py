"""The benchmark at two million clips: its synthetic data, and what it makes of measured times."""

import importlib
import json
import subprocess

import numpy as np
import pytest
import warm_python

from sepcon.embeddings.store import EmbeddingStore


@pytest.fixture
def tools(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "tools"))
    return importlib.import_module


def test_label_frequencies_are_heavy_tailed_as_those_of_audioset(tools):
    share = tools("scale_data").label_frequencies()
    assert share.shape == (527,)
    assert (np.diff(share) < 0).all()
    assert share.sum() == pytest.approx(2.0)
    assert share[2] == pytest.approx(0.0615)
    assert 2_000_000 * share[-1] == pytest.approx(120)
    assert share[:52].sum() > 0.8 * share.sum()  # the commonest tenth


def test_synthetic_embeddings_follow_their_labels(tools, tmp_path):
    scale_data = tools("scale_data")
    for name, evaluation in (("train", False), ("test", True)):
        scale_data.write_store(
            tmp_path / name, clips=3000, dim=16, shard_size=1000, evaluation=evaluation
        )
    train, test = (EmbeddingStore(tmp_path / name).load() for name in ("train", "test"))
    assert len(set(train.ids) | set(test.ids)) == 6000
    assert train.labels.any(axis=1).all()
    assert 1.9 < train.labels.sum(axis=1).mean() < 2.4
    np.testing.assert_allclose(
        train.labels.mean(axis=0)[:20], scale_data.label_frequencies()[:20], atol=0.05
    )
    assert test.labels.sum(axis=0).min() >= 1
    centred = train.embedding - train.embedding.mean(axis=0)
    first = train.labels[:, 0].astype(bool)
    direction = centred[first].mean(axis=0) - centred[~first].mean(axis=0)
    assert np.linalg.norm(direction) == pytest.approx(3, abs=0.5)


def test_stages_stand_beside_their_bounds(tools):
    scale, gflop = tools("benchmark_scale"), tools("benchmark_process").GEMM_GFLOP
    names = ("row statistics", "reading", "steps", "training", "mean average precision", "gemm")
    names += ("prediction", "metrics", "sorting", "bootstrap", "gathering", "raw reading")
    values = (3.0, 1.5, 30.0, 50.0, 4.0, 3.0, 2.0, 2.0, 1.0, 9.0, 6.0, 1.0)
    times = dict(zip(names, values, strict=True))
    measured = {
        "seconds": times,
        "cpu_seconds": times,
        "gemm_seconds": gflop / 100,
        "gemm_cpu_seconds": gflop / 100,
        "train_gflop": 2000.0,
        "predict_gflop": 100.0,
        "train_bytes": 100,
        "test_bytes": 10,
    }
    ratios = {row["stage"]: row["ratio"] for row in scale._stages(measured)}
    assert ratios == pytest.approx(
        {
            "statistics, one pass": 3.0,
            "reading beside the steps": 1.5,
            "steps of the training pass": 1.5,
            "training pass as a whole": 40 / 21,
            "validation": 4 / (1 + 0.1 + 1),
            "prediction": 2 / 1.1,
            "mAP, AUC, d-prime, lwlrap": 2.0,
            "bootstrap": 1.5,
        }
    )


def test_clips_that_fit_into_memory_are_not_measured(repository, tmp_path):
    tool = str(repository / "tools" / "benchmark_scale.py")
    command = [warm_python.path(), tool, "--clips=1000", f"--folder={tmp_path}"]
    output = subprocess.run(command, capture_output=True, text=True)
    assert output.returncode == 1
    assert output.stderr.startswith("sepcon: error: --clips: 1000 clips would be held in memory")
    assert not list(tmp_path.iterdir())


# A smaller bound on memory than the one that would take a hundred thousand clips to reach.
LITTLE_MEMORY = """
import functools, runpy, sys
from sepcon.embeddings.training_blocks import TrainingBlocks
from sepcon.embeddings import shallow
shallow.held = lambda source: source
shallow.TrainingBlocks = functools.partial(TrainingBlocks, max_bytes=559 * 1100)
script = sys.argv.pop(1)
sys.path.insert(0, script.rpartition("/")[0])
runpy.run_path(script, run_name="__main__")
"""


def test_a_process_trains_on_what_is_streamed_and_says_what_it_took(tools, tmp_path):
    write_store = tools("scale_data").write_store
    for name, clips in (("train", 3000), ("test", 300)):
        evaluation = name == "test"
        write_store(tmp_path / name, clips=clips, dim=8, shard_size=500, evaluation=evaluation)
    arguments = [f"--folder={tmp_path}", "--batch=128", "--threads=1", "--resamples=5"]
    output = subprocess.run(
        [warm_python.path(), "-c", LITTLE_MEMORY, tools("scale_process").__file__, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(output.stdout.splitlines()[-1])
    assert measured["difference_to_scikit_learn"] < 1e-9
    assert 0 < measured["seconds"]["steps"] < measured["seconds"]["training"]
    assert measured["seconds"]["reading"] > 0
    assert measured["peak_bytes"] > 1e8
    flop = 3000 * (4 * 8 * 512 + 6 * 512 * 527)
    assert measured["train_gflop"] == pytest.approx(1e-9 * flop)
