"""From images to sound as a whole: import, SimCLR, finetuning, linear evaluation, page, export."""

import json
from pathlib import Path

import numpy as np
import pytest
from esc50_stub import write_esc50
from image_fixtures import write_cifar10

from sepcon import cli
from sepcon.embeddings.embedders import load_embedder
from sepcon.errors import SepconError
from sepcon.finetuning.predictions import Predictions
from sepcon.models.classifier import load_classifier
from sepcon.models.images.encoder_files import load_image_encoder
from sepcon.runs.jobs import Job
from sepcon.runs.launch import Launch
from sepcon.studies.plan import Study
from sepcon.studies.rows import StudyRow
from sepcon.studies.transfer import TransferPlan

LINEAR = "finetune.linear=@LinearEvaluation()"
TINY = (
    "SEEDS=(0,)",
    "EPOCHS=1",
    "SIMCLR_STEPS=4",
    "pretrain.batch_size=4",
    "pretrain/cosine.warmup_steps=1",
    "pretrain.recalibration_batches=1",
    "TrainingProbe.every_steps=2",
    "small_resnet.widths=(4, 6)",
    "small_resnet.embedding_size=8",
    "LogMelMaps.mels_per_map=16",
    "finetune.folds=(3,)",
    "esc50_folds.esc10=True",
    "finetune.validation_share=0.4",
    "finetune/by_epoch.warmup_epochs=0",
    "CLIP_SECONDS=1.0",
    "PATCH_SECONDS=1.0",
    "RandomPadCrop.seconds=1.0",
)


def bound(name: str) -> dict[str, object]:
    return {"finetune.start": name} if name else {}


def rows() -> tuple[StudyRow, ...]:
    network = "ENCODER=@small_resnet"
    return (
        StudyRow("tuned", (), (network, "START='SimCLR'"), bound("SimCLR")),
        StudyRow("linear", (), (network, "START='SimCLR'", LINEAR), bound("SimCLR")),
    )


PLAN = TransferPlan(
    seeds=(0,),
    starts={"SimCLR": ("data/cifar10.gin", "ENCODER=@small_resnet")},
    imported=("import/cifar10.gin", "SOURCE_DIR=%CIFAR10_DIR"),
    maps=("tuned", "linear"),
)


