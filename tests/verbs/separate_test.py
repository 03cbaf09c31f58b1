"""Files in, channels out: any format, rate and name; resumed, replaced, and faults are told."""

import json
import os
import re
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
import soundfile
from separator_stub import write_separator_run

from sepcon import cli
from sepcon.errors import SepconError
from sepcon.separation.separated_folder import LIST_FILE, RECORD_FILE
from sepcon.verbs.export import export
from sepcon.verbs.separate import separate


def noise(seconds=1.2, rate_hz=16000, channels=1, seed=0):
    shape = (round(seconds * rate_hz), channels)
    return np.random.default_rng(seed).normal(0.0, 0.1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_separator_run(tmp_path_factory.mktemp("separator"), steps=(3, 7))


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    return folder


def channels_in(folder: Path) -> tuple[np.ndarray, int, list[str]]:
    names = json.loads((folder / RECORD_FILE).read_text())["channels"]
    tracks = [soundfile.read(os.fsencode(folder / name), dtype="float64") for name in names]
    return np.stack([track for track, _ in tracks]), tracks[0][1], names


def listed(out: Path) -> dict[str, dict]:
    content = json.loads((out / LIST_FILE).read_text())
    return {Path(entry["recording"]).name: entry for entry in content["recordings"]}


FILES = [
    ("mono.wav", "WAV", "PCM_16", 16000, 1),
    ("stereo.wav", "WAV", "FLOAT", 44100, 2),
    ("six.wav", "WAVEX", "PCM_24", 48000, 6),
    ("high.flac", "FLAC", "PCM_24", 192000, 1),
    ("odd.flac", "FLAC", "PCM_16", 8191, 2),
    ("speech.ogg", "OGG", "VORBIS", 22050, 2),
    ("song.mp3", "MP3", "MPEG_LAYER_III", 44100, 2),
    ("old.aiff", "AIFF", "PCM_16", 8000, 1),
    ("odd_and_high.aiff", "AIFF", "PCM_16", 96001, 1),
]


def test_any_format_rate_and_channel_count(run, sounds, tmp_path):
    for name, kind, subtype, rate, channels in FILES:
        audio = noise(1.2, rate, channels)
        soundfile.write(sounds / name, audio, rate, format=kind, subtype=subtype)
    out = tmp_path / "out"
    separate(run_dir=out, separator=run, files=[sounds], window_seconds=0.5)
    for name, _, _, rate, channels in FILES:
        tracks, rate_hz, names = channels_in(out / name)
        expected, _ = soundfile.read(sounds / name, dtype="float64", always_2d=True)
        assert rate_hz == rate
        # The endings of WAV and FLAC stay; a rate that FLAC does not have is WAV.
        ending = "wav" if name.endswith(".wav") or rate == 96001 else "flac"
        assert names == [f"channel_{n}.{ending}" for n in range(3)]
        assert np.abs(tracks).max(axis=1).all()
        np.testing.assert_allclose(tracks.sum(axis=0), expected.mean(axis=1), atol=1e-6)
        assert listed(out)[name]["averaged_channels"] == channels
        kind = soundfile.info(out / name / names[0]).subtype
        assert kind == ("FLOAT" if ending == "wav" else "PCM_24")


@pytest.mark.parametrize("rate", [16000, 44100])
def test_one_sample_is_a_recording(run, sounds, tmp_path, rate):
    soundfile.write(sounds / "x.wav", np.asarray([0.5]), rate)
    separate(run_dir=tmp_path / "out", separator=run, files=[sounds / "x.wav"])
    tracks, _, _ = channels_in(tmp_path / "out" / "x.wav")
    np.testing.assert_allclose(tracks.sum(axis=0), [0.5], atol=1e-6)
    assert (tmp_path / "out" / "report.html").is_file()


def test_floats_beyond_full_scale_stay_in_wav_and_are_told_in_flac(run, sounds, tmp_path, capsys):
    loud = 20 * noise(0.3)[:, 0]
    soundfile.write(sounds / "x.wav", loud, 16000, subtype="FLOAT")
    separate(run_dir=tmp_path / "wav", separator=run, files=[sounds])
    tracks, _, _ = channels_in(tmp_path / "wav" / "x.wav")
    np.testing.assert_allclose(tracks.sum(axis=0), loud, atol=1e-5)
    assert "beyond full scale" not in capsys.readouterr().err
    separate(run_dir=tmp_path / "flac", separator=run, files=[sounds], format="flac")
    held, _, names = channels_in(tmp_path / "flac" / "x.wav")
    assert names[0] == "channel_0.flac"
    np.testing.assert_allclose(held, np.clip(tracks, -1, 1), atol=2e-7)
    note = capsys.readouterr().err
    count = int(re.search(r"x\.wav: (\d+) samples .* --format=wav", note)[1])
    assert count == np.count_nonzero(np.abs(tracks) > 1)
    assert listed(tmp_path / "flac")["x.wav"]["clipped_samples"] == count


def test_names_do_not_collide(run, sounds, tmp_path):
    """The same name in two folders below, in two folders given, with two endings, given twice."""
    audio = noise(0.1)
    other = tmp_path / "other"
    places = ["x.wav", "x.flac", "a/x.wav", "b/x.wav", "a/X.wav"]
    for number, place in enumerate([*places, "../other/x.wav", "../other/a/x.wav"]):
        (sounds / place).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(sounds / place, audio * (number + 1) / 8, 16000)
    out = tmp_path / "out"
    for _ in range(2):  # The names are those of the first run.
        separate(run_dir=out, separator=run, files=[sounds, other, sounds / "x.wav"])
        entries = json.loads((out / LIST_FILE).read_text())["recordings"]
        folders = {entry["recording"]: entry["folder"] for entry in entries}
        assert len(folders) == 7
        assert len({folder.lower() for folder in folders.values()}) == 7
        assert folders[str(other / "x.wav")] == "x.wav (2)"
        assert folders[str(other / "a" / "x.wav")] == "a/x.wav (3)"
        for recording, folder in folders.items():
            expected, _ = soundfile.read(recording)
            tracks, _, _ = channels_in(out / folder)
            np.testing.assert_allclose(tracks.sum(axis=0), expected, atol=1e-6)
    # Given alone, each keeps the name it has.
    separate(run_dir=out, separator=run, files=[other])
    assert json.loads((out / LIST_FILE).read_text())["recordings"][-2:] == entries[-2:]


def test_a_second_run_does_what_is_left(run, sounds, tmp_path, capsys):
    for name in ("a.wav", "b.wav"):
        soundfile.write(sounds / name, noise(0.2), 16000)
    out = tmp_path / "out"
    separate(run_dir=out, separator=run, files=[sounds])
    before = {path: path.stat().st_mtime_ns for path in out.rglob("channel_*")}
    assert len(before) == 6
    soundfile.write(sounds / "c.wav", noise(0.2, seed=2), 16000)
    (out / ".unfinished" / "new").mkdir(parents=True)  # As a killed run leaves it.
    (out / ".unfinished" / "new" / "channel_0.wav").write_bytes(b"half")
    capsys.readouterr()
    separate(run_dir=out, separator=run, files=[sounds])
    assert "3 recordings separated (2 by an earlier run), 0 failed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (out / ".unfinished").exists()
    # A recording that has changed is separated anew; one alone leaves the others in the list.
    soundfile.write(sounds / "a.wav", noise(0.4, seed=3), 16000)
    separate(run_dir=out, separator=run, files=[sounds / "a.wav"])
    tracks, _, _ = channels_in(out / "a.wav")
    np.testing.assert_allclose(tracks.sum(axis=0), noise(0.4, seed=3)[:, 0], atol=1e-4)
    assert set(listed(out)) == {"a.wav", "b.wav", "c.wav"}


def test_output_inside_the_folder_is_not_separated_again(run, sounds, capsys):
    soundfile.write(sounds / "a.wav", noise(0.2), 16000)
    for _ in range(2):
        separate(run_dir=sounds, separator=run, files=[sounds])
        assert "1 recordings separated" in capsys.readouterr().out
        assert list(listed(sounds)) == ["a.wav"]
        # The name itself is that of the recording.
        assert listed(sounds)["a.wav"]["folder"] == "a.wav (2)"


def test_a_folder_of_another_separator_is_left_alone(run, sounds, tmp_path):
    soundfile.write(sounds / "a.wav", noise(0.2), 16000)
    separate(run_dir=tmp_path / "out", separator=run, files=[sounds])
    before = (tmp_path / "out" / LIST_FILE).read_text()
    for change in ({"step": 3}, {"format": "flac"}, {"window_seconds": 5.0}):
        with pytest.raises(SepconError, match="give another --out"):
            separate(run_dir=tmp_path / "out", separator=run, files=[sounds], **change)
    assert (tmp_path / "out" / LIST_FILE).read_text() == before


def test_an_export_goes_on_where_its_run_was(run, sounds, tmp_path, capsys):
    soundfile.write(sounds / "a.wav", noise(0.2), 16000)
    separate(run_dir=tmp_path / "out", separator=run, files=[sounds])
    saved_model = export(run_dir=tmp_path / "export", model=run)
    separate(run_dir=tmp_path / "out", separator=saved_model, files=[sounds])
    assert "(1 by an earlier run)" in capsys.readouterr().out


def test_an_interrupt_leaves_whole_folders_and_the_list(run, sounds, tmp_path, monkeypatch):
    from sepcon.separation import separate_files

    for name in ("a.wav", "b.wav"):
        soundfile.write(sounds / name, noise(0.2), 16000)

    class Interrupted(separate_files.TrackWriter):
        def write(self, tracks):
            super().write(tracks)
            if len(list(tmp_path.glob("out/*/recording.json"))) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(separate_files, "TrackWriter", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        separate(run_dir=tmp_path / "out", separator=run, files=[sounds])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", LIST_FILE]
    assert list(listed(tmp_path / "out")) == ["a.wav"]


def test_a_full_disk_ends_the_run_in_one_line(run, sounds, tmp_path, monkeypatch):
    for name in ("a.wav", "b.wav"):
        soundfile.write(sounds / name, noise(0.2), 16000)

    def fail(self, data):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    with pytest.raises(
        SepconError, match=r"out/a.wav: cannot be written .*MB are free there"
    ) as error:
        separate(run_dir=tmp_path / "out", separator=run, files=[sounds])
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [LIST_FILE]


def test_the_page_plays_what_is_there(run, sounds, tmp_path):
    for name in ("ä b#1.wav", "<b>.wav"):
        soundfile.write(sounds / name, noise(0.4), 16000)
    (sounds / "bad.wav").write_text("<i>")
    out = tmp_path / "out"
    separate(run_dir=out, separator=run, files=[sounds])
    page = (out / "report.html").read_text()
    links = re.findall(r'<audio [^>]*src="([^"]*)"', page)
    assert len(links) == 2 * 4
    for link in links:
        assert (out / urllib.parse.unquote(link)).is_file(), link
    assert page.count("data:image/png") == 8
    assert "&lt;b&gt;.wav" in page
    assert "<b>" not in page
    assert "bad.wav: is not audio" in page


def test_the_page_holds_recordings_that_browsers_do_not_play_or_find(run, sounds, tmp_path):
    soundfile.write(sounds / "a.aiff", noise(0.2), 96000)
    soundfile.write(sounds / "gone.wav", noise(0.2), 16000)
    separate(run_dir=tmp_path / "out", separator=run, files=[sounds])
    (sounds / "gone.wav").unlink()
    soundfile.write(sounds / "there.wav", noise(0.2), 16000)
    separate(run_dir=tmp_path / "out", separator=run, files=[sounds])
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("recording (its beginning)</span>") == 2
    assert page.count("data:audio/flac") == 2
    assert 'src="../sounds/there.wav"' in page


def test_without_the_libraries_of_the_page_there_are_channels(run, sounds, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    soundfile.write(sounds / "a.wav", noise(0.2), 16000)
    separate(run_dir=tmp_path / "out", separator=run, files=[sounds])
    assert (tmp_path / "out" / "a.wav" / "channel_0.wav").is_file()


def test_the_command_line_needs_no_gin_file(run, sounds, tmp_path, capsys):
    soundfile.write(sounds / "a.wav", noise(0.2), 16000)
    words = ["separate", str(sounds), "--separator", str(run), "--out", str(tmp_path / "out")]
    options = ["--step=3", "--format=flac", "--window_seconds=0.1"]
    assert cli.main([*words, *options]) == 0
    assert json.loads((tmp_path / "out" / LIST_FILE).read_text())["made_by"]["step"] == 3
    assert (tmp_path / "out" / "a.wav" / "channel_0.flac").is_file()
    # Flags come before what gin says.
    gin = ["--gin_file=runs/separate.gin", "--gin_bindings=SEPARATOR='nowhere'"]
    assert cli.main([*words, *options, *gin]) == 0
    assert "(1 by an earlier run)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, code, expected",
    [
        # The former name of the flag.
        (["--checkpoint=nowhere", "--out=OUT"], 1, "nowhere holds no separator: it is no folder"),
        (["--separator=RUN", "--out=OUT", "--format=ogg"], 2, "flag --format=ogg"),
        (["--separator=RUN", "--out=OUT", "--step=4"], 1, "no state of step 4; kept there: 3, 7"),
        (["--separator=nowhere", "--out=OUT"], 1, "nowhere holds no separator: it is no folder"),
        (["--separator=RUN", "--out=OUT", "--window_seconds=0"], 1, "window_seconds: got 0"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(run, tmp_path, capsys, words, code, expected):
    given = [word.replace("RUN", str(run)).replace("OUT", str(tmp_path / "o")) for word in words]
    assert cli.main(["separate", str(tmp_path), *given]) == code
    err = capsys.readouterr().err
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_no_good_file_at_all_is_an_error(run, sounds, tmp_path, capsys):
    (sounds / "bad.wav").write_bytes(b"RIFF")
    words = [str(sounds / "bad.wav"), "nowhere.wav", f"--separator={run}", f"--out={tmp_path}/o"]
    assert cli.main(["separate", *words]) == 1
    err = capsys.readouterr().err
    assert "none of 2 recordings could be separated" in err
    assert "nowhere.wav: no such file" in err
    assert {entry["status"] for entry in listed(tmp_path / "o").values()} == {"failed"}
    (tmp_path / "empty").mkdir()
    words = [str(tmp_path / "empty"), f"--separator={run}", f"--out={tmp_path}/p"]
    assert cli.main(["separate", *words]) == 1
    assert "empty: holds no audio" in capsys.readouterr().err


def test_nothing_to_separate(run, tmp_path):
    with pytest.raises(SepconError, match="nothing to separate"):
        separate(run_dir=tmp_path / "o", separator=run)
