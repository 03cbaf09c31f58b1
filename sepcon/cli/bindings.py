"""What gin files and bindings say, with the place where each value was bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sepcon.errors import SepconError

MACRO = "gin.macro"


class ConfigurationError(SepconError):
    """A gin file or a binding is wrong. `details`: lines to show below the message."""

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


class Key(NamedTuple):
    """What is bound: a parameter of a configurable in a scope ("" for every scope).

    A macro is the parameter `value` of `gin.macro` in a scope with the macro's name.
    """

    scope: str
    selector: str
    parameter: str

    def __str__(self) -> str:
        if self.selector == MACRO:
            return self.scope
        scope = f"{self.scope}/" if self.scope else ""
        return f"{scope}{self.selector.rpartition('.')[2]}.{self.parameter}"


class Origin(NamedTuple):
    """Where a value comes from. Attributes: file, "" for the command line; line, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "command line"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What gin files and bindings say together.

    Attributes:
      gin: the gin module, which holds these bindings until others are read.
      values: what is bound; references are not resolved.
      origins: where each value was bound last.
      asked_for: what some file has bound to %gin.REQUIRED, whatever came after.
    """

    gin: Any
    values: Mapping[Key, Any]
    origins: Mapping[Key, Origin]
    asked_for: Collection[Key] = ()

    def text(self) -> str:
        """All bindings as a gin file."""
        return self.gin.config_str()

    def bound(self, name: str, default: Any = None) -> Any:
        """What a parameter, or a macro with % before its name, is bound to."""
        try:
            return self.gin.query_parameter(name)
        except ValueError:
            return default
