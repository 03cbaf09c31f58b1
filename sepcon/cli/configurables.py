"""Makes every verb and everything that gin files can name known to gin, without importing it.

Gin is given a stand-in for each, with the parameters that the source has, which imports the real
function or class when it is called. A run so loads only what it uses.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sepcon
from sepcon.cli.signatures import Source, read_source
from sepcon.verbs.registry import CONFIGURABLES, GIVEN_BY_CALLERS, VERBS

_EMPTY = inspect.Parameter.empty
_MANY = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
_registered: dict[str, Callable[..., Any]] = {}
_sources: dict[str, Source] = {}
_not_bound: dict[str, frozenset[str]] = {}


def register(gin: Any) -> None:
    """Registers all of them with gin, once per process."""
    if _registered:
        return
    for path in CONFIGURABLES:
        _register(gin, path, path.partition(":")[0], GIVEN_BY_CALLERS.get(path, ()))
    for verb in VERBS.values():
        given = ["run_dir", "config_text", *(["launch"] if verb.launches else [])]
        _register(gin, verb.function, "sepcon", given)


def configured(path: str) -> Callable[..., Any]:
    """The function of module:name that gives the real one what gin has bound."""
    return _registered[path]


def selector_of(path: str) -> str:
    """What gin calls the verb's function, or the configurable, of module:name."""
    module, name = path.split(":")
    is_verb = any(verb.function == path for verb in VERBS.values())
    return f"{'sepcon' if is_verb else module}.{name}"


def source_of(selector: str) -> Source | None:
    """What the source says of a configurable; None of one that a user's own module registered."""
    return _sources.get(selector)


def complete(gin: Any, selector: str) -> str:
    """The full name of what a selector, perhaps without its modules, stands for.

    Raises:
      LookupError: for nothing, or for several.
    """
    try:
        reference = importlib.import_module("gin.config").ConfigurableReference(selector, False)
    except ValueError:
        raise LookupError(selector) from None
    return reference.configurable.selector


def names(gin: Any, selector: str) -> Sequence[str]:
    """The parameters of a configurable, whoever registered it."""
    return [name for name, each in _parameters(gin, selector).items() if each.kind not in _MANY]


def accepts(gin: Any, selector: str, parameter: str) -> bool:
    """Whether a configurable has a parameter, or takes any.

    Args:
      gin: the library.
      selector: full name of the configurable.
      parameter: its name.
    """
    parameters = _parameters(gin, selector)
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return takes_any or parameter in parameters


def required(gin: Any, selector: str) -> list[str]:
    """The parameters of a configurable that have no default."""
    source = source_of(selector)
    if source is not None:
        return source.required
    parameters = _parameters(gin, selector)
    return [name for name in names(gin, selector) if parameters[name].default is _EMPTY]


def _parameters(gin: Any, selector: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(gin.get_configurable(selector)).parameters


class Default(NamedTuple):
    """A default. Attributes: value, as the source has it; origin, where it stands there."""

    value: str
    origin: str


def defaults(selector: str) -> dict[str, Default]:
    """The parameters with a default that gin may bind, of a configurable of this package."""
    source = _sources.get(selector)
    if source is None:
        return {}
    root = Path(sepcon.__file__).parents[1]
    return {
        name: Default(each.default, f"default, {each.file.relative_to(root)}:{each.line}")
        for name, each in source.parameters.items()
        if each.default is not None and name not in _not_bound[selector]
    }


def known() -> list[str]:
    """The names of all verbs' functions and configurables, without their modules."""
    return [selector.rpartition(".")[2] for selector in _sources]


def _register(gin: Any, path: str, module: str, given: Sequence[str]) -> None:
    source = read_source(path)
    selector = selector_of(path)
    _registered[path] = gin.external_configurable(
        _stand_in(path, source), module=module, denylist=list(given)
    )
    _sources[selector], _not_bound[selector] = source, frozenset(given)


def _stand_in(path: str, source: Source) -> Callable[..., Any]:
    module, name = path.split(":")

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__module__ = module
    call.__signature__ = source.signature  # type: ignore[attr-defined]
    return call
