"""Runs the command line: `python -m sepcon`, and the script `sepcon`.

Signals are heeded from the first moment on, before the imports that take seconds, to the last.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> int:
    """Runs the command line of this process and returns its exit code."""
    _handle(_end)
    from sepcon import cli

    code = cli.main()
    # What was asked for is done or told by now: a signal could change no more than the exit code.
    _handle(signal.SIG_IGN)
    return code


def _handle(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for number in _SIGNALS:
        # What runs in the background of a shell ignores Ctrl-C, under nohup SIGHUP; so it stays.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    """Ends at once: where the command itself takes no signals, nothing has begun or all is done."""
    name = signal.Signals(number).name
    os.write(2, f"sepcon: interrupted by {name}; the same command goes on from here\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
