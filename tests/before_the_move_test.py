"""What earlier code has written is read, gone on with and left alone as before.

before_the_move/ was made by commit 2db2735; its README.md says how and what is expected of it.
"""

import csv
import gzip
import hashlib
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from esc50_stub import write_esc50

from sepcon import cli

FOLDER = Path(__file__).parent / "before_the_move"
# The commands that made the folder; all paths in them are relative to it.
COMMANDS = [shlex.split(line)[1:] for line in (FOLDER / "commands.txt").read_text().splitlines()]
# What a run says of the time it took, and of the code.
PASSING = {"seconds", "examples_per_second", "waiting_share", "commit"}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as the current one."""
    copy = tmp_path / "copy"
    shutil.copytree(FOLDER, copy)
    for path in copy.rglob("*.pb.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    # Separated recordings are known again by their absolute path and their time of change.
    recording = copy / "recordings" / "one_second.wav"
    for path in (copy / "separated" / "separated.json", *copy.glob("separated/*/recording.json")):
        text = path.read_text().replace("/before_the_move", str(copy))
        changed = f'"changed_ns": {recording.stat().st_mtime_ns}'
        path.write_text(re.sub(r'"changed_ns": \d+', changed, text))
    write_esc50(copy / "ESC-50", folds=(1, 2))
    monkeypatch.syspath_prepend(str(FOLDER))  # narrow_encoder.py, which narrow.gin imports
    monkeypatch.chdir(copy)
    return copy


def same_processor() -> bool:
    """Whether this is the kind of processor that made the folder: then no bit may differ."""
    pattern = r"^(?:Vendor|.*family|Model:|Flags).*\n"
    text = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    lines = "".join(re.findall(pattern, text, flags=re.MULTILINE))
    digest = hashlib.sha256(lines.encode()).hexdigest()[:16]
    return digest == (FOLDER / "processor.txt").read_text().strip()


def sepcon(*words: str) -> None:
    keras.backend.clear_session()  # Keras numbers its layers through a process.
    trains = "--gin_bindings=pretrain.loop=@no_training" not in words
    assert cli.main(words) == (0 if trains else 143), words


def command_of(run_dir: str) -> list[str]:
    """The command that made one of the folders."""
    (words,) = [words for words in COMMANDS if f"--run_dir={run_dir}" in words]
    return words


def unfinish(run: Path, *others: str) -> None:
    """Leaves a run as if it had been stopped before it wrote these files."""
    for name in ("run.json", *others):
        (run / name).unlink()


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def records(path: Path) -> list[tuple[bytes, np.ndarray]]:
    """Ids and samples of stored channels."""
    found = []
    for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        features = tf.train.Example.FromString(serialized).features.feature
        samples = np.frombuffer(features["channels"].bytes_list.value[0], np.int16)
        found.append((features["id"].bytes_list.value[0], samples.astype(np.int32)))
    return found


def lasting(values: Any) -> Any:
    """Values of a JSON file but for those that no two runs have in common."""
    if isinstance(values, list):
        return [lasting(each) for each in values]
    if isinstance(values, dict):
        return {name: lasting(each) for name, each in values.items() if name not in PASSING}
    return values


def numbers(values: Any) -> list[float]:
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list):
        return [number for each in values for number in numbers(each)]
    return [float(values)] if isinstance(values, int | float) else []


def waveform() -> np.ndarray:
    return np.random.default_rng(0).normal(0.0, 0.1, 16000).astype(np.float32)


def called(saved_model: Path, key: str) -> np.ndarray:
    heard = waveform()[:4000] if key == "sources" else waveform()
    return tf.saved_model.load(str(saved_model))(heard)[key].numpy()


def classes(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def names_of(rows: list[list[str]]) -> list[list[str]]:
    return [[cell for cell in row if not re.fullmatch(r"\d\.\d{4}", cell)] for row in rows]


def probabilities_of(rows: list[list[str]]) -> list[float]:
    return [float(cell) for row in rows for cell in row if re.fullmatch(r"\d\.\d{4}", cell)]


def assert_same_classes(path: Path) -> None:
    found, expected = classes(path), classes(FOLDER / "classes" / "classes.csv")
    assert names_of(found) == names_of(expected)
    assert probabilities_of(found) == pytest.approx(probabilities_of(expected), abs=2e-4)


def test_the_same_commands_find_everything_done(old, capsys):
    before = files_of(old)
    for words in COMMANDS:
        sepcon(*words)
    told = capsys.readouterr()
    assert "Preparing" not in told.err
    assert "(1 by an earlier run)" in told.out
    after = files_of(old)
    for name, content in before.items():
        if name.endswith("config.gin"):
            pass  # What is bound has other names now.
        elif name == "finetuned/run.json":
            assert lasting(json.loads(after[name])) == lasting(json.loads(content))
        elif name != "classes/classes.csv":
            assert after[name] == content, name
    assert_same_classes(old / "classes" / "classes.csv")
    made = {
        name
        for name in after.keys() - before.keys()
        if not re.search(r"tensorboard|\.envelope\.npz|config\.0\.gin", name)
    }
    assert made == {"separated/report.html", "finetuned/report.html"}


def test_a_killed_pretraining_is_refused_as_patches_are_drawn_otherwise(old, capsys):
    """It cut patches at any sample: going on would be another training than either version's."""
    stopped = old / "encoder_stopped"
    before = files_of(stopped)
    words = [word for word in command_of("encoder") if not word.startswith("--run_dir=")]
    keras.backend.clear_session()
    assert cli.main([*words, "--run_dir=encoder_stopped"]) == 1
    told = capsys.readouterr().err
    scenes = json.loads((old / "channels" / "index.json").read_text())["clips"]
    assert (
        f"error: encoder_stopped was trained on 4 examples of {scenes} up to step 40, but is given "
        f"4 examples of {scenes}, in patches at multiples of 400 samples; give those it began "
        "with, or another run_dir"
    ) in told
    after = files_of(stopped)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("run", "change", "line"),
    [
        ("encoder_stopped", ["STEPS=2"], "has done 40 steps, asked for 2"),
        ("encoder_stopped", ["SEED=1"], "unfinished run with pretrain.seed 0, now 1"),
        ("encoder_stopped", ["BATCH_SIZE=2"], "with pretrain.batch_size 4, now 2"),
        ("encoder_stopped", ["PATCH_SECONDS=0.1"], "ViewSampler.patch_seconds 0.2, now 0.1"),
        ("encoder", ["STEPS=200"], "finished run of 120 steps, asked for 200"),
        ("encoder", ["STEPS=40"], "finished run of 120 steps, asked for 40"),
        ("encoder", ["LEARNING_RATE=0.5"], "finished run with pretrain/cosine.peak 0.001, now 0.5"),
        ("separator", ["SEPARATOR_STEPS=5"], "finished run of 2 steps, asked for 5"),
        ("embeddings", ["MODEL='encoder'"], "embed.model 'encoder/saved_model', now 'encoder'"),
        ("benchmark", ["benchmark_embeddings.num_classifiers=2"], "num_classifiers 1, now 2"),
        ("imported", ["import_clips.clips_per_shard=1"], "clips_per_shard 2, now 1"),
        ("finetuned", ["EPOCHS=3"], "finished run with finetune.epochs 2, now 3"),
    ],
)
def test_a_start_that_contradicts_is_refused_and_changes_no_byte(old, capsys, run, change, line):
    made_by = "encoder" if run == "encoder_stopped" else run
    words = [word for word in command_of(made_by) if not word.startswith("--run_dir=")]
    before = files_of(old / run)
    bindings = [f"--gin_bindings={binding}" for binding in change]
    assert cli.main([*words, *bindings, f"--run_dir={run}"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert line in told
    assert "another --run_dir" in told
    assert files_of(old / run) == before


def test_channels_go_on_with_the_separator_that_made_them(old):
    shard, index = (old / "channels" / name for name in ("channels-00000.tfrecord", "index.json"))
    expected, said = records(shard), index.read_text()
    unfinish(old / "channels", shard.name)
    sepcon(*command_of("channels"))
    found = records(shard)
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert max(abs(a - b).max() for (_, a), (_, b) in zip(found, expected, strict=True)) <= 1
    assert index.read_text() == said


@pytest.mark.parametrize("run", ["embeddings", "imported_embeddings"])
def test_embeddings_go_on(run, old):
    store = old / run / "embeddings"
    shard = sorted(store.glob("*.npz"))[0]
    index, names = (store / "index.json").read_text(), sorted(store.iterdir())
    with np.load(shard) as arrays:
        expected = dict(arrays)
    unfinish(old / run, f"embeddings/{shard.name}")
    sepcon(*command_of(run))
    assert (store / "index.json").read_text() == index
    assert sorted(store.iterdir()) == sorted([*names, store / "seals.json"])
    with np.load(shard) as arrays:
        assert arrays["ids"].tolist() == expected["ids"].tolist()
        assert arrays["labels"].tolist() == expected["labels"].tolist()
        np.testing.assert_allclose(arrays["embedding"], expected["embedding"], rtol=0, atol=1e-5)


def test_a_benchmark_goes_on_with_the_embeddings_it_has(old):
    run = old / "benchmark"
    expected = json.loads((run / "results.json").read_text())
    embeddings = files_of(run / "embeddings")
    unfinish(run, "results.json")
    sepcon(*command_of("benchmark"))
    found = json.loads((run / "results.json").read_text())
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for row, before in zip(lasting(found), lasting(expected), strict=True):
        assert row["name"] == before["name"]
        if same_processor():
            assert numbers(row) == pytest.approx(numbers(before), abs=1e-3)
    found = files_of(run / "embeddings")
    assert {name: found[name] for name in found if not name.endswith("seals.json")} == embeddings


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        ("encoder", "embedding"),
        ("encoder", "patch_embedding"),
        ("separator_export", "sources"),
        ("classifier_export", "probabilities"),
    ],
)
def test_saved_models_give_the_same_numbers(folder, key, old):
    expected = np.load(FOLDER / f"expected_{key}.npy")
    found = called(old / folder / "saved_model", key)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("encoder", "embedding"),
        ("separator", "sources"),
        ("finetuned/seed0/fold2", "probabilities"),
    ],
)
def test_runs_are_exported_to_the_same_numbers(model, key, old):
    shutil.rmtree(old / model / "saved_model", ignore_errors=True)
    binding = f"--gin_bindings=MODEL='{model}'"
    sepcon("export", "--gin_file=runs/export.gin", binding, "--run_dir=again")
    found = called(old / "again" / "saved_model", key)
    np.testing.assert_allclose(found, np.load(FOLDER / f"expected_{key}.npy"), rtol=0, atol=1e-5)


