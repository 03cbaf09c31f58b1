"""The module of the HEAR interface: what its validator asks for, and what it lets pass."""

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import PATCH_SECONDS, noise, write_run

import sepcon
from sepcon.embeddings.foreign import hear_module
from sepcon.inference import hear


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def model(run) -> hear.HearModel:
    return hear.load_model(str(run))


def test_the_model_has_what_hear_asks_for(model):
    assert isinstance(model, tf.Module)
    assert type(model.sample_rate) is int
    assert (model.sample_rate, model.scene_embedding_size) == (16000, 8)
    assert model.timestamp_embedding_size == 8


# Of 3.74 s the validator asks too; 100 samples are shorter than anything.
@pytest.mark.parametrize("samples", [32000, 59840, 100, 800, 801])
def test_moments_are_50_ms_apart_from_the_first_to_the_last_and_finite(model, samples):
    audio = noise(2, samples)
    embeddings, milliseconds = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == milliseconds.dtype == tf.float32
    moments = 1 + samples // 800
    assert embeddings.shape == (2, moments, 8)
    np.testing.assert_array_equal(milliseconds, [np.arange(moments) * 50.0] * 2)
    assert np.isfinite(embeddings.numpy()).all()
    end = 1000 * samples / 16000
    assert end - 50 < float(milliseconds[0, -1]) <= end


def test_a_moment_is_the_patch_around_it(model):
    audio = noise(2, 24000)
    embeddings, milliseconds = hear.get_timestamp_embeddings(audio, model)
    patch = round(PATCH_SECONDS * 16000)
    number = 13
    middle = round(float(milliseconds[0, number]) * 16)
    around = audio[:, middle - patch // 2 : middle + patch // 2]
    np.testing.assert_allclose(
        embeddings[:, number], model.scenes(around)["embedding"], rtol=1e-4, atol=1e-5
    )
    # A sound that begins with silence is heard so at its first moment alone.
    loud = np.concatenate([np.zeros([1, 24000], np.float32), noise(1, 8000, seed=1)], axis=1)
    quiet, _ = hear.get_timestamp_embeddings(np.zeros([1, 32000], np.float32), model)
    heard, _ = hear.get_timestamp_embeddings(loud, model)
    same = np.isclose(heard, quiet, atol=1e-5).all(axis=2)[0]
    first = (24000 - patch // 2) / 800  # The first patch that reaches into the noise.
    assert same[: int(first)].all()
    assert not same[int(first) + 2 :].any()


def test_scenes_are_the_embeddings_of_everything_else(model, run):
    audio = noise(3, 20011)
    scenes = hear.get_scene_embeddings(audio, model)
    expected = sepcon.load(run, "encoder").embed(audio, sample_rate_hz=16000).clip
    np.testing.assert_allclose(scenes, expected, rtol=1e-5, atol=1e-6)
    # The benchmark of embeddings takes this module as any other of the interface.
    embedder = hear_module(module="sepcon.inference.hear", weights=str(run))
    np.testing.assert_allclose(embedder(audio), scenes, rtol=1e-5, atol=1e-6)
    assert embedder.patches(audio).shape == (3, 26, 8)


def test_what_is_no_audio_or_no_encoder_is_told(model, tmp_path):
    with pytest.raises(sepcon.SepconError, match=r"audio: got shape \(100,\)"):
        hear.get_scene_embeddings(noise(100), model)
    with pytest.raises(sepcon.SepconError, match="nowhere holds no encoder"):
        hear.load_model(str(tmp_path / "nowhere"))
