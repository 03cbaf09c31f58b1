"""Operations counted from the configuration, against those in the traced graph."""

import math

import pytest
import tensorflow as tf

from sepcon.models.separator.flops import separator_flops
from sepcon.models.separator.network import Separator, SeparatorConfig

SMALL = {"bottleneck": 6, "conv_channels": 10, "num_repeats": 3, "num_dilations": 2}
LEARNED = {
    "basis": "learned",
    "window_seconds": 0.0025,
    "hop_seconds": 0.00125,
    "num_coefficients": 9,
}


def traced_operations(config: SeparatorConfig, num_samples: int) -> list[tf.Operation]:
    separator = Separator(config)
    function = tf.function(separator, autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec([1, num_samples])).graph
    return graph.get_operations()


def flops(operations: list[tf.Operation]) -> int:
    """Twice the multiplications of all matrix products and convolutions."""
    return 2 * sum(_multiplications(operation) for operation in operations)


def _multiplications(operation: tf.Operation) -> int:
    if operation.type == "DepthwiseConv2dNative":
        taps = operation.inputs[1].shape[0]
        return taps * math.prod(operation.outputs[0].shape)
    if operation.type not in ("MatMul", "BatchMatMulV2"):
        return 0
    left, result = operation.inputs[0].shape, operation.outputs[0].shape
    # Means over time are taken by products with a single row, and are no part of the count.
    is_mean = operation.type == "BatchMatMulV2" and left[-2] == 1
    return 0 if is_mean else left[-1] * math.prod(result)


@pytest.mark.parametrize(
    "further",
    [
        {},
        {"skip_residual": True, "kernel_size": 5},
        {"mixture_consistency": "uniform", "window_seconds": 0.025, "hop_seconds": 0.0125},
        LEARNED,
        {**LEARNED, "mixture_consistency": "magnitude_squared", "norm": "global"},
    ],
)
def test_the_count_is_that_of_the_graph(further):
    config = SeparatorConfig(num_sources=3, **SMALL, **further)
    # An even number of frames: the dilated convolutions then pad nothing.
    num_samples = 8 * config.hop_samples
    if config.basis == "learned":
        num_samples += config.window_samples - config.hop_samples
    expected = flops(traced_operations(config, num_samples))
    assert separator_flops(config, num_samples=num_samples) == expected


def test_a_causal_network_predicts_weights_for_every_frame():
    """Compared in dense layers: its running sums are products as well, and not counted."""
    counted, traced = [], []
    for causal in (False, True):
        config = SeparatorConfig(num_sources=3, causal=causal, **SMALL)
        counted.append(separator_flops(config, num_samples=1024))
        operations = traced_operations(config, 1024)
        traced.append(flops([each for each in operations if each.type == "MatMul"]))
    assert counted[1] - counted[0] == traced[1] - traced[0] == 2 * 7 * 6 * 3


def test_the_published_network_has_the_published_count():
    """45.1 GFLOP for two clips of 10 s, as measured for the reference at the same shapes."""
    config = SeparatorConfig(num_sources=8)
    assert 2e-9 * separator_flops(config, num_samples=160_000) == pytest.approx(45.1, abs=0.06)


def test_a_clip_shorter_than_a_window_has_one_frame():
    config = SeparatorConfig(num_sources=3, **SMALL, **LEARNED)
    short, window = (separator_flops(config, num_samples=n) for n in (5, 40))
    assert short == window > 0
