"""Every shipped gin file does two steps, and every command of the documents works as written."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from esc50_stub import write_esc50
from foreign_models import write_hear_module, write_yamnet
from fuss_stub import write_fuss
from import_fixtures import write_audioset, write_gtzan, write_parquet, write_urbansound8k
from recordings_fixture import write_recordings

from sepcon import cli
from sepcon.data.embeddings import EmbeddingStore

REPOSITORY = Path(__file__).resolve().parents[1]
GIN = REPOSITORY / "gin"
BUILTIN = ("--gin_file=data/builtin_scenes.gin",)


def sepcon(*words: str) -> None:
    assert cli.main(words) == 0, words


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this file go; they share prepared scenes, separator and channels."""
    return tmp_path_factory.mktemp("sepcon")


@pytest.fixture(scope="module")
def common(place: Path) -> tuple[str, ...]:
    return (*BUILTIN, "--gin_file=tiny.gin", f"--gin_bindings=DATA_DIR='{place / 'data'}'")


@pytest.fixture(scope="module")
def separator(place: Path, common: tuple[str, ...]) -> Path:
    run = place / "separator"
    sepcon("train_separator", "--gin_file=runs/train_separator.gin", *common, f"--run_dir={run}")
    return run


@pytest.fixture(scope="module")
def channels(place: Path, common: tuple[str, ...], separator: Path) -> Path:
    run = place / "channels" / "late"
    words = ("separate", "--gin_file=runs/separate.gin", *common)
    sepcon(*words, f"--gin_bindings=SEPARATOR='{separator}'", f"--run_dir={run}")
    return run


def pretrain(place: Path, common: tuple[str, ...], channels: Path, name: str, *words: str) -> Path:
    run = place / "pretrain" / name
    stored = f"--gin_bindings=CHANNELS=['{channels}']"
    start = ("pretrain", "--gin_file=runs/pretrain.gin")
    sepcon(*start, *common, *words, stored, f"--run_dir={run}")
    return run


def losses(run: Path) -> list[float]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.parametrize("path", sorted((GIN / "views").glob("*.gin")), ids=lambda path: path.stem)
def test_views(path, place, common, channels):
    run = pretrain(place, common, channels, path.stem, f"--gin_file=views/{path.name}")
    assert np.isfinite(losses(run)).all()
    assert (run / "saved_model" / "saved_model.pb").is_file()


@pytest.mark.parametrize(
    "path", sorted((GIN / "models").glob("encoder_*.gin")), ids=lambda path: path.stem
)
def test_encoders(path, place, common, channels):
    run = pretrain(place, common, channels, path.stem, f"--gin_file=models/{path.name}")
    assert np.isfinite(losses(run)).all()


# What no file of views/ and models/ has. That all rows can be read is seen in study_test.py.
@pytest.mark.parametrize("row", ["supervised", "coincidence"])
def test_rows_of_the_paper_by_themselves(row, place, common, channels):
    run = place / "pretrain" / row
    words = (f"--gin_file=papers/fonseca2021/{row}.gin", f"--run_dir={run}")
    parent = f"--gin_bindings=CHANNELS_DIR='{channels.parent}'"
    sepcon("pretrain", "--gin_file=runs/pretrain.gin", *common, *words, parent)
    assert np.isfinite(losses(run)).all()
    assert (run / "saved_model" / "saved_model.pb").is_file()


def test_several_separator_states_on_the_fly(place, common, separator):
    run = place / "pretrain" / "fly"
    states = f"--gin_bindings=SEPARATORS=[('{separator}', 0), ('{separator}', None)]"
    start = ("pretrain", "--gin_file=runs/pretrain.gin")
    sepcon(*start, *common, states, f"--run_dir={run}")
    assert np.isfinite(losses(run)).all()


def test_the_full_separator(place, common):
    words = ("--gin_file=models/separator_tdcn.gin", "--gin_bindings=SEPARATOR_BATCH_SIZE=2")
    run = place / "separator_tdcn"
    start = ("train_separator", "--gin_file=runs/train_separator.gin")
    sepcon(*start, *common, *words, f"--run_dir={run}")
    assert np.isfinite(losses(run)).all()


