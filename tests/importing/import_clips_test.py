"""An import as a whole: its counts, its bytes, how it is stopped and goes on."""

import collections
import csv
import dataclasses
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from import_fixtures import SEGMENTS, sound, write_audio, write_audioset

from sepcon.datasets.audioset.segments import audioset_segments
from sepcon.datasets.folders import audio_folder
from sepcon.errors import SepconError
from sepcon.importing import import_folder
from sepcon.importing.clip_source import ClipReference, ClipSource, Loaded
from sepcon.runs import run_folder
from sepcon.verbs.import_clips import import_clips

CHILD = Path(__file__).resolve().parents[1] / "support" / "import_child.py"


def contents(root: Path) -> dict[str, bytes]:
    """All files of a folder but the record of the run, which names the commit."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def audioset(root: Path) -> ClipSource:
    return audioset_segments(
        segments_csv=str(root / "eval_segments.csv"),
        audio_dir=str(root / "audio"),
        classes_csv=str(root / "class_labels_indices.csv"),
    )


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    for number in range(12):
        write_audio(folder / f"{number:02d}.wav", number)
    return folder


def test_every_clip_is_in_the_manifest_and_the_counts_add_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = audioset(write_audioset(tmp_path / "audioset"))
    run = tmp_path / "run"
    counts = import_clips(
        run_dir=run, source=source, processes=1, clips_per_shard=4, max_fault_share=0.5
    )
    with open(run / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = collections.Counter(reason for *_, reason in SEGMENTS)
    assert collections.Counter(row["reason"] for row in rows) == expected == counts.reasons
    assert counts.clips == len(rows) == len(SEGMENTS)
    assert counts.kept + sum(counts.left_out().values()) == len(SEGMENTS)
    assert counts.seconds == pytest.approx(
        sum(float(row["seconds"]) for row in rows if not row["reason"])
    )
    assert [row["id"] for row in rows] == [video_id for video_id, *_ in SEGMENTS]
    assert sorted(path.name for path in run.iterdir()) == [
        "classes.csv",
        *(
            f"clips-{number:05d}.tfrecord{end}"
            for number in range(4)
            for end in ("", ".envelope.npz")
        ),
        "manifest.csv",
        "plan.json",
        "run.json",
        "seals.json",
    ]
    record = run_folder.read_record(run)
    assert (record["clips"], record["imported"]) == (14, 7)
    assert sum(record["left_out"].values()) == 7
    output = capfd.readouterr()
    assert "import audioset_eval: 11 clips to convert, 1 known to be missing; about" in output.err
    assert "14 clips of audioset_eval, 7 imported" in output.out
    assert "7 left out: 1 cut off; 1 damaged; 1 duplicate id; 1 empty; 1 missing" in output.out
    assert "2 labels are no classes, on 3 clips: /m/gone, /t/dd0" in output.out


def test_a_second_run_does_nothing_and_says_so(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = audio_folder(path=str(recordings))
    first = import_clips(run_dir=tmp_path / "run", source=source, processes=1)
    before = contents(tmp_path / "run")
    unreadable = dataclasses.replace(source, read=_must_not_be_called)
    second = import_clips(run_dir=tmp_path / "run", source=unreadable, processes=1)
    assert first == second
    assert contents(tmp_path / "run") == before
    assert "holds a finished run; nothing to do" in capsys.readouterr().err


def _must_not_be_called(references: object) -> Iterator[object]:
    raise AssertionError(references)


def test_the_number_of_processes_changes_nothing(recordings: Path, tmp_path: Path) -> None:
    source = audio_folder(path=str(recordings))
    for processes in (1, 2):
        run = tmp_path / str(processes)
        import_clips(run_dir=run, source=source, processes=processes, clips_per_shard=3)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len(contents(tmp_path / "1")) == 4 * 2 + 4


def test_killed_at_random_ten_times_it_gives_the_same_bytes(tmp_path: Path) -> None:
    folder, run, whole = tmp_path / "recordings", tmp_path / "run", tmp_path / "whole"
    folder.mkdir()
    for number in range(300):
        soundfile.write(folder / f"{number:03d}.wav", sound(number, seconds=0.05), 16000)
    (folder / "empty.wav").write_bytes(b"")
    import_clips(
        run_dir=whole, source=audio_folder(path=str(folder)), processes=1, clips_per_shard=2
    )
    random = np.random.default_rng(0)
    for number in range(10):
        with _started(folder, run, processes=1 + number // 8) as child:
            # Half of the times while it begins, half of them while it converts.
            _wait_for_more(run, "*" if number % 2 else "parts/[0-9]*.csv", child)
            time.sleep(random.uniform(0.0, 0.15))
            assert child.poll() is None, "it came to its end: give it more to do"
            child.send_signal(signal.SIGKILL)
    done = len(list((run / "parts").glob("[0-9]*.csv")))
    assert 5 <= done < 151
    import_clips(run_dir=run, source=audio_folder(path=str(folder)), processes=1, clips_per_shard=2)
    assert contents(run) == contents(whole)


def test_what_a_worker_of_a_killed_parent_left_late_is_removed(
    recordings: Path, tmp_path: Path
) -> None:
    source, run = audio_folder(path=str(recordings)), tmp_path / "run"

    def read(references: Sequence[ClipReference]) -> Iterator[Loaded]:
        (run / f".clips-00001.tfrecord.{'0' * 32}").touch()
        yield from source.read(references)

    import_clips(run_dir=run, source=dataclasses.replace(source, read=read), processes=1)
    assert [path.name for path in run.glob(".*")] == []


def _started(folder: Path, run: Path, *, processes: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(CHILD), str(folder), str(run), str(processes)]
    return subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _wait_for_more(run: Path, pattern: str, child: subprocess.Popen[bytes]) -> None:
    """Waits until the child has written something that was not there."""
    before = set(run.glob(pattern))
    while set(run.glob(pattern)) <= before and child.poll() is None:
        time.sleep(0.005)


def test_workers_end_with_a_killed_parent(recordings: Path, tmp_path: Path) -> None:
    for number in range(12, 400):
        shutil.copy(recordings / "00.wav", recordings / f"{number}.wav")
    with _started(recordings, tmp_path / "run", processes=2) as child:
        while not list((tmp_path / "run").glob("parts/[0-9]*.csv")):
            time.sleep(0.01)
        workers = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        assert len(workers) >= 2
        child.kill()
    deadline = time.monotonic() + 20
    while any(_is_running(int(pid)) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_worker_is_told_and_the_same_command_goes_on(
    recordings: Path, tmp_path: Path
) -> None:
    source, run = audio_folder(path=str(recordings)), tmp_path / "run"
    dying = dataclasses.replace(source, read=_die_in_a_worker)
    with pytest.raises(SepconError, match=r"a process was killed.*import_clips\.processes"):
        import_clips(run_dir=run, source=dying, processes=2, clips_per_shard=4)
    assert import_clips(run_dir=run, source=source, processes=1, clips_per_shard=4).kept == 12


def _die_in_a_worker(references: Sequence[ClipReference]) -> Iterator[Loaded]:
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return iter([(each, np.ones(9, np.int16)) for each in references])


@pytest.mark.parametrize("moment", ["shards", "manifest", "parts"])
def test_stopped_at_the_end_it_goes_on(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before the manifest is there, before the parts are removed, before run.json is there."""
    source = audio_folder(path=str(recordings))
    whole, run = tmp_path / "whole", tmp_path / "run"
    import_clips(run_dir=whole, source=source, processes=1, clips_per_shard=5)
    where, what = {
        "shards": (import_folder, "finish"),
        "manifest": (import_folder.shutil, "rmtree"),
        "parts": (run_folder, "finish"),
    }[moment]
    with monkeypatch.context() as patch:
        patch.setattr(where, what, _killed)
        with pytest.raises(KeyboardInterrupt):
            import_clips(run_dir=run, source=source, processes=1, clips_per_shard=5)
    assert not run_folder.is_finished(run)
    with pytest.raises(SepconError, match="is an unfinished import; start the same"):
        import_folder.open_import(run)
    import_clips(run_dir=run, source=source, processes=1, clips_per_shard=5)
    assert contents(run) == contents(whole)


