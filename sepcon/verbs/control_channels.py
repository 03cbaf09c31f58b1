"""`sepcon control_channels`: channels in place of separated ones, to see what separation adds."""

from __future__ import annotations

from pathlib import Path

from sepcon.data.channel_shards import ChannelWriter
from sepcon.data.channels import stored_channels
from sepcon.data.clips import ClipDataset, with_sources
from sepcon.errors import SepconError
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.progress import Progress
from sepcon.separation.control_kinds import KINDS, TRUE_SOURCES
from sepcon.separation.controls import random_masks, true_sources
from sepcon.separation.random_masks import RandomMasks
from sepcon.verbs import resuming


@claims_run_dir
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
    """Stores controls: channels that no separator made, in the same form as separated ones.

    Args:
      run_dir: receives the channels, as `sepcon separate` would write them.
      clips: the data set; all clips of one length.
      kind: 'true_sources', the sources that were mixed, which is perfect separation; or
        'random_masks', which split the mixture at random (see `RandomMasks`).
      reference: for random masks, stored channels of the same clips; the masked channels get the
        same number and, clip by clip, the same energies.
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
    if not resuming.begin("control_channels", folder, config_text=config_text):
        return folder
    if kind == TRUE_SOURCES:
        signature = with_sources(clips).element_spec["sources"]
        writer = _writer(folder, clips, signature.shape[0], TRUE_SOURCES, 0)
        channels = true_sources(clips, writer.num_done)
    else:
        stored = stored_channels(paths=[reference])
        writer = _writer(folder, clips, stored.num_channels, f"as loud as {reference}", seed)
        channels = random_masks(
            clips, reference, masks or RandomMasks(), seed, batch_size, writer.num_done
        )
    resuming.keep_configuration("control_channels", folder, config_text)
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
