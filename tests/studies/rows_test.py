"""Rows as gin binds them: entries, grids, folders, and names by pattern."""

import pytest

from sepcon.errors import SepconError
from sepcon.studies.rows import folder_name, matching, study_rows


def test_what_holds_an_equals_sign_is_a_binding():
    (row,) = study_rows({"a": ("views/x.gin", "X.y='a=b'", "models/z.gin", "STEPS=3")})
    assert row.gin_files == ("views/x.gin", "models/z.gin")
    assert row.gin_bindings == ("X.y='a=b'", "STEPS=3")


def test_a_single_entry_may_stand_by_itself():
    (row,) = study_rows({"a": "views/x.gin"})
    assert (row.gin_files, row.gin_bindings) == (("views/x.gin",), ())


def test_a_grid_has_a_row_for_each_combination_before_the_other_rows():
    grid = (
        {"mixture": "m.gin", "channel": ("c.gin", "C=1")},
        {"": (), "filtered": "f.gin"},
        {"": (), "long": "L=3"},
    )
    rows = study_rows({"last": ()}, grid)
    assert [(row.name, row.gin_files, row.gin_bindings) for row in rows] == [
        ("mixture", ("m.gin",), ()),
        ("channel", ("c.gin",), ("C=1",)),
        ("mixture, filtered", ("m.gin", "f.gin"), ()),
        ("channel, filtered", ("c.gin", "f.gin"), ("C=1",)),
        ("mixture, long", ("m.gin",), ("L=3",)),
        ("channel, long", ("c.gin",), ("C=1", "L=3")),
        ("mixture, filtered, long", ("m.gin", "f.gin"), ("L=3",)),
        ("channel, filtered, long", ("c.gin", "f.gin"), ("C=1", "L=3")),
        ("last", (), ()),
    ]


def test_a_row_of_the_grid_and_one_by_itself_do_not_share_a_name():
    with pytest.raises(SepconError, match="two rows have the name 'a'"):
        study_rows({"a": ()}, ({"a": ()},))


@pytest.mark.parametrize(
    "name, folder",
    [
        ("mixture-channel, random equalization", "mixture_channel_random_equalization"),
        ("all pairs, no SpecAugment", "all_pairs_no_specaugment"),
        ("  similarity + coincidence ", "similarity_coincidence"),
        ("Größe 2.5", "größe_2_5"),
        ("../up", "up"),
    ],
)
def test_folders_are_named_after_rows(name, folder):
    assert folder_name(name) == folder


def test_a_star_stands_for_any_text_and_names_keep_their_order():
    names = ("a", "a, b", "b", "b, c")
    assert matching("x", ("b*", "a"), names) == ("a", "b", "b, c")
    assert matching("x", "a", names) == ("a",)
