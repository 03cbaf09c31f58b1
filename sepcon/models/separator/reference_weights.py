"""The names that the reference implementation of MixIT gives to a separator's variables.

The reference is google-research/sound-separation (TensorFlow 1). Its variables and ours
correspond one to one; only shapes of single numbers differ. So its published checkpoints can be
used (`tools/convert_reference_checkpoint.py`), and tests can show that our network computes what
the reference computes. No library reads them: the reference itself needs TensorFlow 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from sepcon.errors import SepconError
from sepcon.models.separator.basis import LearnedBasis, StftBasis
from sepcon.models.separator.network import Separator, SeparatorConfig
from sepcon.models.separator.tdcn import PReluNorm, ScaledDense, TdcnBlock

_NORM_NAMES = {"instance": "instance_norm", "layer": "layer_norm", "global": "global_layer_norm"}
_LEARNED_OVERLAP = 2  # hops in a window of the reference's learned basis
_STFT_OVERLAP = 4


def reference_variables(separator: Separator) -> dict[str, keras.Variable]:
    """Maps the reference's variable names (without `:0`) to the variables of a separator."""
    names = _basis_variables(separator.basis)
    names |= _dense_variables(separator.tdcn.initial_dense, "initial_dense")
    norm = _NORM_NAMES[separator.config.norm]
    for b, block in enumerate(separator.tdcn.blocks):
        names |= _block_variables(block, f"improved_tdcn/conv_block_{b}/tdcn_block", norm)
    for pair, dense in separator.tdcn.skips.items():
        names |= _dense_variables(dense, f"improved_tdcn/res_dense_{pair}")
    names["dense/kernel"] = separator.mask_dense.kernel
    if separator.mix_weights is not None:
        names["mix_weights/dense/kernel"] = separator.mix_weights.kernel
    return names


def load_reference_weights(separator: Separator, arrays: Mapping[str, np.ndarray]) -> None:
    """Gives a separator the weights of a reference checkpoint.

    Args:
      separator: of the same architecture, see `config_from_reference`.
      arrays: values of any shape by the reference's variable names, with or without `:0`.

    Raises:
      SepconError: a variable is missing, left over or of another shape.
    """
    arrays = {name.removesuffix(":0"): value for name, value in arrays.items()}
    variables = reference_variables(separator)
    missing, unknown = variables.keys() - arrays.keys(), arrays.keys() - variables.keys()
    if missing or unknown:
        raise SepconError(
            f"reference variables of another architecture: missing {_few(missing)}; "
            f"unknown {_few(unknown)}"
        )
    for name, variable in variables.items():
        got, expected = np.shape(arrays[name]), tuple(variable.shape)
        if np.size(arrays[name]) != np.prod(expected) or (expected and got != expected):
            raise SepconError(f"reference variable {name}: got shape {got}, expected {expected}")
    for name, variable in variables.items():
        variable.assign(np.reshape(arrays[name], variable.shape))


def _few(names: Iterable[str]) -> str:
    """The first three names in order, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return (", ".join(ordered[:3]) or "none") + more


def config_from_reference(
    arrays: Mapping[str, np.ndarray],
    *,
    sample_rate_hz: int = 16000,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    num_dilations: int = 8,
    unpredicted_consistency: str = "magnitude_squared",
) -> SeparatorConfig:
    """Reads a separator's architecture from the names and shapes of its reference variables.

    Args:
      arrays: values of any shape by the reference's variable names, with or without `:0`.
      sample_rate_hz: what the checkpoint was trained at, which no shape tells.
      window_seconds: of the STFT; by default as long as its Fourier transform (512 samples at 257
        bins). The learned basis has its own in its shape.
      hop_seconds: from frame to frame, which no shape tells; by default a quarter of the window,
        half of it with the learned basis.
      num_dilations: blocks per repeat, where no skip connection tells it.
      unpredicted_consistency: `magnitude_squared` or `uniform`, for a checkpoint that does not
        predict its weights of mixture consistency; neither has variables.

    Raises:
      SepconError: the arrays are not those of such a network.
    """
    for name, number in (("sample_rate_hz", sample_rate_hz), ("num_dilations", num_dilations)):
        if number < 1:
            raise SepconError(f"{name}: got {number}, expected at least 1")
    shapes = {name.removesuffix(":0"): np.shape(value) for name, value in arrays.items()}
    try:
        return SeparatorConfig(
            sample_rate_hz=sample_rate_hz,
            mixture_consistency=(
                "predicted" if "mix_weights/dense/kernel" in shapes else unpredicted_consistency
            ),
            **_basis_from_shapes(shapes, sample_rate_hz, window_seconds, hop_seconds),
            **_tdcn_from_shapes(shapes, num_dilations),
        )
    except KeyError as error:
        raise SepconError(f"no variable {error}: not a reference separator's weights") from None


def _basis_from_shapes(
    shapes: Mapping[str, tuple[int, ...]],
    sample_rate_hz: int,
    window_seconds: float | None,
    hop_seconds: float | None,
) -> dict:
    bins, _ = _matrix(shapes, "initial_dense/dense/kernel")
    learned = "conv_encoder/dense/kernel" in shapes
    if learned:
        window, _ = _matrix(shapes, "conv_encoder/dense/kernel")
    else:
        window = _stft_window(bins, sample_rate_hz, window_seconds)
    overlap = _LEARNED_OVERLAP if learned else _STFT_OVERLAP
    _, masks = _matrix(shapes, "dense/kernel")
    if masks % bins:
        raise SepconError(f"dense/kernel has {masks} columns, expected a multiple of {bins} bins")
    return {
        "basis": "learned" if learned else "stft",
        "window_seconds": window / sample_rate_hz,
        "hop_seconds": window / overlap / sample_rate_hz if hop_seconds is None else hop_seconds,
        "num_coefficients": bins,
        "num_sources": masks // bins,
    }


def _stft_window(bins: int, sample_rate_hz: int, window_seconds: float | None) -> int:
    """The window in samples; the reference's Fourier transform is the next power of two."""
    length = 2 * (bins - 1)
    window = length if window_seconds is None else round(window_seconds * sample_rate_hz)
    if length < 2 or length & (length - 1):
        raise SepconError(
            f"initial_dense/dense/kernel has {bins} rows, not the bins of a Fourier transform of "
            "2^n samples; separators of several microphones cannot be converted"
        )
    if not length < 2 * window <= 2 * length:
        raise SepconError(
            f"a window of {window_seconds} s at {sample_rate_hz} Hz has {window} samples, but the "
            f"checkpoint's {bins} bins are of {length // 2 + 1} to {length} samples"
        )
    return window


