"""Long recordings: windows put in order and faded so that the whole is what one window would be."""

import itertools
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.separation.windows import best_order, separate_blocks


def blocks_of(waveform, sizes):
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(waveform):
            return
        yield waveform[start : start + size]
        start += size


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 700),
    st.integers(2, 5),
    st.integers(20, 101),
    st.lists(st.integers(1, 300), min_size=1, max_size=4),
    st.integers(0, 2**31 - 1),
)
def test_windows_in_any_order_come_out_as_the_whole(length, num_channels, window, sizes, seed):
    generator = np.random.default_rng(seed)
    sources = generator.standard_normal([num_channels, length]).astype(np.float32)
    mixture = sources.sum(axis=0)
    position = {mixture[start : start + window].tobytes(): start for start in range(length)}
    starts = []

    def separate_window(part):
        start = position[part.tobytes()]
        order = generator.permutation(num_channels) if starts else np.arange(num_channels)
        starts.append(start)
        return sources[order, start : start + len(part)]

    parts = list(separate_blocks(separate_window, blocks_of(mixture, sizes), window_samples=window))
    channels = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(channels, sources, atol=1e-5)
    # Windows are where they should be: half a window apart, the last one ends with the recording.
    last = max(0, length - window)
    assert starts == [*range(0, last, window // 2), last]


def test_blocks_change_nothing():
    mixture = np.random.default_rng(1).standard_normal(1000).astype(np.float32)

    def separate_window(part):
        return np.stack([np.cumsum(part), -part]).astype(np.float32)

    def run(sizes):
        parts = separate_blocks(separate_window, blocks_of(mixture, sizes), window_samples=64)
        return np.concatenate(list(parts), axis=1)

    whole = run([1000])
    for sizes in ([1], [7, 64, 1], [64], [32], [63, 500]):
        np.testing.assert_array_equal(run(sizes), whole)


def test_nothing_comes_of_nothing():
    assert not list(separate_blocks(lambda part: part[np.newaxis], [], window_samples=10))
    empty = [np.zeros(0, np.float32)]
    assert not list(separate_blocks(lambda part: part[np.newaxis], empty, window_samples=10))


def test_neighbouring_windows_fade_into_each_other():
    """Two windows that disagree: what is between them moves from one to the other in a line."""
    levels = iter([0.0, 1.0])

    def separate_window(part):
        return np.full([1, len(part)], next(levels), np.float32)

    mixture = np.zeros(150, np.float32)
    parts = list(separate_blocks(separate_window, [mixture], window_samples=100))
    expected = np.concatenate([np.zeros(50), np.linspace(0, 1, 50), np.ones(50)])
    np.testing.assert_allclose(np.concatenate(parts, axis=1)[0], expected, atol=1e-6)


def test_order_by_trying_all():
    generator = np.random.default_rng(3)
    reference, estimate = generator.standard_normal([2, 4, 50])
    order = best_order(reference=reference, estimate=estimate)
    errors = {
        permutation: np.sum((reference - estimate[list(permutation)]) ** 2)
        for permutation in itertools.permutations(range(4))
    }
    assert tuple(order) == min(errors, key=errors.__getitem__)


def test_memory_does_not_grow_with_the_recording():
    def peak(num_windows):
        block = np.ones(8000, np.float32)
        blocks = itertools.repeat(block, num_windows)
        tracemalloc.start()
        total = 0
        for part in separate_blocks(
            lambda window: np.stack([window, window]), blocks, window_samples=16000
        ):
            total += part.shape[1]
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == num_windows * 8000
        return highest

    assert peak(400) < 1.2 * peak(10)
