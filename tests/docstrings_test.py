"""Docstrings of public functions say the shapes, the arguments and the errors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sepcon"
ARRAY = re.compile(r"\b(tf\.Tensor|np\.ndarray|NDArray)\b")
SHAPE = re.compile(r"\[[^\]]*\]|any shape")
# Functions with fewer arguments may say all in one sentence.
MOST_WITHOUT_ARGS = 2


def functions(source: str) -> Iterator[ast.FunctionDef]:
    """Public functions of a module, and public methods but those that override another's."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            # Forms of a function that only say its types have no docstring.
            if "overload" not in map(ast.unparse, node.decorator_list):
                yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and (
                    ast.get_docstring(method) or not node.bases
                ):
                    yield method


def lacks(function: ast.FunctionDef) -> list[str]:
    text = ast.get_docstring(function) or ""
    # It points to the docstring that holds for it too.
    if re.search(r"[Ss]ee `", text):
        return []
    arguments = [
        each
        for each in (*function.args.args, *function.args.kwonlyargs)
        if each.arg not in ("self", "cls", "training")
    ]
    annotations = [ast.unparse(each.annotation) for each in arguments if each.annotation]
    annotations += [ast.unparse(function.returns)] if function.returns else []
    arrays = any(ARRAY.search(each) and "Callable" not in each for each in annotations)
    missing = []
    if arrays and not SHAPE.search(text):
        missing.append("the shape of an array")
    if len(arguments) > MOST_WITHOUT_ARGS and "Args:" not in text:
        missing.append("Args:")
    if any(isinstance(node, ast.Raise) and node.exc for node in ast.walk(function)):
        missing += [] if "aises" in text else ["Raises:"]
    return missing


@pytest.mark.parametrize(
    "function, missing",
    [
        ("def f(x: np.ndarray) -> int:\n 'Counts.'", ["the shape of an array"]),
        ("def f(x: np.ndarray) -> int:\n 'Counts [clips].'", []),
        ("def f(a, b, c):\n 'Adds.'", ["Args:"]),
        ("def f(a):\n 'Adds.'\n raise ValueError(a)", ["Raises:"]),
        ("def f(a):\n 'Raises a ValueError for 0.'\n raise ValueError(a)", []),
        ("class A:\n def f(self, x: tf.Tensor): pass", ["the shape of an array"]),
        ("class A(B):\n def f(self, x: tf.Tensor): pass", None),
    ],
)
def test_the_rule_finds_what_is_missing(function, missing):
    assert [lacks(node) for node in functions(function)] == ([] if missing is None else [missing])


def test_docstrings_say_shapes_arguments_and_errors():
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{function.lineno} {function.name}: "
        f"its docstring lacks {', '.join(missing)}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for function in functions(path.read_text(encoding="utf-8"))
        if not function.name.startswith("_") and (missing := lacks(function))
    ]
    assert not wrong, "\n".join(wrong)
