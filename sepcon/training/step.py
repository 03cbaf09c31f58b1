"""Training steps on the devices: loss, gradients, all-reduce, clipping, update.

Several steps run in one call, so that the host is asked only now and then; the number of steps is
a tensor, so that a shorter last call does not compile anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.models.precision import computing_in
from sepcon.replicas import has_accelerator
from sepcon.training.flat_vectors import FlatVectors
from sepcon.training.optimizers import FlatOptimizer
from sepcon.training.task import Task

GRADIENT_NORM = "gradient_norm"


@dataclass(frozen=True)
class StepValues:
    """What a call of several steps gives back.

    Attributes:
      names: of the values; 'loss' comes first, then the task's others, then 'gradient_norm'.
      values: [step, name] float32, each summed over the replicas.
    """

    names: tuple[str, ...]
    values: np.ndarray

    def first_bad_step(self) -> tuple[int, str, float] | None:
        """The first step whose loss or gradient is not finite: (index, name, value).

        The gradient counts because a finite loss with an infinite gradient leaves weights that are
        not finite, and the checkpoint after this call would hold them.
        """
        for index, row in enumerate(self.values):
            for name in ("loss", GRADIENT_NORM):
                value = float(row[self.names.index(name)])
                if not np.isfinite(value):
                    return index, name, value
        return None


class StepFunction:
    """Runs training steps of a task under a distribution strategy.

    However many replicas share the batch, a step does what one device would do on all of it: the
    gradient shares are summed first and the sum is clipped. (The clipping inside a Keras optimizer
    sees each replica's share by itself, which is another thing.)

    Args:
      task: gives the loss.
      optimizer: built on the task's trainable variables.
      strategy: in whose scope task and optimizer were made.
      gradient_clip_norm: largest L2 norm of all gradients together, or None.
      jit_compile: compile loss and gradients with XLA.
      precision: of the maps of a step, see `computing_in`.
    """

    def __init__(
        self,
        *,
        task: Task,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        gradient_clip_norm: float | None = None,
        jit_compile: bool = False,
        precision: str = "float32",
    ) -> None:
        self._task = task
        self._optimizer = optimizer
        self._strategy = strategy
        self._clip_norm = gradient_clip_norm
        self._precision = precision
        with computing_in(task.model, precision):
            pass  # a precision that cannot be had is told before the first step
        self._variables = list(task.model.trainable_variables)
        if jit_compile and strategy.num_replicas_in_sync > 1 and has_accelerator():
            _refuse_compiled(strategy)
        self._gradients = _without_autograph(self._compute_gradients)
        if jit_compile and not isinstance(strategy, tf.distribute.TPUStrategy):
            # Only this inner part: XLA with the strategy's update around it fails. (On a TPU all
            # is compiled anyway.)
            self._gradients = tf.function(self._gradients, jit_compile=True)
        self._replica_step = _without_autograph(self._one_step)
        self._call = tf.function(self._several_steps, autograph=False)
        self._names: tuple[str, ...] = ()
        self.called = False
        self.untrained_names: tuple[str, ...] = ()  # known after the first call

    def __call__(self, batches: Iterator[Any], num_steps: int) -> StepValues:
        """Takes `num_steps` batches from a distributed iterator and does a step on each."""
        with _told_if_compiled_across_replicas():
            values = self._call(batches, tf.constant(num_steps, tf.int32))
        self.called = True
        return StepValues(self._names, values.numpy())

    def _several_steps(self, batches: Any, num_steps: tf.Tensor) -> tf.Tensor:
        def one_more(index: tf.Tensor, history: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            values = self._strategy.run(self._replica_step, args=(next(batches),))
            # All replicas have the same.
            first = self._strategy.experimental_local_results(values)[0]
            return index + 1, history.write(index, first)

        history = tf.TensorArray(tf.float32, size=num_steps)
        start = (tf.constant(0), history)
        # Around all replicas: each is traced by a thread of its own, and they share the layers.
        with computing_in(self._task.model, self._precision):
            _, history = tf.while_loop(lambda index, _: index < num_steps, one_more, start)
        return history.stack()

    def _one_step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """One step of one replica; returns the values of the global batch, [name]."""
        shares, gradients = self._gradients(batch)
        names = ("loss", *(name for name in sorted(shares) if name != "loss"))
        values = tf.stack([tf.cast(shares[name], tf.float32) for name in names])
        values, norm = self._update(gradients, values)
        self._names = (*names, GRADIENT_NORM)
        return tf.concat([values, [norm]], axis=0)

    def _compute_gradients(
        self, batch: dict[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
        with tf.GradientTape() as tape:
            shares = self._task.loss(batch, training=True)
            _check_shares(shares)
        return shares, tape.gradient(shares["loss"], self._variables)

    def _update(
        self, gradients: Sequence[tf.Tensor | None], shares: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Applies the gradient of the global batch.

        Args:
          gradients: this replica's shares, one for each variable.
          shares: this replica's shares of what is logged, [name].

        Returns:
          the sums of these shares, [name], and the norm of the gradient before clipping, [].
        """
        pairs = list(zip(gradients, self._variables, strict=True))
        # A weight that a task leaves out (the head of a loss of weight 0) has no gradient.
        self.untrained_names = tuple(v.path for g, v in pairs if g is None)
        variables = [v for g, v in pairs if g is not None]
        if not variables:
            raise ValueError("the loss depends on none of the model's trainable variables")
        optimizer = self._optimizer
        is_flat = isinstance(optimizer, FlatOptimizer)
        flat = optimizer.flat_vectors(variables) if is_flat else _flat_vectors(variables)
        vectors = flat.pack([g for g in gradients if g is not None])
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            *vectors, shares = context.all_reduce(tf.distribute.ReduceOp.SUM, [*vectors, shares])
        norm = tf.linalg.global_norm(vectors)
        if self._clip_norm is not None:
            scale = self._clip_norm / tf.maximum(norm, self._clip_norm)
            vectors = [vector * scale for vector in vectors]
        if is_flat:
            optimizer.apply_vectors(vectors, flat, variables)
            return shares, norm
        # Keras sums over the replicas once more: give each an equal part of the sum.
        if context.num_replicas_in_sync > 1:
            vectors = [vector / context.num_replicas_in_sync for vector in vectors]
        optimizer.apply(flat.unpack(vectors), variables)
        return shares, norm


def _flat_vectors(variables: Sequence[Any]) -> FlatVectors:
    return FlatVectors(variables, [tf.as_dtype(variable.dtype) for variable in variables])


def _refuse_compiled(strategy: tf.distribute.Strategy) -> None:
    """On several GPUs TensorFlow would put collectives inside what XLA compiles."""
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        raise SepconError(
            f"jit_compile: cannot be had on {strategy.num_replicas_in_sync} GPUs that share a "
            "batch; set jit_compile=False or use one device"
        )


@contextlib.contextmanager
def _told_if_compiled_across_replicas() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "merge_call" not in str(error):
            raise
        raise SepconError(
            "jit_compile: what this task exchanges between replicas (batch norm, negatives) cannot "
            "be compiled on these devices; set jit_compile=False or use one device"
        ) from error


def _without_autograph(function: Any) -> Any:
    """Keeps the task's Python as it is written: only the loop over steps needs autograph."""
    return tf.autograph.experimental.do_not_convert(function)


def _check_shares(shares: dict[str, tf.Tensor]) -> None:
    if "loss" not in shares:
        raise ValueError(f"task.loss must return a value named 'loss', got {sorted(shares)}")
    for name, share in shares.items():
        if share.shape.rank != 0:
            raise ValueError(f"task.loss: {name!r} must be a scalar, got shape {share.shape}")
