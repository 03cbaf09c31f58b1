import dataclasses
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tensorflow_datasets as tfds
import warm_python
from esc50_stub import tone, write_esc50
from import_fixtures import write_gtzan

from sepcon.data.clips import with_sources
from sepcon.datasets.esc50 import layout
from sepcon.errors import SepconError
from sepcon.scenes import recordings
from sepcon.scenes.prepared_scenes import sound_scenes
from sepcon.scenes.recipe import SPLITS, SceneRecipe
from sepcon.scenes.recordings import earlier_identities_of, open_recordings
from sepcon.scenes.sound_scenes import sound_scenes_dataset_builder as scenes
from sepcon.scenes.synthetic import SyntheticEvents

TINY = SceneRecipe(
    scene_seconds=0.25, num_train=6, num_validation=3, num_test=4, synthetic_clips_per_class=4
)


class SoundScenesBuilderTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks of a builder, on a tiny recipe of built-in events."""

    DATASET_CLASS = scenes.Builder
    SPLITS = {"train": 6, "validation": 3, "test": 4}  # noqa: RUF012
    SKIP_CHECKSUMS = True
    SKIP_TF1_GRAPH_MODE = True
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        scenes.SoundScenesConfig(name="tiny", recipe=TINY)
    ]

    @classmethod
    def setUpClass(cls) -> None:
        # Nothing is read from there, but the test case insists on a folder.
        cls.EXAMPLE_DIR = tfds.testing.make_tmp_dir()
        super().setUpClass()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("data"))


def test_elements_follow_the_contract(data_dir: str) -> None:
    clips = sound_scenes(data_dir=data_dir, split="train", recipe=TINY)
    assert (clips.num_clips, clips.clip_samples, clips.sample_rate_hz) == (6, 4000, 16000)
    plain = list(clips.build().as_numpy_iterator())
    for number, (element, full) in enumerate(
        zip(plain, with_sources(clips).as_numpy_iterator(), strict=True)
    ):
        assert set(element) == {"id", "audio", "labels"}
        assert element["id"] == f"train-{number:06d}".encode()
        assert (element["audio"].dtype, element["audio"].shape) == (np.int16, (4000,))
        assert element["labels"].dtype == np.float32
        assert full["sources"].shape == (4, 4000)
        np.testing.assert_array_equal(full["sources"].astype(int).sum(axis=0), element["audio"])
        # One row per class heard, then rows of zeros.
        present = np.abs(full["sources"].astype(int)).max(axis=1) > 0
        count = int(element["labels"].sum())
        np.testing.assert_array_equal(present, np.arange(4) < count)
        assert set(element["labels"]) <= {0.0, 1.0}
    spec = clips.build().element_spec
    assert spec["audio"].shape == (4000,)
    assert spec["labels"].shape == (len(clips.class_names),)


def test_any_place_reads_the_same_as_going_through(data_dir: str) -> None:
    clips = sound_scenes(data_dir=data_dir, split="test", recipe=TINY)
    assert clips.read is not None
    in_order = list(clips.build().as_numpy_iterator())
    for position in (3, 0, 2):
        np.testing.assert_array_equal(clips.read(position)["audio"], in_order[position]["audio"])


def test_a_second_call_reads_what_is_there(
    data_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sound_scenes(data_dir=data_dir, split="train", recipe=TINY)
    capsys.readouterr()
    sound_scenes(data_dir=data_dir, split="validation", recipe=TINY)
    said = capsys.readouterr()
    assert "Preparing" not in said.err + said.out


def test_the_same_recipe_gives_the_same_bytes_in_another_folder(
    data_dir: str, tmp_path: Path
) -> None:
    sound_scenes(data_dir=data_dir, recipe=TINY)
    sound_scenes(data_dir=str(tmp_path), recipe=TINY)
    first, second = (
        {p.name: p.read_bytes() for p in Path(d).rglob("*.tfrecord-*") if "synthetic" in str(p)}
        for d in (data_dir, tmp_path)
    )
    assert len(first) == 3
    assert first == second


def test_the_name_of_scenes_comes_from_their_recipe_and_not_from_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are rounded by the machine that makes them: the same recipe would have two names."""

    def generate(*_: object) -> np.ndarray:
        raise AssertionError("the generator was asked")

    monkeypatch.setattr(SyntheticEvents, "generate", generate)
    config = scenes.SoundScenesConfig(name="tiny", recipe=SceneRecipe())
    assert config.resolved(str(tmp_path)).name == "synthetic_d054ca03"
    assert config.resolved(None).name == "synthetic_d054ca03"


