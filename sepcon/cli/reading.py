"""Reads gin files and bindings statement by statement.

Gin parses the values; its statements are taken one by one here, so that a mistake is told with its
file, line and cure, and no file of gin/runs undoes what came before it.
"""

from __future__ import annotations

import importlib
import re
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sepcon.cli import configurables
from sepcon.cli.bindings import MACRO, ConfigurationError, Key, Origin
from sepcon.cli.gin_files import find, missing_file, project_folder, shown_name
from sepcon.cli.names import is_required
from sepcon.errors import SepconError, nearest, one_line


class Reader:
    """Reads statement by statement, into gin and into a record of where values come from."""

    def __init__(self, gin: Any, folders: Sequence[str]) -> None:
        self.values: dict[Key, Any] = {}
        self.origins: dict[Key, Origin] = {}
        self.asked_for: set[Key] = set()
        self._gin, self._folders = gin, folders
        self._delegate = _delegate(gin)
        self._open: list[Path] = []
        self._passed_over: set[Path] = set()
        self._runs = (project_folder() / "runs").resolve()

    def read_named(self, name: str) -> None:
        """Reads a gin file by its name; a file of runs/ that was read already is passed over.

        Args:
          name: as on the command line or in an include.

        Raises:
          SepconError: there is no such file, it cannot be read, or it includes itself.
        """
        path = find(name, self._folders)
        if path is None:
            raise missing_file(name, self._folders)
        self.read_file(path)

    def read_file(self, path: Path, *, once: bool = False) -> None:
        """Reads a gin file.

        Args:
          path: the file.
          once: whether it is passed over if it is named again, as files of runs/ are.

        Raises:
          SepconError: it cannot be read, or it includes itself.
        """
        resolved = path.resolve()
        if resolved in self._open:
            raise SepconError(f"{shown_name(path)} includes itself")
        if resolved in self._passed_over:
            return
        if once or resolved.parent == self._runs:
            self._passed_over.add(resolved)
        self._open.append(resolved)
        try:
            with open(path, encoding="utf-8") as file:
                self._read(file.read(), shown_name(path))
        except (OSError, UnicodeDecodeError) as error:
            raise SepconError(f"{path} cannot be read: {one_line(error)}") from None
        finally:
            self._open.pop()

    def read_binding(self, binding: str) -> None:
        self._read(binding, "")

    def _read(self, text: str, file: str) -> None:
        for statement in self._statements(text, file):
            origin = Origin(file, statement.location.line_num)
            try:
                self._take(statement, origin)
            except ConfigurationError:
                raise  # of a file that is included here: its own place says more
            except SepconError as error:
                raise ConfigurationError(f"configuration: {origin}: {error}") from None

    def _statements(self, text: str, file: str) -> Iterator[Any]:
        parser = importlib.import_module("gin.config_parser")
        try:
            yield from parser.ConfigParser(text, self._delegate)
        except SepconError as error:  # of the delegate; gin has appended the line
            message, _, place = str(error).partition("\n")
            line = re.search(r"line (\d+)", place)
            origin = Origin(file, int(line[1]) if line else 1)
            raise ConfigurationError(f"configuration: {origin}: {message}") from None
        except (SyntaxError, tokenize.TokenError, TypeError) as error:
            raise ConfigurationError(f"configuration: {unreadable(error, text, file)}") from None

    def _take(self, statement: Any, origin: Origin) -> None:
        """Does what one statement says."""
        kind = type(statement).__name__
        if kind == "BindingStatement":
            self._bind(statement, origin)
        elif kind == "IncludeStatement":
            self.read_named(statement.filename)
        elif kind == "ImportStatement":
            self._import(statement)

    def _bind(self, statement: Any, origin: Origin) -> None:
        scope, selector, parameter, value, _ = statement
        if not parameter:  # a macro
            name = f"{scope}/{selector}" if scope else selector
            scope, selector, parameter = name, MACRO, "value"
        key = Key(scope, self._complete(selector), parameter)
        if key.selector != MACRO and not configurables.accepts(self._gin, key.selector, parameter):
            names = configurables.names(self._gin, key.selector)
            raise SepconError(f"{selector} has no parameter {parameter}{nearest(parameter, names)}")
        try:
            self._gin.bind_parameter(tuple(key), value)
        except ValueError:
            raise SepconError(
                f"{selector}.{parameter} cannot be bound: it is given by what calls {selector}"
            ) from None
        self.values[key], self.origins[key] = value, origin
        if is_required(value):
            self.asked_for.add(key)

    def _complete(self, selector: str) -> str:
        """The full name of a configurable."""
        if selector == MACRO:
            return selector
        try:
            return configurables.complete(self._gin, selector)
        except LookupError:
            raise _unknown(selector) from None

    def _import(self, statement: Any) -> None:
        if statement.module.startswith("__gin__"):
            raise SepconError(f"{statement.format()}: dynamic registration is not supported here")
        try:
            self._gin.parse_config(statement.format())
        except ImportError as error:
            raise SepconError(f"{statement.format()}: {one_line(error)}") from None


def _delegate(gin: Any) -> Any:
    """What gin's parser asks to make references: gin's own, but for what it says of wrong names."""
    config = importlib.import_module("gin.config")

    class Delegate(config.ParserDelegate):  # type: ignore[name-defined]
        def configurable_reference(self, scoped_selector: str, evaluate: bool) -> Any:
            selector = scoped_selector.rpartition("/")[2]
            try:
                configurables.complete(gin, selector)
            except LookupError:
                raise _unknown(selector, "@") from None
            return super().configurable_reference(scoped_selector, evaluate)

    return Delegate()


def _unknown(selector: str, mark: str = "") -> SepconError:
    suggestion = nearest(selector.rpartition(".")[2], configurables.known())
    suggestion = suggestion.replace("did you mean ", f"did you mean {mark}")
    return SepconError(
        f"there is nothing of the name {mark}{selector}{suggestion} (what gin can name stands in "
        "CONFIGURABLES of sepcon/verbs/registry.py)"
    )


def unreadable(error: Exception, text: str, file: str) -> str:
    """Says what is wrong with text that gin cannot read, and how it would be right.

    Args:
      error: what gin's parser raised.
      text: all of the file, or one binding.
      file: the file's name; "" for a binding of the command line.
    """
    reason = one_line(error) if isinstance(error, TypeError) else str(error.args[0]).split("\n")[0]
    if isinstance(error, tokenize.TokenError):
        reason = "it ends within brackets or quotes"
    rule = "values are written as in Python"
    if file:
        line = getattr(error, "lineno", None) or 1
        rule += ', text in quotes: NAME = "text"'
        return f"{file}:{line}: {text.splitlines()[line - 1].strip()!r}: {reason}; {rule}"
    name, equals, value = (part.strip() for part in text.partition("="))
    given = f"--gin_bindings={text!r}"
    if not equals:
        return f"{given}: expected NAME=VALUE"
    if value in configurables.known():
        return f"{given}: {value} is the name of a function; write --gin_bindings='{name}=@{value}'"
    if re.fullmatch(r"[^\[({})\]\"'@%,]+", value):
        quoted = f"--gin_bindings='{name}=\"{value}\"'"
        return f"{given}: text needs quotes, and others around them for the shell: {quoted}"
    rule += (
        ", text in quotes, with others around them for the shell: --gin_bindings='NAME=\"text\"'"
    )
    return f"{given}: {reason}; {rule}"
