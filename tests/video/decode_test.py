"""Sound and frames of videos: on one clock, to the last sample, whatever the file is like."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV, of the extra video")

from video_fixtures import LEFT, RATE_HZ, RIGHT, flash_and_click, noise, picture, plain, turned

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.video.container import VideoError, opened, sound_seconds
from sepcon.video.decode import Pictures, decode_sound
from sepcon.video.encode import CODECS, VideoToWrite, write_video

FRAME_SECONDS = 0.04


def clicks(audio: np.ndarray) -> list[float]:
    """Seconds at which sound begins after silence."""
    loud = np.flatnonzero(np.abs(audio.astype(int)) > 4000)
    return [
        float(place) / SAMPLE_RATE_HZ
        for n, place in enumerate(loud)
        if n == 0 or place - loud[n - 1] > 1600
    ]


def flashes(path: Path, start: float, seconds: float = 4.0) -> list[float]:
    """Seconds after the sound begins at which a flash is seen, by asking for every 10 ms."""
    times = np.arange(0, seconds, 0.01)
    with opened(path) as container:
        seen = Pictures(container, str(path), start=start, side=48).at(list(times))
    white = seen.mean(axis=(1, 2, 3)) > 150
    edges = np.flatnonzero(white & ~np.roll(white, 1))
    # Nearest to a time is the frame that is white from half a frame before its own time on.
    return [float(times[edge]) + FRAME_SECONDS / 2 for edge in edges]


@pytest.mark.parametrize("ending", sorted(CODECS))
def test_flash_and_click_are_at_one_time(ending, tmp_path):
    path = tmp_path / f"clip{ending}"
    write_video(path, flash_and_click((0.52, 2.12)))
    audio, start = decode_sound(path)
    # AVI has no times: its MP3 begins with the delay of the encoder.
    assert clicks(audio) == pytest.approx([0.52, 2.12], abs=FRAME_SECONDS)
    assert flashes(path, start) == pytest.approx(clicks(audio), abs=FRAME_SECONDS)
    # The last 50 ms are in the decoder until it is flushed.
    assert len(audio) / SAMPLE_RATE_HZ == pytest.approx(4.0, abs=0.05)
    assert sound_seconds(path) == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_file_that_does_not_begin_at_0(ending, tmp_path):
    path = tmp_path / f"late{ending}"
    write_video(path, flash_and_click((1.0,), start_seconds=7.0))
    audio, start = decode_sound(path)
    assert start == pytest.approx(7.0, abs=0.05)
    assert clicks(audio) == pytest.approx([1.0], abs=FRAME_SECONDS)
    assert flashes(path, start) == pytest.approx([1.0], abs=FRAME_SECONDS)


def test_frames_are_chosen_by_time_where_their_rate_varies(tmp_path):
    times = [0.0, 0.04, 0.08, 1.0, 1.5, 1.52, 3.0, 3.9]
    levels = [10, 40, 70, 100, 130, 160, 190, 220]
    pictures = np.stack([picture(level) for level in levels])
    path = tmp_path / "varied.mkv"
    write_video(path, VideoToWrite(pictures, times, noise(4.0), RATE_HZ))
    wanted = [0.07, 0.6, 1.3, 1.51, 2.2, 2.3, 3.97]
    expected = [levels[int(np.abs(np.array(times) - time).argmin())] for time in wanted]
    with opened(path) as container:
        seen = Pictures(container, str(path), start=0.0, side=48).at(wanted)
    np.testing.assert_allclose(seen.mean(axis=(1, 2, 3)), expected, atol=6)


def test_the_last_fifty_milliseconds_of_sound_are_there(tmp_path):
    waveform = np.zeros((1, 3 * RATE_HZ), np.float32)
    waveform[:, -1200:] = 0.5 * np.sin(np.arange(1200) * 0.3)  # The last 25 ms.
    video = plain(3.0)
    path = tmp_path / "end.mov"
    write_video(path, VideoToWrite(video.pictures, video.times, waveform, RATE_HZ))
    audio, _ = decode_sound(path)
    assert len(audio) == 3 * SAMPLE_RATE_HZ
    assert np.abs(audio[-400:].astype(int)).max() > 10000
    assert not np.abs(audio[:-800].astype(int)).max() > 100


def test_six_channels_are_averaged_as_those_of_all_recordings(tmp_path):
    waveform = noise(2.0, channels=6, seed=3)
    video = plain(2.0)
    path = tmp_path / "surround.mkv"  # FLAC keeps samples.
    write_video(path, VideoToWrite(video.pictures, video.times, waveform, RATE_HZ, layout="5.1"))
    audio, _ = decode_sound(path)
    from sepcon.audio.resampling import resampled

    expected = resampled(waveform.mean(axis=0), rate_hz=RATE_HZ, wanted_hz=SAMPLE_RATE_HZ)
    np.testing.assert_allclose(audio / 32768, expected, atol=2e-3)


def test_a_portrait_is_upright(tmp_path):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32], pixels[:, 32:] = LEFT, RIGHT
    path = tmp_path / "portrait.mp4"
    write_video(path, VideoToWrite(np.stack([pixels] * 10), np.arange(10) / 5, noise(2.0), RATE_HZ))
    turned(path)
    with opened(path) as container:
        (seen,) = Pictures(container, str(path), start=0.0, side=32).at([1.0])
    assert seen.shape == (43, 32, 3)  # 48 x 64 shrunk and turned.
    # Turned clockwise, what was left is above.
    np.testing.assert_allclose(seen[:10].mean(axis=(0, 1)), LEFT, atol=20)
    np.testing.assert_allclose(seen[-10:].mean(axis=(0, 1)), RIGHT, atol=20)


def test_tracks_of_unequal_length(tmp_path):
    video = plain(1.0)
    path = tmp_path / "unequal.mkv"
    write_video(path, VideoToWrite(video.pictures, video.times, noise(6.0), RATE_HZ))
    audio, start = decode_sound(path)
    assert len(audio) / SAMPLE_RATE_HZ == pytest.approx(6.0, abs=0.01)
    with opened(path) as container:
        pictures = Pictures(container, str(path), start=start, side=48)
        assert len(pictures.at([0.5, 1.5, 2.5, 3.5])) == 2  # The last frame is at 0.8.
        with pytest.raises(VideoError, match=r"has no picture at 4.50 to 5.50 s of its sound"):
            pictures.at([4.5, 5.5])


def test_a_hole_in_the_sound_is_silence(tmp_path):
    import av

    path, tone = tmp_path / "hole.mkv", 0.5 * np.sin(np.arange(4800) * 0.3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for start in (0, 2 * RATE_HZ):
            samples = (32767 * tone[np.newaxis]).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, start
            frame.time_base = Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    audio, _ = decode_sound(path)
    assert len(audio) / SAMPLE_RATE_HZ == pytest.approx(2.1, abs=0.002)
    assert clicks(audio) == pytest.approx([0.0, 2.0], abs=0.002)


def test_what_cannot_be_used_is_named(tmp_path):
    video = plain(2.0)
    write_video(tmp_path / "mute.mp4", VideoToWrite(video.pictures, video.times, None))
    with pytest.raises(VideoError, match=r"mute\.mp4: has no sound track") as caught:
        decode_sound(tmp_path / "mute.mp4")
    assert caught.value.kind == "no sound track"
    with pytest.raises(VideoError, match="no such file"):
        decode_sound(tmp_path / "gone.mp4")
