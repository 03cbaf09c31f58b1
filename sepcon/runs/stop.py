"""The wish to stop: SIGTERM, Ctrl-C, a terminal that was closed: heeded by all that takes long.

A command ends by an `Interrupted` where it is; a training, and a parent of other commands, only
note the first signal, and end in order. Outside the main thread, where Python takes no signals,
nothing is changed.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

from sepcon.errors import Interrupted

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_received: int | None = None

Handler = Callable[[int, FrameType | None], Any]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While entered, the signals raise `Interrupted` in the main thread, and are not lost.

    What a handler raises can be lost: Python prints and forgets it in a `__del__` or around a fork,
    and libraries turn it into errors of their own. So the signal is remembered too: `check`, which
    every progress bar calls, raises again, and so does the end of this block.

    Raises:
      Interrupted: a signal came.
    """
    global _received
    _received = None
    with _handled(_raise):
        try:
            yield
        except Exception as error:
            if _received is not None:
                raise Interrupted(_received) from error
            raise
        check()


def check() -> None:
    """Raises `Interrupted` if a signal came whose exception was lost on the way."""
    if _received is not None and threading.current_thread() is threading.main_thread():
        raise Interrupted(_received)


def _raise(number: int, frame: FrameType | None) -> None:
    global _received
    _received = number
    raise Interrupted(number)


class StopRequest:
    """While entered, the first of the signals is noted, and the second raises `Interrupted`.

    Args:
      hint: printed at the first Ctrl-C, as the end takes its time.

    Attributes:
      number: of the signal that came; None for none.
    """

    def __init__(self, hint: str = "") -> None:
        self.number: int | None = None
        self._hint = hint
        self._stack = contextlib.ExitStack()

    def __bool__(self) -> bool:
        return self.number is not None

    def __enter__(self) -> Self:
        self._stack.enter_context(_handled(self._note))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise Interrupted(number)
        self.number = number
        if self._hint and number == signal.SIGINT:
            print(f"\n{self._hint}", file=sys.stderr)


@contextlib.contextmanager
def _handled(handler: Handler) -> Iterator[None]:
    previous: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            # A shell ignores Ctrl-C for what runs in its background, nohup SIGHUP; so it stays.
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Holds signals back for a moment, for this process and for those that it starts meanwhile.

    A child that begins so does not die of a Ctrl-C before it has said what it does with one; see
    `leave_signals_to_parent`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent() -> None:
    """For a child process: signals to a whole group are for the parent to heed."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
