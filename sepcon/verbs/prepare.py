"""`sepcon prepare`: decodes recordings and mixes scenes before other verbs need them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sepcon.data.clips import ClipDataset
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.verbs import resuming


@claims_run_dir
def prepare(
    *, run_dir: str | Path, clips: Sequence[ClipDataset], config_text: str = ""
) -> Sequence[ClipDataset]:
    """Prints what is in data sets, which are prepared when they are opened for this verb.

    A data set is decoded or mixed when any verb opens it for the first time, so the work is done
    before this function is called. Use the verb to do that work ahead of a training.

    Args:
      run_dir: receives the configuration and a record of what was prepared.
      clips: the data sets, already prepared.
      config_text: the resolved configuration, saved as config.gin.

    Returns:
      The data sets.

    Raises:
      SepconError: the folder cannot be written.
    """
    folder = Path(run_dir)
    if resuming.begin("prepare", folder, config_text=config_text):
        resuming.keep_configuration("prepare", folder, config_text)
        for each in clips:
            length = "of varying length"
            if each.clip_samples is not None:
                length = f"of {each.clip_samples / each.sample_rate_hz:g} s"
            print(
                f"{each.name}: {each.num_clips} clips {length}, {len(each.class_names)} classes",
                flush=True,
            )
        run_folder.finish(folder, {"clips": {each.name: each.num_clips for each in clips}})
    return clips
