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


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a function, or one field of a dataclass.

    Attributes:
      keyword_only: whether it cannot be given by its position.
      default: its default as the source has it; None where it has none and must be given.
      line: of the source file, counted from 1.
    """

    keyword_only: bool
    default: str | None
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
        import can tell: it takes *args or inherits fields.
    """
    module, name = path.split(":")
    file = Path(sepcon.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    node = _definitions(file).get(name)
    if isinstance(node, ast.FunctionDef):
        return Source(file, _of_function(path, node))
    if isinstance(node, ast.ClassDef):
        return Source(file, _of_dataclass(path, node))
    raise LookupError(f"{file} defines no function or class {name}")


@functools.cache
def _definitions(file: Path) -> dict[str, ast.stmt]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def _of_function(path: str, node: ast.FunctionDef) -> dict[str, Parameter]:
    given = node.args
    if given.vararg or given.kwarg or given.posonlyargs:
        raise LookupError(f"{path} takes *args, **kwargs or positional-only arguments")
    without = len(given.args) - len(given.defaults)
    defaults: list[ast.expr | None] = [*[None] * without, *given.defaults]
    found = {
        each.arg: _parameter(each, default, keyword_only=False)
        for each, default in zip(given.args, defaults, strict=True)
    }
    return found | {
        each.arg: _parameter(each, default, keyword_only=True)
        for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    }


def _of_dataclass(path: str, node: ast.ClassDef) -> dict[str, Parameter]:
    marks = [mark for mark in node.decorator_list if "dataclass" in ast.unparse(mark)]
    if not marks or node.bases:
        raise LookupError(f"{path} is no dataclass, or inherits fields")
    keyword_only = "kw_only=True" in ast.unparse(marks[0])
    return {
        each.target.id: _parameter(each, each.value, keyword_only=keyword_only)
        for each in node.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and "ClassVar" not in ast.unparse(each.annotation)
    }


def _parameter(
    node: ast.stmt | ast.arg, default: ast.expr | None, *, keyword_only: bool
) -> Parameter:
    text = None if default is None else ast.unparse(default)
    return Parameter(keyword_only, text, node.lineno)