def test_a_causal_separator_of_half_supervised_batches(place, common):
    words = ["--gin_file=models/separator_causal.gin"]
    for name in ("SUPERVISED_SHARE", "SPARSITY_WEIGHT", "COVARIANCE_WEIGHT"):
        words.append(f"--gin_bindings={name}=0.5")
    run = place / "separator_causal"
    start = ("train_separator", "--gin_file=runs/train_separator.gin")
    sepcon(*start, *common, *words, f"--run_dir={run}")
    assert np.isfinite(losses(run)).all()
    assert {"supervised_loss", "sparsity", "covariance"} <= set(
        json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    )
    assert json.loads((run / "model.json").read_text())["config"]["causal"]


@pytest.fixture(scope="module")
def esc50(place: Path) -> tuple[str, ...]:
    root = write_esc50(place / "ESC-50")
    bindings = (f"ESC50_DIR='{root}'", f"DATA_DIR='{place / 'data'}'")
    return tuple(f"--gin_bindings={binding}" for binding in bindings)


@pytest.mark.parametrize(
    "path", sorted((GIN / "papers" / "soundclr2021").glob("*.gin")), ids=lambda path: path.stem
)
def test_soundclr(path, place, esc50):
    """Each variant finetunes on two folds; the studies run with two rows of theirs."""
    run = place / "finetune" / path.stem
    file = f"--gin_file=papers/soundclr2021/{path.name}"
    if path.stem in ("esc10", "pretrained"):
        rows = {"one": ("LABELS_PER_CLASS=1", "START=%START_OF_ROW"), "other": ("ALPHA=1.0",)}
        bindings = [
            "START_OF_ROW=''",
            f"PRETRAINED='{place}'",
            f"finetune_study.rows={rows}",
            "finetune_study.baselines=''",
            "finetune.folds=(3,)",
        ]
        words = [f"--gin_bindings={each}" for each in bindings]
        # The stub of ESC-50 has no clips of most of the fifty classes.
        files = [file, "--gin_file=data/esc10.gin", "--gin_file=tiny.gin"]
        sepcon("finetune_study", *files, *words, *esc50, f"--run_dir={run}")
        assert "one" in (run / "table.md").read_text()
        return
    words = ["--gin_file=runs/finetune.gin", file, "--gin_file=data/esc10.gin"]
    tiny = ["--gin_file=tiny.gin", "--gin_bindings=finetune.folds=(1, 3)"]
    if path.stem == "paper":
        # A small one in the place of what cannot be downloaded here, with the paper's front-end.
        tiny += ["--gin_file=models/encoder_small_cnn.gin"]
    sepcon("finetune", *words, *tiny, *esc50, f"--run_dir={run}")
    assert {row["fold"] for row in json.loads((run / "results.json").read_text())["rows"]} == {
        "1",
        "3",
    }


def test_no_gin_file_is_left_out():
    tested = {"models", "views", "fonseca2021", "tuning", "addition", "soundclr2021"}
    in_documents = _documents()
    # The quickstart's files, and those that they include or name as rows.
    quickstart = (REPOSITORY / "tools" / "quickstart.py").read_text()
    quickstart += "".join(path.read_text() for path in (GIN / "quickstart").glob("*.gin"))
    for path in GIN.rglob("*.gin"):
        name = str(path.relative_to(GIN))
        assert path.parent.name in tested or name in in_documents or name in quickstart, name


def _documents() -> str:
    return "".join((REPOSITORY / name).read_text() for name in ("README.md", "BUILD.md"))


def _commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", _documents(), flags=re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def test_every_script_in_the_documents_is_there():
    scripts = {line.split()[0] for line in _commands()} - {"sepcon"}
    assert scripts >= {"tools/quickstart.sh", "tools/check.sh"}
    for script in scripts:
        assert (REPOSITORY / script).is_file(), script


def write_foreign_models(folder: Path) -> None:
    write_yamnet(folder / "yamnet")
    write_hear_module(folder / "hear_model.py")
    (folder / "own_model.py").write_text("def embed(waveform):\n    return waveform[:, :9] ** 2\n")


def write_embeddings_of(run: Path, folder: Path) -> None:
    """What somebody else might have computed: an array for each clip that a benchmark had."""
    folder.mkdir()
    for index in run.glob("embeddings/*/*/index.json"):
        for clip in EmbeddingStore(index.parent).load().ids:
            np.save(folder / f"{clip}.npy", np.random.default_rng(len(clip)).normal(size=4))


