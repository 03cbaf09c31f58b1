"""SIGTERM, SIGHUP and Ctrl-C, handled in one way by everything that takes long.

Most commands end at once, by an `Interrupted`. A training, and a command that started others, only
note the first signal, and then end in order. Outside the main thread, where Python handles no
signals, nothing is changed.
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
    """Inside this block, the signals raise `Interrupted` in the main thread, always.

    What a signal handler raises can get lost: Python only prints it if it comes inside a `__del__`
    or around a fork, and some libraries turn it into errors of their own. So the signal is
    remembered too: `check`, which every progress bar calls, raises it again, and so does the end of
    this block.

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
    """Raises the `Interrupted` of a signal that came earlier and whose exception was lost.

    Raises:
      Interrupted: a signal came since `interruptible` was entered.
    """
    if _received is not None and threading.current_thread() is threading.main_thread():
        raise Interrupted(_received)


def _raise(number: int, frame: FrameType | None) -> None:
    global _received
    _received = number
    raise Interrupted(number)


class StopRequest:
    """Inside this block, the first signal is noted, and the second raises `Interrupted`.

    Args:
      hint: printed at the first Ctrl-C, because the command takes some time to end.

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
    """Inside this block, signals wait, for this process and for those that it starts meanwhile.

    A child process that is started here cannot be ended by a Ctrl-C before it has called
    `leave_signals_to_parent`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent() -> None:
    """Makes a child process ignore the signals, which reach its parent as well."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
