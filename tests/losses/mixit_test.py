"""The MixIT loss against exhaustive search in float64, the reference code, and its properties."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sepcon.losses import assignment
from sepcon.losses.assignment import exact_mixing_matrix, least_squares_mixing_matrix
from sepcon.losses.mixit import mixit_loss, remix
from sepcon.losses.snr import log_mse
from sepcon.models.graphs.operations import called_graphs
from sepcon.replicas import assumed

GOLDEN = ["tdcn_stft_small", "tdcn_stft_skip_small", "tdcn_stft_magsq_small", "tdcn_learned_small"]


def losses_of_all(reference, estimate, max_snr_db=30.0):
    """Every assignment of one example, summed up and compared in float64."""
    reference, estimate = np.float64(reference), np.float64(estimate)
    num_references, num_sources = len(reference), len(estimate)
    floor = 1e-8 + 10 ** (-max_snr_db / 10) * np.sum(reference**2, axis=-1)
    losses = {}
    for winners in itertools.product(range(num_references), repeat=num_sources):
        values = []
        for n in range(num_references):
            chosen = [m for m in range(num_sources) if winners[m] == n]
            error = reference[n] - estimate[chosen].sum(axis=0)
            values.append(10 * np.log10(error @ error + floor[n]))
        losses[winners] = np.mean(values)
    return losses


def exhaustive(reference, estimate, max_snr_db=30.0):
    return np.array(
        [
            min(losses_of_all(x, s, max_snr_db).values())
            for x, s in zip(reference, estimate, strict=True)
        ]
    )


def scene(rng, *, num_references=2, num_sources=4, samples=1000, snr_db=10.0, batch=2):
    """Sources of very different levels, and references that they add up to, but for noise."""
    level = 10 ** rng.uniform(-1.5, 0, (batch, num_sources, 1))
    estimate = level * rng.standard_normal((batch, num_sources, samples))
    winners = rng.integers(0, num_references, (batch, num_sources))
    reference = np.zeros((batch, num_references, samples))
    for b, m in np.ndindex(batch, num_sources):
        reference[b, winners[b, m]] += estimate[b, m]
    level = np.sqrt(np.mean(reference**2, axis=-1, keepdims=True))
    reference += 10 ** (-snr_db / 20) * level * rng.standard_normal(reference.shape)
    return reference.astype(np.float32), estimate.astype(np.float32)


@pytest.mark.parametrize("name", GOLDEN)
def test_reference_code(name, repository: Path, request):
    path = repository / "tests" / "golden" / f"{name}.npz"
    if not path.exists():
        path = request.getfixturevalue("shared_dir") / "golden" / f"{name}.npz"
    with np.load(path) as golden:
        result = mixit_loss(reference=golden["references"], estimate=golden["separated"])
        np.testing.assert_allclose(result.loss, golden["mixit_loss"], rtol=1e-6)
        np.testing.assert_array_equal(result.mixing_matrix, golden["mixing_matrix"])


SHAPES = [(1, 1), (1, 5), (2, 1), (2, 2), (2, 3), (2, 7), (3, 1), (3, 4), (4, 3), (5, 2)]


@pytest.mark.parametrize("num_references,num_sources", SHAPES)
@pytest.mark.parametrize("snr_db", [10.0, 60.0])
@pytest.mark.parametrize("max_snr_db", [30.0, 90.0])
def test_exhaustive_search(num_references, num_sources, snr_db, max_snr_db):
    rng = np.random.default_rng(num_sources)
    reference, estimate = scene(
        rng, num_references=num_references, num_sources=num_sources, snr_db=snr_db
    )
    result = mixit_loss(reference=reference, estimate=estimate, max_snr_db=max_snr_db)
    expected = exhaustive(reference, estimate, max_snr_db)
    np.testing.assert_allclose(result.loss, expected, rtol=0, atol=1e-4)


def best_of_all(reference, estimate, max_snr_db=30.0):
    """The lowest loss of one example as `exhaustive`, for as many sources as memory holds."""
    reference, estimate = np.float64(reference), np.float64(estimate)
    num_references, num_sources = len(reference), len(estimate)
    numbers = np.arange(num_references**num_sources)[:, np.newaxis]
    winners = numbers // num_references ** np.arange(num_sources) % num_references
    total = np.float64(0)
    for n in range(num_references):
        error = reference[n] - (winners == n) @ estimate
        floor = 1e-8 + 10 ** (-max_snr_db / 10) * np.sum(reference[n] ** 2)
        total = total + 10 * np.log10(np.sum(error**2, axis=1) + floor) / num_references
    best = winners[total.argmin()]
    return total.min(), np.float32(best == np.arange(num_references)[:, np.newaxis])


MANY = [(2, 8), (2, 12), (2, 16), (3, 6), (3, 9), (4, 6)]


@pytest.mark.parametrize("num_references, num_sources", MANY)
@pytest.mark.parametrize("snr_db", [10.0, 60.0])
def test_many_sources(num_references, num_sources, snr_db):
    rng = np.random.default_rng(num_sources)
    reference, estimate = scene(
        rng,
        num_references=num_references,
        num_sources=num_sources,
        samples=40,
        snr_db=snr_db,
        batch=1,
    )
    result = mixit_loss(reference=reference, estimate=estimate, search="exact")
    expected, matrix = best_of_all(reference[0], estimate[0])
    assert float(result.loss[0]) == pytest.approx(expected, abs=1e-4)
    np.testing.assert_array_equal(result.mixing_matrix[0], matrix)


def silent_reference(x, s):
    x[0, 0] = 0


def silent_estimates(x, s):
    s[:, 1:] = 0


def all_silent(x, s):
    x[:], s[:] = 0, 0


def nothing_in_common(x, s):
    s[:] = np.roll(s, 500, axis=2)


def identical_references(x, s):
    x[:, 1] = x[:, 0]


def identical_estimates(x, s):
    s[:] = s[:, :1]


def perfect(x, s):
    x[:] = 0
    x[:, 0], x[:, 1] = s[:, :2].sum(axis=1), s[:, 2:].sum(axis=1)


def shares_of_the_mixture(x, s):
    s[:] = x.sum(axis=1, keepdims=True) / s.shape[1]


def clipped(x, s):
    np.clip(100 * x, -1, 1, out=x)
    np.clip(100 * s, -1, 1, out=s)


def offset(x, s):
    x += 3
    s += 1


def loud_estimates_that_cancel(x, s):
    s[:, 0] += 30 * s[:, 3]
    s[:, 1] -= 30 * s[:, 3]


def one_click(x, s):
    x[..., 1:], s[..., 1:] = 0, 0


def faint(x, s):
    x *= 1e-6
    s *= 1e-6


def reference_far_below_the_other(x, s):
    x[:, 1] *= 1e-5
    s[:, 2] = x[:, 1]


TRANSFORMS = [
    silent_reference,
    silent_estimates,
    all_silent,
    nothing_in_common,
    identical_references,
    identical_estimates,
    perfect,
    shares_of_the_mixture,
    clipped,
    offset,
    loud_estimates_that_cancel,
    one_click,
    faint,
    reference_far_below_the_other,
]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("snr_db", [10.0, 60.0])
def test_special_signals(transform, snr_db):
    reference, estimate = scene(np.random.default_rng(7), snr_db=snr_db)
    transform(reference, estimate)
    result = mixit_loss(reference=reference, estimate=estimate)
    np.testing.assert_allclose(result.loss, exhaustive(reference, estimate), rtol=0, atol=1e-4)


@pytest.mark.parametrize("num_references, num_sources", [(2, 8), (2, 16), (3, 9)])
@pytest.mark.parametrize(
    "transform",
    [silent_reference, silent_estimates, all_silent, identical_estimates, clipped, perfect],
)
@pytest.mark.parametrize("snr_db", [10.0, 60.0])
def test_special_signals_of_many_sources(num_references, num_sources, transform, snr_db):
    reference, estimate = scene(
        np.random.default_rng(8),
        num_references=num_references,
        num_sources=num_sources,
        samples=30,
        snr_db=snr_db,
        batch=1,
    )
    transform(reference, estimate)
    result = mixit_loss(reference=reference, estimate=estimate, search="exact")
    expected, _ = best_of_all(reference[0], estimate[0])
    assert float(result.loss[0]) == pytest.approx(expected, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    snr_db=st.floats(-10, 100),
    max_snr_db=st.sampled_from([20.0, 30.0, 60.0]),
    transforms=st.lists(st.sampled_from(TRANSFORMS), max_size=3),
    gain=st.sampled_from([1e-4, 1.0, 300.0]),
)
@example(seed=0, snr_db=60.0, max_snr_db=30.0, transforms=[silent_estimates, faint], gain=1.0)
def test_any_signal(seed, snr_db, max_snr_db, transforms, gain):
    reference, estimate = scene(np.random.default_rng(seed), snr_db=snr_db)
    for transform in transforms:
        transform(reference, estimate)
    reference, estimate = np.float32(gain) * reference, np.float32(gain) * estimate
    result = mixit_loss(reference=reference, estimate=estimate, max_snr_db=max_snr_db)
    matrix = result.mixing_matrix.numpy()
    np.testing.assert_array_equal(matrix.sum(axis=1), 1)
    best = exhaustive(reference, estimate, max_snr_db)
    for b in range(len(best)):
        chosen = losses_of_all(reference[b], estimate[b], max_snr_db)
        assert chosen[tuple(matrix[b].argmax(axis=0))] == pytest.approx(best[b], abs=1e-4)


def cancelling_pairs():
    """Estimates 1 and 2 are loud and nearly cancel: float32 products cannot place the pair."""
    rng = np.random.default_rng(3)
    reference, estimate = scene(rng, snr_db=80.0, samples=2000, batch=16)
    loud = 3000 * rng.standard_normal(estimate[:, 0].shape)
    estimate[:, 1] = loud
    estimate[:, 2] = 0.3 * estimate[:, 3] - estimate[:, 1]
    parts = np.float64(estimate)
    reference[:, 0] = parts[:, 0]
    reference[:, 1] = parts[:, 1] + parts[:, 2] + parts[:, 3]
    return reference, estimate


def test_float64_decides_where_float32_cannot():
    reference, estimate = cancelling_pairs()
    expected = exhaustive(reference, estimate, 90.0)

    def loss(search_dtype):
        matrix = exact_mixing_matrix(
            reference=reference, estimate=estimate, max_snr_db=90.0, search_dtype=search_dtype
        )
        winners = matrix.numpy().argmax(axis=1)
        return np.array(
            [
                losses_of_all(x, s, 90.0)[tuple(w)]
                for x, s, w in zip(reference, estimate, winners, strict=True)
            ]
        )

    np.testing.assert_allclose(loss(None), expected, atol=1e-4)
    np.testing.assert_allclose(loss(tf.float64), expected, atol=1e-4)
    assert np.max(loss(tf.float32) - expected) > 1


def test_the_search_of_accelerators_multiplies_no_matrices_and_finds_the_same():
    """They would round the factors: whatever decides must be a sum of products."""
    reference, estimate = scene(np.random.default_rng(2), num_sources=5, samples=3000, batch=3)

    def products(dtype):
        waveforms = tf.constant(reference), tf.constant(estimate)
        return assignment._inner_products(*waveforms, dtype)

    search = tf.function(lambda x, s: exact_mixing_matrix(reference=x, estimate=s))
    with assumed(accelerator=True):
        # Not a quarter of the error that the search allows for.
        for found, exact in zip(products(tf.float32), products(tf.float64), strict=True):
            scale = 8e-6 * np.sum(np.square(estimate), axis=2).max()
            np.testing.assert_allclose(found, exact, atol=scale)
        specs = [tf.TensorSpec(each.shape) for each in (reference, estimate)]
        traced = search.get_concrete_function(*specs)
        inexact = [
            operation.name
            for graph in [traced.graph, *(g for _, g in graphs_below(traced.graph))]
            for operation in graph.get_operations()
            if "MatMul" in operation.type and operation.outputs[0].dtype == tf.float32
        ]
        assert inexact == []
        found = traced(tf.constant(reference), tf.constant(estimate))
    np.testing.assert_array_equal(
        found, exact_mixing_matrix(reference=reference, estimate=estimate)
    )


def graphs_below(graph):
    for operation in graph.get_operations():
        for name, called in called_graphs(graph, operation):
            yield name, called
            yield from graphs_below(called)


@pytest.mark.parametrize("snr_db", [10.0, 30.0, 60.0])
def test_float32_alone_is_close(snr_db):
    reference, estimate = scene(np.random.default_rng(1), num_sources=6, snr_db=snr_db, batch=8)
    matrix = exact_mixing_matrix(reference=reference, estimate=estimate, search_dtype=tf.float32)
    remixed = remix(estimate=estimate, mixing_matrix=matrix)
    loss = np.mean(log_mse(reference=reference, estimate=remixed), axis=1)
    np.testing.assert_allclose(loss, exhaustive(reference, estimate), atol=0.01)


@settings(max_examples=30, deadline=None)
@example(seed=0, samples=5000, transforms=[clipped, faint])
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.sampled_from([1, 100, 5000, 60_000]),
    transforms=st.lists(st.sampled_from(TRANSFORMS), max_size=2),
)
def test_rounding_stays_within_its_bound(seed, samples, transforms):
    waveforms = scene(np.random.default_rng(seed), samples=samples, snr_db=40.0)
    for transform in transforms:
        transform(*waveforms)
    waveforms = [tf.constant(waveform) for waveform in waveforms]
    single = assignment._inner_products(*waveforms, tf.float32)
    double = assignment._inner_products(*waveforms, tf.float64)
    difference = assignment._squared_errors(single) - tf.cast(
        assignment._squared_errors(double), tf.float32
    )
    bound = assignment._rounding_bounds(single)
    assert np.all(np.abs(difference) <= bound)


def gradient(reference, estimate, **kwargs):
    estimate = tf.constant(estimate)
    with tf.GradientTape() as tape:
        tape.watch(estimate)
        result = mixit_loss(reference=reference, estimate=estimate, **kwargs)
    return tape.gradient(result.loss, estimate).numpy(), result


@pytest.mark.parametrize("snr_db", [10.0, 60.0])
def test_gradient_is_that_of_the_winner_alone(snr_db):
    reference, estimate = scene(np.random.default_rng(2), snr_db=snr_db)
    actual, result = gradient(reference, estimate)
    matrix = np.float64(result.mixing_matrix)
    error = matrix @ np.float64(estimate) - reference
    floor = 1e-8 + 1e-3 * np.sum(np.float64(reference) ** 2, axis=2, keepdims=True)
    by_reference = 10 / np.log(10) * error / (np.sum(error**2, axis=2, keepdims=True) + floor)
    expected = np.swapaxes(matrix, 1, 2) @ by_reference  # mean over 2 references, square's 2
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_gradient_of_silence_is_finite():
    actual, _ = gradient(np.zeros((1, 2, 50), np.float32), np.zeros((1, 3, 50), np.float32))
    np.testing.assert_array_equal(actual, 0)


def test_nan_is_not_hidden():
    reference, estimate = scene(np.random.default_rng(0))
    estimate[0, 1, 5] = np.nan
    loss = mixit_loss(reference=reference, estimate=estimate).loss.numpy()
    assert np.isnan(loss[0])
    assert np.isfinite(loss[1])


def test_order_of_rows_moves_with_the_matrix():
    reference, estimate = scene(np.random.default_rng(4), num_references=3, num_sources=5)
    order = [3, 0, 4, 1, 2]
    result = mixit_loss(reference=reference, estimate=estimate)
    moved = mixit_loss(reference=reference[:, ::-1], estimate=estimate[:, order])
    np.testing.assert_allclose(moved.loss, result.loss, atol=1e-5)
    np.testing.assert_array_equal(
        moved.mixing_matrix, result.mixing_matrix.numpy()[:, ::-1][:, :, order]
    )


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(None, None), (2, 1000)])
def test_graph_and_eager_agree(jit_compile, shape):
    rng = np.random.default_rng(5)
    batch, samples = shape

    @tf.function(
        jit_compile=jit_compile,
        input_signature=[
            tf.TensorSpec([batch, 2, samples], tf.float32),
            tf.TensorSpec([batch, 5, samples], tf.float32),
        ],
    )
    def graph(reference, estimate):
        with tf.GradientTape() as tape:
            tape.watch(estimate)
            result = mixit_loss(reference=reference, estimate=estimate)
        return result, tape.gradient(result.loss, estimate)

    for snr_db in (10.0, 60.0):
        reference, estimate = scene(rng, num_sources=5, snr_db=snr_db)
        expected_gradient, expected = gradient(reference, estimate)
        actual, actual_gradient = graph(reference, estimate)
        np.testing.assert_allclose(actual.loss, expected.loss, atol=1e-5)
        np.testing.assert_array_equal(actual.mixing_matrix, expected.mixing_matrix)
        np.testing.assert_allclose(actual_gradient, expected_gradient, atol=1e-5, rtol=1e-3)


def test_long_signals_are_searched_in_pieces():
    reference, estimate = scene(
        np.random.default_rng(6), samples=50_001, snr_db=60.0, num_sources=3
    )
    estimate[:, 0] *= 1e-4
    result = mixit_loss(reference=reference, estimate=estimate)
    np.testing.assert_allclose(result.loss, exhaustive(reference, estimate), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_other_dtypes(dtype):
    reference, estimate = scene(np.random.default_rng(8))
    result = mixit_loss(reference=tf.cast(reference, dtype), estimate=tf.cast(estimate, dtype))
    assert result.loss.dtype == (tf.float64 if dtype == "float64" else tf.float32)
    rounded = [tf.cast(tf.cast(x, dtype), tf.float64).numpy() for x in (reference, estimate)]
    np.testing.assert_allclose(result.loss, exhaustive(*rounded), atol=1e-4)


def test_least_squares_recovers_what_is_clear():
    rng = np.random.default_rng(9)
    reference, estimate = scene(rng, num_references=3, num_sources=24, snr_db=20.0)
    winners = rng.permutation(np.arange(24) % 3)
    for n in range(3):
        reference[:, n] = estimate[:, winners == n].sum(axis=1)
    result = mixit_loss(reference=reference, estimate=estimate)  # 3^24: beyond the exact search
    np.testing.assert_array_equal(result.mixing_matrix.numpy().argmax(axis=1), [winners] * 2)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    snr_db=st.floats(-20, 80),
    transforms=st.lists(st.sampled_from(TRANSFORMS), max_size=2),
)
def test_least_squares_is_never_better_than_exact(seed, snr_db, transforms):
    reference, estimate = scene(np.random.default_rng(seed), samples=200, snr_db=snr_db)
    for transform in transforms:
        transform(reference, estimate)
    exact = mixit_loss(reference=reference, estimate=estimate).loss
    approximate = mixit_loss(reference=reference, estimate=estimate, search="least_squares").loss
    assert np.all(np.isfinite(approximate))
    assert np.all(approximate >= exact - 1e-4)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 60.0])
def test_beyond_the_exact_search_no_loss_is_lower_than_the_lowest(snr_db):
    reference, estimate = scene(
        np.random.default_rng(10), num_sources=18, samples=30, snr_db=snr_db, batch=1
    )
    approximate = float(mixit_loss(reference=reference, estimate=estimate).loss[0])
    assert approximate >= best_of_all(reference[0], estimate[0])[0] - 1e-4


def test_least_squares_is_sometimes_worse():
    reference, estimate = scene(np.random.default_rng(0), snr_db=0.0, batch=50, samples=20)
    exact = mixit_loss(reference=reference, estimate=estimate).loss
    approximate = mixit_loss(reference=reference, estimate=estimate, search="least_squares").loss
    assert np.max(approximate - exact) > 0.1


@pytest.mark.parametrize(
    "kwargs,match",
    [
        ({"reference": np.zeros((2, 100))}, "reference must be .batch, reference, samples"),
        ({"estimate": np.zeros((2, 4, 99))}, "agree in batch and samples"),
        ({"estimate": np.zeros((3, 4, 100))}, "agree in batch and samples"),
        ({"estimate": np.zeros((2, 17, 100)), "search": "exact"}, r"2\^17 assignments"),
        ({"search": "greedy"}, "got 'greedy'"),
    ],
)
def test_misuse_is_named(kwargs, match):
    arguments = {"reference": np.zeros((2, 2, 100)), "estimate": np.zeros((2, 4, 100))} | kwargs
    with pytest.raises(ValueError, match=match):
        mixit_loss(**arguments)


def test_unknown_number_of_sources_is_refused():
    unknown = tf.TensorSpec([None, None, 100], tf.float32)

    @tf.function(input_signature=[unknown])
    def graph(estimate):
        return mixit_loss(reference=tf.zeros([1, 2, 100]), estimate=estimate)

    with pytest.raises(ValueError, match="known number of sources"):
        graph(tf.zeros([1, 3, 100]))


def test_least_squares_matrix_of_silence_is_an_assignment():
    matrix = least_squares_mixing_matrix(
        reference=np.zeros((1, 2, 50), np.float32), estimate=np.zeros((1, 3, 50), np.float32)
    )
    np.testing.assert_array_equal(np.sum(matrix, axis=1), 1)
