"""What was imported, read as training, validation and test clips."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fuss_stub import sources_of, write_fuss
from import_fixtures import (
    SEGMENTS,
    sound,
    write_audio,
    write_audioset,
    write_gtzan,
    write_urbansound8k,
)

from sepcon.audio.decode import decode_file
from sepcon.data.clips import ClipDataset, reader
from sepcon.datasets.audioset.segments import audioset_segments
from sepcon.datasets.folders import audio_folder, urbansound8k_folder
from sepcon.datasets.fuss import fuss
from sepcon.datasets.tfds import tfds_set
from sepcon.errors import SepconError
from sepcon.importing.clip_source import ClipSource
from sepcon.importing.imported import imported, imported_folds
from sepcon.verbs.import_clips import import_clips


def run_import(run: Path, source: ClipSource) -> Path:
    import_clips(run_dir=run, source=source, processes=1, clips_per_shard=5, max_fault_share=0.5)
    return run


def elements(clips: ClipDataset) -> dict[str, dict[str, np.ndarray]]:
    return {each["id"].decode(): each for each in clips.build().as_numpy_iterator()}


@pytest.fixture(scope="module")
def audioset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_audioset(tmp_path_factory.mktemp("audioset"))
    source = audioset_segments(
        segments_csv=str(root / "eval_segments.csv"),
        audio_dir=str(root / "audio"),
        classes_csv=str(root / "class_labels_indices.csv"),
    )
    run_import(root / "run", source)
    return root


@pytest.fixture(scope="module")
def urbansound8k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_urbansound8k(tmp_path_factory.mktemp("urbansound8k"), per_fold=6)
    return run_import(root / "run", urbansound8k_folder(path=str(root)))


def test_clips_come_in_order_as_they_decode(audioset: Path) -> None:
    clips = imported(path=str(audioset / "run"))
    kept = [segment for segment in SEGMENTS if not segment[-1]]
    assert (clips.num_clips, len(clips.class_names), clips.clip_samples) == (7, 5, None)
    assert clips.name.startswith("audioset_eval_")
    found = elements(clips)
    assert list(found) == [video_id for video_id, *_ in kept]
    for video_id, _, _, file, labels, _ in kept:
        expected = decode_file(audioset / "audio" / file)
        np.testing.assert_array_equal(found[video_id]["audio"], expected)
        assert tuple(np.flatnonzero(found[video_id]["labels"])) == labels
        assert found[video_id]["labels"].dtype == np.float32


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_clips_are_cut_or_padded_to_one_length(audioset: Path, seconds: float) -> None:
    whole = elements(imported(path=str(audioset / "run")))
    clips = imported(path=str(audioset / "run"), clip_seconds=seconds)
    assert clips.clip_samples == round(seconds * 16000)
    for name, each in elements(clips).items():
        kept = min(clips.clip_samples, len(whole[name]["audio"]))
        np.testing.assert_array_equal(each["audio"][:kept], whole[name]["audio"][:kept])
        assert len(each["audio"]) == clips.clip_samples
        assert not each["audio"][kept:].any()


def test_any_clip_can_be_read_by_itself(urbansound8k: Path) -> None:
    clips = imported(path=str(urbansound8k), part="validation", validation_share=0.4)
    in_order = list(clips.build().as_numpy_iterator())
    read = reader(clips)
    for position in (len(in_order) - 1, 0):
        each = read(tf.constant(position, tf.int64))
        assert each["id"].numpy() == in_order[position]["id"]
        np.testing.assert_array_equal(each["audio"].numpy(), in_order[position]["audio"])


def test_parts_make_up_the_whole_and_share_no_recording(urbansound8k: Path) -> None:
    shares = {"validation_share": 0.3, "test_share": 0.3}
    parts = {
        part: elements(imported(path=str(urbansound8k), part=part, **shares))  # type: ignore[arg-type]
        for part in ("train", "validation", "test")
    }
    whole = elements(imported(path=str(urbansound8k)))
    assert sorted(name for part in parts.values() for name in part) == sorted(whole)
    groups = [{name.split("-")[0] for name in part} for part in parts.values()]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_folds_for_testing_and_folds_alone(urbansound8k: Path) -> None:
    test = elements(imported(path=str(urbansound8k), part="test", test_folds=(9, "10")))
    assert {name.split("-")[0] for name in test} == {"1009", "1010"}
    train = elements(imported(path=str(urbansound8k), part="train", test_folds=(9, "10")))
    assert not {name.split("-")[0] for name in train} & {"1009", "1010"}
    alone = elements(imported(path=str(urbansound8k), folds=(3,)))
    assert {name.split("-")[0] for name in alone} == {"1003"}


def test_no_recording_changes_sides_when_others_come(tmp_path: Path) -> None:
    for number in range(20):
        write_audio(tmp_path / "audio" / f"{number}.wav", number, seconds=0.02)
    before = run_import(tmp_path / "before", audio_folder(path=str(tmp_path / "audio")))
    for number in range(20, 60):
        write_audio(tmp_path / "audio" / f"{number}.wav", number, seconds=0.02)
    after = run_import(tmp_path / "after", audio_folder(path=str(tmp_path / "audio")))
    held_out = [
        set(elements(imported(path=str(run), part="validation", validation_share=0.3)))
        for run in (before, after)
    ]
    assert held_out[0] < held_out[1]
    assert 10 <= len(held_out[1]) <= 26


def test_several_imports_are_one_data_set(audioset: Path, tmp_path: Path) -> None:
    root = write_audioset(tmp_path, name="balanced_train_segments")
    source = audioset_segments(
        segments_csv=str(root / "balanced_train_segments.csv"),
        audio_dir=str(root / "audio"),
        classes_csv=str(root / "class_labels_indices.csv"),
    )
    other = run_import(tmp_path / "run", source)
    clips = imported(path=[str(audioset / "run"), str(other)])
    assert clips.num_clips == 14
    assert clips.name.startswith("audioset_eval_")
    assert "+audioset_balanced_train_" in clips.name
    assert imported(path=[str(audioset / "run"), str(other)], folds=("eval",)).num_clips == 7


def test_names_tell_different_clips_apart(urbansound8k: Path) -> None:
    names = {
        imported(path=str(urbansound8k), **choice).name  # type: ignore[arg-type]
        for choice in (
            {},
            {"part": "train", "validation_share": 0.2},
            {"part": "train", "validation_share": 0.5},
            {"part": "validation", "validation_share": 0.5},
            {"folds": (1,)},
            {"folds": (2,)},
        )
    }
    assert len(names) == 6


@pytest.mark.parametrize(
    "choice, message",
    [
        ({"part": "tests"}, "part is 'tests', expected all, train, validation, test"),
        ({"validation_share": 0.6, "test_share": 0.4}, "leave nothing to train on"),
        ({"folds": (11, 12)}, "has no fold 11, 12; it has the folds 1, 10, 2"),
        ({"test_folds": ("x",)}, "has no fold x"),
        ({"part": "test"}, "nothing is in test"),
        ({"clip_seconds": 0.0}, "clip_seconds is 0.0, expected more than 0"),
    ],
)
def test_wrong_choices_are_told(urbansound8k: Path, choice: dict, message: str) -> None:
    with pytest.raises(SepconError, match=message):
        imported(path=str(urbansound8k), **choice)


def test_wrong_folders_are_told(urbansound8k: Path, audioset: Path, tmp_path: Path) -> None:
    with pytest.raises(SepconError, match="no such file; import clips with `sepcon import`"):
        imported(path=str(tmp_path))
    with pytest.raises(SepconError, match="has other classes than"):
        imported(path=[str(urbansound8k), str(audioset / "run")])
    with pytest.raises(SepconError, match="path is empty"):
        imported(path=[])


def without_seals(run: Path) -> None:
    """As versions before have left an import."""
    (run / "seals.json").unlink()
    (run / "run.json").write_text((run / "run.json").read_text().replace("sealed", "unsealed"))


def test_lost_records_are_told(tmp_path: Path) -> None:
    for number in range(12):
        write_audio(tmp_path / "audio" / f"{number}.wav", number, seconds=0.02)
    run = run_import(tmp_path / "run", audio_folder(path=str(tmp_path / "audio")))
    (run / "clips-00001.tfrecord").write_bytes(b"")
    with pytest.raises(SepconError, match=r"clips-00001.tfrecord: is not what was written there"):
        imported(path=str(run))
    without_seals(run)
    with pytest.raises(SepconError, match=r"holds 7 records.*expected 12"):
        imported(path=str(run))


def edited(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        lines = (run / name).read_text().splitlines(keepends=True)
        (run / name).write_text("".join(change(lines)))

    return edit


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("manifest.csv", lambda lines: lines[:3] + lines[4:]),
        ("manifest.csv", lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]]),
        ("manifest.csv", lambda lines: [*lines, lines[-1]]),
        ("manifest.csv", lambda lines: [lines[0], lines[1].replace(",1,", ",2,", 1), *lines[2:]]),
        ("classes.csv", lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
    ],
    ids=["deleted", "swapped", "appended", "changed", "classes"],
)
def test_an_edited_table_is_never_believed(
    urbansound8k: Path, tmp_path: Path, name: str, change: Callable, sealed: bool
) -> None:
    run = tmp_path / "run"
    shutil.copytree(urbansound8k, run)
    imported(path=str(run))
    if not sealed:
        without_seals(run)
    edited(name, change)(run)
    with pytest.raises(SepconError, match=rf"{name}: .*import again") as told:
        imported(path=str(run), part="train")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["manifest.csv", "classes.csv", "clips-00000.tfrecord"])
def test_a_pipe_in_the_place_of_a_file_does_not_wait_for_ever(
    urbansound8k: Path, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(urbansound8k, run)
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(SepconError, match=rf"{name}: .*is a pipe or a device"):
        imported(path=str(run))
    without_seals(run)
    with pytest.raises(SepconError, match=name):
        imported(path=str(run))


def test_names_of_classes_that_were_exchanged_are_told(urbansound8k: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(urbansound8k, run)
    text = (run / "classes.csv").read_text()
    exchanged = text.replace("car_horn", "x").replace("dog_bark", "car_horn")
    (run / "classes.csv").write_text(exchanged.replace("x", "dog_bark"))
    with pytest.raises(SepconError, match=r"classes.csv: is not what was written"):
        imported(path=str(run))


def test_records_of_another_import_are_told(audioset: Path, urbansound8k: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(urbansound8k, run)
    shutil.copy(run / "clips-00001.tfrecord", run / "clips-00000.tfrecord")
    with pytest.raises(SepconError, match=r"clips-00000.tfrecord: is not what was written"):
        imported(path=str(run))


def test_clips_that_are_left_out_move_no_other_clip(urbansound8k: Path, tmp_path: Path, capsys):
    shares = {"validation_share": 0.3, "test_share": 0.3}
    parts = ("train", "validation", "test")
    before = {
        part: elements(imported(path=str(urbansound8k), part=part, **shares))  # type: ignore[arg-type]
        for part in parts
    }
    chosen = sorted(before["train"])[:2] + sorted(before["test"])[:1]
    listed = tmp_path / "excluded.csv"
    listed.write_text("filename\n" + "\n".join([*chosen, "no_such_clip.wav"]) + "\n")
    capsys.readouterr()
    names = set()
    for part in parts:
        clips = imported(path=str(urbansound8k), part=part, exclude=str(listed), **shares)  # type: ignore[arg-type]
        names.add(clips.name)
        after = elements(clips)
        assert set(after) == set(before[part]) - set(chosen)
        for name, each in after.items():
            np.testing.assert_array_equal(each["audio"], before[part][name]["audio"])
            np.testing.assert_array_equal(each["labels"], before[part][name]["labels"])
        told = capsys.readouterr().err
        assert "3 clips are left out by name; 1 names match no clip: 'no_such_clip.wav'" in told
    assert len(names) == 3


def test_folds_without_some_clips_are_else_the_same(urbansound8k: Path) -> None:
    whole = imported_folds(path=str(urbansound8k))
    clip_ids = [each["id"].decode() for each in whole.clips.build().as_numpy_iterator()]
    left_out = {clip_ids[number] for number in (0, 7, 30)}
    part = imported_folds(path=str(urbansound8k), exclude=sorted(left_out))
    assert {clip_ids[position] for position in part.excluded} == left_out
    assert (part.folds, part.groups, part.clips.name) == (
        whole.folds,
        whole.groups,
        whole.clips.name,
    )
    only = imported_folds(path=str(urbansound8k), folds=(1, 2), exclude=[clip_ids[7]])
    ids_of_two = [each["id"].decode() for each in only.clips.build().as_numpy_iterator()]
    assert [ids_of_two[position] for position in only.excluded] == [clip_ids[7]]


def test_gtzan_as_tfds_has_it(tmp_path: Path) -> None:
    source = tfds_set(path=str(write_gtzan(tmp_path / "data")))
    assert source.name == "gtzan"
    assert len(source.class_names) == 10
    counts = import_clips(run_dir=tmp_path / "run", source=source, processes=1, max_fault_share=0.5)
    assert counts.reasons == {"": 4, "empty": 1, "no known label": 1}
    manifest = (tmp_path / "run" / "manifest.csv").read_text()
    assert "train-3,train#3,0.250,0,blues.00003.wav,train," in manifest
    found = elements(imported(path=str(tmp_path / "run")))
    assert list(found) == [f"train-{n}" for n in range(4)]
    assert [int(each["labels"].argmax()) for each in found.values()] == [0, 1, 2, 0]
    assert all(len(each["audio"]) == 4000 for each in found.values())
    level = found["train-0"]["audio"].astype(float).std() / (32767 * sound(0, rate_hz=22050)).std()
    assert 0.7 < level < 1.0  # What is above 8 kHz is gone.


def test_fuss_as_tfds_has_it(tmp_path: Path) -> None:
    release = write_fuss(tmp_path / "ssdata_reverb")
    clips = fuss(data_dir=str(tmp_path / "data"), path=str(release))
    (info,) = (tmp_path / "data").rglob("dataset_info.json")
    source = tfds_set(path=str(info.parent))
    assert (source.name, source.class_names) == ("fuss", ())
    run = run_import(tmp_path / "run", source)
    found = imported(path=str(run), folds=("train",), clip_seconds=10.0)
    assert found.num_clips == clips.num_clips == 2
    for ours, theirs in zip(found.build(), clips.build(), strict=True):
        np.testing.assert_array_equal(ours["audio"], theirs["audio"])
        assert ours["labels"].shape == (0,)
    scene = sum(sources_of("train", 0).values())
    assert any(np.array_equal(each["audio"], scene) for each in elements(found).values())
    names = (run / "manifest.csv").read_text()
    assert "train/example00000" in names or "example00000" in names


def test_the_folds_of_an_import_are_those_of_its_clips(urbansound8k: Path) -> None:
    folded = imported_folds(path=str(urbansound8k))
    assert folded.fold_names == tuple(map(str, range(1, 11)))
    found = elements(folded.clips)
    for (name, each), label, fold in zip(found.items(), folded.labels, folded.folds, strict=True):
        assert each["labels"].argmax() == label
        assert each["labels"].sum() == 1
        # The stub's names begin with the original recording, 1000 + fold, and go on with the class.
        assert name.split("-")[:2] == [str(1000 + int(fold)), str(label)]
    assert folded.groups == tuple(name.split("-")[0] for name in found)
    some = imported_folds(path=str(urbansound8k), folds=(3, 10))
    assert some.fold_names == ("3", "10")
    assert set(elements(some.clips)) < set(found)


def test_a_clip_of_two_classes_is_in_no_fold_to_finetune_on(audioset: Path) -> None:
    with pytest.raises(SepconError, match="has fold eval and 2 classes, expected a fold and one"):
        imported_folds(path=str(audioset / "run"))
