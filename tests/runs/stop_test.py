"""SIGTERM and Ctrl-C end every command with the code that shells and schedulers know."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcon.errors import Interrupted, SepconError
from sepcon.runs import stop
from sepcon.runs.progress import Progress
from sepcon.runs.stop import StopRequest, interruptible

ROOT = Path(__file__).resolve().parents[2]
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
NUMBERS = pytest.mark.parametrize("number", list(CODES), ids=["TERM", "INT", "HUP"])


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C and SIGHUP are heard, also where a shell runs these tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGHUP, hang_up)


@NUMBERS
def test_a_signal_ends_what_runs_at_once(number):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    name = signal.Signals(number).name
    with pytest.raises(Interrupted, match=f"interrupted by {name}; the same") as caught:
        end_in_the_middle(number)
    assert caught.value.exit_code == CODES[number]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


# In the place of the command line: a signal comes before it takes any, and after it has ended.
SIGNALLED = """
import os, runpy, signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)
moment, number = sys.argv[1], int(sys.argv[2])
cli = types.ModuleType("sepcon.cli")
cli.main = lambda: 0
if moment == "before":
    def main():
        os.kill(os.getpid(), number)
        return 0
    cli.main = main
else:
    import atexit
    atexit.register(lambda: os.kill(os.getpid(), number))
sys.modules["sepcon.cli"] = cli
import sepcon
sepcon.cli = cli
runpy.run_module("sepcon", run_name="__main__")
"""


@NUMBERS
@pytest.mark.parametrize("moment", ["before", "after"])
def test_signals_are_heeded_before_the_imports_and_after_the_end(number, moment):
    ended = subprocess.run(
        [sys.executable, "-c", SIGNALLED, moment, str(int(number))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    name = number.name
    line = f"sepcon: interrupted by {name}; the same command goes on from here\n"
    expected = (CODES[number], line) if moment == "before" else (0, "")
    assert (ended.returncode, ended.stderr) == expected


def end_in_the_middle(number):
    with interruptible():
        os.kill(os.getpid(), number)
        pytest.fail("it went on")


class Careless:
    """Python prints and forgets whatever is raised in here."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_whose_exception_was_lost_is_raised_again_by_the_next_progress(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda *_: None)
    done = []
    with pytest.raises(Interrupted):
        work_carelessly(done)
    assert done == ["lost"]


def work_carelessly(done):
    with interruptible(), Progress(3, "work") as progress:
        del_me = Careless()
        del del_me
        done.append("lost")
        progress.advance()
        done.append("went on")


def test_a_lost_signal_is_raised_at_the_end_at_the_latest(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda *_: None)
    with pytest.raises(Interrupted), interruptible():
        Careless()
    with interruptible():  # Of the one before nothing is left.
        stop.check()


def test_what_a_library_makes_of_the_exception_is_an_interruption_all_the_same():
    with pytest.raises(Interrupted):
        fail_by_a_signal()
    with pytest.raises(SepconError, match="bad input"), interruptible():
        raise SepconError("bad input")


def fail_by_a_signal():
    with interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Interrupted as error:
            raise ImportError("a part of it cannot be loaded") from error


@NUMBERS
def test_who_ends_in_order_notes_the_first_and_heeds_the_second(number, capsys):
    with StopRequest("stopping soon") as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request.number == number
        assert ("stopping soon" in capsys.readouterr().err) == (number == signal.SIGINT)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)


def test_in_the_background_of_a_shell_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
        with StopRequest() as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert not request
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(40):
        noise = np.random.default_rng(number).normal(size=160_000) * 0.1
        soundfile.write(folder / f"{number:02}.wav", noise, 16000)
    return folder


def start(folder: Path, recordings: Path) -> subprocess.Popen:
    words = [
        *(sys.executable, "-m", "sepcon", "import", "--gin_file=runs/import.gin"),
        *("--gin_file=import/folder.gin", f'--gin_bindings=SOURCE_DIR="{recordings}"'),
        *("--gin_bindings=import_clips.clips_per_shard=1", f"--run_dir={folder}"),
    ]
    words.append("--gin_bindings=import_clips.processes=2")
    return subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    "number, moment",
    [(signal.SIGINT, "the workers begin"), (signal.SIGTERM, "they work")],
)
def test_an_import_and_its_workers_end_quietly(tmp_path, recordings, number, moment):
    """The signal goes to the whole group, as that of a terminal or a scheduler does."""
    process = start(tmp_path, recordings)
    parts = tmp_path / "parts"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if parts.is_dir() and (moment == "the workers begin" or len(list(parts.iterdir())) > 2):
            break
        time.sleep(0.002)
    if moment == "the workers begin":
        time.sleep(0.3)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    lines = [line for line in errors.splitlines() if line.startswith("sepcon:")]
    assert process.returncode == CODES[number], errors
    assert len(lines) == 1, errors
    assert f"interrupted by {signal.Signals(number).name}; the same command" in lines[0]
    assert "Traceback" not in errors, errors
    again = start(tmp_path, recordings)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert not list(tmp_path.glob(".*"))
