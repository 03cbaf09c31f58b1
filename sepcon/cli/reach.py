"""What a run reads of its configuration, told before it begins.

From the verb's function the references of bound values are followed, by gin's rules of scopes: in a
scope a/b a parameter has the value bound for a/b, else that for a, else that for every scope.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from sepcon.cli import configurables
from sepcon.cli.bindings import MACRO, Configuration, ConfigurationError, Key
from sepcon.cli.gin_files import files_that_bind, purpose
from sepcon.cli.names import is_required, references

# What is missing of data comes by a file, never by a single binding.
_DATA_FOLDERS = {"data", "import"}


@dataclasses.dataclass
class Reach:
    """What a run reads.

    Attributes:
      calls: the configurables that it may call, each with its scope.
      read: what is bound and read.
      missing: macros that are read and have no value -> what reads them first.
      unbound: parameters without a default that nothing binds, of what is called by gin itself.
    """

    calls: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    read: set[Key] = dataclasses.field(default_factory=set)
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    unbound: list[Key] = dataclasses.field(default_factory=list)


def reach(configuration: Configuration, selector: str, given: Collection[str] = ()) -> Reach:
    """Follows the references from a configurable.

    Args:
      configuration: what is bound.
      selector: the configurable that is called.
      given: names of its arguments that the caller gives, which come before bound ones.
    """
    found = Reach()
    _Walk(configuration, found).visit(selector, [], given=given, called_by_gin=True, reader="")
    return found


class _Walk:
    def __init__(self, configuration: Configuration, found: Reach) -> None:
        self._gin, self._values = configuration.gin, configuration.values
        self._found = found
        self._by_call: dict[tuple[str, str], dict[str, Key]] = {}
        for key in configuration.values:
            self._by_call.setdefault((key.scope, key.selector), {})[key.parameter] = key
        self._seen: set[tuple[str, str, bool]] = set()

    def visit(
        self,
        selector: str,
        scopes: list[str],
        *,
        called_by_gin: bool,
        reader: str,
        given: Collection[str] = (),
    ) -> None:
        scope = "/".join(scopes)
        if (selector, scope, called_by_gin) in self._seen:
            return
        self._seen.add((selector, scope, called_by_gin))
        bound = self._bound(selector, scopes)
        if selector == MACRO:
            if not bound or is_required(self._values[bound["value"]]):
                self._found.missing.setdefault(scope, reader)
        else:
            self._found.calls.append((selector, scope))
            if called_by_gin:
                self._found.unbound += [
                    Key(scope, selector, name)
                    for name in configurables.required(self._gin, selector)
                    if name not in bound and name not in given
                ]
        for parameter, key in bound.items():
            if parameter not in given:
                self._read(key, scopes)

    def _bound(self, selector: str, scopes: list[str]) -> dict[str, Key]:
        """What is bound of each parameter where it is called in a scope; the innermost wins."""
        bound: dict[str, Key] = {}
        for number in range(len(scopes) + 1):
            bound |= self._by_call.get(("/".join(scopes[:number]), selector), {})
        return bound

    def _read(self, key: Key, scopes: list[str]) -> None:
        self._found.read.add(key)
        value = self._values[key]
        if key.selector != MACRO and is_required(value):
            self._found.unbound.append(key)
        for reference in references(value):
            selector = reference.configurable.selector
            if selector == "gin.constant":
                continue
            # Without a scope of its own, what gin calls is called in the scope around it; what the
            # program calls later, in that one or in none.
            around = [scopes] if reference.evaluate else [scopes, []]
            for inner in [reference.scopes] if reference.scopes else around:
                self.visit(selector, list(inner), called_by_gin=reference.evaluate, reader=str(key))


def check_values(found: Reach, name: str, flags: dict[str, str] | None = None) -> None:
    """Checks that everything that a run reads has a value.

    Args:
      found: what it reads.
      name: of the verb, for messages.
      flags: argument of the verb's function -> the flag that gives it.

    Raises:
      ConfigurationError: a value is missing; the message says how to give it.
    """
    check_macros(found)
    for key in found.unbound:
        flag = (flags or {}).get(key.parameter)
        cure = f"give --{flag}" if flag else f"bind it: --gin_bindings='{key}=...'"
        raise ConfigurationError(
            f"configuration of {name}: missing required argument: {key} has no value; {cure}"
        )


def check_macros(found: Reach) -> None:
    """Checks that every macro that is read has a value.

    Args:
      found: what a run reads.

    Raises:
      ConfigurationError: some have none; files that bind them are named.
    """
    if found.missing:
        raise _missing(found.missing)


def _missing(missing: dict[str, str]) -> ConfigurationError:
    names = sorted(missing)
    message = f"required value missing: {', '.join(names)}"
    bind = (
        f"(read by {missing[names[0]]}); give it as --gin_bindings='{names[0]}=...', text in "
        f"quotes: '{names[0]}=\"text\"'"
    )
    files = files_that_bind(names) or files_that_bind(names[:1])
    if not files:
        return ConfigurationError(f"{message} {bind}; the header of the gin file says what it is")
    folders = sorted({file.name.partition("/")[0] for file in files})
    places = " or ".join(f"--gin_file={folder}/..." for folder in folders)
    details = [f"  {file.name:<28} {purpose(file.path)}" for file in files]
    if set(folders) <= _DATA_FOLDERS:
        return ConfigurationError(f"{message}; add {places}, one of the following", details)
    return ConfigurationError(f"{message} {bind}, or by {places}, one of the following", details)


def check_read(
    configuration: Configuration, found: Reach, name: str, given: Sequence[str] = ()
) -> None:
    """Checks that a run reads every value that its command line binds.

    Args:
      configuration: what is bound.
      found: what the run reads.
      name: of the verb.
      given: arguments of the verb's function that flags give.

    Raises:
      ConfigurationError: it does not read one.
    """
    for key, origin in configuration.origins.items():
        # What a file asks for may be given also to a verb that does without.
        if origin.file or key in found.read or key in configuration.asked_for:
            continue
        raise ConfigurationError(
            f"configuration: {key} is bound on the command line, but this run of {name} does not "
            f"read it{_why(configuration, found, key, given)}; leave it out, or give "
            "--shared_config where several verbs get the same words"
        )


def _why(configuration: Configuration, found: Reach, key: Key, given: Sequence[str]) -> str:
    if key.selector == MACRO:
        return ": nothing that it uses refers to it"
    if key.parameter in given and not key.scope and (key.selector, "") == found.calls[0]:
        return ": a flag comes before it"
    others = [other for other in found.read if other[1:] == key[1:] and other.scope != key.scope]
    if others:
        other = min(others)
        return f": {other} of {configuration.origins[other]} comes before it, bind that"
    if any(selector == key.selector for selector, _ in found.calls):
        scopes = sorted({scope for selector, scope in found.calls if selector == key.selector})
        return f": it is used in the scope {scopes[0]}" if scopes[0] else ""
    return f": it does not use {key.selector.rpartition('.')[2]}"
