"""The exported module against a transcription that cuts the patches one by one in numpy."""

import math

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import LOG_MEL, PATCH_SECONDS, noise, small_encoder

from sepcon.models.products import patch_embedder
from sepcon.models.products.embedding import EmbeddingModel

PATCH, WINDOW, FRAME_HOP = 8000, 400, 160


@pytest.fixture(scope="module")
def encoder():
    return small_encoder()


@pytest.fixture(scope="module")
def module(encoder):
    return EmbeddingModel(encoder, LOG_MEL, patch_seconds=PATCH_SECONDS)


def by_hand(encoder, waveform, hop_frames=25):
    """One clip: pads, cuts patch after patch out of the waveform, embeds each on its own."""
    extra = math.ceil(max(0, len(waveform) - PATCH) / FRAME_HOP)
    padded = np.zeros(PATCH + extra * FRAME_HOP, np.float32)
    padded[: len(waveform)] = waveform
    starts, start = [], 0
    while start < extra:
        starts.append(start)
        start += hop_frames
    starts.append(extra)
    patches = []
    for start in starts:
        patch = padded[start * FRAME_HOP : start * FRAME_HOP + PATCH]
        patches.append(encoder(LOG_MEL(patch[np.newaxis]), training=False).numpy()[0])
    return np.array(patches), np.array(starts) * FRAME_HOP / 16000, LOG_MEL(padded).numpy()


@pytest.mark.parametrize("samples", [1, 3000, PATCH - 1, PATCH, PATCH + 1, 12000, 12001, 50000])
def test_equals_patches_cut_by_hand(encoder, module, samples):
    waveform = noise(2, samples)
    outputs = module(waveform)
    for row in range(2):
        patches, times, log_mel = by_hand(encoder, waveform[row])
        np.testing.assert_allclose(outputs["patch_embedding"][row], patches, atol=2e-5)
        np.testing.assert_allclose(outputs["embedding"][row], patches.mean(axis=0), atol=2e-5)
        np.testing.assert_allclose(outputs["patch_time_seconds"], times, atol=1e-6)
        np.testing.assert_allclose(outputs["log_mel"][row], log_mel, atol=1e-4)


def test_a_clip_of_one_patch_is_one_patch(module):
    assert module(noise(1, PATCH))["patch_embedding"].shape == (1, 1, 8)
    assert module(noise(1, PATCH))["log_mel"].shape == (1, 48, 16)


def test_the_end_of_the_clip_is_heard(module):
    waveform = noise(1, 20000)
    changed = waveform.copy()
    changed[0, -300:] += 0.5
    before, after = module(waveform)["patch_embedding"], module(changed)["patch_embedding"]
    np.testing.assert_array_equal(before[:, :-1], after[:, :-1])
    assert np.abs(before[:, -1] - after[:, -1]).max() > 1e-3


def test_hop_is_rounded_to_frames(encoder):
    module = EmbeddingModel(encoder, LOG_MEL, patch_seconds=PATCH_SECONDS, hop_seconds=0.104)
    assert module.exact_hop_seconds == pytest.approx(0.10)
    waveform = noise(1, 20000)
    patches, times, _ = by_hand(encoder, waveform[0], hop_frames=10)
    np.testing.assert_allclose(module(waveform)["patch_time_seconds"], times, atol=1e-6)
    np.testing.assert_allclose(module(waveform)["patch_embedding"][0], patches, atol=2e-5)


def test_without_batch_axis(module):
    waveform = noise(20000)
    alone, batch = module(waveform), module(waveform[np.newaxis])
    assert alone["embedding"].shape == (8,)
    for name, value in alone.items():
        other = batch[name] if name == "patch_time_seconds" else batch[name][0]
        np.testing.assert_allclose(value, other, atol=1e-6)


def test_memory_chunks_change_nothing(encoder, module, monkeypatch):
    waveform = noise(3, 60000)
    whole = module(waveform)
    for frames, patches in ((1, 1), (40, 2), (7, 9)):
        monkeypatch.setattr(patch_embedder, "_FRAMES_PER_CHUNK", 3 * frames)
        monkeypatch.setattr(patch_embedder, "_PATCHES_PER_CHUNK", 3 * patches)
        chunked = EmbeddingModel(encoder, LOG_MEL, patch_seconds=PATCH_SECONDS)(waveform)
        for name, value in whole.items():
            np.testing.assert_allclose(chunked[name], value, atol=2e-5, err_msg=name)


def test_one_graph_serves_all_shapes(module):
    before = module.__call__.experimental_get_tracing_count()
    for shape in ((1, 9000), (4, 9000), (2, 31000)):
        module(noise(*shape))
    module(noise(12345))
    assert module.__call__.experimental_get_tracing_count() == before


def test_silence_is_finite_and_metadata_are_right(module):
    for value in module(np.zeros((2, 30000), np.float32)).values():
        assert np.isfinite(value).all()
    assert module.sample_rate_hz() == 16000
    assert module.patch_seconds() == 0.5
    assert module.hop_seconds() == 0.25
    assert module.embedding_size() == 8


def test_eager_equals_graph(module):
    waveform = tf.constant(noise(2, 20000))
    graph = module(waveform)
    tf.config.run_functions_eagerly(True)
    try:
        eager = module(waveform)
    finally:
        tf.config.run_functions_eagerly(False)
    for name, value in graph.items():
        np.testing.assert_allclose(eager[name], value, atol=2e-5)


def test_wrong_arguments(encoder, module):
    with pytest.raises(ValueError, match=r"or int16.*got int32 of shape \(2, 9000\)"):
        module(np.zeros((2, 9000), np.int32))
    with pytest.raises(ValueError, match=r"\[batch, samples\] or \[samples\]"):
        module(np.zeros((1, 2, 9000), np.float32))
    with pytest.raises(ValueError, match="hop_seconds"):
        EmbeddingModel(encoder, LOG_MEL, patch_seconds=0.5, hop_seconds=0.0)
    with pytest.raises(ValueError, match="patch_seconds"):
        EmbeddingModel(encoder, LOG_MEL, patch_seconds=0.01)
    with pytest.raises(ValueError, match="input shape"):
        EmbeddingModel(encoder, type(LOG_MEL)(num_mels=17), patch_seconds=0.5)
