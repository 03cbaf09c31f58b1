"""Augmentations against loops over single examples, masks and bands."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import interpolate, stats

from sepcon.views import augment
from sepcon.views.augment import (
    Chain,
    RandomEqualization,
    RandomPadCrop,
    RandomSpeed,
    SpecAugment,
    crop,
    split_uniforms,
)

FRAMES, MELS = 20, 12


def patches(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-3.0, 2.0, (batch, FRAMES, MELS)).astype(np.float32)


def uniforms_for(augmentation, batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, augmentation.num_uniforms), np.float32)


def spec_augment_by_loops(config: SpecAugment, log_mel: np.ndarray, uniforms: np.ndarray):
    result = log_mel.copy()
    for example, row in enumerate(uniforms):
        fill = {"mean": np.mean, "minimum": np.min, "maximum": np.max}[config.fill](
            log_mel[example]
        )
        times, mels = config.num_time_masks, config.num_mel_masks
        columns = iter(range(len(row)))
        for masks, widest, size, axis in (
            (times, config.max_time_frames, FRAMES, 0),
            (mels, config.max_mel_bands, MELS, 1),
        ):
            first = [next(columns) for _ in range(masks)]
            second = [next(columns) for _ in range(masks)]
            for of_width, of_place in zip(first, second, strict=True):
                width = math.floor(row[of_width] * np.float32(min(widest, size) + 1))
                start = math.floor(row[of_place] * np.float32(size - width + 1))
                where = slice(start, start + width)
                if axis == 0:
                    result[example, where, :] = fill
                else:
                    result[example, :, where] = fill
    return result


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        SpecAugment,
        num_time_masks=st.integers(0, 3),
        max_time_frames=st.integers(0, 2 * FRAMES),
        num_mel_masks=st.integers(0, 3),
        max_mel_bands=st.integers(0, 2 * MELS),
        fill=st.sampled_from(["mean", "minimum", "maximum"]),
    ),
    st.integers(0, 10**6),
)
def test_spec_augment_equals_loops(config, seed):
    log_mel, uniforms = patches(3, seed), uniforms_for(config, 3, seed)
    np.testing.assert_allclose(
        config(log_mel, uniforms), spec_augment_by_loops(config, log_mel, uniforms), atol=1e-5
    )


def test_spec_augment_reaches_every_place_and_the_widest_mask_but_no_wider():
    config = SpecAugment(num_time_masks=1, max_time_frames=5, num_mel_masks=0)
    log_mel = patches(2000)
    changed = np.asarray(config(log_mel, uniforms_for(config, 2000))) != log_mel
    widths = changed.any(axis=-1).sum(axis=-1)
    assert stats.chisquare(np.bincount(widths, minlength=6)).pvalue > 1e-3  # uniform on 0..5
    assert changed.any(axis=(0, 2)).all()


def test_the_largest_uniform_stays_inside():
    config = SpecAugment(num_time_masks=1, max_time_frames=FRAMES, num_mel_masks=0)
    last = np.nextafter(np.float32(1.0), np.float32(0.0))
    log_mel = patches(1)
    masked = config(log_mel, np.full((1, 2), last, np.float32))
    np.testing.assert_allclose(masked, np.full_like(log_mel, log_mel.mean()), atol=1e-5)


def test_equalization_is_a_smooth_curve_through_normal_knots():
    config = RandomEqualization(num_knots=4, knot_deviation=1.5, max_level_drop=3.0)
    log_mel = patches(5)
    uniforms = uniforms_for(config, 5)
    gain = np.asarray(config(log_mel, uniforms)) - log_mel
    np.testing.assert_allclose(gain, np.broadcast_to(gain[:, :1], gain.shape), atol=1e-5)
    # 12 bands and 4 knots: no band but the outer two lies on a knot; sample those.
    for example in range(5):
        for knot, band in ((0, 0), (3, MELS - 1)):
            expected = 1.5 * stats.norm.ppf(uniforms[example, knot]) - 3.0 * uniforms[example, 4]
            assert gain[example, 0, band] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("num_knots", [2, 3, 4, 5, 8, 13, 32])
@pytest.mark.parametrize("num_mels", [2, 10, 64, 80, 96, 128])
def test_the_curve_is_the_natural_spline_of_scipy_to_the_bit(num_knots, num_mels):
    knots = np.linspace(0.0, 1.0, num_knots)
    unit = interpolate.CubicSpline(knots, np.eye(num_knots), bc_type="natural")
    expected = unit(np.linspace(0.0, 1.0, num_mels)).T.astype(np.float32)

    found = augment._spline(num_knots, num_mels)

    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_equalization_of_equal_knots_is_flat():
    config = RandomEqualization(num_knots=5, max_level_drop=0.0)
    uniforms = np.full((1, 6), stats.norm.cdf(1.0), np.float32)
    gain = np.asarray(config(np.zeros((1, FRAMES, MELS), np.float32), uniforms))
    np.testing.assert_allclose(gain, 1.5, atol=1e-4)


def test_equalization_has_the_deviation_it_says_and_stays_finite():
    config = RandomEqualization(knot_deviation=2.0, max_level_drop=0.0)
    silence = np.zeros((4000, 1, MELS), np.float32)
    gain = np.asarray(config(silence, uniforms_for(config, 4000)))
    assert gain[:, 0, 0].std() == pytest.approx(2.0, rel=0.05)
    assert abs(gain.mean()) < 0.1
    extremes = np.array([[0.0] * 9, [np.nextafter(np.float32(1), np.float32(0))] * 9], np.float32)
    assert np.isfinite(config(silence[:2], extremes)).all()


def speed_by_loops(waveform, uniform, max_factor):
    """The authors' resampling of one waveform, sample by sample."""
    factor = max_factor ** (2.0 * float(uniform) - 1.0)
    result = []
    for place in range(math.ceil(len(waveform) * factor)):
        before = int(place / factor)
        if before >= len(waveform):
            break
        after = min(before + 1, len(waveform) - 1)
        share = place / factor - before
        result.append(waveform[before] * (1 - share) + waveform[after] * share)
    return np.array(result)


