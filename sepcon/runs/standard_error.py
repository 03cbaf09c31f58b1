"""Standard error while a bar is drawn or a decoder talks: one place decides what is seen there.

Libraries in C write to file descriptor 2, past Python and without a switch: TensorFlow and XLA what
they find, libmpg123 whatever it dislikes. So the descriptor leads into memory meanwhile. What comes
is passed on in whole lines, above the bars, and the bars are drawn again below it. Memory, as a
writer never waits for it: one that holds Python's lock could wait for ever.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

Show = Callable[[str], None]
_SECONDS = 0.1


class _StandardError:
    """Holds back what is written to standard error while somebody is inside."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users = 0
        self._drops: list[re.Pattern[bytes]] = []
        self._shows: list[Show] = []
        self._real: int | None = None
        self._memory, self._read = -1, 0

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            try:
                self._real = os.dup(2)
            except OSError:  # There is no standard error.
                return
            self._memory, self._read = os.memfd_create("sepcon-stderr", os.MFD_CLOEXEC), 0
            os.dup2(self._memory, 2)

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users or self._real is None:
                return
            os.dup2(self._real, 2)
            self.pass_on(whole_lines=False)
            os.close(self._memory)
            os.close(self._real)
            self._real = None

    @contextlib.contextmanager
    def dropping(self, lines: re.Pattern[bytes]) -> Iterator[None]:
        with self._lock:
            self.pass_on(whole_lines=False)
            self._drops.append(lines)
        try:
            yield
        finally:
            with self._lock:
                self.pass_on(whole_lines=False)
                self._drops.remove(lines)

    @contextlib.contextmanager
    def showing(self, show: Show) -> Iterator[None]:
        with self._lock:
            self._shows.append(show)
        try:
            yield
        finally:
            with self._lock:
                self.pass_on(whole_lines=False)
                self._shows.remove(show)

    def pass_on(self, *, whole_lines: bool) -> None:
        """Lets through what has come, but for what is dropped."""
        with self._lock:
            if self._real is None:
                return
            size = os.fstat(self._memory).st_size
            if size == self._read:
                return
            text = os.pread(self._memory, size - self._read, self._read)
            if whole_lines:
                text = text[: text.rfind(b"\n") + 1]
            self._read += len(text)
            for lines in dict.fromkeys(self._drops):
                text = lines.sub(b"", text)
            if text and self._shows:
                self._shows[-1](text.decode(errors="backslashreplace"))
                return
            with contextlib.suppress(OSError):  # A terminal may be closed.
                while text:
                    text = text[os.write(self._real, text) :]

    def is_terminal(self) -> bool:
        with self._lock:
            try:
                return os.isatty(2 if self._real is None else self._real)
            except OSError:
                return False

    def stream(self) -> TextIO:
        """What is written to it is not held back; to be closed by whoever asked."""
        with self._lock:
            return os.fdopen(os.dup(2 if self._real is None else self._real), "w", errors="replace")

    def end(self) -> None:
        """Lets everything through at the end of the process, whoever is still inside."""
        with contextlib.suppress(OSError, ValueError), self._lock:
            sys.stderr.flush()
            self._shows.clear()
            self.pass_on(whole_lines=False)


_standard_error = _StandardError()
atexit.register(_standard_error.end)


@contextlib.contextmanager
def without(lines: re.Pattern[bytes]) -> Iterator[None]:
    """Lets no such lines reach standard error; several threads may be inside.

    What else is written there in between (a bar, TensorFlow) is seen a moment later.
    """
    _standard_error.enter()
    try:
        with _standard_error.dropping(lines):
            yield
    finally:
        _standard_error.leave()


@contextlib.contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """While entered, `show` is given what is written to standard error, in whole lines.

    Args:
      show: draws a text with line ends; it is called by several threads, one at a time.
    """
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_SECONDS):
            _standard_error.pass_on(whole_lines=True)

    _standard_error.enter()
    thread = threading.Thread(target=look, name="standard-error", daemon=True)
    try:
        with _standard_error.showing(show):
            thread.start()
            yield
    finally:
        ended.set()
        thread.join()
        _standard_error.leave()


def is_terminal() -> bool:
    """Whether standard error leads to a terminal, also while it is held back."""
    return _standard_error.is_terminal()


def stream() -> TextIO:
    """A stream for bars: what is written to it is never held back. Whoever asks closes it."""
    return _standard_error.stream()
