"""The benchmark of separators, from checkpoints to table and page."""

import csv
import dataclasses
import functools
import json
import re
import sys
from urllib.parse import unquote

import keras
import numpy as np
import pytest
import soundfile
from scenes_stub import scenes

import sepcon.separation.benchmark
import sepcon.verbs.benchmark
from sepcon.errors import SepconError
from sepcon.models.separator.network import (
    Separator,
    SeparatorConfig,
    load_separator,
    save_separator_config,
)
from sepcon.models.weights import state_folder, write_weights
from sepcon.separation.benchmark import benchmark_separation
from sepcon.separation.evaluate import MeasuredSeparator, evaluate_separation, score_scenes
from sepcon.separation.references import copied_mixture
from sepcon.verbs.export import export

SMALL = SeparatorConfig(
    num_sources=4,
    window_seconds=0.004,
    hop_seconds=0.002,
    bottleneck=4,
    conv_channels=4,
    num_repeats=1,
    num_dilations=2,
)
BARE = {"references": (), "report": False, "num_examples": 0}
FAST = {"bootstrap_resamples": 50, "batch_size": 4}


def benchmark(run_dir, **arguments):
    return sepcon.verbs.benchmark.benchmark(
        run_dir=run_dir, measure=functools.partial(benchmark_separation, **{**FAST, **arguments})
    )


def write_run(run_dir, steps=(0, 10), config=SMALL):
    save_separator_config(config, run_dir)
    for step in steps:
        keras.utils.set_random_seed(step)
        write_weights(Separator(config), state_folder(run_dir, step))
    return run_dir


