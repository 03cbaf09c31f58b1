"""One process at a time writes a folder; the next one is told who, and what to do after a crash."""

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sepcon.errors import SepconError
from sepcon.runs import claim
from sepcon.runs.claim import CLAIM_FILE, Holder, claimed, claims_run_dir
from sepcon.verbs.registry import VERBS

HOLD = (
    "import sys, time; from pathlib import Path; from sepcon.runs.claim import claimed\n"
    "with claimed(Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(100)\n"
)
TRY = (
    "import sys; from pathlib import Path; from sepcon.runs.claim import claimed\n"
    "counter = Path(sys.argv[2])\n"
    "for _ in range(200):\n"
    "    try:\n"
    "        with claimed(Path(sys.argv[1])):\n"
    "            number = int(counter.read_text()); counter.write_text(str(number + 1))\n"
    "            print('x', end='')\n"
    "    except Exception as error:\n"
    "        assert 'another process writes there' in str(error), error\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path / "run"."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def refused(folder: Path) -> str:
    with pytest.raises(SepconError) as caught, claimed(folder):
        pass
    return str(caught.value)


def test_the_second_process_is_told_who_holds_the_folder(tmp_path, holder):
    message = refused(tmp_path / "run")
    assert message.startswith(f"{tmp_path / 'run'}: another process writes there: -c {tmp_path}")
    assert f"pid {holder.pid} on {os.uname().nodename}, since 2" in message
    assert message.endswith("wait for it, or choose another folder")
    assert "\n" not in message
    # By another name of the folder too.
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert f"pid {holder.pid}" in refused(tmp_path / "link")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_after_a_crash_on_this_machine_the_next_start_takes_over(tmp_path, holder, number):
    scratch = tmp_path / "run" / "states" / f".scratch.{'0' * 32}"
    scratch.mkdir(parents=True)
    holder.send_signal(number)
    holder.wait()
    assert (tmp_path / "run" / CLAIM_FILE).exists()
    with claimed(tmp_path / "run"):
        assert not scratch.exists()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["states"]


def leave(folder: Path, **changes) -> None:
    folder.mkdir(exist_ok=True)
    left = vars(Holder.this_process()) | {"pid": 4711, "command": "sepcon pretrain"} | changes
    (folder / CLAIM_FILE).write_text(json.dumps(left))


def test_what_another_machine_has_left_is_for_the_user_to_judge(tmp_path):
    leave(tmp_path / "run", host="other", boot="another boot")
    message = refused(tmp_path / "run")
    assert "is claimed by sepcon pretrain (pid 4711 on other, since " in message
    assert f"if it runs no more, remove {tmp_path / 'run' / CLAIM_FILE} and start again" in message
    (tmp_path / "run" / CLAIM_FILE).unlink()
    with claimed(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    "changes",
    [{"boot": "before it was started anew"}, {"host": "another container of this machine"}, {}],
)
def test_what_this_machine_has_left_is_taken_over(tmp_path, changes):
    leave(tmp_path / "run", **changes)
    with claimed(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / CLAIM_FILE).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}'])
def test_a_damaged_claim_is_no_claim(tmp_path, text):
    (tmp_path / CLAIM_FILE).write_text(text)
    with claimed(tmp_path):
        assert json.loads((tmp_path / CLAIM_FILE).read_text())["pid"] == os.getpid()


def test_where_there_are_no_locks_the_number_of_the_process_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "_try_to_lock", lambda descriptor: None)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    leave(tmp_path / "run", pid=child.pid)
    assert f"pid {child.pid}" in refused(tmp_path / "run")
    child.communicate(b"\n")
    with claimed(tmp_path / "run"):
        pass


def test_many_at_once_never_write_together(tmp_path):
    (tmp_path / "counter").write_text("0")
    words = [sys.executable, "-c", TRY, tmp_path / "run", tmp_path / "counter"]
    processes = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    done = sum(len(output) for output, _ in outputs)
    assert int((tmp_path / "counter").read_text()) == done > 0


def test_a_folder_that_its_last_holder_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    really_open, removed = os.open, []

    def removes_before(path, *args, **kwargs):
        if Path(path).name == CLAIM_FILE and len(removed) < 3:
            Path(path).parent.rmdir()
            removed.append(path)
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", removes_before)
    with claimed(tmp_path / "run"):
        assert len(removed) == 3
        assert (tmp_path / "run" / CLAIM_FILE).exists()


@pytest.mark.parametrize("place", ["file", "dangling link", "folder that is no more"])
def test_where_no_folder_can_be_made_is_said(tmp_path, monkeypatch, place):
    folder = tmp_path / "run"
    if place == "file":
        folder.write_text("")
    elif place == "dangling link":
        folder.symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        folder = Path("run")
    assert str(folder) in refused(folder)


def test_the_holder_may_claim_again_and_another_thread_may_not(tmp_path):
    told = []

    def other():
        try:
            with claimed(tmp_path / "run"):
                pass
        except SepconError as error:
            told.append(str(error))

    with claimed(tmp_path / "run"), claimed(tmp_path / "run"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(told) == 1
    assert f"pid {os.getpid()}" in told[0]
    other()
    assert len(told) == 1


def test_a_folder_that_stays_empty_is_not_left_behind(tmp_path):
    with claimed(tmp_path / "a" / "run"):
        pass
    assert not (tmp_path / "a" / "run").exists()
    (tmp_path / "b").mkdir()
    with claimed(tmp_path / "b"):
        pass
    assert (tmp_path / "b").exists()


def test_a_claim_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CLAIM_FILE).symlink_to(tmp_path / "victim")
    assert "cannot be written" in refused(tmp_path / "run")
    assert (tmp_path / "victim").read_text() == "mine"


def test_what_somebody_else_holds_below_is_not_cleared_up(tmp_path, holder):
    theirs = tmp_path / "run" / f".scratch.{'1' * 32}"
    theirs.write_text("in work")
    with claimed(tmp_path):
        assert theirs.exists()


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_claims_its_folder(tmp_path, holder, name):
    module, function = VERBS[name].function.split(":")
    with pytest.raises(SepconError, match="another process writes there"):
        getattr(importlib.import_module(module), function)(run_dir=tmp_path / "run")
    assert os.listdir(tmp_path / "run") == [CLAIM_FILE]


def test_of_workers_that_train_together_the_first_one_claims(tmp_path, monkeypatch):
    @claims_run_dir
    def verb(*, run_dir, strategy="default"):
        return (Path(run_dir) / CLAIM_FILE).exists()

    assert verb(run_dir=tmp_path)
    assert list(inspect.signature(verb).parameters) == ["run_dir", "strategy"]
    for index in (0, 1):
        task = {"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(task))
        assert verb(run_dir=tmp_path, strategy="multi_worker") is (index == 0)


def test_a_finished_run_that_cannot_be_written_is_left_to_the_verb(tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text("{}")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert claims_run_dir(lambda *, run_dir: sorted(os.listdir(run_dir)))(run_dir=tmp_path) == [
        "run.json"
    ]
