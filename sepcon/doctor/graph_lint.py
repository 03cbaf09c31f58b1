"""Finds in a training step what fails or is slow on a TPU or GPU: for the tests of every task.

Compiling with XLA on a CPU is not enough of a test: shapes that depend on the data compile there,
and numeric checks are dropped without a message. No library has such a check: TensorFlow reports
these operations only when it compiles for a real TPU. So the lint is kept here, although only tests
call it: a new task or objective is to be given to `lint_task` in its own test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from sepcon.doctor.kernel_audit import audit_graph
from sepcon.models.graphs.operations import called_graphs
from sepcon.replicas import assumed
from sepcon.training.task import Task

_BARRED = {
    r"(Eager)?PyFunc(Stateless)?": "calls Python",
    r"Print(V2)?|AsString|String\w+|Decode\w+|Encode\w+": "does not run on accelerators",
    r"Assert|CheckNumerics(V2)?": "is dropped by XLA",
    r"Where|Unique\w*|DynamicPartition|ListDiff": "has a shape that depends on data",
    r"Random(Uniform|StandardNormal|Shuffle|Gamma)\w*|TruncatedNormal|Multinomial|Stateful\w+|"
    r"RngReadAndSkip": "keeps random state: draw from batch['uniforms']",
    r"I?R?FFT[23]D": "has no TPU form: only one axis at a time",
    r"StatelessShuffle": "does not compile",
}
# Shapes of shapes, and what cuDNN keeps for itself: known when the graph is compiled.
_KNOWN_LATER = ("BroadcastGradientArgs", "FusedBatchNormV3")
# What loops keep for the backward pass has no shape of its own.
_SHAPELESS_DTYPES = (tf.variant, tf.resource)


def lint_task(
    task: Task,
    batch_spec: Mapping[str, tf.TensorSpec],
    *,
    allowed: Sequence[str] = (),
    max_problems: int = 20,
) -> list[str]:
    """Traces a task's loss and gradient on one replica and lists the operations not allowed there.

    It is traced as for an accelerator. What `kernel_audit` finds on a GPU is listed too.

    One mistake is not found: a random operation whose seed is a Python number, which TensorFlow
    turns into a constant when it traces. Draw from `batch['uniforms']` instead.

    Args:
      task: any task.
      batch_spec: the static shapes of a replica's batch, e.g. `dataset.element_spec`.
      allowed: regular expressions of lines to leave out, for what never runs on accelerators.
      max_problems: the list ends there.

    Returns:
      One line for each problem; empty when there is none.
    """
    variables = task.model.trainable_variables

    def step(batch: dict[str, tf.Tensor]) -> Any:
        with tf.GradientTape() as tape:
            shares = task.loss(batch, training=True)
        return shares, tape.gradient(shares["loss"], variables)

    with assumed(accelerator=True):
        graph = tf.function(step, autograph=False).get_concrete_function(dict(batch_spec)).graph
    problems = lint_graph(graph, allowed=allowed, max_problems=max_problems)
    return (problems + list(map(str, audit_graph(graph).findings)))[:max_problems]


def lint_graph(graph: Any, *, allowed: Sequence[str] = (), max_problems: int = 20) -> list[str]:
    """Lists the operations not allowed in a training step, in a graph and the functions it calls.

    Args:
      graph: of a traced function.
      allowed: regular expressions of lines to leave out.
      max_problems: the list ends there.

    Returns:
      One line for each problem; empty when there is none.
    """
    # Keras hides the state of its random numbers in variables.
    problems = [
        f"{variable.name} keeps random state: draw from batch['uniforms']"
        for variable in graph.variables
        if "seed_generator" in variable.name
    ]
    for place, operation in _operations(graph, "", set()):
        lines = [f"{place}{operation.name}: {problem}" for problem in _problems(operation)]
        problems += [line for line in lines if not any(re.search(p, line) for p in allowed)]
        if len(problems) >= max_problems:
            break
    return problems[:max_problems]


def _operations(graph: Any, place: str, seen: set[str]) -> Iterator[tuple[str, tf.Operation]]:
    """All operations of a graph and, once each, of its functions."""
    for operation in graph.get_operations():
        yield place, operation
        for name, called in called_graphs(graph, operation):
            if name not in seen:
                seen.add(name)
                yield from _operations(called, f"{place}{operation.name}/", seen)


def _is_known_later(operation: tf.Operation) -> bool:
    """Whether what gives an unknown shape, perhaps zeros in its place, is one of `_KNOWN_LATER`."""
    source = operation.inputs[0].op if operation.type == "ZerosLike" else operation
    return source.type in _KNOWN_LATER


def _problems(operation: tf.Operation) -> list[str]:
    kind = operation.type
    found = [f"{kind} {why}" for pattern, why in _BARRED.items() if re.fullmatch(pattern, kind)]
    for output in operation.outputs:
        if output.dtype.base_dtype in (tf.string, tf.float64):
            found.append(f"{kind} gives {output.dtype.name}")
        elif _is_known_later(operation) or output.dtype in _SHAPELESS_DTYPES:
            continue
        elif not output.shape.is_fully_defined():
            found.append(f"{kind} has an unknown dimension: {output.shape}")
    return found
