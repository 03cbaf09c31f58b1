"""The same shards from an Apache Beam pipeline as from this machine, of imports and of channels."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from import_fixtures import write_audioset
from separator_stub import write_separator_run

from sepcon.data.channel_shards import read_index
from sepcon.data.channels import stored_channels
from sepcon.data.clips import ClipDataset
from sepcon.datasets.audioset.segments import audioset_segments
from sepcon.errors import SepconError
from sepcon.importing import beam_import
from sepcon.importing.clip_source import ClipSource
from sepcon.importing.imported import imported
from sepcon.runs import beam as beam_pipeline
from sepcon.runs.beam import run_pieces
from sepcon.separation import separate_dataset
from sepcon.verbs.import_clips import import_clips
from sepcon.verbs.separate import separate

pytest.importorskip("apache_beam", reason="needs the extra `beam`")

PROCESSES = (
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "--direct_running_mode=multi_processing",
    "--direct_num_workers=2",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    root = write_audioset(tmp_path_factory.mktemp("audioset"))
    return audioset_segments(
        segments_csv=str(root / "eval_segments.csv"),
        audio_dir=str(root / "audio"),
        classes_csv=str(root / "class_labels_indices.csv"),
    )


def do_import(source: ClipSource, run_dir: Path, **settings: Any) -> None:
    import_clips(run_dir=run_dir, source=source, clips_per_shard=4, max_fault_share=0.5, **settings)


@pytest.fixture(scope="module")
def local(source: ClipSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("local") / "import"
    do_import(source, run_dir, processes=1)
    return run_dir


@pytest.fixture(scope="module")
def clips(local: Path) -> ClipDataset:
    return imported(path=str(local), clip_seconds=0.2)


@pytest.fixture(scope="module")
def separator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_separator_run(tmp_path_factory.mktemp("separator") / "run", steps=(3, 7))


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the record of the run, which tells the commit."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_several_processes_import_what_one_does_to_the_byte(
    source: ClipSource, local: Path, tmp_path: Path
) -> None:
    do_import(source, tmp_path, runner="beam", pipeline_options=PROCESSES)
    assert contents(tmp_path) == contents(local)
    assert {"manifest.csv", "classes.csv", "clips-00003.tfrecord"} <= set(contents(tmp_path))


def test_a_killed_import_goes_on_with_the_shards_that_are_missing(
    source: ClipSource, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard, written = beam_import.write_shard, []

    def until_the_third(root: Path, number: int, *rest: Any) -> None:
        if number == 2:
            raise SepconError("somebody pulled the plug")
        write_shard(root, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(beam_import, "write_shard", until_the_third)
        with pytest.raises(SepconError, match=r"^somebody pulled the plug.*the same command goes"):
            do_import(source, tmp_path, runner="beam")
    done = {path.name for path in tmp_path.glob("clips-*")}
    assert "clips-00002.tfrecord" not in done

    def noted(root: Path, number: int, *rest: Any) -> None:
        written.append(number)
        write_shard(root, number, *rest)

    monkeypatch.setattr(beam_import, "write_shard", noted)
    do_import(source, tmp_path, runner="beam")
    assert {f"clips-{number:05d}.tfrecord" for number in written}.isdisjoint(done)
    assert contents(tmp_path) == contents(local)


def test_too_many_faults_stop_an_import_on_a_cluster_too(
    source: ClipSource, tmp_path: Path
) -> None:
    with pytest.raises(SepconError, match="recordings are damaged, more than"):
        import_clips(run_dir=tmp_path, source=source, max_fault_share=0.01, runner="beam")


@pytest.fixture(scope="module")
def whole(clips: ClipDataset, separator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Channels that were stored here, without a stop."""
    folder = tmp_path_factory.mktemp("channels") / "whole"
    store(clips, separator, folder)
    return folder


def store(clips: ClipDataset, separator: Path, folder: Path, **settings: Any) -> None:
    separate(
        run_dir=folder, separator=separator, clips=clips, batch_size=2, shard_clips=2, **settings
    )


