"""Runs a separator, or a training step of it, whenever it is asked to.

Started by tools/benchmark_separator.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

import keras
import tensorflow as tf
from benchmark_process import GEMM_SIZE, Call, serve

from sepcon import cli
from sepcon.errors import SepconError
from sepcon.losses.mixit import mixit_loss
from sepcon.models.separator.flops import separator_flops
from sepcon.models.separator.network import Separator, SeparatorConfig
from sepcon.training.runtime import configure_threads

_LEARNING_RATE = 1e-4


def main() -> None:
    """Answers until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gin_file", action="append", default=[])
    parser.add_argument("--gin_bindings", action="append", default=[])
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    configure_threads(options.threads)
    keras.utils.set_random_seed(0)
    config = cli.configured(
        "sepcon.models.separator.network:SeparatorConfig",
        gin_files=options.gin_file,
        gin_bindings=options.gin_bindings,
    )
    separator = Separator(config)
    samples = round(options.seconds * config.sample_rate_hz)
    reference = 0.1 * tf.random.stateless_normal([options.batch, 2, samples], [0, 0])
    introduction = {
        "tensorflow": tf.__version__,
        "parameters": separator.count_params(),
        "gflop": 1e-9 * options.batch * separator_flops(config, num_samples=samples),
        "samples": samples,
        "config": dataclasses.asdict(config),
        "defaults": dataclasses.asdict(SeparatorConfig()),
    }
    serve(calls(separator, reference), introduction)


def calls(separator: Separator, reference: tf.Tensor) -> dict[str, Call]:
    """What is timed: the separator in use, a whole training step, and a large matrix product.

    Args:
      separator: any.
      reference: [batch, 2, samples] float32, whose sums are separated.
    """
    optimizer = keras.optimizers.Adam(_LEARNING_RATE)
    variables = separator.trainable_variables
    optimizer.build(variables)
    mixture = tf.reduce_sum(reference, axis=1)
    factor = tf.random.stateless_normal([GEMM_SIZE, GEMM_SIZE], [0, 1])

    @tf.function(autograph=False)
    def forward(mixture: tf.Tensor) -> tf.Tensor:
        return separator(mixture)

    @tf.function(autograph=False)
    def step(reference: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            estimate = separator(tf.reduce_sum(reference, axis=1), training=True)
            loss = tf.reduce_mean(mixit_loss(reference=reference, estimate=estimate).loss)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    @tf.function(autograph=False)
    def product(factor: tf.Tensor) -> tf.Tensor:
        return tf.matmul(factor, factor)

    return {
        "gemm": lambda: product(factor),
        "forward": lambda: forward(mixture),
        "step": lambda: step(reference),
    }


if __name__ == "__main__":
    try:
        main()
    except SepconError as error:
        sys.exit(str(error).splitlines()[0])
