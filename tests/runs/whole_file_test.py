"""What is written appears whole, on the disk, or not at all; nothing of it is left lying about."""

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk

from sepcon.errors import SepconError, WriteError
from sepcon.runs import whole_file as module
from sepcon.runs.whole_file import (
    remove_leftovers,
    scratch_folder,
    whole_file,
    whole_folder,
    write_arrays,
)


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    (tmp_path / "a").write_text("old")
    with whole_file(tmp_path / "a") as scratch:
        scratch.write_text("new")
        assert scratch.parent == tmp_path
        assert (tmp_path / "a").read_text() == "old"
    assert tree(tmp_path) == {"a": b"new"}


def test_a_folder_takes_its_place_when_it_is_whole(tmp_path):
    for text in ("old", "new"):
        with whole_folder(tmp_path / "x" / "a") as scratch:
            (scratch / "sub").mkdir()
            (scratch / "sub" / text).write_text(text)
    assert tree(tmp_path) == {"x/a/sub/new": b"new"}
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a"]


def test_where_folders_cannot_be_exchanged_the_old_one_makes_way(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_exchange", lambda one, other: False)
    test_a_folder_takes_its_place_when_it_is_whole(tmp_path)


def _write_half(writer, error):
    with writer as scratch:
        (scratch / "half" if scratch.is_dir() else scratch).write_text("half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError])
def test_whatever_is_raised_nothing_is_left_and_the_old_stays(tmp_path, error):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    before = tree(tmp_path)
    expected = WriteError if error is OSError else error
    for write, name in ((whole_file, "file"), (whole_folder, "folder")):
        with pytest.raises(expected):
            _write_half(write(tmp_path / name), error)
    assert tree(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_all_of_it_reaches_the_disk_before_its_name_and_the_folder_after(tmp_path, monkeypatch):
    events = []
    names = {}

    def fsync(descriptor):
        events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))

    real = os.replace
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append(("rename", b)), real(a, b)))
    with whole_file(tmp_path / "a") as scratch:
        scratch.write_text("x")
        names["file"] = str(scratch)
    assert events == [
        ("sync", names["file"]),
        ("rename", tmp_path / "a"),
        ("sync", str(tmp_path)),
    ]
    events.clear()
    with whole_folder(tmp_path / "b") as scratch:
        (scratch / "sub").mkdir()
        (scratch / "sub" / "c").write_text("x")
    root = str(scratch)
    assert set(events[:-1]) == {("sync", f"{root}{end}") for end in ("", "/sub", "/sub/c")}
    assert events[-1] == ("sync", str(tmp_path))


def _write_much(target, kind):
    if kind == "file":
        with whole_file(target) as scratch:
            scratch.write_bytes(bytes(5000))
    elif kind == "folder":
        with whole_folder(target) as scratch, whole_file(scratch / "inner") as inner:
            inner.write_bytes(bytes(5000))
    else:
        write_arrays(target, {"a": np.zeros(5000)})


@pytest.mark.parametrize("kind", ["file", "folder", "arrays"])
def test_a_full_disk_is_one_line_with_the_name_and_the_cure(tmp_path, kind):
    target = tmp_path / "saved"
    with pytest.raises(WriteError) as caught, full_disk(1000):
        _write_much(target, kind)
    assert str(caught.value) == (
        f"{target}: cannot be written (File too large); make room, then the same command goes on, "
        "or choose another folder"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission_is_named_with_its_cure(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied", str(arguments[0]))

    monkeypatch.setattr(os, "open", refuse)
    told = pytest.raises(WriteError, match=r"/a: cannot be written \(Permission denied\); make it")
    with told, whole_file(tmp_path / "a"):
        pass


def test_another_file_that_fails_meanwhile_is_named_too(tmp_path):
    told = pytest.raises(WriteError, match=r"a: cannot be written \(No such file .*: /no/where\)")
    with told, whole_file(tmp_path / "a"):
        Path("/no/where").read_text()


def test_what_lies_at_a_link_is_never_written(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    # Somebody who knew the random name could lay a link there; it is refused all the same.
    monkeypatch.setattr(module, "_scratch_beside", lambda folder: folder / ".scratch")
    (run / ".scratch").symlink_to(victim)
    with pytest.raises(WriteError, match="File exists"), whole_file(run / "a") as scratch:
        scratch.write_text("theirs")
    assert victim.read_text() == "mine"
    monkeypatch.undo()
    # A link of the name itself is replaced.
    (run / "a").symlink_to(victim)
    with whole_file(run / "a") as scratch:
        scratch.write_text("new")
    assert (victim.read_text(), (run / "a").read_text()) == ("mine", "new")
    assert not (run / "a").is_symlink()
    (tmp_path / "other").mkdir()
    (run / "parts").symlink_to(tmp_path / "other")
    with pytest.raises(SepconError, match=r"run/parts: is a link.*remove the link"):
        scratch_folder(run / "parts")


def test_two_writers_never_share_a_scratch(tmp_path):
    """Many at once, in two processes and several threads: each file read is one of them whole."""
    code = (
        "import sys, pathlib; from sepcon.runs.whole_file import whole_file, whole_folder\n"
        "root, mark = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "for n in range(60):\n"
        "    with whole_file(root / 'file') as s: s.write_text(mark * 5000)\n"
        "    with whole_folder(root / 'folder') as s:\n"
        "        [(s / str(k)).write_text(mark) for k in range(5)]\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, mark], stderr=subprocess.PIPE)
        for mark in "ab"
    ]
    seen = set()
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            if (tmp_path / "file").is_file():
                seen.add((tmp_path / "file").read_text())

    watcher = threading.Thread(target=watch)
    watcher.start()
    errors = [process.communicate()[1] for process in processes]
    stop.set()
    watcher.join()
    assert [process.returncode for process in processes] == [0, 0], errors
    assert seen <= {"a" * 5000, "b" * 5000}
    assert len({path.read_text() for path in (tmp_path / "folder").iterdir()}) == 1
    assert len(list((tmp_path / "folder").iterdir())) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_killed_writer_leaves_what_the_owner_of_the_folder_removes(tmp_path):
    code = (
        "import sys, os, signal, pathlib; from sepcon.runs.whole_file import *\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "with whole_file(root / 'file') as a, whole_folder(root / 'folder') as b:\n"
        "    (b / 'x').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    # Those of earlier versions too; what a user keeps there stays.
    for name in (".step-00000012.x1y2z3a_", ".unfinished"):
        (tmp_path / name).mkdir()
    for name in (".step-00000004.npz.4711.part", "embeddings-00000-of-00002.tmp"):
        (tmp_path / name).write_text("half")
    outside = tmp_path.parent / f"{tmp_path.name}_outside"
    outside.mkdir()
    (outside / "a").write_text("mine")
    (tmp_path / f".scratch.{'0' * 32}").symlink_to(outside)
    for name in (".hidden", "report.html", ".git.0123"):
        (tmp_path / name).write_text("mine")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".git.0123",
        ".hidden",
        "report.html",
    ]
    assert (outside / "a").read_text() == "mine"
    remove_leftovers(tmp_path / "none")


def test_arrays_are_those_that_numpy_writes_to_the_byte(tmp_path):
    arrays = {"ids": np.array(["a", "bc"]), "x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    write_arrays(tmp_path / "a.npz", arrays)
    np.savez(tmp_path / "b.npz", **arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_files_have_the_rights_that_the_user_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "a") as scratch:
            scratch.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    with whole_file(tmp_path / ("n" * 255)) as scratch:
        scratch.write_text("x")
    assert re.fullmatch("n{255}", next(tmp_path.iterdir()).name)
