"""Loads TensorFlow in half of the time that a plain import takes: the start of every command."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any, cast

# Keras loads them where they are installed, for wrappers and plots that nothing here uses.
_NOT_FOR_KERAS = ("matplotlib", "pandas", "sklearn")


def load_tensorflow() -> None:
    """Imports TensorFlow and Keras as if pandas, scikit-learn and matplotlib were not installed.

    For processes that are sepcon's own: until they end, Keras refuses what it does with these three
    (data frames, its wrappers for scikit-learn, its plots). Everybody else can import them after.
    Does nothing where TensorFlow is loaded already.
    """
    if "tensorflow" in sys.modules:
        return
    # Several jobs may share a GPU, of which the first would else take all memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    hidden = [name for name in _NOT_FOR_KERAS if name not in sys.modules]
    # None is Python's own mark of a module that cannot be imported.
    sys.modules.update(dict.fromkeys(hidden, cast(Any, None)))
    # What an import makes stays; looking through it for garbage, then and later, finds none.
    collecting = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("tensorflow")
        importlib.import_module("keras")
        gc.freeze()
    finally:
        for name in hidden:
            del sys.modules[name]
        if collecting:
            gc.enable()
