"""Files in; tables, labels and a page out, of a separator that splits the sound into bands."""

import csv
import html
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from classifier_stub import write_classifier

from sepcon.errors import SepconError
from sepcon.inference.members import Member, load_members
from sepcon.inference.sounds.hear_files import hear_files
from sepcon.inference.sounds.label_files import AUDACITY_FILE, RAVEN_FILE
from sepcon.inference.sounds.patch_scores import PatchScorer
from sepcon.inference.sounds.segments import SegmentRule
from sepcon.separation import page as separation_page
from sepcon.separation.recording_separator import RecordingSeparator

ODD_NAMES = ("low\tend\n</td>", 'mid, "dle"', "höch<b>\u2028")


def split_bands(mixtures: tf.Tensor) -> dict[str, tf.Tensor]:
    """Channels below 600 Hz, from there to 1800 Hz, and above, at 8 kHz."""
    spectrum = tf.signal.rfft(mixtures)
    hz = tf.linspace(0.0, 4000.0, tf.shape(spectrum)[1])
    bands = [(0.0, 600.0), (600.0, 1800.0), (1800.0, 4001.0)]
    masks = tf.stack([tf.cast((hz >= low) & (hz < high), tf.complex64) for low, high in bands])
    length = tf.shape(mixtures)[1:]
    return {"sources": tf.signal.irfft(spectrum[:, tf.newaxis] * masks, length)}


# Of another rate than the classifier, and in windows shorter than the recordings.
SEPARATOR = RecordingSeparator(split_bands, 8000, 3, 0, "bands", window_seconds=1.0)


def scorer_of(folder: Path, class_names: tuple[str, ...] | None = None) -> PatchScorer:
    (member,) = load_members(folder)
    if class_names:
        member = Member(member.function, member.sample_rate_hz, class_names, member.card)
    return PatchScorer([member])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    write_classifier(folder, 5.0)
    return folder


def hear(files, out, scorer, **settings):
    return hear_files(
        files,
        out=out,
        separator=SEPARATOR,
        format="same",
        scorer=scorer,
        rule=SegmentRule(**settings),
        top=2,
    )


def write_mixture(path: Path, *, rate_hz: int = 44100) -> None:
    """A low tone from 0 to 2 s, a high one from 1 to 3 s, in stereo."""
    time = np.arange(3 * rate_hz) / rate_hz
    low = 0.3 * np.sin(2 * np.pi * 300 * time) * (time < 2)
    high = 0.1 * np.sin(2 * np.pi * 2700 * time) * (time >= 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([low + high, low + high], axis=1), rate_hz)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(newline="")))


def test_each_channel_has_its_class_at_its_time_and_the_silent_one_is_left_out(
    classifier, tmp_path, capsys, monkeypatch
):
    write_mixture(tmp_path / "in" / "x.wav")
    out = tmp_path / "out"
    hear([tmp_path / "in"], out, scorer_of(classifier))
    rows = rows_of(out / "sounds.csv")
    assert {row["file"] for row in rows} == {str(tmp_path / "in" / "x.wav")}
    times = {
        row["channel"]: (row["class"], float(row["start_seconds"]), float(row["end_seconds"]))
        for row in rows
        if row["channel"] != "mixture"
    }
    assert len(times) == len(rows) - sum(row["channel"] == "mixture" for row in rows) == 2
    # A patch is 0.25 s long: no time is known better than to half of it.
    for channel, expected in {"channel_0": ("low", 0, 2), "channel_2": ("high", 1, 3)}.items():
        assert times[channel][0] == expected[0]
        assert times[channel][1:] == pytest.approx(expected[1:], abs=0.13)
    mixture = [row for row in rows if row["channel"] == "mixture"]
    assert mixture[0]["class"] == "low"
    assert (mixture[-1]["class"], float(mixture[-1]["end_seconds"])) == ("high", 3.0)
    channels = {row["channel"]: row for row in rows_of(out / "channels.csv")}
    assert {name: row["left_out"] for name, row in channels.items()} == {
        "mixture": "no",
        "channel_0": "no",
        "channel_1": "yes",
        "channel_2": "no",
    }
    assert channels["channel_1"]["class_1"] == ""
    assert channels["channel_2"]["class_1"] == "high"
    assert float(channels["channel_0"]["level_db"]) == 0.0
    assert float(channels["channel_2"]["level_db"]) == pytest.approx(-9.5, abs=0.2)
    told = capsys.readouterr().out
    assert re.search(r"x\.wav channel_1: left out: level -\d+\.\d dB, too quiet \(below -30", told)
    assert re.search(r"x\.wav channel_0: low \d\.\d\d \(0\.0 to [12]\.\d s\); level 0\.0 dB", told)
    assert "1 recordings classified, 0 failed; " in told
    assert "1 of 3 channels left out" in told
    # With less asked of it, nothing is left out; and the page links to what it does not show whole.
    monkeypatch.setattr(separation_page, "_SHOWN_SECONDS", 2.0)
    again = hear([tmp_path / "in"], out, scorer_of(classifier), min_level_db=-150.0)
    assert again[0].num_left_out == 0
    assert "(1 by an earlier run)" in capsys.readouterr().out
    page = (out / "report.html").read_text()
    sounds = re.findall(r'<audio [^>]*src="([^"]*)"', page)
    assert sounds == ["../in/x.wav", *(f"x.wav/channel_{number}.wav" for number in range(3))]
    spans = re.findall(r'style="left: ([\d.]+)%; width: ([\d.]+)%" title="(\w+)', page)
    assert ("0.000", "100.000", "low") in spans
    assert all(float(left) + float(width) <= 100.01 for left, width, _ in spans)


