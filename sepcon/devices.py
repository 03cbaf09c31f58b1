"""What this process computes on, asked without beginning to use it."""

import tensorflow as tf


def has_accelerator() -> bool:
    """Whether TensorFlow sees a GPU or a TPU."""
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return True
    return any(device.device_type != "CPU" for device in tf.config.get_visible_devices())
