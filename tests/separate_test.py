"""Long recordings: windows put in order and faded so that the whole is what one window would be."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.errors import SepconError
from sepcon.models.separator import Separator, SeparatorConfig, save_separator_config
from sepcon.models.weights import state_folder, write_weights
from sepcon.separate import best_order, separate, separate_waveform

SMALL = SeparatorConfig(
    num_sources=2, bottleneck=4, conv_channels=4, num_repeats=1, num_dilations=1
)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 700), st.integers(2, 5), st.integers(0, 2**31 - 1))
def test_windows_in_any_order_come_out_as_the_whole(length, num_channels, seed):
    generator = np.random.default_rng(seed)
    sources = generator.standard_normal([num_channels, length]).astype(np.float32)
    mixture = sources.sum(axis=0)
    position = {mixture[start : start + 100].tobytes(): start for start in range(length)}
    first = []

    def separate_window(window):
        start = position[window.tobytes()]
        order = generator.permutation(num_channels) if first else np.arange(num_channels)
        first.append(start)
        return sources[order, start : start + len(window)]

    channels = separate_waveform(separate_window, mixture, window_samples=100)
    np.testing.assert_allclose(channels, sources, atol=1e-5)
    np.testing.assert_allclose(channels.sum(axis=0), mixture, atol=1e-4)


def test_order_by_trying_all():
    generator = np.random.default_rng(3)
    reference, estimate = generator.standard_normal([2, 4, 50])
    order = best_order(reference=reference, estimate=estimate)
    import itertools

    errors = {
        permutation: np.sum((reference - estimate[list(permutation)]) ** 2)
        for permutation in itertools.permutations(range(4))
    }
    assert tuple(order) == min(errors, key=errors.__getitem__)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "separator"
    folder.mkdir()
    save_separator_config(SMALL, folder)
    write_weights(Separator(SMALL), state_folder(folder, 7))
    return folder


def test_files_are_separated_and_bad_ones_named_and_counted(run, tmp_path, capsys):
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000)
    soundfile.write(sounds / "good.wav", noise, 16000)
    (sounds / "empty.wav").write_bytes(b"")
    (sounds / "text.flac").write_text("not a sound")
    out = tmp_path / "out"
    separate(run_dir=out, separator=str(run), files=[str(sounds)], window_seconds=1.0)
    captured = capsys.readouterr()
    assert "1 files, 2 skipped" in captured.out
    assert "empty.wav" in captured.err
    assert "text.flac" in captured.err
    tracks = [soundfile.read(out / "good.wav" / f"channel_{n}.flac")[0] for n in range(2)]
    np.testing.assert_allclose(np.sum(tracks, axis=0), noise, atol=3 / 32768)


def test_no_good_file_at_all(run, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(SepconError, match="none of the 1 files"):
        separate(run_dir=tmp_path / "o", separator=str(run), files=[str(tmp_path / "bad.wav")])


def test_nothing_to_separate(run, tmp_path):
    with pytest.raises(SepconError, match="nothing to separate"):
        separate(run_dir=tmp_path / "o", separator=str(run))


def test_a_state_that_is_not_there(run, tmp_path):
    with pytest.raises(SepconError, match="7"):
        separate(run_dir=tmp_path / "o", separator=str(run), step=3, files=["x.wav"])
