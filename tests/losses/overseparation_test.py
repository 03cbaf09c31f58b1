"""Losses against over-separation: formulas by loops, limits and gradients."""

import math

import numpy as np
import pytest
import tensorflow as tf

from sepcon.losses.overseparation import source_covariance, source_sparsity

RNG = np.random.default_rng(0)
ESTIMATE = RNG.standard_normal((2, 4, 300)).astype(np.float32) * np.float32(
    [[1], [0.3], [0.01], [2]]
)
MIXTURE = ESTIMATE.sum(axis=1)
FORMS = ["l1", "l1_l2", "log"]


def rms(waveform):
    return math.sqrt(sum(float(sample) ** 2 for sample in waveform) / len(waveform))


def sparsity_by_loops(mixture, estimate, form):
    levels = [rms(source) for source in estimate]
    if form == "l1":
        return sum(level / rms(mixture) for level in levels) / len(levels)
    if form == "l1_l2":
        return sum(levels) / (len(levels) * math.sqrt(sum(level**2 for level in levels)))
    ratios = [(level / rms(mixture)) ** 2 + 10**-3 for level in levels]
    return sum(10 * math.log10(ratio) for ratio in ratios) / len(levels)


@pytest.mark.parametrize("form", FORMS)
def test_sparsity_is_its_formula(form):
    got = source_sparsity(mixture=MIXTURE, estimate=ESTIMATE, form=form)
    expected = [sparsity_by_loops(*row, form) for row in zip(MIXTURE, ESTIMATE, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_covariance_is_its_formula():
    got = source_covariance(mixture=MIXTURE, estimate=ESTIMATE)
    for b in range(2):
        total = 0.0
        for m, k in np.ndindex(4, 4):
            if m != k:
                total += abs(float(np.float64(ESTIMATE[b, m]) @ np.float64(ESTIMATE[b, k])))
        expected = total / float(np.sum(np.float64(MIXTURE[b]) ** 2))
        assert float(got[b]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_one_active_estimate_is_sparser_than_equal_ones(form):
    one = np.stack([MIXTURE, *(np.zeros_like(MIXTURE),) * 3], axis=1)
    equal = np.stack([MIXTURE / 4] * 4, axis=1)
    few = source_sparsity(mixture=MIXTURE, estimate=one, form=form).numpy()
    many = source_sparsity(mixture=MIXTURE, estimate=equal, form=form).numpy()
    ends = {"l1": (0.25, 0.25), "l1_l2": (0.25, 0.5), "log": (-22.5, -12.0)}[form]
    np.testing.assert_allclose(few, ends[0], atol=0.05 if form == "log" else 1e-3)
    np.testing.assert_allclose(many, ends[1], atol=0.05 if form == "log" else 1e-3)


def test_equal_shares_have_the_covariance_that_is_told():
    equal = np.stack([MIXTURE / 4] * 4, axis=1)
    np.testing.assert_allclose(source_covariance(mixture=MIXTURE, estimate=equal), 0.75, rtol=1e-4)


def test_estimates_of_different_times_have_no_covariance():
    estimate = np.zeros((1, 2, 100), np.float32)
    estimate[0, 0, :50], estimate[0, 1, 50:] = 1.0, -1.0
    got = source_covariance(mixture=estimate.sum(axis=1), estimate=estimate)
    np.testing.assert_array_equal(got, 0)


LOSSES = [*FORMS, "covariance"]


def loss(name, mixture, estimate):
    if name == "covariance":
        return source_covariance(mixture=mixture, estimate=estimate)
    return source_sparsity(mixture=mixture, estimate=estimate, form=name)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("gain", [0.01, 100.0])
def test_the_level_of_the_recording_does_not_matter(name, gain):
    gain = np.float32(gain)
    got = loss(name, gain * MIXTURE, gain * ESTIMATE)
    np.testing.assert_allclose(got, loss(name, MIXTURE, ESTIMATE), rtol=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_finite_differences(name):
    mixture, estimate = np.float64(MIXTURE[:1, :9]), tf.constant(np.float64(ESTIMATE[:1, :, :9]))
    exact, numeric = tf.test.compute_gradient(
        lambda x: loss(name, mixture, x), [estimate], delta=1e-6
    )
    np.testing.assert_allclose(exact[0], numeric[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("silent", ["estimate", "both"])
def test_silence_is_finite_and_still(name, silent):
    estimate = tf.zeros([2, 4, 300])
    with tf.GradientTape() as tape:
        tape.watch(estimate)
        value = loss(name, 0 * MIXTURE if silent == "both" else MIXTURE, estimate)
    assert np.isfinite(value).all()
    np.testing.assert_array_equal(tape.gradient(value, estimate), 0)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_eager_and_graph_agree_at_unknown_batch(name, jit_compile):
    @tf.function(
        input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None, 4, None])],
        jit_compile=jit_compile,
    )
    def graph(mixture, estimate):
        return loss(name, mixture, estimate)

    np.testing.assert_allclose(graph(MIXTURE, ESTIMATE), loss(name, MIXTURE, ESTIMATE), rtol=1e-4)


def test_misuse_is_named():
    with pytest.raises(ValueError, match="form must be l1, l1_l2 or log, got 'l3'"):
        source_sparsity(mixture=MIXTURE, estimate=ESTIMATE, form="l3")
    for name in LOSSES:
        with pytest.raises(ValueError, match="agree in batch and samples"):
            loss(name, MIXTURE[:, :-1], ESTIMATE)
