"""A trained separator behind one call: recordings of any rate, channel count and length in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sepcon.audio.files import RATES_HZ
from sepcon.errors import SepconError
from sepcon.models.products.found_model import find_model
from sepcon.models.products.saved_model import load_serving_function
from sepcon.models.products.separation import SeparationModel, separator_fingerprint
from sepcon.models.products.waveform import LOUDEST
from sepcon.models.separator.network import chosen_step, load_separator
from sepcon.separation.any_rate import at_rate
from sepcon.separation.windows import separate_blocks

Waveform = npt.NDArray[np.float32]


class NotFiniteError(SepconError):
    """A recording holds values that are too large, or its channels are not finite."""


@dataclasses.dataclass(frozen=True)
class RecordingSeparator:
    """Separates recordings; made by `load_recording_separator`.

    Attributes:
      function: mixtures [batch, samples] float32 at `sample_rate_hz` -> a dict with 'sources'
        [batch, source, samples] float32.
      sample_rate_hz: the rate it was trained at; recordings of other rates are resampled there
        and back.
      num_sources: how many sources come out.
      step: the training step of its weights.
      fingerprint: changes when the numbers may change.
      window_seconds: longer recordings are separated in windows of this length.

    Raises:
      SepconError: the window is shorter than 0.1 s.
    """

    function: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    sample_rate_hz: int
    num_sources: int
    step: int
    fingerprint: str
    window_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not self.window_seconds >= 0.1:
            raise SepconError(
                f"window_seconds: got {self.window_seconds:g}, expected some seconds, such as 10"
            )

    def __call__(self, waveform: npt.NDArray[np.floating], *, sample_rate_hz: int) -> Waveform:
        """Separates a recording in memory.

        Args:
          waveform: [samples] or [samples, channels], float in [-1, 1]; channels are averaged, as
            the separator hears one.
          sample_rate_hz: of the waveform, and of what comes out.

        Returns:
          [source, samples] float32, which sum to the (averaged) waveform within rounding.

        Raises:
          ValueError: the waveform is no such array, empty, or holds what is not a number; or the
            rate is not one of sound.
          NotFiniteError: what comes out is not finite.
        """
        mixture = _mono(waveform)
        return np.concatenate(list(self.stream([mixture], sample_rate_hz=sample_rate_hz)), axis=1)

    def stream(self, blocks: Iterable[Waveform], *, sample_rate_hz: int) -> Iterator[Waveform]:
        """Separates a recording as it comes, in memory that does not grow with its length.

        Args:
          blocks: the recording in parts of any length, [samples] float32 each.
          sample_rate_hz: of the recording, and of what comes out.

        Yields:
          The sources in parts that follow one another, [source, samples] float32 each.

        Raises:
          ValueError: the rate is not one of sound.
          NotFiniteError: what comes out is not finite.
        """
        low, high = RATES_HZ
        if not low <= sample_rate_hz <= high:
            raise ValueError(f"sample_rate_hz: got {sample_rate_hz}, expected {low} to {high}")
        window_samples = round(self.window_seconds * sample_rate_hz)
        separate = at_rate(
            self._separate_window, model_rate_hz=self.sample_rate_hz, rate_hz=sample_rate_hz
        )
        return separate_blocks(separate, blocks, window_samples=window_samples)

    def separate_batch(self, mixtures: tf.Tensor) -> Waveform:
        """Separates clips of one length.

        Args:
          mixtures: [batch, samples] float32 at `sample_rate_hz`.

        Returns:
          [batch, source, samples] float32.
        """
        return self.function(mixtures)["sources"].numpy()

    def _separate_window(self, window: Waveform) -> Waveform:
        # Of one recording of many this is no error of the call, as it is for the graph.
        if not np.abs(window).max() <= LOUDEST:
            raise NotFiniteError(
                f"the recording is too loud (its peak is {np.abs(window).max():g}, expected about "
                f"1, at most {LOUDEST:g}); divide integers by full scale, those of 16 bits by 32768"
            )
        sources = self.separate_batch(tf.constant(window[np.newaxis]))[0]  # [source, samples]
        if not np.isfinite(sources).all():
            raise NotFiniteError(
                "the separated sources are not finite, though the recording is (its peak is "
                f"{np.abs(window).max():g}): the separator is broken"
            )
        return sources


def _mono(waveform: npt.NDArray[np.floating]) -> Waveform:
    array = np.asarray(waveform)
    if array.ndim not in (1, 2) or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            "waveform must be float in [-1, 1], [samples] or [samples, channels], at least one "
            f"sample, got {array.dtype.name} of shape {array.shape}; divide int16 by 32768."
        )
    if not np.isfinite(array).all():
        raise ValueError("waveform holds NaN or infinite samples; expected finite ones.")
    mono = array if array.ndim == 1 else array.mean(axis=1, dtype=np.float64)
    return mono.astype(np.float32)


def load_recording_separator(
    separator: str | Path, *, step: int | None = None, window_seconds: float = 10.0
) -> RecordingSeparator:
    """Opens a separator.

    Args:
      separator: a run folder of `sepcon train_separator`, or what `sepcon export` made of one
        (the SavedModel or the run folder it lies in).
      step: a state that the run keeps, the last one by default; an export has only one.
      window_seconds: longer recordings are separated in windows of this length, overlapping by
        half.

    Raises:
      SepconError: there is no separator, or it lacks the step.
    """
    found = find_model(separator, "separator", run_first=True)
    if found.card is not None:
        return _from_saved_model(found.folder, found.card, step, window_seconds)
    folder = found.folder
    network = load_separator(folder, step)
    return RecordingSeparator(
        SeparationModel(network),
        network.config.sample_rate_hz,
        network.config.num_sources,
        chosen_step(folder, step),
        separator_fingerprint(network),
        window_seconds,
    )


def _from_saved_model(
    folder: Path, card: Mapping[str, Any], step: int | None, window_seconds: float
) -> RecordingSeparator:
    if step not in (None, card["training_step"]):
        raise SepconError(
            f"{folder}: holds step {card['training_step']} alone, not {step}; give the run folder"
        )
    return RecordingSeparator(
        load_serving_function(folder),
        card["sample_rate_hz"],
        card["num_sources"],
        card["training_step"],
        card["fingerprint"],
        window_seconds,
    )
