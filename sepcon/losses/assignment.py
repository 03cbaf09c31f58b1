"""Which estimate belongs to which reference mixture: the search inside the MixIT loss.

An assignment gives each of M estimates to exactly one of N references. The squared error of
reference x under a subset S of the estimates s is

    ||x||^2 - 2 sum_{m in S} <x, s_m> + sum_{m, k in S} <s_m, s_k>,

so that one pass over the waveforms gives all inner products, and comparing the N^M assignments is
algebra on small matrices. The estimates are split into two halves: an assignment is a pair of half
assignments, whose own terms are computed once for each half.

Where the estimates are good, the formula subtracts nearly equal numbers. The search in float32
therefore computes a bound of its rounding error. If a second assignment is within that bound of the
best, the search is repeated with inner products in float64. Accelerators round the factors of
matrix products to 11 bits (TF32) or 8: there the inner products are sums of products, one piece of
the waveforms after the other. A TPU has no float64: there the chosen assignment may be worse than
the best by the rounding error of float32 sums, about 1e-6 of the signal's energy, which is below
0.01 dB with the usual threshold of 30 dB.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sepcon.losses.snr import energy, energy_db, soft_threshold
from sepcon.replicas import has_accelerator, xla_island

# Assignments that the exact search compares: 16 estimates and 2 references.
MAX_ASSIGNMENTS = 65_536

# What an inner product in float32 may be off, as a share of the product of the two norms. Twice
# the largest seen of 5,000 to 480,000 samples: waves clipped to one level, whose sums are rounded
# the same way sample after sample. Noise, tones and clicks stay below a tenth of it.
_FLOAT32_ERROR = 3.2e-5

_PIECE = 1024  # samples whose products are summed up first, where there is no matrix product


class _Products(NamedTuple):
    """All inner products of each example's waveforms, in one dtype."""

    energy: tf.Tensor  # [batch, reference]
    cross: tf.Tensor  # [batch, reference, source]
    gram: tf.Tensor  # [batch, source, source]


def exact_mixing_matrix(
    *,
    reference: tf.Tensor,
    estimate: tf.Tensor,
    max_snr_db: float = 30.0,
    search_dtype: tf.DType | None = None,
) -> tf.Tensor:
    """Finds the assignment with the lowest mean over references of `log_mse`, among all.

    Args:
        reference: [batch, reference, samples] float.
        estimate: [batch, source, samples] float.
        max_snr_db: threshold of `log_mse`.
        search_dtype: dtype of the inner products. None chooses: float64 for float64 waveforms, else
            float32, repeated in float64 for a batch in which float32 cannot decide, except on a
            TPU, which has no float64.

    Returns:
        [batch, reference, source], in `estimate`'s dtype, one 1 in each column. No gradient.

    Raises:
        ValueError: if shapes do not fit or there are more than 65,536 assignments.
    """
    reference, estimate = check_waveforms(reference, estimate)
    num_references, num_sources = reference.shape[1], estimate.shape[1]
    if not is_searchable(num_references, num_sources):
        raise ValueError(
            f"reference and estimate have {num_references} and {num_sources} rows: of their "
            f"{num_references}^{num_sources} assignments at most {MAX_ASSIGNMENTS} can be "
            "compared; take fewer estimates or the least squares search"
        )
    waveforms = tf.stop_gradient(reference), tf.stop_gradient(estimate)
    if search_dtype is None and estimate.dtype == tf.float64:
        search_dtype = tf.float64
    if search_dtype is None:
        best = _search_with_care(*waveforms, max_snr_db)
    else:
        products = _inner_products(*waveforms, search_dtype)
        best = _best(_squared_errors(products), products.energy, max_snr_db)
    winner = tf.gather(tf.constant(_assignments(num_references, num_sources)), best)
    return tf.one_hot(winner, num_references, axis=1, dtype=estimate.dtype)


