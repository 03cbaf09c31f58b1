"""What a verb that starts other verbs hands on to them, and how it reads their configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sepcon.cli import configurables
from sepcon.cli.arguments import argument_flags, flags_of, given_arguments
from sepcon.cli.bindings import Configuration
from sepcon.cli.configuration import read_configuration
from sepcon.cli.reach import check_values, reach
from sepcon.runs.launch import Launch
from sepcon.verbs.registry import VERBS, Verb


def launch_of(
    verb: str,
    configuration: Configuration,
    *,
    gin_files: Sequence[str],
    gin_bindings: Sequence[str],
    search_path: Sequence[str],
) -> Launch:
    """Returns how a verb starts others.

    Args:
      verb: its name.
      configuration: what its own command line says.
      gin_files: as given on it, like what follows.
      gin_bindings: those that bind the verb itself, or what its arguments are made of, are not
        handed on: other verbs have no use for them.
      search_path: folders in which gin files are sought.
    """
    own = _own_configurables(verb, configuration)
    default = f"runs/{verb}.gin"
    # It may bind what the others read, and they would not read it by themselves.
    is_read = any(origin.file == default for origin in configuration.origins.values())
    files = [default] * is_read + [file for file in gin_files if file != default]
    words = (
        # What one verb reads, the others need not.
        "--shared_config",
        *[f"--gin_search_path={folder}" for folder in search_path],
        *[f"--gin_file={file}" for file in files],
        *[f"--gin_bindings={each}" for each in gin_bindings if not _is_of(each, own)],
    )
    return Launch(words, bound_by, tuple(gin_files), tuple(gin_bindings), text_of)


def text_of(words: Sequence[str]) -> str:
    """The resolved configuration of the words of a command."""
    return _read(words)[2].text()


def _read(words: Sequence[str]) -> tuple[Verb, Any, Configuration]:
    """The verb of the words of a command, its flags, and its configuration."""
    name, *given_words = words
    verb = VERBS[name]
    values = flags_of(verb)
    values(["sepcon", *given_words])
    return (
        verb,
        values,
        read_configuration(name, values.gin_file, values.gin_bindings, values.gin_search_path),
    )


def bound_by(words: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """What the words of a command bind; see `sepcon.runs.launch.Launch.bound`."""
    verb, values, configuration = _read(words)
    name = words[0]
    by_caller = {*given_arguments(verb, values), "run_dir", "config_text"}
    found = reach(configuration, configurables.selector_of(verb.function), given=by_caller)
    check_values(found, name, argument_flags(verb, values))
    nothing = object()
    bound = {each: configuration.bound(each, nothing) for each in names}
    gin = configuration.gin
    return {
        each: _plain(_without_macros(gin, value))
        for each, value in bound.items()
        if value is not nothing
    }


def _without_macros(gin: Any, value: Any) -> Any:
    """A bound value in which macros are replaced by what they are bound to."""
    if isinstance(value, gin.config.ConfigurableReference) and repr(value).startswith("%"):
        return _without_macros(gin, gin.query_parameter(repr(value)))
    if isinstance(value, Mapping):
        return {_without_macros(gin, k): _without_macros(gin, v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_macros(gin, each) for each in value)
    return value


def _plain(value: Any) -> Any:
    """A value in which references stand as gin writes them."""
    if isinstance(value, Mapping):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value)
    return repr(value) if type(value).__name__ == "ConfigurableReference" else value


def _own_configurables(verb: str, configuration: Configuration) -> list[str]:
    """The selectors of a verb and of what its arguments are made of."""
    selector = configurables.selector_of(VERBS[verb].function)
    gin = configuration.gin
    bound = gin.get_bindings(selector, resolve_references=False)
    reference = gin.config.ConfigurableReference
    made = [each.configurable.selector for each in bound.values() if isinstance(each, reference)]
    return [selector, *made]


def _is_of(binding: str, selectors: Sequence[str]) -> bool:
    """Whether a binding is of a parameter of one of these configurables."""
    match = re.match(r"\s*(?:[\w./]*/)?([\w.]+)\.\w+\s*=", binding)
    return match is not None and any(f".{name}".endswith(f".{match[1]}") for name in selectors)
