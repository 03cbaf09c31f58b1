"""The fused batch normalisation against that of Keras. Several replicas: distribution_test.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.models.batch_norm import BatchNormalization, with_fused_batch_norm

OPTIONS = {"momentum": 0.7, "epsilon": 0.01}


def trained(layer, x, upstream, calls=2):
    """Result, gradients and moving statistics after some calls in training, and the result then."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, *x.shape[1:]])] * 2)
    def step(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return [y, *tape.gradient(y, [x, *layer.trainable_variables], upstream)]

    for _ in range(calls):
        values = step(x, upstream)
    return [*values, *layer.variables, layer(x, training=False)]


@pytest.mark.parametrize("shape", [(6, 5), (6, 7, 5), (6, 2, 3, 5)])
@pytest.mark.parametrize("affine", [True, False])
def test_numbers_are_those_of_keras(shape, affine):
    rng = np.random.default_rng(0)
    # Far from zero: a variance from sums of squares would cancel.
    x = tf.constant(rng.normal(size=shape) + 3.0, tf.float32)
    upstream = tf.constant(rng.normal(size=shape), tf.float32)
    options = {**OPTIONS, "center": affine, "scale": affine}
    results = []
    for kind in (keras.layers.BatchNormalization, BatchNormalization):
        layer = kind(**options)
        layer.build(shape)
        for variable in layer.trainable_variables:
            variable.assign(np.linspace(0.5, 1.5, 5))
        results.append(trained(layer, x, upstream))
    for own, of_keras in zip(*results, strict=True):
        np.testing.assert_allclose(own, of_keras, rtol=1e-4, atol=5e-5)


def test_training_runs_the_fused_operation_and_nothing_else_does():
    layer = BatchNormalization()
    layer.build((4, 5))

    def kinds(**arguments):
        function = tf.function(lambda x: layer(x, **arguments), autograph=False)
        graph = function.get_concrete_function(tf.TensorSpec([4, 5])).graph
        return {operation.type for operation in graph.get_operations()}

    assert "FusedBatchNormV3" in kinds(training=True)
    assert "FusedBatchNormV3" not in kinds(training=False)
    layer.trainable = False
    assert "FusedBatchNormV3" not in kinds(training=True)


def test_a_layer_of_keras_is_taken_over_under_its_name():
    layer = with_fused_batch_norm(keras.layers.BatchNormalization(name="norm", **OPTIONS))
    assert (type(layer), layer.name, layer.momentum) == (BatchNormalization, "norm", 0.7)
    # Names that nobody gave are those that Keras gives: they are in models that are saved.
    assert BatchNormalization().name.startswith("batch_normalization")
    assert type(with_fused_batch_norm(keras.layers.ReLU())) is keras.layers.ReLU
