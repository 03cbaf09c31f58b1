"""Studies of finetuning: the commands they run, and the table against scipy.

`sepcon finetune` is played by a child that writes what it would write; tests/documents_test.py runs
a study of the real one.
"""

import ast
import csv
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sepcon.errors import SepconError
from sepcon.finetuning.predictions import Predictions
from sepcon.reports import comparison
from sepcon.runs.launch import Launch
from sepcon.studies.finetuning import FinetuningPlan
from sepcon.studies.plan import Study
from sepcon.studies.results import summarize
from sepcon.verbs.study import study

CHILD = """
import json, sys
from pathlib import Path
import numpy as np
from sepcon.finetuning.predictions import Predictions
from sepcon.runs import run_folder

folder, words = Path(sys.argv[1]), sys.argv[2:]
with open(folder / "calls.txt", "a") as file:
    file.write(json.dumps(words) + "\\n")
run = Path(next(w for w in words if w.startswith("--run_dir=")).partition("=")[2])
if "fail" in run.name:
    sys.exit("sepcon: error: it was meant to fail")
rows = []
for seed in (0, 1, 2):
    for fold in ("1", "2"):
        place = run / f"seed{seed}" / f"fold{fold}"
        place.mkdir(parents=True)
        rng = np.random.default_rng([seed, int(fold), len(run.name)])
        labels = np.arange(40) % 4
        probabilities = rng.dirichlet(np.ones(4), 40) + np.eye(4)[labels] * rng.uniform(0, 1)
        predictions = Predictions(tuple(map(str, range(40))), labels, probabilities)
        predictions.save(place / "selected.npz")
        rows.append({"seed": seed, "fold": fold, "accuracy": predictions.accuracy,
                     "optimistic_accuracy": predictions.accuracy + 0.05, "last_accuracy": 0.5,
                     "validation_accuracy": predictions.accuracy - 0.1,
                     "seconds": 10.0, "folder": f"seed{seed}/fold{fold}"})
(run / "results.json").write_text(json.dumps({"rows": rows}))
run_folder.finish(run, {})
"""
ROWS = {
    "plain": ("a.gin", "ALPHA=0.0"),
    "other way": ("b.gin",),
    "third": ("ALPHA=1.0", "c.gin", "X.y=2"),
}