def test_a_stopped_import_goes_on_to_the_files_of_one_that_was_not(old):
    stopped = [word for word in command_of("imported") if not word.startswith("--run_dir=")]
    sepcon(*stopped, "--run_dir=import_stopped")
    found, expected = files_of(old / "import_stopped"), files_of(old / "imported")
    # Of shards that were written before, envelopes are made when they are first read by place.
    made = {"config.0.gin", "seals.json", "clips-00002.tfrecord.envelope.npz"}
    assert found.keys() - made == expected.keys()
    for name in expected.keys() - {"config.gin", "run.json"}:
        assert found[name] == expected[name], name
    records = [json.loads(files["run.json"]) for files in (found, expected)]
    assert records[0].pop("sealed")
    assert lasting(records[0]) == lasting(records[1])


@pytest.mark.parametrize("model", ["separator", "separator_export"])
def test_recordings_are_separated_as_before(model, old):
    sepcon("separate", "recordings/one_second.wav", f"--separator={model}", "--out=again")
    for path in sorted((FOLDER / "separated" / "one_second.wav").glob("*.wav")):
        expected, rate_hz = soundfile.read(path)
        found, found_rate_hz = soundfile.read(old / "again" / "one_second.wav" / path.name)
        assert found_rate_hz == rate_hz
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_an_exported_classifier_names_the_same_classes(old):
    sepcon("classify", "recordings", "--model=classifier_export", "--out=again", "--top=3")
    assert_same_classes(old / "again" / "classes.csv")
