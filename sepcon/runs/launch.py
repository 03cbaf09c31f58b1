"""What a verb that starts other verbs (`study`) hands on to them of its own command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Launch:
    """The command line of a verb that starts others, as far as the others need it.

    Attributes:
      words: flags for the other commands: the gin files, bindings and search path of this command
        line, without the bindings of the verb itself and of its arguments, which others do not
        read.
      bound: a function of (words of a command, names). A name is a parameter of a configurable, or
        a macro with % in front. It reads the command's gin files and bindings as `sepcon` would,
        and returns the values of those names that are bound: macros by their value, other
        references as gin writes them (`@name()`). It raises a SepconError where `sepcon` would.
      gin_files: of this command line, for the record.
      gin_bindings: of this command line, all of them.
      text: a function of the words of a command. It returns the resolved configuration that the
        command would write into its run folder; "" where that is not known.
      command: the program and its first words, which the words of a command follow; None for
        `sepcon` itself.
    """

    words: tuple[str, ...]
    bound: Callable[[Sequence[str], Sequence[str]], Mapping[str, Any]]
    gin_files: tuple[str, ...] = ()
    gin_bindings: tuple[str, ...] = ()
    text: Callable[[Sequence[str]], str] = lambda words: ""
    command: tuple[str, ...] | None = None
