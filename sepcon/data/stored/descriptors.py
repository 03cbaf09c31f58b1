"""Many files, each opened when it is first read."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import threading
import weakref


class Descriptors:
    """Open files by their paths, for reading at any place from any thread.

    They stay open: a training run reads from all of its files, and a call to open one costs more
    than a patch. Where the system allows more open files than the shell does, they are taken.

    Args:
      at_random: whether no more shall be read than is asked for, as the next read is elsewhere.
    """

    def __init__(self, *, at_random: bool = False) -> None:
        self._at_random = at_random
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._open)

    def __getitem__(self, path: str) -> int:
        descriptor = self._open.get(path)
        if descriptor is None:
            with self._lock:
                if path not in self._open:
                    self._open[path] = self._opened(path)
                descriptor = self._open[path]
        return descriptor

    def _opened(self, path: str) -> int:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            descriptor = os.open(path, os.O_RDONLY)
        if self._at_random:
            with contextlib.suppress(OSError):  # An advice; some file systems take none.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return descriptor


def _close(descriptors: dict[str, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
