"""Finds names that exist nowhere: a misspelt macro or scope would change nothing, silently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sepcon.cli.bindings import MACRO, Configuration, ConfigurationError
from sepcon.cli.gin_files import project_files
from sepcon.errors import nearest

_REQUIRED = ["gin.REQUIRED"]


def references(value: Any) -> Iterator[Any]:
    """All references of gin in a bound value, also in lists, tuples and dictionaries."""
    if isinstance(value, dict):
        for key, content in value.items():
            yield from references(key)
            yield from references(content)
    elif isinstance(value, list | tuple):
        for content in value:
            yield from references(content)
    elif hasattr(value, "scoped_configurable_fn"):
        yield value


def is_required(value: Any) -> bool:
    """Whether a value is %gin.REQUIRED, gin's mark of what has to be given."""
    return any(reference.scopes == _REQUIRED for reference in references(value))


def check_names(configuration: Configuration) -> None:
    """Checks that whatever is bound has a name that something reads.

    Configurables and their parameters gin knows. A macro must be read by some value that was given,
    or be known to a gin file of the project; so must a scope. Both may be of another verb's: files
    speak to several.

    Raises:
      ConfigurationError: a macro or a scope that exists nowhere.
    """
    macros, scopes = _names_in_use(configuration)
    for key, origin in configuration.origins.items():
        if key.selector == MACRO:
            if key.scope not in macros and key.scope not in _project_macros():
                raise ConfigurationError(
                    f"configuration: {origin}: nothing reads {key.scope}"
                    f"{nearest(key.scope, macros | _project_macros()) or _MACROS}"
                )
        elif key.scope and key.scope not in scopes and key.scope not in _project_scopes():
            raise ConfigurationError(
                f"configuration: {origin}: nothing refers to the scope {key.scope} of {key}"
                f"{nearest(key.scope, scopes | _project_scopes())}"
            )


_MACROS = "; the headers of gin files name the macros there are, --print_config those of a run"


def _names_in_use(configuration: Configuration) -> tuple[set[str], set[str]]:
    """The macros and the scopes that some bound value refers to, with the scopes around them."""
    macros: set[str] = set()
    scopes: set[str] = set()
    for value in configuration.values.values():
        for reference in references(value):
            if reference.configurable.selector == MACRO:
                macros.add("/".join(reference.scopes))
            else:
                scopes |= _with_outer(reference.scopes)
    # What a macro's value refers to is made in a scope of the macro's name.
    return macros, scopes | macros


def _with_outer(scopes: list[str]) -> set[str]:
    return {"/".join(scopes[: number + 1]) for number in range(len(scopes))}


def _project_macros() -> set[str]:
    bound = {
        name for file in project_files() for name in file.bound if "." not in name.split("/")[-1]
    }
    return bound.union(*(file.macros for file in project_files()))


def _project_scopes() -> set[str]:
    found: set[str] = set()
    for file in project_files():
        for scope in file.scopes:
            found |= _with_outer(scope.split("/"))
    return found