def waveforms(batch: int, samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, samples)).astype(np.float32)


# 0.5 leaves everything as it is; the others fall on no sample exactly, where rounding decides.
@pytest.mark.parametrize("uniform", [0.0123, 0.3, 0.5, 0.77, 0.9876])
def test_speed_is_that_of_the_authors(uniform):
    waveform = waveforms(2, 211)
    played = RandomSpeed(max_factor=1.25)(waveform, np.full((2, 1), uniform, np.float32)).numpy()
    assert played.shape == (2, math.ceil(211 * 1.25))
    for example in range(2):
        expected = speed_by_loops(waveform[example], uniform, 1.25)
        np.testing.assert_allclose(played[example, : len(expected)], expected, atol=1e-3)
        np.testing.assert_array_equal(played[example, len(expected) :], 0.0)


def test_speed_moves_pitch_and_length():
    time = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 500 * time).astype(np.float32)[np.newaxis]
    for uniform, hz in ((0.0, 625), (0.5, 500), (1.0, 400)):
        played = RandomSpeed()(tone, np.array([[uniform]], np.float32)).numpy()[0]
        spectrum = np.abs(np.fft.rfft(played[:4000]))
        assert np.argmax(spectrum) * 2 == pytest.approx(hz, abs=2)
        assert np.flatnonzero(played)[-1] == pytest.approx(8000 * 500 / hz, abs=20)


def test_a_short_sound_is_put_at_every_place():
    config = RandomPadCrop(seconds=10, sample_rate_hz=1)
    waveform = np.zeros((4000, 6), np.float32)
    waveform[:, 1:4] = [1.0, 0.0, 2.0]  # silence at both ends is taken off, inside it stays
    placed = config(waveform, uniforms_for(config, 4000)).numpy()
    starts = placed.argmax(axis=1) - 2
    for row, start in zip(placed, starts, strict=True):
        expected = np.zeros(10)
        expected[start : start + 3] = [1.0, 0.0, 2.0]
        np.testing.assert_array_equal(row, expected)
    assert stats.chisquare(np.bincount(starts, minlength=8)).pvalue > 1e-3


def test_a_long_sound_is_cut_at_every_place():
    config = RandomPadCrop(seconds=5, sample_rate_hz=1)
    waveform = np.broadcast_to(np.arange(1, 9, dtype=np.float32) + 100, (4000, 8))
    cut = config(waveform, uniforms_for(config, 4000)).numpy()
    starts = (cut[:, 0] - 101).astype(int)
    np.testing.assert_array_equal(cut - 101, starts[:, np.newaxis] + np.arange(5))
    assert stats.chisquare(np.bincount(starts, minlength=4)).pvalue > 1e-3


@pytest.mark.parametrize(
    "sound, expected",
    [
        ([9, 9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], [9, 9, 0.1]),  # too quiet there: the beginning
        ([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 9, 9], [0.1, 9, 9]),  # and too quiet here: the end
    ],
)
def test_a_part_that_is_too_quiet_is_not_taken(sound, expected):
    config = RandomPadCrop(seconds=3, sample_rate_hz=1)
    cut = config(np.array([sound], np.float32), np.array([[0.5]], np.float32))
    np.testing.assert_array_equal(cut[0], np.float32(expected))


