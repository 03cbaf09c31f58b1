"""Children of a process that has loaded TensorFlow: commands of `sepcon`, and what answers calls.

A fork saves every child the seconds of that import. The parent itself never computes with
TensorFlow, whose threads a fork would not take along.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

DONE, REFUSED = "done", "refused in one line"
TRACEBACK, CRASHED, HUNG, CHATTER = "other exception", "crashed", "hung", "chatter on stderr"
KILLED = "killed"
_KILLED_CODE = -signal.SIGKILL
# What Python tells of before it is done: files that are made, renamed and removed.
_DEEDS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What happens to a command.

    Attributes:
      kill_seconds: it is killed so long after its start.
      kill_deed: it is killed right before it makes, renames or removes its n-th file, from 1.
      with_children: whether its children are killed with it.
      file_bytes: behind so many bytes of any file the disk is full.
    """

    kill_seconds: float | None = None
    kill_deed: int | None = None
    with_children: bool = False
    file_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
      outcome: DONE, REFUSED, KILLED or a fault.
      seconds: that it took.
      deeds: files that it made, renamed and removed, if it ended by itself.
      said: what it wrote to its outputs.
    """

    outcome: str
    seconds: float
    deeds: int
    said: str

    @property
    def last_line(self) -> str:
        lines = self.said.strip().splitlines()
        return lines[-1] if lines else "(it said nothing)"


def load_everything() -> None:
    """Imports what commands import, so that their forks have it."""
    from sepcon import startup

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    startup.load_tensorflow()
    registry = importlib.import_module("sepcon.verbs.registry")
    for name in {verb.function.partition(":")[0] for verb in registry.VERBS.values()}:
        importlib.import_module(name)


def run_command(
    words: Sequence[str],
    folder: Path,
    *,
    trouble: Trouble | None = None,
    limit_seconds: float = 1800.0,
    memory_bytes: int = 8 << 30,
) -> Ended:
    """Runs a command of `sepcon` in a fork, in a folder, and says how it ended.

    Args:
      words: the command without `sepcon`.
      folder: the current folder of the command.
      trouble: what happens to it.
      limit_seconds: after that it counts as hung.
      memory_bytes: that it may take beyond what it has at its start.
    """
    trouble = trouble or Trouble()
    start = time.monotonic()
    # A pipe, as behind the limit of a full disk nothing could be said into a file.
    said, saying = os.pipe()
    with tempfile.TemporaryFile() as counted, open(said, "rb", buffering=0) as heard:
        pid = _forked(lambda: _command(words, folder, trouble, memory_bytes, saying, counted))
        os.close(saying)
        kill = trouble.kill_seconds
        code, text = _listen(pid, heard, limit_seconds if kill is None else kill)
        hung = code is None and kill is None
        if code is None or trouble.with_children:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if hung or trouble.with_children else os.kill)(pid, signal.SIGKILL)
        if code is None:
            code = _wait(pid, None)
        deeds = int(os.pread(counted.fileno(), 20, 0) or 0)
    assert code is not None
    return Ended(HUNG if hung else _outcome(code, text), time.monotonic() - start, deeds, text)


def _listen(pid: int, said: Any, seconds: float) -> tuple[int | None, str]:
    """Reads what a child says until it ends; its exit code is None if that takes longer."""
    deadline, text = time.monotonic() + seconds, b""
    descriptor = os.pidfd_open(pid)
    try:
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([descriptor, said], [], [], left)
            if said in ready and (data := os.read(said.fileno(), 1 << 16)):
                text += data
            elif descriptor in ready:
                # What it has started may still be there, and would say more.
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), _decoded(text)
            elif not ready:
                return None, _decoded(text)
            elif said in ready:
                return _wait(pid, left), _decoded(text)
    finally:
        os.close(descriptor)


def _decoded(text: bytes) -> str:
    return text.decode(errors="replace")


def _outcome(code: int, said: str) -> str:
    if code == _KILLED_CODE:
        return KILLED
    if code < 0:
        return CRASHED
    if "Traceback (most recent call last)" in said or "Exception ignored" in said:
        return TRACEBACK
    if code == 0:
        return DONE
    errors = [line for line in said.splitlines() if line.startswith("sepcon: error: ")]
    return REFUSED if code == 1 and len(errors) == 1 else TRACEBACK


def _forked(work: Callable[[], int]) -> int:
    """Does some work in a child, the first of a process group; returns its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        faulthandler.disable()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, seconds: float | None) -> int | None:
    """The exit code of a child; None if it takes longer."""
    descriptor = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if ready else None