@pytest.mark.parametrize("earlier", earlier_identities_of("synthetic"))
def test_scenes_that_versions_before_called_otherwise_are_found(
    tmp_path: Path, earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SyntheticEvents, "version", earlier)
        patch.setattr(recordings, "_EARLIER_IDENTITIES", ())
        name = scenes.SoundScenesConfig(name="tiny", recipe=TINY).resolved(None).name
    config = scenes.SoundScenesConfig(name="tiny", recipe=TINY)
    assert config.resolved(str(tmp_path)).name == config.resolved(None).name != name
    directory = tmp_path / "sound_scenes" / name / "1.0.0"
    directory.mkdir(parents=True)
    (directory / "dataset_info.json").touch()
    assert config.resolved(str(tmp_path)).name == name
    other = scenes.SoundScenesConfig(name="tiny", recipe=dataclasses.replace(TINY, num_test=5))
    assert other.resolved(str(tmp_path)).name == other.resolved(None).name


def test_another_recipe_has_a_folder_of_its_own(tmp_path: Path) -> None:
    first = sound_scenes(data_dir=str(tmp_path), recipe=TINY)
    other = SceneRecipe(**(vars(TINY) | {"gain_db": (-4.0, 5.0)}))
    second = sound_scenes(data_dir=str(tmp_path), recipe=other)
    assert first.name != second.name
    assert len(list((tmp_path / "sound_scenes").glob("synthetic_*"))) == 2


def esc50_recordings(root: Path, data_dir: Path) -> dict[str, set[str]]:
    recipe = SceneRecipe(scene_seconds=0.2, num_train=40, num_validation=20, num_test=20)
    names = {}
    for split in SPLITS:
        clips = sound_scenes(
            data_dir=str(data_dir), clips="esc50", esc50_dir=str(root), split=split, recipe=recipe
        )
        builder = tfds.builder_from_directory(data_dir / Path(clips.name).parent)
        rows = tfds.as_numpy(builder.as_dataset(split=split))
        names[split] = {name.decode() for row in rows for name in row["recordings"]}
    return names


def test_scenes_of_esc50_keep_the_highest_fold_for_the_test(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "raw", folds=(1, 2, 4), per_fold=3)
    # One original in folds 1 and 4: its clip in fold 1 must not be heard in any scene.
    table = root / "meta" / "esc50.csv"
    lines = table.read_text().splitlines()
    leak = next(n for n, line in enumerate(lines) if line.startswith("1-1000-"))
    cells = lines[leak].split(",")
    cells[5] = "4000"
    lines[leak] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    names = esc50_recordings(root, tmp_path / "data")
    source = {row.filename: row.src_file for row in layout.read_rows(root)}
    assert {name[0] for name in names["test"]} == {"4"}
    assert all(name[0] in "12" for name in names["train"] | names["validation"])
    assert cells[0] not in names["train"] | names["validation"] | names["test"]
    for first, second in [("train", "validation"), ("train", "test"), ("validation", "test")]:
        originals = [{source[name] for name in names[split]} for split in (first, second)]
        assert not originals[0] & originals[1]


def test_scenes_of_a_labelled_folder(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = ["filename,labels,source"]
    for number in range(24):
        soundfile.write(raw / f"{number}.flac", tone(300 + 50 * number), 16000)
        lines.append(f"{number}.flac,class{number % 3},original{number // 6}")
    (raw / "labels.csv").write_text("\n".join(lines) + "\n")
    recipe = SceneRecipe(scene_seconds=0.3, num_train=8, num_validation=4, num_test=4)
    heard = {}
    for split in SPLITS:
        clips = sound_scenes(
            data_dir=str(tmp_path / "data"),
            clips="mine",
            clips_dir=str(raw),
            split=split,
            recipe=recipe,
        )
        builder = tfds.builder_from_directory(tmp_path / "data" / Path(clips.name).parent)
        rows = tfds.as_numpy(builder.as_dataset(split=split))
        heard[split] = {group for row in rows for group in row["groups"]}
    assert clips.class_names == ("class0", "class1", "class2")
    assert not heard["train"] & heard["test"]
    assert not heard["train"] & heard["validation"]


def test_scenes_of_another_tfds_set(tmp_path: Path) -> None:
    """The clips of one set of scenes, taken as recordings of another."""
    first = sound_scenes(data_dir=str(tmp_path), recipe=TINY)
    folder = tmp_path / Path(first.name).parent
    recipe = SceneRecipe(scene_seconds=0.2, num_train=3, num_validation=0, num_test=1)
    with pytest.raises(SepconError, match="its labels have no class names"):
        sound_scenes(data_dir=str(tmp_path), clips="again", clips_dir=str(folder), recipe=recipe)


def test_recordings_of_another_set_that_were_overwritten_are_named(tmp_path: Path) -> None:
    folder = write_gtzan(tmp_path)
    shard = next(folder.glob("*.tfrecord-*"))
    data = bytearray(shard.read_bytes())
    data[200] ^= 1
    shard.write_bytes(data)
    with pytest.raises(SepconError, match=r"a record of train is damaged .*; delete the folder"):
        open_recordings("gtzan", clips_dir=str(folder), recipe=TINY)


def test_missing_recordings_are_named(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match="its clips are not at"):
        sound_scenes(data_dir=str(tmp_path), clips="mine", clips_dir=str(tmp_path / "no"))
    with pytest.raises(SepconError, match="split is 'dev'"):
        sound_scenes(data_dir=str(tmp_path), split="dev")


def test_an_unwritable_data_dir_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SepconError, match=r"file.* cannot be written .*choose another data_dir"):
        sound_scenes(data_dir=str(tmp_path / "file"), recipe=TINY)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tf.io.TFRecordWriter
    monkeypatch.setattr(tf.io, "TFRecordWriter", lambda path: real("/dev/full"))
    with pytest.raises(SepconError, match=r"cannot prepare sound_scenes there .*No space left"):
        sound_scenes(data_dir=str(tmp_path), recipe=TINY)
    assert not list(tmp_path.rglob("*.tfrecord*"))
    monkeypatch.undo()
    assert sound_scenes(data_dir=str(tmp_path), recipe=TINY).num_clips == 6