def test_the_commands_of_the_documents(tmp_path, monkeypatch):
    """All of them, in order, on tiny settings and in a folder that is not the checkout's."""
    write_recordings(tmp_path / "path" / "to" / "recordings")
    write_esc50(tmp_path / "path" / "to" / "ESC-50")
    write_fuss(tmp_path / "path" / "to" / "ssdata_reverb", num_scenes=3)
    audioset = write_audioset(tmp_path / "path" / "to" / "AudioSet")
    write_parquet(audioset, part="data/bal_train")
    write_urbansound8k(tmp_path / "path" / "to" / "UrbanSound8K")
    write_gtzan(tmp_path / "path" / "to" / "tensorflow_datasets")
    write_foreign_models(tmp_path / "path" / "to")
    monkeypatch.chdir(tmp_path)
    commands = [line for line in _commands() if line.startswith("sepcon ")]
    assert len(commands) > 8
    for line in commands:
        words = shlex.split(line.replace("/tmp/sepcon", str(tmp_path / "runs")))[1:]
        tiny = ["--gin_file=tiny.gin", f"--gin_bindings=DATA_DIR='{tmp_path / 'data'}'"]
        if "data/folder.gin" in line:
            tiny.append("--gin_bindings=folder.clip_seconds=2.0")
        if words[0] == "import":
            tiny.append("--gin_bindings=import_clips.max_fault_share=0.5")
        if "data/imported.gin" in line or "data/audioset.gin" in line:
            tiny.append("--gin_bindings=VALIDATION_SHARE=0.3")
        if words[0].startswith("finetune"):
            tiny += ["--gin_bindings=finetune.folds=(3,)", "--gin_bindings=PATCH_SECONDS=1.0"]
        if words[0] == "finetune_study":
            rows = "{'one': ('ALPHA=0.5',)}"
            tiny += [f"--gin_bindings=finetune_study.rows={rows}"]
            # The stub of ESC-50 has no clips of most of the fifty classes.
            tiny += ["--gin_bindings=finetune_study.baselines=''", "--gin_file=data/esc10.gin"]
        if words[0] == "study":
            rows = [f"papers/fonseca2021/mixture_{name}.gin" for name in ("mixture", "channel")]
            tiny += [f"--gin_bindings=study.rows={rows}", "--gin_bindings=study.seeds=(0,)"]
        if "npy_folder" in line:
            write_embeddings_of(tmp_path / "runs" / "benchmark", tmp_path / "path/to/embeddings")
        sepcon(*words, *tiny)
    python = re.findall(r"```python\n(.*?)```", _documents(), flags=re.DOTALL)
    for code in python:
        code = code.replace("/tmp/sepcon", str(tmp_path / "runs"))
        subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def test_the_quickstart(tmp_path):
    """The whole chain in processes of its own, on tiny settings."""
    words = ["--gin_file", "tiny.gin", "--seeds", "1", "--run_dir", str(tmp_path / "run")]
    command = [sys.executable, str(REPOSITORY / "tools" / "quickstart.py"), *words]
    output = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert output.returncode == 0, output.stderr
    names = {row["name"] for row in json.loads((tmp_path / "run" / "results.json").read_text())}
    assert names == {
        "log-mel statistics",
        "untrained encoder",
        "mixture-mixture",
        "mixture-channel, trained separator",
    }
    assert all(name in output.stdout for name in names)
    assert "audio/flac" in (tmp_path / "run" / "report.html").read_text()
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 0
    assert "started" not in again.stderr
    assert again.stdout.splitlines()[1:-2] == output.stdout.splitlines()[1:-2]


def test_the_quickstart_wants_an_esc50_folder(tmp_path):
    command = [sys.executable, str(REPOSITORY / "tools" / "quickstart.py")]
    output = subprocess.run(
        [*command, "--esc50", str(tmp_path / "nowhere")], capture_output=True, text=True
    )
    assert output.returncode == 1
    assert output.stderr.startswith("sepcon: error: ")
    assert "nowhere/meta/esc50.csv" in output.stderr
    assert output.stderr.count("\n") == 1


def test_the_quickstart_leaves_the_folder_of_another_alone(tmp_path):
    (tmp_path / "quickstart.txt").write_text("path/to/ESC-50\n")
    command = [sys.executable, str(REPOSITORY / "tools" / "quickstart.py")]
    output = subprocess.run(
        [*command, "--run_dir", str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert output.returncode == 1
    assert "holds the quickstart on path/to/ESC-50, not on the built-in scenes" in output.stderr
    assert output.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart.txt"]
