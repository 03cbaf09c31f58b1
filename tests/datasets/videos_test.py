"""A folder of videos is imported: clips, groups, frames for taggers, and what is left out."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV, of the extra video")

from tagger_stubs import write_stub
from video_fixtures import plain, write_video_folder

from sepcon.datasets.videos import video_folder
from sepcon.errors import SepconError
from sepcon.importing import import_folder
from sepcon.importing.clip_source import Clip
from sepcon.importing.import_folder import open_import
from sepcon.importing.manifest import read_rows
from sepcon.importing.score_files import read_scores
from sepcon.taggers.python_tagger import PythonTagger
from sepcon.taggers.tagged import tagged
from sepcon.verbs.import_clips import import_clips
from sepcon.video.encode import write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("videos")
    return root, write_video_folder(root)


def taggers(folder: Path) -> list[PythonTagger]:
    code, classes = write_stub(folder)
    return [
        PythonTagger("hear", f"{code}:tag", classes),
        PythonTagger("see", f"{code}:brightness", classes, sees="pictures"),
    ]


def test_each_video_is_right_or_named_and_counted(videos, tmp_path):
    root, reasons = videos
    source = video_folder(path=str(root), clip_seconds=2.0, shortest_seconds=1.5)
    assert source.note == "passed over files of other endings: 1 .txt"
    counts = import_clips(
        run_dir=tmp_path / "run",
        source=source,
        taggers=taggers(tmp_path),
        processes=1,
        clips_per_shard=2,
        max_fault_share=0.9,
    )
    rows = list(read_rows(tmp_path / "run" / "manifest.csv"))
    found = {row.group: row.reason for row in rows}
    assert found == reasons
    # 5 s are two clips of 2 s; the second that is left is shorter than 1.5 s.
    kept = [row for row in rows if not row.reason]
    assert [(row.id, row.source, row.seconds) for row in kept] == [
        (f"{name}#{number}", f"{name}#{number}", "2.000")
        for name in ("a/good.mp4", "good.mkv")
        for number in (0, 1)
    ]
    assert counts.faults == 5  # cut off (of two clips), empty, damaged, not a video
    opened = open_import(tmp_path / "run")
    scores = [each for _, each in read_scores(opened.root, opened.taggers, "see", _counts(opened))]
    # Four pictures of each clip, of one grey.
    assert sum(map(len, scores)) == 4 * len(kept)
    np.testing.assert_allclose(np.concatenate(scores)[:, 0], 100 / 255, atol=0.02)
    # No split cuts a video: parts are made of groups.
    assert [row.group for row in kept] == ["a/good.mp4"] * 2 + ["good.mkv"] * 2


def _counts(opened) -> list[int]:
    from sepcon.data.records import RecordFiles

    return list(RecordFiles(list(opened.records), cure="").counts)


def test_a_stopped_import_of_videos_goes_on_to_the_same_bytes(videos, tmp_path):
    source = video_folder(path=str(videos[0]), clip_seconds=2.0, shortest_seconds=1.5)
    settings = {"processes": 1, "clips_per_shard": 3, "max_fault_share": 0.9}
    labels = taggers(tmp_path)
    import_clips(run_dir=tmp_path / "whole", source=source, taggers=labels, **settings)
    (tmp_path / "stopped").mkdir()
    # As another process gets it.
    labelled = pickle.loads(pickle.dumps(tagged(source, labels)))
    import_folder.begin(tmp_path / "stopped", labelled, clips_per_shard=3)
    # In the middle of a video.
    import_folder.write_shard(tmp_path / "stopped", 1, labelled.read, labelled.references[3:6])
    import_clips(run_dir=tmp_path / "stopped", source=source, taggers=labels, **settings)
    files = {
        path.name: path.read_bytes()
        for path in (tmp_path / "whole").iterdir()
        if path.name != "run.json"
    }
    assert len(files) > 8
    assert files == {name: (tmp_path / "stopped" / name).read_bytes() for name in files}


def test_clips_come_with_the_frames_at_the_middle_of_their_parts(tmp_path):
    video = plain(5.0)
    pictures = np.stack([np.full((48, 64, 3), 10 * n, np.uint8) for n in range(25)])
    (tmp_path / "v").mkdir()
    video = dataclasses.replace(video, pictures=pictures)
    write_video(tmp_path / "v" / "steps.mkv", video)
    source = video_folder(path=str(tmp_path / "v"), clip_seconds=3.0, pictures=3, picture_side=24)
    clips = [content for _, content in source.read(source.references)]
    assert all(isinstance(clip, Clip) for clip in clips)
    assert [len(clip.audio) for clip in clips] == [48000, 32000]
    assert clips[0].pictures.shape == (3, 24, 32, 3)
    middles = [0.5, 1.5, 2.5, 3 + 1 / 3, 4.0, 4 + 2 / 3]
    expected = [10 * round(time / 0.2) for time in middles]
    seen = np.concatenate([clip.pictures for clip in clips]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(seen, expected, atol=12)
    # Without a tagger that sees, frames are not decoded.
    alone = tagged(source, [])
    assert [content.pictures for _, content in alone.read(alone.references)] == [None, None]


def test_folders_without_videos_and_wrong_numbers_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SepconError, match=r"holds no video; expected files ending in \.avi"):
        video_folder(path=str(tmp_path))
    with pytest.raises(SepconError, match="no such folder"):
        video_folder(path=str(tmp_path / "gone"))
    with pytest.raises(SepconError, match=r"clips of 2\.0 s, at least 3\.0 s"):
        video_folder(path=str(tmp_path), clip_seconds=2.0, shortest_seconds=3.0)
