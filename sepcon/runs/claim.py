"""A folder is written by one process at a time: the claim of a run folder.

The claim is a file in the folder that its holder keeps locked. When a process dies the system
releases its lock, so that the next start takes over, whatever the file says. Whether a process on
another machine is still alive cannot be seen from here: then the user is told what to remove.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import functools
import inspect
import json
import os
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from sepcon.errors import SepconError, printable
from sepcon.runs.whole_file import remove_leftovers, told_if_unwritable

CLAIM_FILE = ".claim"
_COMMAND_LETTERS = 200
# In how many tries a folder is made that others remove meanwhile.
_TRIES = 1000
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
# Folders that this process holds, and the thread that has claimed each.
_held: dict[Path, int] = {}

P = ParamSpec("P")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a claim.

    Attributes:
      host: name of the machine.
      boot: of its system, the same for all containers on it; "" where that is not known.
      pid: of the process.
      command: what was typed.
      since: when, in the time of the machine.
    """

    host: str
    boot: str
    pid: int
    command: str
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        program, *words = sys.argv or ["python"]
        name = "sepcon" if Path(program).name == "__main__.py" else Path(program).name
        return cls(
            host=socket.gethostname(),
            boot=_boot(),
            pid=os.getpid(),
            command=shlex.join([name, *words])[:_COMMAND_LETTERS],
            since=datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        )

    @classmethod
    def read(cls, text: str) -> Holder | None:
        """Parses the content of a claim file.

        Args:
          text: the whole content.

        Returns:
          The holder; None for an empty file or an incomplete line.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        return printable(f"{self.command} (pid {self.pid} on {self.host}, since {self.since})")

    def is_of_this_machine(self) -> bool:
        """Whether its process runs on this machine, or ran on it before the machine restarted."""
        return self.host == socket.gethostname() or (self.boot != "" and self.boot == _boot())

    def may_be_alive(self) -> bool:
        """Whether a process with its number runs on this machine, which has not restarted since."""
        if self.boot != _boot():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # It is somebody else's.
        return True


@contextlib.contextmanager
def claimed(folder: Path, *, cure: str = "choose another folder") -> Iterator[None]:
    """Makes a folder and keeps other processes of sepcon from writing into it meanwhile.

    Unfinished files of killed processes in it are removed. A process may claim a folder again that
    it holds already. A folder that was made here is removed if it is still empty at the end.

    Args:
      folder: the folder of a run.
      cure: what the user can do, other than make the folder writable.

    Raises:
      SepconError: another process holds the folder (which one is said), or it cannot be written.
    """
    with told_if_unwritable(folder):
        key = Path(os.path.realpath(folder))
    if _held.get(key) == threading.get_ident():
        yield
        return
    with told_if_unwritable(folder, cure=f"make it writable or {cure}"):
        made = not folder.is_dir()
        descriptor = _lock(folder, cure)
    _held[key] = threading.get_ident()
    try:
        _remove_leftovers(folder)
        yield
    finally:
        del _held[key]
        with contextlib.suppress(OSError):
            (folder / CLAIM_FILE).unlink()
        os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def claims_run_dir(verb: Callable[P, R]) -> Callable[P, R]:
    """Decorates a verb that writes into `run_dir`, so that it claims that folder while it runs.

    Of workers that train together, only the first one claims it. A finished run in a read-only
    folder is not claimed: the verb has nothing to write there.

    Args:
      verb: a function with a keyword argument `run_dir`.

    Returns:
      The verb with the same signature. It raises a SepconError where another process holds the
      folder.
    """

    @functools.wraps(verb)
    def claiming(*args: P.args, **kwargs: P.kwargs) -> R:
        run_dir = Path(str(kwargs["run_dir"])).expanduser()
        if kwargs.get("strategy") == "multi_worker" and not _is_chief():
            return verb(*args, **kwargs)
        if (run_dir / "run.json").is_file() and not os.access(run_dir, os.W_OK):
            return verb(*args, **kwargs)
        with claimed(run_dir):
            return verb(*args, **kwargs)

    # For gin, which looks no further than this.
    claiming.__signature__ = inspect.signature(verb)  # type: ignore[attr-defined]
    return claiming


def _is_chief() -> bool:
    """Whether this is the worker that writes; what is wrong with TF_CONFIG is told elsewhere."""
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        cluster, task = config.get("cluster", {}), config["task"]
        if "chief" in cluster:
            return task["type"] == "chief"
        return int(task["index"]) == 0
    except (KeyError, ValueError, TypeError, AttributeError):
        return True


def _lock(folder: Path, cure: str) -> int:
    """Returns the open claim file, locked and with this process in it; makes the folder."""
    path = folder / CLAIM_FILE
    while True:
        descriptor = _open(path)
        try:
            locked = _try_to_lock(descriptor)
            before = Holder.read(_text(descriptor))
            if locked is False:
                who = f": {before}" if before else ""
                raise SepconError(
                    f"{printable(str(folder))}: another process writes there{who}; wait for it, "
                    f"or {cure}"
                )
            if not _is_still(descriptor, path):
                os.close(descriptor)
                continue  # Its holder has removed it between the two steps.
            if before is not None:
                _check_dead(folder, before, sure=locked is True, cure=cure)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(dataclasses.asdict(Holder.this_process())).encode(), 0)
            return descriptor
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise


def _open(path: Path) -> int:
    """Opens the claim file and makes what is not there: its folder and itself.

    The holder before may remove the folder, if it is empty, between any two steps: then again.

    Raises:
      OSError: it cannot be made, in as many tries.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except (FileNotFoundError, FileExistsError):
            if (os.path.lexists(path.parent) and not path.parent.is_dir()) or not tries_left:
                raise
    raise AssertionError("unreachable")


def _try_to_lock(descriptor: int) -> bool | None:
    """Whether the lock could be had; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _check_dead(folder: Path, before: Holder, *, sure: bool, cure: str) -> None:
    """Raises unless the process that has left its claim is certainly gone."""
    if before.is_of_this_machine() and (sure or not before.may_be_alive()):
        return
    path = printable(str(folder / CLAIM_FILE))
    raise SepconError(
        f"{printable(str(folder))}: is claimed by {before}, which cannot be seen from here; if it "
        f"runs no more, remove {path} and start again; else wait for it, or {cure}"
    )


def _text(descriptor: int) -> str:
    return os.pread(descriptor, 1 << 16, 0).decode(errors="replace")


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _remove_leftovers(folder: Path) -> None:
    remove_leftovers(folder)
    for child in folder.iterdir():
        # What has a claim of its own is somebody else's to clear up.
        if child.is_dir() and not child.is_symlink() and not (child / CLAIM_FILE).exists():
            remove_leftovers(child)


@functools.cache
def _boot() -> str:
    """Names the running system: the same until it is started anew."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
