"""Runs a training step of the reference implementation of MixIT whenever it is asked to.

Started by tools/benchmark_separator.py with a checkout of google-research/sound-separation, in a
process of its own, as that code is TensorFlow 1 and needs the Keras of that time (tf_keras).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

from benchmark_process import GEMM_SIZE, Call, serve

# They draw summaries, import what TensorFlow 2 no longer has, and are no part of a step.
_NOT_NEEDED = ("groupwise", "summaries", "summary_util")
_LEARNING_RATE = 1e-4


def main() -> None:
    """Answers until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--hparams", type=json.loads, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    tf1 = importlib.import_module("tensorflow.compat.v1")
    tf1.disable_eager_execution()
    model, mixit = _import_reference(tf1, options.reference / "models")
    hparams = model.HParams(**options.hparams)

    reference = _noise(tf1, [options.batch, 2, options.samples], 0.1)
    factor = _noise(tf1, [GEMM_SIZE, GEMM_SIZE], 1.0)
    mixture = tf1.reduce_sum(reference, axis=1, keepdims=True)  # [batch, mic, samples]
    separated = model.separate_waveforms(mixture, hparams)
    loss, _ = mixit.apply(loss_fn=model.log_mse_loss, reference=reference, estimate=separated)
    fetches = {
        "gemm": tf1.matmul(factor, factor).op,
        "forward": separated.op,
        "step": tf1.train.AdamOptimizer(_LEARNING_RATE).minimize(tf1.reduce_mean(loss)),
    }
    parameters = sum(v.shape.num_elements() for v in tf1.trainable_variables())
    session = _session(tf1, options.threads)

    def call(name: str) -> Call:
        return lambda: session.run(fetches[name])

    serve({name: call(name) for name in fetches}, {"parameters": parameters})


def _import_reference(tf1: Any, folder: Path) -> tuple[Any, Any]:
    """Imports its modules `model` and `mixit` under a TensorFlow 2 with tf_keras."""
    if not hasattr(tf1, "estimator"):
        tf1.estimator = types.ModuleType("estimator")
    sys.path[:0] = [str(folder), str(folder / "neurips2020_mixit")]
    for name in _NOT_NEEDED:
        module = types.ModuleType(f"train.{name}")
        sys.modules[module.__name__] = module
        setattr(importlib.import_module("train"), name, module)
    model = importlib.import_module("model")
    keras = sys.modules.get("tf_keras")
    if keras is not None and not hasattr(keras.layers.Layer, "apply"):
        keras.layers.Layer.apply = lambda self, inputs: self(inputs)  # as it was once called
    return model, importlib.import_module("train.mixit")


def _session(tf1: Any, threads: int) -> Any:
    options = tf1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
    )
    session = tf1.Session(config=options)
    session.run(tf1.global_variables_initializer())
    return session


def _noise(tf1: Any, shape: list[int], level: float) -> Any:
    """A variable, for constants would be folded, and what is fed would be copied."""
    return tf1.Variable(level * tf1.random.stateless_normal(shape, seed=[0, 0]), trainable=False)


if __name__ == "__main__":
    main()
