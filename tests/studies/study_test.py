"""The verb with a kind of study that is defined here, and what it refuses."""

import ast
import csv
import dataclasses
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from scipy import stats

from sepcon import cli
from sepcon.errors import SepconError
from sepcon.reports.comparison import SECONDS, Summary, mean_column
from sepcon.reports.page import Section
from sepcon.runs.launch import Launch
from sepcon.studies.plan import Measure, Plan, Result, Study
from sepcon.verbs.study import study

# A command of the plan below: the height of a thing is that of its file times the stretch.
CHILD = """
import json, sys
from pathlib import Path

folder, verb, *words = sys.argv[1:]
with open(Path(folder) / "calls.txt", "a") as calls:
    calls.write(json.dumps([verb, *words]) + "\\n")
given = [word.removeprefix("--").partition("=")[::2] for word in words]
run = Path(dict(given)["run_dir"])
run.mkdir(parents=True)
values = dict(value.split("=") for flag, value in given if flag == "gin_bindings")
files = [value for flag, value in given if flag == "gin_file"]
height = {"tall.gin": 2.0, "low.gin": 1.0}.get(files[1], 0.0) * float(values.get("STRETCH", 1))
height += 0.01 * int(values.get("SEED", 0)) ** 2
(run / "height.txt").write_text(str(height))
(run / "run.json").write_text(json.dumps({"commit": "abc"}))
"""


@dataclasses.dataclass(frozen=True)
class HeightPlan(Plan):
    """A third kind of study: things are cut, then measured with a ruler that all of them share."""

    verb: ClassVar[str] = "cut"
    asks: ClassVar[Sequence[str]] = ("%STRETCH",)
    measure: ClassVar[Measure] = Measure(mean_column("height"), "height in m", further=(SECONDS,))
    selection: ClassVar[Measure] = Measure(mean_column("shadow"), "length of the shadow in m")
    heading: ClassVar[str] = "How tall things are"
    seeds: Sequence[int] = (0, 1, 2)

    def check(self, study: Study) -> None:
        if any(row.bound.get("%STRETCH", 1) < 0 for row in study.rows):
            raise SepconError("a thing cannot be stretched below nothing")

    def jobs(self, study: Study) -> list[Any]:
        ruler = study.job("rule", "ruler")
        return [
            ruler,
            *[
                study.job(
                    "cut",
                    Path("cut") / row.folder / f"seed{seed}",
                    row=row,
                    bindings=[f"SEED={seed}"],
                    needs=[ruler.name],
                )
                for row in study.rows
                for seed in self.seeds
            ],
        ]

    def results(self, study: Study) -> list[Result]:
        results = []
        for row in study.rows:
            for seed in self.seeds:
                folder = study.root / "cut" / row.folder / f"seed{seed}"
                height = float((folder / "height.txt").read_text())
                result = {"name": row.name, "seed": seed, "height": height, "shadow": height / 2}
                results.append({**result, "seconds": 2.0, **study.told_of("cut", row, folder)})
        return results

    def note(self, study: Study, results: Sequence[Result], *, final: bool) -> str:
        return f"Measured with one ruler, {'at last' if final else 'for now'}"

    def sections(self, study: Study, selection: Sequence[Summary], *, final: bool) -> list[Section]:
        return [Section("What ran", [f"{len(selection)} things."])]


ROWS = {
    "Tall thing": ("tall.gin",),
    "low thing": ("low.gin",),
    "low thing, stretched": ("low.gin", "STRETCH=1.5"),
}


