"""Chains of commands: order, failure, resumption, and that nothing is left running."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sepcon.errors import SepconError
from sepcon.runs.claim import CLAIM_FILE
from sepcon.runs.jobs import Job, pace_so_far, run_jobs, visible_gpus

PYTHON = (sys.executable, "-c")


def append(file: Path, word: str, seconds: float = 0.0) -> str:
    return f"import time; time.sleep({seconds}); open({str(file)!r}, 'a').write({word!r} + ' ')"


def run(jobs: list[Job], folder: Path) -> None:
    run_jobs(jobs, log_dir=folder / "logs", workers=2, environment={"X": "1"}, command=PYTHON)


def test_a_job_waits_for_those_it_needs(tmp_path):
    file = tmp_path / "order"
    jobs = [
        Job("last", (append(file, "last"),), needs=("slow", "first")),
        Job("slow", (append(file, "slow", 0.8),), needs=("first",)),
        Job("first", (append(file, "first"),)),
    ]
    run(jobs, tmp_path)
    assert file.read_text().split() == ["first", "slow", "last"]


@pytest.mark.parametrize(
    "named, there, expected",
    [
        (None, ["nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"], ["0", "1", "10"]),
        (None, [], []),
        ("2,GPU-8f", ["nvidia0"], ["2", "GPU-8f"]),
        ("-1", ["nvidia0"], []),
        ("", ["nvidia0"], []),
    ],
)
def test_gpus_are_those_that_are_named_or_there(tmp_path, named, there, expected):
    for name in there:
        (tmp_path / name).touch()
    environment = {} if named is None else {"CUDA_VISIBLE_DEVICES": named}
    assert visible_gpus(environment, tmp_path) == expected


def test_each_job_has_one_gpu(tmp_path):
    show = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(0.3)"
    jobs = [Job(name, (show,)) for name in ("first", "second")]
    named = {"CUDA_VISIBLE_DEVICES": "3,5"}
    run_jobs(jobs, log_dir=tmp_path / "logs", workers=2, environment=named, command=PYTHON)
    logs = [(tmp_path / "logs" / f"{job.name}.log").read_text() for job in jobs]
    assert {log.splitlines()[-1] for log in logs} == {"3", "5"}


def test_a_finished_job_is_not_started_again(tmp_path):
    file = tmp_path / "order"
    jobs = [
        Job("old", (append(file, "old"),), done=lambda: True),
        Job("new", (append(file, "new"),), needs=("old",)),
    ]
    run(jobs, tmp_path)
    assert file.read_text().split() == ["new"]
    # What was run stands above what it printed, to be run again by hand.
    log = (tmp_path / "logs" / "new.log").read_text()
    assert shlex.split(log.removeprefix("$ "))[:2] == list(PYTHON)
    assert not (tmp_path / "logs" / "old.log").exists()


def test_a_failure_names_the_stage_the_reason_and_the_log(tmp_path):
    code = "import sys; print('sepcon: error: no such folder'); sys.exit(3)"
    with pytest.raises(SepconError, match="stage 'bad' ended with code 3: no such folder") as error:
        run([Job("bad", (code,)), Job("after", (append(tmp_path / "f", "x"),), ("bad",))], tmp_path)
    assert str(tmp_path / "logs" / "bad.log") in str(error.value)
    assert not (tmp_path / "f").exists()


def test_a_failure_ends_the_jobs_beside_it(tmp_path):
    file = tmp_path / "late"
    with pytest.raises(SepconError):
        run(
            [Job("slow", (append(file, "slow", 20.0),)), Job("bad", ("raise SystemExit(1)",))],
            tmp_path,
        )
    time.sleep(0.2)
    assert not file.exists()


@pytest.mark.parametrize(
    "jobs",
    [
        [Job("a", ("",)), Job("a", ("",))],
        [Job("a", ("",), needs=("b",))],
        [Job("a", ("",), needs=("b",)), Job("b", ("",), needs=("a",))],
    ],
    ids=["same name", "unknown need", "circle"],
)
def test_an_impossible_chain_is_refused(jobs, tmp_path):
    with pytest.raises(ValueError, match="a"):
        run(jobs, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_a_signal_ends_parent_and_children(tmp_path, number):
    child = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    parent = (
        "import sys; from pathlib import Path; from sepcon.runs.jobs import Job, run_jobs;"
        f"run_jobs([Job('a', ({child!r},))], log_dir=Path('logs'), workers=1, environment={{}},"
        "command=(sys.executable, '-c'))"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=30)
    child_status = Path("/proc", (tmp_path / "pid").read_text(), "status")
    while child_status.exists() and "State:\tZ" not in child_status.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_at_once_are_refused(tmp_path):
    with open(tmp_path / CLAIM_FILE, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SepconError, match="another process writes there"):
            run([Job("a", (append(tmp_path / "f", "x"),))], tmp_path)
    assert not (tmp_path / "f").exists()
    run([Job("a", (append(tmp_path / "f", "x"),))], tmp_path)
    assert (tmp_path / "f").exists()


def test_a_shown_job_is_heard_and_others_are_not(tmp_path, capfd):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "heard.log").write_text("of an earlier start\n")
    jobs = [Job("heard", ("print('so much')",), shown=True), Job("other", ("print('nothing')",))]
    run(jobs, tmp_path)
    error = capfd.readouterr().err
    assert "so much" in error
    assert "nothing" not in error
    assert "of an earlier start" not in error


def test_a_short_job_says_little_of_the_pace_and_long_ones_all():
    assert pace_so_far(spent_seconds=0.0, expected_seconds=0.0) == 1.0
    assert pace_so_far(spent_seconds=100.0, expected_seconds=25.0) < 1.3  # 4 times as long
    long = pace_so_far(spent_seconds=4e5, expected_seconds=1e5)
    assert abs(long - 4.0) < 0.05


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_that_comes_while_a_job_is_forked_is_not_lost(tmp_path, number):
    """What is raised in the hooks around a fork, Python prints and forgets."""
    code = f"""
import os, signal, sys
from pathlib import Path
from sepcon.runs.jobs import Job, run_jobs
signal.signal(signal.SIGINT, signal.default_int_handler)
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), {int(number)}))
job = Job("long", ("import time; time.sleep(50)",))
run_jobs([job], log_dir=Path("logs"), workers=1, environment={{}}, command=(sys.executable, "-c"))
"""
    words = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=40
    )
    assert process.returncode != 0
    name = signal.Signals(number).name
    assert f"sepcon.errors.Interrupted: interrupted by {name}" in process.stderr.splitlines()[-1]
