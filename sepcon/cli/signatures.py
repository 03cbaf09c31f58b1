"""Reads the parameters of functions and dataclasses from their source, without importing it.

What gin files can name stands in modules that load TensorFlow, which takes seconds. Their source is
read in a tenth of a second, so that mistakes in names are told at once.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
from collections.abc import Mapping
from pathlib import Path

import sepcon

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_WITHOUT_FIELDS = ("abc.ABC", "Protocol")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a function, or one field of a dataclass.

    Attributes:
      keyword_only: whether it cannot be given by its position.
      default: its default as the source has it; None where it has none and must be given.
      file: the source file that defines it; of an inherited field, that of the base class.
      line: of that file, counted from 1.
    """

    keyword_only: bool
    default: str | None
    file: Path
    line: int


@dataclasses.dataclass(frozen=True)
class Source:
    """What the source says of a function or dataclass. Attributes: file; parameters by name."""

    file: Path
    parameters: Mapping[str, Parameter]

    @property
    def required(self) -> list[str]:
        return [name for name, each in self.parameters.items() if each.default is None]

    @property
    def signature(self) -> inspect.Signature:
        """For gin, without defaults: it only needs the names, and asks long what defaults are."""
        parameters = [
            inspect.Parameter(name, _KEYWORD if each.keyword_only else _POSITIONAL)
            for name, each in self.parameters.items()
        ]
        return inspect.Signature(sorted(parameters, key=lambda each: each.kind))


def read_source(path: str) -> Source:
    """Reads the parameters of a function or dataclass of this package.

    Args:
      path: module:name.

    Raises:
      LookupError: the module has no such function or dataclass, or one whose parameters only an
        import can tell: it takes *args, or inherits from a class outside of this package.
    """
    module, name = path.split(":")
    file = Path(sepcon.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    node = _definitions(file).get(name)
    if isinstance(node, ast.FunctionDef):
        return Source(file, _of_function(path, file, node))
    if isinstance(node, ast.ClassDef):
        return Source(file, _of_dataclass(path, file, node))
    raise LookupError(f"{file} defines no function or class {name}")


@functools.cache
def _definitions(file: Path) -> dict[str, ast.stmt]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def _of_function(path: str, file: Path, node: ast.FunctionDef) -> dict[str, Parameter]:
    given = node.args
    if given.vararg or given.kwarg or given.posonlyargs:
        raise LookupError(f"{path} takes *args, **kwargs or positional-only arguments")
    without = len(given.args) - len(given.defaults)
    defaults: list[ast.expr | None] = [*[None] * without, *given.defaults]
    found = {
        each.arg: _parameter(file, each, default, keyword_only=False)
        for each, default in zip(given.args, defaults, strict=True)
    }
    return found | {
        each.arg: _parameter(file, each, default, keyword_only=True)
        for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    }


def _of_dataclass(path: str, file: Path, node: ast.ClassDef) -> dict[str, Parameter]:
    marks = [mark for mark in node.decorator_list if "dataclass" in ast.unparse(mark)]
    if not marks:
        raise LookupError(f"{path} is no dataclass")
    found: dict[str, Parameter] = {}
    # As dataclasses do: fields of the last base first, and a name keeps its first place.
    for base in reversed(node.bases):
        found |= _inherited(path, file, base)
    keyword_only = "kw_only=True" in ast.unparse(marks[0])
    return found | {
        each.target.id: _parameter(file, each, each.value, keyword_only=keyword_only)
        for each in node.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and "ClassVar" not in ast.unparse(each.annotation)
    }


def _inherited(path: str, file: Path, base: ast.expr) -> dict[str, Parameter]:
    """The fields of a base class: of a dataclass of this package, none of another class."""
    name = ast.unparse(base)
    if name in _WITHOUT_FIELDS:
        return {}
    if name not in _definitions(file):
        file = _imported_from(file).get(name, file)
    node = _definitions(file).get(name)
    if not isinstance(node, ast.ClassDef):
        raise LookupError(f"{path} inherits from {name}, which is not of this package")
    if any("dataclass" in ast.unparse(mark) for mark in node.decorator_list):
        return _of_dataclass(path, file, node)
    for further in node.bases:
        _inherited(path, file, further)
    return {}


@functools.cache
def _imported_from(file: Path) -> dict[str, Path]:
    """The files of this package from which a file imports names."""
    root = Path(sepcon.__file__).parents[1]
    return {
        each.asname or each.name: root.joinpath(*node.module.split(".")).with_suffix(".py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sepcon.")
        for each in node.names
        if node.module
    }


def _parameter(
    file: Path, node: ast.stmt | ast.arg, default: ast.expr | None, *, keyword_only: bool
) -> Parameter:
    text = None if default is None else ast.unparse(default)
    return Parameter(keyword_only, text, file, node.lineno)