def least_squares_mixing_matrix(*, reference: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
    """Approximates the best assignment at a cost that is polynomial in the number of estimates.

    Wisdom et al., "Sparse, Efficient, and Semantic Mixture Invariant Training" (2021): the real
    matrix A that minimises ||x - A s||^2, then the largest entry of each column.

    Args:
        reference: [batch, reference, samples] float.
        estimate: [batch, source, samples] float.

    Returns:
        [batch, reference, source], in `estimate`'s dtype, one 1 in each column. No gradient.

    Raises:
        ValueError: if shapes do not fit.
    """
    reference, estimate = check_waveforms(reference, estimate)
    num_references, num_sources = reference.shape[1], estimate.shape[1]
    dtype, ridge = (tf.float32, 1e-4) if _on_tpu() else (tf.float64, 1e-9)
    products = _inner_products(tf.stop_gradient(reference), tf.stop_gradient(estimate), dtype)
    # The ridge settles what silent or identical estimates leave open, and moves nothing else.
    level = tf.linalg.trace(products.gram) / num_sources + 1e-20
    penalty = (ridge * level)[:, tf.newaxis, tf.newaxis] * tf.eye(num_sources, dtype=dtype)
    solution = tf.linalg.solve(products.gram + penalty, tf.linalg.matrix_transpose(products.cross))
    winner = tf.argmax(solution, axis=2, output_type=tf.int32)  # [batch, source]
    return tf.one_hot(winner, num_references, axis=1, dtype=estimate.dtype)


def is_searchable(num_references: int, num_sources: int) -> bool:
    """Whether `exact_mixing_matrix` can compare all assignments of that many waveforms.

    Args:
        num_references: N, the reference mixtures.
        num_sources: M, the estimates; there are N^M assignments.
    """
    return num_references**num_sources <= MAX_ASSIGNMENTS


def check_waveforms(reference: tf.Tensor, estimate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Checks the shapes of waveforms and brings them to one dtype.

    Args:
        reference: [batch, reference, samples] float.
        estimate: [batch, source, samples] float.

    Returns:
        Both as float64 if both were, else as float32.

    Raises:
        ValueError: unless they are [batch, reference, samples] and [batch, source, samples], with
            known numbers of references and sources.
    """
    reference, estimate = tf.convert_to_tensor(reference), tf.convert_to_tensor(estimate)
    for name, row, waveform in (
        ("reference", "reference", reference),
        ("estimate", "source", estimate),
    ):
        if waveform.shape.rank != 3 or not waveform.shape[1]:
            raise ValueError(
                f"{name} must be [batch, {row}, samples] with a known number of {row}s, "
                f"got shape {waveform.shape}"
            )
    if not reference.shape[::2].is_compatible_with(estimate.shape[::2]):
        raise ValueError(
            "reference and estimate must agree in batch and samples, got shapes "
            f"{reference.shape} and {estimate.shape}"
        )
    both_double = reference.dtype == estimate.dtype == tf.float64
    dtype = tf.float64 if both_double else tf.float32
    return tf.cast(reference, dtype), tf.cast(estimate, dtype)


def _on_tpu() -> bool:
    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)


def _search_with_care(reference: tf.Tensor, estimate: tf.Tensor, max_snr_db: float) -> tf.Tensor:
    """Searches in float32, and again in float64 if rounding may have hidden the winner."""
    products = _inner_products(reference, estimate, tf.float32)
    squared_errors, rounding = _squared_errors(products), _rounding_bounds(products)
    best = _best(squared_errors, products.energy, max_snr_db)
    if _on_tpu():
        return best
    highest = tf.gather(squared_errors + rounding, best[:, tf.newaxis], axis=2, batch_dims=1)
    threshold = _mean_db(highest, products.energy, max_snr_db)  # [batch, 1]
    may_win = _mean_db(squared_errors - rounding, products.energy, max_snr_db) <= threshold
    num_candidates = tf.math.count_nonzero(may_win, axis=1)

    def search_in_float64() -> tf.Tensor:
        products = _inner_products(reference, estimate, tf.float64)
        return _best(_squared_errors(products), products.energy, max_snr_db)

    return tf.cond(tf.reduce_all(num_candidates == 1), lambda: best, search_in_float64)


def _best(squared_errors: tf.Tensor, reference_energy: tf.Tensor, max_snr_db: float) -> tf.Tensor:
    """Returns the index of the best assignment, [batch] int64."""
    losses = _mean_db(squared_errors, reference_energy, max_snr_db)
    return tf.argmin(losses, axis=1)


def _mean_db(
    squared_errors: tf.Tensor, reference_energy: tf.Tensor, max_snr_db: float
) -> tf.Tensor:
    """Returns each assignment's loss, [batch, reference, assignment] -> [batch, assignment]."""
    slack = soft_threshold(max_snr_db) * reference_energy[:, :, tf.newaxis]
    return tf.reduce_mean(energy_db(tf.maximum(squared_errors, 0) + slack), axis=1)


def _inner_products(reference: tf.Tensor, estimate: tf.Tensor, dtype: tf.DType) -> _Products:
    """Computes all inner products between the waveforms of each example."""
    if dtype == tf.float32 and has_accelerator():
        return _sums_of_products(reference, estimate)
    samples, times = estimate.shape[2], [slice(None)]
    if dtype == tf.float64 and samples:
        # In pieces, as a whole copy in float64 would be twice the size of the waveforms.
        size = max(16_384, -(-samples // 16))
        times = [slice(start, start + size) for start in range(0, samples, size)]
    pieces = []
    for time in times:
        x, s = tf.cast(reference[..., time], dtype), tf.cast(estimate[..., time], dtype)
        cross, gram = tf.matmul(x, s, transpose_b=True), tf.matmul(s, s, transpose_b=True)
        pieces.append(_Products(energy(x), cross, gram))
    return _Products(*(tf.add_n(parts) for parts in zip(*pieces, strict=True)))


@xla_island
def _sums_of_products(reference: tf.Tensor, estimate: tf.Tensor) -> _Products:
    """The inner products without a matrix product, in one pass over the waveforms.

    Pieces are summed up first, and then their sums, so that rounding errors do not add up over all
    samples.
    """
    num_references = reference.shape[1]
    rows = tf.concat([reference, estimate], axis=1)  # [batch, row, samples]
    batch, num_rows, samples = tf.unstack(tf.shape(rows))
    rows = tf.pad(rows, [[0, 0], [0, 0], [0, -samples % _PIECE]])
    pieces = tf.reshape(rows, [batch, num_rows, -1, _PIECE])
    sums = tf.reduce_sum(pieces[:, :, tf.newaxis] * pieces[:, tf.newaxis], axis=4)
    gram = tf.reduce_sum(sums, axis=3)  # [batch, row, row]
    return _Products(
        tf.linalg.diag_part(gram)[:, :num_references],
        gram[:, :num_references, num_references:],
        gram[:, num_references:, num_references:],
    )


def _multiplied(first: tf.Tensor, second: tf.Tensor, *, transposed: bool = False) -> tf.Tensor:
    """The product of small matrices, the second perhaps transposed, that no accelerator rounds."""
    if first.dtype != tf.float32 or not has_accelerator():
        return tf.matmul(first, second, transpose_b=transposed)
    rows = second if transposed else tf.linalg.matrix_transpose(second)
    return tf.reduce_sum(first[..., tf.newaxis, :] * rows[..., tf.newaxis, :, :], axis=-1)


def _squared_errors(products: _Products) -> tf.Tensor:
    """Returns ||x_n - sum of the estimates given to n||^2, [batch, reference, assignment]."""
    num_references, num_sources = products.cross.shape[1:]
    halves, members = _halves(num_references, num_sources, products.gram.dtype)
    own = []
    for half, member in zip(halves, members, strict=True):
        among = _multiplied(member, products.gram[:, tf.newaxis, half, half])
        among = tf.reduce_sum(among * member, axis=-1)  # [batch, reference, half assignment]
        shared = _multiplied(member, products.cross[..., half, tf.newaxis])
        own.append(among - 2 * tf.squeeze(shared, axis=-1))
    between = _multiplied(members[0], products.gram[:, tf.newaxis, halves[0], halves[1]])
    between = _multiplied(between, members[1], transposed=True)
    # [batch, reference, assignment of the first half, of the second]
    total = _outer_sum(*own) + 2 * between + products.energy[:, :, tf.newaxis, tf.newaxis]
    return tf.reshape(total, [-1, num_references, num_references**num_sources])


def _rounding_bounds(products: _Products) -> tf.Tensor:
    """Returns how far off float32 products may put the squared errors, of the same shape.

    Each product is off by at most a share of the product of its two norms, and a squared error
    holds each pair of its waveforms: together a share of the square of the sum of their norms.
    """
    num_references, num_sources = products.cross.shape[1:]
    halves, members = _halves(num_references, num_sources, products.gram.dtype)
    norm = tf.sqrt(tf.linalg.diag_part(products.gram))[:, tf.newaxis]  # [batch, 1, source]
    sums = [
        tf.squeeze(_multiplied(member, norm[..., half, tf.newaxis]), axis=-1)
        for half, member in zip(halves, members, strict=True)
    ]
    total = _outer_sum(*sums) + tf.sqrt(products.energy)[:, :, tf.newaxis, tf.newaxis]
    flat = [-1, num_references, num_references**num_sources]
    return tf.reshape(_FLOAT32_ERROR * tf.square(total), flat)


def _halves(
    num_references: int, num_sources: int, dtype: tf.DType
) -> tuple[list[slice], list[tf.Tensor]]:
    """Splits the sources in two.

    Returns:
        Each half's place among the sources, and which of its sources go to which reference under
        each assignment of the half, [reference, half assignment, source of the half], 0 or 1.
    """
    middle = num_sources // 2
    halves = [slice(0, middle), slice(middle, num_sources)]
    references = np.arange(num_references)[:, np.newaxis, np.newaxis]
    members = [
        tf.constant(_assignments(num_references, half.stop - half.start) == references, dtype)
        for half in halves
    ]
    return halves, members


def _outer_sum(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns all sums of entries of the last axes, [..., a] and [..., b] -> [..., a, b]."""
    return first[..., tf.newaxis] + second[..., tf.newaxis, :]


def _assignments(num_references: int, num_sources: int) -> np.ndarray:
    """Returns every assignment, [assignment, source] int32; the last source changes fastest."""
    place_values = num_references ** np.arange(num_sources)[::-1]
    numbers = np.arange(num_references**num_sources)[:, np.newaxis]
    return (numbers // place_values % num_references).astype(np.int32)
