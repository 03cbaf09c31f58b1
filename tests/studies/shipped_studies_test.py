"""The studies that are shipped: their rows can be read, and fit the study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sepcon import cli
from sepcon.cli.arguments import flags_of
from sepcon.cli.configuration import read_configuration
from sepcon.cli.launch import launch_of
from sepcon.errors import SepconError
from sepcon.runs.launch import Launch
from sepcon.separation.control_kinds import view_kinds
from sepcon.studies.plan import Study, checked_row
from sepcon.studies.pretraining_commands import channels_of, is_supervised
from sepcon.studies.rows import StudyRow, matching, study_rows
from sepcon.verbs.registry import VERBS

GIN = Path(cli.gin_folders()[0])
PAPER = GIN / "papers" / "fonseca2021"
# Rows of that of inference are no pretrainings.
OTHERS = ("common", "inference")
STUDIES = sorted(path.stem for path in PAPER.glob("*.gin") if path.stem not in OTHERS)
BINDINGS = ("ESC50_DIR='x'", "PRETRAINED='x'", "CIFAR10_DIR='x'", "IMPORTED_IMAGES='x'")
BOUND: dict[tuple[str, ...], tuple[tuple[StudyRow, ...], dict[str, Any], Launch]] = {}


def launch(*words: str) -> Launch:
    """What the command line gives to `sepcon study` with these words."""
    values = flags_of(VERBS["study"])
    values(["sepcon", *words])
    given = (values.gin_file, values.gin_bindings, values.gin_search_path)
    files, bindings, folders = given
    return launch_of(
        "study",
        read_configuration("study", *given),
        gin_files=files,
        gin_bindings=bindings,
        search_path=folders,
    )


def read(*files: str) -> tuple[tuple[StudyRow, ...], dict[str, Any], Launch]:
    """The rows of a study, what else is bound of it, and how it starts others."""
    if files not in BOUND:
        bound = cli.bound_arguments("study", gin_files=files, gin_bindings=BINDINGS)
        words = [f"--gin_file={file}" for file in files]
        started = launch(*words, *[f"--gin_bindings={binding}" for binding in BINDINGS])
        rows = study_rows(bound.get("rows", {}), bound.get("grid", ()))
        plan = bound["plan"]
        asks = (*plan.asks, "%LABELS_PER_CLASS")
        checked = tuple(checked_row(plan.verb, row, started, asks=asks) for row in rows)
        BOUND[files] = checked, bound, started
    return BOUND[files]


def study_of(name: str) -> tuple[tuple[StudyRow, ...], dict[str, Any], Launch]:
    return read(f"papers/fonseca2021/{name}.gin", "data/builtin_scenes.gin")


def other_names(bound: dict[str, Any], names: Sequence[str]) -> set[str]:
    """The rows that others are compared with; refuses patterns that fit no row."""
    others = {bound["baseline"]} if bound.get("baseline") else set()
    for pattern, other in bound.get("against", {}).items():
        assert matching("against", pattern, names)
        others.add(other)
    for figure, patterns in bound.get("figures", {}).items():
        assert len(matching(figure, patterns, names)) > 1
    return others


@pytest.mark.parametrize("name", ["builtin", "esc50"])
def test_the_rows_of_the_quickstart_can_be_read(name):
    rows, bound, _ = read(f"quickstart/{name}.gin")
    names = [row.name for row in rows]
    run = set(matching("only", bound.get("only", "*"), names))
    assert {"mixture-mixture", "mixture-channel, trained separator"} <= run
    assert other_names(bound, names) == {"mixture-mixture"}
    assert len(run) == {"builtin": 3, "esc50": 4}[name]


@pytest.mark.parametrize("name", STUDIES)
def test_the_rows_of_the_paper_can_be_read_and_fit_the_study(name, tmp_path):
    rows, bound, started = study_of(name)
    names = [row.name for row in rows]
    assert other_names(bound, names) <= set(names)
    study = Study(tmp_path, rows, started, baseline=names[0])
    bound["plan"].check(study)
    made = {job.name for job in bound["plan"].jobs(study)}
    for row in rows:
        wanted = {f"channels-{channel}" for channel in channels_of(row)}
        if not bound["plan"].separator_seeds:
            assert wanted <= made
        assert bool(wanted) == ("channel" in row.name or "all pairs" in row.name), row.name


def test_the_study_of_all_rows_has_every_kind_of_channel_and_the_rows_of_the_claims():
    rows, bound, _ = study_of("study")
    assert {channel for row in rows for channel in channels_of(row)} == {
        *bound["plan"].states,
        *("true_sources", "random_masks"),
    }
    assert [row.name for row in rows if is_supervised(row)] == ["supervised end to end"]
    in_claims = {row.name: row for row in study_of("claims")[0]}
    in_study = {row.name: row for row in rows}
    missing = in_claims.keys() - in_study.keys()
    assert not missing, f"rows of claims.gin that are missing in study.gin: {missing}"
    assert all(in_study[name].bound == row.bound for name, row in in_claims.items())


def test_the_rows_of_inference_are_all_encoders_with_all_views_and_fit_the_study(tmp_path):
    rows, bound, started = study_of("inference")
    names = [row.name for row in rows]
    assert other_names(bound, names) <= set(names)
    plan = bound["plan"]
    expected = {f"{a}, {b}" for a in plan.encoders for b in view_kinds(list(plan.states))}
    assert set(names) == expected
    study = Study(tmp_path, rows, started, baseline=names[0])
    plan.check(study)
    jobs = {job.name: job for job in plan.jobs(study)}
    assert len(jobs) == 3 + 5 * (3 + 1)
    needs = jobs["pretrain-mixture_channel_pairs-seed4"].needs
    assert needs == ("channels-trained separator",)
    assert len(jobs["benchmark-seed4"].needs) == 1 + 3


def test_a_row_of_one_name_is_the_same_in_every_study():
    entries: dict[str, set[tuple[str, ...]]] = {}
    for name in set(STUDIES) - {"tuning"}:
        for row in study_of(name)[0]:
            entries.setdefault(row.name, set()).add((*row.gin_files, *row.gin_bindings))
    assert {name for name, found in entries.items() if len(found) > 1} == set()


@pytest.mark.parametrize("name", ["esc10", "pretrained"])
def test_the_rows_of_soundclr_can_be_read(name):
    rows, bound, _ = read(f"papers/soundclr2021/{name}.gin")
    names = [row.name for row in rows]
    assert other_names(bound, names) <= set(names)
    weights = {row.name: row.bound["%LABELS_PER_CLASS"] for row in rows}
    assert set(weights.values()) == ({None} if name == "esc10" else {1, 4, 8, None})
    starts = {row.bound["finetune.start"] for row in rows}
    assert starts == ({""} if name == "esc10" else {"", "x"})


def test_a_row_that_would_fail_is_told_by_its_name(tmp_path):
    (tmp_path / "bad.gin").write_text("SimilarityAndCoincidence.tempreature = 1\n")
    started = launch("--gin_file=data/builtin_scenes.gin")
    row = StudyRow("mine", gin_files=(str(tmp_path / "bad.gin"),))
    with pytest.raises(SepconError, match=r"row 'mine': configuration: .*tempreature"):
        checked_row("pretrain", row, started)
    row = StudyRow("plain", gin_files=("views/mixture_mixture.gin",))
    with pytest.raises(SepconError, match=r"row 'plain': configuration: .*tset_fold"):
        checked_row("pretrain", row, started, bindings=("SceneRecipe.tset_fold = 1",))


def test_a_row_sees_what_its_command_will_see():
    started = launch(
        "--gin_file=data/builtin_scenes.gin",
        "--gin_file=scale/small.gin",
        "--gin_bindings=BATCH_SIZE=7",
    )
    bindings = ("BATCH_SIZE=5", "PATCH_SECONDS=1.5", "CHANNELS=['a', 'b']", "STEPS=3")
    asks = ("%CHANNELS", "pretrain.batch_size", "pretrain.num_steps", "pretrain.views")
    asks += ("pretrain.encoder", "ClipExamples.clip_seconds")
    row = checked_row("pretrain", StudyRow("row", gin_bindings=bindings), started, asks=asks)
    assert row.bound == {
        "%CHANNELS": ["a", "b"],
        # The command line wins over the row, and the row's bindings over the study's files.
        "pretrain.batch_size": 7,
        "pretrain.num_steps": 3,
        # What is made of something is told as gin writes it, and not made.
        "pretrain.views": "@LogMelViews()",
        "pretrain.encoder": "@small_cnn",
    }


def test_what_is_bound_of_the_study_itself_is_not_handed_on():
    bindings = (
        "study.workers=1",
        "STEPS=3",
        "sepcon.study.threads=2",
        "PretrainingPlan.seeds=(1,)",
        "pretrain.shuffle_buffer=1",
    )
    started = launch(
        "--gin_file=runs/study.gin",
        "--gin_file=data/builtin_scenes.gin",
        *[f"--gin_bindings={binding}" for binding in bindings],
    )
    assert started.words == (
        "--shared_config",
        "--gin_file=runs/study.gin",
        "--gin_file=data/builtin_scenes.gin",
        "--gin_bindings=STEPS=3",
        "--gin_bindings=pretrain.shuffle_buffer=1",
    )
    assert started.gin_bindings == bindings


@pytest.mark.parametrize("files", [("small",), ("paper", "esc50")], ids=lambda files: files[0])
def test_the_rows_from_images_to_sound_can_be_read_and_fit_the_study(files, tmp_path):
    first, *others = files
    rows, bound, started = read(
        f"papers/shin2021/{first}.gin", *(f"data/{other}.gin" for other in others)
    )
    names = [row.name for row in rows]
    assert other_names(bound, names) <= set(names)
    study = Study(tmp_path, rows, started, baseline=names[0])
    plan = bound["plan"]
    plan.check(study)
    jobs = {job.name: job for job in plan.jobs(study)}
    for row in rows:
        needs = jobs[f"rows-{row.folder}-seed0"].needs
        assert needs == (("starts-simclr-seed0",) if "self-supervised" in row.name else ())
    assert ("import" in jobs) == (first == "small")
