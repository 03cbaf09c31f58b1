"""A classifier on disk and as a SavedModel is the live one, without sepcon or Keras."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import LOG_MEL, PATCH_SECONDS, noise, small_encoder
from stranger import run_stranger

from sepcon.audio.log_mel import LogMel
from sepcon.embeddings.embedders import load_embedder
from sepcon.errors import SepconError
from sepcon.models.classifier import (
    Classifier,
    describe,
    load_classifier,
    save_classifier_config,
    write_selected,
)
from sepcon.models.encoder_files import load_encoder
from sepcon.models.products.classification import ClassificationModel
from sepcon.verbs.export import export

NAMES = ("dog", "rain, heavy", "saw")
DECIBELS = LogMel(num_mels=16, floor=1e-10, range_db=80.0)

OUTSIDE = """
for key in inputs.files:
    for name, value in model(inputs[key]).items():
        results[key + "/" + name] = value.numpy()
    if inputs[key].ndim == 2:
        served = model.signatures["serving_default"](waveform=tf.constant(inputs[key]))
        results[key + "/served"] = served["probabilities"].numpy()
results["rate"] = model.sample_rate_hz().numpy()
results["names"] = np.array([name.decode() for name in model.class_names().numpy()])
results["map"] = np.array(tf.io.read_file(model.class_map_path()).numpy().decode())
scores, embeddings, log_mel = model.yamnet_outputs(inputs["alone"])
results["yamnet/patch_probabilities"] = scores.numpy()
results["yamnet/patch_embedding"] = embeddings.numpy()
results["yamnet/log_mel"] = log_mel.numpy()
results["patch"] = np.array([model.patch_seconds().numpy(), model.hop_seconds().numpy()])
try:
    scores, embeddings, log_mel = model(inputs["alone"])
except ValueError as error:
    results["unpacked"] = np.array(str(error))
"""


def make_classifier(normalize: bool = True) -> Classifier:
    encoder = small_encoder(3)
    keras.utils.set_random_seed(5)
    return Classifier(encoder=encoder, num_classes=3, normalize=normalize)


def write_run(folder, classifier, log_mel=LOG_MEL, step=30):
    config = describe(classifier, log_mel=log_mel, patch_seconds=PATCH_SECONDS, class_names=NAMES)
    save_classifier_config(folder, config)
    write_selected(classifier, folder, step)
    return folder


@pytest.mark.parametrize("normalize", [True, False])
def test_logits_are_the_mean_over_patches(normalize):
    classifier = make_classifier(normalize)
    module = ClassificationModel(
        classifier, DECIBELS, patch_seconds=PATCH_SECONDS, class_names=NAMES
    )
    waveform = noise(2, 16000)  # 3 patches of 8000 samples every 4000
    frames = DECIBELS.num_frames(8000)
    log_power = DECIBELS.log_power(waveform).numpy()
    logits = []
    for start in (0, 25, 50):  # in frames
        patch = log_power[:, start : start + frames] * 10 / np.log(10)
        patch = np.maximum(patch - patch.max(axis=(1, 2), keepdims=True), -80.0)
        embedding = classifier.encoder(patch).numpy()
        if normalize:
            embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
        kernel, bias = classifier.head.get_weights()
        logits.append(embedding @ kernel + bias)
    mean = np.mean(logits, axis=0)
    outputs = module(tf.constant(waveform))
    np.testing.assert_allclose(outputs["logits"], mean, rtol=1e-3, atol=1e-4)
    expected = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=1e-3)


def test_stranger_gets_the_same_numbers(tmp_path):
    classifier = make_classifier()
    run = write_run(tmp_path / "run", classifier, DECIBELS)
    exported = export(run_dir=tmp_path / "export", model=run)
    live = ClassificationModel(classifier, DECIBELS, patch_seconds=PATCH_SECONDS, class_names=NAMES)
    inputs = {
        "short": noise(1, 500),
        "odd": noise(3, 20011),
        "alone": noise(12000),
        "silence": np.zeros((2, 9000), np.float32),
    }
    results = run_stranger(OUTSIDE, saved_model=exported, inputs=inputs, folder=tmp_path)
    for name, waveform in inputs.items():
        expected = live(tf.constant(waveform))
        for key, value in expected.items():
            np.testing.assert_allclose(results[f"{name}/{key}"], value, rtol=1e-4, atol=1e-5)
        by_patch = results[f"{name}/patch_probabilities"]
        assert by_patch.shape == (*expected["patch_embedding"].shape[:-1], 3)
        assert by_patch.sum(axis=-1) == pytest.approx(1.0, rel=1e-5)
        assert results[f"{name}/probabilities"].sum(axis=-1) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_array_equal(results["odd/served"], results["odd/probabilities"])
    assert results["rate"] == 16000
    assert tuple(results["names"]) == NAMES
    rows = list(csv.DictReader(str(results["map"]).splitlines()))
    # "dog" is a class of AudioSet, the others are not.
    assert [tuple(row.values()) for row in rows] == [
        ("0", "/m/0bt9lr", "dog"),
        ("1", "", "rain, heavy"),
        ("2", "", "saw"),
    ]
    for key in ("patch_probabilities", "patch_embedding", "log_mel"):
        np.testing.assert_array_equal(results[f"yamnet/{key}"], results[f"alone/{key}"])
    assert "too many values to unpack" in str(results["unpacked"])
    np.testing.assert_allclose(results["patch"], [0.5, 0.25])
    card = json.loads((exported / "assets" / "model_card.json").read_text())
    assert (card["kind"], card["training_step"]) == ("classifier", 30)
    # What embeds recordings takes it as it is.
    assert load_embedder(exported)(noise(2, 9000)).shape == (2, 8)


def test_later_weights_are_seen():
    classifier = make_classifier()
    module = ClassificationModel(
        classifier, LOG_MEL, patch_seconds=PATCH_SECONDS, class_names=NAMES
    )
    classifier.head.set_weights([np.zeros((8, 3)), np.log([0.2, 0.3, 0.5])])
    probabilities = module(tf.constant(noise(2, 9000)))["probabilities"]
    np.testing.assert_allclose(probabilities, [[0.2, 0.3, 0.5]] * 2, rtol=1e-5)


def test_what_is_no_classifier(tmp_path):
    with pytest.raises(SepconError, match="holds no classifier of `sepcon finetune`"):
        load_classifier(tmp_path)
    run = write_run(tmp_path / "run", make_classifier())
    with pytest.raises(SepconError, match="describes a 'classifier', expected 'encoder'"):
        load_encoder(run)
    with pytest.raises(SepconError, match="no state of step 7"):
        load_classifier(run, 7)
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        Classifier(encoder=small_encoder(), num_classes=0, normalize=True)
