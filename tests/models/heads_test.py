"""Heads against formulas in numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.models import heads
from sepcon.models.heads import CoincidenceHead, projection_head


def relu(x):
    return np.maximum(x, 0.0)


def test_projection_equals_numpy_in_training_and_after():
    head = projection_head(embedding_size=6, hidden_sizes=(5, 4), projection_size=3)
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    kernels = {w.path.split("/")[-2]: w.numpy() for w in head.weights if w.path.endswith("kernel")}
    first, second, last = kernels.values()
    bias = head.get_layer("projection").bias.numpy()

    hidden = x
    for kernel in (first, second):
        hidden = hidden @ kernel
        hidden = relu((hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-3))
    np.testing.assert_allclose(head(x, training=True), hidden @ last + bias, atol=1e-4)
    assert head(x, training=False).shape == (7, 3)


def test_projection_synchronises_its_batch_normalisation():
    layers = projection_head(embedding_size=6).layers
    norms = [each for each in layers if isinstance(each, keras.layers.BatchNormalization)]
    assert len(norms) == 2
    assert all(each.synchronized for each in norms)


def test_coincidence_equals_a_network_on_the_concatenated_pair():
    head = CoincidenceHead(hidden_sizes=(8, 4))
    rng = np.random.default_rng(1)
    anchor, positive = rng.normal(size=(3, 6)), rng.normal(size=(5, 6))
    logits = head(anchor.astype(np.float32), positive.astype(np.float32)).numpy()
    for variable in head.variables:  # biases start at zero and would hide a mistake
        variable.assign(rng.normal(size=variable.shape))
    logits = head(anchor.astype(np.float32), positive.astype(np.float32)).numpy()

    joint = np.concatenate([head.anchor_layer.kernel.numpy(), head.positive_layer.kernel.numpy()])
    assert logits.shape == (3, 5)
    for i in range(3):
        for j in range(5):
            hidden = relu(
                np.concatenate([anchor[i], positive[j]]) @ joint + head.anchor_layer.bias.numpy()
            )
            pair = head.pair_layers[0]
            hidden = relu(hidden @ pair.kernel.numpy() + pair.bias.numpy())
            expected = hidden @ head.logit_layer.kernel.numpy() + head.logit_layer.bias.numpy()
            assert logits[i, j] == pytest.approx(expected[0], abs=1e-4)


@pytest.mark.parametrize("hidden_sizes", [(8, 4), (8,)])
def test_many_pairs_in_blocks_give_the_same_logits_and_gradients(monkeypatch, hidden_sizes):
    head, rng = CoincidenceHead(hidden_sizes=hidden_sizes), np.random.default_rng(1)
    inputs = [tf.constant(rng.normal(size=(size, 6)), tf.float32) for size in (11, 7)]
    upstream = tf.constant(rng.normal(size=(11, 7)), tf.float32)
    head(*inputs)
    for variable in head.variables:
        variable.assign(rng.normal(size=variable.shape))
    monkeypatch.setattr(heads, "_ANCHORS_OF_A_BLOCK", 4)

    @tf.function(autograph=False)
    def step(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            logits = head(*inputs)
        return [logits, *tape.gradient(logits, [*inputs, *head.trainable_variables], upstream)]

    expected = step(*inputs)
    monkeypatch.setattr(heads, "_LARGEST_AT_ONCE", 1)
    found = tf.function(step.python_function, autograph=False)(*inputs)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_coincidence_needs_a_hidden_layer():
    with pytest.raises(ValueError, match="hidden_sizes"):
        CoincidenceHead(hidden_sizes=())


def test_coincidence_in_graph_with_unknown_batches_equals_eager():
    head = CoincidenceHead()
    head.build((None, 6), (None, 6))
    assert len(head.trainable_variables) == 7, "all weights exist before the first call"
    spec = tf.TensorSpec([None, 6], tf.float32)
    traced = tf.function(lambda a, p: head(a, p), input_signature=[spec, spec])
    anchor, positive = tf.random.normal([3, 6], seed=1), tf.random.normal([4, 6], seed=2)
    np.testing.assert_allclose(traced(anchor, positive), head(anchor, positive), atol=1e-5)
