"""One step of a training on each device, its graph asked for its kernels, against the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sepcon.doctor.cases import Case
from sepcon.doctor.check import Check
from sepcon.doctor.graph_lint import lint_graph
from sepcon.doctor.kernel_audit import audit_graph
from sepcon.errors import one_line
from sepcon.models.precision import computing_in
from sepcon.replicas import assumed

# Share of the CPU's loss, and of the norm of its gradient, that another device may be off, in
# float32 and where anything is rounded to bfloat16.
_EXACT, _ROUNDED = (1e-4, 1e-3), (2e-2, 0.3)
_FINDINGS_SHOWN = 3


def step_checks(name: str, make: Callable[[], Case], on: list[str]) -> list[Check]:
    """The kernels of a step, and what it gives.

    A step is traced twice: as for a processor and as for an accelerator, which has other forms of
    some operations. Without an accelerator the second runs on the CPU all the same, so that its
    numbers are looked at.

    Args:
      name: of the case.
      make: makes it.
      on: the devices to compare with the CPU.
    """
    keras.utils.set_random_seed(0)
    case = make()
    batch, variables = case.batch(), list(case.task.model.trainable_variables)
    start = [variable.numpy() for variable in case.task.model.variables]

    def step(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with computing_in(case.task.model, case.precision), tf.GradientTape() as tape:
            loss = case.task.loss(batch, training=True)["loss"]
        gradients = tape.gradient(loss, variables)
        return loss, [gradient for gradient in gradients if gradient is not None]

    def run(device: str, *, accelerator: bool) -> tuple[Any, tuple[float, np.ndarray]]:
        with assumed(accelerator=accelerator), tf.device(device):
            function = tf.function(step, autograph=False).get_concrete_function(case.spec)
            loss, gradients = function(batch)
        for variable, value in zip(case.task.model.variables, start, strict=True):
            variable.assign(value)
        flat = np.concatenate([np.ravel(gradient) for gradient in gradients])
        return function.graph, (float(loss), flat)

    with _exact_float32():
        _, expected = run("CPU:0", accelerator=False)
        checks = []
        for device in on or ["CPU:0"]:
            try:
                graph, found = run(device, accelerator=True)
            except tf.errors.OpError as error:
                cure = "report this with the file that is written"
                checks.append(Check(f"{name} on {device}", "FAIL", one_line(error), cure))
                continue
            if not checks:
                checks.append(kernel_check(name, graph))
            tolerance = _ROUNDED if case.rounded else _EXACT
            checks.append(_compared(f"{name} on {device}", found, expected, tolerance))
    return checks


def kernel_check(name: str, graph: Any) -> Check:
    """Whether an accelerator runs each operation of a step."""
    audit = audit_graph(graph)
    # On a CPU float64 decides where float32 cannot; on a GPU too, on a TPU it does not.
    problems = lint_graph(graph, allowed=["float64"]) + [str(each) for each in audit.findings]
    values = {"launches": audit.launches, "problems": problems}
    if not problems:
        text = f"a GPU and a TPU run all operations, {audit.launches} launches"
        return Check(f"kernels of {name}", "OK", text, values=values)
    shown = "; ".join(problems[:_FINDINGS_SHOWN])
    more = f" (and {len(problems) - _FINDINGS_SHOWN} more)" * (len(problems) > _FINDINGS_SHOWN)
    cure = "it runs, but not at the speed of the device; see doctor/kernel_audit.py"
    return Check(f"kernels of {name}", "FAIL", shown + more, cure, values)


def _compared(
    name: str,
    found: tuple[float, np.ndarray],
    expected: tuple[float, np.ndarray],
    tolerance: tuple[float, float],
) -> Check:
    """Whether a device gives the loss and the gradient of the CPU."""
    loss = abs(found[0] - expected[0]) / max(abs(expected[0]), 1e-9)
    size = float(np.linalg.norm(expected[1]))
    gradient = float(np.linalg.norm(found[1] - expected[1])) / max(size, 1e-9)
    values = {"loss_error": float(loss), "gradient_error": gradient}
    text = f"loss within {loss:.1e} and gradient within {gradient:.1e} of the CPU's, without TF32"
    if loss <= tolerance[0] and gradient <= tolerance[1]:
        return Check(name, "OK", text, values=values)
    cure = f"expected {tolerance[0]:.0e} and {tolerance[1]:.0e}: do not train on it, and report it"
    return Check(name, "FAIL", text, cure, values)


@contextlib.contextmanager
def _exact_float32() -> Iterator[None]:
    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.enable_tensor_float_32_execution(before)
