"""What this process computes on, asked without beginning to use it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

_assumed: bool | None = None


def has_accelerator() -> bool:
    """Whether TensorFlow sees a GPU or a TPU."""
    if _assumed is not None:
        return _assumed
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return True
    return any(device.device_type != "CPU" for device in tf.config.get_visible_devices())


def first_gpu() -> str | None:
    """The name of the GPU that a training on one device uses; None without one."""
    if not tf.config.get_visible_devices("GPU"):
        return None
    return tf.config.list_logical_devices("GPU")[0].name


@contextlib.contextmanager
def assumed(*, accelerator: bool) -> Iterator[None]:
    """Lets graphs be traced as for the other kind of machine."""
    global _assumed
    before, _assumed = _assumed, accelerator
    try:
        yield
    finally:
        _assumed = before
