"""What is told to the person at the terminal in one line, and nothing else."""

from __future__ import annotations

import difflib
import errno
import os
import re
import signal
import stat
from collections.abc import Iterable

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENOTEMPTY}


class SepconError(Exception):
    """Bad input or a bad environment, told in one line.

    The message says what went wrong, where (file, argument, step), what was found, what was
    expected and how to cure it. The command line prints it without a traceback.
    """


def refuse_pipe(path: str | os.PathLike) -> None:
    """Raises an OSError for a pipe or a device, where reading might never end.

    Args:
      path: what is going to be opened; need not exist.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # Opening it says so.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "is a pipe or a device, expected a file", os.fspath(path))


class FileError(SepconError):
    """One of many input files cannot be used; it is counted and named, and the others go on.

    Attributes:
      kind: what is wrong in a word or two, to count by.
      path: the file.
      detail: what is wrong in one line, without the path.
    """

    def __init__(self, kind: str, path: str, detail: str) -> None:
        super().__init__(kind, path, detail)
        self.kind, self.path, self.detail = kind, path, detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class WriteError(SepconError):
    """A file or folder that a run makes cannot be written. It concerns the run, not one input."""


def write_error(
    path: str | os.PathLike, cause: BaseException | None, *, cure: str = ""
) -> WriteError:
    """Returns the error that names what cannot be written, why, and what helps.

    Args:
      path: the file or folder.
      cause: what the system, or a library that writes, has raised.
      cure: what helps, and what comes then; by default it follows from the cause.
    """
    number = getattr(cause, "errno", None)
    reason = getattr(cause, "strerror", None) or one_line(cause or OSError("unknown"))
    other = getattr(cause, "filename", None)
    if other is not None and number not in _NO_ROOM and not _is_scratch_of(other, path):
        reason = f"{reason}: {printable(os.fsdecode(other))}"
    if not cure:
        first = "see to the disk"
        if number is None or number in _NO_ROOM:
            first = "make room"
        elif number in _NO_PERMISSION:
            first = "make it writable"
        elif number in _IN_THE_WAY:
            first = "clear the way"
        cure = f"{first}, then the same command goes on, or choose another folder"
    return WriteError(f"{printable(os.fspath(path))}: cannot be written ({reason}); {cure}")


def _is_scratch_of(other: object, path: str | os.PathLike) -> bool:
    """Whether a file is the unfinished form of a path: its name would tell nobody anything."""
    folder = os.path.dirname(os.fspath(path))
    return isinstance(other, str) and (os.path.dirname(other) == folder or other == os.fspath(path))


class Interrupted(KeyboardInterrupt):
    """SIGTERM or Ctrl-C ended what was running; what was saved stays.

    Args:
      number: of the signal.
      message: what the user is told, one line.

    Attributes:
      exit_code: what the process ends with, as shells and schedulers know it: 143, 129 or 130.
    """

    def __init__(self, number: int, message: str = "") -> None:
        name = signal.Signals(number).name
        super().__init__(message or f"interrupted by {name}; the same command goes on from here")
        self.exit_code = 128 + number


def nearest(name: str, names: Iterable[str], least: float = 0.6) -> str:
    """Returns the end of a message: the most similar of some names as a question, or nothing.

    Args:
      name: what was given.
      names: what there is.
      least: how similar it must be, from 0 to 1; `resnet` for `resnet50`, the beginning of a name,
        is similar enough in any case.
    """
    there = sorted(set(names))
    stem = name.removesuffix(".gin")
    begun = [each for each in there if stem and each.startswith(stem)]
    close = difflib.get_close_matches(name, there, n=1, cutoff=0.75)
    similar = close or begun or difflib.get_close_matches(name, there, n=1, cutoff=least)
    return f"; did you mean {similar[0]}?" if similar else ""


def one_line(error: BaseException) -> str:
    """Returns an exception's message folded to a single line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def raised_in_graph(error: BaseException) -> SepconError | None:
    """Returns the bad input behind an error of TensorFlow, of a function that a graph called.

    TensorFlow keeps of an exception its type, its message and the traceback, as text.
    """
    match = re.search(
        r"(?:AudioError|SepconError): (.+?)\n\s*Traceback \(most recent call last\)",
        str(error),
        re.DOTALL,
    )
    return None if match is None else SepconError(match[1])


def printable(text: str) -> str:
    """Returns text in which what a terminal would not show as it is stands escaped.

    File names may hold line breaks, escape sequences, and bytes that are no valid UTF-8.
    """
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )
