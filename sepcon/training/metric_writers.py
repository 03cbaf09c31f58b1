"""Where metrics go beside metrics.jsonl and TensorBoard: one small hook, and one that fills it.

Whatever has the two methods of `MetricWriter` can be given to `fit` as `metric_writer`.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sepcon.errors import SepconError, one_line

Scalar = int | float | bool | str
_BINDING = re.compile(r"^([\w./]+) = (.+)$", re.MULTILINE)


class MetricWriter(Protocol):
    """Receives what a training logs, on the chief of its workers alone."""

    def open(self, run_dir: Path, hyperparameters: Mapping[str, Scalar]) -> None:
        """Called once, before the first step; what it raises stops the run.

        Args:
          run_dir: folder of the run; that of an earlier start where it goes on.
          hyperparameters: numbers, texts and switches of the resolved configuration, by name.
        """

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Called with each line of the log. A training goes on where this fails.

        Args:
          step: steps done.
          values: by name; some may not be finite.
        """

    def close(self) -> None:
        """Called in the end, also of a run that was stopped."""


@dataclasses.dataclass
class WeightsAndBiases:
    """Sends metrics to Weights & Biases (`pip install wandb`).

    One run there for each folder of a run here: a training that goes on is continued.

    Attributes:
      project: its name there.
      mode: `online`, or `offline`, which writes below the folder of the run, for `wandb sync`.
    """

    project: str = "sepcon"
    mode: str = "online"

    def open(self, run_dir: Path, hyperparameters: Mapping[str, Scalar]) -> None:
        """Starts or continues the run; see `MetricWriter`."""
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise SepconError(
                f"WeightsAndBiases needs the package wandb: pip install wandb ({one_line(error)})"
            ) from error
        path = str(run_dir.resolve())
        self._run: Any = wandb.init(
            project=self.project,
            mode=self.mode,
            dir=path,
            name=run_dir.name,
            id=hashlib.sha256(path.encode()).hexdigest()[:16],
            resume="allow",
            config=dict(hyperparameters),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Sends one line; see `MetricWriter`."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Waits until all is sent."""
        self._run.finish()


class Guarded:
    """A writer whose failures are told once and stop nothing.

    Args:
      writer: the writer, opened; None for none.
    """

    def __init__(self, writer: MetricWriter | None) -> None:
        self._writer = writer

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes, as long as that has not failed."""
        self._try("write", step, values)

    def close(self) -> None:
        """Closes the writer."""
        self._try("close")

    def _try(self, method: str, *arguments: Any) -> None:
        if self._writer is None:
            return
        name = type(self._writer).__name__
        try:
            getattr(self._writer, method)(*arguments)
        # Of other people's code, over a network: no reason to lose a training.
        except Exception as error:
            self._writer = None
            print(
                f"note: {name} gets no metrics any more: {one_line(error)}; metrics.jsonl has all",
                file=sys.stderr,
            )


def hyperparameters(config_text: str | None) -> dict[str, Scalar]:
    """Returns the bindings of a resolved configuration whose values are plain.

    Args:
      config_text: lines such as `fit.log_every_steps = 50`.
    """
    plain: dict[str, Scalar] = {}
    for name, text in _BINDING.findall(config_text or ""):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):  # a reference, or one that goes on in the next line
            continue
        if isinstance(value, bool | int | float | str):
            plain[name] = value
    return plain
