"""Cross-validation from end to end on tones: what it says, chooses, keeps, and takes up again."""

import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tones_stub import CLASS_NAMES, finetune_tones, tones, views_of_tones

from sepcon.audio.log_mel import LogMel
from sepcon.data.clips import to_float
from sepcon.errors import Interrupted, SepconError
from sepcon.finetuning.fold import predict
from sepcon.finetuning.page import ensemble_accuracy, fold_table, summary
from sepcon.finetuning.predictions import Predictions
from sepcon.finetuning.selection import Selection
from sepcon.models.classifier import load_classifier
from sepcon.models.encoder_files import load_encoder
from sepcon.models.products.classification import ClassificationModel
from sepcon.runs import run_folder
from sepcon.training.logs import read_metric
from sepcon.training.loop import FitResult, fit
from sepcon.verbs.export import export
from sepcon.views.sampler import ViewSampler


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hybrid") / "run"
    finetune_tones(folder, seeds=(0, 1))
    return folder


@pytest.fixture(scope="module")
def contrastive(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("contrastive") / "run"
    finetune_tones(folder, alpha=1.0, classifier_epochs=4)
    return folder


def results_of(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def test_it_learns_what_can_be_heard(run):
    results = results_of(run)
    assert results["summary"]["accuracy"] > 0.9
    assert [(row["seed"], row["fold"]) for row in results["rows"]] == [(0, "1"), (1, "1")]
    for row in results["rows"]:
        assert row["num_test_clips"] == 12
        assert row["num_train_clips"] + row["num_validation_clips"] == 24


def test_both_ways_of_choosing_are_those_of_the_log(run):
    """Brute force: the epoch of the best validation, and of the best test."""
    for row in results_of(run)["rows"]:
        folder = run / row["folder"]
        steps, accuracy = read_metric(folder, "validation/accuracy")
        _, entropy = read_metric(folder, "validation/cross_entropy")
        _, on_test = read_metric(folder, "validation/test_accuracy")
        assert steps == list(range(2, 26, 2))
        best = max(range(12), key=lambda k: (accuracy[k], -entropy[k], -k))
        assert row["accuracy"] == pytest.approx(on_test[best])
        assert row["epoch"] == steps[best] // 2
        assert row["optimistic_accuracy"] == pytest.approx(max(on_test))
        assert row["last_accuracy"] == pytest.approx(on_test[-1])
        assert load_classifier(folder).step == steps[best]


def test_the_kept_weights_make_the_kept_predictions(run):
    folder = run / "seed0" / "fold1"
    kept = Predictions.load(folder / "selected.npz")
    saved_model = tf.saved_model.load(str(export(run_dir=folder, model=folder)))
    clips = tones()
    positions = np.flatnonzero(np.array(clips.folds) == "1")
    assert kept.ids == tuple(str(place) for place in positions)
    audio = np.stack([clip["audio"] for clip in clips.clips.build().as_numpy_iterator()])
    probabilities = saved_model(to_float(tf.constant(audio[positions])))["probabilities"]
    np.testing.assert_allclose(probabilities, kept.probabilities, rtol=1e-4, atol=1e-5)


def test_everything_is_written(run):
    rows = list(csv.DictReader((run / "folds.csv").read_text().splitlines()))
    assert len(rows) == 2
    table = (run / "table.md").read_text()
    assert "optimistic: epoch chosen on the test fold" in table
    assert "ensemble of all seeds" in table
    page = (run / "report.html").read_text()
    assert page.count("data:image/png") == 4
    assert "Confusion matrix" in page
    assert not list(run.rglob("checkpoints"))


def test_the_ensemble_is_the_mean_over_seeds(run):
    results = results_of(run)
    members = [Predictions.load(run / f"seed{seed}" / "fold1" / "selected.npz") for seed in (0, 1)]
    mean = (members[0].probabilities + members[1].probabilities) / 2
    accuracy = np.mean(mean.argmax(axis=1) == members[0].labels)
    assert results["summary"]["ensemble_accuracy"] == pytest.approx(accuracy)
    assert ensemble_accuracy([(run, results["rows"])]) == pytest.approx(accuracy)


def test_what_is_finished_is_not_done_again_and_folds_can_be_added(run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("selected.npz")}
    trained = []

    def counted(**given) -> FitResult:
        trained.append(given["run_dir"])
        return fit(**given)

    finetune_tones(run, folds=(1, 3), loop=counted)
    assert trained == [run / "seed0" / "fold3"]
    assert results_of(run)["summary"]["num_folds"] == 2
    for path, time in before.items():
        assert path.stat().st_mtime_ns == time
    finetune_tones(run, seeds=(0, 1), loop=counted)  # as the other tests expect it
    assert len(trained) == 1


class StoppedError(Exception):
    """In the place of a process that is killed."""


def test_a_run_that_was_stopped_goes_on_to_the_same_choice(run, tmp_path, monkeypatch):
    """Stopped right after a look at the weights, before the checkpoint that vouches for it."""
    look = Selection.__call__
    looks = []

    def stop_after_the_third(self):
        values = look(self)
        looks.append(values)
        if len(looks) == 3:
            raise StoppedError
        return values

    monkeypatch.setattr(Selection, "__call__", stop_after_the_third)
    with pytest.raises(StoppedError):
        finetune_tones(tmp_path, steps_per_call=2)
    again = finetune_tones(tmp_path, steps_per_call=2)
    assert len(looks) == 3 + 10
    assert {**again["rows"][0], "seconds": 0} == {**results_of(run)["rows"][0], "seconds": 0}
    kept = [Predictions.load(each / "seed0/fold1/selected.npz") for each in (run, tmp_path)]
    np.testing.assert_array_equal(kept[0].probabilities, kept[1].probabilities)


def test_a_signal_stops_it_and_writes_no_result(tmp_path):
    def interrupted(**given) -> FitResult:
        raise Interrupted(signal.SIGTERM)

    with pytest.raises(Interrupted):
        finetune_tones(tmp_path, loop=interrupted)
    assert not (tmp_path / "results.json").exists()


def test_a_smoke_test_takes_the_first_fold_alone(tmp_path):
    titles = []

    def interrupted(**given) -> FitResult:
        titles.append(given["description"])
        raise Interrupted(signal.SIGTERM)

    with pytest.raises(Interrupted):
        finetune_tones(tmp_path, loop=interrupted, max_folds=1)
    assert [title.partition(" (")[0] for title in titles] == ["[1/1] test fold 1, seed 0"]


def test_two_stages_freeze_the_first_ones_encoder(contrastive):
    assert results_of(contrastive)["summary"]["accuracy"] > 0.5
    folder = contrastive / "seed0" / "fold1"
    first = load_encoder(folder / "contrastive")
    for one, other in zip(
        first.encoder.get_weights(),
        load_classifier(folder).model.encoder.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert read_metric(folder / "contrastive", "contrastive_loss")[0]
    assert read_metric(folder, "contrastive_loss") == ([], [])


def test_an_encoder_of_ours_is_a_start_and_few_labels_take_as_many_steps(contrastive, tmp_path):
    """Its front-end comes with it, and its patches may have had another length."""
    start = contrastive / "seed0" / "fold1" / "contrastive"
    results = finetune_tones(
        tmp_path,
        alpha=0.0,
        epochs=2,
        labels_per_class=1,
        start=start,
        views=views_of_tones(
            log_mel=LogMel(num_mels=40),
            sampler=ViewSampler(pairs=("mixture-mixture",), patch_seconds=0.2),
        ),
        learning_rate=lambda steps_per_epoch: 0.0,
    )
    (row,) = results["rows"]
    assert row["num_train_clips"] == 3
    assert read_metric(tmp_path / row["folder"], "validation/accuracy")[0] == [2, 4]
    loaded = load_classifier(tmp_path / row["folder"])
    assert loaded.log_mel == load_encoder(start).log_mel
    assert loaded.config.encoder.patch_seconds == 0.2
    weights = (load_encoder(start).encoder, loaded.model.encoder)
    for one, other in zip(*(model.trainable_variables for model in weights), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"folds": (1, 7)}, "tones: has no fold 7, only 1, 2, 3"),
        ({"seeds": ()}, "must name at least one each"),
        ({"max_folds": 0}, "max_folds: got 0, expected 1 or more"),
        (
            {"views": views_of_tones(sampler=ViewSampler(pairs=("mixture-channel",)))},
            "need separated channels",
        ),
        (
            {
                "views": views_of_tones(
                    sampler=ViewSampler(pairs=("mixture-mixture",), sample_rate_hz=44100),
                    log_mel=LogMel(sample_rate_hz=44100),
                )
            },
            "clips are at 16000 Hz.*wants 44100 Hz",
        ),
        ({"clip_seconds": 0.1}, "shorter than a patch"),
        ({"start": "nowhere"}, "nowhere holds no encoder"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(changes, message, tmp_path):
    with pytest.raises(SepconError, match=message):
        finetune_tones(tmp_path / "run", **changes)
    assert not list(tmp_path.rglob("model.json"))


def test_the_summary_counts_by_hand():
    rows = [
        {"seed": seed, "fold": fold, "accuracy": a, "optimistic_accuracy": a, "last_accuracy": a}
        | {"num_train_clips": 3, "num_validation_clips": 2, "num_test_clips": 1}
        for seed, fold, a in ((0, "1", 0.5), (0, "2", 0.7), (1, "1", 0.6), (1, "2", 1.0))
    ]
    found = summary(rows)
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["accuracy_fold_deviation"] == pytest.approx(0.15)  # of 0.55 and 0.85
    assert found["accuracy_seed_deviation"] == pytest.approx(0.1)  # of 0.6 and 0.8
    half = 12.7062047 * 0.1  # Student's t with one degree of freedom times the standard error
    assert found["accuracy_low"] == pytest.approx(0.7 - half, rel=1e-5)
    table = fold_table(rows, found)
    assert table[1][:2] == ["1", "0.550"]
    assert table[1][-1] == "3, 2, 1"
    assert {len(line) for line in table} == {5}


def test_predictions_of_clips_of_other_lengths(contrastive):
    """Longer clips are cut and shorter ones padded to what training reads."""
    loaded = load_classifier(contrastive / "seed0" / "fold1")
    module = ClassificationModel(
        loaded.model, loaded.log_mel, patch_seconds=0.25, class_names=CLASS_NAMES
    )
    clips = tones()
    cut = predict(module, clips, np.array([5, 2]), 2000)
    audio = np.stack([clip["audio"][:2000] for clip in clips.clips.build().as_numpy_iterator()])
    expected = module(to_float(tf.constant(audio[[5, 2]])))["probabilities"]
    np.testing.assert_allclose(cut.probabilities, expected, rtol=1e-5)
    assert cut.ids == ("5", "2")
    assert run_folder.is_finished(contrastive)
