"""Cross-validation's splits: nothing on two sides, classes shared out, few labels nested."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.data.clips import from_reader
from sepcon.data.folds import FoldedClips, split_fold
from sepcon.errors import SepconError

CLASSES = 4


def folded(seed: int = 0, num_folds: int = 4, per_class: int = 9) -> FoldedClips:
    """Originals of one to three clips each, a few of which lie in two folds."""
    rng = np.random.default_rng(seed)
    labels, folds, groups = [], [], []
    for label in range(CLASSES):
        for fold in range(1, num_folds + 1):
            for number in range(per_class):
                labels.append(label)
                folds.append(str(fold))
                own = f"{label}-{fold}-{number // rng.integers(1, 4)}"
                groups.append(f"{label}-shared" if rng.random() < 0.05 else own)
    clips = from_reader(
        name="toy",
        num_clips=len(labels),
        class_names=tuple("abcd"),
        clip_samples=10,
        read=lambda place: {"id": tf.strings.as_string(place)},
    )
    return FoldedClips(clips, np.array(labels), tuple(folds), tuple(groups))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.1, 0.25, 0.5]))
def test_no_original_is_on_two_sides(seed, share):
    clips = folded(seed)
    for fold in clips.fold_names:
        split = split_fold(clips, fold, validation_share=share, seed=seed)
        assert {clips.folds[place] for place in split.test} == {fold}
        sides = [{clips.groups[place] for place in part} for part in vars(split).values()]
        assert not (sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2])
        for label in range(CLASSES):
            train, validation, test = (
                np.sum(clips.labels[part] == label) for part in vars(split).values()
            )
            assert test == 9
            assert share * (train + validation) <= validation < train + validation


def test_every_clip_is_tested_once():
    clips = folded()
    tested = [split_fold(clips, fold, validation_share=0.2, seed=0).test for fold in "1234"]
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(clips.clips.num_clips))


def test_few_labels_are_among_more():
    clips = folded()

    def train(count, seed=0):
        split = split_fold(clips, "2", validation_share=0.2, seed=seed, labels_per_class=count)
        return set(split.train.tolist()), split.validation.tolist()

    every = train(None)
    for few, more in ((1, 2), (2, 8), (8, None)):
        assert train(few)[0] < train(more)[0]
        assert train(few)[1] == every[1]
    for count in (1, 8):
        kept = clips.labels[sorted(train(count)[0])]
        np.testing.assert_array_equal(np.bincount(kept), count)
    assert train(1000) == every
    assert train(4, seed=1)[0] != train(4)[0]
    assert train(4) == train(4)


def test_folds_are_ordered_as_numbers():
    labels = np.zeros(11, int)
    clips = from_reader(
        name="ten", num_clips=11, class_names=("a",), clip_samples=1, read=lambda place: {}
    )
    names = tuple(str(number) for number in range(11))
    assert FoldedClips(clips, labels, names, names).fold_names == names


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"fold": "9"}, "toy: has no fold 9, only 1, 2, 3, 4"),
        ({"validation_share": 1.0}, "validation_share: got 1.0"),
        ({"labels_per_class": 0}, "labels_per_class: got 0"),
    ],
)
def test_what_cannot_be_split(changes, message):
    arguments = {"fold": "1", "validation_share": 0.2, "seed": 0} | changes
    with pytest.raises(SepconError, match=message):
        split_fold(folded(), arguments.pop("fold"), **arguments)


def test_a_class_that_only_the_test_fold_has():
    clips = folded(num_folds=2)
    labels = clips.labels.copy()
    labels[np.array(clips.folds) == "1"] = np.maximum(labels[np.array(clips.folds) == "1"], 1)
    lonely = FoldedClips(clips.clips, labels, clips.folds, clips.groups)
    with pytest.raises(SepconError, match="toy: no clip of a is left to learn from"):
        split_fold(lonely, "2", validation_share=0.2, seed=0)


def test_lists_of_other_lengths():
    clips = folded()
    with pytest.raises(ValueError, match="as many as the 144 clips"):
        FoldedClips(clips.clips, clips.labels[1:], clips.folds, clips.groups)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_clips_that_are_left_out_move_no_other_clip(seed):
    clips = folded(seed)
    number = clips.clips.num_clips
    excluded = np.random.default_rng(seed).choice(number, 20, replace=False)
    without = dataclasses.replace(clips, excluded=excluded)
    for fold in clips.fold_names:
        before, after = (
            split_fold(each, fold, validation_share=0.25, seed=seed) for each in (clips, without)
        )
        for role in ("train", "validation", "test"):
            kept = np.setdiff1d(getattr(before, role), excluded)
            np.testing.assert_array_equal(getattr(after, role), kept)
        few = split_fold(without, fold, validation_share=0.25, seed=seed, labels_per_class=3)
        assert not np.isin(few.train, excluded).any()
        assert np.isin(few.train, before.train).all()
        assert [np.sum(clips.labels[few.train] == label) for label in range(CLASSES)] == [3] * 4
