"""`sepcon.load`: run folders, exports and packaged weights, as objects that know what they are."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from classifier_stub import write_classifier
from encoder_stub import PATCH_SECONDS, noise, write_run
from separator_stub import write_separator_run
from tones_stub import CLASS_NAMES, tone

import sepcon
from sepcon.embeddings.embedders import load_embedder
from sepcon.inference.keras_layers import LogMelPatches
from sepcon.models import packaged
from sepcon.models.compact_weights import write_compact
from sepcon.models.encoder_files import load_encoder
from sepcon.models.separator.network import load_separator
from sepcon.models.weights import state_folder
from sepcon.separation.recording_separator import load_recording_separator
from sepcon.verbs.classify import classify
from sepcon.verbs.export import export


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """An encoder and its export, a separator, and two folds of a classifier."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "encoder", steps=(10, 20))
    write_separator_run(folder / "separator")
    write_classifier(folder / "classifier" / "seed0" / "fold1", 0.5)
    write_classifier(folder / "classifier" / "seed0" / "fold3", 1.0)
    export(run_dir=folder / "exports" / "encoder", model=folder / "encoder")
    return folder


@pytest.fixture(scope="module")
def encoder(runs) -> sepcon.Encoder:
    return sepcon.load(runs / "encoder", "encoder")


