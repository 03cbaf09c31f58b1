"""EfficientNet-Lite0 against PyTorch's own, and its weights read without PyTorch."""

import importlib.util
import os
import pickle
import struct
import sys
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from sepcon.errors import SepconError
from sepcon.models.encoders import efficientnet_lite0
from sepcon.models.images.lite_weights import (
    PACKAGE,
    packaged_file,
    read_lite_weights,
    read_tensors,
)
from sepcon.models.images.networks import efficientnet_lite0_network

GOLDEN = Path(__file__).parent / "golden" / "efficientnet_lite0.npz"
installed = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="the weights are in an extra"
)


@installed
def test_logits_are_those_of_the_package_in_pytorch() -> None:
    # Made with torch 2 and efficientnet-lite-pytorch 0.1.0 from the same file.
    pixels = np.random.default_rng(64).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    expected = np.load(GOLDEN)["logits"]
    network = efficientnet_lite0_network(include_top=True, weights="imagenet")
    assert network.count_params() == 4_694_024
    difference = np.abs(network(pixels).numpy() - expected).max()
    assert difference <= 1e-5 * np.abs(expected).max()


@installed
def test_the_encoder_has_them_on_three_maps() -> None:
    encoder = efficientnet_lite0(
        embedding_size=None, num_frames=32, num_mels=96, num_maps=3, weights="imagenet"
    )
    tensors = read_tensors(packaged_file())
    stem = next(layer for layer in encoder.layers if layer.name == "conv_stem")
    np.testing.assert_array_equal(
        stem.get_weights()[0], tensors["_conv_stem.weight"].transpose(2, 3, 1, 0)
    )
    assert encoder.output_shape == (None, 1280)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SepconError, match=r"pip install 'sepcon\[lite0\]'"):
        packaged_file()


def small_network() -> keras.Model:
    """Layers of every kind that the network has, with names as it gives them."""
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="conv_stem")(pixels)
    x = keras.layers.BatchNormalization(name="bn0")(x)
    x = keras.layers.DepthwiseConv2D(3, use_bias=False, name="blocks_0_depthwise_conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(5, name="fc")(x))


class Tensor:
    """A tensor that is pickled as PyTorch does it."""

    def __init__(self, key: str, value: np.ndarray, strides: tuple[int, ...]) -> None:
        self.key, self.value, self.strides = key, value, strides

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (Storage(self), 0, self.value.shape, self.strides, False, None)


class Storage:
    """What the values of a tensor are called by."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Pickler(pickle.Pickler):
    """Writes storages as references, as PyTorch does it."""

    def persistent_id(self, value: object) -> tuple[Any, ...] | None:
        if not isinstance(value, Storage):
            return None
        kind = sys.modules["torch"].FloatStorage
        return "storage", kind, value.tensor.key, "cpu", value.tensor.value.size, None


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough of PyTorch to write its format, which is not installed here."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    storage = type("FloatStorage", (), {"__module__": "torch"})

    def _rebuild_tensor_v2(*_: object) -> None:
        raise AssertionError("called where nothing of PyTorch shall be")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    module.FloatStorage = storage  # type: ignore[attr-defined]
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def write(path: Path, tensors: dict[str, np.ndarray]) -> None:
    named = {
        name: Tensor(
            str(number),
            value,
            tuple(int(np.prod(value.shape[axis + 1 :])) for axis in range(value.ndim)),
        )
        for number, (name, value) in enumerate(tensors.items())
    }
    with open(path, "wb") as file:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(head, file, protocol=2)
        Pickler(file, protocol=2).dump(named)
        pickle.dump([tensor.key for tensor in named.values()], file, protocol=2)
        for tensor in named.values():
            file.write(struct.pack("<q", tensor.value.size) + tensor.value.tobytes())


def tensors_of_small_network() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    norm = ("weight", "bias", "running_mean", "running_var")
    shapes = {
        "_conv_stem.weight": (4, 3, 3, 3),
        **{f"_bn0.{name}": (4,) for name in norm},
        "_blocks.0._depthwise_conv.weight": (4, 1, 3, 3),
        "_fc.weight": (5, 4),
        "_fc.bias": (5,),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_every_kind_of_layer_gets_its_weights(tmp_path: Path, torch: None) -> None:
    tensors = tensors_of_small_network()
    write(tmp_path / "a.pth", tensors)
    network = small_network()
    read_lite_weights(network, tmp_path / "a.pth")
    pixels = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype(np.float32)
    x = np.zeros((6, 6, 4))
    for out in range(4):
        for row in range(6):
            for column in range(6):
                part = pixels[0, row : row + 3, column : column + 3].transpose(2, 0, 1)
                x[row, column, out] = (part * tensors["_conv_stem.weight"][out]).sum()
    mean, variance = tensors["_bn0.running_mean"], np.abs(tensors["_bn0.running_var"])
    network.get_layer("bn0").moving_variance.assign(variance)
    x = (x - mean) / np.sqrt(variance + 1e-3) * tensors["_bn0.weight"] + tensors["_bn0.bias"]
    deep = np.zeros((4, 4, 4))
    for channel in range(4):
        for row in range(4):
            for column in range(4):
                part = x[row : row + 3, column : column + 3, channel]
                kernel = tensors["_blocks.0._depthwise_conv.weight"][channel, 0]
                deep[row, column, channel] = (part * kernel).sum()
    expected = tensors["_fc.weight"] @ deep.mean(axis=(0, 1)) + tensors["_fc.bias"]
    np.testing.assert_allclose(network(pixels).numpy()[0], expected, rtol=1e-4, atol=1e-4)


def test_files_that_are_no_weights_are_refused(tmp_path: Path, torch: None) -> None:
    tensors = tensors_of_small_network()
    write(tmp_path / "whole.pth", tensors)
    whole = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[:-3])
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "zip.pth").write_bytes(b"PK\x03\x04" + whole)
    for name in ("cut", "text", "zip", "nowhere"):
        with pytest.raises(SepconError, match=rf"{name}\.pth: cannot be read as weights"):
            read_tensors(tmp_path / f"{name}.pth")
    del tensors["_fc.bias"]
    write(tmp_path / "other.pth", tensors)
    with pytest.raises(SepconError, match=r"other\.pth: does not fit layer fc"):
        read_lite_weights(small_network(), tmp_path / "other.pth")


def test_a_file_cannot_run_a_program(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path / 'evil'}",)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SepconError, match=r"asks for \w+\.system, which is no tensor"):
        read_tensors(tmp_path / "evil.pth")
    assert not (tmp_path / "evil").exists()
