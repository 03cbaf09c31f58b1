"""A tagger teaches, students are measured: import, starts and rows as one tiny study."""

import json

import numpy as np
import pytest
from esc50_stub import write_esc50
from tagger_stubs import write_stub

from sepcon import cli
from sepcon.errors import SepconError
from sepcon.finetuning.predictions import Predictions
from sepcon.runs.jobs import Job
from sepcon.runs.launch import Launch
from sepcon.studies.plan import Study
from sepcon.studies.rows import StudyRow
from sepcon.studies.transfer import TransferPlan

LINEAR = "finetune.linear=@LinearEvaluation()"
TINY = (
    "PRETRAINING_STEPS=2",
    "pretrain.batch_size=4",
    "pretrain/cosine.warmup_steps=1",
    "pretrain.recalibration_batches=1",
    "LabelScores.every_steps=1",
    "PROJECTION_HIDDEN_SIZES=(8,)",
    "COINCIDENCE_HIDDEN_SIZES=(8,)",
    "small_cnn.embedding_size=8",
    "finetune.validation_share=0.4",
    "EPOCHS=1",
    "finetune/by_epoch.warmup_epochs=0",
    "finetune.validate_every_epochs=1",
    "CLIP_SECONDS=1.0",
    "PATCH_SECONDS=0.5",
    "RandomPadCrop.seconds=0.5",
    "MIN_CLIPS=1",
    "LABEL_THRESHOLD=0.25",
    "VALIDATION_SHARE=0.3",
    "LABEL_TAGGER='stub'",
    "imported_folds.scores_of='stub'",
)
PLAN = TransferPlan(
    seeds=(0,),
    starts={
        "distilled": (
            "data/machine_labels.gin",
            "objectives/supervised.gin",
            "probes/labels.gin",
        ),
        "separation": (
            "data/imported.gin",
            "views/mixture_channel_equalized.gin",
            "CHANNELS=('channels',)",
        ),
    },
    imported=("import/folder.gin", "taggers/model.gin", "TAGGERS=[@PythonTagger()]"),
    imported_as="IMPORTED",
    separator=("data/imported.gin", "TEST_CLIPS=None"),
)


def rows(*, separation: bool = False) -> tuple[StudyRow, ...]:
    """Those that are run; and one that takes a separator, whose graphs take most of a minute."""

    def bound(name: str) -> dict[str, object]:
        return {"finetune.start": name}

    made = (
        StudyRow("distilled", (), ("START='distilled'", LINEAR), bound("distilled")),
        StudyRow("separation", (), ("START='separation'", LINEAR), bound("separation")),
        StudyRow("teacher", (), (LINEAR, "LinearEvaluation.of_scores=True")),
    )
    return made if separation else (made[0], made[2])


def in_this_process(job: Job) -> list[str]:
    """The words of a command but for its threads, which TensorFlow counts once a process."""
    return [word for word in job.arguments if not word.startswith("--num_threads")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """All commands of a tiny study of the shipped file, with a stub for the teacher."""
    root = tmp_path_factory.mktemp("distillation")
    esc50 = write_esc50(root / "ESC-50", folds=(1, 2, 3, 4))
    code, classes = write_stub(root / "tagger")
    given = (
        f"ESC50_DIR='{esc50}'",
        "YAMNET=''",
        "YAMNET_CLASSES=''",
        f"TAGGER_CLASSES='{classes}'",
        "TAGGER_PATH=''",
        "PythonTagger.name='stub'",
        f"PythonTagger.function='{code}:tag'",
        f"PythonTagger.classes='{classes}'",
        "import_clips.processes=1",
        f"SOURCE_DIR='{esc50 / 'audio'}'",
        f"LABELS_CSV='{esc50 / 'meta' / 'esc50.csv'}'",
    )
    words = ("--shared_config", "--gin_file=papers/crossmodal2019/small.gin")
    words += tuple(f"--gin_bindings={each}" for each in (*given, *TINY))
    launch = Launch(words, _bound)
    planned = Study(root / "study", rows(), launch, "teacher")
    done: set[str] = set()
    for job in PLAN.jobs(planned):
        assert set(job.needs) <= done, job.name
        assert cli.main(in_this_process(job)) == 0, job.arguments
        assert job.done()
        done.add(job.name)
    assert done >= {"import", "starts-distilled-seed0"}
    return planned


def _bound(words, names) -> dict:
    """What the plan asks for: CHANNELS, where a command binds it."""
    told = [word.partition("CHANNELS=")[2] for word in words if word.startswith("--gin_bindings=C")]
    return {name: eval(told[0]) for name in names if told and told[0]}


def test_a_student_learns_the_labels_of_its_teacher_without_those_of_the_data(study, tmp_path):
    run = study.root / "starts" / "distilled" / "seed0"
    config = (run / "config.gin").read_text()
    assert "MachineLabels" in config
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines if "validation/label_map" in line} == {1, 2}
    assert all(np.isfinite(line["cross_entropy"]) for line in lines if "cross_entropy" in line)
    assert (run / "saved_model" / "saved_model.pb").is_file()


def test_all_of_it_is_measured_on_the_fold_that_nothing_was_learned_from(study):
    results = PLAN.results(study)
    assert [result["name"] for result in results] == ["distilled", "teacher"]
    assert {result["fold"] for result in results} == {"4"}
    assert "pretraining_seconds" in results[0]
    assert "pretraining_seconds" not in results[1]
    teacher = study.root / "rows" / "teacher" / "seed0" / results[1]["folder"]
    chosen = Predictions.load(teacher / "selected.npz")
    assert all(name.startswith("4-") for name in chosen.ids)
    assert chosen.embedding.shape == (8, 4)
    assert not (teacher / "model.json").exists()  # Nothing there takes sound.
    np.testing.assert_allclose(chosen.embedding[:, 3], np.log(0.25 + 1e-4), atol=1e-2)


def test_scores_that_are_not_there_are_told(study, tmp_path, capsys):
    job = next(each for each in PLAN.jobs(study) if "teacher" in each.name)
    words = [word.replace("/teacher/", "/other/") for word in in_this_process(job)]
    assert cli.main([*words, "--gin_bindings=imported_folds.scores_of=''"]) == 1
    assert "no scores of a tagger come with these clips" in capsys.readouterr().err
    assert cli.main([*words, "--gin_bindings=imported_folds.scores_of='nose'"]) == 1
    assert "holds no scores of a tagger 'nose', it has stub" in capsys.readouterr().err


def test_rows_wait_for_the_import_and_channels_for_the_separator(tmp_path):
    jobs = PLAN.jobs(Study(tmp_path, rows(separation=True), Launch((), _bound), "teacher"))
    assert {job.name: job.needs for job in jobs} == {
        "import": (),
        "separator": ("import",),
        "channels": ("separator",),
        "starts-distilled-seed0": ("import",),
        "starts-separation-seed0": ("channels",),
        "rows-distilled-seed0": ("starts-distilled-seed0",),
        "rows-separation-seed0": ("starts-separation-seed0",),
        "rows-teacher-seed0": ("import",),
    }
    # Without a start that learns from channels no separator is trained.
    alone = Study(tmp_path, rows()[1:], Launch((), _bound), "teacher")
    assert [job.name for job in PLAN.jobs(alone)] == ["import", "rows-teacher-seed0"]
    with pytest.raises(SepconError, match="seeds must name at least one"):
        TransferPlan(seeds=()).check(alone)
