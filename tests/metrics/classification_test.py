"""Classification metrics against scikit-learn, scipy, pair counting and repeated data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    label_ranking_average_precision_score,
    roc_auc_score,
)

from sepcon.metrics import class_ranking, label_ranking
from sepcon.metrics import classification as metrics
from sepcon.metrics.label_ranking import label_precisions, lwlrap


def ranking(rng, clips=60, classes=5, levels=None, rate=0.3):
    """Targets and scores; with `levels`, scores have so many values and therefore ties."""
    targets = (rng.random((clips, classes)) < rate).astype(np.float32)
    scores = rng.standard_normal((clips, classes)) + targets
    if levels:
        scores = np.round(scores * levels / 4)
    return targets, scores.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    clips=st.integers(2, 80),
    levels=st.sampled_from([None, 1, 3, 10]),
    rate=st.sampled_from([0.02, 0.3, 0.95]),
)
def test_scikit_learn(seed, clips, levels, rate):
    targets, scores = ranking(np.random.default_rng(seed), clips, 4, levels, rate)
    precision = metrics.average_precision(targets=targets, scores=scores)
    auc = metrics.roc_auc(targets=targets, scores=scores)
    for c in range(4):
        positives = targets[:, c].sum()
        if positives:
            expected = average_precision_score(targets[:, c], scores[:, c])
            assert precision[c] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(precision[c])
        if 0 < positives < clips:
            expected = roc_auc_score(targets[:, c], scores[:, c])
            assert auc[c] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(auc[c])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    clips=st.integers(1, 60),
    classes=st.integers(2, 8),
    levels=st.sampled_from([None, 1, 3, 10]),
    rate=st.sampled_from([0.05, 0.3, 0.95]),
)
def test_lwlrap_of_scikit_learn(seed, clips, classes, levels, rate):
    targets, scores = ranking(np.random.default_rng(seed), clips, classes, levels, rate)
    sums, counts = label_precisions(targets=targets.astype(bool), scores=scores)
    np.testing.assert_array_equal(counts, targets.sum(axis=1))
    if counts.any():
        expected = label_ranking_average_precision_score(targets, scores, sample_weight=counts)
        assert lwlrap(sums, counts) == pytest.approx(expected, abs=1e-9)


def test_lwlrap_by_the_published_formula(monkeypatch):
    """The mean over all labels of the precision at their place, counted one by one."""
    monkeypatch.setattr(label_ranking, "_PAIRS_AT_ONCE", 7)
    targets, scores = ranking(np.random.default_rng(8), 30, 6)
    precisions = []
    for target, score in zip(targets, scores, strict=True):
        order = np.argsort(-score)
        for place in np.flatnonzero(target[order]):
            precisions.append(target[order][: place + 1].sum() / (place + 1))
    found = metrics.classification_scores(targets=targets, scores=scores).lwlrap
    assert found == pytest.approx(np.mean(precisions), abs=1e-12)


def test_degenerate_scores_of_scikit_learn():
    random = np.random.default_rng(4)
    targets = (random.random((40, 6)) < 0.4).astype(int)
    columns = [
        np.zeros(40),
        targets[:, 1],
        -targets[:, 2],
        np.r_[1e300, np.zeros(39)],
        np.full(40, 5e-324) * random.integers(0, 2, 40),
        np.repeat([1.0, -1.0], 20),
    ]
    scores = np.stack(columns, axis=1).astype(np.float64)
    found = metrics.classification_scores(targets=targets, scores=scores)
    precision = [average_precision_score(t, s) for t, s in zip(targets.T, scores.T, strict=True)]
    auc = [roc_auc_score(t, s) for t, s in zip(targets.T, scores.T, strict=True)]
    np.testing.assert_allclose(found.class_average_precision, precision, atol=1e-9)
    np.testing.assert_allclose(found.class_auc, auc, atol=1e-9)
    counts = targets.sum(axis=1)
    expected = label_ranking_average_precision_score(targets, scores, sample_weight=counts)
    assert found.lwlrap == pytest.approx(expected, abs=1e-9)


def test_auc_is_the_share_of_pairs_in_order():
    targets, scores = ranking(np.random.default_rng(0), clips=25, classes=1, levels=3)
    won = [(a > b) + 0.5 * (a == b) for a in scores[targets == 1] for b in scores[targets == 0]]
    auc = metrics.roc_auc(targets=targets, scores=scores)
    assert auc[0] == pytest.approx(np.mean(won), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([None, 2, 6]),
    classes=st.integers(1, 4),
)
def test_multiplicities_equal_repeated_clips(seed, levels, classes):
    rng = np.random.default_rng(seed)
    targets, scores = ranking(rng, 40, classes, levels)
    weights = rng.integers(0, 4, 40)
    weights[0] += 1
    repeated = {
        "targets": np.repeat(targets, weights, axis=0),
        "scores": np.repeat(scores, weights, axis=0),
    }
    for metric in (metrics.average_precision, metrics.roc_auc):
        weighted = metric(targets=targets, scores=scores, weights=weights)
        np.testing.assert_allclose(weighted, metric(**repeated), rtol=0, atol=1e-12)


def test_d_prime_of_two_normal_distributions():
    separation = np.array([-1.0, 0.0, 0.5, 2.5])
    auc = stats.norm.cdf(separation / np.sqrt(2))
    np.testing.assert_allclose(metrics.d_prime(auc), separation, atol=1e-12)


def test_d_prime_at_the_ends_of_auc():
    np.testing.assert_array_equal(metrics.d_prime([0, 1]), [-np.inf, np.inf])
    ends = metrics.d_prime(np.array([0, 1, 0.5, np.nan]), num_pairs=100)
    half_pair = np.sqrt(2) * stats.norm.ppf(1 - 0.005)
    np.testing.assert_allclose(ends, [-half_pair, half_pair, 0, np.nan])
    one_tie = metrics.roc_auc(
        targets=np.array([[1], [0], [0]]), scores=np.array([[1.0], [1.0], [0.0]])
    )
    perfect = metrics.d_prime(np.ones(1), num_pairs=2)
    np.testing.assert_allclose(metrics.d_prime(one_tie, num_pairs=2), perfect)


def test_averages_leave_out_and_count_what_has_no_score():
    targets, scores = ranking(np.random.default_rng(1), classes=5)
    targets[:, 1], targets[:, 3] = 0, 1
    result = metrics.classification_scores(targets=targets, scores=scores)
    used = [0, 2, 3, 4]
    precision = [average_precision_score(targets[:, c], scores[:, c]) for c in used]
    auc = np.array([roc_auc_score(targets[:, c], scores[:, c]) for c in (0, 2, 4)])
    assert result.mean_average_precision == pytest.approx(np.mean(precision))
    assert result.auc == pytest.approx(np.mean(auc))
    assert result.d_prime == pytest.approx(np.mean(np.sqrt(2) * stats.norm.ppf(auc)))
    assert (result.num_classes_used, result.num_classes_left_out) == (4, 1)
    assert result.num_classes_left_out_of_auc == 2
    np.testing.assert_array_equal(np.isnan(result.class_average_precision), [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(np.isnan(result.class_d_prime), [0, 1, 0, 1, 0])


def test_perfect_classifier_is_finite():
    targets = np.eye(4)
    result = metrics.classification_scores(targets=targets, scores=targets)
    assert result.mean_average_precision == result.auc == 1
    assert result.d_prime == pytest.approx(np.sqrt(2) * stats.norm.ppf(1 - 0.5 / 3))


def test_constant_scores_are_chance():
    targets, _ = ranking(np.random.default_rng(2))
    result = metrics.classification_scores(targets=targets, scores=np.zeros_like(targets))
    assert result.d_prime == pytest.approx(0, abs=1e-12)
    assert result.mean_average_precision == pytest.approx(targets.mean())


MEASURES = ("mean_average_precision", "d_prime", "auc", "lwlrap")


def resample_by_loops(targets, scores, num_resamples, seed):
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(num_resamples):
        clips = rng.integers(0, len(scores), len(scores))
        result = metrics.classification_scores(targets=targets[clips], scores=scores[clips])
        means.append([getattr(result, measure) for measure in MEASURES])
    point = metrics.classification_scores(targets=targets, scores=scores)
    off_by = np.mean(means, axis=0) - [getattr(point, measure) for measure in MEASURES]
    return (np.percentile(means, [2.5, 97.5], axis=0) - off_by).T


def test_bootstrap_agrees_with_drawing_clips():
    targets, scores = ranking(np.random.default_rng(3), clips=100, classes=4, levels=12)
    interval = metrics.bootstrap_interval(targets=targets, scores=scores, num_resamples=4000)
    expected = resample_by_loops(targets, scores, 1500, seed=4)
    # The bounds themselves scatter by about 2 % of the width at these numbers of resamples.
    for measure, bounds in zip(MEASURES, expected, strict=True):
        np.testing.assert_allclose(getattr(interval, measure), bounds, atol=0.12 * np.ptp(bounds))


def test_bootstrap_is_seeded_and_widens_with_confidence():
    targets, scores = ranking(np.random.default_rng(5))
    arguments = {"targets": targets, "scores": scores, "num_resamples": 200}
    first = metrics.bootstrap_interval(**arguments, seed=1)
    assert first == metrics.bootstrap_interval(**arguments, seed=1)
    assert first != metrics.bootstrap_interval(**arguments, seed=2)
    narrow = metrics.bootstrap_interval(**arguments, seed=1, confidence=0.5)
    assert first.d_prime[0] < narrow.d_prime[0] < narrow.d_prime[1] < first.d_prime[1]
    result = metrics.classification_scores(targets=targets, scores=scores)
    low, high = first.mean_average_precision
    assert low < result.mean_average_precision < high


def test_bootstrap_lies_around_the_estimate_where_positives_are_few():
    random = np.random.default_rng(9)
    targets = np.zeros((200, 30), int)
    for column in targets.T:
        column[random.choice(200, 5, replace=False)] = 1
    scores = random.normal(size=targets.shape) + 1.5 * targets
    interval = metrics.bootstrap_interval(targets=targets, scores=scores, num_resamples=400)
    estimate = metrics.classification_scores(targets=targets, scores=scores).mean_average_precision
    low, high = interval.mean_average_precision
    assert 0.35 < (estimate - low) / (high - low) < 0.65


def test_bootstrap_of_several_classifiers():
    targets, scores = ranking(np.random.default_rng(10))
    arguments = {"targets": targets, "num_resamples": 50}
    one = metrics.bootstrap_interval(scores=scores, **arguments)
    twice = metrics.bootstrap_interval(scores=np.stack([scores, scores]), **arguments)
    np.testing.assert_allclose(twice.mean_average_precision, one.mean_average_precision)
    other = np.random.default_rng(11).normal(size=scores.shape)
    mixed = metrics.bootstrap_interval(scores=np.stack([scores, other]), **arguments)
    points = [
        metrics.classification_scores(targets=targets, scores=each).mean_average_precision
        for each in (scores, other)
    ]
    low, high = mixed.mean_average_precision
    assert low < np.mean(points) < high


def test_bootstrap_does_not_depend_on_its_blocks(monkeypatch):
    targets, scores = ranking(np.random.default_rng(6))
    arguments = {"targets": targets, "scores": scores, "num_resamples": 50}
    whole = metrics.bootstrap_interval(**arguments)
    monkeypatch.setattr(class_ranking, "_BLOCK_WEIGHTS", 7 * len(scores))
    assert metrics.bootstrap_interval(**arguments) == whole


def test_bootstrap_with_a_class_that_a_resample_can_lose():
    targets, scores = ranking(np.random.default_rng(7), clips=20, classes=3)
    targets[:, 0] = 0
    targets[0, 0] = 1  # in 36 % of the resamples the class has no positive
    interval = metrics.bootstrap_interval(targets=targets, scores=scores, num_resamples=100)
    assert np.all(np.isfinite([*interval.mean_average_precision, *interval.d_prime]))


SCORES = np.array([[0.1, 0.2], [0.3, 0.4]])


@pytest.mark.parametrize(
    "targets,scores,match",
    [
        (np.zeros((2, 3)), SCORES, r"got \(2, 3\) and \(2, 2\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "not empty"),
        (np.full((2, 2), 0.5), SCORES, "0 or 1"),
        (np.eye(2), np.array([[1, 2], [np.nan, 3]]), "got nan for clip 1, class 0"),
        (np.zeros((2, 2)), SCORES, "no class"),
    ],
)
def test_bad_input_is_named(targets, scores, match):
    for score in (metrics.classification_scores, metrics.bootstrap_interval):
        with pytest.raises(ValueError, match=match):
            score(targets=targets, scores=scores)


def test_bad_weights_and_settings_are_named():
    with pytest.raises(ValueError, match=r"weights must be \[2\]"):
        metrics.average_precision(targets=np.eye(2), scores=SCORES, weights=np.ones(3))
    with pytest.raises(ValueError, match="confidence between 0 and 1, got 1000 and 95"):
        metrics.bootstrap_interval(targets=np.eye(2), scores=SCORES, confidence=95)
