"""Every command of the documents works as written, and no shipped gin file is left untested."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from esc50_stub import write_esc50
from foreign_models import write_hear_module, write_yamnet
from fuss_stub import write_fuss
from import_fixtures import write_audioset, write_gtzan, write_parquet, write_urbansound8k
from recordings_fixture import write_recordings

from sepcon import cli
from sepcon.embeddings.store import EmbeddingStore

REPOSITORY = Path(__file__).resolve().parents[1]
GIN = REPOSITORY / "gin"


def _documents() -> str:
    return "".join((REPOSITORY / name).read_text() for name in ("README.md", "BUILD.md"))


def test_no_gin_file_is_left_out():
    tested = {"models", "objectives", "views", "fonseca2021", "soundclr2021"}
    in_documents = _documents()
    # The quickstart's files, and those that they include.
    quickstart = (REPOSITORY / "tools" / "quickstart.py").read_text()
    quickstart += "".join(path.read_text() for path in (GIN / "quickstart").glob("*.gin"))
    for path in GIN.rglob("*.gin"):
        name = str(path.relative_to(GIN))
        assert path.parent.name in tested or name in in_documents or name in quickstart, name


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
    # Each class in each fold, so that every classifier has something to learn from.
    urbansound8k = tmp_path / "path" / "to" / "UrbanSound8K"
    write_urbansound8k(urbansound8k, per_fold=10, num_classes=10)
    write_gtzan(tmp_path / "path" / "to" / "tensorflow_datasets")
    write_foreign_models(tmp_path / "path" / "to")
    monkeypatch.chdir(tmp_path)
    commands = [line for line in _commands() if line.startswith("sepcon ")]
    assert len(commands) > 8
    for line in commands:
        words = shlex.split(line.replace("/tmp/sepcon", str(tmp_path / "runs")))[1:]
        tiny = ["--gin_file=tiny.gin", f"--gin_bindings=DATA_DIR='{tmp_path / 'data'}'"]
        tiny.append("--shared_config")
        if "data/folder.gin" in line:
            tiny.append("--gin_bindings=folder.clip_seconds=2.0")
        if words[0] == "import":
            tiny.append("--gin_bindings=import_clips.max_fault_share=0.5")
        if "data/imported.gin" in line or "data/audioset.gin" in line:
            tiny.append("--gin_bindings=VALIDATION_SHARE=0.3")
        of_classes = "soundclr2021" in line
        if words[0] == "finetune" or of_classes:
            tiny += ["--gin_bindings=finetune.folds=(3,)", "--gin_bindings=PATCH_SECONDS=1.0"]
        if words[0] == "study" and of_classes:
            row = "hybrid" if "esc10" in line else "pretrained, all labels"
            tiny += [f"--gin_bindings=study.only='{row}'", f"--gin_bindings=study.baseline='{row}'"]
            # The stub of ESC-50 has no clips of most of the fifty classes.
            tiny += ["--gin_bindings=study.against={}", "--gin_file=data/esc10.gin"]
        elif words[0] == "study":
            # Of a row without a separator: the quickstart's test has a study with one.
            row = "mixture-mixture, random equalization"
            tiny += [f"--gin_bindings=study.only='{row}'", f"--gin_bindings=study.baseline='{row}'"]
            tiny += ["--gin_bindings=PretrainingPlan.seeds=(0,)"]
            tiny += ["--gin_bindings=PretrainingPlan.baselines=()"]
        if "study/channels" in line:
            (tmp_path / "runs/study/channels").mkdir()
            (tmp_path / "runs/study/channels/late").symlink_to(tmp_path / "runs/channels")
        if "npy_folder" in line:
            write_embeddings_of(tmp_path / "runs" / "benchmark", tmp_path / "path/to/embeddings")
        assert cli.main([*words, *tiny]) == 0, line
    python = re.findall(r"```python\n(.*?)```", _documents(), flags=re.DOTALL)
    for code in python:
        code = code.replace("/tmp/sepcon", str(tmp_path / "runs"))
        subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