def bound(words: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    assert names == ("finetune.start",)
    starts = [word.removeprefix("--gin_bindings=START=") for word in words if "START=" in word]
    return {"finetune.start": ast.literal_eval(starts[-1])} if starts else {}


def run(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    child = folder / "child.py"
    child.write_text(textwrap.dedent(CHILD))
    launch = Launch(
        words=("--gin_file=study.gin", "--gin_bindings=EPOCHS=2"),
        bound=bound,
        gin_files=("study.gin",),
        gin_bindings=("EPOCHS=2",),
        command=(sys.executable, str(child), str(folder)),
    )
    arguments: dict[str, Any] = {
        "run_dir": folder / "run",
        "rows": ROWS,
        "launch": launch,
        "plan": FinetuningPlan(),
    }
    return study(**(arguments | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    run(folder, against={"third": "other way"})
    return folder


def test_each_row_is_a_command(finished):
    calls = [json.loads(line) for line in (finished / "calls.txt").read_text().splitlines()]
    run = (finished / "run" / "rows").resolve()
    assert sorted(calls) == sorted(
        [
            [
                "finetune",
                "--gin_file=runs/finetune.gin",
                *own,
                "--gin_file=study.gin",
                "--gin_bindings=EPOCHS=2",
                f"--run_dir={run / name}",
                "--num_threads=1",
            ]
            for name, own in (
                ("plain", ["--gin_file=a.gin", "--gin_bindings=ALPHA=0.0"]),
                ("other_way", ["--gin_file=b.gin"]),
                (
                    "third",
                    ["--gin_file=c.gin", "--gin_bindings=ALPHA=1.0", "--gin_bindings=X.y=2"],
                ),
            )
        ]
    )


def test_the_table_is_that_of_scipy(finished):
    rows = list(csv.DictReader((finished / "run" / "study.csv").read_text().splitlines()))
    assert len(rows) == 3 * 3 * 2
    of = {
        name: [
            np.mean([float(r["accuracy"]) for r in rows if r["row"] == name and r["seed"] == seed])
            for seed in "012"
        ]
        for name in ROWS
    }
    table = (finished / "run" / "table.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:5]]
    for name, line in zip(ROWS, lines, strict=True):
        values = of[name]
        low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
        assert line[:4] == [name, "3", f"{np.mean(values):.3f}", f"{low:.3f} to {high:.3f}"]
        folds = [[float(r["accuracy"]) for r in rows if (r["row"], r["seed"]) == (name, seed)]
                 for seed in "012"]  # fmt: skip
        deviation = np.mean([np.std(each) for each in folds])
        assert line[8:] == [f"{np.mean(values) + 0.05:.3f}", f"{deviation:.3f}", "20"]
    for line, name, baseline, told in (
        (lines[1], "other way", "plain", ""),
        (lines[2], "third", "other way", "other way"),
    ):
        differences = np.subtract(of[name], of[baseline])
        assert line[4].startswith(f"{differences.mean():+.3f} ({differences[0]:+.3f} ")
        low, high = stats.ttest_rel(of[name], of[baseline]).confidence_interval()
        assert line[5] == f"{low:+.3f} to {high:+.3f}"
        assert line[6] == f"{stats.ttest_rel(of[name], of[baseline]).pvalue:.3f}"
        assert line[7] == told
    assert lines[0][4:8] == ["", "", "", ""]
    assert "Differences are to plain, or to the row under 'against'." in table
    page = (finished / "run" / "report.html").read_text()
    assert all(name in page for name in ROWS)


def test_the_ensemble_is_over_all_rows(finished):
    run = finished / "run"
    accuracies = []
    for fold in ("1", "2"):
        files = sorted(run.glob(f"rows/*/seed*/fold{fold}/selected.npz"))
        assert len(files) == 9
        members = [Predictions.load(path) for path in files]
        mean = sum(member.probabilities for member in members)
        accuracies.append(np.mean(mean.argmax(axis=1) == members[0].labels))
    assert f"accuracy {np.mean(accuracies):.3f}" in (run / "table.md").read_text()


def test_what_is_finished_is_not_done_again(finished):
    before = (finished / "calls.txt").read_text()
    run(finished)
    assert (finished / "calls.txt").read_text() == before


def test_a_row_that_fails_is_named(tmp_path):
    with pytest.raises(SepconError, match=r"stage 'rows-to_fail' ended .* it was meant to fail"):
        run(tmp_path, rows={"to fail": ("a.gin",)})


def test_one_seed_has_no_interval():
    training = {"seed": 0, "fold": "1", "accuracy": 0.5, "optimistic_accuracy": 0.6}
    training |= {"last_accuracy": 0.4, "validation_accuracy": 0.4, "seconds": 1.0}
    results = [{"name": name, **training} for name in ("a", "b")]
    plan = FinetuningPlan()
    frame = Study(Path(), (), Launch((), bound), baseline="a")
    summaries = summarize(plan, frame, results, plan.measure)
    table = comparison.table(summaries, comparison.compared_columns(plan.measure.column))
    assert table[0] == ["row", "seeds", "accuracy", "difference, by seed"]
    assert table[2][2:] == ["0.500", "+0.000"]


def test_a_line_of_the_csv_is_a_training_and_says_where_it_comes_from(finished):
    rows = list(csv.DictReader((finished / "run" / "study.csv").read_text().splitlines()))
    assert [(row["row"], row["seed"], row["fold"]) for row in rows[:3]] == [
        ("plain", "0", "1"),
        ("plain", "0", "2"),
        ("plain", "1", "1"),
    ]
    third = rows[-1]
    assert third["gin_files"] == "runs/finetune.gin c.gin study.gin"
    assert third["gin_bindings"] == "ALPHA=1.0; X.y=2; EPOCHS=2"
    assert third["commit"]
    stored = json.loads((finished / "run" / "results.json").read_text())
    assert [float(row["accuracy"]) for row in rows] == [result["accuracy"] for result in stored]


def test_nothing_of_the_test_folds_is_shown_while_settings_are_chosen(tmp_path, capsys):
    results = run(tmp_path, rows={"plain": ROWS["plain"]}, final=False)
    validation = np.mean([result["validation_accuracy"] for result in results])
    out = capsys.readouterr().out
    root = tmp_path / "run"
    assert f"{validation:.3f}" in out
    shown = out + "".join((root / name).read_text() for name in ("study.csv", "selection.md"))
    assert "optimistic" not in shown
    assert "nsemble" not in shown
    assert f"{validation + 0.1:.3f}" not in shown
    assert not (root / "table.md").exists()
    assert not (root / "results.json").exists()


def test_a_start_that_is_not_there_is_told_before_anything_is_run(tmp_path):
    with pytest.raises(SepconError, match=r"row 'b': finetune.start: nowhere is not there"):
        run(tmp_path, rows={"a": (), "b": ("START='nowhere'",)})
    assert not (tmp_path / "run").exists()
    run(tmp_path, rows={"a": (), "b": (f"START={str(tmp_path)!r}",)})
