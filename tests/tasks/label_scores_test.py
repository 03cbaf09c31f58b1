"""The scores of a classifier on held-out clips while it is trained."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import average_precision_score

from sepcon.errors import SepconError
from sepcon.tasks.label_scores import LabelScores, measure


def test_soft_labels_are_measured_by_precision_and_cross_entropy():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(30, 4)).astype(np.float32)
    labels = generator.random((30, 4)) * (generator.random((30, 4)) < 0.4)
    found = measure(logits, labels.astype(np.float32))
    expected = [average_precision_score(labels[:, n] > 0, logits[:, n]) for n in range(4)]
    assert found["label_map"] == pytest.approx(np.mean(expected))
    likely = special.expit(logits.astype(np.float64))
    entropy = -(labels * np.log(likely) + (1 - labels) * np.log(1 - likely))
    assert found["cross_entropy"] == pytest.approx(entropy.sum(axis=1).mean(), rel=1e-5)


def test_without_a_class_that_tells_clips_apart_there_is_no_precision():
    assert measure(np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)).keys() == {
        "cross_entropy"
    }


def test_what_is_not_trained_on_labels_is_refused():
    examples = SimpleNamespace(name="clips", class_names=("a",), num_examples=3)
    scores = LabelScores(examples, every_steps=1)  # type: ignore[arg-type]
    with pytest.raises(SepconError, match="measure the classifier of a supervised training"):
        scores.validation(SimpleNamespace(), None)  # type: ignore[arg-type]
    with pytest.raises(SepconError, match=r"LabelScores\.every_steps is 0"):
        LabelScores(examples, every_steps=0)  # type: ignore[arg-type]
