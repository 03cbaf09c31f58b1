"""Encoders: what a stranger can rebuild, what normalises what, and the arithmetic of the small one.

The large networks come from keras.applications; what is tested of them is what is changed here.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.doctor.kernel_audit import audit_graph
from sepcon.errors import SepconError
from sepcon.models import encoders
from sepcon.models.batch_norm import plain_json

FACTORIES = [
    encoders.small_cnn,
    encoders.vggish,
    encoders.resnet50,
    encoders.mobilenet_v2,
    encoders.efficientnet_b0,
]
FRAMES = 40


def patches(batch: int, frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(-3.0, 2.0, (batch, frames, 64)).astype(np.float32)


@pytest.fixture(scope="module", params=FACTORIES, ids=lambda factory: factory.__name__)
def encoder(request) -> keras.Model:
    keras.utils.set_random_seed(0)
    return request.param(embedding_size=24)


def test_json_rebuilds_the_model(encoder):
    text = plain_json(encoder)
    copy = keras.models.model_from_json(text)
    copy.set_weights(encoder.get_weights())
    log_mel = patches(2)
    np.testing.assert_array_equal(copy(log_mel), encoder(log_mel))
    assert {type(layer).__module__.partition(".")[0] for layer in copy.layers} == {"keras"}
    assert copy.to_json() == text


def test_shapes_and_names(encoder):
    assert encoder.input_shape == (None, None, 64)
    assert encoder.inputs[0].name == "log_mel"
    assert encoder.output_shape == (None, 24)
    assert encoder(patches(3, frames=65)).shape == (3, 24)


def test_batch_normalisation_is_synchronised_and_nothing_is_random(encoder):
    layers = encoder.layers
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) >= 5
    assert all(norm.synchronized for norm in norms)
    assert not any("seed" in variable.path for variable in encoder.variables)
    log_mel = patches(4)
    np.testing.assert_array_equal(encoder(log_mel, training=True), encoder(log_mel, training=True))


def test_bands_are_normalised_inside(encoder):
    """Another level and colour of the whole recording set makes no difference in training."""
    log_mel = patches(4)
    colour = np.linspace(-5.0, 3.0, 64, dtype=np.float32)
    plain = encoder(log_mel, training=True)
    coloured = encoder(2.0 * log_mel + colour, training=True)
    scale = np.abs(plain).max()
    # Not exact: the variance that is divided by has 0.001 added.
    np.testing.assert_allclose(coloured, plain, atol=0.03 * scale)


def test_recalibrated_on_one_batch_evaluation_equals_training(encoder):
    """At its first statistics (mean 0, variance 1) a deep network need not let anything through."""
    log_mel = patches(8)
    assert encoders.recalibrate_batch_norm(encoder, [tf.constant(log_mel)]) == 1
    in_training = encoder(log_mel, training=True).numpy()
    # The pass in training has moved the statistics again, though not far: towards themselves.
    outputs = encoder(log_mel, training=False).numpy()
    assert outputs.std() > 0.01
    np.testing.assert_allclose(outputs, in_training, atol=1e-2 * np.abs(in_training).max())


def test_a_gpu_runs_every_operation(encoder):
    """Among the first layers is one of each kind; the whole would take seconds to trace."""
    model = keras.Model(encoder.inputs, encoder.layers[min(30, len(encoder.layers) - 1)].output)

    def step(log_mel):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(log_mel, training=True))
        return tape.gradient(loss, model.trainable_variables)

    traced = tf.function(step, autograph=False)
    graph = traced.get_concrete_function(tf.TensorSpec([2, FRAMES, 64])).graph
    assert audit_graph(graph).findings == []


@pytest.mark.parametrize("factory", [encoders.small_cnn, encoders.vggish])
def test_fixed_and_unknown_sizes_agree(factory):
    fixed, free = factory(num_frames=FRAMES), factory(num_frames=None)
    free.set_weights(fixed.get_weights())
    traced = tf.function(
        lambda log_mel: free(log_mel), input_signature=[tf.TensorSpec([None, None, 64])]
    )
    log_mel = patches(3)
    np.testing.assert_allclose(traced(log_mel), fixed(log_mel), atol=1e-4)


def convolve(x, kernel, strides):
    """'same' convolution of one example [frames, bands, channels], by loops over places."""
    height, width = kernel.shape[:2]
    size = [-(-x.shape[axis] // strides[axis]) for axis in (0, 1)]
    total = [
        max((size[axis] - 1) * strides[axis] + kernel.shape[axis] - x.shape[axis], 0)
        for axis in (0, 1)
    ]
    x = np.pad(x, [(pad // 2, pad - pad // 2) for pad in total] + [(0, 0)])
    result = np.zeros((*size, kernel.shape[3]))
    for i in range(size[0]):
        for j in range(size[1]):
            top, left = i * strides[0], j * strides[1]
            window = x[top : top + height, left : left + width]
            result[i, j] = np.tensordot(window, kernel, axes=3)
    return result


def test_small_cnn_equals_loops():
    keras.utils.set_random_seed(1)
    model = encoders.small_cnn(embedding_size=16)
    rng = np.random.default_rng(1)
    # Statistics, gains and offsets at other values than they start with.
    model.set_weights(
        [w if w.ndim > 1 else rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()]
    )
    log_mel = patches(1, frames=21)
    weights = iter([w.astype(np.float64) for w in model.get_weights()])

    mean, variance = next(weights), next(weights)
    x = ((log_mel[0] - mean) / np.sqrt(variance + 1e-3))[:, :, np.newaxis]
    x = np.maximum(convolve(x, next(weights), (4, 2)) + next(weights), 0.0)
    for stride in (2, 2, 2, 1):
        x = convolve(x, next(weights), (stride, stride))
        gain, offset, mean, variance = (next(weights) for _ in range(4))
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-3) * gain + offset, 0.0)
    expected = x.mean(axis=(0, 1)) + x.max(axis=(0, 1))
    np.testing.assert_allclose(model(log_mel)[0], expected, rtol=1e-4, atol=1e-4)


def test_small_cnn_is_small():
    assert 0.5e6 < encoders.small_cnn().count_params() < 0.55e6


def test_recalibration_takes_the_mean_of_the_batches_statistics():
    model = encoders.small_cnn(embedding_size=16)
    norm = model.get_layer("normalize_mels")
    momentum = norm.momentum
    weights = [v.numpy() for v in model.trainable_variables]
    batches = [tf.constant(patches(4, seed=seed) + seed) for seed in range(5)]
    encoders.recalibrate_batch_norm(model, batches)
    means = np.mean([np.mean(batch, axis=(0, 1)) for batch in batches], axis=0)
    variances = np.mean([np.var(batch, axis=(0, 1)) for batch in batches], axis=0)
    np.testing.assert_allclose(norm.moving_mean, means, rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, variances, rtol=1e-3)
    assert norm.momentum == momentum
    for variable, before in zip(model.trainable_variables, weights, strict=True):
        np.testing.assert_array_equal(variable, before)


def test_recalibration_on_nothing_changes_nothing():
    model = encoders.small_cnn(embedding_size=16)
    before = model.get_weights()
    assert encoders.recalibrate_batch_norm(model, []) == 0
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_pixels_come_from_a_file(tmp_path):
    """The same numbers as the network of keras.applications, on three equal channels."""
    keras.utils.set_random_seed(3)
    source = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(FRAMES, 64, 3), pooling="avg"
    )
    path = tmp_path / "mobilenet.weights.h5"
    source.save_weights(path)
    keras.utils.set_random_seed(4)
    model = encoders.mobilenet_v2(embedding_size=None, num_frames=FRAMES, weights=str(path))
    assert model.output_shape == (None, 1280)
    log_mel = patches(3)
    norm = model.get_layer("normalize_mels")
    normalised = norm(log_mel).numpy()
    expected = source(np.repeat(normalised[..., np.newaxis], 3, axis=-1))
    np.testing.assert_allclose(model(log_mel), expected, rtol=1e-3, atol=1e-5)
    copy = keras.models.model_from_json(plain_json(model))
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy(log_mel), model(log_mel))


def test_weights_that_are_not_there_or_of_another_network(tmp_path):
    with pytest.raises(SepconError, match="weights: nowhere is no file; give 'imagenet'"):
        encoders.resnet50(weights="nowhere")
    path = tmp_path / "small.weights.h5"
    encoders.small_cnn(embedding_size=8).save_weights(path)
    with pytest.raises(SepconError, match="cannot be loaded into MobileNetV2"):
        encoders.mobilenet_v2(weights=str(path))


def test_an_encoder_takes_patches_of_another_length():
    fixed = encoders.small_cnn(embedding_size=16, num_frames=FRAMES)
    longer = encoders.with_frames(fixed, 65)
    free = encoders.small_cnn(embedding_size=16)
    free.set_weights(fixed.get_weights())
    log_mel = patches(2, frames=65)
    assert longer.input_shape == (None, 65, 64)
    np.testing.assert_allclose(longer(log_mel), free(log_mel), atol=1e-5)
    longer.set_weights([w + 1.0 for w in longer.get_weights()])
    assert not np.allclose(fixed.get_weights()[0], longer.get_weights()[0])
