"""`sepcon separate`: recordings, or every clip of a data set, are split into channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sepcon import run_folder
from sepcon.data.channels import ChannelWriter
from sepcon.data.clips import ClipDataset, to_float
from sepcon.data.encode import Format
from sepcon.errors import SepconError
from sepcon.progress import Progress
from sepcon.recording_separator import RecordingSeparator, load_recording_separator
from sepcon.separate_files import separate_files


def separate(
    *,
    run_dir: str | Path,
    checkpoint: str | Path,
    step: int | None = None,
    files: Sequence[str | Path] = (),
    format: Format = "same",
    window_seconds: float = 10.0,
    clips: ClipDataset | None = None,
    batch_size: int = 8,
    config_text: str = "",
) -> Path:
    """Separates recordings into audio files, or a data set into stored channels for pretraining.

    Args:
      run_dir: receives a folder of channels for each file, report.html and separated.json (see
        `separate_files`), or the stored channels of the data set.
      checkpoint: run folder of `sepcon train_separator`, or what `sepcon export` made of one.
      step: which state of a run; the last by default.
      files: recordings, or folders of them; given, the data set is left alone.
      format: of the files: "wav", "flac", or "same": WAV for WAV and FLAC for all others.
      window_seconds: long recordings are separated in windows of this length.
      clips: the data set; all clips of one length.
      batch_size: clips of the data set at a time.
      config_text: the resolved configuration, kept beside stored channels.

    Returns:
      The run folder.

    Raises:
      SepconError: no such separator or state, nothing to separate, not one file could be
        separated, or the folder cannot be written.
    """
    folder = Path(run_dir)
    if not files and clips is None:
        raise SepconError("nothing to separate: give files or folders, or bind separate.clips")
    if files:
        separator = load_recording_separator(checkpoint, step=step, window_seconds=window_seconds)
        separate_files(files, out=folder, separator=separator, format=format)
    elif clips is not None and run_folder.begin(folder, config_text=config_text):
        separator = load_recording_separator(checkpoint, step=step)
        _store(separator, clips, folder, batch_size, str(checkpoint))
        run_folder.finish(folder, {"separated": clips.num_clips})
    return folder


def _store(
    separator: RecordingSeparator,
    clips: ClipDataset,
    folder: Path,
    batch_size: int,
    checkpoint: str,
) -> None:
    """Stores the channels of every clip in order; goes on after the last finished shard."""
    writer = ChannelWriter(
        folder,
        clips=clips,
        num_channels=separator.num_sources,
        checkpoint=checkpoint,
        step=separator.step,
    )
    description = f"separate {clips.name}"
    with (
        writer,
        Progress(clips.num_clips, description, unit="clip", initial=writer.num_done) as progress,
    ):
        for batch in clips.build().skip(writer.num_done).batch(batch_size):
            channels = separator.separate_batch(to_float(batch["audio"]))
            for identifier, each in zip(batch["id"].numpy(), channels, strict=True):
                writer.write(identifier, each)
            progress.advance(len(channels))
