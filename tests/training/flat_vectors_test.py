"""Tensors laid end to end come back as they were, and are not mixed where they must not be."""

import numpy as np
import tensorflow as tf

from sepcon.training import flat_vectors
from sepcon.training.flat_vectors import FlatVectors

SHAPES = [(3, 4), (), (5,), (2, 2, 2), (7,)]


def tensors() -> list[tf.Tensor]:
    generator = np.random.default_rng(0)
    return [tf.constant(generator.normal(size=shape), tf.float32) for shape in SHAPES]


def test_unpacking_undoes_packing(monkeypatch):
    for least, kinds in ((1 << 18, "aaaaa"), (1 << 18, "abaab"), (1, "aaaaa"), (6, "babbb")):
        monkeypatch.setattr(flat_vectors, "_LEAST_VECTOR", least)
        flat = FlatVectors(tensors(), list(kinds))
        for one, other in zip(flat.unpack(flat.pack(tensors())), tensors(), strict=True):
            assert one.shape == other.shape
            np.testing.assert_array_equal(one, other)


def test_kinds_share_no_vector():
    assert FlatVectors(tensors(), list("abaab")).groups == [[0, 2, 3], [1, 4]]


def test_large_tensors_are_not_all_in_one_vector(monkeypatch):
    """The update of a vector shall fit the caches, and the number of vectors is bounded."""
    monkeypatch.setattr(flat_vectors, "_LEAST_VECTOR", 6)
    assert FlatVectors(tensors(), list("aaaaa")).groups == [[0], [1, 2], [3], [4]]
    many = [tf.zeros([10])] * 400
    assert len(FlatVectors(many, ["a"] * 400).groups) == flat_vectors._MOST_VECTORS
