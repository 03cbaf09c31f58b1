"""The training loop, one for all tasks."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from sepcon.errors import Interrupted, SepconError, one_line
from sepcon.models.weights import read_weights, state_folder, write_weights
from sepcon.runs import run_folder
from sepcon.runs.claim import claimed
from sepcon.runs.progress import Progress
from sepcon.runs.stop import StopRequest
from sepcon.training.checkpoints import Checkpoints, Progressed, named_variables
from sepcon.training.distribution import (
    distributed_batches,
    is_chief,
    num_workers,
    sum_over_workers,
)
from sepcon.training.logs import Averages, RunLog
from sepcon.training.metric_writers import MetricWriter
from sepcon.training.preflight import check_setup, check_stream
from sepcon.training.rhythm import Rhythm
from sepcon.training.step import StepFunction, StepValues
from sepcon.training.task import Stream, Task
from sepcon.training.waiting import Waiting

Validation = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class FitResult:
    """How a training ended.

    Attributes:
      step: steps done, in all starts together.
      metrics: means over the last log interval, and the last validation.
      seconds: time spent, in all starts together.
      finished_before: it was finished when it was started; nothing was done.
    """

    step: int
    metrics: Mapping[str, float]
    seconds: float
    finished_before: bool = False


def fit(
    *,
    task: Task,
    stream: Stream,
    optimizer: keras.optimizers.Optimizer,
    num_steps: int,
    run_dir: str | os.PathLike,
    strategy: tf.distribute.Strategy | None = None,
    steps_per_call: int = 10,
    gradient_clip_norm: float | None = None,
    jit_compile: bool = False,
    precision: str = "float32",
    checkpoint_every_steps: int = 500,
    keep_checkpoints: int = 2,
    keep_state_steps: Sequence[int] = (),
    log_every_steps: int = 50,
    summary_every_steps: int | None = None,
    metric_writer: MetricWriter | None = None,
    validate: Validation | None = None,
    validate_every_steps: int | None = None,
    config_text: str | None = None,
    description: str = "training",
    on_start: Callable[[], object] = lambda: None,
) -> FitResult:
    """Trains a task up to `num_steps`, from where an earlier start has left off.

    The result does not depend on the number of replicas (within rounding), on `steps_per_call` or
    on where the run was stopped and started again (not by a bit, on the same machine after
    `runtime.make_reproducible` where it says so).

    The folder of the run receives checkpoints/ (the last ones, to resume), states/ (weights of
    the task's product, for ever; always those of the last step), metrics.jsonl, tensorboard/,
    and in the end run.json, which says that the training is over.

    Args:
      task: made inside the strategy's scope.
      stream: gives the batches.
      optimizer: made inside the strategy's scope; built here if it is not.
      num_steps: steps in all.
      run_dir: folder of the run, on a disk that all workers share.
      strategy: see `distribution.make_strategy`; None is one device.
      steps_per_call: steps without asking the host; 100 or more on a TPU. A signal is heeded after
        as many steps.
      gradient_clip_norm: largest L2 norm of the global batch's gradient, or None.
      jit_compile: compile loss and gradient with XLA.
      precision: `float32`, or `bfloat16` for the maps of a step: see `models.precision`.
      checkpoint_every_steps: how often all is saved; also done at the end and on a signal.
      keep_checkpoints: how many of those stay.
      keep_state_steps: steps after which the weights are kept for ever; 0 is the initial state.
      log_every_steps: steps between two lines of metrics.
      summary_every_steps: steps between two lots of sounds and pictures; None for none.
      metric_writer: receives the metrics too, such as `WeightsAndBiases`.
      validate: returns metrics of the weights as they are.
      validate_every_steps: steps between two calls of it; with None only in the end.
      config_text: shown in TensorBoard.
      description: what the progress bar says.
      on_start: called once all checks have passed, before the first file is written, where the
        chief of the workers trains.

    Returns:
      How it ended. The task's product then has the weights of `FitResult.step`.

    Raises:
      SepconError: `run_dir` cannot be written to or is in use, holds a checkpoint of another
        architecture or of other examples, the disk is full, the loss is not finite, the memory does
        not suffice, or an argument is wrong. The last good checkpoint stays.
      ValueError: task, optimizer or stream cannot be trained under this strategy.
    """
    rhythm = Rhythm(
        num_steps=num_steps,
        steps_per_call=steps_per_call,
        checkpoint_every_steps=checkpoint_every_steps,
        log_every_steps=log_every_steps,
        summary_every_steps=summary_every_steps,
        validate_every_steps=validate_every_steps or (num_steps if validate else None),
        keep_state_steps=tuple(keep_state_steps),
    )
    run_dir, strategy = Path(run_dir), strategy or tf.distribute.get_strategy()
    before = run_folder.training_record(run_dir)
    if before is not None:
        _check_asks_for_more(run_dir, before["step"], num_steps)
    if before is not None and before["step"] >= num_steps:
        state = state_folder(run_dir, before["step"])
        if state.is_dir():  # else it is written anew, from the last checkpoint
            return _finished_before(before, task, state, run_dir)
    with claimed(run_dir) if is_chief(strategy) else contextlib.nullcontext():
        check_setup(task=task, optimizer=optimizer, strategy=strategy)
        checkpoints = Checkpoints(
            run_dir, named_variables(task.model, optimizer), keep=keep_checkpoints
        )
        run = _Run(task, stream, strategy, rhythm, run_dir, checkpoints, config_text, metric_writer)
        steps = StepFunction(
            task=task,
            optimizer=optimizer,
            strategy=strategy,
            gradient_clip_norm=gradient_clip_norm,
            jit_compile=jit_compile,
            precision=precision,
        )
        if is_chief(strategy):
            on_start()
        return run.train(steps, optimizer, validate, description)


def _finished_before(
    record: Mapping[str, Any], task: Task, state: Path, run_dir: Path
) -> FitResult:
    step = record["step"]
    print(f"{run_dir}: training was finished before, at step {step}", file=sys.stderr)
    read_weights(task.product, state)
    return FitResult(step, record["metrics"], record["seconds"], finished_before=True)


class _Run:
    """One start of a run: where it is, and what it writes."""

    def __init__(
        self,
        task: Task,
        stream: Stream,
        strategy: tf.distribute.Strategy,
        rhythm: Rhythm,
        run_dir: Path,
        checkpoints: Checkpoints,
        config_text: str | None,
        metric_writer: MetricWriter | None,
    ) -> None:
        self._task = task
        self._stream = stream
        self._strategy = strategy
        self._rhythm = rhythm
        self._run_dir = run_dir
        self._checkpoints = checkpoints
        self._chief = is_chief(strategy)
        self._batch_size = check_stream(
            task=task,
            spec=stream.batches(0).element_spec,
            replicas=strategy.num_replicas_in_sync,
        )
        reached = checkpoints.restore()
        _check_asks_for_more(run_dir, reached.step, rhythm.num_steps)
        self._check_workers_agree(reached.step)
        self._check_same_examples(reached)
        self._step = self._saved_step = reached.step
        self._seconds_before, self._started = reached.seconds, time.monotonic()
        self._averages = Averages(reached.notes.get("averages"))
        self._metrics: dict[str, float] = dict(reached.notes.get("metrics", {}))
        self._log = RunLog(
            run_dir if self._chief else None,
            start_step=self._step,
            config_text=config_text,
            metric_writer=metric_writer,
        )
        self._waiting = Waiting()
        self._examples: dict[str, tf.Tensor] | None = None

    def train(
        self,
        steps: StepFunction,
        optimizer: keras.optimizers.Optimizer,
        validate: Validation | None,
        description: str,
    ) -> FitResult:
        if self._chief:
            self._checkpoints.remove_remains()
        self._keep_state()  # the initial one, or one that was lost
        hint = "stopping soon; Ctrl-C again stops at once, without saving"
        with StopRequest(hint) as stop, self._progress(description) as progress:
            batches = iter(
                distributed_batches(self._stream, self._step, self._strategy, self._waiting)
            )
            while self._step < self._rhythm.num_steps and not self._anyone(bool(stop)):
                self._advance(steps, batches, progress)
                self._tell(optimizer, validate)
                self._keep()
            return self._end(stop)

    def _advance(self, steps: StepFunction, batches: Iterator[Any], progress: Progress) -> None:
        """Does the steps up to the next at which there is something to do."""
        first_call = not steps.called
        count = self._rhythm.next_stop(self._step) - self._step
        start = time.perf_counter()
        with _told_if_memory_fails():
            values = steps(batches, count)
        self._stop_if_bad(values)
        self._step += count
        seconds = time.perf_counter() - start
        self._averages.add(values, seconds=seconds, waiting=self._waiting.take())
        progress.advance(count, note=f"loss {values.values[-1, 0]:.4f}")
        if first_call and steps.untrained_names:
            names = ", ".join(steps.untrained_names[:3])
            progress.write(f"note: {len(steps.untrained_names)} weights get no gradient: {names}")

    def _stop_if_bad(self, values: StepValues) -> None:
        bad = values.first_bad_step()
        if bad is None:
            return
        index, name, value = bad
        step, saved = self._step + index, self._checkpoints.steps()
        kept = f"the checkpoint of step {saved[-1]} is kept" if saved else "nothing was saved yet"
        raise SepconError(
            f"{name} is {value} in step {step} (counted from 0), batch: "
            f"{self._stream.describe(step)}; {kept}; lower the learning rate, set "
            "gradient_clip_norm, or look at these examples"
        )

    def _tell(self, optimizer: keras.optimizers.Optimizer, validate: Validation | None) -> None:
        """Log, examples and validation where they are due."""
        rhythm, step = self._rhythm, self._step
        if rhythm.due(rhythm.log_every_steps, step):
            values = self._averages.take(batch_size=self._batch_size)
            values["learning_rate"] = float(tf.convert_to_tensor(optimizer.learning_rate))
            self._metrics |= values
            self._log.metrics(step, values)
        if validate is not None and rhythm.due(rhythm.validate_every_steps, step):
            values = {f"validation/{name}": float(v) for name, v in validate().items()}
            self._metrics |= values
            self._log.metrics(step, values)
        if self._chief and rhythm.due(rhythm.summary_every_steps, step):
            if self._examples is None:  # always the same, so that they can be compared
                self._examples = next(iter(self._stream.batches(0).take(1)))
            self._log.examples(step, self._task.summaries(self._examples))

    def _keep(self) -> None:
        """State and checkpoint where they are due; last, so that it vouches for the log too."""
        self._keep_state()
        if self._rhythm.due(self._rhythm.checkpoint_every_steps, self._step):
            self._save()

    def _keep_state(self) -> None:
        if self._chief and self._step in self._rhythm.states:
            write_weights(self._task.product, state_folder(self._run_dir, self._step))

    def _save(self) -> None:
        if self._step == self._saved_step:
            return
        self._saved_step = self._step
        if self._chief:
            notes = {
                "averages": self._averages.state(),
                "metrics": self._metrics,
                "examples": self._stream.identity,
                "examples_digest": getattr(self._stream, "digest", ""),
            }
            self._checkpoints.save(Progressed(self._step, self._seconds(), notes))

    def _end(self, stop: StopRequest) -> FitResult:
        self._save()
        # None goes on, perhaps to the same run again, before the chief has saved.
        self._anyone(False)
        self._log.close()
        if self._step < self._rhythm.num_steps:
            # Of workers that train together, it may be another that got the signal.
            number = stop.number or signal.SIGTERM
            raise Interrupted(
                number,
                f"{self._run_dir}: stopped by {signal.Signals(number).name} after step "
                f"{self._step} and saved; the same command goes on from there",
            )
        if self._chief:
            record = {"step": self._step, "seconds": self._seconds(), "metrics": self._metrics}
            run_folder.note_training(self._run_dir, record)
        return FitResult(self._step, self._metrics, self._seconds())

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    @contextlib.contextmanager
    def _progress(self, description: str) -> Iterator[Progress]:
        total, done = self._rhythm.num_steps, self._step
        if self._step:
            print(f"{self._run_dir}: goes on from step {self._step}", file=sys.stderr)
        with Progress(total if self._chief else None, description, initial=done) as progress:
            yield progress

    def _anyone(self, wish: bool) -> bool:
        """Whether any worker wants to stop: they must do it after the same step."""
        return bool(sum_over_workers(self._strategy, int(wish)))

    def _check_same_examples(self, reached: Progressed) -> None:
        """A batch is found by its step: among other examples it would be another one."""
        if not reached.step:
            return
        # Early runs say nothing, and drew as they did then.
        earlier = getattr(self._stream, "earlier_identity", self._stream.identity)
        before = reached.notes.get("examples", earlier)
        if before != self._stream.identity:
            raise SepconError(
                f"{self._run_dir} was trained on {before} up to step {reached.step}, but is given "
                f"{self._stream.identity}; give those it began with, or another run_dir"
            )
        digests = [reached.notes.get("examples_digest"), getattr(self._stream, "digest", "")]
        if all(digests) and digests[0] != digests[1]:
            raise SepconError(
                f"{self._run_dir} was trained on other {before} up to step {reached.step}: their "
                "files have other names, sizes or labels now; bring those back that it began with, "
                "or give another run_dir"
            )

    def _check_workers_agree(self, step: int) -> None:
        workers = num_workers(self._strategy)
        if sum_over_workers(self._strategy, step) != workers * step:
            raise SepconError(
                f"run_dir {self._run_dir}: the workers find different checkpoints there (this one "
                f"that of step {step}); give a folder on a disk that all workers share"
            )


def _check_asks_for_more(run_dir: Path, step: int, num_steps: int) -> None:
    """Refuses what would be called by fewer steps than its weights have seen."""
    if step > num_steps:
        raise SepconError(
            f"{run_dir}: has done {step} steps, asked for {num_steps}; ask for {step} or more, or "
            "give another --run_dir"
        )


@contextlib.contextmanager
def _told_if_memory_fails() -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise SepconError(
            f"out of memory in a training step ({one_line(error)}); lower batch_size"
        ) from error
