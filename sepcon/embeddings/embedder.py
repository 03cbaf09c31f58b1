"""The interface of everything that turns clips into embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from sepcon.errors import SepconError


class ClipEmbedder(Protocol):
    """Gives embeddings of clips: `Embedder` computes them, `EmbeddingFolder` looks them up."""

    @property
    def fingerprint(self) -> str:
        """A text that changes whenever the embeddings may change; it tells stores apart."""

    @property
    def sample_rate_hz(self) -> int | None:
        """The sample rate that waveforms must have; None where any will do."""

    def embed_clips(
        self, ids: Sequence[str], waveform: np.ndarray, *, patches: bool
    ) -> Sequence[np.ndarray]:
        """Embeds clips of equal length.

        Args:
          ids: of the clips.
          waveform: [batch, samples] float32 in [-1, 1].
          patches: whether a vector for each patch is asked for, or one for the clip.

        Returns:
          For each clip [rows, dim] float32, with one row unless `patches`.

        Raises:
          SepconError: it gives no such thing.
        """


@dataclass(frozen=True)
class Embedder:
    """A model that embeds clips by their sound.

    Attributes:
      fingerprint: changes when the numbers may change; embeddings on disk are kept by it.
      function: waveform [batch, samples] float32 in [-1, 1] -> embedding [batch, dim], or a dict
        that has it under 'embedding', and 'patch_embedding' [batch, patches, dim] if it has that.
      sample_rate_hz: the rate it must be fed with, None when unknown.
      patch_function: waveform -> [batch, patches, dim], where `function` does not give that.
    """

    fingerprint: str
    function: Callable[[tf.Tensor], Any]
    sample_rate_hz: int | None = None
    patch_function: Callable[[tf.Tensor], Any] | None = None

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Embeds a batch of clips of equal length.

        Args:
          waveform: [batch, samples] float32 in [-1, 1].

        Returns:
          [batch, dim] float32.

        Raises:
          SepconError: the model gives no such thing.
        """
        output = self.function(tf.constant(waveform, tf.float32))
        if isinstance(output, dict):
            if "embedding" not in output:
                raise SepconError(
                    f"the model {self.fingerprint} gives no 'embedding', only {sorted(output)}."
                )
            output = output["embedding"]
        return self._checked(output, len(waveform), ("dim",))

    def patches(self, waveform: np.ndarray) -> np.ndarray:
        """Embeds every patch; a model with one vector for a clip has one patch, the whole clip.

        Returns:
          [batch, patches, dim] float32.

        Raises:
          SepconError: the model gives no such thing.
        """
        function = self.patch_function or self.function
        output = function(tf.constant(waveform, tf.float32))
        if isinstance(output, dict):
            output = output.get("patch_embedding", output.get("embedding"))
        if np.ndim(output) == 2:
            output = np.asarray(output)[:, np.newaxis]
        return self._checked(output, len(waveform), ("patches", "dim"))

    def embed_clips(
        self, ids: Sequence[str], waveform: np.ndarray, *, patches: bool
    ) -> Sequence[np.ndarray]:
        """See `ClipEmbedder`."""
        del ids  # This one hears.
        return list(self.patches(waveform) if patches else self(waveform)[:, np.newaxis])

    def _checked(self, output: Any, batch: int, axes: tuple[str, ...]) -> np.ndarray:
        embedding = np.asarray(output, np.float32)
        if embedding.ndim != 1 + len(axes) or len(embedding) != batch or 0 in embedding.shape:
            raise SepconError(
                f"the model {self.fingerprint} gives an embedding of shape {embedding.shape} for "
                f"{batch} clips, expected [{', '.join([str(batch), *axes])}]."
            )
        return embedding
