"""`--print_config`: every value of a run with the place that it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sepcon.cli import configurables
from sepcon.cli.bindings import MACRO, Configuration, Key
from sepcon.cli.reach import Reach

_WIDTH = 60


def print_config(
    configuration: Configuration, found: Reach, by_flags: Mapping[str, tuple[str, Any]]
) -> str:
    """Returns the configuration as a gin file with the origin of each value behind it.

    First what the run reads: macros, bound parameters, and as comments what flags give and the
    defaults of all others. Then what is bound and not read, as comments too.

    Args:
      configuration: what is bound.
      found: what the run reads of it.
      by_flags: argument of the verb's function -> flag and value.
    """
    read = [key for key in configuration.values if key in found.read]
    unread = [key for key in configuration.values if key not in found.read]
    parts = [
        ["# Macros.", *(_bound(configuration, key) for key in _sorted(read, macros=True))],
        [
            "# Parameters; those without a binding have the default of the source.",
            *_parameters(configuration, found, read, by_flags),
        ],
    ]
    if found.missing:
        parts.append(["# Required, and not given: " + ", ".join(sorted(found.missing))])
    if unread:
        lines = [f"# {_bound(configuration, key)}" for key in _sorted(unread)]
        parts.append(["# Bound, but not read by this run.", *lines])
    return "\n\n".join("\n".join(part) for part in parts)


def _sorted(keys: Iterable[Key], *, macros: bool | None = None) -> list[Key]:
    chosen = [key for key in keys if macros is None or (key.selector == MACRO) == macros]
    return sorted(chosen, key=lambda key: (key.selector != MACRO, str(key).lower()))


def _bound(configuration: Configuration, key: Key) -> str:
    return _line(f"{key} = {configuration.values[key]!r}", str(configuration.origins[key]))


def _line(text: str, origin: str) -> str:
    return f"{text:<{_WIDTH}}  # {origin}"


def _parameters(
    configuration: Configuration,
    found: Reach,
    read: Iterable[Key],
    by_flags: Mapping[str, tuple[str, Any]],
) -> list[str]:
    lines = {str(key): _bound(configuration, key) for key in _sorted(read, macros=False)}
    for selector, scope in found.calls:
        for name, default in configurables.defaults(selector).items():
            key = Key(scope, selector, name)
            # What is bound without a scope, or in an outer one, holds in this one too.
            parts = scope.split("/") if scope else []
            outer = ("/".join(parts[:count]) for count in range(len(parts) + 1))
            if not any(Key(each, selector, name) in configuration.values for each in outer):
                lines[str(key)] = _line(f"# {key} = {default.value}", default.origin)
    verb = found.calls[0][0]
    for argument, (flag, value) in by_flags.items():
        key = Key("", verb, argument)
        lines[str(key)] = _line(f"# {key} = {value!r}", f"--{flag}")
    return [lines[name] for name in sorted(lines, key=str.lower)]
