"""Runs the task ESC-50 of the HEAR benchmark, by HEAR's own evaluation kit.

    python tools/hear_esc50.py --esc50=path/to/ESC-50 --into=hear

writes the task from a folder of ESC-50 as hear-preprocess writes it (5 s, mono, at the rate of the
model), has `heareval.embeddings.runner` embed it by `sepcon.inference.hear`, and
`heareval.predictions.runner` train and test its classifiers on them. Prints their scores. What is
done is not done again. tools/README.md says how heareval is installed.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sepcon.audio.decode import decode_file
from sepcon.datasets.esc50 import layout
from sepcon.errors import SepconError
from sepcon.models import packaged
from sepcon.models.fingerprint import hash_files
from sepcon.runs.json_file import read_json
from sepcon.runs.whole_file import whole_file, whole_folder

MODULE = "sepcon.inference.hear"
# As the folder of a task is called: name, version, mode.
TASK = "esc50-v2.0.0-full"
SCORES_FILE = "test.predicted-scores.json"
_SECONDS = 5
_SCORES = ["top1_acc", "mAP", "d_prime", "aucroc"]
# What the evaluation kit reads of a task's description.
_METADATA = {
    "task_name": "esc50",
    "version": "v2.0.0",
    "embedding_type": "scene",
    "prediction_type": "multiclass",
    "sample_duration": _SECONDS,
    "split_mode": "presplit_kfold",
    "evaluation": _SCORES,
    "mode": "full",
}
# Its own checkpoints, which it reads back, hold classes of PyTorch.
_ENVIRONMENT = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the task; returns the exit code."""
    options = _parse(arguments)
    try:
        scores = run_task(options)
    except SepconError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return 1
    for name in _SCORES:
        mean, deviation = (scores[f"test_{name}_{kind}"] for kind in ("mean", "std"))
        print(f"{name}: {mean:.4f} (standard deviation of folds {deviation:.4f})")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--esc50", required=True, type=Path, help="in the official layout")
    parser.add_argument("--into", required=True, type=Path, help="tasks, embeddings and scores")
    parser.add_argument("--model", type=Path, help="a run or export; default: packaged weights")
    parser.add_argument(
        "--grid",
        default="default",
        choices=("default", "fast", "faster"),
        help="of HEAR's classifiers: results in papers are of %(default)s",
    )
    return parser.parse_args(arguments)


def run_task(options: argparse.Namespace) -> dict[str, float]:
    """Writes the task, embeds it, trains and tests.

    Returns:
      Mean and standard deviation over the folds, by name.

    Raises:
      SepconError: the folder is not one of ESC-50, or heareval is missing or fails.
    """
    if importlib.util.find_spec("heareval") is None:
        raise SepconError("heareval is not installed; tools/README.md says how (HEAR)")
    into = options.into.expanduser().resolve()
    root = layout.require_root(options.esc50)
    _take_folder(into, root, options)
    write_task(root, into / "tasks" / TASK, sample_rate_hz=_sample_rate(options.model))
    words = [MODULE, "--tasks-dir=tasks", f"--task={TASK}"]
    if options.model is not None:
        words.append(f"--model={options.model.expanduser().resolve()}")
    embedded = into / "embeddings" / MODULE / TASK
    _run_heareval(into, "embeddings", words)
    _run_heareval(into, "predictions", [str(embedded), f"--grid={options.grid}"])
    return json.loads((embedded / SCORES_FILE).read_text())["aggregated_scores"]


def _take_folder(into: Path, root: Path, options: argparse.Namespace) -> None:
    """Notes what a folder is of: heareval itself takes what it finds there for the model's."""
    weights = packaged.folder_of(options.model or packaged.default_weights("encoder"))
    if not weights.is_dir():
        raise SepconError(f"{weights}: no such folder; expected a run or an export of an encoder")
    wanted = {
        "model": hash_files(weights),
        "esc50": layout.fingerprint(root),
        "grid": options.grid,
    }
    note = into / "of.json"
    if note.exists():
        of = read_json(note, cure="give another folder as --into")
        for name in (name for name in wanted if of.get(name) != wanted[name]):
            raise SepconError(f"{into}: is of another {name}; give another folder as --into")
        return
    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise SepconError(f"{into}: is not empty; give another folder as --into")
    with whole_file(note) as scratch:
        _write_json(scratch, wanted)


def _sample_rate(model: Path | None) -> int:
    from sepcon.inference import hear

    return hear.load_model(model or "").sample_rate


def _run_heareval(into: Path, step: str, words: Sequence[str]) -> None:
    command = [sys.executable, "-m", f"heareval.{step}.runner", *words]
    code = subprocess.run(command, cwd=into, env=os.environ | _ENVIRONMENT, check=False).returncode
    if code != 0:
        raise SepconError(f"heareval.{step}.runner ended with code {code}; it says why above")


def write_task(root: Path, folder: Path, *, sample_rate_hz: int) -> None:
    """Writes ESC-50 as a task of HEAR, unless it is there.

    Args:
      root: of ESC-50, see `layout.require_root`. Folds of which no file is there are left out, and
        that is said: HEAR has all five.
      folder: of the task.
      sample_rate_hz: of the model.
    """
    if folder.exists():
        return
    rows = layout.read_rows(root)
    folds: dict[str, list[layout.Row]] = {}
    for row in sorted(rows, key=lambda row: (row.fold, row.filename)):
        folds.setdefault(f"fold{row.fold - 1:02d}", []).append(row)
    if len(folds) != 5:
        print(f"sepcon: {root} has {len(folds)} folds, HEAR's task has 5", file=sys.stderr)
    with whole_folder(folder) as scratch:
        for fold, clips in folds.items():
            _write_fold(scratch, fold, clips, sample_rate_hz)
        _write_vocabulary(scratch / "labelvocabulary.csv", rows)
        metadata = _METADATA | {"nfolds": len(folds), "splits": list(folds)}
        _write_json(scratch / "task_metadata.json", metadata)


def _write_fold(task: Path, fold: str, clips: Sequence[layout.Row], rate_hz: int) -> None:
    folder = task / str(rate_hz) / fold
    folder.mkdir(parents=True)
    labels = {}
    for clip in clips:
        name = Path(clip.filename).with_suffix(".wav").name
        audio = np.zeros(_SECONDS * rate_hz, np.int16)
        decoded = decode_file(clip.path, rate_hz)[: len(audio)]
        audio[: len(decoded)] = decoded
        soundfile.write(folder / name, audio, rate_hz, subtype="PCM_16")
        labels[name] = [clip.category]
    _write_json(task / f"{fold}.json", labels)


def _write_vocabulary(path: Path, rows: Sequence[layout.Row]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["idx", "label"])
        writer.writerows(enumerate(sorted({row.category for row in rows})))


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
