"""Checkpoints: everything a run needs to go on to the very step, in one file each.

A checkpoint is an uncompressed .npz file: the weights and the optimizer's variables by their
position, and a JSON record that names them. A file with a checkpoint's name is whole (see
`sepcon.runs.whole_file`); zip checksums tell if it was damaged later.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.errors import SepconError, WriteError, one_line, write_error
from sepcon.runs import run_folder
from sepcon.runs.json_file import DAMAGE
from sepcon.runs.whole_file import remove_leftovers, told_if_unwritable, write_arrays

_RECORD = "record"


@dataclass(frozen=True)
class Progressed:
    """How far a run has come.

    Attributes:
      step: steps done.
      seconds: time spent on them, in all starts together.
      notes: what else the loop needs after a restart, as JSON can hold it.
    """

    step: int = 0
    seconds: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)


def steps_done(run_dir: Path) -> int:
    """How many steps of a training are saved in the folder of its run, by the files' names."""
    record = run_folder.training_record(run_dir)
    if record is not None:
        return int(record["step"])
    return max(Checkpoints(run_dir, {}).steps(), default=0)


class Checkpoints:
    """The checkpoints of a run, of which the last few are kept.

    Args:
      run_dir: folder of the run; checkpoints are in `checkpoints/` below it.
      variables: name -> variable of all that is saved, in an order that does not change. Keras
        counts the names of unnamed layers up, so that variables are matched by their place.
      keep: how many are kept, at least 1.
    """

    def __init__(self, run_dir: Path, variables: Mapping[str, Any], *, keep: int = 2) -> None:
        self._run_dir = run_dir
        self._folder = run_dir / "checkpoints"
        self._variables = variables
        self._keep = keep

    def steps(self) -> list[int]:
        """The steps at which there is a checkpoint, in ascending order."""
        matches = (
            re.fullmatch(r"step-(\d+)\.npz", path.name) for path in self._folder.glob("step-*")
        )
        return sorted(int(match.group(1)) for match in matches if match)

    def path(self, step: int) -> Path:
        """The file of a step."""
        return self._folder / f"step-{step:08d}.npz"

    def save(self, progressed: Progressed) -> None:
        """Writes a checkpoint and removes those that are no longer kept.

        Raises:
          SepconError: it cannot be written; the earlier ones stay.
        """
        arrays = [np.asarray(variable.numpy()) for variable in self._variables.values()]
        record = {
            "step": progressed.step,
            "seconds": progressed.seconds,
            "notes": dict(progressed.notes),
            "names": list(self._variables),
        }
        members = {_member(place): array for place, array in enumerate(arrays)}
        members[_RECORD] = np.frombuffer(json.dumps(record).encode(), np.uint8)
        with self._told_if_disk_fails(progressed.step, sum(a.nbytes for a in arrays)):
            self._folder.mkdir(exist_ok=True)
            write_arrays(self.path(progressed.step), members)
            self._remove_old(progressed.step)

    def restore(self) -> Progressed:
        """Puts the last readable checkpoint into the variables.

        Returns:
          How far it had come; step 0 when there is no checkpoint.

        Raises:
          SepconError: it is of another architecture, or none of them can be read.
        """
        damage = ""
        for step in reversed(self.steps()):
            try:
                record, arrays = _read(self.path(step))
            except DAMAGE as error:
                damage = f"{self.path(step)} is damaged ({one_line(error)})"
                print(f"warning: {damage}; trying an earlier checkpoint", file=sys.stderr)
                continue
            self._check_same(record["names"], arrays)
            for variable, array in zip(self._variables.values(), arrays, strict=True):
                variable.assign(array)
            return Progressed(record["step"], record["seconds"], record["notes"])
        if damage:
            raise SepconError(
                f"{damage}, and there is no earlier checkpoint; remove {self._folder} to start "
                "from step 0"
            )
        return Progressed()

    def remove_remains(self) -> None:
        """Removes what a run left that was killed: unfinished files, and what it was to remove."""
        remove_leftovers(self._folder)
        for step in self.steps()[: -self._keep]:
            self.path(step).unlink(missing_ok=True)

    def _remove_old(self, step: int) -> None:
        # A later one than the one just written is damaged, else the run had gone on from there.
        steps = self.steps()
        earlier = [other for other in steps if other < step]
        kept = {step, *earlier[len(earlier) - self._keep + 1 :]}
        for other in steps:
            if other not in kept:
                self.path(other).unlink(missing_ok=True)

    def _check_same(self, names: Sequence[str], arrays: Sequence[np.ndarray]) -> None:
        """Raises if the checkpoint does not hold what the variables expect."""
        expected = [(name, tuple(v.shape)) for name, v in self._variables.items()]
        found = [(name, array.shape) for name, array in zip(names, arrays, strict=True)]
        for place in range(max(len(expected), len(found))):
            here = expected[place] if place < len(expected) else ("nothing", None)
            there = found[place] if place < len(found) else ("nothing", None)
            if here[1] != there[1]:
                raise SepconError(
                    f"{self._run_dir} holds a checkpoint of another architecture: it has "
                    f"{_describe(*there)} where this model has {_describe(*here)}; give the "
                    "configuration the run was started with, or another run_dir"
                )

    @contextlib.contextmanager
    def _told_if_disk_fails(self, step: int, size: int) -> Iterator[None]:
        steps = self.steps()
        next_start = f"goes on from step {steps[-1]}" if steps else "starts anew"
        cure = f"make room for {size / 1e6:.1f} MB, then the same command {next_start}"
        try:
            with told_if_unwritable(self.path(step), cure=cure):
                yield
        except WriteError as error:
            raise write_error(self.path(step), error.__cause__, cure=cure) from error


def named_variables(model: Any, optimizer: Any) -> dict[str, Any]:
    """Collects all variables of a model and its optimizer.

    Args:
      model: a Keras model or layer.
      optimizer: a Keras optimizer, built.

    Returns:
      Name -> variable, in a fixed order; a name that occurs twice gets a prime (').
    """
    named: dict[str, Any] = {}
    for kind, variables in (("model", model.variables), ("optimizer", optimizer.variables)):
        for variable in variables:
            name = f"{kind}/{getattr(variable, 'path', variable.name)}"
            while name in named:
                name += "'"
            named[name] = variable
    return named


@contextlib.contextmanager
def told_if_disk_fails(run_dir: Path, what: str) -> Iterator[None]:
    """Turns the errors of a full or broken disk, of Python or TensorFlow, into a SepconError.

    Args:
      run_dir: folder of the run.
      what: the file in it that is written.

    Raises:
      WriteError: the block failed to write.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        cure = "see to the disk, then the same command goes on from the last checkpoint"
        raise write_error(run_dir / what, error, cure=cure) from error


def _read(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The record and all arrays of a checkpoint; whatever is wrong with it raises."""
    with np.load(path, allow_pickle=False) as members:
        record = json.loads(members[_RECORD].tobytes())
        # What every checkpoint says of itself.
        int(record["step"]), float(record["seconds"]), dict(record["notes"]), list(record["names"])
        arrays = [members[_member(place)] for place in range(len(record["names"]))]
    return record, arrays


def _member(place: int) -> str:
    return f"v{place:05d}"


def _describe(name: str, shape: tuple[int, ...] | None) -> str:
    return name if shape is None else f"{name} of shape {list(shape)}"
