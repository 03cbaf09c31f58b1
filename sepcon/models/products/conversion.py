"""Conversion to TensorFlow Lite and ONNX, and how the converted models are run."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.errors import SepconError, one_line
from sepcon.models.products.fixed_length import SIGNATURE, FixedLengthModel

# The first of which all operations that products need are in.
_OPSET = 17

Outputs = dict[str, np.ndarray]
Runner = Callable[[np.ndarray], Outputs]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A format.

    Attributes:
      file: name of the converted model.
      convert: model -> what the file holds.
      open_runner: what the file holds -> waveform [batch, samples] to outputs by name.
      runtime: what runs such files, in words.
    """

    file: str
    convert: Callable[[FixedLengthModel], bytes]
    open_runner: Callable[[bytes], Runner]
    runtime: str


def _to_tflite(model: FixedLengthModel) -> bytes:
    """Converts to built-in operations of TensorFlow Lite alone: what lacks one is an error."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        graph = model.function.get_concrete_function()
        # By way of a SavedModel, the only one on which signatures keep their names.
        tf.saved_model.save(model, folder, signatures={SIGNATURE: graph})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return bytes(converter.convert())


def _to_onnx(model: FixedLengthModel) -> bytes:
    tf2onnx = _imported("tf2onnx", "onnx")
    with _quiet():
        proto, _ = tf2onnx.convert.from_function(
            model.function, input_signature=[model.spec], opset=_OPSET
        )
    return bytes(proto.SerializeToString())


def open_tflite(content: bytes) -> Runner:
    """Opens a TensorFlow Lite model on one thread, in ai-edge-litert where that is installed."""
    try:
        interpreter_class = importlib.import_module("ai_edge_litert.interpreter").Interpreter
    except ImportError:
        interpreter_class = tf.lite.Interpreter
    with _quiet():
        interpreter = interpreter_class(model_content=content, num_threads=1)
    # Named here to keep it alive.
    runner = interpreter.get_signature_runner(SIGNATURE)

    def run(waveform: np.ndarray) -> Outputs:
        assert interpreter
        return dict(runner(waveform=waveform))

    return run


def open_onnx(content: bytes) -> Runner:
    """Opens an ONNX model on one thread.

    Raises:
      SepconError: onnxruntime is not installed.
    """
    onnxruntime = _imported("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda waveform: dict(
        zip(names, session.run(names, {"waveform": waveform}), strict=True)
    )


CONVERSIONS = {
    "tflite": Conversion("model.tflite", _to_tflite, open_tflite, "TensorFlow Lite"),
    "onnx": Conversion("model.onnx", _to_onnx, open_onnx, "onnxruntime"),
}


def check_installed(format: str) -> None:
    """Raises SepconError where a package is missing that a conversion needs."""
    if format == "onnx":
        for package in ("tf2onnx", "onnxruntime"):
            _imported(package, "onnx")


def converted(model: FixedLengthModel, format: str) -> bytes:
    """Converts a model.

    Args:
      model: the product of one length.
      format: one of `CONVERSIONS`.

    Raises:
      SepconError: the format has no operation for a part of it, or a package is missing.
    """
    check_installed(format)
    try:
        return CONVERSIONS[format].convert(model)
    # Whatever a converter raises: each has exceptions of its own.
    except Exception as error:
        raise SepconError(
            f"format: this network cannot be converted to {format}: {one_line(error)}; "
            "the SavedModel has all of it"
        ) from error


def _imported(package: str, extra: str) -> Any:
    try:
        with _quiet():
            return importlib.import_module(package)
    except ImportError as error:
        raise SepconError(
            f"{package} is not installed, which format=onnx needs: "
            f"pip install 'sepcon[{extra}]' ({one_line(error)})"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Converters report their passes; what goes wrong they raise."""
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(former)


def read_runner(path: Path) -> Runner:
    """Opens a converted model by its file.

    Args:
      path: model.tflite or model.onnx.
    """
    conversion = next(c for c in CONVERSIONS.values() if c.file == path.name)
    return conversion.open_runner(path.read_bytes())
