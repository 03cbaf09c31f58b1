"""The tools that time separator and loss: figures that fit together, errors in one line."""

import argparse
import dataclasses
import importlib
import json
import re
import shlex
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import warm_python

from sepcon.errors import SepconError
from sepcon.losses.mixit import mixit_loss
from sepcon.models.separator.flops import separator_flops
from sepcon.models.separator.network import Separator, SeparatorConfig

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SMALL = {
    "num_sources": 3,
    "bottleneck": 6,
    "conv_channels": 10,
    "num_repeats": 1,
    "num_dilations": 2,
}
DEFAULTS = dataclasses.asdict(SeparatorConfig())
MODEL = """
from tensorflow.compat.v1 import estimator
import tensorflow.compat.v1 as tf
from train import groupwise, mixit, summaries, summary_util

class HParams:
  def __init__(self, signal_names, sr):
    self.signal_names, self.sr = signal_names, sr

def separate_waveforms(mixture_waveforms, hparams):
  weights = tf.get_variable("weights", [1, len(hparams.signal_names), 1])
  return weights * mixture_waveforms

def log_mse_loss(source, separated):
  return tf.reduce_sum(tf.square(source - separated), axis=-1)
"""
MIXIT = """
def apply(loss_fn, reference, estimate):
  return loss_fn(reference, estimate[:, :2]), estimate
"""


@pytest.fixture(autouse=True)
def tools_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


def tiny(*words: str) -> list[str]:
    bindings = [f"--gin_bindings=SeparatorConfig.{name}={value}" for name, value in SMALL.items()]
    return [*bindings, "--batch=2", "--seconds=0.2", "--rounds=1", *words]


@pytest.mark.parametrize(
    "tool", ["benchmark_separator", "benchmark_mixit", "convert_reference_checkpoint"]
)
def test_the_commands_of_the_documents_are_understood(tool):
    text = (TOOLS / "README.md").read_text().replace("\\\n", "")
    lines = re.findall(rf"python tools/{tool}\.py(.*)", text)
    assert lines
    for line in lines:
        importlib.import_module(tool)._parse(shlex.split(line))


