"""Records which clips were evaluated: two results are comparable only where these are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sepcon.runs import run_folder
from sepcon.runs.csv_text import csv_text

IDS_FILE = "test_ids.txt"
MISSING_FILE = "missing_test_ids.csv"


def write_evaluated_clips(
    folder: Path, *, ids: Iterable[str], left_out: Mapping[str, str] | None
) -> dict[str, Any]:
    """Writes the ids of the clips that were evaluated and, where known, of those that are missing.

    Which clips of AudioSet can still be downloaded differs from year to year and from place to
    place, and so do the figures measured on it.

    Args:
      folder: receives test_ids.txt, the ids sorted, one a line; and missing_test_ids.csv, id and
        reason, unless `left_out` is None.
      ids: of the clips that were evaluated.
      left_out: id -> reason, of the clips that belong to the data set and are not here; None where
        that is not known.

    Returns:
      What every row of results says of its clips: test_ids_sha256, the checksum of the file of ids;
      num_missing_test_clips, None if unknown.

    Raises:
      WriteError: a file cannot be written.
    """
    text = "".join(f"{name}\n" for name in sorted(ids))
    run_folder.write_text(folder / IDS_FILE, text)
    if left_out is not None:
        table = csv_text([("id", "reason"), *sorted(left_out.items())])
        run_folder.write_text(folder / MISSING_FILE, table)
    return {
        "test_ids_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "num_missing_test_clips": None if left_out is None else len(left_out),
    }
