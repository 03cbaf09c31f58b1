"""Taggers whose model is a file, of sound and of pictures."""

from __future__ import annotations

import abc
import dataclasses
import functools
from pathlib import Path
from typing import get_args

import numpy as np

from sepcon.audio.resampling import resampled
from sepcon.audio.samples import FULL_SCALE, SAMPLE_RATE_HZ
from sepcon.errors import SepconError
from sepcon.images.square import squeeze
from sepcon.importing.clip_source import Clip
from sepcon.taggers.model_files import Activation, activated, chosen_output, open_model
from sepcon.taggers.tagger import Sees, file_digest, read_class_names


@dataclasses.dataclass(frozen=True)
class _ModelTagger(abc.ABC):
    """What taggers of sound and of pictures have in common.

    Attributes:
      name: what the scores are called by.
      path: of the model: a SavedModel, or a file that ends in .tflite, .keras or .h5.
      classes: file with its classes, see `read_class_names`.
      output: name or number of the scores, where the model returns more with as many columns.
      activation: what turns the output into probabilities, where the model does not.
    """

    name: str
    path: str
    classes: str
    output: str | int | None = None
    activation: Activation = "none"

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise SepconError(
                f"tagger {self.name}: activation is {self.activation!r}, expected one of "
                f"{', '.join(get_args(Activation))}"
            )

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        return read_class_names(self.classes)

    @functools.cached_property
    def digest(self) -> str:
        return file_digest(Path(self.path).expanduser())

    def _output_rule(self) -> str:
        which = "" if self.output is None else f", output {self.output}"
        return f"{which}, {self.activation}" if self.activation != "none" else which

    def _called(self, batch: np.ndarray) -> np.ndarray:
        outputs = open_model(self.path, self.sees == "sound").call(batch)
        chosen = chosen_output(outputs, self.output, len(self.class_names), self.name)
        return activated(chosen, self.activation)

    @property
    @abc.abstractmethod
    def sees(self) -> Sees:
        """What of a clip it looks at."""


@dataclasses.dataclass(frozen=True)
class SoundTagger(_ModelTagger):
    """A model that says what is to be heard, such as YAMNet.

    It sees windows of a clip. The last one ends where the clip ends, so that nothing is padded with
    silence, which taggers have a class for, unless the whole clip is shorter than a window.

    Attributes:
      sample_rate_hz: what it wants to hear.
      window_seconds: of a window; None for what the model itself says (a TFLite or Keras file of
        one length), or for the clip as a whole (a SavedModel that cuts windows itself).
      hop_seconds: from one window to the next.
    """

    sample_rate_hz: int = SAMPLE_RATE_HZ
    window_seconds: float | None = None
    hop_seconds: float = 0.48

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hop_seconds <= 0 or (self.window_seconds or 1) <= 0:
            raise SepconError(
                f"tagger {self.name}: windows of {self.window_seconds} s every {self.hop_seconds} "
                "s, expected more than 0"
            )

    @property
    def sees(self) -> Sees:
        return "sound"

    @functools.cached_property
    def rule(self) -> str:
        window = self._window_samples
        cut = (
            "the whole clip"
            if window is None
            else f"windows of {window} samples every {self.hop_seconds:g} s, the last at the end"
        )
        return f"{cut}, {self.sample_rate_hz} Hz{self._output_rule()}"

    @property
    def _window_samples(self) -> int | None:
        if self.window_seconds is not None:
            return round(self.window_seconds * self.sample_rate_hz)
        shape = open_model(self.path, True).input_shape
        return shape[-1] if len(shape) == 1 else None

    def scores(self, clip: Clip) -> np.ndarray:
        """See `Tagger`."""
        waveform = clip.audio.astype(np.float32) / FULL_SCALE
        waveform = resampled(waveform, rate_hz=SAMPLE_RATE_HZ, wanted_hz=self.sample_rate_hz)
        window = self._window_samples
        if window is None:
            return self._called(waveform[np.newaxis])
        hop = max(1, round(self.hop_seconds * self.sample_rate_hz))
        return self._called(cut_windows(waveform, window, hop))


def cut_windows(waveform: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Cuts a waveform into windows, the last of which ends where it ends.

    Args:
      waveform: [samples], followed by zeros if it is shorter than a window.
      window: samples of a window.
      hop: samples from one to the next.

    Returns:
      [windows, window].
    """
    waveform = np.pad(waveform, (0, max(0, window - len(waveform))))
    last = len(waveform) - window
    starts = [*range(0, last, hop), last]
    return np.stack([waveform[start : start + window] for start in starts])


@dataclasses.dataclass(frozen=True)
class PictureTagger(_ModelTagger):
    """A model that says what is to be seen in each picture.

    A picture is squeezed to a square as a whole: what stands at its sides is seen too.

    Attributes:
      side: of the square in pixels.
      offset: what is taken off each value from 0 to 255.
      scale: what it is divided by then.
    """

    side: int = 224
    offset: float = 127.0
    scale: float = 128.0

    @property
    def sees(self) -> Sees:
        return "pictures"

    @functools.cached_property
    def rule(self) -> str:
        return (
            f"squares of {self.side} pixels, (value - {self.offset:g}) / {self.scale:g}"
            f"{self._output_rule()}"
        )

    def scores(self, clip: Clip) -> np.ndarray:
        """See `Tagger`."""
        assert clip.pictures is not None
        squares = np.stack([squeeze(picture, self.side) for picture in clip.pictures])
        return self._called((squares.astype(np.float32) - self.offset) / self.scale)
