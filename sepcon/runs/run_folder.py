"""The folder of a run: what configured it, and whether it is finished."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepcon.errors import SepconError
from sepcon.runs.json_file import read_json, told_if_damaged
from sepcon.runs.revision import running_revision
from sepcon.runs.seals import note_of_seals, write_seals
from sepcon.runs.whole_file import told_if_unwritable, whole_file

CONFIG_FILE = "config.gin"
RECORD_FILE = "run.json"
# Where versions before this one noted that a training is over.
_EARLIER_FILE = "done.json"
_FINISHED, _TRAINING = "finished", "training"
_DAMAGE_CURE = "remove it, then the same command goes on from what is saved"


def tell_finished(run_dir: Path) -> None:
    """Says on standard error that a finished run is left as it is."""
    print(
        f"sepcon: {run_dir} holds a finished run; nothing to do (take another --run_dir, or "
        "delete this one)",
        file=sys.stderr,
    )


def configuration(run_dir: Path) -> str:
    """Returns the configuration that a run was last started with; empty where there is none.

    Raises:
      SepconError: it cannot be read.
    """
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        return ""
    with told_if_damaged(path, cure=_DAMAGE_CURE):
        return path.read_text(encoding="utf-8", errors="surrogateescape")


def write_configuration(run_dir: Path, text: str) -> None:
    """Writes the resolved configuration into the folder of a run, which is made if need be.

    One that said otherwise is kept as config.<n>.gin.

    Args:
      run_dir: the folder.
      text: the resolved gin configuration; empty for a call from Python.

    Raises:
      WriteError: the folder cannot be made or written to.
    """
    with told_if_unwritable(run_dir, cure="take another --run_dir"):
        run_dir.mkdir(parents=True, exist_ok=True)
        if text:
            _keep_earlier(run_dir / CONFIG_FILE, text)
            write_text(run_dir / CONFIG_FILE, text)
        elif not os.access(run_dir, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(run_dir))


def outlook(run_dir: Path) -> str:
    """Says what a run would find in its folder: for a dry run, which changes nothing.

    Args:
      run_dir: the folder; need not exist yet.

    Raises:
      SepconError: nothing can be written there, or the record of a run is damaged.
    """
    folder = existing_parent(run_dir)
    if not os.access(folder, os.W_OK):
        raise SepconError(f"{run_dir}: no permission to write in {folder}; take another --run_dir")
    if is_finished(run_dir):
        return f"{run_dir} holds a finished run: nothing would be done"
    if run_dir.is_dir() and any(run_dir.iterdir()):
        return f"{run_dir} holds an unfinished run, which would go on"
    return f"{run_dir} would be made"


def existing_parent(path: Path) -> Path:
    """Returns a folder itself, or the nearest of its parents that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def finish(run_dir: Path, record: Mapping[str, Any]) -> None:
    """Marks a run as finished, by writing run.json.

    Args:
      run_dir: folder of the run.
      record: what the run has to say of itself, as JSON can hold it; the commit is added.

    Raises:
      WriteError: it cannot be written.
    """
    training = training_record(run_dir)
    content = {**record, "commit": str(running_revision())} | note_of_seals(run_dir)
    _write_record(run_dir, content | ({} if training is None else {_TRAINING: training}))


def is_finished(run_dir: Path) -> bool:
    """Tells whether the folder holds a finished run.

    Raises:
      SepconError: its record is damaged.
    """
    return _read(run_dir).get(_FINISHED, False)


def read_record(run_dir: Path) -> dict[str, Any]:
    """Reads the record of a finished run.

    Args:
      run_dir: folder of the run.

    Returns:
      What was given to `finish`, and the commit.

    Raises:
      SepconError: there is no finished run in the folder, or its record is damaged.
    """
    record = _read(run_dir)
    if not record.pop(_FINISHED, False):
        raise SepconError(f"{run_dir} holds no finished run ({RECORD_FILE} is missing)")
    record.pop(_TRAINING, None)
    return record


def read_numbers(run_dir: Path, *names: str) -> dict[str, float]:
    """Returns numbers that a finished run said of itself.

    Raises:
      SepconError: there is no finished run, or its record is damaged.
    """
    record = read_record(run_dir)
    with told_if_damaged(run_dir / RECORD_FILE, cure=_DAMAGE_CURE):
        values = {name: record[name] for name in names}
        for name, value in values.items():
            if not isinstance(value, int | float):
                raise TypeError(f"{name} is {value!r}, expected a number")
        return values


def note_training(run_dir: Path, training: Mapping[str, Any]) -> None:
    """Notes that the training of a run is over, while the rest of the run is still to be done.

    The same command, started again, then goes on after the training.

    Args:
      run_dir: folder of the run.
      training: its `step`, `seconds` and `metrics`.

    Raises:
      WriteError: it cannot be written.
    """
    _write_record(run_dir, {_FINISHED: False, _TRAINING: dict(training)})


def training_record(run_dir: Path) -> dict[str, Any] | None:
    """Reads what `note_training` was given.

    Args:
      run_dir: folder of the run.

    Returns:
      The record of the training, also where the whole run is finished; None where there is none.

    Raises:
      SepconError: the record is damaged.
    """
    path = run_dir / RECORD_FILE
    training = _read(run_dir).get(_TRAINING)
    if training is None and (run_dir / _EARLIER_FILE).is_file():
        path = run_dir / _EARLIER_FILE
        training = read_json(path, cure=_DAMAGE_CURE)
    if training is not None:
        with told_if_damaged(path, cure=_DAMAGE_CURE):
            # What every training notes.
            int(training["step"]), float(training["seconds"]), dict(training["metrics"])
    return training


def _read(run_dir: Path) -> dict[str, Any]:
    """The record, with whether the run is finished; empty where there is none."""
    path = run_dir / RECORD_FILE
    if not path.is_file():
        return {}
    # Records written before trainings stood in them are of finished runs.
    return {_FINISHED: True, **read_json(path, cure=_DAMAGE_CURE)}


def _write_record(run_dir: Path, content: Mapping[str, Any]) -> None:
    write_text(run_dir / RECORD_FILE, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all.

    Args:
      path: the file.
      text: its content, written as UTF-8.

    Raises:
      WriteError: it cannot be written; what was there stays.
    """
    with whole_file(path) as scratch:
        # Names of files need not be valid UTF-8.
        scratch.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_model_file(path: Path, text: str) -> None:
    """Writes the description of a run's model, or checks that the same one is there already.

    Args:
      path: the file.
      text: the description as JSON; numbers that Keras appends to layer names do not count.

    Raises:
      SepconError: the file describes another model; it is left as it is.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        write_seals(path.parent, [path.name])
    elif _without_counters(path.read_text()) != _without_counters(text):
        raise SepconError(
            f"{path} describes another architecture than the one configured; give the "
            "configuration the run was started with, or another run_dir"
        )


def _without_counters(text: str) -> str:
    """Keras numbers its layers through a process: the same model gets other names the next time."""
    return re.sub(r'(_\d+)+"', '"', text)


def _keep_earlier(path: Path, text: str) -> None:
    if not path.is_file() or _said(configuration(path.parent)) == _said(text):
        return
    number = len(list(path.parent.glob(f"{path.stem}.*{path.suffix}")))
    write_text(path.with_name(f"{path.stem}.{number}{path.suffix}"), configuration(path.parent))


def _said(text: str) -> set[str]:
    return {line for line in text.splitlines() if line and not line.startswith("#")}