@pytest.fixture(scope="module")
def clips():
    return scenes([1, 2, 3, 2, 4, 1])[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def finished(clips, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    return folder, benchmark(folder, separators={"a & b": run}, scenes=clips, num_examples=1)


def test_rows_are_references_and_checkpoints(finished):
    folder, rows = finished
    names = [("mixture", None), ("ideal ratio masks", None), ("a & b", 0), ("a & b", 10)]
    assert [(row["name"], row["step"]) for row in rows] == names
    assert json.loads((folder / "results.json").read_text()) == rows
    mixture, masks = rows[:2]
    assert mixture["si_snri_channel_db"] == pytest.approx(0, abs=1e-3)
    assert mixture["over_separated_1"] == mixture["over_separated_3"] == 1
    assert masks["si_snri_channel_db_2"] > 2
    assert masks["equally_separated"] == 1
    for row in rows:
        assert [row[f"num_scenes_{k}"] for k in (1, 2, 3, 4)] == [2, 2, 1, 1]
        for key in [key for key in row if f"{key}_low" in row]:
            assert row[f"{key}_low"] <= row[key] + 1e-9, key
            assert row[key] <= row[f"{key}_high"] + 1e-9, key


def test_checkpoints_are_measured_as_training_measures_them(finished, clips, run):
    _, rows = finished
    for row in rows[2:]:
        measured = MeasuredSeparator(load_separator(run, row["step"]))
        expected = evaluate_separation(measured, clips, bootstrap_resamples=50, batch_size=4)
        assert {key: row[key] for key in expected} == pytest.approx(expected, abs=1e-3)


def test_every_scene_is_in_the_table_of_scenes(finished):
    folder, rows = finished
    with open(folder / "scenes.csv") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 4 * 6
    mine = [line for line in table if line["step"] == "10"]
    assert [line["scene"] for line in mine] == ["0", "1", "2", "3", "4", "5"]
    two = [float(line["si_snri_group_db"]) for line in mine if line["sources"] == "2"]
    assert np.mean(two) == pytest.approx(rows[-1]["si_snri_group_db_2"])
    over = [int(line["active_channels"]) > int(line["sources"]) for line in mine]
    assert np.mean(over) == pytest.approx(rows[-1]["over_separated"])


def test_the_page_shows_the_figures_and_plays_the_scenes(finished, clips):
    folder, rows = finished
    page = (folder / "report.html").read_text()
    assert "a &amp; b" in page
    assert f"{rows[-1]['si_snri_group_db_2']:z.1f} (" in page
    # Three curves, and for each player a spectrogram.
    links = [unquote(link) for link in re.findall(r'<audio[^>]*src="([^"]*)"', page)]
    assert len(links) == 1 + 2 + 4
    assert page.count("data:image/png") == 3 + len(links)
    scene = list(clips.build_with_sources().as_numpy_iterator())[1]
    sounds = [soundfile.read(folder / link, dtype="int16")[0] for link in links]
    np.testing.assert_array_equal(sounds[0], scene["audio"])
    np.testing.assert_array_equal(sounds[1:3], scene["sources"][:2])
    # Four channels, each rounded to int16.
    np.testing.assert_allclose(sum(map(np.int32, sounds[3:])), scene["audio"], atol=3)


def test_the_table_is_printed_with_two_lines_for_each_row(clips, run, tmp_path, capsys):
    rows = benchmark(
        tmp_path,
        separators={"s": run},
        scenes=clips,
        steps=[10],
        **{**BARE, "references": ("mixture",)},
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 * 2
    assert "4 sources" in lines[0]
    assert lines[-2].split()[:4] == ["s", "10", "6", "channels"]
    assert f"{rows[-1]['si_snri_channel_db']:z.1f} (" in lines[-2]
    assert f"{rows[-1]['si_snri_group_db']:z.1f} (" in lines[-1]
    assert not (tmp_path / "report.html").exists()


def test_an_export_is_measured_like_the_state_it_was_made_of(finished, clips, run, tmp_path):
    _, rows = finished
    export(run_dir=tmp_path / "export", model=run, step=0)
    arguments = {"separators": {"e": tmp_path / "export"}, "scenes": clips, **BARE}
    (row,) = benchmark(tmp_path / "out", **arguments)
    expected = {key: rows[2][key] for key in row if key not in ("name", "seconds")}
    assert {key: row[key] for key in expected} == pytest.approx(expected, abs=1e-3)


@pytest.fixture
def scored(clips, monkeypatch):
    """Replaces separation by something cheap; returns the steps that were scored."""
    steps = []

    def score(entry, *_):
        steps.append(entry.step)
        return score_scenes(copied_mixture, clips, max_clips=2), {}

    monkeypatch.setattr(sepcon.separation.benchmark, "_score", score)
    return steps


def test_a_killed_run_goes_on_with_the_next_checkpoint(clips, run, tmp_path, scored, monkeypatch):
    arguments = {"separators": {"s": run}, "scenes": clips, "max_scenes": 2, **BARE}
    with monkeypatch.context() as patch:
        score = sepcon.separation.benchmark._score

        def killed(entry, *others):
            if entry.step == 10:
                raise KeyboardInterrupt
            return score(entry, *others)

        patch.setattr(sepcon.separation.benchmark, "_score", killed)
        with pytest.raises(KeyboardInterrupt):
            benchmark(tmp_path, **arguments)
    assert not (tmp_path / "results.json").exists()
    assert [row["step"] for row in benchmark(tmp_path, **arguments)] == [0, 10]
    assert scored == [0, 10]


def test_new_weights_and_other_scenes_are_measured_anew(clips, tmp_path, scored):
    run = write_run(tmp_path / "run", steps=(1,))
    arguments = {"separators": {"s": run}, "scenes": clips, "max_scenes": 2, **BARE}
    for _ in range(2):
        benchmark(tmp_path / "out", **arguments)
        (tmp_path / "out" / "run.json").unlink()
    assert scored == [1]
    write_weights(Separator(SMALL), state_folder(run, 1))
    benchmark(tmp_path / "out", **arguments)
    assert scored == [1, 1]
    (tmp_path / "out" / "run.json").unlink()
    benchmark(tmp_path / "out", **{**arguments, "max_scenes": 3})
    assert scored == [1, 1, 1]


def test_a_missing_library_is_told_before_anything_is_measured(clips, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(SepconError, match="jinja2"):
        benchmark(tmp_path, separators={"s": run}, scenes=clips)
    assert not (tmp_path / "scores").exists()


def test_scenes_with_more_sources_than_channels_are_left_out_and_counted(clips, tmp_path, capsys):
    config = dataclasses.replace(SMALL, num_sources=2)
    run = write_run(tmp_path / "run", steps=(0,), config=config)
    (row,) = benchmark(tmp_path / "out", separators={"s": run}, scenes=clips, **BARE)
    assert (row["num_scenes"], row["num_scenes_skipped"]) == (6, 2)
    assert "4 of 6" in capsys.readouterr().out
    assert "num_scenes_3" not in row


def test_bad_requests_are_named(clips, run, tmp_path):
    def start(**changes):
        benchmark(tmp_path / "out", **{"separators": {"s": run}, "scenes": clips, **changes})

    with pytest.raises(SepconError, match=r"no state of step \[5\]; kept there: 0, 10"):
        start(steps=[0, 5])
    with pytest.raises(SepconError, match=r"gone holds no separator: it is no folder"):
        start(separators={"s": tmp_path / "gone"})
    with pytest.raises(SepconError, match="kept there: none"):
        start(separators={"s": write_run(tmp_path / "empty", steps=())})
    with pytest.raises(SepconError, match="unknown reference 'ideal'; known are mixture, ideal_ra"):
        start(references=("ideal",))
    with pytest.raises(SepconError, match="nothing to measure"):
        start(separators={}, references=())
    slow = write_run(tmp_path / "slow", steps=(), config=SeparatorConfig(sample_rate_hz=8000))
    with pytest.raises(SepconError, match="separates at 8000 Hz, the scenes have 16000 Hz"):
        start(separators={"s": slow})
    with pytest.raises(SepconError, match="sources inside these clips are not known"):
        start(scenes=scenes([1, 2], known=False)[0])
    with pytest.raises(SepconError, match="measured on none of its scenes"):
        start(scenes=scenes([0, 0])[0])
    assert not (tmp_path / "out" / "results.json").exists()
