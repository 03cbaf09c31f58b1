"""Logistic regression against scikit-learn and against a grid."""

import numpy as np
import pytest

from sepcon.models.linear_classifier import fit_linear_classifier


def blobs(exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 90)
    embedding = rng.normal(size=(90, 5)) * [1, 10, 0.1, 3, 1] + label[:, np.newaxis]
    labels = np.eye(3)[label]
    if not exclusive:
        labels[:, 2] = (embedding[:, 1] > 0) & (rng.random(90) < 0.9)
    return embedding.astype(np.float32), labels


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_several_classes_are_told_as_scikit_learn_tells_them(penalty: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    embedding, labels = blobs(exclusive=True)
    fitted = fit_linear_classifier(embedding, labels, penalty=penalty, exclusive=True)
    scaled = (embedding - embedding.mean(axis=0)) / embedding.std(axis=0)
    expected = linear_model.LogisticRegression(C=1 / (penalty * 90), max_iter=1000, tol=1e-8)
    expected.fit(scaled, labels.argmax(axis=1))
    logits = fitted.logits(embedding)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, expected.predict_proba(scaled), atol=2e-3)


def test_labels_that_do_not_exclude_each_other_are_each_told_alone() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    embedding, labels = blobs(exclusive=False)
    fitted = fit_linear_classifier(embedding, labels, penalty=0.1, exclusive=False)
    scaled = (embedding - embedding.mean(axis=0)) / embedding.std(axis=0)
    shares = 1 / (1 + np.exp(-fitted.logits(embedding)))
    for column in range(3):
        expected = linear_model.LogisticRegression(C=1 / (0.1 * 90), max_iter=1000, tol=1e-8)
        expected.fit(scaled, labels[:, column])
        np.testing.assert_allclose(
            shares[:, column], expected.predict_proba(scaled)[:, 1], atol=2e-3
        )


def test_a_dimension_that_does_not_vary_decides_nothing() -> None:
    embedding, labels = blobs(exclusive=True)
    with_constant = np.concatenate([embedding, np.full((90, 1), 7, np.float32)], axis=1)
    fitted = fit_linear_classifier(with_constant, labels, penalty=0.1, exclusive=True)
    assert np.all(fitted.kernel[-1] == 0)
    assert np.isfinite(fitted.logits(with_constant)).all()


def test_a_penalty_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="penalty must be above 0"):
        fit_linear_classifier(*blobs(exclusive=True), penalty=0.0, exclusive=True)
