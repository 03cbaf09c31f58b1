"""`sepcon control_channels`: channels that tell separation from what merely looks like it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sepcon import run_folder
from sepcon.data.channel_shards import ChannelWriter
from sepcon.data.channels import stored_channels
from sepcon.data.clips import ClipDataset, to_float, with_sources
from sepcon.errors import SepconError
from sepcon.progress import Progress
from sepcon.random_masks import RandomMasks

TRUE_SOURCES = "true_sources"
RANDOM_MASKS = "random_masks"
KINDS = (TRUE_SOURCES, RANDOM_MASKS)

# Ids and channels, [channel, samples] float32 or int16, clip by clip.
_Channels = Iterator[tuple[bytes, npt.NDArray]]


def control_channels(
    *,
    run_dir: str | Path,
    clips: ClipDataset,
    kind: str,
    reference: str = "",
    masks: RandomMasks | None = None,
    seed: int = 0,
    batch_size: int = 8,
    config_text: str = "",
) -> Path:
    """Stores channels that no separator made, in the place of a separator's.

    Args:
      run_dir: receives the channels, as `sepcon separate` would write them.
      clips: the data set; all clips of one length.
      kind: 'true_sources', the sources that were mixed (the end of separation), or 'random_masks',
        which split the mixture anyhow (see `RandomMasks`).
      reference: for random masks, stored channels of the same clips, whose number and energies
        they take over clip by clip.
      masks: how smooth the random masks are.
      seed: of the random masks.
      batch_size: clips at a time.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The run folder.

    Raises:
      SepconError: an unknown kind, clips without sources, no or other reference channels, or the
        folder cannot be written.
    """
    folder = Path(run_dir)
    if kind not in KINDS:
        raise SepconError(f"control_channels.kind is {kind!r}, expected one of {', '.join(KINDS)}")
    if not run_folder.begin(folder, config_text=config_text):
        return folder
    if kind == TRUE_SOURCES:
        signature = with_sources(clips).element_spec["sources"]
        writer = _writer(folder, clips, signature.shape[0], TRUE_SOURCES, 0)
        channels = _true_sources(clips, writer.num_done)
    else:
        stored = stored_channels(paths=[reference])
        writer = _writer(folder, clips, stored.num_channels, f"as loud as {reference}", seed)
        channels = _random_masks(
            clips, reference, masks or RandomMasks(), seed, batch_size, writer.num_done
        )
    description = f"{kind.replace('_', ' ')} of {clips.name}"
    done = writer.num_done
    with writer, Progress(clips.num_clips, description, unit="clip", initial=done) as progress:
        for identifier, each in channels:
            writer.write(identifier, each)
            progress.advance()
    run_folder.finish(folder, {"kind": kind, "clips": clips.num_clips})
    return folder


def _writer(
    folder: Path, clips: ClipDataset, num_channels: int, made_by: str, step: int
) -> ChannelWriter:
    return ChannelWriter(
        folder, clips=clips, num_channels=num_channels, checkpoint=made_by, step=step
    )


def _true_sources(clips: ClipDataset, start: int) -> _Channels:
    for element in with_sources(clips).skip(start):
        yield element["id"].numpy(), element["sources"].numpy()


def _random_masks(
    clips: ClipDataset,
    reference: str,
    masks: RandomMasks,
    seed: int,
    batch_size: int,
    start: int,
) -> _Channels:
    stored = stored_channels(paths=[reference])
    stored.check_clips(clips)
    split = tf.function(
        lambda mixture, energies, normals: masks(
            mixture=mixture, energies=energies, normals=normals
        ),
        autograph=False,
    )
    dataset = tf.data.Dataset.zip(tf.data.Dataset.range(clips.num_clips), clips.build())
    for positions, batch in dataset.skip(start).batch(batch_size):
        energies = [
            _energies(stored.read(position, identifier, tf.constant(0.0)))
            for position, identifier in zip(positions, batch["id"], strict=True)
        ]
        mixture = to_float(batch["audio"])
        shape = (
            stored.num_channels,
            masks.num_time_knots(mixture.shape[-1]),
            masks.num_frequency_knots,
        )
        normals = [
            np.random.default_rng([seed, int(position)]).standard_normal(shape, np.float32)
            for position in positions
        ]
        channels = split(mixture, tf.stack(energies), np.stack(normals)).numpy()
        yield from zip(batch["id"].numpy(), channels, strict=True)


def _energies(channels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(to_float(channels)), axis=-1)  # [channel]
