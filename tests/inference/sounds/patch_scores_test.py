"""A file in pieces has the patches, the times and the scores of the whole file at once."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from classifier_stub import write_classifier
from tones_stub import tone

from sepcon.audio.decode import decode_file
from sepcon.data.clips import to_float
from sepcon.errors import SepconError
from sepcon.inference.members import Member, load_members
from sepcon.inference.sounds import patch_scores
from sepcon.inference.sounds.patch_scores import PatchScorer, overlapping_pieces


@pytest.fixture(scope="module")
def members(tmp_path_factory) -> list[Member]:
    folder = tmp_path_factory.mktemp("classifiers")
    for name, certainty in (("one", 0.5), ("two", 1.0)):
        write_classifier(folder / name, certainty)
    return [*load_members(folder / "one"), *load_members(folder / "two")]


@pytest.mark.parametrize("num_samples", [0, 1, 9, 10, 11, 15, 16, 17, 40, 41, 47])
def test_pieces_overlap_and_leave_nothing_out(num_samples):
    whole = np.arange(num_samples, dtype=np.int16)
    blocks = np.split(whole, [n for n in (3, 4, 20, 33) if n < num_samples])
    pieces = list(overlapping_pieces(blocks, piece_samples=10, hop_samples=6))
    for number, (first, piece) in enumerate(pieces):
        assert first == 6 * number
        np.testing.assert_array_equal(piece, whole[first : first + len(piece)])
    assert all(len(piece) == 10 for _, piece in pieces[:-1])
    first, last = pieces[-1]
    assert first + len(last) == num_samples
    assert len(last) < 16
    assert len(last) >= 10 or len(pieces) == 1


def write_sound(path: Path, seconds: float, rate_hz: int) -> Path:
    """Tones one after the other, at two levels, in both channels."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    hz = np.array([300, 900, 2700])[(time / 0.7).astype(int) % 3]
    sound = 0.3 * np.sin(2 * np.pi * hz * time) * np.where(time < seconds / 2, 1.0, 0.01)
    soundfile.write(path, np.stack([sound, sound], axis=1), rate_hz)
    return path


@pytest.mark.parametrize(("seconds", "rate_hz"), [(5.03, 16000), (3.999, 44100), (0.1, 8000)])
def test_pieces_have_the_scores_of_the_whole(members, tmp_path, monkeypatch, seconds, rate_hz):
    path = write_sound(tmp_path / "x.wav", seconds, rate_hz)
    monkeypatch.setattr(patch_scores, "_PIECE_SECONDS", 0.6)
    told = []
    scores = PatchScorer(members).score(path, told.append)
    waveform = to_float(decode_file(path, 16000)).numpy()
    assert sum(told) == pytest.approx(len(waveform) / 16000) == pytest.approx(scores.seconds)
    assert (len(told) > 3) == (seconds > 1)
    for member, probabilities in zip(members, scores.probabilities, strict=True):
        expected = member.function(waveform)
        np.testing.assert_allclose(probabilities, expected["patch_probabilities"], atol=2e-5)
        np.testing.assert_allclose(scores.start_seconds, expected["patch_time_seconds"], atol=1e-5)
    for start, power in zip(scores.start_seconds, scores.power, strict=True):
        patch = waveform[round(16000 * start) :][:4000].astype(np.float64)
        assert power == pytest.approx(np.mean(patch**2), rel=1e-6)


def test_what_says_nothing_of_patches_or_hears_others_is_told(members, tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(0, 0), 16000)
    first = members[0]
    other = Member(first.function, 16000, first.class_names, {**first.card, "hop_seconds": 0.2})
    with pytest.raises(
        SepconError, match=r"0.25 s every 0.12 s at 16000 Hz and 0.25 s every 0.2 s"
    ):
        PatchScorer([first, other])
    early = Member(
        lambda waveform: {"probabilities": first.function(waveform)["probabilities"]},
        16000,
        first.class_names,
        first.card,
    )
    with pytest.raises(SepconError, match="export of an early version"):
        PatchScorer([early])
    bare = Member(first.function, 16000, first.class_names, {})
    with pytest.raises(SepconError, match="export of an early version"):
        PatchScorer([bare])
