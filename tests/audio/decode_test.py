import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from sepcon.audio import files as audio_file
from sepcon.audio.decode import DecodeReport, decode_blocks, decode_file
from sepcon.audio.files import open_audio, read_header
from sepcon.errors import SepconError


def sine(rate_hz: int, seconds: float = 0.5, frequency_hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def noise(num_samples: int = 3000, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (num_samples, channels))


# Format, subtype, and how far from the original a sample may be, as a share of full scale.
KINDS = [
    ("WAV", "PCM_U8", 0.02),
    ("WAV", "PCM_16", 1e-4),
    ("WAV", "PCM_24", 1e-4),
    ("WAV", "PCM_32", 1e-4),
    ("WAV", "FLOAT", 1e-4),
    ("WAV", "DOUBLE", 1e-4),
    ("WAVEX", "PCM_24", 1e-4),
    ("RF64", "PCM_16", 1e-4),
    ("AIFF", "PCM_16", 1e-4),
    ("FLAC", "PCM_S8", 0.02),
    ("FLAC", "PCM_16", 1e-4),
    ("FLAC", "PCM_24", 1e-4),
    ("OGG", "VORBIS", 0.03),
    ("OGG", "OPUS", 0.03),
    ("MP3", "MPEG_LAYER_III", 0.05),
]


@pytest.mark.parametrize("kind, subtype, tolerance", KINDS)
@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000, 96000, 192000])
def test_every_format_and_rate_gives_the_analytic_tone(
    tmp_path: Path, kind: str, subtype: str, tolerance: float, rate_hz: int
) -> None:
    if subtype == "MPEG_LAYER_III" and rate_hz > 48000:
        pytest.skip("MP3 ends at 48 kHz")
    if subtype == "OPUS" and rate_hz not in (8000, 16000, 48000):
        pytest.skip("Opus has five rates")
    path = tmp_path / "tone"
    stereo = np.stack([sine(rate_hz), 0.5 * sine(rate_hz)], axis=1)
    soundfile.write(path, stereo, rate_hz, format=kind, subtype=subtype)
    audio = decode_file(path)
    assert audio.dtype == np.int16
    assert audio.ndim == 1
    assert abs(len(audio) - 8000) <= 1
    expected = 0.75 * sine(16000)
    # The ends ring where the tone begins and stops.
    inside = slice(800, 7200)
    np.testing.assert_allclose(audio[inside] / 32768, expected[inside], atol=tolerance)


@pytest.mark.parametrize("kind, subtype", [("WAV", "PCM_16"), ("FLAC", "PCM_16")])
def test_16_bits_at_16_khz_pass_through_unchanged(tmp_path: Path, kind: str, subtype: str) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, 5000).astype(np.int16)
    samples[:2] = [-32768, 32767]
    soundfile.write(tmp_path / "x", samples, 16000, format=kind, subtype=subtype)
    np.testing.assert_array_equal(decode_file(tmp_path / "x"), samples)


@pytest.mark.parametrize("from_hz, to_hz", [(16000, 44100), (44100, 44100), (48000, 22050)])
def test_another_rate_than_the_usual_one(tmp_path: Path, from_hz: int, to_hz: int) -> None:
    time = np.arange(from_hz) / from_hz
    soundfile.write(tmp_path / "x.wav", 0.5 * np.sin(2 * np.pi * 1000 * time), from_hz)
    audio = decode_file(tmp_path / "x.wav", to_hz) / 32768
    assert len(audio) == to_hz
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(to_hz) / to_hz)
    middle = slice(to_hz // 4, -to_hz // 4)
    np.testing.assert_allclose(audio[middle], expected[middle], atol=1e-3)


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.asarray([[100, 200, 600, 900], [1, 2, 3, 4], [-5, -5, -5, -6]], np.int16)
    soundfile.write(tmp_path / "x.wav", channels, 16000)
    # Halves go to the even neighbour.
    assert decode_file(tmp_path / "x.wav").tolist() == [450, 2, -5]


def test_floats_beyond_full_scale_are_held_at_the_rails(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.asarray([2.0, -3.0, 0.5]), 16000, subtype="FLOAT")
    assert decode_file(tmp_path / "x.wav").tolist() == [32767, -32768, 16384]


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 192000])
def test_blocks_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate_hz: int
) -> None:
    samples = noise(20000)[:, 0].astype(np.float32)
    soundfile.write(tmp_path / "x.wav", samples, rate_hz, subtype="FLOAT")
    expected = np.rint(soxr.resample(samples, rate_hz, 16000, quality="HQ") * 32768)
    monkeypatch.setattr(audio_file, "_BLOCK_FRAMES", 777)
    audio = decode_file(tmp_path / "x.wav")
    assert abs(len(audio) - 20000 * 16000 / rate_hz) <= 1
    np.testing.assert_allclose(audio, expected[: len(audio)], atol=1)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 192000])
