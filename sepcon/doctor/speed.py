"""How fast each device is, and which share of its products a network reaches."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import tensorflow as tf

from sepcon.doctor.check import Check
from sepcon.models import encoders
from sepcon.models.graphs.flops import function_flops
from sepcon.models.separator.network import Separator, SeparatorConfig

_RUNS = 5


def speed_checks(on: list[str]) -> list[Check]:
    """Products in two precisions, and forward passes of three networks, on each device."""
    return [check for device in on or ["CPU:0"] for check in _of_device(device)]


def _of_device(device: str) -> list[Check]:
    is_cpu = "CPU" in device
    size = 1024 if is_cpu else 8192
    checks, peak = [], 0.0
    with tf.device(device):
        for dtype in (tf.float32, tf.bfloat16):
            square = tf.cast(tf.random.stateless_normal([size, size], [0, 0]), dtype)
            rate = 2.0 * size**3 / _seconds(_product, square) / 1e9
            peak = peak or rate
            values = {"gflop_per_second": rate}
            text = f"{rate:,.0f} GFLOP/s"
            checks.append(Check(f"{dtype.name} products on {device}", "OK", text, values=values))
        seconds = 2.0 if is_cpu else 20.0
        separator = Separator(SeparatorConfig(num_sources=4))
        spec = tf.TensorSpec([1, round(seconds * 16000)])
        checks.append(_network(f"TDCN++ on {device}", separator, spec, peak))
        for name, factory in (
            ("resnet50", encoders.resnet50),
            ("mobilenet_v2", encoders.mobilenet_v2),
        ):
            spec = tf.TensorSpec([8 if is_cpu else 256, 96, 64])
            network = factory(embedding_size=512, num_frames=96)
            checks.append(_network(f"{name} on {device}", network, spec, peak))
    return checks


def _network(name: str, network: Callable, spec: tf.TensorSpec, peak: float) -> Check:
    """A forward pass against the products of the same device."""
    flops = function_flops(lambda x: network(x), spec)
    taken = _seconds(lambda x: network(x), tf.random.stateless_normal(spec.shape, [1, 1]))
    rate = flops / taken / 1e9
    share = rate / peak
    values = {"seconds": taken, "gflop_per_second": rate, "share_of_products": share}
    text = f"{1e3 * taken:.1f} ms a batch of {spec.shape[0]}, {rate:,.0f} GFLOP/s"
    return Check(name, "OK", f"{text}, {share:.0%} of float32 products", values=values)


def _product(square: tf.Tensor) -> tf.Tensor:
    return tf.matmul(square, square)


def _seconds(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> float:
    """The median time of a call; of processor time where there is one core."""
    clock = time.process_time if len(os.sched_getaffinity(0)) == 1 else time.perf_counter

    @tf.function(autograph=False)
    def call(x: tf.Tensor) -> tf.Tensor:
        # A sum is what comes back: copying all of a result would be timed too.
        return tf.reduce_sum(tf.cast(function(x), tf.float32))

    float(call(x))
    times = []
    for _ in range(_RUNS):
        start = clock()
        float(call(x))
        times.append(clock() - start)
    return statistics.median(times)