def test_label_files_and_page_bear_any_name(classifier, tmp_path):
    """Class names with tabs, lines, commas, quotes, tags and letters beyond ASCII."""
    for name in ("a/x.wav", "b/x.wav", "<i>.flac"):
        write_mixture(tmp_path / name, rate_hz=22050)
    out = tmp_path / "out"
    scorer = scorer_of(classifier, ODD_NAMES)
    heard = hear([tmp_path / "a", tmp_path / "b", tmp_path / "<i>.flac"], out, scorer)
    assert [each.folder for each in heard] == [out / "x.wav", out / "x.wav (2)", out / "<i>.flac"]
    escaped = ("low\\tend\\n</td>", 'mid, "dle"', "höch<b>\\u2028")
    assert {row["class"] for row in rows_of(out / "sounds.csv")} <= set(escaped)
    for recording in heard:
        segments = [(track.name, each) for track in recording.tracks for each in track.segments]
        assert len(segments) >= 4
        lines = (recording.folder / AUDACITY_FILE).read_text(encoding="utf-8").splitlines()
        labels = [line.split("\t") for line in lines]
        assert len(labels) == len(segments)
        table = (recording.folder / RAVEN_FILE).read_text(encoding="utf-8")
        selections = list(
            csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE)
        )
        assert len(selections) == len(segments)
        head = "Selection View Channel Begin_Time_(s) End_Time_(s) Low_Freq_(Hz) High_Freq_(Hz)"
        assert [name.replace(" ", "_") for name in selections[0]][:7] == head.split()
        for number, (label, selection, (track, each)) in enumerate(
            zip(labels, selections, segments, strict=True), start=1
        ):
            name = escaped[ODD_NAMES.index(each.class_name)]
            start, end, text = label
            assert (float(start), float(end)) == pytest.approx(
                (each.start_seconds, each.end_seconds), abs=1e-6
            )
            assert text == f"{track}: {name} {each.probability:.2f}"
            assert selection["Selection"] == str(number)
            assert selection["Channel"] == "1"
            assert float(selection["Begin Time (s)"]) == float(start)
            assert float(selection["End Time (s)"]) == float(end)
            assert float(selection["High Freq (Hz)"]) == 11025.0
            assert (selection["Separated Channel"], selection["Class"]) == (track, name)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "<i>" not in page
    assert "</td>" not in page
    # Each picture is described, each sound is in the page itself, each span lies on the picture.
    described = [html.unescape(text) for text in re.findall(r'<img alt="([^"]*)"', page)]
    assert len(described) == 3 * 4
    assert any(re.match(r"spectrogram of channel_2: höch<b>.* \d\.\d\d \(", t) for t in described)
    assert page.count('src="data:audio/flac') == 12
    spans = re.findall(r'style="left: ([\d.]+)%; width: ([\d.]+)%"', page)
    assert len(spans) == sum(each.num_segments for each in heard)
    assert all(float(left) >= 0 and float(left) + float(width) <= 100.01 for left, width in spans)


def test_silence_a_sample_and_files_that_are_none(classifier, tmp_path, capsys):
    folder = tmp_path / "in"
    write_mixture(folder / "x.wav", rate_hz=16000)
    soundfile.write(folder / "silent.flac", np.zeros(9000), 16000)
    soundfile.write(folder / "sample.wav", np.array([0.5]), 44100)
    (folder / "none.wav").write_bytes(b"RIFF is not enough")
    out = tmp_path / "out"
    heard = hear([folder], out, scorer_of(classifier))
    assert [Path(each.path).name for each in heard] == ["sample.wav", "silent.flac", "x.wav"]
    output = capsys.readouterr()
    assert "silent.flac channel_0: left out: silent" in output.out
    assert "3 recordings classified, 1 failed" in output.out
    assert re.search(r"sepcon: skipped .*none\.wav: ", output.err)
    rows = {(Path(r["file"]).name, r["channel"]): r for r in rows_of(out / "channels.csv")}
    assert rows["silent.flac", "mixture"]["left_out"] == "yes"
    assert rows["silent.flac", "mixture"]["level_db"] == "-inf"
    assert rows["sample.wav", "mixture"]["left_out"] == "no"
    assert {Path(row["file"]).name for row in rows_of(out / "sounds.csv")} >= {"x.wav"}
    assert "none.wav: " in (out / "report.html").read_text()


def test_a_channel_that_is_lost_between_costs_its_recording_alone(
    classifier, tmp_path, monkeypatch
):
    for name in ("x.wav", "y.wav"):
        write_mixture(tmp_path / "in" / name, rate_hz=8000)
    scorer = scorer_of(classifier)
    score = scorer.score

    def lose(path, on_seconds):
        if Path(path).parts[-2:] == ("y.wav", "channel_1.wav"):
            path.unlink()
        return score(path, on_seconds)

    monkeypatch.setattr(scorer, "score", lose)
    heard = hear([tmp_path / "in"], tmp_path / "out", scorer)
    assert [Path(each.path).name for each in heard] == ["x.wav"]
    (tmp_path / "in" / "x.wav").unlink()
    with pytest.raises(SepconError, match="none of 1 recordings could be classified"):
        hear([tmp_path / "in"], tmp_path / "out", scorer)
