"""The packaged weights hear only what is free, and their cards say what was measured."""

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from classifier_stub import write_classifier
from encoder_stub import noise, write_run
from esc50_stub import write_esc50
from separator_stub import write_separator_run

import sepcon
from sepcon import cli
from sepcon.models import packaged
from sepcon.runs import run_folder
from sepcon.runs.revision import running_revision

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))
import train_weights  # noqa: E402
import weights_material  # noqa: E402

MEASURES = {
    "si_snri_channel_db": 5.25,
    "si_snri_group_db": 4.0,
    "mAP": 0.5,
    "d_prime": 1.25,
}
INTERVALS = MEASURES | {
    f"{name}_{end}": value + side
    for name, value in MEASURES.items()
    for end, side in (("low", -0.1), ("high", 0.1))
}


@pytest.fixture(scope="module")
def esc50(tmp_path_factory) -> Path:
    """A small ESC-50 with the licence of every clip; that of one of ESC-10 is not free."""
    root = write_esc50(tmp_path_factory.mktemp("esc50"))
    rows = list(csv.DictReader((root / "meta" / "esc50.csv").open()))
    lines = [
        f"- [{row['fold']}-{row['src_file']}-A.ogg]: clip derived from a sound (1).wav "
        f"(http://www.freesound.org/people/me/sounds/{row['src_file']}/) by me & you "
        f"[{'CC-Sampling+' if row['src_file'] == '2010' else 'CC-BY'}]"
        for row in rows
    ]
    (root / "LICENSE").write_text("Licensing details:\n" + "\n".join(lines))
    return root


@pytest.fixture(scope="module")
def material(esc50, tmp_path_factory) -> weights_material.Material:
    folder = tmp_path_factory.mktemp("material")
    return weights_material.write_material(folder, esc50=esc50, events_per_class=1)


