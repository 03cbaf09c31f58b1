"""Operations counted in traced graphs, against formulas written down by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.models.encoders import small_cnn
from sepcon.models.graphs.flops import function_flops


def convolution(frames: int, bands: int, height: int, width: int, inputs: int, outputs: int) -> int:
    """Two operations for each tap of each output of a convolution."""
    taps = np.ones((height, width, inputs, outputs))
    return 2 * frames * bands * int(taps.sum())


@pytest.mark.parametrize("transpose", [False, True])
def test_a_matrix_product(transpose):
    left = tf.TensorSpec([5, 3] if transpose else [3, 5])
    right = tf.TensorSpec([5, 7])
    flops = function_flops(lambda a, b: tf.matmul(a, b, transpose_a=transpose), left, right)
    assert flops == 2 * 3 * 5 * 7


def test_products_of_a_batch():
    left, right = tf.TensorSpec([4, 2, 3, 5]), tf.TensorSpec([4, 2, 7, 5])
    flops = function_flops(lambda a, b: tf.matmul(a, b, transpose_b=True), left, right)
    assert flops == 4 * 2 * (2 * 3 * 5 * 7)


def test_convolutions_with_strides_and_groups():
    image = tf.TensorSpec([2, 10, 8, 6])
    plain = keras.layers.Conv2D(12, (3, 5), strides=2, padding="same")
    grouped = keras.layers.Conv2D(12, 3, groups=3, padding="valid")
    depthwise = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)
    assert function_flops(plain, image) == 2 * convolution(5, 4, 3, 5, 6, 12)
    assert function_flops(grouped, image) == 2 * convolution(8, 6, 3, 3, 6 // 3, 12)
    assert function_flops(depthwise, image) == 2 * convolution(10, 8, 3, 3, 1, 12)


def test_an_encoder_is_the_sum_of_its_layers():
    encoder = small_cnn(embedding_size=48, num_frames=32, num_mels=16)
    expected = (
        convolution(8, 8, 8, 4, 1, 32)
        + convolution(4, 4, 3, 3, 32, 64)
        + convolution(2, 2, 3, 3, 64, 128)
        + convolution(1, 1, 3, 3, 128, 256)
        + convolution(1, 1, 1, 1, 256, 48)
    )
    patches = tf.TensorSpec([3, 32, 16])
    assert function_flops(lambda x: encoder(x, training=False), patches) == 3 * expected


def test_a_function_called_twice_counts_twice():
    square = tf.function(lambda x: x @ x)
    flops = function_flops(lambda x: square(x) + square(2.0 * x), tf.TensorSpec([4, 4]))
    assert flops == 2 * (2 * 4**3)


def test_elementwise_work_is_left_out():
    assert function_flops(lambda x: tf.nn.relu(x) * x, tf.TensorSpec([4, 4])) == 0


def test_what_the_graph_does_not_tell_is_refused():
    square = tf.TensorSpec([4, 4])
    loop = tf.function(lambda x: tf.while_loop(lambda y: y[0, 0] < 9.0, lambda y: (y @ y,), (x,)))
    with pytest.raises(ValueError, match="in a loop of unknown length"):
        function_flops(loop, square)
    with pytest.raises(ValueError, match="unknown shape"):
        function_flops(lambda a: a @ a, tf.TensorSpec([None, 4]))

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.nn.conv2d(x, tf.ones([3, 3, 1, 1]), 1, "SAME")
        return tape.gradient(y, x)

    with pytest.raises(ValueError, match="trace a forward pass"):
        function_flops(gradient, tf.TensorSpec([1, 8, 8, 1]))


def test_a_loop_of_known_length_counts_each_time():
    blocks = tf.TensorSpec([5, 4, 3])
    once = 2 * 4 * 3 * 4
    count = function_flops(lambda x: tf.map_fn(lambda y: y @ tf.transpose(y), x), blocks)
    assert count == 5 * once
