"""How a verb starts other verbs: what it hands on to them of its own command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Launch:
    """What the command line gives to a verb that starts others.

    Attributes:
      words: flags that hand on the verb's own gin files, bindings and search path, without what is
        bound of the verb itself and of what its arguments are made of: others have no use for it.
      bound: given the words of a command and names, parameters of configurables or macros with %
        before them, reads gin files and bindings of the command as `sepcon` will, and returns the
        values of those names that are bound. References to macros are followed, others are given
        as gin writes them (`@name()`). Raises a SepconError where `sepcon` would.
      gin_files: those of the command line, for the record.
      gin_bindings: those of the command line, all of them.
      text: given the words of a command, returns its resolved configuration as its run folder will
        have it; "" where that is not known.
      command: what the words of a command are given to; None for `sepcon` itself.
    """

    words: tuple[str, ...]
    bound: Callable[[Sequence[str], Sequence[str]], Mapping[str, Any]]
    gin_files: tuple[str, ...] = ()
    gin_bindings: tuple[str, ...] = ()
    text: Callable[[Sequence[str]], str] = lambda words: ""
    command: tuple[str, ...] | None = None
