"""The benchmark of encoders measures what it says, and NT-Xent in both forms is the same loss."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import warm_python

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(autouse=True)
def tools_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


def test_both_forms_are_the_same_loss():
    from encoder_process import own_loss, plain_loss

    anchor = tf.random.stateless_normal([600, 16], [0, 1])  # many: the form for large batches
    positive = anchor + tf.random.stateless_normal([600, 16], [0, 2])
    np.testing.assert_allclose(
        own_loss(anchor=anchor, positive=positive),
        plain_loss(anchor=anchor, positive=positive),
        rtol=1e-5,
    )


def test_rows_and_ratios_fit_together(capsys):
    import benchmark_encoder

    words = ["--networks", "small_cnn", "nt_xent", "--batch=2", "--pairs=600", "--rounds=1"]
    with warm_python.used():
        assert benchmark_encoder.main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    times = {(row["network"], row["form"]): row["seconds"] for row in result["rows"]}
    assert min(times.values()) > 0
    assert result["ratios"] == {
        "small_cnn, bfloat16 / sepcon in float32": pytest.approx(
            times["small_cnn", "bfloat16"] / times["small_cnn", "float32"]
        ),
        "nt_xent, own / plain TensorFlow": pytest.approx(
            times["nt_xent", "own"] / times["nt_xent", "plain"]
        ),
    }
    assert "nt_xent, own / plain TensorFlow" in benchmark_encoder._text(result)


def test_torch_is_compared_form_by_form():
    from benchmark_encoder import _ratios

    rows = [
        {"network": "resnet50", "library": library, "form": form, "seconds": seconds}
        for library, form, seconds in (
            ("sepcon", "float32", 2.0),
            ("sepcon", "bfloat16", 1.5),
            ("torch", "float32", 4.0),
            ("torch", "bfloat16", 3.0),
        )
    ]
    assert _ratios(rows) == {
        "resnet50, float32 / torch": 0.5,
        "resnet50, bfloat16 / torch": 0.5,
        "resnet50, bfloat16 / sepcon in float32": 0.75,
    }


def test_an_environment_without_torch_is_told_in_one_line(capsys):
    import benchmark_encoder

    words = ["--networks", "nt_xent", "--pairs=8", "--torch=/bin/false"]
    with warm_python.used():
        assert benchmark_encoder.main(words) == 1
    error = capsys.readouterr().err
    assert "torch_encoder_process.py of the benchmark ended: code 1" in error
