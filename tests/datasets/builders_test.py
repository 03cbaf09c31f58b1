"""The TFDS builders of AudioSet and UrbanSound8K, on folders in the published formats."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds
import warm_python
from import_fixtures import (
    SEGMENTS,
    write_audioset,
    write_parquet,
    write_urbansound8k,
)

from sepcon.data.prepared import prepare_once
from sepcon.datasets.audioset import audioset_dataset_builder
from sepcon.datasets.folders import urbansound8k_folder
from sepcon.datasets.urbansound8k import layout, urbansound8k_dataset_builder
from sepcon.errors import SepconError
from sepcon.importing.clip_source import ClipSource

KEPT = [row for row in SEGMENTS if not row[5]]


class OnMadeFiles:
    """Makes the files of a builder's test before TFDS's test case looks for them."""

    SKIP_CHECKSUMS = True
    max_skipped_share = 0.05
    write: ClassVar[Callable[[Path], Path]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.EXAMPLE_DIR = str(cls.write(Path(tfds.testing.make_tmp_dir())))
        cls.usual_share = cls.DATASET_CLASS.max_skipped_share
        cls.DATASET_CLASS.max_skipped_share = cls.max_skipped_share
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        cls.DATASET_CLASS.max_skipped_share = cls.usual_share


def write_two_lists(root: Path) -> Path:
    write_audioset(root, name="balanced_train_segments")
    return write_audioset(root)


class AudioSetSegmentsTest(OnMadeFiles, tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks of a builder, on files made here."""

    DATASET_CLASS = audioset_dataset_builder.Builder
    SPLITS: ClassVar = {"balanced": len(KEPT), "eval": len(KEPT)}
    OVERLAPPING_SPLITS: ClassVar = ["eval"]  # Both lists name the same recordings here.
    max_skipped_share = 0.5  # A third of what is written is damaged.
    write = staticmethod(write_two_lists)


class UrbanSound8KTest(OnMadeFiles, tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks of a builder, on files made here."""

    DATASET_CLASS = urbansound8k_dataset_builder.Builder
    SPLITS: ClassVar = {f"fold{fold}": 2 for fold in range(1, 11)}
    write = staticmethod(write_urbansound8k)


def build(builder: Any, root: Path, data_dir: Path, **settings: Any) -> Any:
    def make() -> Any:
        made = builder(data_dir=str(data_dir))
        for name, value in settings.items():
            setattr(made, name, value)
        return made

    return tfds.builder_from_directory(prepare_once(make, data_dir=data_dir, manual_dir=root))


def expected(source: ClipSource) -> list[tuple[str, tuple[int, ...], np.ndarray]]:
    """Id, labels and samples of the clips that can be used, as the reader gives them."""
    references = [each for each in source.references if not each.reason]
    return [
        (reference.id, reference.labels, audio)
        for reference, audio in source.read(references)
        if isinstance(audio, np.ndarray) and audio.any()
    ]


def test_audioset_from_both_forms_is_what_its_sources_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    for write in (write_audioset, write_parquet):
        root = write(tmp_path / write.__name__)
        builder = build(
            audioset_dataset_builder.Builder, root, tmp_path / "data" / write.__name__,
            max_skipped_share=0.5,
        )  # fmt: skip
        assert list(builder.info.splits) == ["eval"]
        metadata = builder.info.metadata
        assert metadata["class_names"][1] == "Male speech, man speaking"
        assert metadata["sample_rate_hz"] == 16000
        clips = expected(audioset_dataset_builder.find_sources(root)["eval"])
        rows = tfds.as_numpy(builder.as_dataset(split="eval"))
        for row, (identifier, labels, audio) in zip(rows, clips, strict=True):
            assert row["id"].decode() == identifier
            assert tuple(row["labels"]) == labels
            np.testing.assert_array_equal(row["audio"], audio)
        assert metadata["summary"].startswith(f"{len(clips)} of ")
        assert "left out: duplicate id" in metadata["summary"]


def test_audioset_in_both_forms_or_in_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match="holds neither of segment lists"):
        audioset_dataset_builder.find_sources(tmp_path)
    write_audioset(tmp_path)
    (tmp_path / "data" / "bal_train").mkdir(parents=True)
    with pytest.raises(SepconError, match="holds both of segment lists"):
        audioset_dataset_builder.find_sources(tmp_path)


def test_too_much_damage_stops_a_build_and_leaves_nothing(tmp_path: Path) -> None:
    root = write_audioset(tmp_path / "raw")
    with pytest.raises(SepconError, match=r"at most a share of 0\.05 \(max_skipped_share\)"):
        build(audioset_dataset_builder.Builder, root, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.tfrecord*"))


def test_urbansound8k_keeps_folds_classes_and_recordings(tmp_path: Path) -> None:
    root = write_urbansound8k(tmp_path / "raw", folds=(2, 10))
    builder = build(urbansound8k_dataset_builder.Builder, root, tmp_path / "data")
    assert set(builder.info.splits) == {"fold2", "fold10"}
    assert tuple(builder.info.features["label"].names) == layout.CLASS_NAMES
    source = urbansound8k_folder(path=str(root))
    for fold in (2, 10):
        references = [each for each in source.references if each.fold == str(fold)]
        rows = list(tfds.as_numpy(builder.as_dataset(split=f"fold{fold}")))
        audios = [audio for _, audio in source.read(references)]
        for row, reference, audio in zip(rows, references, audios, strict=True):
            assert row["filename"].decode() == reference.id
            assert row["source_id"].decode() == reference.group
            assert (row["label"], row["fold"]) == (reference.labels[0], fold)
            np.testing.assert_array_equal(row["audio"], audio)


def test_tfds_build_makes_both(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("apache_beam", reason="`tfds build` does not start without apache_beam")
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    # Three of them are damaged: few enough among sixty.
    root = write_urbansound8k(write_parquet(tmp_path / "raw", num_clips=60), folds=(1, 2))
    command = [warm_python.path(), str(Path(sys.executable).with_name("tfds")), "build"]
    command += ["sepcon/datasets/audioset", "sepcon/datasets/urbansound8k"]
    command += [f"--manual_dir={root}", f"--data_dir={tmp_path / 'data'}"]
    ran = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "AudioSet: 60 of 66 clips" in ran.stderr
    assert "UrbanSound8K: 4 of 4 clips" in ran.stderr
    for name, split, number in (("audioset", "eval", 60), ("urbansound8k", "fold2", 2)):
        builder = tfds.builder_from_directory(tmp_path / "data" / name / "1.0.0")
        assert builder.info.splits[split].num_examples == number