def _matrix(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, int]:
    if len(shapes[name]) != 2 or not all(shapes[name]):
        raise SepconError(f"reference variable {name}: got shape {shapes[name]}, expected a matrix")
    rows, columns = shapes[name]
    return rows, columns


def _tdcn_from_shapes(shapes: Mapping[str, tuple[int, ...]], num_dilations: int) -> dict:
    block = "improved_tdcn/conv_block_0/tdcn_block"
    bottleneck, conv_channels = _matrix(shapes, f"{block}/dense1/dense/kernel")
    blocks = {m.group(1) for name in shapes if (m := re.search(r"/conv_block_(\d+)/", name))}
    skips = [
        int(m.group(1)) for name in shapes if (m := re.search(r"/res_dense_0_to_(\d+)/", name))
    ]
    num_dilations = min(skips, default=num_dilations)
    if len(blocks) % num_dilations:
        raise SepconError(
            f"{len(blocks)} blocks do not make whole repeats of {num_dilations}: give num_dilations"
        )
    norms = {
        ours for ours, name in _NORM_NAMES.items() if f"{block}/normact1/{name}/gamma" in shapes
    }
    return {
        "bottleneck": bottleneck,
        "conv_channels": conv_channels,
        "num_repeats": len(blocks) // num_dilations,
        "num_dilations": num_dilations,
        "kernel_size": _kernel_size(shapes, block),
        "norm": norms.pop() if norms else "unknown",
        "block_scale": (
            "exponential" if f"{block}/dense2/dense_scale/scale_layer" in shapes else "none"
        ),
        "skip_residual": bool(skips),
    }


def _kernel_size(shapes: Mapping[str, tuple[int, ...]], block: str) -> int:
    name = f"{block}/timeconv/separable_conv/depthwise_kernel"
    if len(shapes[name]) != 4:
        raise SepconError(f"reference variable {name}: got shape {shapes[name]}, expected 4 axes")
    return shapes[name][0]


def _basis_variables(basis: StftBasis | LearnedBasis) -> dict[str, keras.Variable]:
    if isinstance(basis, StftBasis):
        return {"layer_norm_on_mag/gamma": basis.gain, "layer_norm_on_mag/beta": basis.bias}
    return {
        "conv_encoder/dense/kernel": basis.encoder,
        "conv_decoder/dense_1/kernel": basis.decoder,
    }


def _block_variables(block: TdcnBlock, scope: str, norm: str) -> dict[str, keras.Variable]:
    return {
        **_dense_variables(block.dense1, f"{scope}/dense1"),
        **_normact_variables(block.normact1, f"{scope}/normact1", norm),
        f"{scope}/timeconv/separable_conv/depthwise_kernel": block.timeconv.kernel,
        f"{scope}/timeconv/separable_conv/bias": block.timeconv.bias,
        **_normact_variables(block.normact2, f"{scope}/normact2", norm),
        **_dense_variables(block.dense2, f"{scope}/dense2"),
    }


def _normact_variables(layer: PReluNorm, scope: str, norm: str) -> dict[str, keras.Variable]:
    return {
        f"{scope}/prelu/prelu": layer.slope,
        f"{scope}/{norm}/gamma": layer.gain,
        f"{scope}/{norm}/beta": layer.bias,
    }


def _dense_variables(layer: ScaledDense, scope: str) -> dict[str, keras.Variable]:
    variables = {
        f"{scope}/dense/kernel": layer.kernel,
        f"{scope}/dense/bias": layer.bias,
        f"{scope}/dense_scale/scale_layer": layer.scale,
    }
    return {name: variable for name, variable in variables.items() if variable is not None}
