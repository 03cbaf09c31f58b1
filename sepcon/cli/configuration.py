"""The configuration of a command: its default gin file, the files given, and single bindings."""

from __future__ import annotations

import importlib.util  # noqa: F401 - gin 0.5 uses it without importing it
import re
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sepcon.cli import configurables
from sepcon.cli.bindings import Configuration
from sepcon.cli.gin_files import find, gin_folders, project_folder
from sepcon.cli.names import check_names
from sepcon.cli.reach import check_macros, check_values, reach
from sepcon.cli.reading import Reader
from sepcon.verbs.registry import VERBS


def read_configuration(
    verb: str,
    gin_files: Sequence[str],
    gin_bindings: Sequence[str],
    search_path: Sequence[str] = (),
    *,
    defaults: bool = True,
) -> Configuration:
    """Reads the default file of a verb, some gin files, and some bindings; later ones win.

    The default is gin/runs/VERB.gin, if there is one. A file runs/VERB.gin or runs/VERB_*.gin that
    is given stands in its place, at the very beginning. A file of gin/runs is read once: where it
    is named or included again, it is passed over, and so undoes nothing.

    Args:
      verb: whose default comes first; "" for none.
      gin_files: names of files, sought in the current folder, in search_path and in gin/.
      gin_bindings: single bindings, which win over the files.
      search_path: further folders.
      defaults: False leaves the default file out.

    Raises:
      ConfigurationError: a file is not there, or a file or binding is wrong; what else it says of
        names that exist nowhere, see `check_names`.
    """
    import gin

    gin.clear_config()
    configurables.register(gin)
    folders = ["", *search_path, *gin_folders()]
    reader = Reader(gin, folders)
    first = _first_file(verb, gin_files, folders) if verb and defaults else None
    if first is not None:
        reader.read_file(first, once=True)
    for name in gin_files:
        reader.read_named(name)
    for binding in gin_bindings:
        reader.read_binding(binding)
    configuration = Configuration(
        gin,
        MappingProxyType(reader.values),
        MappingProxyType(reader.origins),
        frozenset(reader.asked_for),
    )
    check_names(configuration)
    return configuration


def _first_file(verb: str, gin_files: Sequence[str], folders: Sequence[str]) -> Path | None:
    """The file that is read before all others: the verb's default, or what stands in its place."""
    runs = project_folder() / "runs"
    for name in gin_files:
        path = find(name, folders)
        if path is None:
            continue
        is_variant = path.stem.startswith(f"{verb}_") and path.resolve().parent == runs.resolve()
        if is_variant or re.search(rf"(^|/)runs/{verb}\.gin$", name):
            return path
    default = runs / f"{verb}.gin"
    return default if default.is_file() else None


def configured(name: str, *, gin_files: Sequence[str], gin_bindings: Sequence[str]) -> Any:
    """Makes what gin files describe, for programs beside the verbs.

    Args:
      name: module:name, one of `CONFIGURABLES`.
      gin_files: later ones win.
      gin_bindings: single bindings, which win over the files.

    Raises:
      SepconError: a file or binding is wrong.
    """
    configuration = read_configuration("", gin_files, gin_bindings)
    check_values(reach(configuration, configurables.selector_of(name)), name)
    return configurables.configured(name)()


def bound_arguments(
    verb: str, *, gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> dict[str, Any]:
    """What gin files give of the arguments of a verb, for programs beside the verbs.

    What an argument refers to is made; bind to None what shall not be.

    Args:
      verb: one of `VERBS`, whose default gin file comes first.
      gin_files: later ones win.
      gin_bindings: single bindings, which win over the files.

    Raises:
      SepconError: a file or binding is wrong.
    """
    configuration = read_configuration(verb, gin_files, gin_bindings)
    function = VERBS[verb].function
    check_macros(reach(configuration, configurables.selector_of(function)))
    return configuration.gin.get_bindings(configurables.configured(function))
