"""Logs of a training: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import summary_v2 as hparams

from sepcon.runs.json_file import told_if_damaged
from sepcon.runs.run_folder import write_text
from sepcon.training.checkpoints import told_if_disk_fails
from sepcon.training.metric_writers import Guarded, MetricWriter, hyperparameters
from sepcon.training.step import StepValues
from sepcon.training.task import Summaries

METRICS_FILE = "metrics.jsonl"
_MAX_EXAMPLES = 8


def read_metric(run_dir: Path, name: str) -> tuple[list[int], list[float]]:
    """Reads one metric of a run from metrics.jsonl.

    Args:
      run_dir: folder of the run.
      name: of the metric.

    Returns:
      The steps at which it was logged, and its values; both empty where it never was.

    Raises:
      SepconError: the log is missing or damaged.
    """
    path = run_dir / METRICS_FILE
    with told_if_damaged(path, cure="remove the folder, then run the verb again"):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        points = [(int(line["step"]), line[name]) for line in lines if name in line]
        # A value that was not finite stands there as null.
        values = [math.nan if value is None else float(value) for _, value in points]
    return [step for step, _ in points], values


class Averages:
    """Means of the values since the last line of the log; can be put into a checkpoint.

    Args:
      state: what `state()` returned, to go on from there.
    """

    def __init__(self, state: Mapping[str, float] | None = None) -> None:
        self._sums = dict(state or {})

    def add(self, values: StepValues, *, seconds: float, waiting: float) -> None:
        """Adds the values of a call of several steps.

        Args:
          values: of the call.
          seconds: that the call took.
          waiting: seconds in which a batch was waited for.
        """
        columns = values.values.astype(np.float64).sum(axis=0)
        additions = dict(zip(values.names, columns.tolist(), strict=True))
        additions |= {"#steps": len(values.values), "#seconds": seconds}
        additions |= {"#waiting": waiting}
        for name, value in additions.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def state(self) -> dict[str, float]:
        """Returns what a checkpoint has to hold."""
        return dict(self._sums)

    def take(self, *, batch_size: int) -> dict[str, float]:
        """Returns the means since the last call, and starts anew.

        Args:
          batch_size: of the global batch.

        Returns:
          The mean of each value; `examples_per_second`; `waiting_share`, the share of the time, 0
          to 1, in which the devices waited for data. Empty if no step was added.
        """
        sums, self._sums = self._sums, {}
        steps = sums.pop("#steps", 0)
        seconds, waiting = sums.pop("#seconds", 0.0), sums.pop("#waiting", 0.0)
        if not steps:
            return {}
        means = {name: value / steps for name, value in sums.items()}
        speed = {"examples_per_second": steps * batch_size / max(seconds, 1e-9)}
        return means | speed | {"waiting_share": min(1.0, waiting / max(seconds, 1e-9))}


class RunLog:
    """Writes metrics and examples of a run into its folder.

    Args:
      run_dir: folder of the run, or None to write nothing (a worker that is not the chief).
      start_step: lines of a later step, left by a run that was killed, are removed.
      config_text: shown in TensorBoard: as it is, and its plain values as hyper-parameters.
      metric_writer: receives the metrics too.

    Raises:
      SepconError: the writer cannot be opened.
    """

    def __init__(
        self,
        run_dir: Path | None,
        *,
        start_step: int = 0,
        config_text: str | None = None,
        metric_writer: MetricWriter | None = None,
    ) -> None:
        self._run_dir = run_dir
        if run_dir is None:
            return
        plain = hyperparameters(config_text)
        if metric_writer is not None:
            metric_writer.open(run_dir, plain)
        self._metric_writer = Guarded(metric_writer)
        with told_if_disk_fails(run_dir, METRICS_FILE):
            _drop_lines_after(run_dir / METRICS_FILE, start_step)
            self._writer = tf.summary.create_file_writer(str(run_dir / "tensorboard"))
            if config_text:
                with self._writer.as_default(step=start_step):
                    tf.summary.text("config", "    " + config_text.replace("\n", "\n    "))
                    hparams.hparams(plain, trial_id=run_dir.resolve().name)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the metrics of a step to metrics.jsonl and TensorBoard.

        Args:
          step: steps done.
          values: name -> value; one that is not finite is null in metrics.jsonl.

        Raises:
          WriteError: the disk is full or fails.
        """
        if self._run_dir is None:
            return
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with told_if_disk_fails(self._run_dir, METRICS_FILE):
            with open(self._run_dir / METRICS_FILE, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **finite}) + "\n")
            with self._writer.as_default(step=step):
                for name, value in values.items():
                    tf.summary.scalar(name, value)
            self._writer.flush()
        self._metric_writer.write(step, values)

    def examples(self, step: int, summaries: Summaries) -> None:
        """Writes sounds, each scaled to a peak of 1, and pictures to TensorBoard.

        Args:
          step: steps done.
          summaries: sounds and pictures; the first eight of each name are written.

        Raises:
          WriteError: the disk is full or fails.
        """
        if self._run_dir is None:
            return
        with (
            told_if_disk_fails(self._run_dir, METRICS_FILE),
            self._writer.as_default(step=step),
        ):
            for name, (waveforms, rate) in summaries.audio.items():
                sounds = peak_normalized(waveforms)[..., tf.newaxis]  # [n, samples, 1]
                tf.summary.audio(name, sounds, rate, max_outputs=_MAX_EXAMPLES)
            for name, images in summaries.images.items():
                tf.summary.image(name, images, max_outputs=_MAX_EXAMPLES)
            self._writer.flush()

    def close(self) -> None:
        """Closes the files."""
        if self._run_dir is not None:
            with told_if_disk_fails(self._run_dir, METRICS_FILE):
                self._writer.close()
            self._metric_writer.close()


def peak_normalized(waveforms: tf.Tensor) -> tf.Tensor:
    """Scales each waveform to a peak of 1; silence stays silence.

    Args:
      waveforms: [..., samples] float.

    Returns:
      The same shape and dtype.
    """
    peak = tf.reduce_max(tf.abs(waveforms), axis=-1, keepdims=True)
    return tf.math.divide_no_nan(waveforms, peak)


def _drop_lines_after(path: Path, step: int) -> None:
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if kept != lines or os.path.getsize(path) != sum(len(line.encode()) + 1 for line in kept):
        write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    """The step of a line; infinity for one that was cut off."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf
