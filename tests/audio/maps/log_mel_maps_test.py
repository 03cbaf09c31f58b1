"""Several log-mel maps side by side: each is that of LogMel, and all are of the same instants."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import noise
from PIL import Image

from sepcon.audio.log_mel import LogMel
from sepcon.audio.maps.log_mel_maps import LogMelMaps, ResizedLogMelMaps, read_front_end

MAPS = LogMelMaps(mels_per_map=8)
RESIZED = ResizedLogMelMaps(mels_per_map=8, num_columns=25)


def one_map(window: float, hop: float) -> LogMel:
    return LogMel(
        window_seconds=window, hop_seconds=hop, num_mels=8, min_hz=0.0, max_hz=8000.0, floor=1e-6
    )


@pytest.mark.parametrize("samples", [1600, 1919, 8000])
def test_each_map_is_a_log_mel_in_the_middle_of_the_longest_window(samples: int) -> None:
    waveform = noise(2, samples)
    got = MAPS(waveform).numpy()
    frames = 1 + (samples - 1600) // 320
    assert got.shape == (2, frames, 24)
    assert (MAPS.num_frames(samples), MAPS.num_mels, MAPS.num_maps) == (frames, 24, 3)
    assert MAPS.num_samples(frames) == 1600 + (frames - 1) * 320
    for number, window in enumerate((0.025, 0.05, 0.1)):
        for frame in range(frames):
            length = round(window * 16000)
            begin = frame * 320 + (1600 - length) // 2
            expected = one_map(window, 0.02)(waveform[:, begin : begin + length])[:, 0]
            bands = got[:, frame, 8 * number : 8 * number + 8]
            np.testing.assert_allclose(bands, expected, atol=1e-4)


def test_a_waveform_of_unknown_length_and_one_that_is_too_short() -> None:
    traced = tf.function(MAPS, input_signature=[tf.TensorSpec([None, None])], autograph=False)
    np.testing.assert_allclose(traced(noise(1, 5000)), MAPS(noise(1, 5000)), atol=1e-5)
    assert traced(noise(1, 1599)).shape == (1, 0, 24)
    assert traced(noise(1, 100)).shape == (1, 0, 24)


def test_resized_maps_are_those_that_pillow_resizes() -> None:
    waveform = noise(2, 16000)
    got = RESIZED(waveform).numpy()
    assert got.shape == (2, 25, 24)
    assert (RESIZED.num_frames(16000), RESIZED.num_frames(1599)) == (25, 0)
    for number, (window, hop) in enumerate(((0.025, 0.01), (0.05, 0.025), (0.1, 0.05))):
        log_mel = one_map(window, hop)(waveform).numpy()
        for row in range(2):
            image = Image.fromarray(log_mel[row]).resize((8, 25), Image.Resampling.BILINEAR)
            bands = got[row, :, 8 * number : 8 * number + 8]
            np.testing.assert_allclose(bands, np.asarray(image), atol=1e-4)


@pytest.mark.parametrize("front_end", [MAPS, RESIZED, LogMel(num_mels=8)])
def test_a_front_end_comes_back_from_json(front_end: object) -> None:
    fields = json.loads(json.dumps(dataclasses.asdict(front_end)))  # type: ignore[call-overload]
    assert read_front_end(fields) == front_end


def test_impossible_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="the longest last"):
        LogMelMaps(window_lengths_seconds=(0.1, 0.025))
    with pytest.raises(ValueError, match="max_hz"):
        LogMelMaps(max_hz=9000.0)
    with pytest.raises(ValueError, match="must be as many"):
        ResizedLogMelMaps(hops_seconds=(0.01,))
