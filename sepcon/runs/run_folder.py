"""The folder of a run: what configured it, and whether it is finished."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sepcon
from sepcon.errors import SepconError, one_line
from sepcon.runs.whole_file import whole_file

CONFIG_FILE = "config.gin"
RECORD_FILE = "run.json"


def begin(run_dir: Path, *, config_text: str) -> bool:
    """Makes the folder ready for a run, or says that the run is finished.

    The resolved configuration is written into it. A run that goes on under another configuration
    says which lines differ, and the earlier one is kept as config.<n>.gin.

    Args:
      run_dir: the folder; made if need be.
      config_text: the resolved gin configuration; empty for a call from Python.

    Returns:
      Whether there is anything left to do.

    Raises:
      SepconError: the folder cannot be made or written to.
    """
    if is_finished(run_dir):
        print(
            f"sepcon: {run_dir} holds a finished run; nothing to do (take another --run_dir, or "
            "delete this one)",
            file=sys.stderr,
        )
        return False
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if config_text:
            _warn_of_changes(run_dir / CONFIG_FILE, config_text)
            write_text(run_dir / CONFIG_FILE, config_text)
        elif not os.access(run_dir, os.W_OK):
            raise PermissionError(f"no permission to write in {run_dir}")
    except OSError as error:
        raise SepconError(
            f"run folder {run_dir} cannot be written: {one_line(error)}; take another --run_dir"
        ) from None
    return True


def finish(run_dir: Path, record: Mapping[str, Any]) -> None:
    """Marks the run as finished and keeps what it has to say of itself, and the code's commit."""
    record = {**record, "commit": commit()}
    write_text(run_dir / RECORD_FILE, json.dumps(record, indent=2) + "\n")


@functools.cache
def commit() -> str:
    """Returns the commit of the checkout this code runs from; its version outside of one.

    Code that differs from the commit is marked: `-dirty`.
    """
    # "--match" a tag that is none: the commit alone, in full.
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return sepcon.__version__
    try:
        output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return sepcon.__version__
    return output.stdout.strip()


def is_finished(run_dir: Path) -> bool:
    """Tells whether the folder holds a finished run."""
    return (run_dir / RECORD_FILE).is_file()


def read_record(run_dir: Path) -> dict[str, Any]:
    """Returns what a finished run said of itself.

    Raises:
      SepconError: there is no finished run in the folder.
    """
    try:
        return json.loads((run_dir / RECORD_FILE).read_text())
    except (OSError, ValueError):
        raise SepconError(f"{run_dir} holds no finished run ({RECORD_FILE} is missing)") from None


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    with whole_file(path) as temporary:
        # Names of files need not be valid UTF-8.
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_model_file(path: Path, text: str) -> None:
    """Writes what describes the model of a run, or checks that it is described there already.

    Raises:
      SepconError: the file describes another model; it is left as it is.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    elif _without_counters(path.read_text()) != _without_counters(text):
        raise SepconError(
            f"{path} describes another architecture than the one configured; give the "
            "configuration the run was started with, or another run_dir"
        )


def _without_counters(text: str) -> str:
    """Keras numbers its layers through a process: the same model gets other names the next time."""
    return re.sub(r'(_\d+)+"', '"', text)


def _warn_of_changes(path: Path, text: str) -> None:
    if not path.is_file():
        return
    before, now = set(path.read_text().splitlines()), set(text.splitlines())
    changed = sorted(line for line in before ^ now if line and not line.startswith("#"))
    if changed:
        print(
            f"sepcon: note: {path.parent} goes on under another configuration; lines that differ: "
            + "; ".join(changed),
            file=sys.stderr,
        )
        earlier = len(list(path.parent.glob(f"{path.stem}.*{path.suffix}")))
        path.rename(path.with_name(f"{path.stem}.{earlier}{path.suffix}"))
