"""Digests that tell whether two models give the same numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import keras

from sepcon.models.encoder_files import EncoderConfig


class _CutsPatches(Protocol):
    @property
    def exact_hop_seconds(self) -> float: ...


def digest(*parts: str | bytes) -> str:
    """Hashes parts in a row, so that where one ends and the next begins counts too."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.hexdigest()


def hash_files(folder: Path) -> str:
    """Hashes the contents of all files below a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return digest(*(file.read_bytes() for file in files))


def encoder_fingerprint(config: EncoderConfig, encoder: keras.Model, module: _CutsPatches) -> str:
    """Computes a hash of everything that decides the embeddings of an encoder.

    Args:
      config: architecture, front-end and length of a patch.
      encoder: the weights.
      module: the exported model, which has the hop between patches.
    """
    weights = [variable.numpy().tobytes() for variable in encoder.variables]
    return digest(config.to_json(), repr(module.exact_hop_seconds), *weights)
