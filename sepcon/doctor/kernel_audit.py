"""Asks of every operation of a graph whether an accelerator runs it, where there is none.

TensorFlow's wheel for Linux registers its GPU kernels without a GPU, and what XLA can compile as
soon as it has compiled anything. A graph on a GPU is walked as the runtime places it: what has no
kernel for its types runs on the host, int32 lives in the memory of the host, and whatever the host
needs of the device, the host waits for.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import tensorflow as tf
from tensorflow.python.framework import kernels

from sepcon.models.graphs.operations import called_graphs

Kind = Literal["host", "waits", "chance", "no XLA"]
KINDS: dict[Kind, str] = {
    "host": "has no GPU kernel for its types: it runs on the host",
    "waits": "needs on the host what the device computes: the host waits for the device",
    "chance": "raises where operations must be deterministic",
    "no XLA": "is not compiled by XLA, which a TPU asks of every operation",
}

# What TensorFlow's own messages say raises on a GPU under determinism, by names of operations.
_CHANCE = re.compile(
    r"CropAndResizeGrad\w*|SparseTensorDenseMatMul|AdjustContrast\w*|ResizeNearestNeighborGrad|"
    r"FakeQuantWithMinMaxVarsPerChannelGradient|Timestamp|Random\w*Crop|FractionalMaxPool\w*"
)
# They compute nothing themselves, or are replaced when the graph is prepared.
_CALLS = {"PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile"}
_CALLS |= {"If", "StatelessIf", "Case", "StatelessCase"}
_NOT_ASKED = {"Placeholder", "Const", "NoOp", "_Arg", "_Retval", "_SwitchN"}
_OF_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}
# They look at a shape, which is known when the kernel is launched; or move no number.
_FREE = _OF_SHAPES | {"Identity", "IdentityN", "Reshape", "ReadVariableOp"}
_FREE |= {"AssignVariableOp", "ExpandDims", "Squeeze", "EnsureShape", "StopGradient", "Bitcast"}
_FREE |= {"VarHandleOp", "PreventGradient", "BroadcastGradientArgs"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """An operation that an accelerator does not run as one would wish.

    Attributes:
      kind: see `KINDS`.
      operation: its type.
      dtypes: of what it takes and gives.
      place: its name in the graph, with those of the functions that it is in.
    """

    kind: Kind
    operation: str
    dtypes: tuple[str, ...]
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.operation} of {', '.join(self.dtypes)} {KINDS[self.kind]}"


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is found in a graph.

    Attributes:
      findings: in the order of the graph.
      launches: operations that start work on the device; a piece compiled by XLA counts as one.
    """

    findings: Sequence[Finding]
    launches: int


@dataclasses.dataclass(frozen=True)
class OnPurpose:
    """What stays on the host, and why.

    Attributes:
      pattern: of the text of a finding.
      reason: for people.
    """

    pattern: str
    reason: str

    def excuses(self, finding: object) -> bool:
        """Whether this is what was found."""
        return re.search(self.pattern, str(finding)) is not None


# The table of what stays on the host; nothing in any training step does.
ON_PURPOSE = (
    OnPurpose(
        r"^StatefulPartitionedCall/",
        "an exported model looks at its waveform first, to say in words what is wrong with it",
    ),
    OnPurpose(
        r"/while_\d+/strided_slice: StridedSlice of int32",
        "an exported model decides on the host which patches are next, once for 64 of them",
    ),
)


def audit_graph(graph: Any, on_purpose: Sequence[OnPurpose] = ON_PURPOSE) -> Audit:
    """Walks a traced graph and the functions that it calls, each once.

    Args:
      graph: of a traced function; its arguments are on the device.
      on_purpose: what is left out of the findings.

    Returns:
      What is found. Pieces that XLA compiles are asked for XLA's kernels, all others for both.
    """
    _load_xla_kernels()
    walk = _Walk()
    walk.visit(graph, "", compiled=False)
    kept = [
        finding
        for finding in walk.findings
        if not any(each.excuses(finding) for each in on_purpose)
    ]
    return Audit(kept, walk.launches)


