"""Progress of long stages: a bar on a terminal, sparse lines in a log, a file for a parent process.

A parent that runs several stages at once (the quickstart) sets the environment variable
`SEPCON_PROGRESS_FILE` in each child; the child then writes its state there as JSON instead of
drawing a bar, and the parent draws one bar per child.

Whatever else is written to standard error meanwhile, by Python or past it, appears above the bars;
in a log every state of a bar is a line of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from sepcon.runs import standard_error, stop
from sepcon.runs.whole_file import whole_file

PROGRESS_FILE_VARIABLE = "SEPCON_PROGRESS_FILE"
_LOG_SECONDS = 30.0
_FILE_SECONDS = 0.5

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ProgressState:
    """How far a stage of another process is, as that process last wrote it.

    Attributes:
      description: what the stage does.
      done: units done.
      total: units in all; None where that is not known.
      seconds_left: an estimate; None where there is none yet.
      note: shown behind the bar, such as the loss.
    """

    description: str = "starting"
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None
    note: str = ""

    @classmethod
    def read(cls, file: Path) -> ProgressState:
        """Reads the file of a process; gives the defaults where it has not written one yet."""
        try:
            return cls(**json.loads(file.read_text()))
        except (OSError, ValueError):
            return cls()

    @property
    def share(self) -> float:
        """The done share of the stage, 0 where the total is not known."""
        return self.done / self.total if self.total else 0.0


class _WholeLines:
    """A stream for bars in a log: each state becomes a line, and none is redrawn."""

    def write(self, text: str) -> None:
        for line in re.split(r"[\r\n]|\x1b\[A", text):
            if line.strip():
                sys.stderr.write(line.rstrip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


class _Screen:
    """The terminal, for all bars of this process together, while there are any."""

    def __init__(self) -> None:
        self._users = 0
        self._stack = contextlib.ExitStack()
        self.stream: TextIO | None = None

    def enter(self) -> TextIO:
        self._users += 1
        if self.stream is None:
            self.stream = self._stack.enter_context(standard_error.stream())
            self._stack.enter_context(standard_error.shown_by(self._show))
        return self.stream

    def leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._stack.close()
            self.stream = None

    def _show(self, text: str) -> None:
        """Writes lines above the bars, which are drawn again below them."""
        end = "" if text.endswith("\n") else "\n"
        tqdm.write(text, file=self.stream, end=end)


_screen = _Screen()


class Bar:
    """A bar of tqdm that nothing else on standard error breaks; to be closed.

    Args:
      arguments: those of tqdm, but `file`.
    """

    def __init__(self, **arguments: Any) -> None:
        self._on_screen = standard_error.is_terminal() and not arguments.get("disable")
        file = _screen.enter() if self._on_screen else _WholeLines()
        self.tqdm = tqdm(file=file, **arguments)

    def close(self) -> None:
        """Leaves the last state on the screen, unless `leave` is False."""
        self.tqdm.close()
        if self._on_screen:
            self._on_screen = False
            _screen.leave()


class Progress:
    """Counts the units of a stage and shows how many are left and for how long.

    Args:
      total: units in the stage, or None when it is not known.
      description: what the stage does, a few words.
      unit: what is counted, in the singular.
      initial: units done before (a resumed stage).
    """

    def __init__(
        self, total: int | None, description: str, *, unit: str = "step", initial: int = 0
    ) -> None:
        self._description = description
        self._file = os.environ.get(PROGRESS_FILE_VARIABLE)
        self._last_written = 0.0
        self._note = ""
        on_terminal = standard_error.is_terminal()
        self._bar = Bar(
            total=total,
            initial=initial,
            desc=description,
            unit=unit,
            disable=self._file is not None,
            # In a log file a bar that redraws itself is noise: one line in half a minute will do.
            mininterval=0.1 if on_terminal else _LOG_SECONDS,
            maxinterval=10.0 if on_terminal else _LOG_SECONDS,
            dynamic_ncols=on_terminal,
            ascii=not on_terminal,
        )
        self._initial = initial
        self._done = initial
        self._total = total
        self._start = time.monotonic()
        self._write(force=True)

    def advance(self, units: int = 1, note: str = "") -> None:
        """Counts units as done.

        Args:
          units: how many more are done.
          note: shown behind the bar from now on, such as a loss or a file name; empty for no
            change.

        Raises:
          Interrupted: a signal to stop came, see `sepcon.runs.stop.check`.
        """
        stop.check()
        self._done += units
        if note:
            self._note = note
            self._bar.tqdm.set_postfix_str(note, refresh=False)
        self._bar.tqdm.update(units)
        self._write()

    def write(self, line: str) -> None:
        """Prints a line to standard error, above the bar."""
        print(line, file=sys.stderr)

    def close(self) -> None:
        """Ends the bar and writes the last state for the parent process."""
        self._bar.close()
        self._write(force=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, force: bool = False) -> None:
        now = time.monotonic()
        if self._file is None or (not force and now - self._last_written < _FILE_SECONDS):
            return
        self._last_written = now
        elapsed = now - self._start
        done_here = self._done - self._initial
        left = None
        if self._total is not None and done_here > 0:
            left = elapsed / done_here * (self._total - self._done)
        state = ProgressState(self._description, self._done, self._total, left, self._note)
        with whole_file(Path(self._file), durable=False) as scratch:
            scratch.write_text(json.dumps(dataclasses.asdict(state)))


class SoundProgress:
    """Counts seconds of sound, as that is what takes time: recordings differ in length.

    Args:
      seconds: of all recordings together.
      description: what is done with them, a few words.
    """

    def __init__(self, seconds: float, description: str) -> None:
        self._progress = Progress(round(seconds), description, unit=" s of sound")
        self._done, self._shown, self._end = 0.0, 0, 0.0
        self._note = ""

    def begin(self, seconds: float, name: str) -> None:
        """The next recording is of so many seconds."""
        self._end += seconds
        self._note = name if len(name) <= 40 else f"{name[:39]}…"

    def advance(self, seconds: float) -> None:
        """Counts seconds of the recording as done."""
        self._done = min(self._done + seconds, self._end)
        units = round(self._done) - self._shown
        self._shown += units
        self._progress.advance(units, self._note)

    def finish(self) -> None:
        """The recording is done, was done before, or cannot be done."""
        self.advance(self._end - self._done)

    def write(self, line: str) -> None:
        """Prints a line to standard error, above the bar."""
        self._progress.write(line)

    def __enter__(self) -> SoundProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.close()


def track(
    items: Iterable[T], total: int | None, description: str, *, unit: str = "item"
) -> Iterator[T]:
    """Yields `items` one by one and shows a progress bar.

    Args:
      items: anything iterable.
      total: how many they are, or None when it is not known.
      description: what is done with them, a few words.
      unit: what one of them is called, in the singular.
    """
    with Progress(total, description, unit=unit) as progress:
        for item in items:
            yield item
            progress.advance()
