"""TensorFlow's counter-based random numbers in numpy, for many seeds at a time.

`tf.random.stateless_uniform` takes one seed a call. A stream needs the numbers of a thousand
examples, each from a seed of its own: here that is one call on arrays. The numbers are those of
TensorFlow to the bit; its generator is Philox 4x32-10 (Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", 2011).
"""

from __future__ import annotations

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
# What TensorFlow scrambles seeds with, before it takes them as key and counter.
_SCRAMBLER = np.asarray([0x3EC8F720, 0x02461E29], np.uint64)

Words = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def uniforms(seeds: np.ndarray, count: int) -> np.ndarray:
    """Returns `tf.random.stateless_uniform([count], seed, alg="philox")` of each seed.

    Args:
      seeds: int64 [n, 2].
      count: numbers for each.

    Returns:
      float32 [n, count] in [0, 1).
    """
    bits = _bits(seeds, count)
    ones = (bits & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)  # floats in [1, 2)
    return ones.view(np.float32) - np.float32(1.0)


def integers(seed: tuple[int, int], count: int) -> np.ndarray:
    """Returns all of int64 with equal chance, as `tf.random.stateless_uniform` does, [count]."""
    bits = _bits(np.asarray([seed], np.int64), 2 * count)[0].astype(np.uint64)
    return (bits[::2] | bits[1::2] << _HALF).view(np.int64)


def fold_in(seed: tuple[int, int], number: int) -> tuple[int, int]:
    """Returns what `tf.random.experimental.stateless_fold_in` does of a Python number."""
    bits = _bits(np.asarray([seed], np.int64), 1)
    return int(bits.view(np.int32)[0, 0]), number


def fold_in_each(seed: tuple[int, int], numbers: np.ndarray) -> np.ndarray:
    """Returns `stateless_fold_in(seed, number)` of each int64 number [n]: int64 [n, 2]."""
    first = np.full(len(numbers), integers(seed, 1)[0])
    return np.stack([first, np.asarray(numbers, np.int64)], axis=1)


def _bits(seeds: np.ndarray, count: int) -> np.ndarray:
    """The first `count` words of the generator of each seed, uint32 [n, count]."""
    words = seeds.view(np.uint64)
    scrambled = _philox(
        (words[:, 0] & _LOW, words[:, 0] >> _HALF, words[:, 1] & _LOW, words[:, 1] >> _HALF),
        (_SCRAMBLER[:1], _SCRAMBLER[1:]),
    )
    key = scrambled[0][:, np.newaxis], scrambled[1][:, np.newaxis]
    groups = np.arange(-(-count // 4), dtype=np.uint64)[np.newaxis]  # four words at a time
    counter = (
        groups & _LOW,
        groups >> _HALF,
        scrambled[2][:, np.newaxis],
        scrambled[3][:, np.newaxis],
    )
    drawn = np.stack(_philox(counter, key), axis=-1)  # [n, groups, 4]
    return drawn.astype(np.uint32).reshape(len(seeds), -1)[:, :count]


def _philox(counter: Words, key: tuple[np.ndarray, np.ndarray]) -> Words:
    """The four words that a counter and a key give; all are 32 bits wide, in uint64."""
    first, second, third, fourth = counter
    for number in range(_ROUNDS):
        low, high = _MULTIPLIERS[0] * first, _MULTIPLIERS[1] * third
        keys = [
            (part + np.uint64(number * step & 0xFFFFFFFF)) & _LOW
            for part, step in zip(key, _KEY_STEPS, strict=True)
        ]
        first = (high >> _HALF) ^ second ^ keys[0]
        third = (low >> _HALF) ^ fourth ^ keys[1]
        second, fourth = high & _LOW, low & _LOW
    return first, second, third, fourth