def test_channels_are_the_same_wherever_they_are_made(
    clips: ClipDataset, separator: Path, whole: Path, tmp_path: Path
) -> None:
    store(clips, separator, tmp_path / "beam", runner="beam")
    assert contents(tmp_path / "beam") == contents(whole)
    index = read_index(tmp_path / "beam")
    assert (index.num_done, index.step, index.num_channels) == (clips.num_clips, 7, 3)
    # The channels of a clip sum to it.
    stored = stored_channels(paths=[str(tmp_path / "beam")])
    for position, clip in enumerate(clips.build()):
        channels = stored.read(tf.constant(position), clip["id"], tf.constant(0.0)).numpy()
        error = channels.astype(int).sum(axis=0) - clip["audio"].numpy()
        assert np.abs(error).max() <= 2


@pytest.mark.parametrize("runner", ["local", "beam"])
def test_a_killed_separation_goes_on_with_the_shards_that_are_missing(
    runner: str,
    clips: ClipDataset,
    separator: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, written = separate_dataset.write_channel_shard, []

    def until_the_second(folder: Path, number: int, clips: Any) -> None:
        if number == 1:
            next(iter(clips))
            raise SepconError("somebody pulled the plug")
        write(folder, number, clips)

    with monkeypatch.context() as patch:
        patch.setattr(separate_dataset, "write_channel_shard", until_the_second)
        with pytest.raises(SepconError, match="pulled the plug"):
            store(clips, separator, tmp_path / "parts", runner=runner)

    def noted(folder: Path, number: int, clips: Any) -> None:
        written.append(number)
        write(folder, number, clips)

    done = {int(path.stem[-5:]) for path in (tmp_path / "parts").glob("channels-*.tfrecord")}
    monkeypatch.setattr(separate_dataset, "write_channel_shard", noted)
    store(clips, separator, tmp_path / "parts", runner=runner)
    assert sorted(written) == sorted(set(range(-(-clips.num_clips // 2))) - done)
    assert 1 in written
    assert contents(tmp_path / "parts") == contents(whole)


def test_channels_begun_on_a_cluster_are_finished_here(
    clips: ClipDataset, separator: Path, whole: Path, tmp_path: Path
) -> None:
    # As a pipeline leaves it that was killed: shards in no order, and no word of them.
    shutil.copytree(whole, tmp_path / "parts")
    (tmp_path / "parts" / "run.json").unlink()
    (tmp_path / "parts" / "channels-00000.tfrecord").unlink()
    index = tmp_path / "parts" / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"shards": []}))
    kept = (tmp_path / "parts" / "channels-00001.tfrecord").stat().st_mtime_ns
    store(clips, separator, tmp_path / "parts")
    assert (tmp_path / "parts" / "channels-00001.tfrecord").stat().st_mtime_ns == kept
    assert contents(tmp_path / "parts") == contents(whole)


def test_without_beam_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(SepconError, match=r"pip install 'sepcon\[beam\]'"):
        run_pieces(print, [1], shared_dir=tmp_path)


def test_a_runner_that_is_none_is_refused(
    source: ClipSource, clips: ClipDataset, separator: Path, tmp_path: Path
) -> None:
    with pytest.raises(SepconError, match="runner is 'spark', expected one of local, beam"):
        do_import(source, tmp_path, runner="spark")
    with pytest.raises(SepconError, match="runner is 'spark', expected one of local, beam"):
        store(clips, separator, tmp_path / "channels", runner="spark")


def test_a_worker_without_the_disk_says_so(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match=r"a worker cannot read it.*on a disk that all workers"):
        beam_pipeline._do_piece(str(tmp_path / "elsewhere"), 0)


def test_a_pipeline_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    def divide(number: int) -> float:
        return 1 / number

    with pytest.raises(SepconError, match=r"the Beam pipeline failed: .*division by zero") as error:
        run_pieces(divide, [0], shared_dir=tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    run_pieces(divide, [], shared_dir=tmp_path / "nowhere")  # Nothing to do, nothing to fail.
