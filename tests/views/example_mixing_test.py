"""Example mixing against a loop over single examples, alone and among replicas."""

import math

import numpy as np
import pytest
import tensorflow as tf

from sepcon.views.example_mixing import ExampleMixing

SAMPLES = 50


def patches(batch: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, SAMPLES)).astype(np.float32)


def uniforms(batch: int = 6, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, 2), np.float32)


def mixed_by_loops(max_share: float, audio: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    result = []
    for row, (of_stranger, of_share) in enumerate(numbers):
        others = [k % len(audio) for k in range(row + 1, row + len(audio))]  # all but the row
        stranger = audio[others[min(math.floor(of_stranger * len(others)), len(others) - 1)]]
        share = max_share * of_share
        energy = sum(x * x for x in audio[row])
        strange_energy = sum(y * y for y in stranger)
        level = math.sqrt(share * energy / strange_energy) if strange_energy else 0.0
        result.append(math.sqrt(1 - share) * audio[row] + level * stranger)
    return np.array(result)


@pytest.mark.parametrize("batch", [2, 6])
@pytest.mark.parametrize("max_share", [0.0, 0.05, 1.0])
def test_equals_loops(batch, max_share):
    audio, numbers = patches(batch), uniforms(batch)
    mixed = ExampleMixing(max_share)(audio, numbers)
    np.testing.assert_allclose(mixed, mixed_by_loops(max_share, audio, numbers), atol=1e-5)


def test_every_other_clip_is_mixed_in_but_never_the_clip_itself():
    audio = np.eye(5, SAMPLES, dtype=np.float32)
    last = np.nextafter(np.float32(1), np.float32(0))
    found = set()
    for of_stranger in [0.0, 0.3, 0.6, last]:
        numbers = np.tile(np.float32([[of_stranger, last]]), (5, 1))
        mixed = np.asarray(ExampleMixing(1.0)(audio, numbers))
        found |= set(np.argmax(mixed, axis=1) - np.arange(5))
        assert (np.argmax(mixed, axis=1) != np.arange(5)).all()
    assert {step % 5 for step in found} == {1, 2, 3, 4}


def test_the_stranger_has_its_share_of_the_energy_and_the_whole_is_as_loud():
    audio = np.eye(4, SAMPLES, dtype=np.float32) * [[1.0], [0.1], [7.0], [2.0]]
    numbers = np.tile(np.float32([[0.0, 0.5]]), (4, 1))
    mixed = np.asarray(ExampleMixing(0.4)(audio.astype(np.float32), numbers))
    np.testing.assert_allclose((mixed**2).sum(axis=1), (audio**2).sum(axis=1), rtol=1e-5)
    own = np.diagonal(mixed[:, :4]) ** 2 / (mixed**2).sum(axis=1)
    np.testing.assert_allclose(own, 0.8, rtol=1e-5)


def test_silence_is_neither_made_louder_nor_divided_by():
    audio = patches(3)
    audio[1] = 0.0
    mixed = np.asarray(ExampleMixing(1.0)(audio, np.full((3, 2), 0.1, np.float32)))
    assert np.isfinite(mixed).all()
    assert not mixed[1].any()


def test_graph_with_unknown_batch_and_xla_equal_eager():
    mix, audio, numbers = ExampleMixing(), patches(), uniforms()
    signature = [tf.TensorSpec([None, SAMPLES]), tf.TensorSpec([None, 2])]
    for jit in (False, True):
        traced = tf.function(mix.__call__, jit_compile=jit, input_signature=signature)
        np.testing.assert_allclose(traced(audio, numbers), mix(audio, numbers), atol=1e-5)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="max_share"):
        ExampleMixing(share)
