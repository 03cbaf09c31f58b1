"""The house: a room imports only from the floors below it; flags and gin stay in one room."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sepcon"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_MODULES_OF_A_ROOM = 16

# The rooms by floor. A room imports from the floors below it, never from a sibling on its floor.
FLOORS = {
    "errors": 0,
    "replicas": 0,
    "startup": 0,
    "images": 1,
    "losses": 1,
    "metrics": 1,
    "runs": 1,
    "audio": 2,
    "data": 3,
    "models": 3,
    "reports": 3,
    "video": 3,
    "importing": 4,
    "views": 4,
    "datasets": 5,
    "taggers": 5,
    "training": 5,
    "scenes": 6,
    "tasks": 6,
    "doctor": 7,
    "embeddings": 7,
    "finetuning": 7,
    "separation": 7,
    "inference": 8,
    "studies": 8,
    "verbs": 9,
    "cli": 10,
    "__main__": 11,
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


def room(module: str) -> str:
    """The room of a module, "" for the package itself: `sepcon.data.clips` is in `data`."""
    return module.partition(".")[2].partition(".")[0]


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, also those that it names in a string."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # "sepcon.room.module" or "sepcon.room.module:name", as importlib and tables have it.
            found |= set(re.findall(r"^(sepcon(?:\.\w+)+)(?::\w+)?$", node.value))
    return found & MODULES


def wrong_imports(path: Path) -> list[str]:
    own = room(module_name(path))
    others = {module for module in imports(path) if room(module) not in (own, "")}
    return sorted(module for module in others if FLOORS[room(module)] >= FLOORS[own])


# The tables of what the command line can call name modules of every floor, without importing them.
TABLES = {"sepcon.verbs.registry"}
# What is beside the verbs in their room, for all of them.
SHARED_BY_VERBS = {"sepcon.verbs.registry", "sepcon.verbs.resuming"}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_room_imports_only_from_the_floors_below_it(path):
    if room(module_name(path)):
        assert not wrong_imports(path), f"{module_name(path)} imports {wrong_imports(path)}"


def test_imports_by_string_are_seen(tmp_path):
    written = tmp_path / "module.py"
    written.write_text('import importlib\nimportlib.import_module("sepcon.training.loop")\n')
    assert imports(written) == {"sepcon.training.loop"}
    written.write_text('TABLE = ("sepcon.models.encoders:resnet50", "sepcon.no_such.module")\n')
    assert imports(written) == {"sepcon.models.encoders"}


def test_each_room_has_a_floor_and_each_floor_a_room():
    assert {room(module) for module in MODULES} - {""} == set(FLOORS)


def test_no_room_is_a_corridor():
    modules = [path for path in FILES if path.name != "__init__.py"]
    sizes = Counter(str(path.parent.relative_to(PACKAGE)) for path in modules)
    assert {name: size for name, size in sizes.items() if size > MOST_MODULES_OF_A_ROOM} == {}
    at_the_top = {path.stem for path in modules if path.parent == PACKAGE}
    assert at_the_top == {"__main__", "errors", "replicas", "startup"}


def test_no_verb_imports_a_verb():
    verbs = [path for path in FILES if room(module_name(path)) == "verbs"]
    for path in verbs:
        if module_name(path) not in TABLES:
            others = {name for name in imports(path) if room(name) == "verbs"}
            assert others <= {*SHARED_BY_VERBS, "sepcon.verbs"}, path


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_flags_and_gin_stay_in_the_command_line(path):
    roots = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        node.module.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert not roots & {"gin", "absl"} or room(module_name(path)) == "cli"


# Tables of the user's own, whose names say what is read, and links in whose folders are theirs.
READS_A_TABLE = {"sepcon.datasets.esc50.layout"}
# Arguments that the program has been called with.
OWN_ARGUMENTS = {"given", "kwargs"}


def joined_keys(path: Path) -> list[str]:
    """What a file puts into paths of a value that it has looked up by a name, as of JSON or CSV."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [node.right]
        elif isinstance(node, ast.Call) and re.search(
            r"^(Path|open|os\.path\.join|shutil\.\w+)$|\.(joinpath|with_name)$",
            ast.unparse(node.func),
        ):
            parts = node.args
        found += [
            ast.unparse(node)
            for part in parts
            for key in ast.walk(part)
            if isinstance(key, ast.Subscript)
            and isinstance(key.slice, ast.Constant)
            and isinstance(key.slice.value, str)
            and ast.unparse(key.value) not in OWN_ARGUMENTS
        ]
    return found


def test_names_that_stand_in_files_are_joined_by_one_function():
    """Which is `runs.names.path_inside`: they may lead anywhere."""
    joins = {module_name(path): joined_keys(path) for path in FILES}
    assert {name for name, found in joins.items() if found} == READS_A_TABLE


def test_joined_names_are_seen(tmp_path):
    written = tmp_path / "module.py"
    for join in ('root / entry["folder"]', 'Path(row["file"])', "os.path.join(a, f\"{b['c']}\")"):
        written.write_text(f"import os\nfound = {join}\n")
        assert joined_keys(written), join
    written.write_text('root / name\ncounts["a"] / 2\n')
    assert not joined_keys(written)


def test_the_gin_folder_does_not_hide_the_library():
    folder = PACKAGE.parent / "gin"
    assert list(folder.rglob("*.gin"))
    assert not list(folder.rglob("*.py"))


def test_no_room_for_odds_and_ends():
    assert not [path for path in FILES if path.stem in {"utils", "helpers", "misc", "common"}]


def test_every_test_file_is_collected():
    tests = PACKAGE.parent / "tests"
    for path in tests.rglob("*.py"):
        holds_tests = any(
            isinstance(node, ast.FunctionDef) and node.name.startswith("test")
            for node in ast.walk(ast.parse(path.read_text()))
        )
        assert not holds_tests or path.name.endswith("_test.py"), path


def test_tests_mirror_the_rooms():
    tests = PACKAGE.parent / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("*_test.py")} - {Path()}
    beside = {Path("tools")}
    assert not [name for name in folders - beside if not (PACKAGE / name).is_dir()]


def test_importing_the_package_starts_nothing():
    code = (
        "import sys, sepcon, sepcon.cli; print({'tensorflow', 'keras', 'gin'} & set(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert output.stdout.strip() == "set()"
