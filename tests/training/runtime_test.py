"""Threads and seeds are set as asked, or not at all. (Determinism itself: faults_test.py.)"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.training.runtime import configure_threads, make_reproducible


@pytest.fixture
def asked(monkeypatch):
    asked = {}
    for name in ("intra", "inter"):
        setter = f"set_{name}_op_parallelism_threads"
        monkeypatch.setattr(
            tf.config.threading, setter, lambda n, name=name: asked.update({name: n})
        )
    return asked


@pytest.mark.parametrize("number, expected", [(None, {}), (3, {"intra": 3, "inter": 3})])
def test_threads(asked, number, expected):
    configure_threads(number)
    assert asked == expected


def test_no_threads(asked):
    with pytest.raises(SepconError, match="num_threads: got 0, expected at least 1"):
        configure_threads(0)
    assert asked == {}


@pytest.fixture
def enabled(monkeypatch):
    enabled = []
    # The real one would hold for all tests after this one.
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: enabled.append(1))
    return enabled


def test_seed_gives_the_same_initial_weights(enabled):
    kernels = []
    for seed in (1, 1, 2):
        make_reproducible(seed)
        layer = keras.layers.Dense(4)
        layer.build((None, 3))
        kernels.append(layer.kernel.numpy())
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])
    assert enabled == [1, 1, 1]


@pytest.mark.parametrize(
    "accelerator, asked, expected",
    [
        (False, None, True),
        (True, None, False),
        (True, True, True),
        (False, False, False),
    ],
)
def test_operations_are_deterministic_on_a_cpu_or_where_that_is_asked_for(
    enabled, monkeypatch, accelerator, asked, expected
):
    monkeypatch.setattr("sepcon.replicas._assumed", accelerator)
    assert make_reproducible(1, deterministic=asked) == expected
    assert enabled == [1] * expected
