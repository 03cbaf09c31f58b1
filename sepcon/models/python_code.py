"""Python code of users: modules and functions by their names or files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sepcon.errors import SepconError, one_line


def function_named(name: str) -> tuple[Callable[..., Any], str, bytes]:
    """Finds a function.

    Args:
      name: 'module:function' or 'path/to/file.py:function'.

    Returns:
      The function, its name in the module, and the text of the module.

    Raises:
      SepconError: there is no such function.
    """
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise SepconError(
            f"{name!r} names no function: give 'module:function' or 'FILE.py:function'"
        )
    module = import_code(where)
    function = getattr(module, attribute, None)
    if not callable(function):
        raise SepconError(f"{where} has no function {attribute!r}; check the name")
    return function, attribute, text_of(module)


def import_code(where: str) -> ModuleType:
    """Imports a module by its name, or from its file.

    Raises:
      SepconError: it is not there, or fails.
    """
    if not where.endswith(".py"):
        return told_by_name(lambda: importlib.import_module(where), where)
    path = Path(where).expanduser()
    if not path.is_file():
        raise SepconError(f"{where}: no such file; give a module, or the path of its file")
    spec = importlib.util.spec_from_file_location(f"sepcon_foreign_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses and pickles of the module look there.
    told_by_name(lambda: spec.loader.exec_module(module), where)  # type: ignore[union-attr]
    return module


def text_of(module: ModuleType) -> bytes:
    """Returns the source of a module; its name where it has none."""
    file = getattr(module, "__file__", None)
    return Path(file).read_bytes() if file else module.__name__.encode()


def told_by_name(call: Callable[[], Any], name: str) -> Any:
    """Calls what strangers wrote, of which any kind of error may come, and says whose it is.

    Raises:
      SepconError: it failed.
    """
    try:
        return call()
    except Exception as error:
        raise SepconError(f"{name} failed: {type(error).__name__}: {one_line(error)}") from error
