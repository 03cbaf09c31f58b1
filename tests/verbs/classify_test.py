"""Files in, classes out: the table, ensembles, and what is wrong with files and models."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from classifier_stub import write_classifier
from encoder_stub import write_run
from separator_stub import write_separator_run
from tones_stub import tone

from sepcon.cli import main
from sepcon.errors import SepconError
from sepcon.inference.members import find_members
from sepcon.models.classifier import load_classifier
from sepcon.models.products.classification import ClassificationModel
from sepcon.verbs.classify import classify
from sepcon.verbs.export import export


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """What `sepcon finetune` leaves of two folds, and a third that was stopped."""
    folder = tmp_path_factory.mktemp("finetune") / "run"
    write_classifier(folder / "seed0" / "fold1", 0.5)
    write_classifier(folder / "seed0" / "fold3", 1.0)
    (folder / "seed0" / "fold5").mkdir()
    (folder / "seed0" / "fold5" / "model.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "more").mkdir()
    for label, name in enumerate(("a.wav", "b.flac", "more/c.ogg")):
        audio = np.concatenate([tone(label, 100 + k) for k in range(6)])
        soundfile.write(folder / name, audio, 16000)
    (folder / "broken.wav").write_bytes(b"RIFF is not enough")
    (folder / "empty.flac").write_bytes(b"")
    return folder


def probabilities_of(folder: Path, audio: np.ndarray) -> np.ndarray:
    loaded = load_classifier(folder)
    module = ClassificationModel(
        loaded.model, loaded.log_mel, patch_seconds=0.25, class_names=loaded.config.class_names
    )
    return module(tf.constant(audio))["probabilities"].numpy()


def test_the_command_names_the_classes_and_the_faults(run, recordings, tmp_path, capsys):
    words = [str(recordings), f"--model={run}", f"--out={tmp_path / 'out'}", "--top=2"]
    assert main(["classify", *words]) == 0
    output = capsys.readouterr()
    rows = list(csv.DictReader((tmp_path / "out" / "classes.csv").read_text().splitlines()))
    found = {Path(row["file"]).name: row for row in rows}
    assert {name: row["class_1"] for name, row in found.items()} == {
        "a.wav": "low",
        "b.flac": "middle",
        "c.ogg": "high",
    }
    assert found["a.wav"]["seconds"] == "1.500"
    assert "class_2" in rows[0]
    assert "class_3" not in rows[0]
    assert f"{recordings / 'a.wav'}: low " in output.out
    assert "3 recordings classified, 2 failed" in output.out
    skipped = [line for line in output.err.splitlines() if line.startswith("sepcon: skipped")]
    assert len(skipped) == 2
    assert "broken.wav" in output.err
    assert "empty.flac" in output.err


def test_a_whole_run_is_the_mean_of_its_folds(run, recordings, tmp_path):
    assert find_members(run) == [run / "seed0" / "fold1", run / "seed0" / "fold3"]
    (row,) = classify(run_dir=tmp_path, model=run, files=[recordings / "b.flac"], top=3)
    audio, _ = soundfile.read(recordings / "b.flac", dtype="float32")
    mean = np.mean([probabilities_of(each, audio) for each in find_members(run)], axis=0)
    assert row[2] == "middle"
    assert [float(cell) for cell in row[3::2]] == pytest.approx(sorted(mean)[::-1], abs=1e-4)


def test_an_export_and_other_rates_say_the_same(run, tmp_path):
    fold = run / "seed0" / "fold1"
    exported = export(run_dir=tmp_path / "export", model=fold)
    time = np.arange(48000) / 48000
    soundfile.write(tmp_path / "x.wav", 0.2 * np.sin(2 * np.pi * 900 * time), 48000)
    rows = [
        classify(run_dir=tmp_path / "out", model=model, files=[tmp_path / "x.wav"])[0]
        for model in (fold, exported, exported.parent, [fold, exported])
    ]
    assert rows[0][2] == "middle"
    assert rows[1] == rows[0] == rows[2] == rows[3]


def test_names_that_no_terminal_shows(run, recordings, tmp_path):
    odd = tmp_path / os.fsdecode(b"line\nbreak\xff.flac")
    odd.write_bytes((recordings / "b.flac").read_bytes())
    classify(run_dir=tmp_path, model=run, files=[odd])
    text = (tmp_path / "classes.csv").read_text()
    assert "line\\nbreak" in text
    assert text.count("\n") == 2


def test_what_cannot_be_classified(run, recordings, tmp_path):
    with pytest.raises(SepconError, match="nothing to classify"):
        classify(run_dir=tmp_path, model=run)
    with pytest.raises(SepconError, match="none of 2 recordings"):
        classify(run_dir=tmp_path, model=run, files=[recordings / "broken.wav", "nowhere.wav"])
    with pytest.raises(SepconError, match="nowhere holds no classifier"):
        classify(run_dir=tmp_path, model="nowhere", files=[recordings])
    with pytest.raises(SepconError, match="top: got 0"):
        classify(run_dir=tmp_path, model=run, files=[recordings], top=0)
    write_run(tmp_path / "encoder")
    with pytest.raises(
        SepconError, match="holds a network of kind 'encoder', expected 'classifier'"
    ):
        classify(run_dir=tmp_path, model=tmp_path / "encoder", files=[recordings])
    encoder = export(run_dir=tmp_path / "export", model=tmp_path / "encoder")
    with pytest.raises(SepconError, match="expected 'classifier'; give a run"):
        classify(run_dir=tmp_path, model=encoder, files=[recordings])
    assert not (tmp_path / "classes.csv").exists()


@pytest.fixture(scope="module")
def separator(tmp_path_factory) -> Path:
    return write_separator_run(tmp_path_factory.mktemp("separator"), steps=(3, 7))


def test_the_command_with_a_separator(run, separator, recordings, tmp_path, capsys):
    out, model = tmp_path / "out", run / "seed0" / "fold1"
    words = [str(recordings), f"--model={model}", f"--separator={separator}", f"--out={out}"]
    settings = ["--separator_step=3", "--window_seconds=0.5", "--format=wav", "--threshold=0.4"]
    assert main(["classify", *words, *settings, "--top=1", "--min_level_db=-90"]) == 0
    output = capsys.readouterr()
    assert "3 recordings classified, 2 failed" in output.out
    rows = list(csv.DictReader((out / "channels.csv").read_text().splitlines()))
    assert [row["channel"] for row in rows] == 3 * ["mixture", *(f"channel_{n}" for n in range(3))]
    # Of the mixture as a whole it says what it says without a separator.
    whole = classify(run_dir=tmp_path / "whole", model=model, files=[recordings], top=1)
    mixtures = [row for row in rows if row["channel"] == "mixture"]
    for row, (path, seconds, name, probability) in zip(mixtures, whole, strict=True):
        assert (row["file"], row["seconds"], row["class_1"]) == (path, seconds, name)
        assert float(row["probability_1"]) == pytest.approx(float(probability), abs=2e-4)
    assert sorted(path.name for path in (out / "more" / "c.ogg").iterdir()) == [
        "audacity_labels.txt",
        *(f"channel_{n}.wav" for n in range(3)),
        "raven_selections.txt",
        "recording.json",
        "seals.json",
    ]
    assert (out / "report.html").is_file()
    assert not (out / "classes.csv").exists()
    made_by = json.loads((out / "separated.json").read_text())["made_by"]
    assert (made_by["step"], made_by["format"], made_by["window_seconds"]) == (3, "wav", 0.5)


def test_settings_of_a_separator_need_one(run, separator, recordings, tmp_path):
    settings = {"model": run, "files": [recordings], "run_dir": tmp_path}
    with pytest.raises(SepconError, match="no separator; give one, such as --separator=separator-"):
        classify(**settings, threshold=0.3)
    with pytest.raises(SepconError, match="threshold: got 3, expected a probability"):
        classify(**settings, separator=separator, threshold=3.0)
    with pytest.raises(SepconError, match="kind 'classifier', expected 'separator'"):
        classify(**settings, separator=run / "seed0" / "fold1")
    with pytest.raises(SepconError, match="nowhere holds no separator"):
        classify(**settings, separator="nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_opens_the_state_of_the_separator(separator, recordings, tmp_path, capsys):
    words = [str(recordings), f"--separator={separator}", f"--out={tmp_path / 'out'}"]
    assert main(["classify", *words, "--separator_step=5", "--dry_run"]) == 1
    assert "no state of step 5" in capsys.readouterr().err
    assert main(["classify", *words, "--separator_step=3", "--dry_run"]) == 0
    assert not (tmp_path / "out").exists()
