"""What a configuration says, setting by setting: two starts of a run are compared by it.

The configuration stands in the folder of a run as text, in gin's syntax. Here it is read as text
too: nothing in it is evaluated, and what an earlier version has written can be read as well.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

# Text in quotes, which is left as it is; the name of a macro; what is referred to.
_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|%[\w./]+|@[\w./]+(?:\(\))?""")
_QUOTED = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")""")
_MOST_MACROS_DEEP = 20


@dataclasses.dataclass(frozen=True, order=True)
class Setting:
    """A parameter of something that a run calls.

    Attributes:
      configurable: what gin calls it, without its modules.
      parameter: of it.
      scope: that it is called in; "" for none.
    """

    configurable: str
    parameter: str
    scope: str = ""

    def __str__(self) -> str:
        scope = f"{self.scope}/" if self.scope else ""
        return f"{scope}{self.configurable}.{self.parameter}"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run reads of its configuration.

    Attributes:
      values: the settings that are bound, as text in which macros are replaced by what they say.
      called: the configurables that the run may call, each with its scope.
    """

    values: Mapping[Setting, str]
    called: frozenset[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Change:
    """A setting that two starts of a run say differently.

    Attributes: setting; before and now, as text; None for what is not bound.
    """

    setting: Setting
    before: str | None
    now: str | None

    def __str__(self) -> str:
        return f"{self.setting} {_shown(self.before)}, now {_shown(self.now)}"


def read_settings(text: str, function: str) -> Settings:
    """Reads what a run of a function reads of a configuration.

    From the function the references in bound values are followed. In a scope a/b a parameter has
    the value bound for a/b, else that for a, else that for every scope.

    Args:
      text: the configuration, as gin writes it.
      function: of the verb.
    """
    reader = _Reader(text)
    reader.visit(function, "")
    return Settings(reader.values, frozenset(reader.called))


def changes(
    before: Settings, now: Settings, default_of: Callable[[Setting], str | None]
) -> list[Change]:
    """Returns the settings that differ, of all that both runs may call.

    What only one of them binds is compared with the default. What only one of them calls is not
    compared: the setting that refers to it differs.

    Args:
      before: of the earlier start.
      now: of this one.
      default_of: a default as Python writes it; None for what has none.
    """
    found = []
    for setting in sorted(before.values.keys() | now.values.keys()):
        if (setting.configurable, setting.scope) not in before.called & now.called:
            continue
        pair = [each.values.get(setting) for each in (before, now)]
        if None in pair:
            default = default_of(setting)
            if default is None or _plain(default) in map(_plain, filter(None, pair)):
                continue
        if pair[0] is None or pair[1] is None or _plain(pair[0]) != _plain(pair[1]):
            found.append(Change(setting, *pair))
    return found


def has_moved(change: Change, roots: Sequence[Path]) -> bool:
    """Whether two values differ only by where a folder lay whose paths they name.

    Args:
      change: the values.
      roots: the folders that may have been moved or renamed, where they are now. A path into one of
        them is the same as an earlier one that ends alike, if that one is gone.
    """
    if change.before is None or change.now is None:
        return False
    before, now = (_QUOTED.split(each) for each in (change.before, change.now))
    return len(before) == len(now) and all(
        _is_same_place(one[1:-1], other[1:-1], roots)
        if number % 2
        else _plain(one) == _plain(other)
        for number, (one, other) in enumerate(zip(before, now, strict=True))
    )


def _is_same_place(before: str, now: str, roots: Sequence[Path]) -> bool:
    if before == now:
        return True
    old, new = Path(before), Path(now)
    for root in roots if old.is_absolute() else ():
        inside = new.relative_to(root).parts if new.is_relative_to(root) else ()
        if inside and old.parts[-len(inside) :] == inside:
            return not os.path.exists(old) or os.path.realpath(old) == os.path.realpath(new)
    return False


class _Reader:
    """Follows the references of a configuration."""

    def __init__(self, text: str) -> None:
        self.values: dict[Setting, str] = {}
        self.called: set[tuple[str, str]] = set()
        self._macros: dict[str, str] = {}
        self._bound: dict[tuple[str, str], dict[str, str]] = {}
        for key, value in _statements(text):
            target, dot, parameter = key.rpartition(".")
            if not dot:
                self._macros[key] = value
                continue
            scope, _, name = target.rpartition("/")
            self._bound.setdefault((scope, name.rpartition(".")[2]), {})[parameter] = value

    def visit(self, name: str, scope: str) -> None:
        if (name, scope) in self.called:
            return
        self.called.add((name, scope))
        parts = scope.split("/") if scope else []
        bound: dict[str, str] = {}
        for number in range(len(parts) + 1):
            bound |= self._bound.get(("/".join(parts[:number]), name), {})
        for parameter, value in bound.items():
            resolved = self._resolved(value)
            self.values[Setting(name, parameter, scope)] = resolved
            for reference in _TOKEN.findall(resolved):
                if reference.startswith("@"):
                    self._follow(reference, scope)

    def _follow(self, reference: str, scope: str) -> None:
        """Called by gin itself it is in the scope around it; by the program, in that or in none."""
        is_called = reference.endswith("()")
        own, _, name = reference[1:].removesuffix("()").rpartition("/")
        for around in [own] if own else {scope} if is_called else {scope, ""}:
            self.visit(name.rpartition(".")[2], around)

    def _resolved(self, value: str, depth: int = 0) -> str:
        def replaced(match: re.Match[str]) -> str:
            macro = self._macros.get(match[0][1:]) if match[0].startswith("%") else None
            if macro is None or depth == _MOST_MACROS_DEEP:
                return match[0]
            return self._resolved(macro, depth + 1)

        return _TOKEN.sub(replaced, value)


def _statements(text: str) -> Iterator[tuple[str, str]]:
    """Yields names and values, each value on one line; what is bound twice has the later one."""
    lines: list[str] = []
    for line in [*text.splitlines(), "end"]:
        if line[:1].isspace():
            lines.append(line.strip())
            continue
        name, equals, value = " ".join(lines).partition(" = ")
        if equals and not name.startswith("#"):
            yield name.strip(), value.removeprefix("\\").strip()
        lines = [line.rstrip("\\").strip()]


def _plain(value: str) -> str:
    """A value without what says nothing: spaces, the kind of quotes, 3.0 in place of 3."""
    parts = _QUOTED.split(value)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            part = re.sub(r"\s+", "", part).replace("[", "(").replace("]", ")")
            part = re.sub(r",(?=\))", "", part)
            parts[place] = re.sub(r"(?<![\w.])\d+\.?\d*(?:e[-+]?\d+)?(?!\w)", _number, part)
        else:
            parts[place] = f"'{part[1:-1]}'"
    return "".join(parts)


def _number(match: re.Match[str]) -> str:
    return repr(float(match[0]))


def _shown(value: str | None) -> str:
    if value is None:
        return "not set"
    return value if len(value) <= 80 else f"{value[:77]}..."