def test_silence_stays_silence_and_the_largest_uniform_stays_inside():
    last = np.nextafter(np.float32(1.0), np.float32(0.0))
    for seconds in (3, 10, 20):
        config = RandomPadCrop(seconds=seconds, sample_rate_hz=1)
        assert not np.any(config(np.zeros((2, 10), np.float32), np.full((2, 1), last)))
        assert np.count_nonzero(config(np.ones((2, 10), np.float32), np.full((2, 1), last))) == (
            2 * min(seconds, 10)
        )


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    "config", [RandomSpeed(), RandomPadCrop(0.5, 300), RandomPadCrop(2.0, 300)]
)
def test_waveforms_in_a_graph_with_unknown_batch_and_xla(config, jit):
    traced = tf.function(
        config.__call__,
        autograph=False,
        jit_compile=jit,
        input_signature=[
            tf.TensorSpec([None, 300], tf.float32),
            tf.TensorSpec([None, config.num_uniforms], tf.float32),
        ],
    )
    waveform, uniforms = waveforms(4, 300), uniforms_for(config, 4)
    together = config(waveform, uniforms)
    np.testing.assert_allclose(traced(waveform, uniforms), together, atol=1e-4)
    alone = [config(waveform[i : i + 1], uniforms[i : i + 1])[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RandomSpeed(max_factor=0.8), "max_factor must be at least 1"),
        (lambda: RandomPadCrop(seconds=0.0), "less than a sample"),
        (lambda: SpecAugment(fill="zero"), "fill must be one of"),
    ],
)
def test_settings_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("config", [SpecAugment(), RandomEqualization()])
def test_graph_with_unknown_batch_and_xla_equal_eager(config, jit):
    traced = tf.function(
        config.__call__,
        autograph=False,
        jit_compile=jit,
        input_signature=[
            tf.TensorSpec([None, None, MELS], tf.float32),
            tf.TensorSpec([None, config.num_uniforms], tf.float32),
        ],
    )
    log_mel, uniforms = patches(4), uniforms_for(config, 4)
    np.testing.assert_allclose(traced(log_mel, uniforms), config(log_mel, uniforms), atol=1e-4)


@pytest.mark.parametrize("config", [SpecAugment(), RandomEqualization()])
def test_each_example_depends_on_its_own_row_only(config):
    log_mel, uniforms = patches(4), uniforms_for(config, 4)
    together = np.asarray(config(log_mel, uniforms))
    alone = [config(log_mel[i : i + 1], uniforms[i : i + 1])[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_chain_hands_out_columns_in_order():
    first, second = RandomEqualization(num_knots=3), SpecAugment()
    chain = Chain((first, second))
    assert chain.num_uniforms == 4 + 6
    log_mel, uniforms = patches(2), uniforms_for(chain, 2)
    np.testing.assert_array_equal(
        chain(log_mel, uniforms), second(first(log_mel, uniforms[:, :4]), uniforms[:, 4:])
    )


def test_an_empty_chain_changes_nothing():
    log_mel = patches(2)
    assert Chain().num_uniforms == 0
    np.testing.assert_array_equal(Chain()(log_mel, np.zeros((2, 0), np.float32)), log_mel)


def test_columns_that_do_not_add_up_are_named():
    with pytest.raises(ValueError, match=r"5 columns, expected 6 = \[2, 4\]"):
        split_uniforms(tf.zeros([3, 5]), [2, 4])


@pytest.mark.parametrize("bad", [{"num_time_masks": -1}, {"max_mel_bands": -1}])
def test_negative_masks_are_refused(bad):
    with pytest.raises(ValueError, match="negative"):
        SpecAugment(**bad)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("known", [True, False])
def test_crop_copies_the_samples_from_its_start_on(dtype, known):
    random = np.random.default_rng(0)
    start = np.array([0, 5, 13, 2])
    for shape in ((4, 20), (4, 3, 20)):
        audio = random.integers(-(2**15), 2**15, shape).astype(dtype)
        expected = np.stack([row[..., s : s + 7] for row, s in zip(audio, start, strict=True)])
        spec = tf.TensorSpec(shape if known else [None] * len(shape), dtype)
        cut = tf.function(lambda audio: crop(audio, tf.constant(start), 7), autograph=False)
        graph = cut.get_concrete_function(spec).graph
        assert not [o.type for o in graph.get_operations() if "While" in o.type]
        np.testing.assert_array_equal(cut.get_concrete_function(spec)(audio), expected)


def test_maps_side_by_side_get_the_same_masks():
    log_mel = np.random.default_rng(0).normal(size=(3, 20, 8)).astype(np.float32)
    uniforms = np.random.default_rng(1).random((3, 4), np.float32)
    settings = {"num_time_masks": 1, "num_mel_masks": 1, "max_mel_bands": 4, "fill": "minimum"}
    alone = SpecAugment(**settings)(log_mel, uniforms).numpy()
    three = SpecAugment(num_maps=3, **settings)(np.tile(log_mel, (1, 1, 3)), uniforms).numpy()
    assert (alone != log_mel).any()
    np.testing.assert_array_equal(three, np.tile(alone, (1, 1, 3)))
