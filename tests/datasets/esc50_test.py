import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds
import warm_python
from esc50_stub import write_esc50

from sepcon.data.folder import folder
from sepcon.datasets.esc50 import esc50_dataset_builder, layout
from sepcon.datasets.esc50.clips import esc50, esc50_folds, prepare_esc50
from sepcon.errors import SepconError
from sepcon.scenes.prepared_scenes import sound_scenes
from sepcon.scenes.recipe import SceneRecipe


class Esc50BuilderTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks of a builder, on clips made here."""

    DATASET_CLASS = esc50_dataset_builder.Builder
    SPLITS = {"fold1": 8, "fold2": 8, "fold3": 8}  # noqa: RUF012
    SKIP_CHECKSUMS = True

    @classmethod
    def setUpClass(cls) -> None:
        # The test case looks for its files when the class is set up.
        cls.EXAMPLE_DIR = str(write_esc50(Path(tfds.testing.make_tmp_dir())))
        super().setUpClass()


def test_clips_come_in_the_order_of_the_table_with_labels_and_ids(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw")
    clips = esc50(data_dir=str(tmp_path / "data"), path=str(root), folds=(3, 1))
    assert (clips.num_clips, len(clips.class_names)) == (16, 50)
    assert clips.class_names[10] == "rain"
    rows = [row for fold in (3, 1) for row in layout.read_rows(root) if row.fold == fold]
    for element, row in zip(clips.build().as_numpy_iterator(), rows, strict=True):
        assert element["id"].decode() == row.filename
        assert clips.class_names[int(np.argmax(element["labels"]))] == row.category
        assert element["labels"].sum() == 1
        expected = soundfile.read(row.path, dtype="int16")[0]
        np.testing.assert_array_equal(element["audio"], expected)


def test_folds_and_originals_are_those_of_the_table(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw")
    folded = esc50_folds(data_dir=str(tmp_path / "data"), path=str(root), esc10=True)
    rows = [row for row in layout.read_rows(root) if row.esc10]
    assert folded.clips.class_names == ("dog", "rooster", "rain")
    assert folded.fold_names == ("1", "2", "3")
    assert folded.folds == tuple(str(row.fold) for row in rows)
    assert folded.groups == tuple(row.src_file for row in rows)
    names = [folded.clips.class_names[label] for label in folded.labels]
    assert names == [row.category for row in rows]
    elements = folded.clips.build().as_numpy_iterator()
    assert [int(np.argmax(clip["labels"])) for clip in elements] == folded.labels.tolist()


def test_another_rate_lies_beside_the_usual_one(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw", folds=(1,), per_fold=1)
    data = {"data_dir": str(tmp_path / "data"), "path": str(root)}
    for rate_hz in (44100, 16000, 44100):
        clips = esc50(**data, sample_rate_hz=rate_hz)
        assert clips.sample_rate_hz == rate_hz
        assert {len(clip["audio"]) for clip in clips.build()} == {rate_hz // 5}
    assert len(list((tmp_path / "data").rglob("dataset_info.json"))) == 2
    directory = prepare_esc50(**data, sample_rate_hz=44100)
    assert tfds.builder_from_directory(directory).info.metadata["sample_rate_hz"] == 44100


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_esc50(tmp_path / "raw", folds=(1,), per_fold=1)
    assert esc50(data_dir="~/data", path="~/raw").num_clips == 4
    assert list((tmp_path / "data").rglob("dataset_info.json"))
    recipe = SceneRecipe(scene_seconds=0.2, num_train=0, num_validation=0, num_test=1)
    scenes = sound_scenes(
        data_dir="~/data", clips="esc50", esc50_dir="~/raw", split="test", recipe=recipe
    )
    assert scenes.num_clips == 1
    assert folder(path="~/raw/audio", clip_seconds=0.1).num_clips == 4


def test_esc10_keeps_its_clips_and_classes(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw")
    clips = esc50(data_dir=str(tmp_path / "data"), path=str(root), esc10=True)
    assert clips.class_names == ("dog", "rooster", "rain")
    assert clips.num_clips == 18
    for element in clips.build().as_numpy_iterator():
        target = int(Path(element["id"].decode()).stem.split("-")[-1])
        expected = {0: [1, 0, 0], 1: [0, 1, 0], 10: [0, 0, 1]}[target]
        np.testing.assert_array_equal(element["labels"], expected)


def test_a_table_that_names_wav_finds_ogg(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw", ending=".ogg", folds=(1,), per_fold=1)
    clips = esc50(data_dir=str(tmp_path / "data"), path=str(root))
    assert clips.num_clips == 4


def test_a_fold_whose_audio_is_not_there_is_absent(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw")
    for path in (root / "audio").glob("3-*"):
        path.unlink()
    clips = esc50(data_dir=str(tmp_path / "data"), path=str(root))
    assert clips.name == "esc50/fold1+fold2"
    with pytest.raises(SepconError, match="has no split fold3, only fold1, fold2"):
        esc50(data_dir=str(tmp_path / "data"), path=str(root), folds=(3,))


def test_undecodable_and_silent_files_are_skipped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_esc50(tmp_path / "raw")
    paths = sorted((root / "audio").iterdir())
    paths[0].write_text("not audio")
    soundfile.write(paths[1], np.zeros(100), 16000)
    clips = esc50(data_dir=str(tmp_path / "data"), path=str(root), max_skipped_share=0.1)
    assert clips.num_clips == 22
    said = capsys.readouterr().err
    assert "22 files decoded, 1 undecodable skipped" in said
    assert paths[0].name in said
    assert f"1 silent skipped ({paths[1]})" in said
    directory = prepare_esc50(data_dir=str(tmp_path / "data"), path=str(root))
    metadata = tfds.builder_from_directory(directory).info.metadata
    assert metadata["summary"].startswith("22 files decoded")


def test_too_many_undecodable_files_stop_the_import_and_leave_nothing(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw")
    for path in sorted((root / "audio").iterdir())[:3]:
        path.write_text("not audio")
    with pytest.raises(SepconError, match=r"3 of 24 files cannot be decoded.*share of 0\.05"):
        esc50(data_dir=str(tmp_path / "data"), path=str(root))
    assert not list((tmp_path / "data").rglob("*.tfrecord*"))


def test_a_fold_without_one_usable_file_is_a_clear_error(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw")
    for path in (root / "audio").glob("2-*"):
        path.write_text("not audio")
    with pytest.raises(SepconError, match="no file of fold 2 can be used"):
        esc50(data_dir=str(tmp_path / "data"), path=str(root))


def test_a_folder_that_grew_is_imported_anew(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw", folds=(1,))
    data = str(tmp_path / "data")
    assert esc50(data_dir=data, path=str(root)).num_clips == 8
    write_esc50(root, folds=(1, 2))
    assert esc50(data_dir=data, path=str(root)).num_clips == 16


def test_bad_folders_and_tables_are_named(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with pytest.raises(SepconError, match=r"nowhere: no such folder"):
        esc50(data_dir=data, path=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SepconError, match=r"is not an ESC-50 folder, meta/esc50\.csv is missing"):
        esc50(data_dir=data, path=str(tmp_path / "empty"))
    root = write_esc50(tmp_path / "raw", folds=(1,))
    table = root / "meta" / "esc50.csv"
    text = table.read_text()
    table.write_text(text.replace(",dog,", ",dinosaur,", 1))
    with pytest.raises(SepconError, match=r"line 2 is not a row of ESC-50 .*dinosaur"):
        esc50(data_dir=data, path=str(root))
    table.write_text(text.replace("src_file", "source", 1))
    with pytest.raises(SepconError, match="column src_file is missing"):
        esc50(data_dir=data, path=str(root))
    table.write_text(text)
    for path in (root / "audio").iterdir():
        path.unlink()
    with pytest.raises(SepconError, match="holds none of the 8 files"):
        esc50(data_dir=data, path=str(root))


def test_the_official_release_is_downloaded_where_no_folder_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(self: object, url: str) -> Path:
        asked.append(url)
        write_esc50(tmp_path / "zip" / "ESC-50-master")
        return tmp_path / "zip"

    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", download)
    clips = esc50(data_dir=str(tmp_path / "data"))
    assert asked == ["https://github.com/karolpiczak/ESC-50/archive/master.zip"]
    assert clips.num_clips == 24


def test_tfds_build_makes_both_data_sets_for_the_providers(
    tmp_path: Path, repository: Path
) -> None:
    pytest.importorskip("apache_beam", reason="`tfds build` does not start without apache_beam")
    data = str(tmp_path / "data")
    root = write_esc50(tmp_path / "raw")
    recipe: dict[str, Any] = {
        "scene_seconds": 0.2,
        "num_train": 3,
        "num_validation": 2,
        "num_test": 2,
    }
    config = json.dumps({"name": "tiny", "clips": "esc50", "recipe": recipe})
    build = [
        warm_python.path(),
        str(Path(sys.executable).with_name("tfds")),
        "build",
        f"--data_dir={data}",
    ]
    esc50_words = ["sepcon/datasets/esc50", f"--manual_dir={root}"]
    scenes_words = ["sepcon/scenes/sound_scenes", f"--config={config}"]
    messages = ""
    for words in (esc50_words, scenes_words):
        ran = subprocess.run(
            [*build, *words], cwd=repository, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        messages += ran.stderr
    assert "24 files decoded" in messages
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.tfrecord-*")}
    # What the command made is what the providers read.
    assert esc50(data_dir=data).num_clips == 24
    assert sound_scenes(data_dir=data, clips="esc50", recipe=SceneRecipe(**recipe)).num_clips == 3
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.tfrecord-*")}
    assert now == made


def test_the_real_recordings_import(shared_dir: Path) -> None:
    rows = layout.read_rows(layout.require_root(shared_dir / "data" / "esc50"))
    assert len(rows) == 1600
    assert {row.fold for row in rows} == {1, 2, 3, 4}
    assert all(row.path.exists() for row in rows)
    # The official numbering: the target stands in the file name.
    for row in rows:
        target = int(Path(row.filename).stem.split("-")[-1])
        assert layout.CLASS_NAMES[target] == row.category
