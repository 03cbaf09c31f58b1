import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.errors import SepconError
from sepcon.scenes import recipe as mixing
from sepcon.scenes.recipe import Mixer, Recordings, SceneRecipe

RECIPE = SceneRecipe(scene_seconds=0.5, num_train=10, num_validation=5, num_test=5)


def recordings(
    *, num_classes: int = 6, per_class: int = 10, folds: int = 0, seconds: float = 0.3
) -> Recordings:
    rng = np.random.default_rng(0)
    count = num_classes * per_class
    audio = []
    for _ in range(count):
        samples = np.zeros(round(seconds * 16000), np.int16)
        start = rng.integers(0, len(samples) // 2)
        stop = start + len(samples) // 4
        samples[start:stop] = rng.normal(0, 3000, stop - start).astype(np.int16)
        audio.append(samples)
    return Recordings(
        class_names=tuple(f"class{i}" for i in range(num_classes)),
        ids=tuple(f"clip{i}" for i in range(count)),
        groups=tuple(f"original{i // 2}" for i in range(count)),
        folds=tuple(i % folds + 1 if folds else 0 for i in range(count)),
        labels=tuple((i % num_classes,) for i in range(count)),
        audio=lambda number: audio[number],
    )


def active_rms(samples: np.ndarray) -> float:
    """RMS over 25 ms frames within 30 dB of the loudest, frame by frame."""
    powers = []
    for start in range(0, len(samples), 400):
        total = 0.0
        for sample in samples[start : start + 400]:
            total += (int(sample) / 32768) ** 2
        powers.append(total / 400)
    loud = [power for power in powers if power >= max(powers) / 1000]
    return float(np.sqrt(sum(loud) / len(loud)))


def test_activity_matches_a_transcription_with_loops() -> None:
    rng = np.random.default_rng(1)
    audio = np.zeros(4150, np.int16)
    audio[800:1700] = rng.integers(-9000, 9000, 900)
    audio[3000:3100] = 3  # 70 dB below: silence
    found = mixing.activity(audio)
    assert found is not None
    assert (found.start, found.stop) == (800, 2000)
    assert list(found.active) == [800, 1200, 1600]
    assert found.rms == pytest.approx(active_rms(audio), rel=1e-12)


def test_a_recording_of_zeros_has_no_activity() -> None:
    assert mixing.activity(np.zeros(900, np.int16)) is None
    assert mixing.activity(np.zeros(0, np.int16)) is None


@given(
    length=st.integers(1, 3000),
    scene=st.integers(1, 3000),
    share=st.floats(0.05, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_every_source_is_heard(length: int, scene: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    audio = np.zeros(length, np.int16)
    start = int(rng.integers(0, length))
    stop = int(rng.integers(start, length)) + 1
    audio[start:stop] = rng.integers(1, 20000, stop - start)
    found = mixing.activity(audio)
    assert found is not None
    onset = mixing.draw_onset(found, scene_samples=scene, visible_share=share, rng=rng)
    placed = mixing.place(audio, onset=onset, num_samples=scene)
    first, last = max(onset + found.start, 0), min(onset + found.stop, scene)
    part = found.stop - found.start
    assert last - first >= min(part, max(1, int(share * scene)))
    # An active frame is in the scene whole (or as much of it as the scene is long).
    whole = [
        a for a in found.active if a + onset >= 0 and min(a + 400, found.stop) + onset <= scene
    ]
    assert whole or scene < 400
    if scene >= 400:
        assert placed.any()
    # What is heard is the recording itself, moved.
    for place in (first, last - 1):
        assert placed[place] == audio[place - onset]


def test_onsets_are_spread_over_the_scene_even_for_recordings_of_its_length() -> None:
    found = mixing.activity(np.full(8000, 1000, np.int16))
    assert found is not None
    rng = np.random.default_rng(0)
    onsets = [
        mixing.draw_onset(found, scene_samples=8000, visible_share=0.6, rng=rng) for _ in range(500)
    ]
    assert min(onsets) < -2800
    assert max(onsets) > 2800
    assert all(abs(onset) <= 3200 for onset in onsets)
    whole = mixing.draw_onset(found, scene_samples=8000, visible_share=1.0, rng=rng)
    assert whole == 0


@given(scale=st.floats(0.001, 50.0), count=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_scene_is_the_exact_sum_of_its_sources_and_never_clips(
    scale: float, count: int, seed: int
) -> None:
    sources = np.random.default_rng(seed).normal(0, scale, (count, 200))
    mixture, rounded = mixing.add_up(sources)
    assert mixture.dtype == rounded.dtype == np.int16
    np.testing.assert_array_equal(rounded.astype(int).sum(axis=0), mixture)
    # The balance of the sources is kept: all are turned down by one factor.
    factor = min(1.0, 32000 / max(np.abs(sources).max(), np.abs(sources.sum(0)).max()) / 32768)
    np.testing.assert_allclose(rounded, sources * 32768 * factor, atol=0.51)


def test_a_scene_follows_the_recipe() -> None:
    mixer = Mixer(recordings(), RECIPE)
    counts = []
    for index in range(60):
        scene = mixer.scene("train", index)
        counts.append(len(scene.sources))
        assert scene.mixture.shape == (8000,)
        classes = [mixer.recordings.labels[number][0] for number in scene.recordings]
        assert len(set(classes)) == len(classes)
        assert scene.labels == tuple(sorted(classes))
        assert all(-5 <= gain <= 5 for gain in scene.gains_db)
        peak = np.abs(scene.mixture.astype(int)).max()
        for source, gain_db in zip(scene.sources, scene.gains_db, strict=True):
            assert np.abs(source.astype(int)).max() > 300
            if peak < 31990:  # not turned down: the level is as promised
                expected = 0.1 * 10 ** (gain_db / 20)
                assert active_rms(source) == pytest.approx(expected, rel=0.2)
    assert {1, 2, 3, 4} == set(counts)


def test_a_scene_depends_on_recipe_split_and_index_alone() -> None:
    first, second = Mixer(recordings(), RECIPE), Mixer(recordings(), RECIPE)
    backwards = {index: first.scene("train", index) for index in reversed(range(8))}
    for index in range(8):
        again = second.scene("train", index)
        np.testing.assert_array_equal(again.sources, backwards[index].sources)
    assert not np.array_equal(backwards[0].mixture, backwards[1].mixture)
    assert not np.array_equal(backwards[0].mixture, first.scene("test", 0).mixture)
    other = Mixer(recordings(), dataclasses.replace(RECIPE, seed=1))
    assert not np.array_equal(backwards[0].mixture, other.scene("train", 0).mixture)


@pytest.mark.parametrize("folds", [0, 4])
def test_splits_never_share_an_original(folds: int) -> None:
    source = recordings(folds=folds, per_class=20)
    splits = mixing.split_recordings(source, RECIPE)
    groups = [{source.groups[n] for n in np.flatnonzero(splits == number)} for number in range(3)]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    mixer = Mixer(source, RECIPE)
    for number, split in enumerate(mixing.SPLITS):
        for index in range(20):
            heard = mixer.scene(split, index).recordings
            assert all(splits[n] == number for n in heard)


def test_the_highest_fold_is_the_test_fold_and_leaks_are_left_out() -> None:
    source = recordings(folds=4, per_class=20)
    # Recordings 4 and 7 are cut from one original but lie in folds 1 and 4.
    groups = list(source.groups)
    groups[4] = groups[7] = "leak"
    source = dataclasses.replace(source, groups=tuple(groups))
    splits = mixing.split_recordings(source, RECIPE)
    test = [n for n, fold in enumerate(source.folds) if fold == 4]
    assert set(np.flatnonzero(splits == 2)) == set(test)
    assert splits[4] == -1
    # Pairs (2i, 2i + 1) share an original: in folds 3 and 4 they leak too.
    dropped = {
        n for n in range(len(groups)) if n not in test and groups[n] in {groups[t] for t in test}
    }
    assert set(np.flatnonzero(splits == -1)) == dropped
    asked = mixing.split_recordings(source, dataclasses.replace(RECIPE, test_fold=2))
    assert {source.folds[n] for n in np.flatnonzero(asked == 2)} == {2}


def test_validation_takes_its_share_of_every_class() -> None:
    source = recordings(per_class=40, num_classes=5)
    source = dataclasses.replace(source, groups=source.ids)
    splits = mixing.split_recordings(source, RECIPE)
    for label in range(5):
        mine = splits[[n for n, labels in enumerate(source.labels) if labels == (label,)]]
        assert np.sum(mine == 2) == 8
        assert np.sum(mine == 1) == 6  # 17 % of the 32 left, rounded up


def test_a_class_with_one_original_stays_in_training() -> None:
    source = recordings(num_classes=2, per_class=4)
    source = dataclasses.replace(source, groups=("a", "b", "a", "c", "a", "d", "a", "e"))
    splits = mixing.split_recordings(source, RECIPE)
    assert all(splits[[0, 2, 4, 6]] == 0)
    assert {0, 1, 2} == set(splits)


def test_an_unknown_test_fold_is_named() -> None:
    with pytest.raises(SepconError, match=r"test_fold is 9.*\[1, 2, 3\]"):
        Mixer(recordings(folds=3), dataclasses.replace(RECIPE, test_fold=9))


def test_a_split_without_recordings_is_named() -> None:
    source = recordings(num_classes=2, per_class=1)
    source = dataclasses.replace(source, groups=source.ids)
    with pytest.raises(SepconError, match="no recording is left for the test scenes"):
        Mixer(source, RECIPE).scene("test", 0)


def test_recordings_of_several_classes_share_none_within_a_scene() -> None:
    source = recordings(num_classes=5, per_class=20)
    labels = tuple((i % 5, (i + 1) % 5) for i in range(100))
    mixer = Mixer(dataclasses.replace(source, labels=labels), RECIPE)
    for index in range(40):
        scene = mixer.scene("train", index)
        classes = [label for n in scene.recordings for label in labels[n]]
        assert len(set(classes)) == len(classes)
        assert scene.labels == tuple(sorted(classes))


@pytest.mark.parametrize(
    "field, value",
    [
        ("max_sources", 0),
        ("gain_db", (5.0, -5.0)),
        ("visible_share", 0.0),
        ("num_test", -1),
        ("scene_seconds", 0.0),
        ("test_share", 1.0),
        ("source_rms", 0.0),
    ],
)
def test_a_bad_recipe_names_the_argument(field: str, value: object) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=f"SceneRecipe.{field}: got"):
        dataclasses.replace(RECIPE, **changes)
