"""The folder of a run as the loop sees it: claimed by one process, finished or not."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sepcon.errors import SepconError, one_line
from sepcon.runs.run_folder import write_text

DONE_FILE = "done.json"


def finished(run_dir: Path) -> dict[str, Any] | None:
    """What `finish` wrote, or None."""
    path = run_dir / DONE_FILE
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SepconError(
            f"{path} cannot be read ({one_line(error)}); remove it to go on from the checkpoint"
        ) from error


def finish(run_dir: Path, record: Mapping[str, Any]) -> None:
    """Marks the run as finished."""
    write_text(run_dir / DONE_FILE, json.dumps(dict(record), indent=2) + "\n")


@contextlib.contextmanager
def claimed(run_dir: Path) -> Iterator[None]:
    """Makes the folder, tries it, and keeps other processes from training in it meanwhile.

    Raises:
      SepconError: it cannot be written to, or another process trains in it.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        folder = os.open(run_dir, os.O_RDONLY)
    except OSError as error:
        raise SepconError(
            f"run_dir {run_dir} cannot be written to ({error.strerror or one_line(error)}); make "
            "it writable or give another one"
        ) from error
    try:
        _lock(folder, run_dir)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, run_dir: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SepconError(
            f"run_dir {run_dir}: another process is training there; wait for it, or give another "
            "run_dir"
        ) from error
    except OSError:
        pass  # Some network file systems have no locks; then the user has to take care.
