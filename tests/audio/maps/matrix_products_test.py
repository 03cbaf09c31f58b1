"""Front-ends by matrix products give what those by FFT give."""

import numpy as np
import pytest

from sepcon.audio.log_mel import LogMel
from sepcon.audio.maps.log_mel_maps import FrontEnd, LogMelMaps, ResizedLogMelMaps
from sepcon.audio.maps.matrix_products import by_matrix_products, dft_matrix, inverse_dft_matrix


def test_the_matrices_are_the_transform_of_numpy_and_its_inverse() -> None:
    generator = np.random.default_rng(0)
    window = generator.uniform(0.5, 1.0, 401)
    frames = generator.normal(size=(3, 401))
    spectrum = np.fft.rfft(frames * window, 512)
    parts = frames @ dft_matrix(window, 512)
    np.testing.assert_allclose(parts, np.concatenate([spectrum.real, spectrum.imag], 1), atol=1e-4)
    back = parts @ inverse_dft_matrix(window, 512)
    np.testing.assert_allclose(back, frames * window * window, atol=1e-5)


@pytest.mark.parametrize(
    "front_end",
    [
        LogMel(),
        LogMel(num_mels=20, window_seconds=0.02, floor=1e-10, range_db=80.0),
        LogMelMaps(mels_per_map=8),
        ResizedLogMelMaps(mels_per_map=8, num_columns=20),
    ],
    ids=lambda front_end: f"{type(front_end).__name__}-{front_end.num_mels}",
)
def test_front_ends_differ_by_rounding_alone(front_end: FrontEnd) -> None:
    waveform = np.random.default_rng(0).normal(scale=0.1, size=(2, 8001)).astype(np.float32)
    twin = by_matrix_products(front_end)
    expected = front_end(waveform)
    np.testing.assert_allclose(twin(waveform), expected, atol=2e-5)
    assert expected.shape == (2, front_end.num_frames(8001), front_end.num_mels)
