"""The rules of sepcon/views/sampler.py written a second time, as loops over single examples."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from former_sampler import FormerSampler
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sepcon.views.sampler import PAIRS, ViewSampler
from sepcon.views.separator_front_end import SeparatorFrontEnd

RATE = 100
SAMPLES = 60


def sampler_for(**settings) -> ViewSampler:
    """Of patches at any sample, unless a hop is given."""
    defaults = {"patch_seconds": 0.2, "sample_rate_hz": RATE, "hop_samples": 1}
    return ViewSampler(**(defaults | settings))


def clips(batch: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Channels of very different levels, some of them silent in parts or throughout."""
    rng = np.random.default_rng(seed)
    levels = 10.0 ** rng.uniform(-2, 0, (batch, channels, 1))
    sources = levels * rng.normal(size=(batch, channels, SAMPLES))
    sources *= np.repeat(rng.random((batch, channels, SAMPLES // 10)) < 0.6, 10, axis=-1)
    sources *= rng.random((batch, channels, 1)) < 0.8
    sources = sources.astype(np.float32)
    return sources.sum(axis=1), sources


def uniforms_for(sampler: ViewSampler, batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, sampler.num_uniforms), np.float32)


def draw(sampler, mixture, channels, uniforms):
    """As one graph: eagerly, thousands of examples take their time."""
    traced = tf.function(
        lambda m, c, u: sampler(mixture=m, channels=c, uniforms=u), autograph=False
    )
    return traced(mixture, channels, uniforms)


def pick(uniform: np.float32, count: int) -> int:
    return min(math.floor(uniform * np.float32(count)), count - 1)


def energy(x: np.ndarray) -> float:
    return float(np.sum(np.square(x), dtype=np.float32))


def views_by_loops(sampler, mixture, channels, uniforms):
    """The rules of `ViewSampler`, one example at a time."""
    length = round(sampler.patch_seconds * sampler.sample_rate_hz)
    candidates, hop = sampler.position_candidates, sampler.hop_samples
    measured = length // hop * hop
    result = []
    for clip, sources, row in zip(mixture, channels, uniforms, strict=True):
        columns = iter(row)
        anchor_of_channel, positive_of_channel = PAIRS[
            sampler.pairs[pick(next(columns), len(sampler.pairs))]
        ]
        places = []
        for _ in range(2):
            room = (len(clip) - length) // hop + 1
            starts = [hop * pick(next(columns), room) for _ in range(candidates)]
            if candidates == 1:
                places.append(starts[0])
                continue
            energies = [energy(clip[start : start + measured]) for start in starts]
            fit = [s for s, e in zip(starts, energies, strict=True) if e >= 1e-3 * max(energies)]
            places.append(fit[pick(next(columns), len(fit))])
        if not sampler.temporal_proximity:
            places[1] = places[0]
        of_anchor, of_positive = next(columns), next(columns)
        taken = None
        patches = []
        for place, uniform, of_channel in (
            (places[0], of_anchor, anchor_of_channel),
            (places[1], of_positive, positive_of_channel),
        ):
            if not of_channel:
                patches.append(clip[place : place + length])
                continue
            cut = [source[place : place + length] for source in sources]
            loudest = max(energy(each[:measured]) for each in cut)
            audible = [
                number
                for number, each in enumerate(cut)
                if energy(each[:measured]) >= sampler.min_relative_energy * loudest
            ]
            others = [number for number in audible if number != taken]
            allowed = others or audible
            taken = allowed[pick(uniform, len(allowed))]
            patches.append(cut[taken])
        result.append(patches)
    return [np.stack(side) for side in zip(*result, strict=True)]


samplers = st.builds(
    sampler_for,
    pairs=st.lists(st.sampled_from(sorted(PAIRS)), min_size=1, max_size=4).map(tuple),
    temporal_proximity=st.booleans(),
    min_relative_energy=st.sampled_from([0.0, 0.1, 1.0]),
    position_candidates=st.integers(1, 3),
    hop_samples=st.sampled_from([1, 7, 10]),
)


@settings(max_examples=25, deadline=None)
@given(sampler=samplers, channels=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_equals_loops_over_examples(sampler, channels, seed):
    mixture, sources = clips(5, channels, seed)
    uniforms = uniforms_for(sampler, 5, seed)
    views = sampler(mixture=mixture, channels=sources, uniforms=uniforms)
    anchor, positive = views_by_loops(sampler, mixture, sources, uniforms)
    np.testing.assert_array_equal(views.anchor, anchor)
    np.testing.assert_array_equal(views.positive, positive)


@settings(max_examples=6, deadline=None)
@given(sampler=samplers, channels=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_with_frames_of_one_sample_it_draws_what_it_drew_from_waveforms(sampler, channels, seed):
    """Kind, places and channels: the rule of drawing is the former one."""
    sampler = dataclasses.replace(sampler, hop_samples=1)
    fields = {field.name for field in dataclasses.fields(FormerSampler)}
    former = FormerSampler(**{name: getattr(sampler, name) for name in fields})
    mixture, sources = clips(16, channels, seed)
    uniforms = uniforms_for(sampler, 16, seed)
    now = sampler(mixture=mixture, channels=sources, uniforms=uniforms)
    before = former(mixture=mixture, channels=sources, uniforms=uniforms)
    np.testing.assert_array_equal(now.anchor, before.anchor)
    np.testing.assert_array_equal(now.positive, before.positive)


def test_integers_are_cut_like_floats():
    sampler = sampler_for(pairs=("mixture-channel", "channel-channel"), position_candidates=2)
    mixture, sources = ((8192 * x).astype(np.int16) for x in clips(6, 3, 1))
    uniforms = uniforms_for(sampler, 6)
    integers = sampler(mixture=mixture, channels=sources, uniforms=uniforms)
    anchor, positive = views_by_loops(
        sampler, mixture.astype(np.float32), sources.astype(np.float32), uniforms
    )
    assert integers.anchor.dtype == tf.int16
    np.testing.assert_array_equal(integers.anchor, anchor)
    np.testing.assert_array_equal(integers.positive, positive)


@settings(max_examples=10, deadline=None)
@given(sampler=samplers, seed=st.integers(0, 10**6))
def test_a_patch_is_a_slice_of_the_right_source(sampler, seed):
    mixture, sources = clips(4, 3, seed)
    # Every sample is told from every other by its value.
    mixture += np.arange(SAMPLES, dtype=np.float32) * 1e3
    uniforms = uniforms_for(sampler, 4, seed)
    views = sampler(mixture=mixture, channels=sources, uniforms=uniforms)
    for example in range(4):
        kind = PAIRS[sampler.pairs[pick(uniforms[example, 0], len(sampler.pairs))]]
        for patch, of_channel in zip((v[example].numpy() for v in views), kind, strict=True):
            candidates = sources[example] if of_channel else mixture[example : example + 1]
            windows = np.lib.stride_tricks.sliding_window_view(candidates, len(patch), axis=-1)
            assert (windows == patch).all(axis=-1).any()


def constant_channels(levels: list[float], batch: int) -> np.ndarray:
    """Channels whose samples are their level, so that a patch names its channel."""
    channels = np.ones((batch, 1, SAMPLES), np.float32) * np.array(levels, np.float32)[:, None]
    return channels.astype(np.float32)


def test_channels_are_drawn_uniformly_and_a_silent_one_never_beside_an_audible_one():
    sampler = sampler_for(pairs=("mixture-channel",), min_relative_energy=0.1, hop_samples=10)
    # In energy: 1, 0.36, 0.0625 (less than a tenth), silence, 0.81.
    channels = constant_channels([1.0, 0.6, 0.25, 0.0, 0.9], 3000)
    uniforms = uniforms_for(sampler, 3000)
    views = draw(sampler, channels.sum(axis=1), channels, uniforms)
    values, counts = np.unique(views.positive[:, 0], return_counts=True)
    np.testing.assert_allclose(values, [0.6, 0.9, 1.0])
    assert stats.chisquare(counts).pvalue > 1e-3


def test_sibling_channels_differ_unless_only_one_is_audible():
    sampler = sampler_for(pairs=("channel-channel",), hop_samples=10)
    both = constant_channels([1.0, 0.7, 0.8], 1000)
    uniforms = uniforms_for(sampler, 1000)
    views = draw(sampler, both.sum(axis=1), both, uniforms)
    pairs = np.stack([views.anchor[:, 0], views.positive[:, 0]], axis=1)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    assert (kinds[:, 0] != kinds[:, 1]).all()
    assert len(kinds) == 6
    assert stats.chisquare(counts).pvalue > 1e-3

    one = constant_channels([1.0, 0.0, 0.0], 50)
    views = draw(sampler, one.sum(axis=1), one, uniforms[:50])
    np.testing.assert_array_equal(views.anchor, np.ones_like(views.anchor))
    np.testing.assert_array_equal(views.positive, np.ones_like(views.positive))


def test_places_are_uniform_and_independent_with_temporal_proximity():
    ramp = np.tile(np.arange(SAMPLES, dtype=np.float32), (4000, 1)) + 1000.0
    sampler = sampler_for(pairs=("mixture-mixture",))
    views = draw(sampler, ramp, None, uniforms_for(sampler, 4000))
    starts = np.stack([views.anchor[:, 0], views.positive[:, 0]]) - 1000.0
    room = SAMPLES - 20 + 1
    for side in starts:
        counts = np.bincount(side.astype(int), minlength=room)
        assert len(counts) == room
        assert stats.chisquare(counts).pvalue > 1e-3
    assert abs(np.corrcoef(starts)[0, 1]) < 0.06

    same = sampler_for(pairs=("mixture-mixture",), temporal_proximity=False)
    views = draw(same, ramp, None, uniforms_for(same, 4000))
    np.testing.assert_array_equal(views.anchor, views.positive)


def test_more_candidates_avoid_the_silent_part_of_a_clip():
    mixture = np.zeros((1000, SAMPLES), np.float32)
    mixture[:, :8] = 1.0  # of 41 places, 8 hold something
    share = {}
    for candidates in (1, 8):
        sampler = sampler_for(pairs=("mixture-mixture",), position_candidates=candidates)
        uniforms = uniforms_for(sampler, 1000)
        views = draw(sampler, mixture, None, uniforms)
        share[candidates] = np.mean(np.any(views.anchor != 0.0, axis=-1))
    assert share[1] == pytest.approx(8 / 41, abs=0.05)
    assert share[8] == pytest.approx(1 - (33 / 41) ** 8, abs=0.05)


@pytest.mark.parametrize("jit", [False, True])
def test_graph_with_unknown_sizes_and_xla_equal_eager(jit):
    sampler = sampler_for(
        pairs=("mixture-channel", "channel-channel", "mixture-mixture"), position_candidates=2
    )
    mixture, sources = clips(6, 3, 0)
    uniforms = uniforms_for(sampler, 6)

    def eager(mixture, channels, uniforms):
        return sampler(mixture=mixture, channels=channels, uniforms=uniforms)

    specs = [[None, None], [None, None, None], [None, sampler.num_uniforms]]
    traced = tf.function(
        eager,
        autograph=False,
        input_signature=[tf.TensorSpec(s, tf.float32) for s in specs],
        jit_compile=jit,
    )
    for actual, expected in zip(
        traced(mixture, sources, uniforms), eager(mixture, sources, uniforms), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


def test_the_kinds_of_pairs_do_not_change_which_places_are_drawn():
    ramp = np.tile(np.arange(SAMPLES, dtype=np.float32), (8, 1))
    mixture_pairs, channel_pairs = (
        sampler_for(pairs=(pair,)) for pair in ("mixture-mixture", "mixture-channel")
    )
    assert mixture_pairs.num_uniforms == channel_pairs.num_uniforms
    uniforms = uniforms_for(mixture_pairs, 8)
    first = mixture_pairs(mixture=ramp, channels=None, uniforms=uniforms)
    second = channel_pairs(mixture=ramp, channels=ramp[:, np.newaxis], uniforms=uniforms)
    np.testing.assert_array_equal(first.positive, second.positive)


def test_silent_channels_fall_back_to_silence():
    sampler = sampler_for(pairs=("channel-channel",))
    silence = np.zeros((3, 2, SAMPLES), np.float32)
    views = sampler(mixture=silence[:, 0], channels=silence, uniforms=uniforms_for(sampler, 3))
    np.testing.assert_array_equal(views.positive, np.zeros((3, 20)))


def test_missing_channels_and_short_clips_are_named():
    sampler = sampler_for(pairs=("mixture-channel",))
    uniforms = uniforms_for(sampler, 2)
    with pytest.raises(ValueError, match=r"mixture-channel.*need channels"):
        sampler(mixture=tf.zeros([2, SAMPLES]), channels=None, uniforms=uniforms)
    with pytest.raises(ValueError, match=r"19 samples.*patch_seconds=0.2"):
        sampler(mixture=tf.zeros([2, 19]), channels=tf.zeros([2, 1, 19]), uniforms=uniforms)


@pytest.mark.parametrize(
    "bad, names",
    [
        ({"pairs": ()}, "pairs"),
        ({"pairs": ("mixture-source",)}, "mixture-source"),
        ({"patch_seconds": 0.0}, "patch_seconds"),
        ({"min_relative_energy": 1.5}, "min_relative_energy"),
        ({"position_candidates": 0}, "position_candidates"),
        ({"hop_samples": 0}, "hop_samples"),
        ({"hop_samples": 21}, "patch_seconds=0.2 is 20 samples, expected hop_samples=21 or more"),
    ],
)
def test_bad_settings_are_named(bad, names):
    with pytest.raises(ValueError, match=names):
        sampler_for(**bad)


def test_front_end_gives_each_example_the_channels_of_its_separator():
    weight = tf.Variable(1.0)
    separators = [
        lambda mixture, factor=factor: weight * factor * tf.stack([mixture, -mixture], axis=1)
        for factor in (1.0, 10.0, 100.0)
    ]
    front_end = SeparatorFrontEnd(separators)
    mixture = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    uniform = tf.constant([0.99, 0.0, 0.34, 0.67])
    with tf.GradientTape() as tape:
        channels = front_end(mixture, uniform)
    assert tape.gradient(channels, weight) is None
    for example, factor in enumerate((100.0, 1.0, 10.0, 100.0)):
        row = mixture[example].numpy()
        np.testing.assert_allclose(channels[example], factor * np.stack([row, -row]))


def test_front_end_needs_a_separator():
    with pytest.raises(ValueError, match="separators"):
        SeparatorFrontEnd([])