def _command(
    words: Sequence[str],
    folder: Path,
    trouble: Trouble,
    memory_bytes: int,
    saying: int,
    counted: Any,
) -> int:
    """What the child does: the whole command line."""
    from sepcon import cli

    os.chdir(folder)
    for descriptor in (1, 2):
        os.dup2(saying, descriptor)
    sys.argv = ["sepcon", *words]
    out = words[-1].partition("=")[2]
    deeds = _watch(out, trouble.kill_deed)
    limit_memory(memory_bytes)
    if trouble.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (trouble.file_bytes,) * 2)
    code = cli.main(list(words))
    # Behind the limit of a full disk there is no place for it.
    with contextlib.suppress(OSError):
        os.pwrite(counted.fileno(), str(len(deeds)).encode(), 0)
    return code


def limit_memory(beyond_bytes: int) -> None:
    """Lets this process take no more than so much beyond what it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + beyond_bytes,) * 2)


def _watch(out: str, kill_at: int | None) -> list[None]:
    """Notes what is done to files below `out` from now on, and kills this process at a deed."""
    deeds: list[None] = []
    whole = os.path.abspath(out)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in _DEEDS:
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        name = arguments[0]
        if not isinstance(name, str | bytes | os.PathLike):
            return
        path = os.fsdecode(name)
        if path.startswith((out, whole)):
            deeds.append(None)
            if len(deeds) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return deeds


class Worker:
    """A fork that answers one call after the other, and is replaced when it dies or hangs.

    Args:
      answer: what is done with each call, in the fork; takes and returns what JSON can hold.
      seconds: for one call, before it counts as a hang.
      memory_bytes: that the fork may take beyond what it has at its start.
      prepare: done once in every fork, before its memory is limited.
    """

    def __init__(
        self,
        answer: Callable[[Any], Any],
        *,
        seconds: float,
        memory_bytes: int,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self._answer, self._seconds, self._memory_bytes = answer, seconds, memory_bytes
        self._prepare = prepare
        self._pid: int | None = None
        self._calls = self._answers = -1
        self._buffer = b""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self.largest_bytes = 0

    def call(self, question: Any) -> tuple[str, Any, str]:
        """Returns DONE or what befell the fork, its answer, and what it said on standard error."""
        self._start()
        before = os.fstat(self._stderr.fileno()).st_size
        os.write(self._calls, json.dumps(question).encode() + b"\n")
        line = self._line(self._seconds)
        if line:
            answer, grown = json.loads(line)
            self.largest_bytes = max(self.largest_bytes, grown)
            return DONE, answer, self._said(before)
        hung = line is None
        code = self._end()
        detail = f"over {self._seconds} s" if hung else f"exit code {code}"
        return HUNG if hung else CRASHED, detail, self._said(before)

    def _said(self, before: int) -> str:
        return os.pread(self._stderr.fileno(), 2000, before).decode(errors="replace")

    def _line(self, seconds: float) -> bytes | None:
        """The next line of the fork; empty at its end, None if it takes longer."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._answers], [], [], left)[0]:
                return None
            data = os.read(self._answers, 1 << 16)
            if not data:
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _start(self) -> None:
        if self._pid is not None:
            return
        calls, self._calls = os.pipe()
        self._answers, answers = os.pipe()
        self._buffer = b""
        self._pid = _forked(lambda: self._serve(calls, answers))
        os.close(calls)
        os.close(answers)
        self._line(120.0)  # It says that it has started.

    def _serve(self, calls: int, answers: int) -> int:
        os.close(self._calls)
        os.close(self._answers)
        os.dup2(self._stderr.fileno(), 2)
        self._prepare()
        limit_memory(self._memory_bytes)
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(answers, b"started\n")
        with open(calls, "rb") as questions:
            for line in questions:
                answer = self._answer(json.loads(line))
                sys.stderr.flush()
                grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1024
                os.write(answers, json.dumps([answer, grown]).encode() + b"\n")
        return 0

    def _end(self) -> int:
        assert self._pid is not None
        code = _wait(self._pid, 0.2)
        if code is None:
            os.kill(self._pid, signal.SIGKILL)
            code = _wait(self._pid, None)
        os.close(self._calls)
        os.close(self._answers)
        self._pid = None
        assert code is not None
        return code

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid is not None:
            self._end()
        self._stderr.close()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for everything, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="sepcon-fire-") as name:
        yield Path(name)