def bound(words: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Reads a command as `cut` would, which knows of nothing but STRETCH."""
    assert tuple(names) == ("%STRETCH",)
    if "--gin_file=wrong.gin" in words:
        raise SepconError("configuration: wrong.gin: no such gin file")
    given = [word for word in words if word.startswith("--gin_bindings=STRETCH=")]
    return {"%STRETCH": ast.literal_eval(given[-1].rpartition("=")[2])} if given else {}


def run(folder: Path, **changes: Any) -> list[Result]:
    child = folder / "child.py"
    child.write_text(textwrap.dedent(CHILD))
    launch = Launch(
        words=("--gin_file=all.gin",),
        bound=bound,
        gin_files=("all.gin",),
        command=(sys.executable, str(child), str(folder)),
    )
    arguments = {"run_dir": folder / "run", "rows": ROWS, "plan": HeightPlan(), "launch": launch}
    return study(**(arguments | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    run(
        folder,
        against={"low thing, *": "low thing"},
        figures={"material": ("low *",)},
        title="Things",
    )
    return folder


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls.txt").read_text().splitlines()]


def test_a_further_kind_of_study_runs_through_the_same_verb(finished):
    ruler, *cuts = calls(finished)
    assert ruler[:3] == ["rule", "--gin_file=runs/rule.gin", "--gin_file=all.gin"]
    root = (finished / "run").resolve()
    assert sorted(cuts) == sorted(
        [
            "cut",
            "--gin_file=runs/cut.gin",
            *[f"--gin_file={entry}" for entry in entries if "=" not in entry],
            *[f"--gin_bindings={entry}" for entry in entries if "=" in entry],
            "--gin_file=all.gin",
            f"--gin_bindings=SEED={seed}",
            f"--run_dir={root}/cut/{name}/seed{seed}",
            "--num_threads=1",
        ]
        for name, entries in zip(
            ("tall_thing", "low_thing", "low_thing_stretched"), ROWS.values(), strict=True
        )
        for seed in (0, 1, 2)
    )


def test_its_tables_are_those_of_scipy(finished):
    text = (finished / "run" / "table.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[:5]]
    assert lines[0] == [
        *("row", "seeds", "height", "95 % interval", "difference, by seed"),
        *("difference's 95 % interval", "p", "against", "seconds"),
    ]
    seeds = [0.0, 0.01, 0.04]
    low = [1.0 + each for each in seeds]
    interval = stats.ttest_1samp(low, 0).confidence_interval(0.95)
    assert lines[3][2:4] == ["1.017", f"{interval.low:.3f} to {interval.high:.3f}"]
    assert lines[3][4] == "-1.000 (-1.000 -1.000 -1.000)"
    assert (lines[4][4], lines[4][7]) == ("+0.500 (+0.500 +0.500 +0.500)", "low thing")
    assert "Seeds 0, 1, 2. " in text
    assert "Measured with one ruler, at last. Commit abc; study.csv has" in text
    rows = list(csv.DictReader((finished / "run" / "study.csv").read_text().splitlines()))
    assert len(rows) == 9
    assert list(rows[0])[:4] == ["row", "seed", "height", "shadow"]
    assert rows[-1]["gin_files"] == "runs/cut.gin low.gin all.gin"
    assert rows[-1]["gin_bindings"] == "STRETCH=1.5"
    selection = (finished / "run" / "selection.md").read_text()
    assert "| low thing | 3 | 0.508 |" in selection


def test_its_page_has_its_words_and_sections(finished):
    page = (finished / "run" / "report.html").read_text()
    for text in ("<h2>How tall things are</h2>", "<h2>Further measures</h2>", "<h2>What ran</h2>"):
        assert text in page
    assert "<figcaption>All rows: height in m." in page
    assert "<figcaption>By material: height in m." in page
    assert "Length of the shadow in m: choose settings by this table only." in page


def test_only_some_rows_can_be_run(tmp_path):
    arguments = {"against": {"low *": "Tall thing"}, "figures": {"material": ("low *",)}}
    results = run(tmp_path, only=("low thing*",), against={}, figures=arguments["figures"])
    assert {result["name"] for result in results} == {"low thing", "low thing, stretched"}
    with pytest.raises(
        SepconError,
        match=r"study\.against of 'low thing' is 'Tall thing', which study\.only leaves out",
    ):
        run(tmp_path, only="low thing*", **arguments)
    before = len(calls(tmp_path))
    results = run(tmp_path, **arguments)
    assert len(results) == 9
    assert len(calls(tmp_path)) == before + 3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rows": {}}, "must name at least one row"),
        ({"rows": ("tall.gin",)}, "study.rows must hold names with gin files and bindings, such"),
        ({"rows": {"a": (3,)}}, "study.rows: 'a' has 3, expected the path of a gin file or a bind"),
        ({"rows": {"a b": (), "A, B": ()}}, "two rows have the folder 'a_b'; rename one"),
        ({"rows": {"...": ()}}, "the name '...' needs a letter or a digit"),
        ({"rows": {"a": ("wrong.gin",)}}, "row 'a': configuration: wrong.gin: no such gin file"),
        ({"rows": {"a": ("STRETCH=-1",)}}, "a thing cannot be stretched below nothing"),
        ({"baseline": "x"}, "study.baseline is 'x', expected the name of a row that is run: 'Ta"),
        ({"against": {"low thing": "x"}}, "study.against of 'low thing' is 'x', expected the name"),
        ({"against": {"x": "low thing"}}, "study.against names 'x', which is none of the rows"),
        ({"only": ("x*",)}, "study.only names 'x*', which is none of the rows: 'Tall thing', 'low"),
        ({"figures": {"f": ("x",)}}, "study.figures: 'f' names 'x', which is none of the rows"),
        (
            {"launch": Launch((), bound, gin_files=("gin/runs/cut.gin",))},
            "--gin_file=gin/runs/cut.gin: every row has it already",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_run(changes, message, tmp_path):
    with pytest.raises(SepconError) as error:
        run(tmp_path, **changes)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_plans_can_be_bound_in_gin():
    def plan(file: str, *bindings: str) -> Plan:
        return cli.bound_arguments("study", gin_files=[file], gin_bindings=bindings)["plan"]

    made = plan("runs/study.gin", "PretrainingPlan.seeds=(4,)")
    assert made.seeds == (4,)
    assert made.states == {"untrained": 0, "early": 100, "middle": 300, "late": None}
    assert plan("papers/soundclr2021/esc10.gin", "ESC50_DIR='x'").verb == "finetune"
