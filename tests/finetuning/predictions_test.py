"""Accuracy, confusion and ensembles of predictions, counted by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics

from sepcon.errors import SepconError
from sepcon.finetuning.predictions import Predictions, ensemble


def predictions(seed: int = 0, clips: int = 50, classes: int = 4) -> Predictions:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), clips).astype(np.float32)
    labels = np.random.default_rng(99).integers(0, classes, clips)
    return Predictions(tuple(map(str, range(clips))), labels, probabilities, step=7)


def test_figures_are_those_of_scikit_learn():
    found = predictions()
    best = found.probabilities.argmax(axis=1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(found.labels, best))
    np.testing.assert_array_equal(found.confusion(), metrics.confusion_matrix(found.labels, best))
    expected = metrics.log_loss(found.labels, np.float64(found.probabilities))
    assert found.cross_entropy == pytest.approx(expected, rel=1e-4)


def test_a_probability_of_zero_is_not_infinite():
    found = Predictions(("a",), np.array([0]), np.array([[0.0, 1.0]], np.float32))
    assert math.isfinite(found.cross_entropy)
    assert found.accuracy == 0.0


def test_a_round_trip(tmp_path):
    found = predictions()
    found.save(tmp_path / "p.npz")
    again = Predictions.load(tmp_path / "p.npz")
    assert (again.ids, again.step) == (found.ids, 7)
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    np.testing.assert_array_equal(again.labels, found.labels)
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_an_ensemble_is_the_mean_of_probabilities():
    members = [predictions(seed) for seed in range(3)]
    together = ensemble(members)
    expected = sum(member.probabilities for member in members) / 3
    np.testing.assert_allclose(together.probabilities, expected, rtol=1e-6)
    other = Predictions(members[0].ids[::-1], members[0].labels, members[0].probabilities)
    with pytest.raises(SepconError, match="predictions of the same clips"):
        ensemble([members[0], other])


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_what_is_no_file_of_predictions(content, tmp_path):
    path = tmp_path / "p.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SepconError, match="holds no predictions"):
        Predictions.load(path)
