"""`sepcon classify`: names the classes of recordings, with one classifier or an ensemble."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from sepcon.audio.decode import decode_file
from sepcon.data.audio_folder import survey_audio
from sepcon.data.clips import to_float
from sepcon.errors import SepconError, one_line, printable
from sepcon.inference.members import Member, common_names, load_members
from sepcon.models.packaged import default_weights, tell_weights
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.csv_text import csv_text
from sepcon.runs.progress import track
from sepcon.runs.whole_file import told_if_unwritable

CSV_FILE = "classes.csv"


@claims_run_dir
def classify(
    *,
    run_dir: str | Path,
    model: str | Path | Sequence[str | Path] = (),
    files: Sequence[str | Path] = (),
    top: int = 5,
    config_text: str = "",
) -> list[list[str]]:
    """Names the most probable classes of each recording, in order of probability.

    What cannot be decoded is told in one line on standard error and counted; the others go on.

    Args:
      run_dir: receives classes.csv: file, seconds, and class and probability of the top ones.
      model: a run folder of `sepcon finetune`, whole (the mean of all its folds and seeds) or of
        one fold and seed; or what `sepcon export` made of one. Of several the mean probability
        counts; by default the packaged weights.
      files: recordings, or folders of them.
      top: how many classes to name.
      config_text: not used: nothing but the table is written.

    Returns:
      The rows of the table, without its head.

    Raises:
      SepconError: no model, models of different classes, no file, not one that can be decoded, or
        the folder cannot be written.
    """
    if not files:
        raise SepconError("nothing to classify: give files or folders")
    if top < 1:
        raise SepconError(f"top: got {top}, expected 1 or more")
    given = [model] if isinstance(model, str | Path) else list(model)
    given = given or [default_weights("classifier")]
    for name in given:
        tell_weights(name)
    members = [member for each in given for member in load_members(each)]
    names = common_names(members)
    rows: list[list[str]] = []
    faults: list[str] = []
    paths = list(_find(files, faults))
    for path in track(paths, len(paths), "classify", unit="file"):
        try:
            seconds, probabilities = _mean_probabilities(members, path)
        except SepconError as error:
            faults.append(str(error))
            continue
        row = [printable(str(path)), f"{seconds:.3f}"]
        rows.append(row + _top(names, probabilities, top))
    for fault in faults:
        print(f"sepcon: skipped {printable(fault)}", file=sys.stderr)
    if not rows:
        raise SepconError(f"none of {len(faults)} recordings could be classified; see above")
    _write(Path(run_dir) / CSV_FILE, rows, min(top, len(names)))
    for row in rows:
        print(f"{row[0]}: " + ", ".join(" ".join(pair) for pair in _pairs(row[2:])))
    print(f"{run_dir}: {len(rows)} recordings classified, {len(faults)} failed")
    return rows


def _find(files: Sequence[str | Path], faults: list[str]) -> Iterator[Path]:
    """All recordings, each once."""
    seen: set[Path] = set()
    for given in files:
        root = Path(given).expanduser()
        paths = [root]
        if root.is_dir():
            survey = survey_audio(root)
            faults += survey.faults.values()
            paths, unread = survey.paths, survey.unread_formats()
            if not paths and not survey.faults:
                faults.append(f"{given}: holds no audio; {unread or 'give a folder of recordings'}")
            elif unread:
                print(printable(f"sepcon: skipped {given}: passed over {unread}"), file=sys.stderr)
        yield from (path for path in paths if path not in seen)
        seen.update(paths)


def _mean_probabilities(members: Sequence[Member], path: Path) -> tuple[float, np.ndarray]:
    """The length of a recording in seconds, and the mean over the members, [classes]."""

    @functools.cache
    def decode(rate_hz: int) -> np.ndarray:
        return decode_file(path, rate_hz)

    outputs = []
    for member in members:
        waveform = to_float(decode(member.sample_rate_hz))[tf.newaxis]
        try:
            outputs.append(member.function(waveform)["probabilities"][0].numpy())
        except tf.errors.ResourceExhaustedError as error:
            raise SepconError(f"{path}: is too long for the memory ({one_line(error)})") from error
    rate = members[0].sample_rate_hz
    return len(decode(rate)) / rate, np.mean(outputs, axis=0)


def _top(names: Sequence[str], probabilities: np.ndarray, count: int) -> list[str]:
    """Names and probabilities of the most probable classes, one after the other."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [text for place in order for text in (names[place], f"{probabilities[place]:.4f}")]


def _pairs(cells: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(cells[::2], cells[1::2], strict=True)


def _write(path: Path, rows: Sequence[Sequence[str]], count: int) -> None:
    head = ["file", "seconds"]
    for place in range(1, count + 1):
        head += [f"class_{place}", f"probability_{place}"]
    with told_if_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    run_folder.write_text(path, csv_text([head, *rows]))
