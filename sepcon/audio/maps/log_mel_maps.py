"""Log-mel maps of several window lengths side by side, which a network for images sees as colours.

After Palanisamy et al., 2020 ("Rethinking CNN Models for Audio Classification"), whose front-end is
that of Shin et al., 2021: windows of 25, 50 and 100 ms become the red, green and blue of an image.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.audio.samples import SAMPLE_RATE_HZ

_WINDOWS = (0.025, 0.05, 0.1)


@dataclass(frozen=True)
class LogMelMaps:
    """Several log-mels of one hop with windows of different length, centred on the same instants.

    Their bands lie one after the other on the mel axis, so that whatever takes a log-mel takes
    these; an encoder tells them apart by `num_maps`. See `LogMel` for what a map is.

    Attributes:
      sample_rate_hz: samples per second of the waveforms.
      window_lengths_seconds: length of a frame of each map, the longest last.
      hop_seconds: distance of two frames of every map.
      mels_per_map: mel bands of each map.
      min_hz: lower edge of the lowest band.
      max_hz: upper edge of the highest band, at most half the sample rate.
      floor: added to the mel power before the logarithm, above 0.
    """

    sample_rate_hz: int = SAMPLE_RATE_HZ
    window_lengths_seconds: Sequence[float] = _WINDOWS
    hop_seconds: float = 0.02
    mels_per_map: int = 128
    min_hz: float = 0.0
    max_hz: float = 8000.0
    floor: float = 1e-6

    # Patches of it can be cut out of the log-mel of a whole recording.
    of_patches = False

    def __post_init__(self) -> None:
        windows = tuple(self.window_lengths_seconds)
        object.__setattr__(self, "window_lengths_seconds", windows)
        if not windows or list(windows) != sorted(windows):
            raise ValueError(
                f"window_lengths_seconds={windows} must name at least one length, the longest last"
            )
        _ = self._maps  # Each checks what it is made of.

    @functools.cached_property
    def _maps(self) -> tuple[LogMel, ...]:
        return tuple(
            LogMel(
                sample_rate_hz=self.sample_rate_hz,
                window_seconds=window,
                hop_seconds=self.hop_seconds,
                num_mels=self.mels_per_map,
                min_hz=self.min_hz,
                max_hz=self.max_hz,
                floor=self.floor,
            )
            for window in self.window_lengths_seconds
        )

    @property
    def num_maps(self) -> int:
        return len(self.window_lengths_seconds)

    @property
    def num_mels(self) -> int:
        """Bands of all maps together."""
        return self.num_maps * self.mels_per_map

    @property
    def window_samples(self) -> int:
        """Of the longest window, which all others lie in the middle of."""
        return self._maps[-1].window_samples

    @property
    def hop_samples(self) -> int:
        return self._maps[-1].hop_samples

    def num_frames(self, samples: int) -> int:
        """Returns how many whole frames fit into `samples` samples."""
        return self._maps[-1].num_frames(samples)

    def num_samples(self, frames: int) -> int:
        """Returns the smallest number of samples that holds `frames` frames."""
        return self._maps[-1].num_samples(frames)

    def __call__(self, waveform: tf.Tensor) -> tf.Tensor:
        """Waveform [..., samples] float32 to [..., frames, mels] float32."""
        return self.log_power(waveform)

    def scale(self, log_power: tf.Tensor) -> tf.Tensor:
        """Returns patches [..., frames, mels] as they are: encoders are given the logarithm."""
        return log_power

    def log_power(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes all maps of waveforms of any length.

        Args:
          waveform: [..., samples] float32, full scale 1.

        Returns:
          [..., frames, mels] float32, the bands of the first map first.
        """
        maps = []
        for each in self._maps:
            margin = self.window_samples - each.window_samples
            before = margin // 2
            end = tf.shape(waveform)[-1] if waveform.shape[-1] is None else waveform.shape[-1]
            maps.append(each.log_power(waveform[..., before : end - (margin - before)]))
        return tf.concat(maps, axis=-1)


