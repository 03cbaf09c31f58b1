"""Runs commands that depend on each other, as many at once as there are cores.

A small network on a CPU gains little from a second thread, and two runs side by side gain all of
it: so a chain of verbs is cut into jobs of one thread each. Where there are GPUs, each job has one;
with more jobs than GPUs they share. Every job is a process of its own with a log of its own; the
parent draws one progress bar for the whole and one for each running job.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from sepcon.errors import Interrupted, SepconError
from sepcon.runs import standard_error
from sepcon.runs.claim import claimed
from sepcon.runs.progress import PROGRESS_FILE_VARIABLE, Bar, ProgressState
from sepcon.runs.stop import StopRequest

_SHOW_SECONDS = 0.5
_POLL_SECONDS = 0.02
_STATUS_SECONDS = 30.0
_GRACE_SECONDS = 60.0
# The first guesses of how long jobs take weigh as much as a job of this length.
_PRIOR_SECONDS = 300.0
_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
_COMMAND = (sys.executable, "-m", "sepcon")
# Loaded before any child is forked, which may then do nothing but call it.
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True)
class Job:
    """One command of a chain.

    Attributes:
      name: unique; names the log file too.
      arguments: what follows the command.
      needs: names of the jobs that must have finished before.
      done: tells whether the job was finished by an earlier start.
      expected_seconds: how long it takes on one core, for the estimate of the time left.
      shown: whether what it prints is shown when it ends, and not in its log alone.
    """

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    done: Callable[[], bool] = lambda: False
    expected_seconds: float = 60.0
    shown: bool = False


@dataclasses.dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    progress_file: Path
    start: float
    slot: int
    log: Path
    log_start: int

    def state(self) -> ProgressState:
        return ProgressState.read(self.progress_file)


def run_jobs(
    jobs: Sequence[Job],
    *,
    log_dir: Path,
    workers: int,
    environment: Mapping[str, str],
    command: Sequence[str] = _COMMAND,
) -> None:
    """Runs all jobs, each after those that it needs; otherwise in the order of the list.

    Args:
      jobs: the chain. A job that says it is done is not started.
      log_dir: receives `<name>.log` of each job: its command, output and errors together.
      workers: how many jobs run at once.
      environment: variables set for every job in addition to the parent's own.
      command: the program and its first words, which every job's arguments follow.

    Raises:
      SepconError: a job failed, the others were ended and can be resumed by the same call; or
        another process holds the folder around log_dir.
      Interrupted: a signal came; the running jobs were ended first.
      ValueError: a job needs one that is not in the list, or two share a name.
    """
    _check(jobs)
    log_dir.mkdir(parents=True, exist_ok=True)
    with claimed(log_dir.parent), StopRequest() as stop:
        _Pool(jobs, log_dir, workers, {**os.environ, **environment}, command, stop).run()


def _check(jobs: Sequence[Job]) -> None:
    names = [job.name for job in jobs]
    if len(set(names)) != len(names):
        raise ValueError(f"jobs must have names of their own, got {names}")
    for job in jobs:
        missing = set(job.needs) - set(names)
        if missing:
            raise ValueError(f"job {job.name!r} needs {sorted(missing)}, which are not in the list")


class _Pool:
    """The state of one `run_jobs`: what waits, what runs, what is done."""

    def __init__(
        self,
        jobs: Sequence[Job],
        log_dir: Path,
        workers: int,
        environment: Mapping[str, str],
        command: Sequence[str],
        stop: StopRequest,
    ) -> None:
        self._stop = stop
        self._log_dir = log_dir
        self._environment = environment
        self._command = command
        self._workers = workers
        self._gpus = visible_gpus(environment)
        self._done = {job.name for job in jobs if job.done()}
        self._waiting = [job for job in jobs if job.name not in self._done]
        self._running: list[_Running] = []
        self._total = len(jobs)
        self._spent = self._expected = 0.0
        self._display = _Display(self._total, len(self._done), workers)

    def run(self) -> None:
        try:
            while self._waiting or self._running:
                self._start_ready()
                self._wait()
                self._collect()
                if self._stop.number is not None:
                    raise Interrupted(self._stop.number)
                self._display.update(self._running, self._seconds_left())
        except BaseException:
            self._end_all()
            raise
        finally:
            self._display.close()

    def _wait(self) -> None:
        """Until a job ends, a signal comes, or it is time to show how far they are."""
        until = time.monotonic() + _SHOW_SECONDS
        while (
            time.monotonic() < until
            and not self._stop
            and all(each.process.poll() is None for each in self._running)
        ):
            time.sleep(_POLL_SECONDS)

    def _start_ready(self) -> None:
        ready = [job for job in self._waiting if self._done.issuperset(job.needs)]
        for job in ready[: self._workers - len(self._running)]:
            self._waiting.remove(job)
            taken = {running.slot for running in self._running}
            slot = min(set(range(self._workers)) - taken)
            self._running.append(self._start(job, slot))
            self._display.started(job)
        if not ready and not self._running:
            raise ValueError(f"jobs wait for each other: {[job.name for job in self._waiting]}")

    def _start(self, job: Job, slot: int) -> _Running:
        progress_file = self._log_dir / f"{job.name}.progress.json"
        progress_file.unlink(missing_ok=True)
        environment = {**self._environment, PROGRESS_FILE_VARIABLE: str(progress_file)}
        if self._gpus:
            environment[_GPU_VARIABLE] = self._gpus[slot % len(self._gpus)]
        command = [*self._command, *job.arguments]
        path = self._log_dir / f"{job.name}.log"
        with open(path, "ab") as log:
            log.write(f"$ {shlex.join(command)}\n".encode())
            log.flush()
            log_start = log.tell()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # Ctrl-C reaches the parent only, which then ends its children in order.
                start_new_session=True,
                preexec_fn=functools.partial(_die_with, os.getpid()),
            )
        return _Running(job, process, progress_file, time.monotonic(), slot, path, log_start)

    def _collect(self) -> None:
        for running in list(self._running):
            code = running.process.poll()
            if code is None:
                continue
            self._running.remove(running)
            running.progress_file.unlink(missing_ok=True)
            seconds = time.monotonic() - running.start
            if code != 0:
                raise SepconError(_failure(running, code))
            self._done.add(running.job.name)
            self._spent += seconds
            self._expected += running.job.expected_seconds
            self._display.finished(running.job, seconds)
            if running.job.shown:
                self._display.show(_printed(running))

    def _end_all(self) -> None:
        for running in self._running:
            running.process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for running in self._running:
            try:
                running.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.process.kill()

    def _seconds_left(self) -> float:
        """The expected seconds of what is left, corrected by how right they were so far."""
        pace = pace_so_far(spent_seconds=self._spent, expected_seconds=self._expected)
        left = sum(job.expected_seconds for job in self._waiting) * pace
        now = time.monotonic()
        for running in self._running:
            told = running.state().seconds_left or 0.0
            guess = running.job.expected_seconds * pace - (now - running.start)
            left += max(0.0, guess, told)
        return left / self._workers


def visible_gpus(environment: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """The GPUs that jobs may use, as CUDA names them: each job gets one of them.

    Args:
      environment: of the jobs; what it names is taken.
      devices: where the driver shows those of the machine.
    """
    if _GPU_VARIABLE in environment:
        named = [name.strip() for name in environment[_GPU_VARIABLE].split(",")]
        # CUDA uses those before the first that it does not know.
        return [name for name in named if name and not name.startswith("-")]
    numbers = [path.name.removeprefix("nvidia") for path in devices.glob("nvidia*")]
    return sorted((number for number in numbers if number.isdecimal()), key=int)


def _die_with(parent: int) -> None:
    """Called in a child: the system is to end it when its parent is gone, killed say by -9.

    Otherwise it would go on writing into a folder in which a new start has begun the same job.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It was gone before that.
        os._exit(1)


