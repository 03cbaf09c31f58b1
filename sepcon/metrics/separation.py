"""Metrics of source separation, on float64 numpy arrays.

The scale-invariant signal-to-noise ratio (SI-SNR) is that of Le Roux et al., "SDR - half-baked or
well done?" (2019), equation 5, bounded at -80 and 80 dB as the reference code of MixIT does. The
mean is not removed unless asked for.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize

# Added to the shares of signal and noise in the estimate, both of which are within 0..1.
_SHARE_FLOOR = 1e-8

# Assignments of channels to references that `channel_groups` compares: 8 channels, 4 references.
MAX_ASSIGNMENTS = 65_536

Matching = Literal["single_channels", "channel_groups"]


@dataclass(frozen=True)
class SeparationScores:
    """How well each active reference of one scene was recovered."""

    si_snr_db: np.ndarray  # [active]
    improvement_db: np.ndarray  # [active], over the mixture as the estimate
    active: np.ndarray  # [active] int, the rows of the references that are not silent
    channel_to_reference: np.ndarray  # [channels] int, row of the reference, -1 for none


def si_snr(*, reference: np.ndarray, estimate: np.ndarray, zero_mean: bool = False) -> np.ndarray:
    """Scale-invariant signal-to-noise ratio.

    Args:
        reference: [..., samples] float.
        estimate: [..., samples] float, broadcast against `reference`.
        zero_mean: remove both means first, as some toolkits do; it matters only where a
            recording has an offset.

    Returns:
        [...] float64 in dB, between -80 and 80; -80 where either is silent.
    """
    reference, estimate = _prepare(reference, zero_mean), _prepare(estimate, zero_mean)
    unit, direction = _unit(estimate), _unit(reference)
    cosine = np.sum(direction * unit, axis=-1)
    # The part of the reference outside of the estimate: as large as the part of the estimate
    # outside of the reference, but 1 and not 0 for a silent estimate.
    noise = np.sum(np.square(direction - cosine[..., np.newaxis] * unit), axis=-1)
    silent = (direction == 0).all(axis=-1)
    return _share_db(np.square(cosine), np.where(silent, 1.0, noise))


def si_snr_improvement(
    *,
    reference: np.ndarray,
    estimate: np.ndarray,
    mixture: np.ndarray | None = None,
    matching: Matching = "single_channels",
    zero_mean: bool = False,
) -> SeparationScores:
    """SI-SNR of the best matching of channels to active references, and its gain.

    Both matchings maximise the mean SI-SNR. "single_channels" gives each reference one channel
    and leaves the other channels out. "channel_groups" gives each channel to exactly one
    reference, whose estimate is the sum of its channels: a source that was split over several
    channels scores low on the first and may score high on this one.

    Args:
        reference: [references, samples] float; silent ones (all zero) are left out.
        estimate: [channels, samples] float, the separated channels.
        mixture: [samples] float; None for the sum of the references.
        matching: how channels are matched to references.
        zero_mean: remove all means first.

    Returns:
        The scores of the active references. With a single one, the mixture is already perfect
        and `si_snr_db` is the figure to look at.

    Raises:
        ValueError: if shapes do not fit, all references are silent, there are fewer channels than
            active references, or more than 65,536 groupings.
    """
    reference, estimate = np.asarray(reference, float), np.asarray(estimate, float)
    if reference.ndim != 2 or estimate.ndim != 2 or reference.shape[1] != estimate.shape[1]:
        raise ValueError(
            "reference and estimate must be [references, samples] and [channels, samples], got "
            f"{reference.shape} and {estimate.shape}"
        )
    mixture = reference.sum(axis=0) if mixture is None else mixture
    active = np.flatnonzero(np.any(reference, axis=1))
    if not 0 < len(active) <= len(estimate):
        raise ValueError(
            f"reference has {len(active)} rows that are not silent, expected 1 to "
            f"{len(estimate)}, the number of channels of estimate"
        )
    reference = _prepare(reference[active], zero_mean)
    estimate, mixture = _prepare(estimate, zero_mean), _prepare(mixture, zero_mean)
    match = {"single_channels": _match_channels, "channel_groups": _match_groups}[matching]
    place = match(reference, estimate)  # [channels] int, among the active references
    matched = np.stack([estimate[place == k].sum(axis=0) for k in range(len(active))])
    scores = si_snr(reference=reference, estimate=matched)
    return SeparationScores(
        si_snr_db=scores,
        improvement_db=scores - si_snr(reference=reference, estimate=mixture),
        active=active,
        channel_to_reference=np.where(place < 0, -1, active[place]),
    )


def active_channels(
    *, reference: np.ndarray, estimate: np.ndarray, threshold_db: float = 20.0
) -> np.ndarray:
    """Tells which channels are more than a remainder.

    A channel is active if its mean power is above that of the quietest active reference less
    `threshold_db`. A scene with fewer active channels than active references is under-separated,
    one with more over-separated. This is how the evaluation that was published with FUSS counts
    (Wisdom et al., "What's all the FUSS about free universal sound separation data?", 2021), with
    20 dB.

    Args:
        reference: [references, samples] float; silent ones (all zero) are left out.
        estimate: [channels, samples] float.
        threshold_db: how far below the quietest reference a channel may be, in dB.

    Returns:
        [channels] bool.

    Raises:
        ValueError: if all references are silent.
    """
    power = np.mean(np.square(np.asarray(reference, np.float64)), axis=-1)
    if not power.any():
        raise ValueError("reference has no row that is not silent, expected at least one")
    floor = power[power > 0].min() * 10 ** (-threshold_db / 10)
    return np.mean(np.square(np.asarray(estimate, np.float64)), axis=-1) > floor


def _match_channels(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Returns each channel's reference, -1 for none, one channel for every reference."""
    scores = np.stack([si_snr(reference=row, estimate=estimate) for row in reference])
    rows, channels = optimize.linear_sum_assignment(scores, maximize=True)
    place = np.full(len(estimate), -1)
    place[channels] = rows
    return place


