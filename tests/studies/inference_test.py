"""A tiny study of inference from scenes to tables, every command real; what its plan refuses."""

import csv
import json
import os
from pathlib import Path

import pytest
import warm_python

from sepcon import cli
from sepcon.errors import SepconError
from sepcon.runs.jobs import run_jobs
from sepcon.runs.launch import Launch
from sepcon.separation.control_kinds import view_kinds
from sepcon.studies.inference import InferencePlan
from sepcon.studies.plan import Study
from sepcon.studies.rows import StudyRow

SUPPORT = Path(__file__).resolve().parents[1] / "support"
STATES = {"untrained separator": 0, "trained separator": None}
KINDS = view_kinds(list(STATES))
PAIRS = "mixture-channel pairs"
ENCODERS = {PAIRS: ("views/mixture_channel.gin", "CHANNELS=('trained separator',)")}


def words(folder: Path) -> list[str]:
    """The study of the paper with one encoder, seed, two states and a handful of scenes."""
    files = ("papers/fonseca2021/inference.gin", "data/builtin_scenes.gin", "tiny.gin")
    bindings = (
        f"DATA_DIR='{folder / 'data'}'",
        "NUM_TRAIN_SCENES=24",
        "NUM_VALIDATION_SCENES=10",
        "NUM_TEST_SCENES=10",
        "InferencePlan.seeds=(0,)",
        f"InferencePlan.states={STATES}",
        f"InferencePlan.encoders={ENCODERS}",
        f"study.grid=({dict.fromkeys(ENCODERS, ())}, {dict.fromkeys(KINDS, ())})",
        f"study.baseline='{PAIRS}, mixture alone'",
        f"study.against={{'{PAIRS}, trained separator': '{PAIRS}, random masks'}}",
        "study.figures={'separator': ('*, mixture alone', '*, * separator')}",
        "benchmark_channels.clips_per_class=2",
        "benchmark_channels.max_train=20",
        "benchmark_channels.shares=(0.01,)",
        "benchmark_channels.shard_size=8",
    )
    return [
        "study",
        *[f"--gin_file={file}" for file in (*files, SUPPORT / "smallest.gin")],
        *[f"--gin_bindings={each}" for each in bindings],
        f"--run_dir={folder / 'run'}",
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
        patch.setitem(run_jobs.__kwdefaults__, "command", (warm_python.path(), "-m", "sepcon"))
        assert cli.main(words(folder)) == 0
    return folder


def test_every_row_is_measured_and_compared(finished: Path) -> None:
    rows = json.loads((finished / "run" / "results.json").read_text())
    expected = [f"{encoder}, {kind}" for encoder in ENCODERS for kind in KINDS]
    assert [row["name"] for row in rows] == expected
    for row in rows:
        assert 0 < row["mAP"] <= 1
        assert 0 < row["mAP_few"] <= 1
        assert row["num_train_clips"] == 20 > row["num_train_clips_few"]
        alone = row["name"].endswith("mixture alone")
        assert row["num_features"] == 16 if alone else row["num_features"] > 16
        assert (row["mAP_same_size"] == row["mAP"]) or not alone
        beside = not row["name"].endswith(("mixture alone", "random features"))
        assert (row["views_per_patch"] is not None) == beside
        assert all((row[f"mAP_{each}"] is not None) == beside for each in ("both", "attention"))
    table = (finished / "run" / "table.md").read_text()
    assert "| mixture-channel pairs, random masks | 1 |" in table
    assert f"| {PAIRS}, random masks |" in table.split(f"| {PAIRS}, trained separator |")[1]
    few = (finished / "run" / "table_mAP_few.md").read_text()
    assert len(few.splitlines()) == len(table.splitlines()) == 2 + len(rows) + 2
    page = (finished / "run" / "report.html").read_text()
    assert "Test mAP: few labels" in page
    assert "What the trained separator gains" in page
    by_name = {row["name"]: row for row in rows}
    trained, masks = (
        by_name[f"mixture-channel pairs, {kind}"] for kind in ("trained separator", "random masks")
    )
    gains = [line.split(" | ") for line in (finished / "run" / "gains.md").read_text().splitlines()]
    column = gains[0].index("above random masks")
    for scenes, key in (("all", "mAP"), ("few labels", "mAP_few")):
        (line,) = [each for each in gains if each[:2] == ["| mixture-channel pairs", scenes]]
        assert line[2] == f"{trained[key]:.3f}"
        assert line[column] == f"{trained[key] - masks[key]:+.3f}"
    with open(finished / "run" / "study.csv") as file:
        assert [line["row"] for line in csv.DictReader(file)] == expected


def test_what_is_shared_is_made_once_and_embeddings_do_not_stay(finished: Path) -> None:
    logs = {path.stem for path in (finished / "run" / "logs").iterdir()}
    assert logs == {
        "prepare",
        "separator",
        "channels-trained separator",
        "pretrain-mixture_channel_pairs-seed0",
        "benchmark-seed0",
    }
    assert not list((finished / "run").glob("benchmark/*/embeddings"))


def study(tmp_path: Path, *names: str) -> Study:
    rows = tuple(StudyRow(name) for name in names)
    return Study(tmp_path, rows, Launch((), lambda words, asked: {}), names[0])


def test_a_row_that_the_plan_cannot_measure_is_told(tmp_path: Path) -> None:
    plan = InferencePlan(encoders=ENCODERS, states=STATES)
    plan.check(study(tmp_path, f"{PAIRS}, true sources"))
    with pytest.raises(SepconError, match="row 'mixtures, true sources': expected an encoder"):
        plan.check(study(tmp_path, "mixtures, true sources"))
    with pytest.raises(SepconError, match="must name at least one each"):
        InferencePlan(encoders=ENCODERS).check(study(tmp_path, "a"))
    asked = Launch((), lambda words, names: {"%CHANNELS": ("late",)})
    with pytest.raises(SepconError, match="learns from the channels 'late', expected some of"):
        plan.check(Study(tmp_path, (StudyRow(f"{PAIRS}, random masks"),), asked))
