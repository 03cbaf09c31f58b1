"""Two logical CPUs against one device on the global batch, and the identity elsewhere."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import warm_python

from sepcon.replicas import gather_global, num_replicas


@pytest.fixture(scope="module")
def results(tmp_path_factory, repository: Path):
    """What the child process computed; it alone may divide the CPU before TensorFlow starts."""
    path = tmp_path_factory.mktemp("replicas") / "results.npz"
    child = Path(__file__).resolve().parents[0] / "support" / "losses_replicas_child.py"
    environment = os.environ | {"PYTHONPATH": str(repository), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [warm_python.path(), str(child), str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", ["loss", "accuracy", "gradient"])
@pytest.mark.parametrize("objective", ["contrastive", "coincidence", "supervised"])
def test_two_replicas_equal_one_device(results, objective, name):
    one, two = (results[f"{count}_{objective}_{name}"] for count in ("one", "two"))
    assert np.any(one != 0) or (objective != "contrastive" and name == "accuracy")
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-7)


def test_every_replica_sees_the_global_batch(results):
    rows = results["rows"]
    np.testing.assert_array_equal(results["two_half"].shape, (2, *rows[:, 0].shape))
    for replica in range(2):
        np.testing.assert_allclose(results["two_half"][replica], rows[:, 0], rtol=1e-2)
        expected = (100 * rows[:, 1]).astype(np.int32)
        np.testing.assert_array_equal(results["two_integers"][replica], expected)


def test_offsets_and_counts(results):
    np.testing.assert_array_equal(results["two_offset"], [0, 3])
    np.testing.assert_array_equal(results["two_replicas"], [2, 2])
    assert results["two_replicas_outside"] == 1
    assert results["one_replicas"] == results["one_replicas_outside"] == 1


def test_one_device_is_the_identity():
    x = tf.ones([2, 3], tf.bfloat16)
    gathered, offset = gather_global(x)
    assert gathered is x
    assert int(offset) == 0
    assert num_replicas() == 1


def test_outside_a_replica_nothing_is_gathered():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        x = tf.ones([2, 3])
        assert gather_global(x)[0] is x
        assert num_replicas() == 1
