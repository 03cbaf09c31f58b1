"""Clips that are labelled while they are imported: scores kept as they came, of one teacher."""

import json
from pathlib import Path

import numpy as np
import pytest
from import_fixtures import write_audio
from tagger_stubs import CLASSES, expected, write_stub

from sepcon import cli
from sepcon.audio.decode import decode_file
from sepcon.datasets.folders import audio_folder
from sepcon.errors import SepconError
from sepcon.importing import import_folder
from sepcon.importing.clip_source import ClipSource
from sepcon.importing.import_folder import open_import
from sepcon.importing.score_files import read_scores, scores_path
from sepcon.importing.tagger_note import TaggerNote
from sepcon.taggers.python_tagger import PythonTagger
from sepcon.taggers.tagged import tagged
from sepcon.verbs.import_clips import import_clips


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for number in range(7):
        name = "no-sound.wav" if number == 3 else f"{number}.wav"
        write_audio(tmp_path / "recordings" / name, number)
    return tmp_path / "recordings"


def tagger(tmp_path: Path, function: str = "tag", name: str = "stub") -> PythonTagger:
    code, classes = write_stub(tmp_path)
    return PythonTagger(name, f"{code}:{function}", classes)


def source(recordings: Path) -> ClipSource:
    return audio_folder(path=str(recordings))


def contents(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_the_scores_of_every_window_are_kept_beside_the_clips(recordings, tmp_path):
    taggers = [tagger(tmp_path), tagger(tmp_path, "other", "reversed")]
    counts = import_clips(
        run_dir=tmp_path / "run",
        source=source(recordings),
        taggers=taggers,
        processes=1,
        clips_per_shard=3,
    )
    assert (counts.kept, counts.left_out()) == (6, {"silent": 1})
    opened = open_import(tmp_path / "run")
    assert [note.name for note in opened.taggers] == ["stub", "reversed"]
    assert opened.taggers[0].class_names == CLASSES
    names = [row.id for row in opened.rows()]
    found = [
        clip
        for frames, scores in read_scores(opened.root, opened.taggers, "stub", (3, 3, 0))
        if len(frames)
        for clip in np.split(scores, np.cumsum(frames)[:-1])
    ]
    assert len(found) == len(names) == 6
    for name, scores in zip(names, found, strict=True):
        waveform = decode_file(recordings / name).astype(np.float32) / 32768
        np.testing.assert_array_equal(scores, expected(waveform).astype(np.float16))
    other = [each for _, each in read_scores(opened.root, opened.taggers, "reversed", (3, 3, 0))]
    np.testing.assert_array_equal(np.concatenate(other)[:, ::-1], np.concatenate(found))
    # Where a label comes from stands in the record of the run and in the plan.
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["taggers"][0].startswith(f"tagger stub {taggers[0].digest[:12]} (4 classes ")
    assert "tensorflow 2." in record["taggers"][0]
    assert (
        record["taggers"][1] in json.loads((tmp_path / "run" / "plan.json").read_text())["settings"]
    )


def test_a_stopped_import_goes_on_to_the_same_bytes_with_the_same_teacher_alone(
    recordings, tmp_path
):
    settings = {"source": source(recordings), "processes": 1, "clips_per_shard": 3}
    import_clips(run_dir=tmp_path / "whole", taggers=[tagger(tmp_path)], **settings)
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    labelled = tagged(settings["source"], [tagger(tmp_path)])
    import_folder.begin(stopped, labelled, clips_per_shard=3)
    import_folder.write_shard(stopped, 1, labelled.read, labelled.references[3:6])
    before = contents(stopped)
    for others in ([tagger(tmp_path, "other")], [], [tagger(tmp_path), tagger(tmp_path, name="b")]):
        with pytest.raises(
            SepconError, match=r"holds an unfinished import with settings tagger stub"
        ):
            import_clips(run_dir=stopped, taggers=others, **settings)
    assert contents(stopped) == before
    import_clips(run_dir=stopped, taggers=[tagger(tmp_path)], **settings)
    assert contents(stopped) == contents(tmp_path / "whole")


def test_imports_of_two_teachers_are_not_put_together(recordings, tmp_path, capsys):
    code, classes = write_stub(tmp_path)
    for function in ("tag", "other"):
        words = ["TAGGERS=[@PythonTagger()]", "PythonTagger.name='stub'"]
        words += [f"PythonTagger.function='{code}:{function}'", f"PythonTagger.classes='{classes}'"]
        words += [f"SOURCE_DIR='{recordings}'", "import_clips.processes=1"]
        given = [f"--gin_bindings={word}" for word in words]
        run = f"--run_dir={tmp_path / function}"
        assert cli.main(["import", "--gin_file=import/folder.gin", *given, run]) == 0
    both = f"--gin_bindings=IMPORTED=['{tmp_path / 'tag'}', '{tmp_path / 'other'}']"
    words = ["prepare", "--gin_file=data/machine_labels.gin", both, f"--run_dir={tmp_path / 'p'}"]
    assert cli.main(words) == 1
    assert "was imported with tagger stub" in capsys.readouterr().err


def test_scores_that_are_none_stop_the_import(recordings, tmp_path):
    settings = {"source": source(recordings), "processes": 1}
    with pytest.raises(SepconError, match=r"tagger stub: gave scores of shape \(2, 7\), expected"):
        import_clips(run_dir=tmp_path / "run", taggers=[tagger(tmp_path, "wrong")], **settings)
    with pytest.raises(SepconError, match=r"stub_tagger\.py:brightness failed: AxisError"):
        import_clips(run_dir=tmp_path / "b", taggers=[tagger(tmp_path, "brightness")], **settings)


def test_taggers_that_do_not_fit_are_told_at_once(recordings, tmp_path):
    code, classes = write_stub(tmp_path)
    seeing = PythonTagger("eyes", f"{code}:brightness", classes, sees="pictures")
    with pytest.raises(SepconError, match="recordings: has no pictures for the tagger eyes"):
        tagged(source(recordings), [seeing])
    with pytest.raises(SepconError, match="a tagger is called 'stub'; give each a name of its own"):
        tagged(source(recordings), [tagger(tmp_path), tagger(tmp_path)])
    with pytest.raises(SepconError, match=r"stub_tagger\.py has no function 'nothing'"):
        tagged(source(recordings), [tagger(tmp_path, "nothing")])
    with pytest.raises(SepconError, match="sees is 'smell', expected one of sound, pictures"):
        PythonTagger("nose", "a:b", classes, sees="smell")


def test_damaged_scores_are_told(recordings, tmp_path):
    run = tmp_path / "run"
    settings = {"source": source(recordings), "processes": 1, "taggers": [tagger(tmp_path)]}
    import_clips(run_dir=run, **settings)
    path = scores_path(run, 0)
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    with pytest.raises(SepconError, match=r"scores-00000\.npz: is not what was written there"):
        open_import(run)
    note = TaggerNote("stub", CLASSES, "d", "r", "v")
    np.savez(path, **{"0.frames": np.array([2, 0]), "0.scores": np.zeros((2, 4), np.float16)})
    with pytest.raises(SepconError, match="does not hold the scores of its shard"):
        list(read_scores(run, [note], "stub", (2,)))