def in_this_process(job: Job) -> list[str]:
    """The words of a command but for its threads, which TensorFlow counts once a process."""
    return [word for word in job.arguments if not word.startswith("--num_threads")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """All commands of a tiny study, run one after the other in this process."""
    root = tmp_path_factory.mktemp("transfer")
    write_cifar10(root / "cifar", "png", batches={"data_batch_1": 0, "test_batch": 50})
    esc50 = write_esc50(root / "ESC-50")
    given = (f"ESC50_DIR='{esc50}'", f"CIFAR10_DIR='{root / 'cifar'}'", f"DATA_DIR='{root / 'd'}'")
    words = ("--shared_config", "--gin_file=papers/shin2021/small.gin")
    words += tuple(f"--gin_bindings={each}" for each in (*given, *TINY))
    planned = Study(root / "study", rows(), Launch(words, lambda words, names: {}), "tuned")
    done: set[str] = set()
    for job in PLAN.jobs(planned):
        assert set(job.needs) <= done
        assert cli.main(in_this_process(job)) == 0, job.arguments
        assert job.done()
        done.add(job.name)
    return planned


def test_an_encoder_of_images_is_pretrained_and_probed(study: Study) -> None:
    run = study.root / "starts" / "simclr" / "seed0"
    assert load_image_encoder(run).input_shape == (None, 32, 32, 3)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    probed = [line for line in lines if "validation/probe_accuracy" in line]
    assert [line["step"] for line in probed] == [2, 4]
    assert all(0 <= line["validation/probe_accuracy"] <= 1 for line in probed)
    assert json.loads((run / "model.json").read_text())["kind"] == "image_encoder"


def test_a_frozen_encoder_keeps_what_images_taught_it(study: Study) -> None:
    start = load_image_encoder(study.root / "starts" / "simclr" / "seed0")
    results = json.loads((study.root / "rows/linear/seed0/results.json").read_text())
    (row,) = results["rows"]
    assert row["statistics"] == "all"
    assert row["penalty"] in (1.0, 0.1, 0.01, 0.001)
    folder = study.root / "rows/linear/seed0" / row["folder"]
    loaded = load_classifier(folder)
    kernels = [
        [layer.get_weights()[0] for layer in each.layers if "conv" in layer.name]
        for each in (loaded.model.encoder, start)
    ]
    for kernel, expected in zip(*kernels, strict=True):
        np.testing.assert_array_equal(kernel, expected)
    chosen = Predictions.load(folder / "selected.npz")
    logits = loaded.model.logits(chosen.embedding.astype(np.float32)).numpy()
    np.testing.assert_array_equal(logits.argmax(axis=1), chosen.probabilities.argmax(axis=1))
    assert loaded.log_mel.num_maps == 3


def test_results_maps_and_an_export_of_three_maps(study: Study, tmp_path: Path) -> None:
    results = PLAN.results(study)
    assert [result["name"] for result in results] == ["tuned", "linear"]
    assert all(result["pretraining_seconds"] > 0 for result in results)
    assert {run["name"] for run in PLAN.runs(results)} == {"tuned", "linear"}
    fold = study.root / "rows/tuned/seed0" / results[0]["folder"]
    model = f"--gin_bindings=MODEL='{fold}'"
    assert cli.main(["export", model, f"--run_dir={tmp_path / 'export'}"]) == 0
    card = json.loads((tmp_path / "export/saved_model/assets/model_card.json").read_text())
    assert card["log_mel"]["window_lengths_seconds"] == [0.025, 0.05, 0.1]


def test_a_start_of_another_network_is_refused_before_anything_is_trained(study: Study) -> None:
    words = in_this_process(next(job for job in PLAN.jobs(study) if "tuned" in job.name))
    other = [*words[:-1], "--gin_bindings=small_resnet.widths=(5, 6)", words[-1]]
    other = [word.replace("/tuned/", "/other/") for word in other]
    assert cli.main(other) == 1


def test_what_does_not_fit_is_told_before_anything_is_run(tmp_path: Path) -> None:
    launch = Launch((), lambda words, names: {})
    study = Study(tmp_path, rows(), launch, "tuned")
    with pytest.raises(SepconError, match=r"TransferPlan\.maps names 'nothing', expected some of"):
        TransferPlan(starts=PLAN.starts, maps=("nothing",)).check(study)
    with pytest.raises(SepconError, match=r"finetune\.start: SimCLR is not there"):
        TransferPlan().check(study)
    with pytest.raises(SepconError, match="seeds must name at least one"):
        TransferPlan(seeds=()).check(study)


def test_each_seed_is_pretrained_by_itself(tmp_path: Path) -> None:
    plan = TransferPlan(seeds=(0, 3), starts=PLAN.starts, imported=PLAN.imported)
    jobs = plan.jobs(Study(tmp_path, rows(), Launch((), lambda words, names: {}), "tuned"))
    needs = {job.name: job.needs for job in jobs}
    assert needs == {
        "import": (),
        "starts-simclr-seed0": ("import",),
        "rows-tuned-seed0": ("starts-simclr-seed0",),
        "rows-linear-seed0": ("starts-simclr-seed0",),
        "starts-simclr-seed3": ("import",),
        "rows-tuned-seed3": ("starts-simclr-seed3",),
        "rows-linear-seed3": ("starts-simclr-seed3",),
    }
    words = {job.name: job.arguments for job in jobs}
    start = str(tmp_path / "starts" / "simclr" / "seed3")
    assert f"--gin_bindings=finetune.start={start!r}" in words["rows-linear-seed3"]
    assert "--gin_bindings=pretrain.seed=3" in words["starts-simclr-seed3"]


def test_an_embedder_opens_the_export_of_an_encoder_of_images_with_a_clear_no(
    study: Study,
) -> None:
    with pytest.raises(SepconError, match="image_encoder"):
        load_embedder(str(study.root / "starts" / "simclr" / "seed0"))
