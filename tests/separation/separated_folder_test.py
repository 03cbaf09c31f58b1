"""The output folder: places, records, and that a folder appears whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from sepcon.errors import SepconError, printable
from sepcon.runs.seals import SEALS_FILE
from sepcon.separation.separated_folder import (
    LIST_FILE,
    RECORD_FILE,
    SeparatedFolder,
    identity_of,
    is_output,
)

# What is said of a recording that was separated, beside who it is.
SOUND = {
    "sample_rate_hz": 16000,
    "averaged_channels": 1,
    "seconds": 1.0,
    "channels": ["channel_0.wav"],
}


def fill(folder, place, recording):
    with folder.filling(place) as scratch:
        (scratch / RECORD_FILE).write_text(json.dumps({**identity_of(recording), **SOUND}))
        (scratch / "channel_0.wav").write_bytes(b"one channel")


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    return path


def test_a_place_of_its_own_for_each(tmp_path):
    folder = SeparatedFolder(tmp_path / "out", {})
    name = Path("deep/x.wav")
    assert folder.place(Path("/1"), name) == name
    assert folder.place(Path("/1"), name) == name
    assert folder.place(Path("/2"), name) == Path("deep/x.wav (2)")
    assert folder.place(Path("/3"), Path("deep/X.wav")) == Path("deep/X.wav (3)")
    assert folder.place(Path("/4"), Path("x.wav")) == Path("x.wav")


@pytest.mark.parametrize("name", ["x" * 255, "ж" * 127, "日" * 85])
def test_a_number_behind_the_longest_name_fits(tmp_path, name):
    folder = SeparatedFolder(tmp_path / "out", {})
    places = [folder.place(Path(f"/{n}"), Path(name)) for n in range(12)]
    assert len(set(places)) == 12
    for place in places:
        (tmp_path / "out" / place).mkdir()
        assert str(place).isprintable()


def test_what_is_not_ours_keeps_its_place(tmp_path):
    (tmp_path / "out" / "x.wav").mkdir(parents=True)
    (tmp_path / "out" / "y.wav").symlink_to("nowhere")
    folder = SeparatedFolder(tmp_path / "out", {})
    assert folder.place(Path("/1"), Path("x.wav")) == Path("x.wav (2)")
    assert folder.place(Path("/2"), Path("y.wav")) == Path("y.wav (2)")


def test_a_record_is_that_of_the_recording_as_it_is(tmp_path, recording):
    folder = SeparatedFolder(tmp_path / "out", {})
    place = folder.place(recording, Path("a.wav"))
    assert folder.record(recording, place) is None
    fill(folder, place, recording)
    assert is_output(tmp_path / "out" / place)
    assert folder.record(recording, place) == {**identity_of(recording), **SOUND}
    text = (tmp_path / "out" / place / RECORD_FILE).read_text()
    for name in ("channels", "sample_rate_hz", "seconds"):
        (tmp_path / "out" / place / RECORD_FILE).write_text(text.replace(name, "other"))
        assert folder.record(recording, place) is None, name
    (tmp_path / "out" / place / RECORD_FILE).write_text(text)
    recording.write_bytes(b"more sound")
    assert folder.record(recording, place) is None
    fill(folder, place, recording)  # In place of the old one.
    assert folder.record(recording, place)["bytes"] == 10


CHANGES = {
    "a channel is gone": lambda place: (place / "channel_0.wav").unlink(),
    "a channel is cut": lambda place: (place / "channel_0.wav").write_bytes(b"one"),
    "a channel is another": lambda place: (place / "channel_0.wav").write_bytes(b"two channels"),
    "a digit of the record": lambda place: (place / RECORD_FILE).write_text(
        (place / RECORD_FILE).read_text().replace("16000", "16001")
    ),
    "the seals are damaged": lambda place: (place / SEALS_FILE).write_text("{"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_was_written_is_separated_again(tmp_path, recording, change):
    folder = SeparatedFolder(tmp_path / "out", {})
    place = folder.place(recording, Path("a.wav"))
    fill(folder, place, recording)
    assert folder.record(recording, place)["sample_rate_hz"] == 16000
    CHANGES[change](tmp_path / "out" / place)
    assert folder.record(recording, place) is None
    fill(folder, place, recording)
    assert folder.record(recording, place)["sample_rate_hz"] == 16000


def test_what_earlier_versions_have_separated_is_done(tmp_path, recording):
    folder = SeparatedFolder(tmp_path / "out", {})
    fill(folder, Path("a.wav"), recording)
    (tmp_path / "out/a.wav" / SEALS_FILE).unlink()
    assert folder.record(recording, Path("a.wav"))["channels"] == ["channel_0.wav"]


def test_a_folder_that_fails_is_not_seen(tmp_path, recording):
    folder = SeparatedFolder(tmp_path / "out", {})
    fill(folder, Path("a.wav"), recording)

    def fill_badly():
        with folder.filling(Path("a.wav")) as scratch:
            (scratch / "channel_0.wav").write_bytes(b"half")
            raise SepconError("bad")

    with pytest.raises(SepconError, match="bad"):
        fill_badly()
    names = sorted(path.name for path in (tmp_path / "out" / "a.wav").iterdir())
    assert names == ["channel_0.wav", RECORD_FILE, SEALS_FILE]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", LIST_FILE]


def test_the_list_keeps_what_is_there_and_who_made_it(tmp_path, recording):
    made_by = {"separator": "s", "window_seconds": 10.0}
    folder = SeparatedFolder(tmp_path / "out", made_by)
    fill(folder, Path("a.wav"), recording)
    done = {"recording": str(recording), "status": "done", "folder": "a.wav", **SOUND}
    gone = {"recording": "/gone", "status": "done", "folder": "gone.wav", **SOUND}
    failed = {"recording": "/bad", "status": "failed", "reason": "bad"}
    folder.write_list([done, gone, failed])
    later = SeparatedFolder(tmp_path / "out", made_by)
    assert later.write_list([{**failed, "recording": "/new"}]) == [
        done,
        {**failed, "recording": "/new"},
    ]
    with pytest.raises(SepconError, match="another separator"):
        SeparatedFolder(tmp_path / "out", {**made_by, "separator": "t"})
    (tmp_path / "file").write_text("")
    with pytest.raises(SepconError, match=r"file/out: cannot be written .*; give another --out"):
        SeparatedFolder(tmp_path / "file" / "out", made_by)


def test_names_that_no_terminal_should_see_are_escaped():
    name = os.fsdecode("日本 😀\n\x1b[1m\u202e".encode() + b"\xff")
    assert printable(name) == "日本 😀\\n\\x1b[1m\\u202e\\udcff"
