"""`sepcon separate`: recordings, or every clip of a data set, are split into channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sepcon.audio.encode import Format
from sepcon.data.clips import ClipDataset
from sepcon.errors import SepconError
from sepcon.models.packaged import default_weights, tell_weights
from sepcon.runs import run_folder
from sepcon.runs.beam import Runner
from sepcon.runs.claim import claims_run_dir
from sepcon.separation.page import report_separated
from sepcon.separation.recording_separator import load_recording_separator
from sepcon.separation.separate_dataset import separate_dataset
from sepcon.separation.separate_files import separate_files
from sepcon.verbs import resuming


@claims_run_dir
def separate(
    *,
    run_dir: str | Path,
    separator: str | Path | None = None,
    step: int | None = None,
    files: Sequence[str | Path] = (),
    format: Format = "same",
    window_seconds: float = 10.0,
    clips: ClipDataset | None = None,
    batch_size: int = 8,
    shard_clips: int = 256,
    runner: Runner = "local",
    pipeline_options: Sequence[str] = (),
    config_text: str = "",
) -> Path:
    """Separates recordings into audio files, or a data set into stored channels for pretraining.

    Args:
      run_dir: receives a folder of channels for each file and separated.json (see
        `separate_files`), and report.html; or the stored channels of the data set.
      separator: run folder of `sepcon train_separator`, what `sepcon export` made of one, or a name
        of packaged weights; for files that is the default.
      step: which state of a run; the last by default.
      files: recordings, or folders of them; given, the data set is left alone.
      format: of the files: "wav", "flac", or "same": WAV for WAV and FLAC for all others.
      window_seconds: long recordings are separated in windows of this length.
      clips: the data set; all clips of one length.
      batch_size: clips of the data set at a time.
      shard_clips: clips of the data set in a file; a kill loses at most so many.
      runner: where the data set is separated: "local", or "beam" for an Apache Beam pipeline.
      pipeline_options: Beam's own, such as `--runner=FlinkRunner`.
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
        separator = separator or default_weights("separator")
        tell_weights(separator)
        opened = load_recording_separator(separator, step=step, window_seconds=window_seconds)
        separated = separate_files(files, out=folder, separator=opened, format=format)
        report_separated(separated.root, separated.listed)
    elif separator is None:
        raise SepconError("separator: is missing; give the run folder of train_separator")
    elif clips is not None and resuming.begin("separate", folder, config_text=config_text):
        separate_dataset(
            folder=folder,
            clips=clips,
            separator=separator,
            step=step,
            batch_size=batch_size,
            shard_clips=shard_clips,
            runner=runner,
            pipeline_options=pipeline_options,
            on_start=lambda: resuming.keep_configuration("separate", folder, config_text),
        )
        run_folder.finish(folder, {"separated": clips.num_clips})
    return folder
