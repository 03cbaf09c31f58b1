"""`sepcon prepare`: decode recordings and mix scenes ahead of everything else."""

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
    """Makes data sets ready and says what is in them.

    The preparation itself happens where the data sets are made, at their first use; this verb only
    has nothing else to do.

    Args:
      run_dir: receives the configuration and a record of what was prepared.
      clips: the data sets.
      config_text: the resolved configuration.

    Returns:
      The data sets.

    Raises:
      SepconError: as the data sets' makers; or the folder cannot be written.
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
