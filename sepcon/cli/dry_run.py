"""`--dry_run`: hands a configuration to the checks, and shows what they found."""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from sepcon.cli import configurables
from sepcon.cli.bindings import Configuration
from sepcon.cli.signatures import read_source
from sepcon.verbs.registry import Verb


def dry_run(verb: Verb, given: Mapping[str, Any], configuration: Configuration) -> str:
    """Checks what can be checked without running a verb.

    Args:
      verb: which.
      given: arguments that flags give, with `run_dir`.
      configuration: the others.

    Returns:
      A table.

    Raises:
      SepconError: something is not as it must be.
    """
    # It loads numpy, which must not be loaded before the number of its threads is set.
    from sepcon.runs import run_folder

    rows = [("run folder", run_folder.outlook(given["run_dir"]))]
    check = _check_of_launching if verb.checked_by else _check_by_opening
    rows += check(verb, given, configuration)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _check_of_launching(
    verb: Verb, given: Mapping[str, Any], configuration: Configuration
) -> Sequence[tuple[str, str]]:
    """What the checks of a verb that starts others say, which do without TensorFlow."""
    module, name = verb.checked_by.split(":")
    check = getattr(importlib.import_module(module), name)
    return check(**_bound(verb, given, configuration))


def _check_by_opening(
    verb: Verb, given: Mapping[str, Any], configuration: Configuration
) -> Sequence[tuple[str, str]]:
    """What is found by opening data and models and by reading one batch."""
    # It loads TensorFlow, by way of what it checks.
    checks = importlib.import_module("sepcon.verbs.dry_run")
    others = {name: value for name, value in given.items() if name != "run_dir"}
    train = None
    if "loop" in read_source(verb.function).parameters:
        train = functools.partial(configurables.configured(verb.function), **others)
    return checks.dry_run(
        run_dir=given["run_dir"],
        arguments=lambda: _bound(verb, others, configuration),
        opened_by=verb.opened_by,
        train=train,
        loop_settings=_loop_settings(verb, configuration),
    )


def _bound(verb: Verb, given: Mapping[str, Any], configuration: Configuration) -> dict[str, Any]:
    """The arguments of the verb, with those of a function that it is given to call."""
    gin = configuration.gin
    selector = configurables.selector_of(verb.function)
    bound = gin.get_bindings(selector, resolve_references=False)
    arguments = {name: value for name, value in bound.items() if name not in given}
    for value in list(arguments.values()):
        if hasattr(value, "scoped_configurable_fn") and not value.evaluate:
            with gin.config_scope(list(value.scopes)):
                arguments |= gin.get_bindings(value.configurable.selector)
    return copy.deepcopy(arguments) | dict(given)


def _loop_settings(verb: Verb, configuration: Configuration) -> dict[str, Any]:
    """What is bound of the loop that the verb would run."""
    name = verb.function.partition(":")[2]
    loop = configuration.bound(f"sepcon.{name}.loop") if "loop" in _names(verb) else None
    if loop is None:
        return {}
    with configuration.gin.config_scope(list(loop.scopes)):
        return configuration.gin.get_bindings(loop.configurable.selector)


def _names(verb: Verb) -> Mapping[str, Any]:
    return read_source(verb.function).parameters
