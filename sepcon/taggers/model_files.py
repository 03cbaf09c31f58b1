"""Models of taggers as files: SavedModel, TFLite, Keras, behind one call for a batch."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import special

from sepcon.errors import SepconError, one_line

Activation = Literal["none", "sigmoid", "softmax"]
# The outputs of a model for a batch.
Call = Callable[[np.ndarray], Any]
_KERAS_ENDINGS = (".keras", ".h5", ".hdf5")


@dataclasses.dataclass(frozen=True)
class OpenModel:
    """A model that can be called.

    Attributes:
      call: float32 [batch, ...] -> its outputs.
      input_shape: of one item of the batch; empty where the model does not say.
    """

    call: Call
    input_shape: tuple[int, ...] = ()


def leave_cores_to_others() -> None:
    """In a process that is one of several, TensorFlow takes a single core from its start on."""
    if multiprocessing.parent_process() is None:
        return
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # It has started already.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


@functools.lru_cache(maxsize=8)
def open_model(path: str, single: bool) -> OpenModel:
    """Opens a model, once a process.

    Args:
      path: a folder with a SavedModel, or a file that ends in .tflite, .keras or .h5.
      single: whether an item is a waveform, which a SavedModel may take without a batch.

    Raises:
      SepconError: it is of no such kind, or cannot be read.
    """
    file = Path(path).expanduser()
    leave_cores_to_others()
    try:
        if file.suffix == ".tflite":
            return _tflite(file)
        if file.suffix in _KERAS_ENDINGS:
            return _keras(file)
        if (file / "saved_model.pb").is_file():
            return _saved_model(file, single)
    except SepconError:
        raise
    # Three libraries raise what they like of files that are not theirs.
    except Exception as error:
        raise SepconError(
            f"{file}: cannot be opened as a model ({one_line(error)}); give it again"
        ) from error
    raise SepconError(
        f"{file}: is no model; expected a folder with saved_model.pb, or a file that ends in "
        f".tflite {' '.join(_KERAS_ENDINGS)}"
    )


def _saved_model(folder: Path, single: bool) -> OpenModel:
    from sepcon.models.products.saved_model import load_callable

    call, takes_batches = load_callable(folder, None)
    if takes_batches or not single:
        return OpenModel(call)

    def each(batch: np.ndarray) -> Any:
        (item,) = batch
        return call(item)

    return OpenModel(each)


def _keras(file: Path) -> OpenModel:
    import keras

    model = keras.models.load_model(file, compile=False)
    shape = tuple(model.input_shape[1:])
    known = shape if None not in shape else ()
    return OpenModel(lambda batch: model(batch, training=False), known)


def _tflite(file: Path) -> OpenModel:
    import tensorflow as tf

    # All cores are busy with other clips.
    interpreter = tf.lite.Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    if len(taken) != 1:
        raise ValueError(f"it has {len(taken)} inputs, expected one")
    (details,) = taken
    shape = tuple(int(size) for size in details["shape"])
    # A waveform may stand in it without a batch.
    item_shape = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape

    def call(batch: np.ndarray) -> list[np.ndarray]:
        outputs: list[list[np.ndarray]] = [[] for _ in given]
        for item in batch:
            interpreter.set_tensor(details["index"], _quantized(item, details).reshape(shape))
            interpreter.invoke()
            for kept, output in zip(outputs, given, strict=True):
                value = _real(interpreter.get_tensor(output["index"]), output)
                kept.append(value[0] if value.ndim > 1 and len(value) == 1 else value)
        return [np.stack(kept) for kept in outputs]

    return OpenModel(call, item_shape)


def _quantized(item: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    """Numbers as an input of whole numbers has them."""
    kind = np.dtype(details["dtype"])
    if kind.kind == "f":
        return item.astype(kind)
    scale, zero = details["quantization"]
    limits = np.iinfo(kind)
    return np.clip(np.rint(item / (scale or 1.0)) + zero, limits.min, limits.max).astype(kind)


def _real(value: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    if value.dtype.kind == "f":
        return value
    scale, zero = details["quantization"]
    return (value.astype(np.float32) - zero) * (scale or 1.0)


def chosen_output(
    outputs: Any, output: str | int | None, num_classes: int, name: str
) -> np.ndarray:
    """Takes the scores among what a model returns.

    Args:
      outputs: an array, several in a row, or by name.
      output: number or name of the scores; None for the only one with as many columns as there are
        classes.
      num_classes: of the tagger.
      name: of the tagger, for messages.

    Returns:
      float32 [frames, classes]; items of a batch follow each other.

    Raises:
      SepconError: there is no such output, or it has other columns.
    """
    by_name: dict[str | int, Any] = (
        dict(outputs)
        if isinstance(outputs, Mapping)
        else dict(enumerate(outputs))
        if isinstance(outputs, Sequence)
        else {0: outputs}
    )
    arrays = {key: np.asarray(value) for key, value in by_name.items()}
    if output is None:
        fitting = [key for key, value in arrays.items() if value.shape[-1:] == (num_classes,)]
        output = fitting[0] if len(fitting) == 1 else None
    if output not in arrays or arrays[output].shape[-1:] != (num_classes,):
        shapes = ", ".join(f"{key}: {value.shape}" for key, value in arrays.items())
        raise SepconError(
            f"tagger {name}: its model returns {shapes}, no single one of which has {num_classes} "
            "columns, as many as there are classes; check its classes, or say which by `output`"
        )
    return arrays[output].reshape(-1, num_classes).astype(np.float32)


def activated(scores: np.ndarray, activation: Activation) -> np.ndarray:
    """Turns logits [n, classes] into probabilities, where that is asked for."""
    if activation == "sigmoid":
        return special.expit(scores)
    return special.softmax(scores, axis=1) if activation == "softmax" else scores
