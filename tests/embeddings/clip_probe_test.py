"""The linear probe on clean clips: accuracy by scikit-learn, and where the clips come from."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
from esc50_stub import tone, write_esc50
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import StandardScaler

from sepcon.embeddings.clip_probe import CLIP_PROBE, probe_clips
from sepcon.embeddings.shallow import train_shallow_classifier
from sepcon.embeddings.store import Embeddings
from sepcon.errors import SepconError
from sepcon.scenes.clips import scene_clips
from sepcon.scenes.prepared_scenes import sound_scenes
from sepcon.scenes.recipe import SceneRecipe, activity

RECIPE = SceneRecipe(
    scene_seconds=0.25, num_train=30, num_validation=20, num_test=20, synthetic_clips_per_class=4
)


def embedded(count: int, seed: int, several: bool = False) -> Embeddings:
    """Five classes that overlap, in eight dimensions of different scales."""
    random = np.random.default_rng(seed)
    label = random.integers(5, size=count)
    centres = np.random.default_rng(0).normal(size=(5, 8))
    embedding = (centres[label] + 0.9 * random.normal(size=(count, 8))) * 10.0 ** np.arange(8)
    labels = np.eye(5, dtype=np.uint8)[label]
    if several:
        labels[::2] |= np.eye(5, dtype=np.uint8)[(label[::2] + 1) % 5]
    ids = np.array([f"{seed}-{number}" for number in range(count)])
    return Embeddings(ids, embedding.astype(np.float32), labels, tuple("abcde"))


@pytest.fixture(scope="module")
def splits() -> dict[str, Embeddings]:
    sizes = {"train": 600, "validation": 200, "test": 300}
    return {role: embedded(size, seed) for seed, (role, size) in enumerate(sizes.items())}


def test_accuracy_is_that_of_scikit_learn_and_close_to_its_classifier(splits):
    found = probe_clips(splits, seeds=(0, 1), num_resamples=200)
    test = splits["test"]
    truth = test.labels.argmax(axis=1)
    ours = []
    for seed in (0, 1):
        classifier = train_shallow_classifier(
            train=splits["train"], validation=splits["validation"], settings=CLIP_PROBE, seed=seed
        )
        ours.append(accuracy_score(truth, classifier.predict(test.embedding).argmax(axis=1)))
    assert found["clip_accuracy"] == pytest.approx(np.mean(ours))
    scale = StandardScaler().fit(splits["train"].embedding)
    theirs = LogisticRegression(max_iter=1000).fit(
        scale.transform(splits["train"].embedding), splits["train"].labels.argmax(axis=1)
    )
    other = theirs.score(scale.transform(test.embedding), truth)
    assert 0.5 < other < 0.95
    assert found["clip_accuracy"] == pytest.approx(other, abs=0.04)
    low, high = found["clip_accuracy_low"], found["clip_accuracy_high"]
    assert low < found["clip_accuracy"] < high
    share = found["clip_accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 300), rel=0.25)
    assert found["num_clean_test_clips"] == 300
    assert abs(found["validation_clip_accuracy"] - other) < 0.1


def test_of_several_classes_any_is_right(splits):
    more = {**splits, "test": embedded(300, 2, several=True)}
    alone = probe_clips(splits, seeds=(0,), num_resamples=20)["clip_accuracy"]
    assert probe_clips(more, seeds=(0,), num_resamples=20)["clip_accuracy"] > alone


def test_clips_are_in_the_split_that_they_are_mixed_into(tmp_path):
    esc50 = write_esc50(tmp_path / "ESC-50", folds=(1, 2, 3), per_fold=3)
    where = {"data_dir": str(tmp_path / "data"), "clips": "esc50", "esc50_dir": str(esc50)}
    clips = {
        split: scene_clips(split=split, recipe=RECIPE, **where)
        for split in ("train", "validation", "test")
    }
    ids = {
        split: {clip["id"].decode() for clip in each.build().as_numpy_iterator()}
        for split, each in clips.items()
    }
    assert ids["test"] == {name for name in set().union(*ids.values()) if name.startswith("3-")}
    assert len(ids["test"]) == clips["test"].num_clips == 12
    assert sum(map(len, ids.values())) == 36
    other = dataclasses.replace(RECIPE, test_fold=1)
    moved = scene_clips(split="test", recipe=other, **where)
    assert all(clip["id"].startswith(b"1-") for clip in moved.build().as_numpy_iterator())
    scenes = sound_scenes(split="test", recipe=RECIPE, **where)
    assert clips["test"].class_names == scenes.class_names
    (first, *_) = clips["test"].build().as_numpy_iterator()
    (label,) = np.flatnonzero(first["labels"])
    assert int(first["id"].decode().rpartition("-")[2].removesuffix(".wav")) == label


def test_clips_of_a_folder_are_whole_and_as_loud_as_in_scenes(tmp_path):
    for number in range(12):
        path = tmp_path / f"{'ab'[number % 2]}{number}.wav"
        sound = np.pad(0.01 * (number + 1) * tone(300 + number), (0, 100 * number))
        soundfile.write(path, sound, 16000)
    rows = [f"{path.name},{path.name[0]}" for path in sorted(tmp_path.glob("*.wav"))]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    where = {"data_dir": str(tmp_path), "clips": "mine", "clips_dir": str(tmp_path)}
    lengths = []
    for split in ("train", "validation", "test"):
        clips = scene_clips(split=split, recipe=RECIPE, **where)
        for clip in clips.build().as_numpy_iterator():
            found = activity(clip["audio"])
            assert found is not None
            assert found.rms == pytest.approx(RECIPE.source_rms, rel=1e-2)
            lengths.append(len(clip["audio"]))
    assert sorted(lengths) == [3200 + 100 * number for number in range(12)]


def test_what_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SepconError, match="split is 'dev', expected one of train, validation"):
        scene_clips(data_dir=str(tmp_path), split="dev")
    with pytest.raises(SepconError, match="test_fold is 1, but these recordings have no folds"):
        scene_clips(data_dir=str(tmp_path), recipe=SceneRecipe(
            synthetic_clips_per_class=2, test_fold=1))  # fmt: skip