def _killed(*arguments: object, **keywords: object) -> None:
    raise KeyboardInterrupt


def test_too_many_faults_stop_it_and_nothing_is_lost(recordings: Path, tmp_path: Path) -> None:
    for number in (3, 4, 11):
        path = recordings / f"{number:02d}.wav"
        path.write_bytes(path.read_bytes()[:5000])
    source, run = audio_folder(path=str(recordings)), tmp_path / "run"
    for _ in range(2):
        with pytest.raises(
            SepconError, match=r"run: 3 of 12 recordings are damaged, more than the share of 0\.2"
        ):
            import_clips(
                run_dir=run, source=source, processes=1, clips_per_shard=4, max_fault_share=0.2
            )
    stamps = {path: path.stat().st_mtime_ns for path in run.glob("*.tfrecord")}
    assert len(stamps) == 3
    counts = import_clips(
        run_dir=run, source=source, processes=1, clips_per_shard=4, max_fault_share=0.3
    )
    assert counts.reasons == {"": 9, "cut off": 3}
    assert {path: path.stat().st_mtime_ns for path in run.glob("*.tfrecord")} == stamps


def test_many_faults_stop_it_before_the_end(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepcon.verbs.import_clips._FAULTS_AFTER_CLIPS", 4)
    for number in (0, 1):
        (recordings / f"{number:02d}.wav").write_text("no sound")
    run = tmp_path / "run"
    with pytest.raises(SepconError, match=r"2 of 4 recordings are damaged.*2 not audio"):
        import_clips(
            run_dir=run, source=audio_folder(path=str(recordings)), processes=1, clips_per_shard=2
        )
    assert len(list(run.glob("*.tfrecord"))) == 2


def test_another_list_of_clips_is_refused(recordings: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (recordings / "bad.wav").write_bytes(b"")
    with pytest.raises(SepconError, match="more than the share of 0"):
        import_clips(
            run_dir=run, source=audio_folder(path=str(recordings)), processes=1, max_fault_share=0.0
        )
    write_audio(recordings / "new.wav", 1)
    with pytest.raises(SepconError, match="unfinished import with clips 13, now it is 14"):
        import_clips(run_dir=run, source=audio_folder(path=str(recordings)), processes=1)
    (recordings / "new.wav").rename(recordings / "newer.wav")
    (recordings / "00.wav").unlink()
    with pytest.raises(SepconError, match="unfinished import with list_digest"):
        import_clips(run_dir=run, source=audio_folder(path=str(recordings)), processes=1)
    (recordings / "newer.wav").unlink()
    write_audio(recordings / "00.wav", 0)
    with pytest.raises(SepconError, match="with clips_per_shard 256, now it is 5"):
        import_clips(
            run_dir=run, source=audio_folder(path=str(recordings)), processes=1, clips_per_shard=5
        )
    source = audio_folder(path=str(recordings))
    assert import_clips(run_dir=run, source=source, processes=1, max_fault_share=0.5).kept == 12
    assert import_clips(run_dir=run, source=source, processes=1).kept == 12
    (recordings / "00.wav").unlink()
    source = audio_folder(path=str(recordings))
    with pytest.raises(SepconError, match="finished import with clips 13, now it is 12"):
        import_clips(run_dir=run, source=source, processes=1)


def test_other_labels_of_the_same_clips_are_refused_by_a_finished_import(tmp_path: Path) -> None:
    """The list has the same names and length."""
    (tmp_path / "audio").mkdir()
    table, run = tmp_path / "labels.csv", tmp_path / "run"
    for name in "ab":
        write_audio(tmp_path / "audio" / f"{name}.wav", ord(name))

    def source(of_a: str) -> ClipSource:
        table.write_text(f"filename,label\na.wav,{of_a}\nb.wav,cat\n")
        return audio_folder(path=str(tmp_path / "audio"), labels_csv=str(table))

    import_clips(run_dir=run, source=source("dog"), processes=1)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert import_clips(run_dir=run, source=source("dog"), processes=1).kept == 2
    with pytest.raises(SepconError, match="finished import with list_digest"):
        import_clips(run_dir=run, source=source("cat"), processes=1)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_nothing_to_import(tmp_path: Path) -> None:
    root = write_audioset(tmp_path)
    (root / "eval_segments.csv").write_text("-not-there-, 0.0, 10.0, /m/09x0r\n")
    with pytest.raises(SepconError, match=r"not one of 1 clips can be imported \(missing\)"):
        import_clips(run_dir=tmp_path / "run", source=audioset(root), processes=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(SepconError, match="cannot be written"):
        import_clips(run_dir=tmp_path / "run", source=audio_folder(path=str(recordings)))


def test_a_full_disk_is_told_and_the_same_command_goes_on(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = tmp_path / "run", audio_folder(path=str(recordings))
    with monkeypatch.context() as patch:
        patch.setattr(import_folder, "write_record", _disk_full)
        with pytest.raises(SepconError, match=r"cannot be written.*No space left.*goes on"):
            import_clips(run_dir=run, source=source, processes=1)
    assert not list(run.glob("*.tfrecord"))
    assert import_clips(run_dir=run, source=source, processes=1).kept == 12


def _disk_full(*arguments: object) -> None:
    raise OSError(28, "No space left on device")


def test_names_that_no_table_likes(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    names = ["a,b.wav", 'quo"te.wav', "line\nbreak.wav", os.fsdecode(b"\xff\xfe.wav"), "日本.wav"]
    for number, name in enumerate(names):
        write_audio(folder / name, number)
    import_clips(run_dir=tmp_path / "run", source=audio_folder(path=str(folder)), processes=1)
    rows = import_folder.read_rows(tmp_path / "run" / "manifest.csv")
    assert [row.id for row in rows] == sorted(names)