@dataclass(frozen=True)
class ResizedLogMelMaps:
    """The maps as Palanisamy et al. have them: each with a hop of its own, resized to one width.

    Columns are averaged or interpolated by triangles, as Pillow's bilinear filter does. The result
    depends on where a patch begins and ends, so that it is computed of patches, not cut out of the
    log-mel of a recording. `LogMelMaps` with one hop needs none of that.

    Attributes:
      sample_rate_hz: samples per second of the waveforms.
      window_lengths_seconds: length of a frame of each map, the longest last.
      hops_seconds: distance of two frames of each map.
      mels_per_map: mel bands of each map.
      num_columns: frames of each map after resizing.
      min_hz: lower edge of the lowest band.
      max_hz: upper edge of the highest band, at most half the sample rate.
      floor: added to the mel power before the logarithm, above 0.
    """

    sample_rate_hz: int = SAMPLE_RATE_HZ
    window_lengths_seconds: Sequence[float] = _WINDOWS
    hops_seconds: Sequence[float] = (0.01, 0.025, 0.05)
    mels_per_map: int = 128
    num_columns: int = 250
    min_hz: float = 0.0
    max_hz: float = 8000.0
    floor: float = 1e-6

    of_patches = True

    def __post_init__(self) -> None:
        for name in ("window_lengths_seconds", "hops_seconds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.window_lengths_seconds) != len(self.hops_seconds):
            raise ValueError(
                f"window_lengths_seconds={self.window_lengths_seconds} and "
                f"hops_seconds={self.hops_seconds} must be as many"
            )
        if self.num_columns < 1:
            raise ValueError(f"num_columns must be at least 1, got {self.num_columns}")
        _ = self._maps

    @functools.cached_property
    def _maps(self) -> tuple[LogMel, ...]:
        one_hop = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(LogMelMaps)
            if hasattr(self, field.name)
        }
        whole = LogMelMaps(**one_hop)._maps
        return tuple(
            dataclasses.replace(each, hop_seconds=hop)
            for each, hop in zip(whole, self.hops_seconds, strict=True)
        )

    @property
    def num_maps(self) -> int:
        return len(self.window_lengths_seconds)

    @property
    def num_mels(self) -> int:
        """Bands of all maps together."""
        return self.num_maps * self.mels_per_map

    @property
    def window_samples(self) -> int:
        """Of the longest window: no patch can be shorter."""
        return self._maps[-1].window_samples

    @property
    def hop_samples(self) -> int:
        """The shortest hop: patches of a recording begin at multiples of it."""
        return min(each.hop_samples for each in self._maps)

    def num_frames(self, samples: int) -> int:
        """Returns the columns, whatever the length of a patch that holds a window."""
        return self.num_columns if samples >= self.window_samples else 0

    def num_samples(self, frames: int) -> int:
        """Returns the samples of a window, the shortest patch: it has all columns."""
        return self.window_samples if frames > 0 else 0

    def __call__(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes and resizes all maps of patches of a known length.

        Args:
          waveform: [..., samples] float32, full scale 1.

        Returns:
          [..., columns, mels] float32, the bands of the first map first.
        """
        maps = []
        for each in self._maps:
            log_mel = each.log_power(waveform)
            resize = triangle_matrix(log_mel.shape[-2], self.num_columns)
            maps.append(tf.einsum("...fm,cf->...cm", log_mel, resize))
        return tf.concat(maps, axis=-1)

    def scale(self, log_power: tf.Tensor) -> tf.Tensor:
        """Returns patches [..., columns, mels] as they are."""
        return log_power


@functools.lru_cache(maxsize=16)
def triangle_matrix(old: int, new: int) -> np.ndarray:
    """What a row of `old` values is multiplied by to be resized to `new` by triangles.

    Each is as wide as the distance of two old values, or of two new ones where that is more.

    Returns:
      [new, old] float32; each row sums to 1.
    """
    step = old / new
    centre = (np.arange(new) + 0.5) * step
    distance = np.abs(np.arange(old) + 0.5 - centre[:, np.newaxis]) / max(step, 1.0)
    weight = np.maximum(0.0, 1.0 - distance)
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


FrontEnd = LogMel | LogMelMaps | ResizedLogMelMaps


def read_front_end(fields: Mapping[str, Any]) -> FrontEnd:
    """Returns the front-end whose fields stand in a model.json: which it is, their names tell."""
    if "hops_seconds" in fields:
        return ResizedLogMelMaps(**fields)
    return LogMelMaps(**fields) if "window_lengths_seconds" in fields else LogMel(**fields)
