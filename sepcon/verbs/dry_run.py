"""What can be checked of a run before it begins: folders, data, models, one batch, memory, disk."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcon.data.clips import ClipDataset
from sepcon.data.folds import FoldedClips
from sepcon.data.prepared import NotPreparedError, only_open
from sepcon.errors import SepconError
from sepcon.importing.clip_source import ClipSource
from sepcon.runs import run_folder
from sepcon.separation.recording_separator import RecordingSeparator
from sepcon.training.dry_loop import DryLoop, TrainingChecked, size_text

Rows = list[tuple[str, str]]
_BYTES_PER_SAMPLE = 2  # int16, see data/channels.py


def dry_run(
    *,
    run_dir: Path,
    arguments: Callable[[], Mapping[str, Any]],
    opened_by: Mapping[str, str],
    train: Callable[..., Any] | None,
    loop_settings: Mapping[str, Any],
) -> Rows:
    """Checks the arguments that a verb would get, and leaves nothing behind.

    Data sets that are not prepared yet are named and not prepared; what depends on them is then not
    checked.

    Args:
      run_dir: folder of the run, which need not exist.
      arguments: makes the arguments of the verb's function, which opens the data.
      opened_by: argument -> module:name of the function that opens what it names.
      train: for a verb that trains, calls it with a `run_dir` and a `loop`; else None.
      loop_settings: arguments of `fit` that are bound.

    Returns:
      The rows of a table: what was looked at, and what was found.

    Raises:
      SepconError: something is not as it must be.
    """
    rows: Rows = []
    try:
        with only_open():
            if train is None:
                rows += _of_arguments(arguments(), opened_by, run_dir)
            else:
                rows += _of_training(train, run_dir, loop_settings)
    except NotPreparedError as error:
        rows.append(
            ("data", f"{error.name} is not prepared: the run does it first, in {error.directory}")
        )
        rows.append(("", "what depends on it was not checked"))
    return rows


def _of_training(
    train: Callable[..., Any], run_dir: Path, loop_settings: Mapping[str, Any]
) -> Rows:
    loop = DryLoop(loop_settings)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(TrainingChecked):
        train(run_dir=Path(folder) / "run", loop=loop)
    rows: Rows = []
    for training in loop.trainings:
        rows += [*training.rows(), check_disk(run_dir, training.disk_bytes)]
    return rows


def check_disk(run_dir: Path, needed: int) -> tuple[str, str]:
    """Returns a row of the table: what is free on the disk that the run folder is or will be on.

    Args:
      run_dir: folder of the run; need not exist yet.
      needed: bytes that the run will write there.

    Raises:
      SepconError: it is less than what is needed.
    """
    folder = run_folder.existing_parent(run_dir)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SepconError(
            f"{run_dir}: {size_text(needed)} are needed there and {size_text(free)} are free; make "
            "room, or take a folder on another disk"
        )
    return ("free disk", f"{size_text(free)} at {folder}")


def _of_arguments(
    arguments: Mapping[str, Any], opened_by: Mapping[str, str], run_dir: Path
) -> Rows:
    rows: Rows = []
    needed = 0
    for name, value in arguments.items():
        for label, each in _flat(name, value):
            if name in opened_by and isinstance(each, str | Path) and str(each):
                opened = _opened(opened_by[name], name, each, arguments)
                needed += _channel_bytes(opened, arguments)
                summary = getattr(opened, "summary", "")
                rows.append((label, f"{each}: opened" + (f", {summary}" if summary else "")))
            elif name == "files":
                rows.append((label, _file(Path(each))))
            elif text := _described(each):
                rows.append((label, text))
    if needed:
        rows.append(("disk", f"{size_text(needed)} for separated channels"))
    return [*rows, check_disk(run_dir, needed)]


def _channel_bytes(opened: Any, arguments: Mapping[str, Any]) -> int:
    """What `separate` would store of a data set; 0 for anything else."""
    clips = arguments.get("clips")
    stored = isinstance(opened, RecordingSeparator) and "separator" in arguments
    if not stored or not isinstance(clips, ClipDataset) or clips.clip_samples is None:
        return 0
    return _BYTES_PER_SAMPLE * opened.num_sources * clips.clip_samples * clips.num_clips


def _flat(name: str, value: Any) -> Sequence[tuple[str, Any]]:
    """The parts of an argument, each with a name to show."""
    if isinstance(value, Mapping):
        return [(f"{name} {key}", each) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return [(name, each) for each in value]
    return [(name, value)]


def _opened(path: str, name: str, named: str | Path, arguments: Mapping[str, Any]) -> Any:
    """Opens a model or a folder, as the verb would: `separator_step` is the step of a separator."""
    module, opener = path.split(":")
    function = getattr(importlib.import_module(module), opener)
    first, *others = inspect.signature(function).parameters
    values = {each: arguments.get(f"{name}_{each}", arguments.get(each)) for each in others}
    given = {each: value for each, value in values.items() if value is not None}
    return function(**{first: named}, **given)


def _file(path: Path) -> str:
    if not path.expanduser().exists():
        raise SepconError(f"{path}: no such file or folder")
    return f"{path} is there"


def _described(value: Any) -> str:
    """What there is of a data set, once its first clip was read; "" for anything else."""
    if isinstance(value, FoldedClips):
        return f"{_described(value.clips)}, {len(set(value.folds))} folds"
    if isinstance(value, ClipDataset):
        next(iter(value.build()), None)
        length = "of varying length"
        if value.clip_samples is not None:
            length = f"of {value.clip_samples / value.sample_rate_hz:g} s"
        classes = f", {len(value.class_names)} classes" if value.class_names else ""
        rate = f"at {value.sample_rate_hz} Hz"
        return f"{value.name}: {value.num_clips} clips {length} {rate}{classes}"
    if isinstance(value, ClipSource):
        missing = sum(bool(reference.reason) for reference in value.references)
        return (
            f"{value.name}: {len(value.references)} clips listed, {missing} of them not to be had"
        )
    return ""