def test_separators_in_figures_that_fit_together(capsys):
    import benchmark_separator

    with warm_python.used():
        assert benchmark_separator.main(tiny("--bfloat16", "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    config = SeparatorConfig(**SMALL)
    parameters = Separator(config).count_params()
    assert result["parameters"] == {"float32": parameters, "bfloat16": parameters}
    gflop = 2e-9 * separator_flops(config, num_samples=3200)
    assert result["gflop_per_second_of_audio"] == pytest.approx(gflop / 0.4)
    rows = {(row["network"], row["call"]): row for row in result["rows"]}
    assert set(rows) == {(n, c) for n in ("float32", "bfloat16") for c in ("forward", "step")}
    for (_, call), row in rows.items():
        done = gflop * (3 if call == "step" else 1)
        assert row["gflop_per_second"] == pytest.approx(done / row["seconds"])
        assert row["times_real_time"] == pytest.approx(0.4 / row["seconds"])
        peak = row["gemm_gflop_per_second"]
        assert row["fraction_of_gemm"] == pytest.approx(row["gflop_per_second"] / peak)
        assert 0 < row["mib_above_baseline"] < row["peak_mib"]
    ratio = rows["float32", "step"]["seconds"] / rows["bfloat16", "step"]["seconds"]
    assert result["ratios"]["float32 / bfloat16, step"] == pytest.approx(ratio)
    text = benchmark_separator._text(result)
    assert f"{parameters:,}" in text
    assert "float32 / bfloat16, step" in text


def test_a_reference_checkout_is_run_as_it_lies_there(tmp_path):
    from benchmark_process import BenchmarkProcess

    for path, text in (("neurips2020_mixit/model.py", MODEL), ("train/mixit.py", MIXIT)):
        (tmp_path / "models" / path).parent.mkdir(parents=True)
        (tmp_path / "models" / path).write_text(text)
    # Would be imported if the benchmark let them.
    (tmp_path / "models" / "train" / "summaries.py").write_text("1 / 0")
    hparams = json.dumps({"signal_names": list("abcde"), "sr": 16000})
    words = [f"--reference={tmp_path}", f"--hparams={hparams}", "--batch=1", "--samples=100"]
    with closing(BenchmarkProcess("reference_process.py", [*words, "--threads=1"])) as process:
        assert process.introduction["parameters"] == 5
        for call in ("gemm", "forward", "step"):
            assert process.sample(call).seconds > 0
        assert process.warm_up("step") >= process.introduction["held_bytes"] // 2


def test_the_reference_gets_the_network_it_has():
    from benchmark_separator import _reference_hparams

    config = SeparatorConfig(num_sources=2, mixture_consistency="magnitude_squared")
    assert _reference_hparams(dataclasses.asdict(config), DEFAULTS) == {
        "sr": 16000,
        "ws": 0.032,
        "hs": 0.008,
        "learn_basis": False,
        "num_coeffs": 256,
        "mix_weights_type": "magsq",
        "signal_names": ["source_0", "source_1"],
    }


@pytest.mark.parametrize(
    "words, message",
    [
        (["--gin_bindings=SeparatorConfig.num_sources = 0"], "num_sources: got 0"),
        (["--rounds=0"], "--rounds: got 0"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(words, message, capsys):
    import benchmark_separator

    with warm_python.used():
        assert benchmark_separator.main(tiny(*words)) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("sepcon: error: ")
    assert told.count("\n") == 1


def test_a_network_that_the_reference_lacks_is_not_compared():
    from benchmark_separator import _reference_hparams

    with pytest.raises(SepconError, match=r"SeparatorConfig\.norm: got 'layer', but the reference"):
        _reference_hparams(dataclasses.asdict(SeparatorConfig(norm="layer")), DEFAULTS)


def test_a_checkout_that_is_none_is_told_in_one_line(tmp_path):
    from benchmark_separator import _reference

    options = argparse.Namespace(reference=tmp_path, batch=1, threads=1)
    described = {"config": DEFAULTS, "defaults": DEFAULTS, "samples": 100}
    with pytest.raises(SepconError, match="expected a checkout of google-research") as error:
        _reference(options, described)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_both_searches_find_the_same_loss():
    from mixit_process import exhaustive_loss, products_loss

    tf.random.set_seed(0)
    reference, estimate = tf.random.normal([3, 2, 400]), tf.random.normal([3, 5, 400])
    result = products_loss(reference=reference, estimate=estimate)
    np.testing.assert_allclose(
        exhaustive_loss(reference=reference, estimate=estimate), result, rtol=1e-5
    )
    np.testing.assert_array_equal(mixit_loss(reference=reference, estimate=estimate).loss, result)


def test_losses_in_figures_that_fit_together(capsys):
    import benchmark_mixit

    words = ["--sources=3", "--batch=1", "--seconds=0.1", "--rounds=1", "--json"]
    with warm_python.used():
        assert benchmark_mixit.main(words) == 0
    result = json.loads(capsys.readouterr().out)
    times = {(row["search"], row["sources"]): row["milliseconds"] for row in result["rows"]}
    assert set(times) == {("products", 3), ("exhaustive", 3)}
    ratio = times["exhaustive", 3] / times["products", 3]
    assert result["ratios"] == {"exhaustive / products, M = 3": pytest.approx(ratio)}
    assert "exhaustive / products, M = 3" in benchmark_mixit._text(result)


def test_more_sources_are_compared_with_the_first():
    from benchmark_mixit import _ratios

    rows = [
        {"search": "products", "sources": 8, "milliseconds": 10.0},
        {"search": "products", "sources": 16, "milliseconds": 25.0},
    ]
    assert _ratios(rows) == {"products, M = 16 / M = 8": 2.5}


def test_seconds_are_the_processors_on_one_thread_and_the_clocks_on_more():
    from benchmark_process import Sample, Timing, summarize

    samples = [Sample(4.0, 1.0), Sample(2.0, 1.5), Sample(10.0, 2.5)]
    assert summarize(samples, threads=1) == Timing(1.5, 0.25)
    assert summarize(samples, threads=2) == Timing(4.0, 0.25)


def test_the_peak_is_that_of_the_call_alone():
    from benchmark_process import held_bytes, peak_bytes

    size = 1 << 27
    before = held_bytes()
    with_it = peak_bytes(lambda: np.ones(size, np.uint8))
    after = peak_bytes(lambda: None)
    assert with_it - before > 0.9 * size
    assert with_it - after > 0.9 * size
