"""Checks before the first step for mistakes that would give wrong results or unclear errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from sepcon.training.distribution import check_batch
from sepcon.training.task import Task


def check_setup(
    *, task: Task, optimizer: keras.optimizers.Optimizer, strategy: tf.distribute.Strategy
) -> None:
    """Checks that a training gives the same result on any number of replicas; builds the optimizer.

    Args:
      task: what is trained.
      optimizer: built here if it is not yet.
      strategy: in whose scope both must have been made.

    Raises:
      ValueError: the model has no weights to train, draws random numbers of its own (dropout), or
        has batch normalisation that replicas do not share; the optimizer clips or accumulates
        gradients; or something was made outside of the strategy's scope.
    """
    trainable = list(task.model.trainable_variables)
    if not trainable:
        raise ValueError("task.model has no trainable variables: build it before training")
    _check_optimizer(optimizer)
    _check_scope([*task.model.variables, *optimizer.variables], strategy)
    if not optimizer.built:
        with strategy.scope():
            optimizer.build(trainable)
    _check_randomness(task.model)
    if strategy.num_replicas_in_sync > 1:
        _check_batch_norm(task.model)


def check_stream(*, task: Task, spec: Mapping[str, tf.TensorSpec], replicas: int) -> int:
    """Checks the batches of a stream against what the task consumes.

    Args:
      task: what is trained.
      spec: name -> shape and dtype of each part of a global batch; static shapes.
      replicas: devices that share a batch.

    Returns:
      The global batch size.

    Raises:
      ValueError: the batches have no static shapes, or not as many uniforms as the task consumes.
      SepconError: the batch cannot be divided equally among the replicas.
    """
    batch_size = check_batch(dict(spec), replicas)
    width = spec["uniforms"].shape[-1] if "uniforms" in spec else 0
    if width != task.num_uniforms:
        raise ValueError(
            f"stream: batches have {width} uniforms per row, but the task consumes "
            f"{task.num_uniforms}; make the stream with num_uniforms=task.num_uniforms"
        )
    return batch_size


def _check_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Keras clips each replica's share by itself, which is not the clipping of their sum."""
    for name in ("clipnorm", "global_clipnorm", "clipvalue"):
        if getattr(optimizer, name, None) is not None:
            raise ValueError(
                f"optimizer: {name} is {getattr(optimizer, name)}, expected None: clip with the "
                "loop's gradient_clip_norm, which gives the same result on any number of replicas"
            )
    if optimizer.gradient_accumulation_steps is not None:
        raise ValueError(
            "optimizer: gradient_accumulation_steps must be None: it fails under tf.distribute"
        )


def _check_scope(variables: list[Any], strategy: tf.distribute.Strategy) -> None:
    for variable in variables:
        inner = variable.value if isinstance(variable, keras.Variable) else variable
        if not strategy.extended.variable_created_in_scope(inner):
            raise ValueError(
                f"variable {variable.name} was made outside the strategy's scope: make task and "
                "optimizer inside `with strategy.scope():`"
            )


def _check_randomness(model: Any) -> None:
    """A Keras seed generator draws the same mask in every replica, and others in a new process."""
    for variable in model.variables:
        if "seed_generator_state" in variable.name:
            raise ValueError(
                f"task.model holds {getattr(variable, 'path', variable.name)}: a Keras layer with "
                "random numbers of its own (Dropout ...); draw from batch['uniforms'] instead"
            )


def _check_batch_norm(model: Any) -> None:
    """Without synchronisation every replica has moving statistics of its own; one is saved."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized:
            raise ValueError(
                f"layer {layer.name}: BatchNormalization needs synchronized=True to train on "
                "several replicas"
            )
