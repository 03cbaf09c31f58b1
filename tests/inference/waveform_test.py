"""Whatever form a recording comes in, a model hears the same; what is none is told in one line."""

import numpy as np
import pytest
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.inference.waveform import mono

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(4800) / 16000)).astype(np.float32)
STEREO = np.stack([TONE, 0.5 * TONE], axis=1)  # [samples, channels]


@pytest.mark.parametrize(
    "given",
    [
        TONE.astype(np.float64),
        tf.constant(TONE),
        TONE.tolist(),
        np.rint(TONE * 2**15).astype(np.int16),
        np.rint(TONE.astype(np.float64) * 2**31).astype(np.int32),
        np.rint(TONE * 2**7 + 128).astype(np.uint8),
        np.stack([TONE, TONE], axis=1),
        np.stack([1.5 * TONE, 0.5 * TONE], axis=1),
    ],
    ids=["double", "tensor", "list", "int16", "int32", "uint8", "two equal", "two channels"],
)
def test_all_forms_of_one_recording_are_heard_alike(given):
    heard = mono(given, sample_rate_hz=16000)
    assert heard.waveform.dtype == np.float32
    assert not heard.is_batch
    coarse = getattr(given, "dtype", None) == np.uint8
    np.testing.assert_allclose(heard.waveform, TONE[np.newaxis], atol=5e-3 if coarse else 2e-5)


def test_the_last_axis_is_one_of_channels_where_it_is_short():
    batch = mono(np.stack([TONE, 2 * TONE]), sample_rate_hz=16000)
    np.testing.assert_array_equal(batch.waveform, [TONE, 2 * TONE])
    assert batch.is_batch
    both = mono(np.stack([STEREO, 2 * STEREO]), sample_rate_hz=16000)
    np.testing.assert_allclose(both.waveform, [0.75 * TONE, 1.5 * TONE], rtol=1e-6)
    assert both.is_batch
    alone = mono(STEREO, sample_rate_hz=16000)
    np.testing.assert_allclose(alone.waveform, [0.75 * TONE], rtol=1e-6)
    assert mono(np.zeros([0, 4800]), sample_rate_hz=16000).waveform.shape == (0, 4800)


def test_another_rate_is_the_same_sound():
    fine = np.stack([(0.5 * np.sin(2 * np.pi * 440 * np.arange(13230) / 44100))] * 2)
    heard = mono(fine, sample_rate_hz=44100, wanted_hz=16000).waveform
    assert heard.shape == (2, 4800)
    # Edges are where a resampler hears the recording begin.
    np.testing.assert_allclose(heard[1, 400:-400], TONE[400:-400], atol=2e-3)


@pytest.mark.parametrize(
    "waveform, message",
    [
        ("song.wav", "got the path 'song.wav'.*soundfile.read"),
        (TONE.astype(np.int64), "got int64, expected float"),
        (TONE.astype(np.complex64), "got complex64"),
        (TONE > 0, "got bool"),
        (["a", "b"], "got str|got <U1|got str32"),
        (np.zeros(0, np.float32), "got no samples"),
        (np.float32(1.0), r"got shape \[\]"),
        (np.zeros([16, 16], np.float32), r"got shape \[16, 16\]"),
        (np.zeros([2, 3, 4800], np.float32), r"got shape \[2, 3, 4800\]"),
        ([TONE, TONE[:9]], "of 2 recordings of different lengths"),
        (np.array([TONE, TONE[:9]], dtype=object), "got object"),
        (TONE * np.nan, "its peak is nan, which is not finite"),
        (TONE * np.inf, "its peak is (nan|inf), which is not finite"),
        (TONE * 32768, "its peak is 16384, which is beyond 100"),
    ],
)
def test_what_is_no_recording_is_told_in_one_line(waveform, message):
    with pytest.raises(SepconError, match=message) as error:
        mono(waveform, sample_rate_hz=16000)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rate", [0, -1, 44.1, 16000.5, "16000", None, 10**9])
def test_what_is_no_rate(rate):
    with pytest.raises(SepconError, match="sample_rate_hz: got"):
        mono(TONE, sample_rate_hz=rate)