@pytest.mark.parametrize("length", [1, 2, 5, 50])
def test_the_shortest_files_decode(tmp_path: Path, rate_hz: int, length: int) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(length, 0.5), rate_hz)
    audio = decode_file(tmp_path / "x.wav")
    assert max(1, length * 16000 // rate_hz) <= len(audio) <= -(-length * 16000 // rate_hz)
    assert audio.any()


def test_memory_stays_that_of_the_result(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "x.flac", "w", 192000, 2, "PCM_16") as file:
        second = np.tile((sine(192000, 1.0) * 20000).astype(np.int16)[:, None], (1, 2))
        for _ in range(60):
            file.write(second)
    tracemalloc.start()
    audio = decode_file(tmp_path / "x.flac")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(audio) == 60 * 16000
    # Two copies of the result and some blocks; the file decoded whole would be 92 MB of float32.
    assert peak < 2 * audio.nbytes + 4_000_000


def damage(change: Callable[[bytearray], bytes | bytearray]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        path.write_bytes(bytes(change(bytearray(path.read_bytes()))))

    return apply


def claim_frames(data: bytearray) -> bytearray:
    """Makes the FLAC header claim 2^36 - 1 samples."""
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    return data


FAULTS = [
    ("wav", damage(lambda data: data[: len(data) // 2]), "is cut off"),
    ("ogg", damage(lambda data: data[: len(data) // 2]), "is cut off"),
    ("ogg", damage(lambda data: data[:-1]), "is cut off"),
    ("flac", damage(lambda data: data[: len(data) // 2]), "is damaged near sample"),
    ("mp3", damage(lambda data: data[: len(data) // 2]), "is cut off, its header claims"),
    ("aiff", damage(lambda data: data[: len(data) // 2]), "is cut off"),
    ("au", damage(lambda data: data[: len(data) // 2]), "is cut off"),
    ("rf64", damage(lambda data: data[: len(data) // 2]), "is cut off"),
    ("w64", damage(lambda data: data[: len(data) // 2]), "is cut off"),
    ("caf", damage(lambda data: data[: len(data) // 2]), "is cut off"),
    ("wav", damage(lambda data: data[:20]), "is cut off, it ends before the audio begins"),
    ("wav", damage(lambda data: b""), r"is empty \(0 bytes\)"),
    (
        "wav",
        damage(lambda data: b"These are my notes.\n" * 50),
        "is not audio that libsndfile knows",
    ),
    ("flac", damage(claim_frames), "claims 68719476735 samples, expected at most 12 hours"),
    ("wav", damage(lambda data: data[:44]), "is cut off|holds no samples"),
    (
        "wav",
        damage(lambda data: data[:24] + b"\x01\0\0\0" + data[28:]),
        "claims a sample rate of 1 Hz",
    ),
    (
        "wav",
        damage(lambda data: data[:24] + (4_000_000_000).to_bytes(4, "little") + data[28:]),
        "its header is damaged, or claims an impossible sample rate",
    ),
]


@pytest.mark.parametrize("ending, apply, message", FAULTS)
def test_a_damaged_file_is_refused_in_one_line_that_names_it(
    tmp_path: Path, ending: str, apply: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / f"x.{ending}"
    soundfile.write(path, noise(80000), 16000)
    apply(path)
    with pytest.raises(SepconError, match=message) as caught:
        decode_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["WAV", "AU"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_either_order_of_bytes_tells_a_cut(tmp_path: Path, format: str, endian: str) -> None:
    path = tmp_path / "x"
    soundfile.write(path, noise(5000), 16000, format=format, endian=endian)
    assert len(decode_file(path)) == 5000
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SepconError, match="claims 10000 bytes of audio, but 200 are missing"):
        decode_file(path)


@pytest.mark.parametrize("ending", ["aiff", "au", "caf", "rf64", "w64", "mp3", "ogg"])
def test_whole_files_are_not_taken_for_cut_ones(tmp_path: Path, ending: str) -> None:
    soundfile.write(tmp_path / f"x.{ending}", noise(5000), 16000)
    assert len(decode_file(tmp_path / f"x.{ending}")) >= 5000


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match="no such file"):
        decode_file(tmp_path / "none.wav")
    with pytest.raises(SepconError, match="is a folder"):
        decode_file(tmp_path)


def test_links_to_nowhere_pipes_and_devices_are_named(tmp_path: Path) -> None:
    (tmp_path / "gone.wav").symlink_to("nothing")
    (tmp_path / "self.wav").symlink_to("self.wav")
    for name in ("gone.wav", "self.wav"):
        with pytest.raises(SepconError, match="is a link that leads nowhere"):
            decode_file(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero")):
        with pytest.raises(SepconError, match="is a pipe or a device"):
            decode_file(path)


def test_a_name_that_is_no_valid_utf8_decodes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.wav")
    soundfile.write(os.fsencode(path), noise(10), 16000, format="WAV")
    assert len(decode_file(path)) == 10


def test_open_audio_gives_mono_blocks_at_the_rate_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = noise(3000, 2)
    soundfile.write(tmp_path / "x.wav", 20 * samples, 44100, subtype="FLOAT")
    monkeypatch.setattr(audio_file, "_BLOCK_FRAMES", 777)
    with open_audio(tmp_path / "x.wav") as (header, blocks):
        assert (header.rate_hz, header.num_channels, header.num_frames) == (44100, 2, 3000)
        assert header.container == "WAV"
        parts = list(blocks)
    assert [len(part) for part in parts] == [777, 777, 777, 669]
    np.testing.assert_allclose(np.concatenate(parts), 20 * samples.mean(axis=1), atol=1e-6)


def test_what_is_read_at_a_time_is_bounded_in_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros((3000, 1000), np.int16), 16000)
    with open_audio(tmp_path / "x.wav") as (_, blocks):
        assert [len(block) for block in blocks] == [1048, 1048, 904]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    samples = noise(70000, 2)
    samples[66000, 1] = value
    soundfile.write(tmp_path / "x.wav", samples, 44100, subtype="FLOAT")
    with pytest.raises(SepconError, match="sample 66000 is not a number"):
        decode_file(tmp_path / "x.wav")


@pytest.mark.parametrize("size", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_a_stream_of_unknown_length_decodes(tmp_path: Path, size: bytes) -> None:
    """What programs write into a pipe: the length in the header is left open."""
    flac = tmp_path / "x.flac"
    soundfile.write(flac, noise(5000), 16000)
    whole = decode_file(flac)
    data = bytearray(flac.read_bytes())
    data[21] &= 0xF0
    data[22:26] = b"\0\0\0\0"
    flac.write_bytes(data)
    np.testing.assert_array_equal(decode_file(flac), whole)
    wav = tmp_path / "x.wav"
    soundfile.write(wav, noise(5000), 16000)
    whole = decode_file(wav)
    data = bytearray(wav.read_bytes())
    data[40:44] = size
    wav.write_bytes(data)
    data[4:8] = size
    wav.write_bytes(data)
    np.testing.assert_array_equal(decode_file(wav), whole)


def test_sloppy_sizes_are_not_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(5000), 16000)
    whole = decode_file(path)
    data = bytearray(path.read_bytes())
    data[40:44] = (10044).to_bytes(4, "little")  # the header counted in
    path.write_bytes(data)
    np.testing.assert_array_equal(decode_file(path), whole)


def test_a_header_says_what_was_written(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", noise(500, 2), 44100, subtype="PCM_24")
    header = read_header(tmp_path / "x.flac")
    assert (header.container, header.subtype) == ("FLAC", "PCM_24")
    assert (header.rate_hz, header.num_channels, header.num_frames) == (44100, 2, 500)
    assert header.plays_in_browsers
    soundfile.write(tmp_path / "x.aiff", noise(500), 44100)
    assert not read_header(tmp_path / "x.aiff").plays_in_browsers


def test_the_report_counts_names_and_stops(tmp_path: Path) -> None:
    report = DecodeReport()
    for number in range(7):
        soundfile.write(tmp_path / f"{number}.wav", noise(100), 16000)
        assert report.decode(tmp_path / f"{number}.wav") is not None
    soundfile.write(tmp_path / "zero.wav", np.zeros(100), 16000)
    assert report.decode(tmp_path / "zero.wav") is None
    for name in ("a", "b"):
        assert report.decode(tmp_path / name) is None
    assert (report.decoded, len(report.failures), len(report.silent)) == (7, 2, 1)
    report.check_share(0.2)
    with pytest.raises(SepconError, match=r"2 of 10 files cannot be decoded.*0\.19.*/a: no such"):
        report.check_share(0.19)
    summary = report.summary()
    assert summary.startswith("7 files decoded, 2 undecodable skipped (")
    assert "1 silent skipped" in summary
    only_silent = DecodeReport(silent=["x"])
    with pytest.raises(SepconError, match="all of 1 files are silent"):
        only_silent.check_share(1.0)


@pytest.mark.parametrize("num_samples", [1, 2, 700_000])
def test_blocks_are_the_file_in_parts(tmp_path: Path, num_samples: int):
    soundfile.write(tmp_path / "x.wav", noise(num_samples, 2), 44100)
    blocks = list(decode_blocks(tmp_path / "x.wav", 8000))
    assert max(map(len, blocks)) < 60_000
    np.testing.assert_array_equal(np.concatenate(blocks), decode_file(tmp_path / "x.wav", 8000))
    assert sum(map(len, blocks)) == max(1, round(num_samples * 8000 / 44100))
