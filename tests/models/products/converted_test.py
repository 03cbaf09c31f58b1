"""TensorFlow Lite and ONNX give the numbers of the SavedModel, with built-in operations alone."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from classifier_stub import write_classifier
from encoder_stub import noise, write_run
from separator_stub import CONFIG, write_separator_run

from sepcon.errors import SepconError
from sepcon.models.products import conversion, write_converted
from sepcon.models.products.conversion import read_runner
from sepcon.models.products.write import open_product
from sepcon.models.separator.network import Separator
from sepcon.verbs.export import export

# Kind -> seconds, and hop_seconds where there is one. An encoder of three patches of half a second.
LENGTHS = {"encoder": (0.93, 0.25), "classifier": (None, None), "separator": (0.25, None)}
FORMATS = [
    "tflite",
    pytest.param(
        "onnx",
        marks=pytest.mark.skipif(
            not all(map(importlib.util.find_spec, ("tf2onnx", "onnxruntime"))),
            reason="tf2onnx and onnxruntime are not installed (pip install 'sepcon[onnx]')",
        ),
    ),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "encoder", steps=(10,))
    write_classifier(folder / "classifier", 3.0)
    write_separator_run(folder / "separator")
    return folder


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", LENGTHS)
def test_a_converted_model_gives_the_numbers_of_the_product(kind, format, runs, tmp_path):
    seconds, hop = LENGTHS[kind]
    arguments = {"model": runs / kind, "hop_seconds": hop}
    product = open_product(**arguments).module  # that a SavedModel is this is tested elsewhere
    folder = export(**arguments, run_dir=tmp_path, format=format, seconds=seconds)
    card = json.loads((folder / "model_card.json").read_text())
    run = read_runner(folder / conversion.CONVERSIONS[format].file)
    waveform = noise(*card["waveform_shape"], seed=5)
    outputs, expected = run(waveform), product(waveform)
    main = {"encoder": "patch_embedding", "classifier": "probabilities", "separator": "sources"}
    assert main[kind] in outputs
    for name, value in outputs.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, rtol=0)
        assert card["difference_to_saved_model"][name] <= 1e-4
    waveform[0, 7] = np.nan
    assert all(np.isnan(value).all() for value in run(waveform).values())
    if kind == "classifier":
        assert (folder / "class_map.csv").is_file()
        assert card["waveform_shape"] == [1, 4000]
        served = product.signatures["patch"](waveform=tf.constant(noise(2, 4000)))
        np.testing.assert_allclose(
            served["probabilities"], product(noise(2, 4000))["probabilities"], atol=1e-6
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"window_seconds": 0.0251, "hop_seconds": 0.0125},
        {"causal": True},
        {"basis": "learned", "window_seconds": 0.0025, "hop_seconds": 0.00125},
    ],
    ids=["odd window", "causal", "learned"],
)
def test_a_separator_without_fft_differs_by_rounding_alone(changes):
    keras.utils.set_random_seed(3)
    separator = Separator(dataclasses.replace(CONFIG, **changes))
    for variable in separator.variables:
        variable.assign_add(keras.random.normal(variable.shape, stddev=0.1, seed=4))
    waveform = noise(2, 3001)
    twin = separator.with_matrix_products()
    np.testing.assert_allclose(twin(waveform), separator(waveform), atol=1e-6)
    graph = tf.function(twin).get_concrete_function(tf.TensorSpec([1, 3001])).graph
    assert not [op.name for op in graph.get_operations() if "FFT" in op.type]


def test_a_model_that_gives_other_numbers_is_not_written(runs, tmp_path, monkeypatch):
    def open_wrong(content):
        run = conversion.open_tflite(content)
        return lambda waveform: {name: 1.001 * value for name, value in run(waveform).items()}

    wrong = dataclasses.replace(conversion.CONVERSIONS["tflite"], open_runner=open_wrong)
    monkeypatch.setitem(write_converted.CONVERSIONS, "tflite", wrong)
    with pytest.raises(SepconError, match=r"embedding is 0\.001 from that of the SavedModel"):
        export(run_dir=tmp_path, model=runs / "encoder", format="tflite")
    assert not list(tmp_path.glob("tflite*"))
    monkeypatch.undo()
    folder = export(run_dir=tmp_path, model=runs / "encoder", format="tflite")
    content = (folder / "model.tflite").read_bytes()
    export(run_dir=tmp_path, model=runs / "encoder", format="tflite")
    with pytest.raises(SepconError, match="holds another model"):
        export(run_dir=tmp_path, model=runs / "encoder", format="tflite", seconds=3.0)
    assert (folder / "model.tflite").read_bytes() == content


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"format": "coreml"}, "expected one of saved_model, tflite, onnx"),
        ({"seconds": 3.0}, "takes any length"),
        ({"format": "tflite", "seconds": 0.0}, "expected the length of a waveform"),
    ],
)
def test_what_cannot_be_is_told(arguments, message, runs, tmp_path):
    with pytest.raises(SepconError, match=message):
        export(run_dir=tmp_path, model=runs / "separator", **arguments)


def test_a_missing_package_is_named_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(SepconError, match=r"tf2onnx is not installed.*sepcon\[onnx\]"):
        export(run_dir=tmp_path, model=Path("missing"), format="onnx")
