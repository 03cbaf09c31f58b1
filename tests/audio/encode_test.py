"""Tracks on disk: what format they get, and that they hold what was written."""

import numpy as np
import pytest
import soundfile

from sepcon.audio.encode import TrackWriter, chosen_format
from sepcon.audio.files import AudioHeader
from sepcon.errors import WriteError


def header(container, rate_hz):
    return AudioHeader("x", container, "PCM_16", rate_hz, 1, None)


@pytest.mark.parametrize(
    "wanted, container, rate_hz, expected",
    [
        ("same", "WAV", 16000, "wav"),
        ("same", "WAVEX", 44100, "wav"),
        ("same", "RF64", 44100, "wav"),
        ("same", "FLAC", 44100, "flac"),
        ("same", "MP3", 44100, "flac"),
        ("same", "AIFF", 8191, "flac"),
        ("wav", "FLAC", 44100, "wav"),
        ("flac", "WAV", 192000, "flac"),
        ("flac", "WAV", 65535, "flac"),
        ("flac", "WAV", 65537, "wav"),
        ("flac", "WAV", 655350, "flac"),
        ("flac", "WAV", 655360, "wav"),
    ],
)
def test_a_format_that_can_hold_the_rate(tmp_path, wanted, container, rate_hz, expected):
    chosen = chosen_format(wanted, header(container, rate_hz))
    assert chosen == expected
    path = tmp_path / "x"
    with TrackWriter([path], rate_hz=rate_hz, format=chosen, num_samples=9) as writer:
        writer.write(np.zeros([1, 9], np.float32))
    assert soundfile.info(path).samplerate == rate_hz


@pytest.mark.parametrize("format, tolerance", [("wav", 0.0), ("flac", 2.0**-24)])
@pytest.mark.parametrize("num_samples", [None, 5000])
def test_tracks_come_back(tmp_path, format, tolerance, num_samples):
    tracks = np.random.default_rng(0).uniform(-1, 1, (2, 5000)).astype(np.float32)
    paths = [tmp_path / "0", tmp_path / "1"]
    with TrackWriter(paths, rate_hz=44100, format=format, num_samples=num_samples) as writer:
        for start in range(0, 5000, 777):
            writer.write(tracks[:, start : start + 777])
    assert (writer.num_samples, writer.num_clipped) == (5000, 0)
    for path, track in zip(paths, tracks, strict=True):
        np.testing.assert_allclose(soundfile.read(path)[0], track, atol=tolerance, rtol=0)


def test_sizes_beyond_32_bits_have_room(tmp_path):
    """Four bytes a sample: past 2^30 of them, or where nobody knows, WAV has its 64-bit form."""
    for num_samples, kind in [(1000, "WAV"), (2**30, "RF64"), (None, "RF64")]:
        writer = TrackWriter([tmp_path / "x"], rate_hz=16000, format="wav", num_samples=num_samples)
        writer.close()
        assert soundfile.info(tmp_path / "x").format == kind


def test_flac_holds_at_full_scale_and_counts(tmp_path):
    samples = np.asarray([[1.0, -1.0, 1.5, -1.5, 0.5]], np.float32)
    with TrackWriter([tmp_path / "x"], rate_hz=8000, format="flac", num_samples=5) as writer:
        writer.write(samples)
    assert writer.num_clipped == 2
    top = 1 - 2.0**-23
    assert soundfile.read(tmp_path / "x")[0].tolist() == [top, -1.0, top, -1.0, 0.5]


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(WriteError, match=r"none: cannot be written \(.*System error"):
        TrackWriter([tmp_path / "none" / "x"], rate_hz=8000, format="wav", num_samples=5)