def _match_groups(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Returns each channel's reference under the best grouping of all channels."""
    num_references, num_channels = len(reference), len(estimate)
    if num_references**num_channels > MAX_ASSIGNMENTS:
        raise ValueError(
            f"{num_references}^{num_channels} groupings of {num_channels} channels for "
            f"{num_references} references, at most {MAX_ASSIGNMENTS} can be compared"
        )
    # A group of channels is a number whose bit m says that channel m belongs to it.
    bits = 1 << np.arange(num_channels)
    member = (np.arange(2**num_channels)[:, np.newaxis] & bits) > 0  # [group, channel]
    cross = member @ (estimate @ reference.T)  # [group, reference]
    energy = np.sum((member @ (estimate @ estimate.T)) * member, axis=1, keepdims=True)
    norms = energy * np.sum(np.square(reference), axis=1)
    share = np.divide(np.square(cross), norms, out=np.zeros_like(cross), where=norms > 0)
    score = _share_db(share, np.maximum(1 - share, 0))  # [group, reference]
    place_values = num_references ** np.arange(num_channels)
    numbers = np.arange(num_references**num_channels)[:, np.newaxis]
    places = numbers // place_values % num_references  # [assignment, channel]
    total = sum(score[(places == k) @ bits, k] for k in range(num_references))
    return places[np.argmax(total)]


def _prepare(waveform: np.ndarray, zero_mean: bool) -> np.ndarray:
    """Returns the waveform in float64, without its mean if asked for."""
    waveform = np.asarray(waveform, np.float64)
    return waveform - waveform.mean(axis=-1, keepdims=True) if zero_mean else waveform


def _unit(waveform: np.ndarray) -> np.ndarray:
    """Returns the waveform scaled to energy one, zero if it is silent."""
    norm = np.linalg.norm(waveform, axis=-1, keepdims=True)
    return np.divide(waveform, norm, out=np.zeros_like(waveform), where=norm > 0)


def _share_db(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return 10 * np.log10((signal + _SHARE_FLOOR) / (noise + _SHARE_FLOOR))
