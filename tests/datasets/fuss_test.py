"""FUSS from a folder in the release's layout, through TFDS's own builder and records."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tensorflow_datasets as tfds
from fuss_stub import SAMPLES, sources_of, write_fuss

from sepcon.data.clips import with_sources
from sepcon.datasets.fuss import fuss, open_fuss
from sepcon.errors import SepconError


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_fuss(tmp_path_factory.mktemp("fuss") / "ssdata_reverb", num_scenes=4)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, release):
    data_dir = tmp_path_factory.mktemp("data")
    fuss(data_dir=str(data_dir), path=str(release))
    return data_dir


@pytest.mark.parametrize("split, listed", [("train", "train"), ("test", "eval")])
def test_scenes_hold_mixture_and_sources(data_dir, release, split, listed):
    clips = fuss(data_dir=str(data_dir), path=str(release), split=split)
    assert (clips.num_clips, clips.clip_samples, clips.class_names) == (4, SAMPLES, ())
    assert clips.name == f"fuss/reverberant/1.2.0/{split}"
    found = {}
    for clip in with_sources(clips).as_numpy_iterator():
        expected = list(sources_of(listed, int(clip["id"][-5:])).values())
        absent = [np.zeros(SAMPLES, np.int16)] * (4 - len(expected))
        np.testing.assert_array_equal(clip["sources"], np.stack(expected + absent))
        np.testing.assert_array_equal(clip["audio"], sum(expected))
        assert clip["labels"].shape == (0,)
        found[clip["id"].decode()] = clip["audio"]
    assert sorted(found) == [f"example{number:05d}" for number in range(4)]
    plain = {clip["id"].decode(): clip["audio"] for clip in clips.build().as_numpy_iterator()}
    assert all(np.array_equal(plain[name], found[name]) for name in found)
    (spec,) = {spec["audio"] for spec in (clips.build().element_spec,)}
    assert spec == tf.TensorSpec([SAMPLES], tf.int16)


def test_what_tfds_reads_is_the_same(data_dir, release):
    (directory,) = data_dir.glob("fuss_*/fuss/reverberant/1.2.0")
    theirs = tfds.builder_from_directory(directory).as_dataset(split="validation")
    ours = with_sources(open_fuss(directory, split="validation"))
    for mine, other in zip(ours.as_numpy_iterator(), tfds.as_numpy(theirs), strict=True):
        assert mine["id"] == other["id"]
        np.testing.assert_array_equal(mine["audio"], other["mixture_audio"])
        present = other["sources"]["audio"]
        np.testing.assert_array_equal(mine["sources"][: len(present)], present)


def test_a_data_set_that_tfds_has_prepared_is_taken_as_it_is(data_dir, release, capsys):
    (parent,) = data_dir.glob("fuss_*")
    clips = fuss(data_dir=str(parent), split="validation")
    assert clips.num_clips == 4
    assert "Preparing" not in capsys.readouterr().err


def test_wrong_arguments_and_folders_are_named(tmp_path, release):
    with pytest.raises(SepconError, match="split is 'eval', expected one of train, validation"):
        fuss(data_dir=str(tmp_path), split="eval")
    with pytest.raises(SepconError, match="config is 'full', expected one of reverberant"):
        fuss(data_dir=str(tmp_path), config="full")
    with pytest.raises(SepconError, match=r"train_example_list.txt is missing; give the folder"):
        fuss(data_dir=str(tmp_path), path=str(release / "train"))


@pytest.mark.parametrize(
    "damage, expected",
    [
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: soundfile.write(path, np.zeros(5), 16000), r"holds \(5,\) samples at 16000"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_a_damaged_release_is_refused_with_the_file(tmp_path, damage, expected):
    root = write_fuss(tmp_path / "ssdata", num_scenes=1)
    damage(root / "train" / "example00000_sources" / "background0_sound.wav")
    with pytest.raises(SepconError, match=f"background0_sound.wav: {expected}"):
        fuss(data_dir=str(tmp_path / "data"), path=str(root))
    assert not list((tmp_path / "data").glob("fuss_*/fuss/reverberant/1.2.0"))