def test_only_free_clips_of_esc10_are_taken_and_no_recording_of_the_test_fold(material):
    with (material.recordings / "labels.csv").open() as file:
        table = {row["filename"]: row for row in csv.DictReader(file)}
    clips = {name: row for name, row in table.items() if name.startswith("esc10/")}
    # Three classes of ESC-10 in two folds with two clips each, but for the one that is not free.
    assert len(clips) == 11
    assert {row["label"] for row in clips.values()} == {"dog", "rooster", "rain"}
    assert not [name for name in clips if name.startswith(("esc10/1-", "esc10/2-2010-"))]
    assert {str(path.relative_to(material.recordings)) for path in clips_of(material)} == {*clips}
    assert clips["esc10/3-3000-A-0.wav"]["source"] == "freesound 3000"
    assert material.num_events == len(table) - 11
    assert (material.test_fold, material.num_clips, material.num_left_out) == (1, 17, 1)
    with (material.esc10 / "meta" / "esc50.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["fold"] for row in rows} == {"1", "2", "3"}
    assert {row["esc10"] for row in rows} == {"True"}
    assert len(rows) == len(list((material.esc10 / "audio").iterdir())) == 17
    lines = material.attribution.splitlines()
    assert len(lines) == 17
    assert lines[0] == (
        '1000: "a sound (1).wav" by me & you, CC-BY, '
        "http://www.freesound.org/people/me/sounds/1000/ (dog)"
    )
    assert "2010" not in material.attribution


def clips_of(material: weights_material.Material) -> list[Path]:
    return list((material.recordings / "esc10").iterdir())


def test_without_a_table_of_licences_all_of_esc10_counts_by_its_sources(tmp_path):
    esc50 = write_esc50(tmp_path / "esc50", folds=(4, 5))
    material = weights_material.write_material(tmp_path / "m", esc50=esc50, events_per_class=1)
    assert (material.test_fold, material.num_clips, material.num_left_out) == (4, 12, 0)
    assert "4000: https://freesound.org/s/4000/ (dog)" in material.attribution
    alone = weights_material.write_material(tmp_path / "m", esc50=None, events_per_class=1)
    assert (alone.esc10, alone.num_clips, alone.attribution) == (None, 0, "")
    assert not (alone.recordings / "esc10").exists()


def test_every_stage_is_a_command_that_is_understood(material, tmp_path, capsys):
    options = train_weights._parse(["--gin_file=tiny.gin", "--gin_bindings=PATCH_SECONDS=1.0"])
    stages = train_weights.stages(material, tmp_path, options)
    assert [stage.name for stage in stages] == ["separator", "encoder", "benchmark", "classifier"]
    for stage in stages:
        assert cli.main([*stage.words, f"--run_dir={tmp_path}", "--print_config"]) == 0, stage.name
    assert "finetune.folds = (1,)" in capsys.readouterr().out
    without = train_weights.stages(
        weights_material.Material(tmp_path, None, None, 1, 0, 0, ""), tmp_path, options
    )
    assert [stage.name for stage in without] == ["separator", "encoder", "benchmark"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """What the stages leave, without any training."""
    root = tmp_path_factory.mktemp("trained")
    write_separator_run(root / "separator")
    rows = [{"step": step, "num_scenes": 9, **INTERVALS} for step in (0, 7)]
    (root / "separator" / "separation.json").write_text(json.dumps(rows))
    write_run(root / "encoder")
    (root / "benchmark").mkdir()
    counts = {"num_test_clips": 8, "num_classes": 3}
    rows = [{"name": "model", **INTERVALS, **counts}]
    rows += [{"name": "untrained encoder", **INTERVALS, **counts, "mAP": 0.25}]
    (root / "benchmark" / "results.json").write_text(json.dumps(rows))
    write_classifier(root / "classifier" / "seed0" / "fold1", 1.0)
    row = {"accuracy": 0.75, "num_test_clips": 4}
    (root / "classifier" / "results.json").write_text(json.dumps({"rows": [row]}))
    return root


def test_what_is_packed_is_found_by_name_with_its_card(material, trained, tmp_path, monkeypatch):
    command = train_weights._command([f"--esc50={tmp_path}/ESC-50", "--steps=3"])
    assert command == "python tools/train_weights.py --esc50=ESC-50 --steps=3"
    train_weights.pack(material, trained, tmp_path, command)
    train_weights.pack(material, trained, tmp_path, command)
    monkeypatch.setattr(packaged, "weights_folder", lambda: tmp_path)
    assert packaged.packaged_names() == sorted(packaged.DEFAULTS.values())
    waveform = noise(1, 9000)
    for kind, name in packaged.DEFAULTS.items():
        card = packaged.describe(packaged.folder_of(name))
        assert (card["name"], card["kind"], card["licence"]) == (name, kind, "Apache-2.0")
        assert {"trained_on", "measured", "not_for", "command", "git_revision"} <= card.keys()
        assert str(tmp_path.parent) not in json.dumps(card)
    encoder = sepcon.load(packaged.default_weights("encoder"), "encoder")
    np.testing.assert_allclose(
        encoder.embed(waveform, sample_rate_hz=16000).clip,
        sepcon.load(trained / "encoder", "encoder").embed(waveform, sample_rate_hz=16000).clip,
        rtol=0.01,
        atol=0.01,
    )
    assert encoder.card["measured"]["mAP"] == {"value": 0.5, "low_95": 0.4, "high_95": 0.6}
    assert "(untrained encoder: 0.25)" in encoder.card["summary"]
    separator = packaged.describe(tmp_path / "separator-v1")
    assert separator["summary"] == (
        "splits recordings into 3 channels; SI-SNR improvement 5.2 dB on 9 scenes of synthetic "
        "sounds and ESC-10 it never heard"
    )
    classifier = sepcon.load("classifier-v1", "classifier")
    assert classifier.card["training_step"] == 10
    assert "accuracy 0.75 on 4 clips" in classifier.card["summary"]
    assert "freesound" in (tmp_path / "ATTRIBUTION.txt").read_text()


def test_what_a_quickstart_has_trained_is_packed_as_it_is(trained, tmp_path, monkeypatch, capsys):
    run = tmp_path / "quickstart"
    shutil.copytree(trained / "separator", run / "separator")
    row = "mixture_mixture_random_equalization"
    shutil.copytree(trained / "encoder", run / "pretrain" / row / "seed0")
    run_folder.finish(run / "separator", {"commit": "overwritten"})
    rows = [
        {"name": name, "seed": seed, **INTERVALS, "num_test_clips": 8, "num_classes": 3}
        for name in ("mixture-mixture, random equalization", "log-mel statistics")
        for seed in (0, 1)
    ]
    rows += [{**rows[-2], "name": "untrained encoder", "mAP": 0.25}]
    (run / "results.json").write_text(json.dumps(rows))
    words = [f"--from_quickstart={run}", f"--into={tmp_path / 'packed'}"]
    (run / "quickstart.txt").write_text("path/to/ESC-50\n")
    assert train_weights.main(words) == 1
    assert "is no quickstart on the built-in scenes" in capsys.readouterr().err
    (run / "quickstart.txt").write_text("the built-in scenes\n")
    assert train_weights.main(words) == 0
    monkeypatch.setattr(packaged, "weights_folder", lambda: tmp_path / "packed")
    assert packaged.packaged_names() == ["encoder-v1", "separator-v1"]
    card = packaged.describe(packaged.folder_of("separator-v1"))
    assert card["command"] == (
        "tools/quickstart.sh && python tools/train_weights.py --from_quickstart=quickstart "
        "--into=packed"
    )
    assert card["git_revision"] == str(running_revision())
    assert "1800 synthetic events" in card["trained_on"][0]["what"]
    assert "synthetic sounds alone" in card["not_for"][-1]
    assert packaged.describe(packaged.folder_of("encoder-v1"))["measured"]["num_scenes"] == 8
