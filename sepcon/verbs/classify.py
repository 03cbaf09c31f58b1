"""`sepcon classify`: names the classes of recordings, or of what is separated from them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.audio.decode import decode_file
from sepcon.audio.encode import Format
from sepcon.data.audio_folder import survey_audio
from sepcon.data.clips import to_float
from sepcon.errors import SepconError, one_line, printable
from sepcon.inference.members import Member, common_names, load_members
from sepcon.inference.sounds.hear_files import hear_files
from sepcon.inference.sounds.patch_scores import PatchScorer
from sepcon.inference.sounds.segments import SegmentRule
from sepcon.inference.sounds.tables import sound_rows
from sepcon.models.packaged import DEFAULTS, default_weights, tell_weights
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.csv_text import csv_text
from sepcon.runs.progress import track
from sepcon.runs.whole_file import told_if_unwritable
from sepcon.separation.recording_separator import load_recording_separator

CSV_FILE = "classes.csv"


@claims_run_dir
def classify(
    *,
    run_dir: str | Path,
    model: str | Path | Sequence[str | Path] = (),
    files: Sequence[str | Path] = (),
    top: int = 5,
    separator: str | Path | None = None,
    separator_step: int | None = None,
    window_seconds: float | None = None,
    format: Format | None = None,
    min_level_db: float | None = None,
    threshold: float | None = None,
    max_gap_seconds: float | None = None,
    min_seconds: float | None = None,
    config_text: str = "",
) -> list[list[str]]:
    """Names the most probable classes of each recording, in order of probability.

    With a separator, the recordings are separated first, and the mixture and each channel are
    classified patch by patch: what sounds in them, and when. What cannot be decoded is told in one
    line on standard error and counted; the others go on.

    Args:
      run_dir: receives classes.csv: file, seconds, and class and probability of the top ones. With
        a separator it receives what `sepcon separate` writes, with the classes on the page and in
        label files for Audacity and Raven beside the channels; sounds.csv, a row for each segment;
        and channels.csv, a row for each channel with the classes of the whole of it.
      model: a run folder of `sepcon finetune`, whole (the mean of all its folds and seeds) or of
        one fold and seed; or what `sepcon export` made of one. Of several the mean probability
        counts; by default the packaged weights.
      files: recordings, or folders of them.
      top: how many classes to name.
      separator: as `separate` takes it; None for the recordings as they are. All that follows is
        for a separator only.
      separator_step: which state of the separator's run; the last by default.
      window_seconds: long recordings are separated in windows of this length, 10 by default.
      format: of the channels, as `separate` takes it; "same" by default.
      min_level_db: see `SegmentRule`, as the next three; by default as there. A channel of which no
        patch is loud enough is left out, and reported as such.
      threshold: see there.
      max_gap_seconds: see there.
      min_seconds: see there.
      config_text: not used: nothing but results is written.

    Returns:
      The rows of classes.csv, with a separator of sounds.csv, without the head.

    Raises:
      SepconError: no model, models of different classes, no file, not one that can be decoded, the
        folder cannot be written, no such separator, or a setting for a separator without one.
    """
    if not files:
        raise SepconError("nothing to classify: give files or folders")
    if top < 1:
        raise SepconError(f"top: got {top}, expected 1 or more")
    rule = _given(
        min_level_db=min_level_db,
        threshold=threshold,
        max_gap_seconds=max_gap_seconds,
        min_seconds=min_seconds,
    )
    separating = _given(step=separator_step, window_seconds=window_seconds)
    if separator is None and (rule or separating or format):
        raise SepconError(
            "a setting of separation or of segments is given, but no separator; give one, such as "
            f"--separator={DEFAULTS['separator']}, or leave it out"
        )
    given = [model] if isinstance(model, str | Path) else list(model)
    given = given or [default_weights("classifier")]
    for name in [*given, *([separator] if separator else [])]:
        tell_weights(name)
    segment_rule = SegmentRule(**rule)
    opened = None if separator is None else load_recording_separator(separator, **separating)
    members = [member for each in given for member in load_members(each)]
    if opened is None:
        return _classify_recordings(members, files, Path(run_dir), top)
    recordings = hear_files(
        files,
        out=Path(run_dir),
        separator=opened,
        format=format or "same",
        scorer=PatchScorer(members),
        rule=segment_rule,
        top=top,
    )
    return sound_rows(recordings)[1:]


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that are not left to their defaults."""
    return {name: value for name, value in settings.items() if value is not None}


def _classify_recordings(
    members: Sequence[Member], files: Sequence[str | Path], run_dir: Path, top: int
) -> list[list[str]]:
    """Names the classes of whole recordings; returns the rows of the table."""
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
    _write(run_dir / CSV_FILE, rows, min(top, len(names)))
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
