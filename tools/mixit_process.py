"""Runs the MixIT loss of M estimates, by inner products or by trying every assignment.

Started by tools/benchmark_mixit.py.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import tensorflow as tf
from benchmark_process import serve

from sepcon.losses.mixit import mixit_loss
from sepcon.losses.snr import log_mse
from sepcon.training.runtime import configure_threads

_SAMPLE_RATE_HZ = 16000


def exhaustive_loss(*, reference: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
    """The MixIT loss as it is written: every remix of the estimates is built and compared.

    Wisdom et al. 2020, "Unsupervised sound separation using mixture invariant training", eq. 3.

    Args:
      reference: [batch, reference, samples] float32.
      estimate: [batch, source, samples] float32.

    Returns:
      [batch] float32, dB.
    """
    num_references, num_sources = reference.shape[1], estimate.shape[1]
    losses = []
    for assignment in itertools.product(range(num_references), repeat=num_sources):
        mixing_matrix = tf.one_hot(assignment, num_references, axis=0)[tf.newaxis]
        remixed = tf.matmul(mixing_matrix, estimate)  # [batch, reference, samples]
        losses.append(tf.reduce_mean(log_mse(reference=reference, estimate=remixed), axis=1))
    return tf.reduce_min(tf.stack(losses), axis=0)


def products_loss(*, reference: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
    """The same by inner products: [batch] float32, dB."""
    return mixit_loss(reference=reference, estimate=estimate).loss


_LOSSES = {"products": products_loss, "exhaustive": exhaustive_loss}


def main() -> None:
    """Answers until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", choices=sorted(_LOSSES), required=True)
    parser.add_argument("--sources", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    configure_threads(options.threads)
    samples = round(options.seconds * _SAMPLE_RATE_HZ)
    clean = tf.random.stateless_normal([options.batch, options.sources, samples], [0, 0])
    # Estimates that hold a tenth of each other's energy, of sources that alternate.
    reference = tf.stack([tf.reduce_sum(clean[:, k::2], axis=1) for k in (0, 1)], axis=1)
    estimate = clean + 0.3 * tf.roll(clean, 1, axis=1)
    gradient = _with_gradient(_LOSSES[options.search])
    serve({"step": lambda: gradient(reference, estimate)}, {"tensorflow": tf.__version__})


def _with_gradient(loss: Callable[..., tf.Tensor]) -> Callable:
    @tf.function(autograph=False)
    def gradient(reference: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(estimate)
            value = tf.reduce_mean(loss(reference=reference, estimate=estimate))
        return tape.gradient(value, estimate)

    return gradient


if __name__ == "__main__":
    main()
