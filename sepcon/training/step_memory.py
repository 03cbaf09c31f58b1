"""How much memory a training step takes, estimated from its traced graph without running it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from sepcon.training.task import Task

# They hand on the memory of their input.
_ALIASES = ("Identity", "IdentityN", "Reshape", "ExpandDims", "Squeeze", "StopGradient")
# They hold no memory of the step's own: weights, and what is known when it is traced.
_NOT_HELD = ("Const", "ReadVariableOp", "VarHandleOp")
# They look at a shape, which is known without the values.
_SHAPES = ("Shape", "ShapeN", "Size", "Rank")


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes on each device.

    Attributes:
      weights: of the model.
      optimizer: its variables, such as moments.
      gradients: one for each trained weight.
      activations: what the forward pass keeps for the gradients, and the two largest of them again
        for what is under way.
    """

    weights: int
    optimizer: int
    gradients: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.optimizer + self.gradients + self.activations


def step_memory(
    *,
    task: Task,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    spec: Mapping[str, tf.TensorSpec],
) -> StepMemory:
    """Traces loss and gradients of a step and adds up what has to be held at once.

    The estimate is too low: the buffers that libraries allocate for themselves, above all those of
    convolutions, are not in the graph. On CPUs the measured memory was 1.2 times the estimate for
    pretraining and 1.8 times for separators.

    Args:
      task: what is trained.
      optimizer: built on the task's trainable variables.
      strategy: in whose scope they were made.
      spec: name -> shape and dtype of each part of the global batch; static shapes.

    Returns:
      The bytes that each device needs.
    """
    replicas = strategy.num_replicas_in_sync
    trained = list(task.model.trainable_variables)
    rows = {
        name: tf.TensorSpec([each.shape[0] // replicas, *each.shape[1:]], each.dtype)
        for name, each in spec.items()
    }
    forward = 0

    def step(batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        nonlocal forward
        with tf.GradientTape() as tape:
            loss = task.loss(batch, training=True)["loss"]
        forward = len(tf.compat.v1.get_default_graph().get_operations())
        return [each for each in tape.gradient(loss, trained) if each is not None]

    traced = tf.function(
        lambda batch: strategy.run(step, args=(batch,)) if replicas > 1 else step(batch),
        autograph=False,
    )
    operations = traced.get_concrete_function(rows).graph.get_operations()
    held = sorted(_held(operations[:forward], operations[forward:]), reverse=True)
    return StepMemory(
        weights=variable_bytes(task.model.variables),
        optimizer=variable_bytes(optimizer.variables),
        gradients=variable_bytes(trained),
        activations=(sum(held) + sum(held[:2])) // replicas,
    )


def variable_bytes(variables: Iterable[Any]) -> int:
    """Returns the size in bytes of some variables together, by their shapes and dtypes."""
    return sum(math.prod(each.shape) * tf.as_dtype(each.dtype).size for each in variables)


def _held(forward: list[tf.Operation], backward: list[tf.Operation]) -> Iterable[int]:
    """The bytes of each tensor of the forward pass that the backward pass takes."""
    inner = {operation.name for operation in forward}
    held = {
        source.name: source
        for operation in backward
        if operation.type not in _SHAPES
        for source in map(_source, operation.inputs)
        if source.op.name in inner and source.op.type not in _NOT_HELD
    }
    return [_bytes(tensor) for tensor in held.values()]


def _source(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor whose memory this one shares."""
    while tensor.op.type in _ALIASES:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor


def _bytes(tensor: tf.Tensor) -> int:
    """The bytes of a tensor; 0 of what is no memory of numbers, or of unknown shape."""
    if not tensor.shape.is_fully_defined() or tensor.dtype in (tf.resource, tf.variant, tf.string):
        return 0
    return math.prod(tensor.shape) * tensor.dtype.size
