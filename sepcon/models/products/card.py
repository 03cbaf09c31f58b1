"""The model card of a SavedModel: what a user must know who has nothing else."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import tensorflow as tf

import sepcon
from sepcon.models.packaged import describe, folder_of
from sepcon.models.products.waveform import CARD_LINES
from sepcon.runs import run_folder
from sepcon.runs.json_file import DAMAGE
from sepcon.runs.revision import running_revision

STATE_MEASURES_FILE = "separation.json"
# Of packaged weights these are known, and go along.
_OF_PACKAGED = ("licence", "trained_on", "attribution", "measured", "not_for")
# A folder in quotes, of which the last name alone is anybody's business.
_PATH = re.compile(r"""(['"])(?:~|/)[^'"\n]*?([^/'"\n]+)/?\1""")
# What a run notes beside its measures.
_NOTES = ("seed", "fold", "seconds", "steps", "commit", "converted_from")


def model_card(
    facts: dict[str, Any], model: str | Path, *, config_text: str = "", licence: str = ""
) -> dict[str, Any]:
    """Returns what a user of a SavedModel must know, as JSON-able values.

    Args:
      facts: what there is to know of its kind of network.
      model: the run folder, or the name of packaged weights, that it was made of.
      config_text: the resolved configuration; of paths in it only the last name is kept.
      licence: of the weights, such as "CC-BY-4.0"; that of packaged weights is known.
    """
    revision = running_revision()
    known = describe(folder_of(model))
    return {
        **facts,
        "licence": licence or "not stated",
        "measured": measures_of(folder_of(model), facts.get("training_step")),
        **{name: known[name] for name in _OF_PACKAGED if name in known},
        **({"licence": licence} if licence else {}),
        **CARD_LINES,
        "sepcon_version": sepcon.__version__,
        "tensorflow_version": tf.__version__,
        "git_revision": revision.commit,
        "git_dirty": revision.dirty,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "gin": without_folders(config_text),
    }


def measures_of(run: Path, step: int | None = None) -> dict[str, Any]:
    """Returns what a run has noted of the quality of its network: numbers by name.

    Those of its training are of the last steps, on what it was trained on; those of a classifier
    are named after the clips that they are of; those of a separator are of test scenes.

    Args:
      run: its folder.
      step: of the state, where each has measures of its own.
    """
    try:
        training = run_folder.training_record(run) or {"metrics": {}}
        noted = run_folder.read_record(run) if run_folder.is_finished(run) else {}
        noted |= _of_state(run, step)
    # It is no run, or its record is damaged: the network is as good without it.
    except (*DAMAGE, sepcon.SepconError):
        return {}
    own = {name: value for name, value in noted.items() if name not in _NOTES}
    return {name: value for name, value in own.items() if isinstance(value, int | float)} | (
        {"training": training["metrics"]} if training["metrics"] else {}
    )


def _of_state(run: Path, step: int | None) -> dict[str, Any]:
    """The improvements of SI-SNR that `sepcon train_separator` has measured of one state."""
    path = run / STATE_MEASURES_FILE
    rows = json.loads(path.read_text()) if path.is_file() else []
    for row in rows:
        if row["step"] == step:
            return {name: row[name] for name in row if name.startswith(("si_snri", "num_scenes"))}
    return {}


def without_folders(text: str) -> str:
    """Returns a configuration in which of quoted paths the last name is left: '.../name'."""
    return _PATH.sub(r"\1.../\2\1", text)