def _printed(running: _Running) -> list[str]:
    with open(running.log, "rb") as log:
        log.seek(running.log_start)
        text = log.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _failure(running: _Running, code: int) -> str:
    lines = _printed(running)
    last = lines[-1].removeprefix("sepcon: error: ") if lines else "it printed nothing"
    return f"stage {running.job.name!r} ended with code {code}: {last} (whole log: {running.log})"


class _Display:
    """Bars on a terminal, one line per event (and a status line now and then) in a log."""

    def __init__(self, total: int, done: int, workers: int) -> None:
        self._terminal = standard_error.is_terminal()
        self._last_status = time.monotonic()
        off = not self._terminal
        self._all = Bar(
            total=total,
            initial=done,
            desc="all stages",
            position=0,
            disable=off,
            bar_format="{desc}: {n_fmt}/{total_fmt} |{bar:20}| {elapsed} {postfix}",
        )
        self._bars = [
            Bar(
                total=1,
                position=1 + slot,
                leave=False,
                disable=off,
                bar_format="  {percentage:3.0f}% |{bar:20}| {desc} {postfix}",
            )
            for slot in range(workers)
        ]
        self._counts = [done, total]

    def started(self, job: Job) -> None:
        if not self._terminal:
            print(f"sepcon: started {job.name}", file=sys.stderr, flush=True)

    def finished(self, job: Job, seconds: float) -> None:
        self._counts[0] += 1
        self._all.tqdm.update(1)
        line = f"sepcon: {self._counts[0]}/{self._counts[1]} finished {job.name} ({seconds:.0f} s)"
        print(line, file=sys.stderr, flush=True)

    def show(self, lines: Sequence[str]) -> None:
        for line in lines:
            print(line, file=sys.stderr)

    def update(self, running: Sequence[_Running], seconds_left: float) -> None:
        self._all.tqdm.set_postfix_str(f"about {_clock(seconds_left)} left")
        used = set()
        for item in running:
            used.add(item.slot)
            _draw(self._bars[item.slot].tqdm, item)
        for slot, bar in enumerate(self._bars):
            if slot not in used:
                bar.tqdm.n = 0
                bar.tqdm.set_postfix_str("", refresh=False)
                bar.tqdm.set_description_str("free", refresh=True)
        now = time.monotonic()
        if not self._terminal and now - self._last_status > _STATUS_SECONDS:
            self._last_status = now
            status = "; ".join(f"{item.job.name} {_percent(item.state())}" for item in running)
            print(f"sepcon: {status}; about {_clock(seconds_left)} left", file=sys.stderr)

    def close(self) -> None:
        for bar in [*self._bars, self._all]:
            bar.close()


def _draw(bar: tqdm, item: _Running) -> None:
    state = item.state()
    bar.total = 100
    bar.n = round(100 * state.share)
    # The job's name says what it is of; the description what it does just now.
    doing = state.description.split(" on ")[0]
    bar.set_description_str(f"{item.job.name}: {doing}"[:60], refresh=False)
    clock = "" if state.seconds_left is None else f"{_clock(state.seconds_left)} left "
    bar.set_postfix_str(f"{clock}{state.note}"[:40], refresh=True)


def _percent(state: ProgressState) -> str:
    return f"({state.description}) {100 * state.share:.0f} %"


def pace_so_far(*, spent_seconds: float, expected_seconds: float) -> float:
    """How much longer finished jobs took than expected, for the estimate of the time left.

    The ratio is pulled towards 1 as long as only short jobs are finished.

    Args:
      spent_seconds: by all finished jobs together, 0 or more.
      expected_seconds: of the same jobs, 0 or more.

    Returns:
      The factor by which further jobs are likely to take longer than expected, above 0; 1 before
      any job is finished.
    """
    return (spent_seconds + _PRIOR_SECONDS) / (expected_seconds + _PRIOR_SECONDS)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
