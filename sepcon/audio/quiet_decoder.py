"""Keeps the messages of the MP3 decoder about damaged frames off the terminal.

libmpg123 writes them to file descriptor 2, past Python, and has no switch to turn them off.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator

# How the lines of libmpg123 begin. Python and TensorFlow begin theirs in other ways.
_CHATTER = re.compile(
    rb"^(?:\[[^\]\n]*libmpg123[^\]\n]*\]|\[[\w/]+\.c:|Note: |Warning: |main_data_begin|mpg123: ).*"
    rb"(?:\n|\Z)|^\n(?=Note: |Warning: )",
    re.MULTILINE,
)


class _Sieve:
    """Holds back what is written to standard error while somebody decodes, and lets other through.

    Whatever else writes there in between (a progress bar, TensorFlow) is heard a moment later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._stderr: int | None = None
        self._held = -1
        self._read = 0

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            try:
                self._stderr = os.dup(2)
            except OSError:  # There is no standard error.
                return
            self._held, self._read = os.memfd_create("sepcon-stderr", os.MFD_CLOEXEC), 0
            os.dup2(self._held, 2)

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if self._stderr is None:
                return
            if not self._users:
                os.dup2(self._stderr, 2)
            self._let_through(self._stderr)
            if not self._users:
                os.close(self._held)
                os.close(self._stderr)
                self._stderr = None

    def _let_through(self, stderr: int) -> None:
        size = os.fstat(self._held).st_size
        if size == self._read:
            return
        text = os.pread(self._held, size - self._read, self._read)
        self._read = size
        rest = _CHATTER.sub(b"", text)
        while rest:
            rest = rest[os.write(stderr, rest) :]


_sieve = _Sieve()


@contextlib.contextmanager
def quiet_decoder() -> Iterator[None]:
    """Discards what the MP3 decoder writes to standard error; several threads may be inside.

    For callers that report damaged files themselves.
    """
    _sieve.begin()
    try:
        yield
    finally:
        _sieve.end()
