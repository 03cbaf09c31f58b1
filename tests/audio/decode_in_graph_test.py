"""What the graph hears is what `decode_file` hears, to the sample."""

import io
import itertools
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from sepcon.audio import decode_in_graph
from sepcon.audio.decode import decode_file
from sepcon.audio.decode_in_graph import is_plain_wav, tensorflow_io_works
from sepcon.errors import raised_in_graph

needs_tensorflow_io = pytest.mark.skipif(
    not tensorflow_io_works(),
    reason="needs TensorFlow 2.17 and tensorflow-io: tools/check.sh runs it in .venv-tfio",
)


def read_all(
    paths: list[Path], decode: Callable[[tf.Tensor], tf.Tensor] = decode_in_graph.decode_in_graph
) -> list[np.ndarray]:
    audio = tf.data.Dataset.from_tensor_slices([str(path) for path in paths]).map(decode)
    assert audio.element_spec == tf.TensorSpec([None], tf.int16)
    return list(audio.as_numpy_iterator())


def plain_wav(generator: np.random.Generator) -> bytes:
    channels, length = int(generator.integers(1, 3)), int(generator.integers(1, 3000))
    low, high = -32768, 32768
    if generator.random() < 0.5:
        low, high = -3, 4  # where halves are rounded
    samples = generator.integers(low, high, (length, channels)).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def with_another_number(wav: bytes, generator: np.random.Generator) -> bytes:
    """The file with one number of its header, or its length, a little or much off."""
    changed = bytearray(wav)
    what = int(generator.integers(10))
    width, place = [(4, 4), (4, 40), (2, 20), (2, 22), (4, 24), (2, 32), (2, 34), (4, 16)][what % 8]
    if what >= 8:
        return wav[: -int(generator.integers(1, 4))] if what == 8 else wav + b"\0" * 3
    format = "<I" if width == 4 else "<H"
    number = struct.unpack_from(format, changed, place)[0]
    other = [number + 1, number - 1, number + 44, 0, 2**31 - 1, 2**32 - 1, 0x7FFFF000]
    struct.pack_into(format, changed, place, other[int(generator.integers(7))] % 2 ** (8 * width))
    return bytes(changed)


@pytest.mark.skipif(find_spec("tensorflow_io") is None, reason="tensorflow-io is not installed")
def test_tensorflow_io_works_where_it_is_installed() -> None:
    """Else the tests of it would be skipped in the environment that is made for them."""
    assert tensorflow_io_works()


@needs_tensorflow_io
def test_thousands_of_plain_files_sound_the_same_in_tensorflow_io(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, expected = [], []
    for seed in range(2000):
        path = tmp_path / f"{seed}.wav"
        path.write_bytes(plain_wav(np.random.default_rng(seed)))
        assert is_plain_wav(path)
        paths.append(path)
        expected.append(decode_file(path))

    def refuse(path: bytes) -> np.ndarray:
        raise AssertionError(f"{path!r} did not go to tensorflow-io")

    monkeypatch.setattr(decode_in_graph, "_decode_path", refuse)
    for path, audio, samples in zip(paths, read_all(paths), expected, strict=True):
        np.testing.assert_array_equal(audio, samples, err_msg=str(path))


@needs_tensorflow_io
def test_thousands_of_almost_plain_files_sound_as_decode_file_hears_them(tmp_path: Path) -> None:
    """Also if they were plain when they were looked at, and have changed since."""
    paths, expected, plain = [], [], 0
    for seed in range(2000):
        generator = np.random.default_rng(seed)
        path = tmp_path / f"{seed}.wav"
        path.write_bytes(with_another_number(plain_wav(generator), generator))
        plain += is_plain_wav(path)
        try:
            expected.append(decode_file(path))
            paths.append(path)
        except Exception:
            path.unlink()
    assert plain < 200
    assert len(paths) > 500
    for decode in (decode_in_graph.decode_in_graph, decode_in_graph.decode_plain_wav):
        heard = read_all(paths, decode)
        for path, audio, samples in zip(paths, heard, expected, strict=True):
            np.testing.assert_array_equal(audio, samples, err_msg=str(path))


KINDS = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


def files_of_every_kind(folder: Path) -> dict[Path, tuple[str, str, int, int]]:
    """A file of each kind, with its kind, subtype, channels and rate."""
    files = {}
    for (kind, subtype), channels, rate_hz in itertools.product(KINDS, (1, 2, 3), (16000, 48000)):
        if kind == "MP3" and channels == 3:
            continue  # MP3 ends at two channels.
        path = folder / f"{kind}_{subtype}_{channels}_{rate_hz}"
        samples = np.random.default_rng(0).normal(0.0, 0.1, (9000, channels))
        soundfile.write(path, samples, rate_hz, format=kind, subtype=subtype)
        files[path] = (kind, subtype, channels, rate_hz)
    return files


@pytest.mark.parametrize("works", [True, False])
def test_every_kind_of_file_sounds_the_same_inside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    """All files go through one graph: making graphs is what takes the time."""
    if not works:
        monkeypatch.setattr(decode_in_graph, "tensorflow_io_works", lambda: False)
    files = files_of_every_kind(tmp_path)
    assert len(files) == 76
    for path, (kind, subtype, channels, rate_hz) in files.items():
        plain = (kind, subtype, rate_hz) == ("WAV", "PCM_16", 16000) and channels < 3
        assert is_plain_wav(path) == plain, path.name
    expected = [decode_file(path) for path in files]
    for decode in (decode_in_graph.decode_in_graph, decode_in_graph.decode_plain_wav):
        for path, audio, samples in zip(files, read_all([*files], decode), expected, strict=True):
            assert np.abs(samples.astype(int)).max() > 1000, path.name
            np.testing.assert_array_equal(audio, samples, err_msg=path.name)


@pytest.mark.parametrize("fault", ["missing", "not a number", "line\nbreak"])
def test_what_cannot_be_decoded_names_the_file(tmp_path: Path, fault: str) -> None:
    path = tmp_path / f"{fault}.wav"
    if fault != "missing":
        soundfile.write(path, np.full(100, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(tf.errors.OpError) as caught:
        read_all([path])
    error = raised_in_graph(caught.value)
    assert error is not None
    assert str(error).startswith(f"{path}: ")
    assert "Traceback" not in str(error)


def test_an_error_of_the_program_is_no_bad_input() -> None:
    assert raised_in_graph(ValueError("AudioError: no")) is None
    assert raised_in_graph(RuntimeError("TypeError: x\nTraceback (most recent call last):")) is None
