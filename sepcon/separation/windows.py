"""Separates recordings of any length in windows, whose channels are put into one order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Waveform = npt.NDArray[np.float32]


def separate_blocks(
    separate_window: Callable[[Waveform], Waveform],
    blocks: Iterable[Waveform],
    *,
    window_samples: int,
) -> Iterator[Waveform]:
    """Separates a recording block by block, in windows that overlap by half.

    A separator gives the channels of each window in any order. They are put into the order that
    agrees best with the window before, over the half window that both share, and cross-faded
    linearly. The two fades sum to one, so channels that sum to the mixture in every window do so in
    the whole recording. Only one window and its channels are in memory at a time.

    Args:
      separate_window: [samples] -> [channel, samples], all float32.
      blocks: the recording in parts of any length, [samples] float32 each.
      window_samples: samples of a window, at least 2; a recording that is no longer goes in one
        piece, and the last window of a longer one ends with it.

    Yields:
      The channels [channel, samples] float32 in parts that follow one another.
    """
    overlap = window_samples - window_samples // 2
    pending: Waveform | None = None  # [channel, overlap]: what the next window may still change.
    for window, num_new in _windows(blocks, window_samples):
        channels = separate_window(window)
        if pending is not None:
            channels = _joined(pending, channels[:, -num_new - pending.shape[1] :])
        yield channels[:, :-overlap]
        pending = channels[:, -overlap:]
    if pending is not None:
        yield pending


def _windows(blocks: Iterable[Waveform], num_samples: int) -> Iterator[tuple[Waveform, int]]:
    """Yields windows and how many samples at the end of each were in none before."""
    hop = num_samples // 2
    window, num_new = np.zeros(0, np.float32), 0
    for block in blocks:
        position = 0
        while position < len(block):
            # At first a whole window has to come together, afterwards a hop.
            wanted = num_samples - len(window) if len(window) < num_samples else hop - num_new
            part = block[position : position + wanted]
            window = np.concatenate([window, part])[-num_samples:]
            num_new, position = num_new + len(part), position + len(part)
            if len(part) == wanted:
                yield window, num_new
                num_new = 0
    if num_new:
        yield window, num_new


def _joined(before: Waveform, channels: Waveform) -> Waveform:
    """Fades from `before` into the first samples of `channels`, put into its order."""
    overlap = before.shape[1]
    order = best_order(reference=before, estimate=channels[:, :overlap])
    joined = channels[order]
    fade = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
    joined[:, :overlap] = before * (1.0 - fade) + joined[:, :overlap] * fade
    return joined


def best_order(*, reference: Waveform, estimate: Waveform) -> npt.NDArray[np.int64]:
    """Returns the permutation of the estimates with the least squared error to the references.

    Args:
      reference: [channel, samples].
      estimate: [channel, samples].

    Returns:
      [channel] int64: estimate[order] lies closest to the reference.
    """
    # The squared norms are the same for every order: only the inner products decide.
    return linear_sum_assignment(reference @ estimate.T, maximize=True)[1]
