"""The packaged weights give on this TensorFlow what they gave on the one they were trained with.

packaged_results.npz is what `results` returned on TensorFlow 2.17.1; the check asks on 2.21 and on
2.17.1. Other kernels and other processors add up in another order, hence the tolerances.
"""

from pathlib import Path

import numpy as np
import pytest

import sepcon

RECORDED = Path(__file__).with_name("packaged_results.npz")
RATE_HZ = 16000
# Largest difference, as a share of the largest number: half of one step of 16-bit samples.
TOLERANCE = 1.5e-5


def scene() -> np.ndarray:
    """Three seconds of a rising tone and of a beating one: [48000] float32."""
    seconds = np.arange(3 * RATE_HZ) / RATE_HZ
    rising = np.sin(2 * np.pi * (300 + 400 * seconds) * seconds)
    beating = np.sin(2 * np.pi * 2100 * seconds) * np.sin(2 * np.pi * 3 * seconds) ** 2
    return (0.1 * rising + 0.2 * beating).astype(np.float32)


def results() -> dict[str, np.ndarray]:
    """Embeddings, and every 37th sample of the channels."""
    embedding = sepcon.load("encoder-v1").embed(scene(), sample_rate_hz=RATE_HZ)
    channels = sepcon.load("separator-v1")(scene(), sample_rate_hz=RATE_HZ)
    return {
        "clip": np.asarray(embedding.clip),
        "patches": np.asarray(embedding.patches),
        "channels": np.asarray(channels)[:, ::37],
    }


@pytest.fixture(scope="module")
def here() -> dict[str, np.ndarray]:
    return results()


@pytest.mark.parametrize("name", ["clip", "patches", "channels"])
def test_packaged_weights_give_the_same_on_every_tensorflow(name, here):
    with np.load(RECORDED) as recorded:
        expected = recorded[name]
    assert here[name].shape == expected.shape
    assert np.abs(expected).max() > 0.05
    largest = np.abs(here[name] - expected).max() / np.abs(expected).max()
    assert largest < TOLERANCE
