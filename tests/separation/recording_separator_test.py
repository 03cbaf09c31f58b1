"""A separator behind one call: any rate, channel count and length, from a run or a SavedModel."""

import json
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import write_run
from separator_stub import CONFIG, write_separator_run
from stranger import run_stranger

from sepcon.errors import SepconError
from sepcon.models.separator.network import load_separator
from sepcon.separation.recording_separator import (
    NotFiniteError,
    RecordingSeparator,
    load_recording_separator,
)
from sepcon.verbs.export import export

OUTSIDE = """
results = {key: model(inputs[key])["sources"].numpy() for key in inputs.files}
served = model.signatures["serving_default"](waveform=tf.constant(inputs["batch"]))
results["served"] = served["sources"].numpy()
results["metadata"] = np.array([int(model.sample_rate_hz()), int(model.num_sources())])
"""


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.0, 0.1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_separator_run(tmp_path_factory.mktemp("separator"), steps=(3, 7))


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export(run_dir=tmp_path_factory.mktemp("export"), model=run, config_text="x.y = 1\n")


@pytest.fixture(scope="module")
def separator(run):
    return load_recording_separator(run, window_seconds=0.5)


def test_a_stranger_gets_the_same_sources(run, exported, tmp_path):
    inputs = {
        "batch": noise(3, 4000),
        "one": noise(1, 1),
        "odd": noise(2, 7919, seed=1),
        "alone": noise(5000, seed=2),
        "silence": np.zeros((1, 900), np.float32),
    }
    results = run_stranger(OUTSIDE, saved_model=exported, inputs=inputs, folder=tmp_path)
    live = load_separator(run)
    for key, waveform in inputs.items():
        expected = live(waveform if waveform.ndim == 2 else waveform[np.newaxis]).numpy()
        expected = expected if waveform.ndim == 2 else expected[0]
        np.testing.assert_allclose(results[key], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(results[key].sum(axis=-2), waveform, atol=1e-5)
    np.testing.assert_array_equal(results["served"], results["batch"])
    assert results["metadata"].tolist() == [16000, 3]


def test_the_model_card_of_a_separator(exported):
    card = json.loads((exported / "assets" / "model_card.json").read_text())
    assert (card["kind"], card["training_step"], card["num_sources"]) == ("separator", 7, 3)
    assert (card["sample_rate_hz"], card["gin"]) == (16000, "x.y = 1\n")
    assert card["separator"]["conv_channels"] == CONFIG.conv_channels
    assert {"git_revision", "git_dirty", "sepcon_version", "fingerprint"} <= set(card)
    model = json.loads((exported / "assets" / "model.json").read_text())
    assert model["kind"] == "separator"


def test_a_loaded_separator_can_be_trained_further(exported, run):
    model = tf.saved_model.load(str(exported))
    trainable = [variable for variable in model._tf_variables if variable.trainable]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(noise(2, 3000))["sources"] ** 2)
    gradients = tape.gradient(loss, trainable)
    assert len(gradients) == len(load_separator(run).trainable_variables)
    assert any(np.abs(gradient).max() > 0 for gradient in gradients)


def test_an_export_of_another_step_is_refused_and_a_second_says_so(run, tmp_path, capsys):
    export(run_dir=tmp_path, model=run, step=3)
    export(run_dir=tmp_path, model=run, step=3)
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(SepconError, match="another model"):
        export(run_dir=tmp_path, model=run)
    with pytest.raises(SepconError, match=r"hop_seconds.*is a separator"):
        export(run_dir=tmp_path / "x", model=run, hop_seconds=0.1)


def test_run_and_saved_model_are_the_same_separator(run, exported):
    waveform = noise(30000)
    live = load_recording_separator(run, window_seconds=0.5)
    loaded = load_recording_separator(exported.parent, window_seconds=0.5)
    assert (live.fingerprint, live.step) == (loaded.fingerprint, loaded.step)
    np.testing.assert_allclose(
        loaded(waveform, sample_rate_hz=22050), live(waveform, sample_rate_hz=22050), atol=1e-5
    )


def test_a_run_that_holds_an_export_is_still_a_run(run, tmp_path):
    write_separator_run(tmp_path, steps=(3, 7))
    export(run_dir=tmp_path, model=tmp_path)
    assert load_recording_separator(tmp_path, step=3).step == 3