class _Walk:
    """One pass over a graph."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.launches = 0
        self._seen: set[str] = set()

    def visit(self, graph: Any, place: str, *, compiled: bool) -> None:
        where = _Where()
        for operation in graph.get_operations():
            if not compiled:
                self._follow(operation, place, where)
            if operation.type not in _CALLS | _NOT_ASKED and not _kernels(operation, "XLA_GPU_JIT"):
                self._note("no XLA", operation, place)
            inside = compiled or _is_compiled(operation)
            for name, called in called_graphs(graph, operation):
                if name not in self._seen:
                    self._seen.add(name)
                    self.visit(called, f"{place}{operation.name}/", compiled=inside)

    def _follow(self, operation: tf.Operation, place: str, where: _Where) -> None:
        """Notes where an operation runs, and where its outputs are then."""
        kind, outputs = operation.type, list(operation.outputs)
        if where.is_known_before(operation):
            where.known.update(output.name for output in outputs)
            return
        if kind in _NOT_ASKED | _CALLS:
            # Functions take and give int32 and the handles of variables in the host's memory.
            where.put_on_host(t for t in outputs if t.dtype in (tf.int32, tf.resource))
            self.launches += _is_compiled(operation)
            return
        if _CHANCE.fullmatch(kind):
            self._note("chance", operation, place)
        found = _kernels(operation, "GPU") or _kernels(operation, "DEFAULT")
        names = _argument_names(operation, operation.op_def.input_arg)
        from_device = [
            name
            for name, tensor in zip(names, operation.inputs, strict=True)
            if not where.is_on_host(tensor)
        ]
        if not found:
            if from_device or not operation.inputs:
                self._note("host", operation, place)
            where.put_on_host(outputs)
            return
        host_memory = set(found[0].host_memory_arg)
        if host_memory.intersection(from_device):
            self._note("waits", operation, place)
        names = _argument_names(operation, operation.op_def.output_arg)
        there = [t for t, name in zip(outputs, names, strict=True) if name in host_memory]
        where.put_on_host(there)
        if kind not in _FREE and len(there) < len(names):
            self.launches += 1

    def _note(self, kind: Kind, operation: tf.Operation, place: str) -> None:
        tensors = [*operation.inputs, *operation.outputs]
        dtypes = tuple(dict.fromkeys(tensor.dtype.name for tensor in tensors))
        self.findings.append(Finding(kind, operation.type, dtypes, f"{place}{operation.name}"))


class _Where:
    """Where the tensors of a graph are, by name.

    Attributes:
      known: before the step begins, as they depend on shapes and constants alone.
    """

    def __init__(self) -> None:
        self.known: set[str] = set()
        self._on_host: set[str] = set()

    def put_on_host(self, tensors: Iterable[tf.Tensor]) -> None:
        self._on_host.update(tensor.name for tensor in tensors)

    def is_on_host(self, tensor: tf.Tensor) -> bool:
        return tensor.name in self.known or tensor.name in self._on_host

    def is_known_before(self, operation: tf.Operation) -> bool:
        """Whether TensorFlow works it out when it prepares the graph."""
        if operation.type == "Const":
            return True
        if operation.type in _CALLS | _NOT_ASKED or operation.op_def.is_stateful:
            return False
        if operation.type in _OF_SHAPES:
            return all(tensor.shape.is_fully_defined() for tensor in operation.inputs)
        return bool(operation.inputs) and all(t.name in self.known for t in operation.inputs)


def _is_compiled(operation: tf.Operation) -> bool:
    return operation.type in _CALLS and operation.node_def.attr["_XlaMustCompile"].b


def _kernels(operation: tf.Operation, device: str) -> list[Any]:
    """The kernels of a device that fit the types of an operation, best first."""
    fitting = [k for k in _registered(operation.type, device) if _fits(k, operation)]
    return sorted(fitting, key=lambda kernel: -kernel.priority)


@functools.cache
def _registered(kind: str, device: str) -> tuple[Any, ...]:
    found = kernels.get_registered_kernels_for_op(kind).kernel
    return tuple(kernel for kernel in found if kernel.device_type == device)


def _fits(kernel: Any, operation: tf.Operation) -> bool:
    attributes = operation.node_def.attr
    for constraint in kernel.constraint:
        allowed = set(constraint.allowed_values.list.type)
        if not allowed or constraint.name not in attributes:
            continue
        value = attributes[constraint.name]
        wanted = set(value.list.type) if value.HasField("list") else {value.type}
        if not wanted <= allowed:
            return False
    return True


def _argument_names(operation: tf.Operation, arguments: Any) -> list[str]:
    attributes, names = operation.node_def.attr, []
    for argument in arguments:
        count = 1
        if argument.number_attr:
            count = attributes[argument.number_attr].i
        elif argument.type_list_attr:
            count = len(attributes[argument.type_list_attr].list.type)
        names += [argument.name] * count
    return names


@functools.cache
def _load_xla_kernels() -> None:
    """XLA registers what it compiles when it compiles for the first time."""
    tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(tf.constant(0.0))
