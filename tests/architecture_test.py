"""The house: imports go downward only, flags and gin stay in one room, names say what is inside."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sepcon"
FILES = sorted(PACKAGE.rglob("*.py"))

# A module may import from its own level and from those below. The longest matching name counts.
LEVELS = {
    "sepcon": 0,
    "sepcon.errors": 0,
    "sepcon.progress": 0,
    "sepcon.features": 0,
    "sepcon.losses": 0,
    "sepcon.bootstrap": 0,
    "sepcon.metrics": 0,
    "sepcon.class_ranking": 0,
    "sepcon.label_ranking": 0,
    "sepcon.retrieval": 0,
    "sepcon.resampling": 0,
    "sepcon.separation_metrics": 0,
    "sepcon.replicas": 0,
    "sepcon.run_folder": 0,
    "sepcon.stratified": 0,
    "sepcon.predictions": 0,
    "sepcon.comparison": 0,
    "sepcon.graph_operations": 0,
    "sepcon.whole_file": 0,
    "sepcon.beam_pipeline": 0,
    "sepcon.models": 1,
    "sepcon.data": 1,
    "sepcon.augment": 2,
    "sepcon.views": 2,
    "sepcon.example_mixing": 2,
    "sepcon.random_masks": 2,
    "sepcon.clip_length": 2,
    "sepcon.windows": 2,
    "sepcon.any_rate": 2,
    "sepcon.recording_separator": 2,
    "sepcon.separated_folder": 2,
    "sepcon.training.task": 2,
    "sepcon.evaluate_separation": 2,
    "sepcon.separation_examples": 2,
    "sepcon.separation_references": 2,
    "sepcon.training": 3,
    "sepcon.tasks": 3,
    "sepcon.report": 3,
    "sepcon.separation_report": 4,
    "sepcon.separate_files": 4,
    "sepcon.jobs": 3,
    "sepcon.prepare": 4,
    "sepcon.train_separator": 4,
    "sepcon.separate": 4,
    "sepcon.separate_dataset": 4,
    "sepcon.pretrain": 4,
    "sepcon.finetune": 4,
    "sepcon.finetune_fold": 4,
    "sepcon.finetune_report": 4,
    "sepcon.finetune_study": 4,
    "sepcon.classify": 4,
    "sepcon.export": 4,
    "sepcon.embed": 4,
    "sepcon.embed_splits": 4,
    "sepcon.clip_probe": 2,
    "sepcon.import_clips": 4,
    "sepcon.benchmark": 4,
    "sepcon.benchmark_embeddings": 4,
    "sepcon.measure_embeddings": 4,
    "sepcon.evaluated_clips": 4,
    "sepcon.benchmark_separation": 4,
    "sepcon.benchmark_separation_report": 4,
    "sepcon.control_channels": 4,
    "sepcon.channel_cost": 4,
    "sepcon.embedding_map": 3,
    "sepcon.study_rows": 4,
    "sepcon.study_plan": 4,
    "sepcon.study_results": 4,
    "sepcon.study_map": 4,
    "sepcon.study_report": 4,
    "sepcon.study": 4,
    "sepcon.startup": 0,
    "sepcon.verbs": 0,
    "sepcon.cli": 5,
    "sepcon.__main__": 5,
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def level(name: str) -> int:
    """The level of a module; one that the table does not know is a failure."""
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        if ".".join(parts[:end]) in LEVELS:
            return LEVELS[".".join(parts[:end])]
    if name == "sepcon":
        return 0
    raise AssertionError(f"{name} has no level: add it to the table, and mind what it may import")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_downward(path):
    name = module_name(path)
    files = {module_name(other) for other in FILES}
    above = [other for other in imports(path) if other in files and level(other) > level(name)]
    assert not above, f"{name} (level {level(name)}) imports {above}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_flags_and_gin_stay_in_the_command_line(path):
    roots = {name.split(".")[0] for name in imports(path)} & {"gin", "absl"}
    assert not roots or path.name == "cli.py"


def test_every_level_names_a_module_that_exists():
    names = {module_name(path) for path in FILES}
    packages = {name.rpartition(".")[0] for name in names} | names
    assert set(LEVELS) <= packages


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


def test_importing_the_package_starts_nothing():
    code = (
        "import sys, sepcon, sepcon.cli; print({'tensorflow', 'keras', 'gin'} & set(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert output.stdout.strip() == "set()"
