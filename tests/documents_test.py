"""Every command of every document works as written, and what documents say of the tree is true."""

import ast
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import document_commands
import numpy as np
import pytest
import warm_python
from document_commands import Command
from esc50_stub import write_esc50
from foreign_models import write_hear_module, write_yamnet
from fuss_stub import write_fuss
from import_fixtures import write_audioset, write_gtzan, write_parquet, write_urbansound8k
from recordings_fixture import write_recordings

from sepcon import cli
from sepcon.embeddings.store import EmbeddingStore
from sepcon.runs.jobs import run_jobs
from sepcon.verbs.registry import CONFIGURABLES, VERBS

REPOSITORY = Path(__file__).resolve().parents[1]
SUPPORT = REPOSITORY / "tests" / "support"
GIN = REPOSITORY / "gin"
PACKAGE = REPOSITORY / "sepcon"
DOCUMENTS = document_commands.documents(REPOSITORY)
MAP = PACKAGE / "README.md"


def blocks(language: str) -> list[str]:
    return [block for path in DOCUMENTS for block in document_commands.blocks(path, language)]


def commands(language: str, program: str = "sepcon") -> list[Command]:
    every = document_commands.commands(blocks(language))
    return [command for command in every if command.program == program]


def test_the_documents_have_the_size_that_a_reader_has_time_for():
    readme = (REPOSITORY / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    assert len(readme.encode()) <= 9 * 1024
    assert (REPOSITORY / "BUILD.md").stat().st_size <= 20 * 1024


def test_each_verb_has_a_command_in_the_readme():
    readme = document_commands.blocks(REPOSITORY / "README.md", "bash")
    listed = document_commands.commands(readme)
    verbs = sorted(each.words[0] for each in listed if each.program == "sepcon")
    # `separate` for files with the packaged weights, for a data set, and for files.
    assert verbs == sorted([*VERBS, "list", "separate", "separate"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        if "://" in name:
            continue
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in document_commands.anchors(linked), target


def test_no_gin_file_is_left_out():
    tested = {"models", "views", "objectives", "fonseca2021", "soundclr2021"}
    in_documents = "".join(path.read_text() for path in DOCUMENTS)
    # The quickstart's files, and those that they include.
    quickstart = (REPOSITORY / "tools" / "quickstart.py").read_text()
    quickstart += "".join(path.read_text() for path in (GIN / "quickstart").glob("*.gin"))
    for path in GIN.rglob("*.gin"):
        name = str(path.relative_to(GIN))
        # The defaults of a verb are in each of its commands.
        defaults = path.parent.name == "runs" and path.stem in VERBS
        named = name in in_documents or name in quickstart
        assert path.parent.name in tested or defaults or named, name


def test_every_script_in_the_documents_is_there():
    scripts = {command.program for command in document_commands.commands(blocks("bash"))}
    scripts -= {"sepcon", "find", "wc"}
    assert scripts == {"tools/quickstart.sh", "tools/check.sh"}
    for script in scripts:
        assert (REPOSITORY / script).is_file(), script


def write_recordings_of_all_kinds(folder: Path) -> None:
    """What stands for the paths of the documents: path/to/ESC-50 and so on."""
    write_recordings(folder / "recordings")
    write_esc50(folder / "ESC-50")
    write_fuss(folder / "ssdata_reverb", num_scenes=3)
    audioset = write_audioset(folder / "AudioSet")
    write_parquet(audioset, part="data/bal_train")
    # Each class in each fold, so that every classifier has something to learn from.
    write_urbansound8k(folder / "UrbanSound8K", per_fold=10, num_classes=10)
    write_gtzan(folder / "tensorflow_datasets")
    write_yamnet(folder / "yamnet")
    write_hear_module(folder / "hear_model.py")
    (folder / "own_model.py").write_text("def embed(waveform):\n    return waveform[:, :9] ** 2\n")


def write_embeddings_of(run: Path, folder: Path) -> None:
    """What somebody else might have computed: an array for each clip that a benchmark had."""
    folder.mkdir()
    for index in run.glob("embeddings/*/*/index.json"):
        for clip in EmbeddingStore(index.parent).load().ids:
            np.save(folder / f"{clip}.npy", np.random.default_rng(len(clip)).normal(size=4))


def tiny_settings(words: Sequence[str], data_dir: Path) -> list[str]:
    """Lines of a gin file that make a command short; what a document binds is left to it."""
    lines = ["include 'tiny.gin'", f"include '{SUPPORT / 'smallest.gin'}'"]
    lines.append(f"DATA_DIR = '{data_dir}'")
    line = " ".join(words)
    if "data/folder.gin" in line:
        lines.append("folder.clip_seconds = 2.0")
    if words[0] == "import":
        lines.append("import_clips.max_fault_share = 0.5")
    if "data/imported.gin" in line or "data/audioset.gin" in line:
        lines.append("VALIDATION_SHARE = 0.3")
    if words[0] == "finetune" or "soundclr2021" in line:
        lines += ["finetune.folds = (3,)", "PATCH_SECONDS = 1.0"]
    if "PATCH_SECONDS=" in line:
        lines.append("CLIP_SECONDS = 5.0")
    if words[0] == "study":
        lines += ["study.baseline = ''", "study.against = {}", "study.figures = {}"]
        # A single row. The quickstart's test has a study with a separator.
        if "soundclr2021" in line:
            # The stub of ESC-50 has no clips of most of the fifty classes.
            lines += ["include 'data/esc10.gin'", "study.grid = ()"]
            lines += ["study.rows = {'one': ('ALPHA=0.5',)}"]
        else:
            lines += ["study.rows = {'one': ('views/mixture_mixture.gin',)}"]
            lines += ["PretrainingPlan.seeds = (0,)", "PretrainingPlan.baselines = ()"]
    return lines


def run(command: Command, folder: Path) -> int:
    words = [word.replace("/tmp/sepcon", str(folder / "runs")) for word in command.words]
    if words[0] != "list":
        settings = folder / "settings" / f"{len(list(folder.glob('settings/*')))}.gin"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("\n".join(tiny_settings(words, folder / "data")) + "\n")
        words.append(f"--gin_file={settings}")
    return cli.main(words)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All commands of all documents, run in a folder that is not the checkout's; their runs."""
    folder = tmp_path_factory.mktemp("documents")
    write_recordings_of_all_kinds(folder / "path" / "to")
    ordered = document_commands.in_order(commands("bash"))
    assert len(ordered) > 40
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
        patch.setitem(run_jobs.__kwdefaults__, "command", (warm_python.path(), "-m", "sepcon"))
        for command in ordered:
            if "npy_folder" in command.line:
                write_embeddings_of(folder / "runs/benchmark", folder / "path/to/embeddings")
            assert run(command, folder) == 0, command.line
    return folder / "runs"


def test_the_commands_of_the_documents(runs):
    for command in commands("bash"):
        if command.makes:
            assert any((runs / command.makes).iterdir()), command.line


def test_a_run_folder_is_of_one_command():
    made = [command.makes for command in commands("bash") if command.makes]
    assert len(set(made)) == len(made), "a command that is repeated must be repeated as it is"


def test_the_python_lines_of_the_documents(runs):
    """In one process, those first that need TensorFlow only, without sepcon and without Keras."""
    every = [code.replace("/tmp/sepcon", str(runs)) for code in blocks("python")]
    with_sepcon = [code for code in every if "sepcon." in code.replace(str(runs), "")]
    alone = [code for code in every if code not in with_sepcon]
    assert alone
    assert with_sepcon
    program = "import json, sys\nalone, with_sepcon = json.load(sys.stdin)\n"
    program += "for code in alone: exec(code, {})\n"
    program += "assert not {'sepcon'} & set(sys.modules)\n"
    program += "for code in with_sepcon: exec(code, {})\n"
    subprocess.run(
        [warm_python.path(), "-c", program],
        input=json.dumps([alone, with_sepcon]),
        text=True,
        check=True,
        cwd="/",
    )


def test_commands_that_cannot_run_here_are_configured_right(capsys):
    """Those that take hours or need a cluster: flags, gin files, bindings and required values."""
    listed = document_commands.commands(blocks("sh"))
    assert {command.program for command in listed} <= {
        "sepcon",
        "python",
        "taskset",  # in front of python
        "tfds",
        "pip",
        "gcloud",
    }
    for command in listed:
        if command.program == "sepcon":
            assert cli.main([*command.words, "--print_config"]) == 0, command.line
        tool = next((word for word in command.words if word.startswith("tools/")), None)
        assert tool is None or (REPOSITORY / tool).is_file(), command.line
    assert capsys.readouterr().out


def test_the_house_can_be_counted():
    counting = [
        command.line
        for command in document_commands.commands(blocks("bash"))
        if command.program in ("find", "wc")
    ]
    assert len(counting) == 3
    for line in counting:
        told = subprocess.run(
            line, shell=True, check=True, capture_output=True, text=True, cwd=REPOSITORY
        )
        assert re.search(r"\d", told.stdout), line
        assert not told.stderr, line


def rows_of_table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of the map, without its head."""
    section = MAP.read_text().split(f"\n## {heading}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def floors() -> dict[str, int]:
    """The floors of the rooms, as tests/architecture_test.py has them."""
    tree = ast.parse((REPOSITORY / "tests" / "architecture_test.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            return ast.literal_eval(node.value)
    raise AssertionError("no FLOORS in architecture_test.py")


def test_the_map_has_every_room_on_its_floor():
    rooms = {room.strip("`"): int(floor) for floor, room, _ in rows_of_table("Rooms")}
    assert rooms == floors()


def test_the_map_sends_nobody_astray():
    rows = rows_of_table("Where do I change")
    assert len(rows) > 10
    for what, where in rows:
        named = re.findall(r"`(\w+/[\w/]*(?:\.\w+)?)`", where)
        # What comes after "such as" or "like" is an example to follow.
        assert 1 <= len(named) <= 3 or " or " in where, what
        for name in named:
            root = GIN if name.endswith(".gin") else PACKAGE
            assert "VERB" in name or (root / name).exists(), f"{what}: {name}"


def walks() -> dict[str, list[tuple[str, str]]]:
    """The chapters of the walk: the modules and their names, in the order of the document."""
    section = MAP.read_text().split("\n## A walk")[1]
    return {
        part.splitlines()[0]: re.findall(r"^\d+\. `([\w/]+\.py)` `(\w+)`", part, flags=re.MULTILINE)
        for part in section.split("\n### ")[1:]
    }


def imports_of(module: str) -> str:
    """The names that a module imports from the package, each as room/module.py, in one text."""
    tree = ast.parse((PACKAGE / module).read_text())
    names = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]
    return "\n".join(names)


@pytest.mark.parametrize("chapter", walks())
def test_the_walk_goes_down_and_never_up(chapter):
    steps = walks()[chapter]
    assert len(steps) >= 5
    floor_of = floors()
    for place, (module, name) in enumerate(steps):
        text = (PACKAGE / module).read_text()
        assert re.search(rf"^(def|class) {name}\b", text, flags=re.MULTILINE), f"{module}: {name}"
        if place == 0:
            assert module.startswith("verbs/")
            continue
        above = [earlier for earlier, _ in steps[:place]]
        assert floor_of[module.split("/")[0]] <= floor_of[above[-1].split("/")[0]], module
        dotted = module.removesuffix(".py").replace("/", ".")
        used = any(f"sepcon.{dotted}" in imports_of(earlier) for earlier in above)
        in_gin = any(path.startswith(f"sepcon.{dotted}:") for path in CONFIGURABLES)
        assert used or in_gin, f"{module}: none of the lines above uses it"
        for earlier in above:
            upward = f"sepcon.{earlier.removesuffix('.py').replace('/', '.')}."
            assert upward not in imports_of(module), f"{module} uses {earlier}, which is above it"