def test_importing_the_package_is_light_and_names_what_it_has():
    assert set(sepcon.__all__) <= set(dir(sepcon))
    for name in sepcon.__all__:
        assert getattr(sepcon, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sepcon.nothing  # noqa: B018
    assert (Path(sepcon.__file__).parent / "py.typed").is_file()


def test_an_encoder_embeds_as_everything_else_does(runs, encoder):
    waveform = noise(2, 20011)
    embedding = encoder.embed(waveform, sample_rate_hz=16000)
    np.testing.assert_array_equal(embedding.clip, load_embedder(runs / "encoder")(waveform))
    np.testing.assert_allclose(embedding.patches.mean(axis=1), embedding.clip, rtol=1e-5, atol=1e-6)
    assert embedding.patches.shape == (2, 5, 8)
    np.testing.assert_allclose(embedding.start_seconds[:3], [0.0, 0.25, 0.5])
    assert embedding.patch_seconds == PATCH_SECONDS
    alone = encoder.embed(waveform[0], sample_rate_hz=16000)
    np.testing.assert_allclose(alone.clip, embedding.clip[0], rtol=1e-5, atol=1e-6)
    assert alone.patches.shape == (5, 8)
    assert (encoder.sample_rate_hz, encoder.embedding_size, encoder.hop_seconds) == (16000, 8, 0.25)
    assert "to 8 numbers" in repr(encoder)
    exported = sepcon.load(runs / "exports" / "encoder", "encoder")
    np.testing.assert_allclose(
        exported.embed(waveform, sample_rate_hz=16000).clip, embedding.clip, rtol=1e-5, atol=1e-5
    )
    assert exported.card["fingerprint"] == encoder.card["fingerprint"]


def test_a_step_is_that_of_the_run(runs, encoder):
    waveform = noise(1, 9000)
    early = sepcon.load(runs / "encoder", "encoder", step=10)
    assert early.card["training_step"] == 10
    assert not np.allclose(
        early.embed(waveform, sample_rate_hz=16000).clip,
        encoder.embed(waveform, sample_rate_hz=16000).clip,
    )
    with pytest.raises(sepcon.SepconError, match="holds step 20 alone, not 10"):
        sepcon.load(runs / "exports" / "encoder", step=10)
    with pytest.raises(sepcon.SepconError, match="no state of step 11"):
        sepcon.load(runs / "encoder", step=11)


@pytest.mark.parametrize("name", ["encoder", "exports/encoder"])
def test_a_keras_model_is_the_encoder_and_learns(runs, encoder, name, tmp_path):
    waveform = noise(4, 12011, seed=3)
    model = sepcon.load(runs / name, "encoder").keras_model()
    embedding = encoder.embed(waveform, sample_rate_hz=16000).clip
    np.testing.assert_allclose(model(waveform), embedding, rtol=1e-5, atol=1e-6)
    short = noise(1, 300)
    np.testing.assert_allclose(
        model(short),
        encoder.embed(short, sample_rate_hz=16000).clip,
        rtol=1e-5,
        atol=1e-6,
    )
    if name == "exports/encoder":
        return
    before = [weight.numpy() for weight in model.trainable_weights]
    classifier = keras.Sequential([model, keras.layers.Dense(2)])
    classifier.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    classifier.fit(waveform, np.array([0, 1, 0, 1]), epochs=1, verbose=0)
    after = [weight.numpy() for weight in model.trainable_weights]
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    # The encoder that it was made of stays as it was.
    np.testing.assert_array_equal(encoder.embed(waveform, sample_rate_hz=16000).clip, embedding)
    classifier.save(tmp_path / "own.keras")
    again = keras.saving.load_model(tmp_path / "own.keras")
    np.testing.assert_allclose(again(waveform), classifier(waveform), rtol=1e-6, atol=1e-6)


def test_the_front_end_of_the_keras_model_stays_in_float32():
    layer = LogMelPatches({"num_mels": 16}, 0.5, 0.25, dtype="mixed_float16")
    patches = layer(tf.constant(noise(1, 16000)))
    assert patches.dtype == tf.float32
    assert patches.shape == (1, 3, *layer.compute_output_shape((1, 16000))[2:])
    assert LogMelPatches.from_config(layer.get_config()).get_config() == layer.get_config()


def test_a_separator_splits_any_recording(runs):
    separator = sepcon.load(runs / "separator")
    assert isinstance(separator, sepcon.Separator)
    assert (separator.num_channels, separator.sample_rate_hz) == (3, 16000)
    stereo = noise(22050, 2)
    channels = separator(stereo, sample_rate_hz=44100)
    assert channels.shape == (3, 22050)
    np.testing.assert_allclose(channels.sum(axis=0), stereo.mean(axis=1), atol=1e-5)
    expected = load_recording_separator(runs / "separator")(stereo, sample_rate_hz=44100)
    np.testing.assert_allclose(channels, expected, atol=1e-5)
    both = separator(np.stack([stereo, 0.5 * stereo]), sample_rate_hz=44100)
    np.testing.assert_allclose(both[0], channels, atol=1e-6)
    assert separator(np.zeros([0, 9000]), sample_rate_hz=16000).shape == (0, 3, 9000)
    assert separator.card["kind"] == "separator"
    assert "3 channels" in repr(separator)


def test_a_classifier_is_the_mean_of_its_folds(runs, tmp_path):
    classifier = sepcon.load(runs / "classifier")
    assert isinstance(classifier, sepcon.Classifier)
    assert len(classifier.members) == 2
    assert classifier.class_names == CLASS_NAMES
    waveform = np.concatenate([tone(1, 100 + k) for k in range(6)])
    soundfile.write(tmp_path / "x.wav", waveform, 16000)
    (row,) = classify(
        run_dir=tmp_path, model=runs / "classifier", files=[tmp_path / "x.wav"], top=1
    )
    classes = classifier.classify(waveform, sample_rate_hz=16000)
    [(name, probability)] = classes.top(1)
    assert name == row[2] == "middle"
    assert probability == pytest.approx(float(row[3]), abs=1e-3)
    assert classes.probabilities.sum() == pytest.approx(1.0, rel=1e-5)
    assert classes.patch_probabilities.shape == (len(classes.start_seconds), 3)
    batch = classifier.classify(np.stack([waveform, waveform]), sample_rate_hz=16000)
    assert [each[0][0] for each in batch.top(2)] == ["middle", "middle"]
    assert len(sepcon.load(runs / "classifier/seed0/fold1", "classifier").members) == 1


def test_packaged_weights_are_found_by_name(runs, encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packaged, "weights_folder", lambda: tmp_path)
    for kind, step, load in (
        ("encoder", 20, lambda *run: load_encoder(*run).encoder),
        ("separator", 7, load_separator),
    ):
        folder = tmp_path / f"{kind}-v0"
        folder.mkdir()
        shutil.copy(runs / kind / "model.json", folder)
        (folder / "model_card.json").write_text('{"summary": "made in a test", "licence": "CC0"}')
        write_compact(load(runs / kind, step), state_folder(folder, step))
    assert packaged.packaged_names() == ["encoder-v0", "separator-v0"]
    named = sepcon.load("encoder-v0", "encoder")
    waveform = noise(1, 9000)
    np.testing.assert_allclose(
        named.embed(waveform, sample_rate_hz=16000).clip,
        encoder.embed(waveform, sample_rate_hz=16000).clip,
        rtol=0.01,
        atol=0.01,
    )
    assert named.card["licence"] == "CC0"
    separator = sepcon.load("separator-v0", "separator")
    mixture = noise(9000)
    channels = separator(mixture, sample_rate_hz=16000)
    full = sepcon.load(runs / "separator", "separator")(mixture, sample_rate_hz=16000)
    np.testing.assert_allclose(channels, full, atol=0.01)
    packaged.tell_weights("encoder-v0")
    assert capsys.readouterr().err == "sepcon: encoder-v0: made in a test\n"
    with pytest.raises(sepcon.SepconError, match="packaged weights: encoder-v0, separator-v0"):
        sepcon.load("encoder-v9")
    with pytest.raises(sepcon.SepconError, match="'encoder', expected 'separator'"):
        sepcon.load("encoder-v0", "separator")
    with pytest.raises(sepcon.SepconError, match="no classifier is given, and none comes with"):
        packaged.default_weights("classifier")


def test_what_cannot_be_loaded_is_told_in_one_line(runs, tmp_path):
    with pytest.raises(sepcon.SepconError, match="nowhere holds no encoder"):
        sepcon.load("nowhere")
    with pytest.raises(sepcon.SepconError, match="kind: got 'ear'"):
        sepcon.load(runs / "encoder", "ear")
    with pytest.raises(sepcon.SepconError, match="expected 'classifier'"):
        sepcon.load(runs / "separator", "classifier")
    module = tf.Module()
    module.call = tf.function(lambda x: x, input_signature=[tf.TensorSpec([None])])
    tf.saved_model.save(module, str(tmp_path / "foreign"), signatures=module.call)
    with pytest.raises(sepcon.SepconError, match=r"of others.*foreign\.saved_model"):
        sepcon.load(tmp_path / "foreign")
