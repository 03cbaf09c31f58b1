"""bfloat16 in the maps of a training step, float32 in all else."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.doctor.kernel_audit import audit_graph
from sepcon.errors import SepconError
from sepcon.models.encoders import small_cnn, small_resnet
from sepcon.models.heads import projection_head
from sepcon.models.precision import computing_in

FLOAT32_ONLY = {"Mean", "Max", "MatMul"}


def loss_and_gradients(network, precision, spec):
    target = tf.random.stateless_normal([spec.shape[0], network.output_shape[-1]], (3, 4))

    def loss(patches):
        with computing_in(network, precision), tf.GradientTape() as tape:
            value = tf.reduce_mean(tf.square(network(patches, training=True) - target))
        return value, tape.gradient(value, network.trainable_variables)

    return tf.function(loss, input_signature=[spec], autograph=False)


@pytest.mark.parametrize("factory", [small_cnn, small_resnet])
def test_what_is_computed_in_which_type(factory):
    """Asks each operation of the step; those of a map's shape are of bfloat16, no others."""
    network = factory(num_frames=40, embedding_size=16)
    spec = tf.TensorSpec([4, 40, 64])
    step = loss_and_gradients(network, "bfloat16", spec).get_concrete_function()
    types = {}
    for operation in step.graph.get_operations():
        for tensor in (*operation.inputs, *operation.outputs):
            if tensor.dtype.is_floating:
                types.setdefault(operation.type, set()).add(tensor.dtype)
    both = {tf.bfloat16, tf.float32}  # statistics and gains are of float32
    assert types["Conv2D"] == types["Conv2DBackpropFilter"] == {tf.bfloat16}
    assert tf.bfloat16 in types["FusedBatchNormV3"] <= both
    assert all(types[name] == {tf.float32} for name in FLOAT32_ONLY & set(types))
    assert all(tensor.dtype == tf.float32 for tensor in step.outputs)
    assert all(variable.dtype == tf.float32 for variable in step.variables)
    assert audit_graph(step.graph).findings == []
    # What is traced outside is as it was.
    plain = loss_and_gradients(network, "float32", spec).get_concrete_function()
    types = {t.dtype for each in plain.graph.get_operations() for t in each.outputs}
    assert tf.bfloat16 not in types
    assert "bfloat16" not in network.to_json()


def test_loss_and_gradient_are_those_of_float32_within_rounding():
    keras.utils.set_random_seed(0)
    network = small_cnn(num_frames=96, embedding_size=64)
    patches = tf.random.stateless_normal([32, 96, 64], (1, 2))
    spec = tf.TensorSpec(patches.shape)
    exact, rounded = (
        loss_and_gradients(network, precision, spec)(patches)
        for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(rounded[0], exact[0], rtol=0.01)
    assert float(exact[0]) != float(rounded[0])
    one, other = (np.concatenate([np.ravel(g) for g in each[1]]) for each in (exact, rounded))
    assert one @ other > 0.97 * np.linalg.norm(one) * np.linalg.norm(other)


def test_an_error_leaves_the_network_as_it_was():
    network = small_cnn(num_frames=40)
    with pytest.raises(ZeroDivisionError), computing_in(network, "bfloat16"):
        raise ZeroDivisionError
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}


def test_wrong_settings():
    network = projection_head(embedding_size=4)
    with (
        pytest.raises(SepconError, match="got 'half', expected float32 or bfloat16"),
        computing_in(network, "half"),
    ):
        pass
    with (
        pytest.raises(SepconError, match=r"projection_head has no maps .*matmul_dtype"),
        computing_in(network, "bfloat16"),
    ):
        pass


def test_a_card_without_bfloat16(monkeypatch):
    card = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    details = {"device_name": "Tesla T4", "compute_capability": (7, 5)}
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [card])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
    with (
        pytest.raises(SepconError, match=r"Tesla T4 does not compute in .* 7\.5, expected 8\.0"),
        computing_in(small_cnn(num_frames=40), "bfloat16"),
    ):
        pass
