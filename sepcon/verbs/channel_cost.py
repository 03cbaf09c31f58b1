"""`sepcon channel_cost`: what separated channels cost, stored once or made in the training step."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import tensorflow as tf

from sepcon.data.clips import ClipDataset, to_float
from sepcon.errors import SepconError
from sepcon.models.separator.network import load_separator
from sepcon.reports.comparison import align
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.verbs import resuming

_BYTES_PER_SAMPLE = 2  # int16, see data/channels.py
_REPEATS = 3


@dataclasses.dataclass(frozen=True)
class ChannelCost:
    """Estimates.

    Attributes:
      stored_seconds: of separating every clip once by each state.
      stored_bytes: on disk.
      on_the_fly_seconds: of separating every batch of all runs.
    """

    stored_seconds: float
    stored_bytes: int
    on_the_fly_seconds: float


@claims_run_dir
def channel_cost(
    *,
    run_dir: str | Path,
    separator: str,
    clips: ClipDataset,
    batch_size: int = 64,
    num_steps: int = 500,
    num_runs: int = 1,
    num_stored: int = 1,
    config_text: str = "",
) -> ChannelCost:
    """Times the separator on a batch and estimates the cost of stored and of on-the-fly channels.

    Args:
      run_dir: receives the estimate.
      separator: run folder of `sepcon train_separator`; any of its states costs the same.
      clips: the clips that pretraining learns from, all of one length.
      batch_size: of pretraining.
      num_steps: of one pretraining.
      num_runs: pretrainings that would share the stored channels; one that learns from several
        states counts as several.
      num_stored: states, of this separator and of others like it, that would be stored for them.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The estimate.

    Raises:
      SepconError: no such separator, or the clips differ in length.
    """
    if clips.clip_samples is None:
        raise SepconError(
            f"{clips.name}: clips differ in length, their channels cannot be stored; use "
            "SEPARATORS, or take clips of one length"
        )
    if not resuming.begin("channel_cost", Path(run_dir), config_text=config_text):
        return ChannelCost(**run_folder.read_record(Path(run_dir))["estimate"])
    network = load_separator(separator)
    resuming.keep_configuration("channel_cost", Path(run_dir), config_text)
    timed = min(batch_size, clips.num_clips)
    mixture = next(iter(clips.build().batch(timed)))["audio"]
    estimate = cost(
        seconds_per_clip=_seconds(tf.function(network, autograph=False), to_float(mixture)) / timed,
        clip_samples=clips.clip_samples,
        num_channels=network.config.num_sources,
        num_clips=num_stored * clips.num_clips,
        clips_on_the_fly=num_runs * num_steps * batch_size,
    )
    print(
        f"channels of {clips.num_clips} clips for {num_runs} x {num_steps} steps, states of "
        f"separators: {num_stored}"
    )
    print(table(estimate))
    run_folder.finish(Path(run_dir), {"estimate": dataclasses.asdict(estimate)})
    return estimate


def cost(
    *,
    seconds_per_clip: float,
    clip_samples: int,
    num_channels: int,
    num_clips: int,
    clips_on_the_fly: int,
) -> ChannelCost:
    """Computes the estimate from the time that one clip takes.

    Args:
      seconds_per_clip: of separating one clip.
      clip_samples: length of every clip.
      num_channels: of the separator.
      num_clips: clips to separate for stored channels, over all states.
      clips_on_the_fly: clips to separate for channels made in the training step, over all runs.
    """
    return ChannelCost(
        stored_seconds=seconds_per_clip * num_clips,
        stored_bytes=_BYTES_PER_SAMPLE * clip_samples * num_channels * num_clips,
        on_the_fly_seconds=seconds_per_clip * clips_on_the_fly,
    )


def table(estimate: ChannelCost) -> str:
    """Returns the estimate as a table for the terminal."""
    return align(
        [
            ["channels", "separation, s", "disk, GB"],
            ["stored", f"{estimate.stored_seconds:.0f}", f"{estimate.stored_bytes / 1e9:.2f}"],
            ["on the fly", f"{estimate.on_the_fly_seconds:.0f}", "0.00"],
        ]
    )


def _seconds(separate: tf.types.experimental.GenericFunction, mixture: tf.Tensor) -> float:
    """The shortest of a few calls, after one that traces."""
    separate(mixture)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        separate(mixture).numpy()
        times.append(time.perf_counter() - start)
    return min(times)
