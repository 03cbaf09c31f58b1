"""Studies of pretraining: what is run and shared, what is left alone, and what is said in the end.

The verbs are played by study_child.py; tests/documents_test.py runs a study of real ones.
"""

import ast
import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from study_child import score

from sepcon.errors import SepconError
from sepcon.reports import comparison
from sepcon.runs.launch import Launch
from sepcon.studies.pretraining import PretrainingPlan
from sepcon.verbs.study import study

CHILD = Path(__file__).resolve().parents[1] / "support" / "study_child.py"
ROWS = {
    "mixture-mixture": ("plain.gin",),
    "mixture-channel": ("rows/late.gin", "CHANNELS=('late',)"),
    "several": ("several.gin", "CHANNELS=('early', 'late')"),
    "controls": ("CHANNELS=('random_masks',)",),
    "true": ("CHANNELS=('true_sources',)",),
    "labels": ("pretrain.objective=@supervised()",),
}
STATES = {"untrained": 0, "early": 100, "late": None}
FIGURES = {
    "pair": ("mixture-mixture", "mixture-channel"),
    "state": ("mixture-channel", "several"),
    "kind": ("mixture-m*", "mixture-c*"),
}


def bound(words: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """What the real one would find in the rows above."""
    bindings = [word.partition("=")[2] for word in words if word.startswith("--gin_bindings=")]
    values = dict(binding.split("=", 1) for binding in bindings)
    found = {
        "%CHANNELS": ast.literal_eval(values.get("CHANNELS", "()")),
        "pretrain.objective": values.get("pretrain.objective", "@SimilarityAndCoincidence()"),
    }
    return {name: found[name] for name in names}


def launch(folder: Path) -> Launch:
    return Launch(
        words=("--gin_file=all.gin", "--gin_bindings=STEPS=2"),
        bound=bound,
        gin_files=("all.gin",),
        gin_bindings=("STEPS=2",),
        command=(sys.executable, str(CHILD), str(folder)),
    )


def run(
    folder: Path,
    *names: str,
    plan: Mapping[str, Any] | None = None,
    **changes: Any,
) -> list[dict[str, Any]]:
    """A study of these rows, three by default; `plan` has what its plan has in other ways."""
    names = names or ("mixture-mixture", "mixture-channel", "several")
    settings: dict[str, Any] = {"seeds": (0, 1), "states": STATES, "baselines": ("statistics",)}
    arguments: dict[str, Any] = {
        "run_dir": folder / "run",
        "rows": {name: ROWS[name] for name in names},
        "plan": PretrainingPlan(**(settings | dict(plan or {}))),
        "launch": launch(folder),
    }
    return study(**(arguments | changes))


def calls(folder: Path) -> list[str]:
    path = folder / "calls.txt"
    return [" ".join(line.split()[:2]) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three rows and two seeds."""
    folder = tmp_path_factory.mktemp("study")
    run(folder, figures=FIGURES)
    return folder


def test_everything_is_run_once_and_shared(finished):
    made = calls(finished)
    assert made[0] == "prepare prepare"
    assert "train_separator separator" in made[1:3]
    assert sorted(line for line in made if "separate " in line) == [
        "separate early",
        "separate late",
    ]
    assert [line.split()[0] for line in made].count("pretrain") == 6
    assert [line.split()[0] for line in made].count("benchmark") == 6 + 2
    lines = (finished / "calls.txt").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("train_separator")]
    given = json.loads(line.split(maxsplit=2)[2])
    assert given["gin_file"] == ["runs/train_separator.gin", "all.gin"]
    assert "SEPARATOR_STATES=(0, 100)" in given["gin_bindings"]


def test_the_study_wins_over_the_rows_and_its_plan_over_both(finished):
    lines = (finished / "calls.txt").read_text().splitlines()
    (line,) = [
        line for line in lines if "pretrain/mixture_channel/seed1" in line and line[0] == "p"
    ]
    given = json.loads(line.split(maxsplit=2)[2])
    assert given["gin_file"] == ["runs/pretrain.gin", "rows/late.gin", "all.gin"]
    channels = finished.resolve() / "run" / "channels"
    assert given["gin_bindings"] == [
        "CHANNELS=('late',)",
        "STEPS=2",
        "SEED=1",
        f"CHANNELS_DIR='{channels}'",
    ]


def test_the_table_has_every_row_and_seed_and_says_where_they_come_from(finished):
    with open(finished / "run" / "study.csv") as file:
        lines = list(csv.DictReader(file))
    assert [(line["row"], line["seed"]) for line in lines] == [
        (name, str(seed))
        for name in ("statistics", "mixture-mixture", "mixture-channel", "several")
        for seed in (0, 1)
    ]
    of_late = lines[5]
    assert float(of_late["mAP"]) == pytest.approx(score("mixture-channel", 1))
    assert float(of_late["validation_mAP"]) == pytest.approx(score("mixture-channel", 1) + 0.1)
    assert of_late["seconds"] == "4.5"  # pretraining and benchmark
    assert of_late["commit"] == "abc"
    assert of_late["gin_files"] == "runs/pretrain.gin rows/late.gin all.gin"
    assert of_late["gin_bindings"] == "CHANNELS=('late',); STEPS=2"
    assert not {"rotation", "separator"} & set(of_late)
    # What the benchmark says beside that, and no line of the study names.
    assert float(of_late["a_further_measure"]) == 7.0


def test_means_intervals_and_p_values_are_those_of_scipy(finished):
    lines = (finished / "run" / "table.md").read_text().splitlines()
    cells = dict(
        zip(*(line.strip("| ").split(" | ") for line in (lines[0], lines[5])), strict=True)
    )
    assert lines[-1].startswith("Seeds 0, 1. Intervals and p are Student's t over seeds, of diff")
    assert "of rows. Differences are to mixture-mixture. study.csv" in lines[-1]
    assert "Pretraining of 2 steps. Commit abc;" in lines[-1]
    values = [score("several", seed) for seed in (0, 1)]
    base = [score("mixture-mixture", seed) for seed in (0, 1)]
    assert cells["row"] == "several"
    assert cells["mAP"] == f"{sum(values) / 2:.3f}"
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert cells["95 % interval"] == f"{low:.3f} to {high:.3f}"
    assert cells["p"] == f"{stats.ttest_rel(values, base).pvalue:.3f}"
    assert comparison.markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_the_selection_shows_validation_alone(finished):
    text = (finished / "run" / "selection.md").read_text()
    assert "| validation mAP |" in text
    assert "d-prime" not in text
    values = [score("several", seed) + 0.1 for seed in (0, 1)]
    assert f"| several | 2 | {sum(values) / 2:.3f} |" in text


def test_the_report_has_a_figure_for_each_group_of_rows_and_the_curves(finished):
    page = (finished / "run" / "report.html").read_text()
    # Two groups of the same rows share one.
    for caption in ("By pair, kind:", "By state:", "All rows", "NT-Xent by step"):
        assert f"<figcaption>{caption}" in page
    assert "<h2>Further measures</h2>" in page
    assert "Seeds 0, 1. Intervals and p are Student&#39;s t over seeds" in page


def test_a_second_start_does_nothing_and_a_further_row_only_what_is_missing(finished, capsys):
    before = calls(finished)
    run(finished)
    assert calls(finished) == before
    run(finished, "mixture-mixture", "mixture-channel", "several", "controls", "true")
    new = calls(finished)[len(before) :]
    assert sorted(line for line in new if line.startswith("control")) == [
        "control_channels random_masks",
        "control_channels true_sources",
    ]
    assert len(new) == 2 + 4 + 4
    assert "controls" in capsys.readouterr().out


def test_a_further_seed_comes_with_its_baselines(tmp_path):
    run(tmp_path, "mixture-mixture", plan={"seeds": (0,)})
    results = run(tmp_path, "mixture-mixture")
    found = sorted((row["name"], row["seed"]) for row in results)
    assert found == [(name, seed) for name in ("mixture-mixture", "statistics") for seed in (0, 1)]


def test_nothing_of_the_test_is_shown_while_settings_are_chosen(tmp_path, capsys):
    plan = {"seeds": (0,), "baselines": ()}
    run(tmp_path, "mixture-mixture", "several", plan=plan, final=False)
    out = capsys.readouterr().out
    shown = out + "".join(
        (tmp_path / "run" / name).read_text()
        for name in ("study.csv", "selection.md", "report.html")
    )
    assert f"{score('several', 0) + 0.1:.3f}" in out
    assert f"{score('several', 0):.3f}" not in shown
    assert not (tmp_path / "run" / "table.md").exists()
    assert "a_further_measure" not in (tmp_path / "run" / "study.csv").read_text()


ROTATIONS = {"fold 1": ("TEST_FOLD=1",), "fold 2": ("TEST_FOLD=2",)}


def test_rotations_and_separators_share_what_they_can(tmp_path, capsys):
    names = ("mixture-mixture", "mixture-channel", "true", "controls", "labels")
    results = run(tmp_path, *names, plan={"rotations": ROTATIONS, "separator_seeds": (5, 6)})
    made: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for line in (tmp_path / "calls.txt").read_text().splitlines():
        verb, name, given = line.split(maxsplit=2)
        made.setdefault(verb, []).append((name, json.loads(given)))
    counts = {verb: len(each) for verb, each in made.items()}
    # Two rows with a separator and three without, two seeds, two rotations; their baselines.
    assert counts == {
        "prepare": 2,
        "train_separator": 4,
        "channel_cost": 1,
        "separate": 4,
        "control_channels": 4 + 2,
        "pretrain": 2 * 2 * (2 * 2 + 3),
        "benchmark": 2 * 2 * (2 * 2 + 3) + 2 * 2,
    }
    root = tmp_path.resolve() / "run"
    folder = root / "fold_2" / "separator6" / "pretrain" / "mixture_channel" / "seed1"
    (given,) = [given for _, given in made["pretrain"] if given["run_dir"] == [str(folder)]]
    channels = root / "fold_2" / "separator6" / "channels"
    wanted = ["STEPS=2", "TEST_FOLD=2", "SEED=1", f"CHANNELS_DIR='{channels}'"]
    assert given["gin_bindings"] == ["CHANNELS=('late',)", *wanted]
    seeds = [given["gin_bindings"][-1] for _, given in made["train_separator"]]
    assert seeds == ["SEED=5", "SEED=6"] * 2
    (cost,) = [given["gin_bindings"] for _, given in made["channel_cost"]]
    # A row, two seeds, four separators; each of them separates the scenes once.
    assert cost[-2:] == ["NUM_RUNS=8", "NUM_STORED=4"]
    assert "cost of channels" in capsys.readouterr().err
    assert len(results) == 2 * 2 + 28
    with open(root / "study.csv") as file:
        lines = list(csv.DictReader(file))
    late = [(line["rotation"], line["separator"], line["seed"]) for line in lines
            if line["row"] == "mixture-channel"]  # fmt: skip
    assert sorted(late) == [(f"fold {r}", str(p), str(s)) for r in (1, 2) for p in (5, 6)
                            for s in (0, 1)]  # fmt: skip
    assert {line["gin_bindings"] for line in lines if line["row"] == "mixture-mixture"} == {
        "STEPS=2; TEST_FOLD=1",
        "STEPS=2; TEST_FOLD=2",
    }
    table = (root / "table.md").read_text()
    assert "| mixture-channel | 2 x 2 x 2 |" in table
    assert "| true | 2 x 2 |" in table
    assert "in each of the rotations fold 1, fold 2, which weigh the same" in table
    assert "averaged over separators of seeds 5, 6 before anything else" in table
    assert "supervised above" in table


def test_the_page_has_a_map_of_clean_clips(tmp_path):
    (tmp_path / "embed.txt").write_text("clean_test")
    run(tmp_path, "mixture-mixture", "labels", plan={"seeds": (0,), "baselines": ()})
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<figcaption>t-SNE of clean clips of the test" in page


def test_separators_on_the_fly_need_no_stored_channels(tmp_path):
    plan = {"seeds": (0,), "on_the_fly": True, "baselines": ()}
    run(tmp_path, "mixture-mixture", "several", plan=plan)
    assert not [line for line in calls(tmp_path) if line.startswith("separate ")]
    (line,) = [
        line for line in (tmp_path / "calls.txt").read_text().splitlines() if "several.gin" in line
    ]
    separator = str(tmp_path.resolve() / "run" / "separator")
    wanted = [f"SEPARATORS=[({separator!r}, 100), ({separator!r}, None)]", "CHANNELS=()"]
    given = json.loads(line.split(maxsplit=2)[2])["gin_bindings"]
    assert set(wanted) <= set(given)


def test_a_killed_study_goes_on_where_it_was(tmp_path):
    (tmp_path / "hang.txt").write_text("pretrain/several/seed0")
    code = f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path; from pretraining_test import run
        run(Path({str(tmp_path)!r}), plan={{"seeds": (0,)}})
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(CHILD.parents[2]), str(CHILD.parent)]),
        },
    )
    deadline = time.monotonic() + 120
    path = tmp_path / "calls.txt"
    while not (path.exists() and "pretrain/several/seed0" in path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    (tmp_path / "hang.txt").unlink()
    before = calls(tmp_path)
    results = run(tmp_path, plan={"seeds": (0,)})
    assert len(results) == 4
    after = calls(tmp_path)[len(before) :]
    assert "prepare prepare" not in after
    assert sum(line.startswith("pretrain") for line in after) <= 2
    assert [line for line in calls(tmp_path) if line.startswith("train_separator")] == [
        "train_separator separator"
    ]


def test_a_failure_names_the_stage_and_its_log(tmp_path):
    (tmp_path / "fail.txt").write_text("prepare")
    with pytest.raises(SepconError, match="stage 'prepare' ended with code 1: no such thing"):
        run(tmp_path)


@pytest.mark.parametrize(
    "names, changes, message",
    [
        (
            (),
            {"states": {"late": None}},
            "'several': CHANNELS names 'early', expected some of late",
        ),
        (("controls",), {"loudness_of": "x"}, "loudness_of is 'x', expected one of"),
        ((), {"seeds": ()}, "must name at least one"),
        ((), {"rotations": {}}, "must name at least one"),
        ((), {"rotations": {"a b": (), "a_b": ()}}, "two rotations have the folder 'a_b'"),
        ((), {"rotations": {"": (), "b": ()}}, "each needs a name"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_run(tmp_path, names, changes, message):
    with pytest.raises(SepconError, match=message):
        run(tmp_path, *names, plan=changes)
    assert not (tmp_path / "calls.txt").exists()


def test_no_row_takes_the_folder_of_the_baselines(tmp_path):
    with pytest.raises(SepconError, match=r"'Baselines' is taken by PretrainingPlan\.baselines"):
        run(tmp_path, rows={"Baselines": ("plain.gin",)})
