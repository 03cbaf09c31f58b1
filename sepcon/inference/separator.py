"""A separator behind one call."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from sepcon.inference.waveform import mono
from sepcon.separation.recording_separator import RecordingSeparator


@dataclasses.dataclass(frozen=True, repr=False)
class Separator:
    """Splits recordings into channels; made by `sepcon.load`.

    Attributes:
      name: what it was loaded by.
      recordings: the separator for recordings of any rate and length.
      card: what is known of it: of packaged weights and exports their model card.
    """

    name: str
    recordings: RecordingSeparator
    card: dict[str, Any]

    @property
    def sample_rate_hz(self) -> int:
        """The rate it was trained at; recordings of other rates are resampled there and back."""
        return self.recordings.sample_rate_hz

    @property
    def num_channels(self) -> int:
        """How many channels come out."""
        return self.recordings.num_sources

    def __call__(self, waveform: Any, *, sample_rate_hz: int) -> npt.NDArray[np.float32]:
        """Separates a recording, or several of one length.

        Args:
          waveform: as `sepcon.inference.waveform.mono` takes it: array or tensor, float or integer;
            [samples], [samples, channels], [batch, samples] or [batch, samples, channels]. The
            channels of a recording are averaged, as a separator hears one.
          sample_rate_hz: of the waveform, and of what comes out.

        Returns:
          [channel, samples] or [batch, channel, samples] float32, which sum to the (averaged)
          waveform within rounding. More than ten seconds are separated in windows, whose channels
          are put in one order.

        Raises:
          SepconError: the waveform or its rate is nothing of the kind.
        """
        heard = mono(waveform, sample_rate_hz=sample_rate_hz)
        batch, samples = heard.waveform.shape
        channels = np.zeros([batch, self.num_channels, samples], np.float32)
        for row, recording in zip(channels, heard.waveform, strict=True):
            row[:] = self.recordings(recording, sample_rate_hz=sample_rate_hz)
        return heard.as_given(channels)

    def __repr__(self) -> str:
        return (
            f"Separator({self.name!r}): a waveform to {self.num_channels} channels, trained at "
            f"{self.sample_rate_hz} Hz, step {self.recordings.step}"
        )
