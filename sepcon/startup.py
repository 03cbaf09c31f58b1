"""Loads TensorFlow in half of the time that a plain import takes: the start of every command."""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast

# Keras loads them where they are installed, for wrappers and plots that nothing here uses.
_NOT_FOR_KERAS = ("matplotlib", "pandas", "sklearn")
# Parts of TensorFlow and Keras that a command seldom asks for: a fifth of all that they load.
_LATER = frozenset(
    {
        "keras.applications",
        "keras.datasets",
        "keras.src.applications",
        "keras.src.datasets",
        "tensorflow._api.v2.__internal__.feature_column",
        "tensorflow._api.v2.compat.v1",
        "tensorflow._api.v2.compat.v2",
        "tensorflow._api.v2.feature_column",
        "tensorflow._api.v2.quantization",
    }
)
# By TF_CPP_MIN_LOG_LEVEL: severities of the log that are not wanted.
_UNWANTED = {"1": "I", "2": "IW", "3": "IWE"}
# Longer than it takes to pass on what was logged last.
_FILTER_SECONDS = 5.0
_LOADER = "_sepcon_loader"
_ONE_AT_A_TIME = threading.RLock()


def load_tensorflow() -> None:
    """Imports TensorFlow and Keras as if pandas, scikit-learn and matplotlib were not installed.

    For processes that are sepcon's own: until they end, Keras refuses what it does with these three
    (data frames, its wrappers for scikit-learn, its plots). Everybody else can import them after.
    What of TensorFlow and Keras a command seldom asks for is loaded when it does.
    Does nothing where TensorFlow is loaded already.
    """
    if "tensorflow" in sys.modules:
        return
    # Several jobs may share a GPU, of which the first would else take all memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    hidden = [name for name in _NOT_FOR_KERAS if name not in sys.modules]
    # None is Python's own mark of a module that cannot be imported.
    sys.modules.update(dict.fromkeys(hidden, cast(Any, None)))
    finder = _LaterFinder()
    sys.meta_path.insert(0, finder)
    # What an import makes stays; looking through it for garbage, then and later, finds none.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _early_log_as_wanted():
            importlib.import_module("tensorflow")
        importlib.import_module("keras")
        _give_to_tensorboard(sys.modules["tensorflow"])
        gc.freeze()
    finally:
        sys.meta_path.remove(finder)
        for name in hidden:
            del sys.modules[name]
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _early_log_as_wanted() -> Iterator[None]:
    """Has TF_CPP_MIN_LOG_LEVEL heeded by what TensorFlow logs before it has read it.

    TensorFlow 2.21 writes that to file descriptor 2, whatever the variable says. So a process of
    its own reads along, which passes on all other lines also if loading ends this one.
    """
    severities = _UNWANTED.get(os.environ.get("TF_CPP_MIN_LOG_LEVEL", ""))
    if severities is None:
        yield
        return
    lines = rf"^(WARNING: All log messages before absl::|[{severities}]0000 00:00:)"
    try:
        real = os.dup(2)
    except OSError:  # There is no standard error.
        yield
        return
    try:
        reader = subprocess.Popen(
            ["grep", "-aEv", "--line-buffered", lines],
            stdin=subprocess.PIPE,
            stdout=real,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process.
        )
    except OSError:  # There is no grep.
        os.close(real)
        yield
        return
    pipe = cast(IO[bytes], reader.stdin)
    os.dup2(pipe.fileno(), 2)
    pipe.close()
    try:
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)
        # What was started meanwhile may hold the other end: not waited for then.
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(_FILTER_SECONDS)


def _give_to_tensorboard(tensorflow: types.ModuleType) -> None:
    """TensorBoard's summaries would take the same from `tensorflow.compat.v2`, and load that."""
    with contextlib.suppress(ImportError):
        importlib.import_module("tensorboard.compat").__dict__["tf2"] = tensorflow


class _LaterFinder(importlib.abc.MetaPathFinder):
    """Finds the modules that are to be loaded when something of them is asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _LATER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LaterLoader(spec.loader)
        return spec


class _LaterLoader(importlib.abc.Loader):
    """Puts a `_LaterModule` in place of running a module."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # Source, resources: as if it were the loader itself.

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__[_LOADER] = self._loader
        module.__class__ = _LaterModule


class _LaterModule(types.ModuleType):
    """A module that is run when something is asked for that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        # What tools ask of any module, such as __wrapped__, is no reason to load one.
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(name)
        _load(self)
        return types.ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        _load(self)
        return sorted(self.__dict__)


def _load(module: types.ModuleType) -> None:
    """Runs a module once; asked again while it runs, by what it imports, does nothing."""
    with _ONE_AT_A_TIME:
        loader = module.__dict__.pop(_LOADER, None)
        if loader is None:
            return
        try:
            loader.exec_module(module)
        except BaseException:
            module.__dict__[_LOADER] = loader
            raise
        module.__class__ = types.ModuleType
