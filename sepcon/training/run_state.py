"""The folder of a run as the loop sees it: claimed by one process, finished or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