PREPARE = """
import json, sys
from sepcon.scenes.prepared_scenes import sound_scenes
from sepcon.scenes.recipe import SceneRecipe
sound_scenes(data_dir=sys.argv[1], recipe=SceneRecipe(**json.loads(sys.argv[2])))
"""


def _started(data_dir: Path, recipe: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A process that is in the middle of preparing."""
    before = set(data_dir.rglob("incomplete.*_1.0.0"))
    words = ["-c", PREPARE, str(data_dir), json.dumps(recipe)]
    process = subprocess.Popen(
        [warm_python.path(), *words],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not set(data_dir.rglob("incomplete.*_1.0.0")) - before:
        time.sleep(0.01)
    return process


def test_a_kill_leaves_nothing_half_made_and_two_processes_prepare_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Long enough to be caught in the middle.
    sizes = {"num_train": 800, "num_validation": 1, "num_test": 1}
    recipe = {"scene_seconds": 2.0, "synthetic_clips_per_class": 6, **sizes}
    killed = _started(tmp_path, recipe)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not list(tmp_path.rglob("dataset_info.json"))
    assert len(list(tmp_path.rglob("incomplete.*_1.0.0"))) == 1
    other = _started(tmp_path, recipe)
    clips = sound_scenes(data_dir=str(tmp_path), recipe=SceneRecipe(**recipe))
    assert clips.num_clips == 800
    other.communicate()
    assert other.returncode == 0
    said = capsys.readouterr().err
    assert "Waiting for another process" in said
    assert "Preparing" not in said
    assert not list(tmp_path.rglob("incomplete.*_1.0.0"))
    assert len(list(tmp_path.rglob("dataset_info.json"))) == 1


def test_a_lost_or_shortened_shard_is_named(tmp_path: Path) -> None:
    sound_scenes(data_dir=str(tmp_path), recipe=TINY)
    shard = next(tmp_path.rglob("*train.tfrecord-*"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-100])
    with pytest.raises(SepconError, match=r"train.*: is not what was written there"):
        sound_scenes(data_dir=str(tmp_path), recipe=TINY)
    shard.unlink()
    with pytest.raises(SepconError, match=r"cannot be read \(No such file"):
        sound_scenes(data_dir=str(tmp_path), recipe=TINY)
    shard.write_bytes(b"")
    with pytest.raises(SepconError, match=r"train.*: is not what was written there"):
        sound_scenes(data_dir=str(tmp_path), recipe=TINY)


def test_the_configs_of_the_command_line_resolve_to_their_own_folders(tmp_path: Path) -> None:
    names = {
        scenes.Builder(data_dir=str(tmp_path), config=config).builder_config.name
        for config in ("synthetic", "esc50")
    }
    assert len(names) == 2
    assert {name.split("_")[0] for name in names} == {"synthetic", "esc50"}
    json_config = scenes.SoundScenesConfig(name="x", recipe={"scene_seconds": 1.0})  # type: ignore[arg-type]
    builder = scenes.Builder(data_dir=str(tmp_path), config=json_config)
    assert builder.info.features["audio"].shape == (16000,)
