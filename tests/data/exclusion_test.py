"""Clips that are left out by name."""

import pytest

from sepcon.data.label_tables.exclusion import excluded_names, excluded_positions
from sepcon.errors import SepconError

NAMES = [("a/1.wav",), ("a/2.wav",), ("b/1.wav",), ("yt3", "part.parquet#7")]


@pytest.mark.parametrize(
    ("exclude", "positions"),
    [
        ((), set()),
        ("", set()),
        (("a/1.wav",), {0}),
        (("2.wav", "./b/1.wav"), {1, 2}),
        (("yt3",), {3}),
        (("part.parquet#7",), {3}),
        (("a/1.wav", "a/1.wav"), {0}),
    ],
)
def test_names_and_their_ends_are_found(exclude, positions):
    assert excluded_positions(exclude, NAMES, of="clips") == positions


def test_names_that_match_nothing_are_told(capsys):
    excluded_positions(("a/1.wav", "c.wav", "d\n.wav"), NAMES, of="/x")
    told = capsys.readouterr().err
    assert told == (
        "sepcon: /x: 1 clips are left out by name; 2 names match no clip: 'c.wav', 'd\\n.wav'\n"
    )


def test_an_unclear_name_is_refused():
    with pytest.raises(SepconError, match=r"'1.wav' may be any of 2 clips of clips; give it with"):
        excluded_positions(("1.wav",), NAMES, of="clips")


def test_all_clips_cannot_be_left_out():
    with pytest.raises(SepconError, match="no clip of clips is left"):
        excluded_positions(("a/1.wav", "2.wav", "b/1.wav", "yt3"), NAMES, of="clips")


@pytest.mark.parametrize(
    "text",
    [
        "a/1.wav\nyt3\n",
        "\n# why\na/1.wav\n\n  yt3 \n",
        "filename,reason\na/1.wav,noise\nyt3,speech\n",
        '\ufeffid\n"a/1.wav"\nyt3',
    ],
)
def test_a_file_has_a_name_in_each_line(tmp_path, text):
    (tmp_path / "excluded.csv").write_text(text)
    assert excluded_names(str(tmp_path / "excluded.csv")) == ["a/1.wav", "yt3"]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SepconError, match=r"excluded.csv: cannot be read \(No such file"):
        excluded_names(tmp_path / "excluded.csv")
