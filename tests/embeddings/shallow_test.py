"""The shallow classifier against numpy, scikit-learn, and its own promises."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from sepcon.embeddings import shallow
from sepcon.embeddings.shallow import LINEAR_PROBE, ShallowSettings, train_shallow_classifier
from sepcon.embeddings.sources import normalised, row_statistics
from sepcon.embeddings.store import Embeddings
from sepcon.embeddings.training_blocks import TrainingBlocks
from sepcon.errors import SepconError

CLASSES = ("a", "b", "c")


def toy(clips, seed, noise=0.3, scale=1.0):
    """Three classes of which the third is an exclusive or: no linear probe can learn it."""
    random = np.random.default_rng(seed)
    factors = random.choice([-1.0, 1.0], size=(clips, 2))
    mixing = np.random.default_rng(99).normal(size=(2, 20))
    inputs = factors @ mixing + noise * random.normal(size=(clips, 20))
    labels = np.stack(
        [factors[:, 0] > 0, factors[:, 1] > 0, factors[:, 0] * factors[:, 1] > 0], axis=1
    )
    ids = np.array([f"{seed}-{number}" for number in range(clips)])
    inputs = (scale * inputs + 5 * scale).astype(np.float32)
    return Embeddings(ids, inputs, labels.astype(np.uint8), CLASSES)


def sklearn_mean_average_precision(labels, scores):
    return np.mean([average_precision_score(y, s) for y, s in zip(labels.T, scores.T, strict=True)])


def test_learns_what_a_linear_probe_cannot():
    train, validation, test = toy(600, 0), toy(200, 1), toy(200, 2)
    settings = ShallowSettings(hidden_units=64)
    scores = train_shallow_classifier(train=train, validation=validation, settings=settings)
    linear = train_shallow_classifier(train=train, validation=validation, settings=LINEAR_PROBE)
    by_hidden, by_linear = (
        np.array([average_precision_score(test.labels[:, c], s[:, c]) for c in range(3)])
        for s in (scores.predict(test.embedding), linear.predict(test.embedding))
    )
    assert (by_hidden > 0.97).all()
    assert (by_linear[:2] > 0.97).all()
    assert by_linear[2] < 0.75


def test_scores_are_probabilities_and_scale_of_the_embedding_does_not_matter():
    settings = ShallowSettings(hidden_units=64, max_epochs=3)
    ours, scaled = (
        train_shallow_classifier(
            train=toy(300, 0, scale=scale), validation=toy(100, 1, scale=scale), settings=settings
        ).predict(toy(100, 2, scale=scale).embedding)
        for scale in (1.0, 1000.0)
    )
    assert ours.dtype == np.float32
    assert ours.shape == (100, 3)
    assert ((ours >= 0) & (ours <= 1)).all()
    np.testing.assert_allclose(ours, scaled, atol=1e-3)


def test_keeps_the_epoch_that_is_best_on_validation():
    # So much noise and so few clips that more epochs make it worse.
    train, validation = toy(60, 0, noise=3.0), toy(200, 1, noise=3.0)
    settings = ShallowSettings(hidden_units=64, patience=5, batch_size=16)
    classifier = train_shallow_classifier(train=train, validation=validation, settings=settings)
    history = classifier.validation_mean_average_precision
    assert classifier.best_epoch == np.argmax(history)
    assert 0 < len(history) - 1 - classifier.best_epoch == 5  # stopped by patience, not the end
    reached = sklearn_mean_average_precision(
        validation.labels, classifier.predict(validation.embedding)
    )
    assert reached == pytest.approx(history[classifier.best_epoch], abs=1e-6)

    # Told to stop at the best epoch it gives the same weights: what came later had no influence.
    shorter = ShallowSettings(hidden_units=64, max_epochs=classifier.best_epoch + 1, batch_size=16)
    again = train_shallow_classifier(train=train, validation=validation, settings=shorter)
    for ours, theirs in zip(classifier.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_best_penalty_on_validation_is_chosen():
    train, validation = toy(60, 0, noise=3.0), toy(200, 1, noise=3.0)
    penalties = (1e-4, 1e-1, 10.0)
    single = [
        train_shallow_classifier(
            train=train,
            validation=validation,
            settings=ShallowSettings(hidden_units=None, l2=(penalty,)),
        )
        for penalty in penalties
    ]
    best = max(single, key=lambda found: max(found.validation_mean_average_precision))
    settings = ShallowSettings(hidden_units=None, l2=penalties)
    chosen = train_shallow_classifier(train=train, validation=validation, settings=settings)
    assert chosen.l2 == best.l2
    np.testing.assert_array_equal(chosen.weights[0], best.weights[0])


def test_seed_decides_everything():
    train, validation = toy(100, 0), toy(50, 1)
    settings = ShallowSettings(hidden_units=8, max_epochs=2)
    first, again, other = (
        train_shallow_classifier(train=train, validation=validation, settings=settings, seed=seed)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.weights[0], again.weights[0])
    assert np.abs(first.weights[0] - other.weights[0]).max() > 0.01


def numpy_epoch(weights, inputs, targets, order, learning_rate, l2):
    """Adam on one hidden layer, gradients written out by hand, float64."""
    weights = [w.astype(np.float64) for w in weights]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step, rows in enumerate(order, start=1):
        x, y = inputs[rows].astype(np.float64), targets[rows].astype(np.float64)
        hidden = np.maximum(x @ weights[0] + weights[1], 0)
        error = (1 / (1 + np.exp(-(hidden @ weights[2] + weights[3]))) - y) / len(rows)
        back = (error @ weights[2].T) * (hidden > 0)
        gradients = [
            x.T @ back + l2 * weights[0],
            back.sum(axis=0),
            hidden.T @ error + l2 * weights[2],
            error.sum(axis=0),
        ]
        for i, gradient in enumerate(gradients):
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            unbiased = np.sqrt(second[i] / (1 - 0.999**step))
            weights[i] = weights[i] - learning_rate * first[i] / (1 - 0.9**step) / (unbiased + 1e-9)
    return weights


def test_an_epoch_is_adam_on_cross_entropy_with_penalty():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(12, 5)).astype(np.float32)
    targets = random.integers(0, 2, size=(12, 3)).astype(np.float32)
    order = random.permutation(12).reshape(4, 3)
    shapes = [(5, 7), (7,), (7, 3), (3,)]
    weights = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    zeros = [tf.zeros(shape) for shape in shapes]
    state = shallow._train_block(
        ([tf.constant(w) for w in weights], zeros, zeros),
        tf.constant(inputs),
        tf.constant(targets, tf.uint8),
        tf.constant(order, tf.int32),
        tf.constant([0, 0]),
        tf.constant([0.01, 0.0, 0.1]),
    )
    expected = numpy_epoch(weights, inputs, targets, order, 0.01, 0.1)
    for ours, theirs in zip(state[0], expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_linear_probe_ends_at_the_optimum_of_scikit_learn():
    data = toy(200, 0, noise=2.0)
    found = row_statistics(data)
    source = normalised(data, mean=found.mean, deviation=found.deviation)
    inputs = (data.embedding - data.embedding.mean(axis=0)) / data.embedding.std(axis=0)
    judge = itertools.count()  # Likes every epoch better than the last: trains to the end.
    weights, _ = shallow._train(
        TrainingBlocks(source, label_rows=found.label_rows, batch_size=200).epoch,
        initial=shallow._initial_weights(found, None, 0),
        judge=lambda _: float(next(judge)),
        settings=ShallowSettings(
            hidden_units=None, dropout=0.0, learning_rate=0.02, batch_size=200, max_epochs=1200
        ),
        l2=0.05,
        seed=0,
    )
    for column in range(3):
        model = LogisticRegression(C=1 / (0.05 * 200), tol=1e-8, max_iter=1000)
        model.fit(inputs, data.labels[:, column])
        np.testing.assert_allclose(weights[0][:, column], model.coef_[0], atol=2e-3)
        np.testing.assert_allclose(weights[1][column], model.intercept_[0], atol=2e-3)


def test_dropout_drops_in_training_only():
    train = toy(64, 0)
    settings = ShallowSettings(hidden_units=16, dropout=0.9, max_epochs=1)
    dropped = train_shallow_classifier(train=train, validation=train, settings=settings)
    kept = train_shallow_classifier(
        train=train,
        validation=train,
        settings=ShallowSettings(hidden_units=16, dropout=0.0, max_epochs=1),
    )
    assert np.abs(dropped.weights[2] - kept.weights[2]).max() > 0
    np.testing.assert_array_equal(
        dropped.predict(train.embedding), dropped.predict(train.embedding)
    )


def test_constant_dimension_and_fewer_clips_than_a_batch():
    train = toy(20, 0)
    train.embedding[:, 3] = 7.0
    classifier = train_shallow_classifier(
        train=train, validation=toy(20, 1), settings=ShallowSettings(hidden_units=4, max_epochs=2)
    )
    assert np.isfinite(classifier.predict(train.embedding)).all()
    assert classifier.deviation[3] == 1.0


def test_bad_input_is_named():
    train, validation = toy(20, 0), toy(20, 1)
    other = Embeddings(validation.ids, validation.embedding, validation.labels, ("a", "b", "x"))
    with pytest.raises(SepconError, match="class names"):
        train_shallow_classifier(train=train, validation=other)
    narrow = Embeddings(validation.ids, validation.embedding[:, :4], validation.labels, CLASSES)
    with pytest.raises(SepconError, match="20 dimensions, validation embeddings 4"):
        train_shallow_classifier(train=train, validation=narrow)
    nothing = Embeddings(validation.ids, validation.embedding, 0 * validation.labels, CLASSES)
    with pytest.raises(SepconError, match="no validation clip has a label"):
        train_shallow_classifier(train=train, validation=nothing)
    unlabelled = Embeddings(train.ids, train.embedding, np.zeros((20, 0), np.uint8), ())
    with pytest.raises(SepconError, match="no labels"):
        train_shallow_classifier(train=unlabelled, validation=unlabelled)
    with pytest.raises(ValueError, match="l2"):
        ShallowSettings(l2=())
    with pytest.raises(ValueError, match="patience=0"):
        ShallowSettings(patience=0)
    wild = ShallowSettings(learning_rate=float("nan"))
    with pytest.raises(SepconError, match="diverged"):
        train_shallow_classifier(train=train, validation=validation, settings=wild)
