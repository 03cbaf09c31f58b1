"""Runs a training step of an encoder, or NT-Xent forward and backward.

Started by tools/benchmark_encoder.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import keras
import tensorflow as tf
from benchmark_process import GEMM_SIZE, serve

from sepcon.losses.contrastive import nt_xent
from sepcon.models import encoders
from sepcon.training.optimizers import adam
from sepcon.training.preflight import check_setup
from sepcon.training.runtime import configure_threads
from sepcon.training.step import StepFunction
from sepcon.training.task import Summaries

FRAMES_PER_SECOND = 100
MEL_BANDS = 64
EMBEDDING_SIZE = 512
PROJECTION_SIZE = 128
TEMPERATURE = 0.2


class EncoderTask:
    """The mean square of the embedding: a loss that takes no time of its own."""

    num_uniforms = 0

    def __init__(self, encoder: keras.Model) -> None:
        self.model = self.product = encoder

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        """[] float32, of `log_mel` [batch, frames, bands]."""
        return {"loss": tf.reduce_mean(tf.square(self.model(batch["log_mel"], training=training)))}

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        """None are asked for."""
        raise NotImplementedError


def encoder_step(network: str, *, precision: str, batch: int, seconds: float) -> Callable:
    """Forward pass, backward pass and Adam, as `sepcon pretrain` has them.

    Args:
      network: a function of `sepcon.models.encoders`.
      precision: `float32` or `bfloat16`.
      batch: patches.
      seconds: of a patch.
    """
    frames = round(seconds * FRAMES_PER_SECOND)
    factory = getattr(encoders, network)
    task = EncoderTask(factory(embedding_size=EMBEDDING_SIZE, num_frames=frames))
    optimizer = adam(learning_rate=1e-3)
    strategy = tf.distribute.get_strategy()
    check_setup(task=task, optimizer=optimizer, strategy=strategy)
    step = StepFunction(task=task, optimizer=optimizer, strategy=strategy, precision=precision)
    log_mel = tf.random.stateless_normal([batch, frames, MEL_BANDS], [0, 0])
    batches = iter(tf.data.Dataset.from_tensors({"log_mel": log_mel}).repeat())
    return lambda: step(batches, 1)


def plain_loss(*, anchor: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
    """NT-Xent as it is usually written: [] float32."""
    views = tf.math.l2_normalize(tf.concat([anchor, positive], axis=0), axis=1)
    logits = tf.matmul(views, views, transpose_b=True) / TEMPERATURE
    count = tf.shape(anchor)[0]
    logits = tf.linalg.set_diag(logits, tf.fill([2 * count], logits.dtype.min))
    partner = tf.concat([tf.range(count) + count, tf.range(count)], axis=0)
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits)
    )


def own_loss(*, anchor: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
    """The same by `sepcon.losses.contrastive`: [] float32."""
    return tf.reduce_mean(nt_xent(anchor=anchor, positive=positive, temperature=TEMPERATURE).loss)


LOSSES = {"own": own_loss, "plain": plain_loss}


def loss_step(kind: str, *, pairs: int) -> Callable:
    """Loss and gradients for projections of `pairs` pairs."""
    anchor = tf.random.stateless_normal([pairs, PROJECTION_SIZE], [0, 1])
    positive = anchor + 0.5 * tf.random.stateless_normal(anchor.shape, [0, 2])

    @tf.function(autograph=False)
    def step(anchor: tf.Tensor, positive: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([anchor, positive])
            loss = LOSSES[kind](anchor=anchor, positive=positive)
        return tape.gradient(loss, [anchor, positive])

    return lambda: step(anchor, positive)


def main() -> None:
    """Answers until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True, help="an encoder, or nt_xent")
    parser.add_argument("--form", required=True, help="a precision; of nt_xent: own or plain")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    configure_threads(options.threads)
    if options.network == "nt_xent":
        step = loss_step(options.form, pairs=options.pairs)
    else:
        step = encoder_step(
            options.network,
            precision=options.form,
            batch=options.batch,
            seconds=options.seconds,
        )
    square = tf.random.stateless_normal([GEMM_SIZE, GEMM_SIZE], [0, 0])
    serve({"step": step, "gemm": lambda: tf.matmul(square, square)}, {"library": tf.__version__})


if __name__ == "__main__":
    main()
