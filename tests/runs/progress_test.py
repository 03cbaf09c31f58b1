"""Bars and messages on one standard error: on a terminal, in a log, and for a parent process."""

import contextlib
import fcntl
import logging
import os
import re
import struct
import sys
import termios
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sepcon.audio.quiet_decoder import quiet_decoder
from sepcon.runs import progress, standard_error
from sepcon.runs.progress import PROGRESS_FILE_VARIABLE, Progress, ProgressState, track

CHATTER = b"Note: Illegal Audio-MPEG-Header 0x00000000 at offset 2397.\n"


@contextlib.contextmanager
def standard_error_to(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sends file descriptor 2, and what Python writes there, to another one."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    python = os.fdopen(os.dup(2), "w", buffering=1)
    monkeypatch.setattr(sys, "stderr", open(2, "w", buffering=1, closefd=False))  # noqa: SIM115
    try:
        yield
    finally:
        sys.stderr.flush()
        monkeypatch.undo()
        os.dup2(kept, 2)
        os.close(kept)
        python.close()


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """A terminal of 80 columns on standard error; gives the lines on its screen so far."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    heard = bytearray()

    def listen() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(master, 1 << 16):
                heard.extend(data)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        with standard_error_to(slave, monkeypatch):
            os.close(slave)
            yield lambda: screen(heard.decode())
    finally:
        thread.join()
        os.close(master)


def screen(text: str) -> list[str]:
    """What a terminal shows of a text: letters go over others where the cursor is sent back."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[A|\r|\n|[^\x1b\r\n]+", text):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[A":
            row -= 1
        else:
            before = lines[row].ljust(column)
            lines[row] = before[:column] + piece + before[column + len(piece) :]
            column += len(piece)
    return [line.rstrip() for line in lines]


def write_in_all_ways() -> list[str]:
    """Writes to standard error what Python, its loggers and libraries in C write there."""
    print("a line of sepcon", file=sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.Logger("tensorflow")
    logger.addHandler(handler)
    logger.warning("a line of a logger")
    # What `warnings.showwarning` does; pytest keeps that for itself.
    sys.stderr.write(warnings.formatwarning("a warning", UserWarning, "x.py", 1, line=""))
    os.write(2, b"I0000 00:00:1 service.cc:146] a line of C++\n")
    with quiet_decoder():
        os.write(2, CHATTER + b"a line beside the decoder\n" + CHATTER)
    return [
        "a line of sepcon",
        "a line of a logger",
        "x.py:1: UserWarning: a warning",
        "I0000 00:00:1 service.cc:146] a line of C++",
        "a line beside the decoder",
    ]


def test_on_a_terminal_messages_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        assert standard_error.is_terminal()
        with Progress(4, "training") as outer:
            outer.advance(1, "loss 3")
            first = write_in_all_ways()
            with Progress(2, "measuring") as inner:
                assert standard_error.is_terminal()
                inner.advance()
                second = write_in_all_ways()
                inner.advance()
            outer.advance(3, "loss 2")
        os.write(2, b"afterwards\n")
    lines = [line for line in shown() if line]
    bars = sorted(line for line in lines if line.startswith(("training", "measuring")))
    assert [line for line in lines if line not in bars] == [*first, *second, "afterwards"]
    assert [bar.partition("|")[0] for bar in bars] == ["measuring: 100%", "training: 100%"]
    assert "4/4" in bars[1]
    assert "loss 2" in bars[1]
    assert progress._screen.stream is None


def test_a_message_appears_though_the_bar_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown, Progress(4, "waiting"):
        os.write(2, b"a line of C++\n")
        deadline = time.monotonic() + 20
        while "a line of C++" not in shown() and time.monotonic() < deadline:
            time.sleep(0.02)
        lines = [line for line in shown() if line]
        assert lines[0] == "a line of C++"
        assert lines[1].startswith("waiting:   0%")


def test_a_long_stream_of_messages_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds, written with Python's lock held, as libraries in C may do."""
    with terminal(monkeypatch) as shown, Progress(4, "waiting"):
        os.write(2, b"one of many\n" * 20_000)
    assert shown().count("one of many") == 20_000


def test_what_is_unfinished_at_the_end_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown, Progress(4, "waiting"):
        os.write(2, b"without a line end")
    assert "without a line end" in shown()


def test_in_a_log_each_state_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "log", "wb") as log, standard_error_to(log.fileno(), monkeypatch):
        assert not standard_error.is_terminal()
        for _ in track(range(3), 3, "reading"):
            expected = write_in_all_ways()
    lines = (tmp_path / "log").read_bytes().decode().split("\n")
    assert not [line for line in lines if "\r" in line]
    states = [line for line in lines if line.startswith("reading")]
    assert [line for line in lines if line and line not in states] == expected * 3
    assert states[0].startswith("reading:   0%")
    assert states[-1].startswith("reading: 100%")


def test_for_a_parent_the_state_is_a_file_and_nothing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS_FILE_VARIABLE, str(tmp_path / "state.json"))
    with Progress(4, "training") as bar:
        bar.advance(1, "loss 3")
    state = ProgressState.read(tmp_path / "state.json")
    assert (state.description, state.done, state.total, state.note) == ("training", 1, 4, "loss 3")
    assert capfd.readouterr().err == ""
