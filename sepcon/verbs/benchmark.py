"""`sepcon benchmark`: measures encoders or separators, and writes the results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from sepcon.reports.comparison import align
from sepcon.reports.results import RESULTS_FILE, Results, Row, read_results
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.verbs import resuming


@claims_run_dir
def benchmark(
    *, run_dir: str | Path, measure: Callable[..., Results], config_text: str = ""
) -> list[Row]:
    """Measures, writes results.json and prints a table; does nothing if the folder has results.

    Args:
      run_dir: where to write; results.json, the rows, comes last.
      measure: what is measured: `benchmark_embeddings` or `benchmark_separation` with its
        arguments bound. It is called with the run folder, where it may keep intermediate results,
        so that a killed run can go on, and with `on_start`, which it calls when its checks have
        passed, before it writes anything.
      config_text: the resolved configuration, saved as config.gin.

    Returns:
      The rows of results.json.

    Raises:
      SepconError: see the function that measures; or the folder cannot be written.
    """
    folder = Path(run_dir)
    if not resuming.begin("benchmark", folder, config_text=config_text):
        return read_results(folder / RESULTS_FILE)
    results = measure(
        folder, on_start=lambda: resuming.keep_configuration("benchmark", folder, config_text)
    )
    run_folder.write_text(folder / RESULTS_FILE, json.dumps(results.rows, indent=1) + "\n")
    run_folder.finish(folder, {"rows": len(results.rows)})
    print(align(results.table))
    return results.rows
