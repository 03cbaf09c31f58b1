"""The benchmark of two environments measures both, and tells one that does not work."""

import importlib
import json
import sys

import pytest
import tensorflow as tf
import warm_python


@pytest.fixture
def benchmark(monkeypatch, repository):
    monkeypatch.syspath_prepend(str(repository / "tools"))
    return importlib.import_module("benchmark_versions")


def test_an_environment_is_as_fast_as_itself(benchmark, capsys):
    with warm_python.used():
        words = ["--networks", "small_cnn", "--rounds=1", f"--other={sys.executable}", "--json"]
        assert benchmark.main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["tensorflow"] == f"{tf.__version__} and {tf.__version__}"
    step, loading = result["rows"]
    assert (step["what"], loading["what"]) == ("small_cnn", "loading TensorFlow")
    assert step["ratio"] == pytest.approx(step["here"] / step["other"])
    assert step["gemm_ratio"] > 0
    assert "ratio of matrix products" in benchmark._text(result)


def test_an_environment_that_does_not_work_is_told_in_one_line(benchmark, capsys):
    with warm_python.used():
        assert benchmark.main(["--networks", "small_cnn", "--other=/bin/false"]) == 1
    error = capsys.readouterr().err
    assert error == "sepcon: error: encoder_process.py of the benchmark ended: code 1\n"
