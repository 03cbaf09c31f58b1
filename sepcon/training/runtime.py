"""The process: threads, seeds, determinism, and the wish to stop.

`configure_threads` must come before anything else uses TensorFlow.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

import keras
import tensorflow as tf

from sepcon.errors import SepconError


def configure_threads(num_threads: int | None = None) -> None:
    """Sets the number of threads that one operation, and that independent ones, may use.

    Args:
      num_threads: of this process; None leaves the choice to TensorFlow (all cores).

    Raises:
      SepconError: not a positive number.
      RuntimeError: TensorFlow is in use already.
    """
    if num_threads is None:
        return
    if num_threads < 1:
        raise SepconError(f"num_threads: got {num_threads}, expected at least 1")
    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(num_threads)


def make_deterministic(seed: int) -> None:
    """Makes the process a pure function of its input: initial weights and every operation.

    On a CPU it costs nothing (a convolutional step takes the same time within 3 %); on a GPU some
    operations have slower deterministic forms, and a few have none and raise.

    Args:
      seed: of Python, numpy and Keras, and with them of all initial weights.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


class StopRequest:
    """While entered, SIGTERM and the first Ctrl-C ask for a stop instead of making one.

    Outside the main thread, where Python takes no signals, it is never set.
    """

    def __init__(self) -> None:
        self._received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        return self._received is not None

    def __str__(self) -> str:
        return self._received or "nothing"

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            print("\nstopping soon; Ctrl-C again stops at once, without saving", file=sys.stderr)
