"""Computing the maps of a network in bfloat16 while it is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.models.encoder_input import is_input_normalisation

PRECISIONS = ("float32", "bfloat16")
_MAP_RANK = 4
# NVIDIA's cards have products of bfloat16 from Ampere on.
_FIRST_CAPABILITY = (8, 0)


@contextlib.contextmanager
def computing_in(network: keras.Model, precision: str) -> Iterator[None]:
    """Graphs that are traced inside this block compute the network's maps in a precision.

    What has the shape of a map, [batch, height, width, channels], is computed and kept in bfloat16:
    convolutions and what lies between them. Float32 stay the weights and their gradients, the
    normalisation of the input, the statistics of batch normalisation, pooling, the embedding and
    all heads; and whatever is no layer, such as log-mel and losses. The network itself does not
    change: its description and what is traced outside of the block are in float32.

    bfloat16 has the range of float32 and 8 bits of mantissa in place of 24, so that the loss needs
    no scaling (Micikevicius et al., "Mixed Precision Training", 2018, section 3.2, scale it for
    float16).

    Args:
      network: what is trained, made of Keras layers.
      precision: `float32` or `bfloat16`.

    Raises:
      SepconError: the precision is another, the network has no maps, or a device has no bfloat16.
    """
    if precision not in PRECISIONS:
        raise SepconError(f"precision: got {precision!r}, expected {' or '.join(PRECISIONS)}")
    if precision == "float32":
        yield
        return
    _check_devices()
    layers = [layer for layer in network._flatten_layers() if _gives_a_map(layer)]
    if not layers:
        raise SepconError(
            f"precision: got bfloat16, but {network.name} has no maps to compute in it; set "
            "float32; of a separator SeparatorConfig.matmul_dtype says what its products are in"
        )
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy


def _gives_a_map(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.Model | keras.layers.InputLayer) or is_input_normalisation(layer):
        return False
    try:
        return len(layer.output.shape) == _MAP_RANK
    except (AttributeError, ValueError):  # it is part of no functional model
        return False


def _check_devices() -> None:
    for device in tf.config.get_visible_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        capability = details.get("compute_capability")
        if capability is not None and tuple(capability) < _FIRST_CAPABILITY:
            raise SepconError(
                f"precision: got bfloat16, which {details.get('device_name', device.name)} does not"
                f" compute in (compute capability {'.'.join(map(str, capability))}, expected 8.0 or"
                " more); set float32"
            )