def test_one_window_is_what_the_network_says(run, separator):
    waveform = noise(8000)
    sources = separator(waveform, sample_rate_hz=16000)
    expected = load_separator(run)(waveform[np.newaxis]).numpy()[0]
    np.testing.assert_allclose(sources, expected, atol=1e-5)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 192000])
@pytest.mark.parametrize("length", [1, 2, 17, 30001])
def test_sources_sum_to_the_recording(separator, rate_hz, length):
    waveform = noise(length)
    sources = separator(waveform, sample_rate_hz=rate_hz)
    assert sources.shape == (3, length)
    assert sources.dtype == np.float32
    np.testing.assert_allclose(sources.sum(axis=0), waveform, atol=1e-6)


def test_channels_are_averaged(separator):
    stereo = noise(5000, 2)
    sources = separator(stereo.astype(np.float64), sample_rate_hz=16000)
    np.testing.assert_allclose(sources.sum(axis=0), stereo.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(
    "waveform, message",
    [
        (np.zeros(10, np.int16), "divide int16"),
        (np.zeros([2, 2, 2], np.float32), "shape"),
        (np.zeros(0, np.float32), "at least one"),
        (np.asarray([0.0, np.nan], np.float32), "NaN"),
    ],
)
def test_what_is_no_waveform_is_refused(separator, waveform, message):
    with pytest.raises(ValueError, match=message):
        separator(waveform, sample_rate_hz=16000)


@pytest.mark.parametrize("rate_hz", [0, -16000, 4_000_000_000])
def test_what_is_no_rate_is_refused(separator, rate_hz):
    with pytest.raises(ValueError, match=f"sample_rate_hz: got {rate_hz}, expected 1000 to 768000"):
        separator(np.zeros(10, np.float32), sample_rate_hz=rate_hz)


def test_sources_that_are_not_finite_are_not_given_out():
    broken = RecordingSeparator(lambda batch: {"sources": batch[:, None] * np.inf}, 16000, 1, 0, "")
    with pytest.raises(NotFiniteError, match=r"peak is 0\.5"):
        broken(np.full(10, 0.5, np.float32), sample_rate_hz=16000)


@pytest.mark.parametrize("sample", [101.0, -20000.0, 3e38, np.inf])
def test_a_recording_that_is_too_loud_is_told_from_a_broken_separator(separator, sample):
    waveform = noise(9000)
    waveform[7] = sample
    with pytest.raises(NotFiniteError, match=r"too loud \(its peak is .*at most 100"):
        list(separator.stream([waveform], sample_rate_hz=16000))


def test_memory_does_not_grow_with_the_recording():
    """At another rate, and through every stage but the network."""
    stub = RecordingSeparator(
        lambda batch: {"sources": tf.stack([batch, 0 * batch], axis=1)}, 16000, 2, 0, "", 0.25
    )

    def peak(num_blocks):
        block = noise(4096)
        tracemalloc.start()
        total = sum(
            part.shape[1]
            for part in stub.stream((block for _ in range(num_blocks)), sample_rate_hz=44100)
        )
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == num_blocks * 4096
        return highest

    peak(10)  # What is made once, at the first call.
    assert peak(300) < 1.2 * peak(30)


def test_wrong_checkpoints(run, exported, tmp_path):
    with pytest.raises(SepconError, match="nowhere holds no separator: it is no folder"):
        load_recording_separator(tmp_path / "nowhere")
    with pytest.raises(SepconError, match=r"has neither model.json nor a SavedModel"):
        load_recording_separator(tmp_path)
    with pytest.raises(SepconError, match="no state of step 4; kept there: 3, 7"):
        load_recording_separator(run, step=4)
    with pytest.raises(SepconError, match="holds step 7 alone, not 3"):
        load_recording_separator(exported, step=3)
    with pytest.raises(SepconError, match="window_seconds: got 0"):
        load_recording_separator(run, window_seconds=0.0)
    with pytest.raises(SepconError, match="window_seconds: got nan"):
        load_recording_separator(run, window_seconds=float("nan"))
    write_run(tmp_path / "encoder")
    with pytest.raises(
        SepconError, match="holds a network of kind 'encoder', expected 'separator'"
    ):
        load_recording_separator(tmp_path / "encoder")
    export(run_dir=tmp_path / "encoder", model=tmp_path / "encoder")
    with pytest.raises(
        SepconError, match="holds a network of kind 'encoder', expected 'separator'"
    ):
        load_recording_separator(tmp_path / "encoder" / "saved_model")
