"""Other people's models: any SavedModel, any Python function, any module of the HEAR interface.

Each becomes an `Embedder`. What they take, [samples] or [batch, samples], and what they return, one
array, several, or arrays by name, for the clip or for each of its patches, is found out here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.embeddings.embedder import Embedder
from sepcon.errors import SepconError
from sepcon.models.fingerprint import digest, hash_files
from sepcon.models.products.saved_model import find_saved_model, load_callable
from sepcon.models.python_code import function_named, import_code, text_of, told_by_name

Output = str | int | None
# Tried in this order where a model returns arrays by name and nobody says which.
_USUAL_NAMES = ("embedding", "embeddings")


def saved_model(
    *,
    path: str | Path,
    sample_rate_hz: int | None = None,
    output: Output = None,
    signature: str | None = None,
) -> Embedder:
    """Opens a TensorFlow SavedModel that maps waveform to vectors, such as YAMNet.

    It may take [samples] or [batch, samples] float32 in [-1, 1]. What it returns may be for the
    clip, [dim] or [batch, dim], or for each patch, [patches, dim] or [batch, patches, dim]; the
    embedding of a clip is then the mean.

    Args:
      path: its folder.
      sample_rate_hz: what it wants to hear; None takes the clips as they are.
      output: which of several outputs: a name or, of a tuple, a number (YAMNet: 1).
      signature: name of the signature; None takes the object itself where that can be called, else
        'serving_default'.

    Raises:
      SepconError: it cannot be read, or has more than one input.
    """
    folder = find_saved_model(path)
    if folder is None:
        raise SepconError(f"{path} is no SavedModel: it has no saved_model.pb; check the path")
    call, takes_batches = load_callable(folder, signature)
    fingerprint = hash_files(folder)
    if output is not None or signature is not None:
        fingerprint = digest(fingerprint, repr((output, signature)))
    function = _Adapter(str(path), call, output, takes_batches)
    return Embedder(fingerprint, function, sample_rate_hz)


def python_function(
    *, name: str, sample_rate_hz: int | None = None, output: Output = None
) -> Embedder:
    """Takes a Python function: waveform [batch, samples] float32 numpy array -> vectors.

    It is known by its name and the text of its module. When something else changes its numbers,
    such as weights that it reads, another run_dir has to be taken.

    Args:
      name: 'module:function' or 'path/to/file.py:function'.
      sample_rate_hz: what it wants to hear; None takes the clips as they are.
      output: which of several outputs, as in `saved_model`.

    Raises:
      SepconError: there is no such function.
    """
    function, attribute, text = function_named(name)

    def call(waveform: tf.Tensor) -> Any:
        return function(waveform.numpy())

    fingerprint = digest("python_function", attribute, repr(output), text)
    return Embedder(fingerprint, _Adapter(name, call, output, takes_batches=True), sample_rate_hz)


def hear_module(*, module: str, weights: str = "") -> Embedder:
    """Takes a module of the HEAR benchmark's common interface, in TensorFlow or PyTorch.

    It has `load_model(model_file_path)`, whose result knows its `sample_rate`, and
    `get_scene_embeddings(audio, model)`, [sounds, samples] -> [sounds, dim];
    `get_timestamp_embeddings(audio, model)` gives the patches.

    Args:
      module: name of the module, or path of its file.
      weights: file given to `load_model`; '' where the module needs none.

    Raises:
      SepconError: it has no such functions, or cannot load its model.
    """
    hear = import_code(module)
    for name in ("load_model", "get_scene_embeddings"):
        if not callable(getattr(hear, name, None)):
            raise SepconError(f"{module} is no HEAR module: it has no function {name!r}")
    model = told_by_name(lambda: hear.load_model(weights) if weights else hear.load_model(), module)
    is_torch = any(base.__module__.split(".")[0] == "torch" for base in type(model).__mro__)

    def scenes(waveform: tf.Tensor) -> Any:
        return _numpy(hear.get_scene_embeddings(_audio(waveform, is_torch), model))

    def timestamps(waveform: tf.Tensor) -> Any:
        return _numpy(hear.get_timestamp_embeddings(_audio(waveform, is_torch), model)[0])

    read = Path(weights).read_bytes() if weights and Path(weights).is_file() else weights
    has_patches = callable(getattr(hear, "get_timestamp_embeddings", None))
    return Embedder(
        digest("hear_module", text_of(hear), read),
        _Adapter(module, scenes, None, takes_batches=True),
        int(model.sample_rate),
        _Adapter(module, timestamps, None, takes_batches=True) if has_patches else None,
    )


class _Adapter:
    """Calls a model in its own way and returns 'embedding' and, where there is, 'patch_embedding'.

    Args:
      name: of the model, for messages.
      call: waveform tensor, [batch, samples] or [samples], -> whatever it returns.
      output: which of several outputs.
      takes_batches: whether it takes [batch, samples].
    """

    def __init__(
        self, name: str, call: Callable[[tf.Tensor], Any], output: Output, takes_batches: bool
    ) -> None:
        self._name, self._call, self._output = name, call, output
        self._takes_batches = takes_batches

    def __call__(self, waveform: tf.Tensor) -> dict[str, np.ndarray]:
        if self._takes_batches:
            embedding = self._chosen(waveform)
        else:
            embedding = np.stack([self._chosen(clip) for clip in waveform])
        if embedding.ndim == 3:
            return {"embedding": embedding.mean(axis=1), "patch_embedding": embedding}
        return {"embedding": embedding}

    def _chosen(self, waveform: tf.Tensor) -> np.ndarray:
        output = told_by_name(lambda: self._call(waveform), self._name)
        return np.asarray(_numpy(_choose(output, self._output, self._name)), np.float32)


def _choose(output: Any, which: Output, name: str) -> Any:
    """Takes one of the outputs of a model."""
    if isinstance(output, Mapping):
        names = list(output)
        usual = [each for each in _USUAL_NAMES if each in output] or names
        if which is None and (len(names) == 1 or usual is not names):
            which = usual[0]
    elif isinstance(output, Sequence):
        names = list(range(len(output)))
        which = 0 if which is None and len(names) == 1 else which
    else:
        return output
    if which not in names:
        shapes = {each: tuple(np.shape(output[each])) for each in names}
        raise SepconError(
            f"{name} gives {len(names)} outputs of these shapes: {shapes}; say which is the "
            f"embedding by `output`, one of {names}, got {which!r}"
        )
    return output[which]


def _audio(waveform: tf.Tensor, is_torch: bool) -> Any:
    if not is_torch:
        return waveform
    return importlib.import_module("torch").from_numpy(waveform.numpy())


def _numpy(value: Any) -> Any:
    """Returns a tensor of PyTorch, wherever it is, as an array; anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
