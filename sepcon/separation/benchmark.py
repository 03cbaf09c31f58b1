"""What `sepcon benchmark` measures of separators: the separation of known sources, by state."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.data.clips import ClipDataset, with_sources
from sepcon.errors import SepconError
from sepcon.models.products.found_model import find_model
from sepcon.models.separator.network import Separator, SeparatorConfig, load_separator_config
from sepcon.models.weights import list_states, read_weights, state_folder
from sepcon.reports.page import require_libraries
from sepcon.reports.results import Results, Row, write_csv
from sepcon.runs import run_folder
from sepcon.runs.json_file import read_json, told_if_damaged
from sepcon.runs.whole_file import told_if_unwritable
from sepcon.separation.benchmark_page import Example, table, write_page
from sepcon.separation.evaluate import (
    MeasuredSeparator,
    SceneScores,
    SeparateScene,
    mixit_measure,
    num_measured,
    score_scenes,
    summarize_scenes,
)
from sepcon.separation.examples import example_scenes, write_example
from sepcon.separation.recording_separator import load_recording_separator
from sepcon.separation.references import copied_mixture, ideal_ratio_masks

SCENES_FILE = "scenes.csv"
REPORT_FILE = "report.html"
EXAMPLES_FOLDER = "examples"
_SCORES_FOLDER = "scores"

REFERENCES: Mapping[str, SeparateScene] = {
    "mixture": copied_mixture,
    "ideal_ratio_masks": ideal_ratio_masks,
}

Scored = tuple[list[SceneScores], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A row to be.

    Attributes:
      name: of the separator or reference.
      step: of the checkpoint; None for what has none.
      identity: changes with the numbers.
      load: returns the separator, with the weights of `step` until another entry of its run is
        loaded; None for a reference.
    """

    name: str
    step: int | None
    identity: str
    load: Callable[[], MeasuredSeparator] | None = None

    @property
    def title(self) -> str:
        return self.name if self.step is None else f"{self.name}, step {self.step}"


def benchmark_separation(
    folder: Path,
    *,
    separators: Mapping[str, str | Path],
    scenes: ClipDataset,
    steps: Sequence[int] | None = None,
    references: Sequence[str] = tuple(REFERENCES),
    max_scenes: int | None = None,
    num_examples: int = 3,
    batch_size: int = 8,
    bootstrap_resamples: int = 1000,
    report: bool = True,
    on_start: Callable[[], object] = lambda: None,
) -> Results:
    """Separates scenes with every state and compares the channels with the known sources.

    `sepcon.separation.evaluate.summarize_scenes` says what is measured. The scores of a state are
    kept under folder/scores, so that a killed run goes on with the next state; scenes.csv (every
    scene), examples/ (sounds) and report.html are written at the end.

    Args:
      folder: where to write.
      separators: name in the table -> run folder of `sepcon train_separator`, or what `sepcon
        export` made of one of its states.
      scenes: clips with known sources that the separators have not seen.
      steps: the convergence states to measure; all that a run has kept by default. An export has
        only one.
      references: rows that show the ends of the scale: 'mixture' in every channel, and
        'ideal_ratio_masks', made of the true sources.
      max_scenes: the first so many scenes are measured; all by default.
      num_examples: so many scenes of two sources become sounds in the report, separated with the
        last state of each separator.
      batch_size: scenes that are separated at a time.
      bootstrap_resamples: resamples of the scenes behind the 95 % intervals.
      report: whether to write report.html.
      on_start: called when all checks have passed, before anything is written.

    Returns:
      The table, and the rows: name, step, what `summarize_scenes` and `mixit_measure` return, and
      seconds.

    Raises:
      SepconError: a separator or a state is missing, the scenes' sources are not known or all
        silent, a library of the report is missing, or the folder cannot be written.
    """
    if report:
        require_libraries()
    with_sources(scenes)  # Told now if they are not known, not after the models are loaded.
    entries = [*_references(references), *_checkpoints(separators, steps, scenes.sample_rate_hz)]
    if not entries:
        raise SepconError("nothing to measure: give separators or references")
    on_start()
    rows: list[Row] = []
    by_scene: list[Row] = []
    for number, entry in enumerate(entries, start=1):
        score = functools.partial(
            _score, entry, scenes, max_scenes, batch_size, f"[{number}/{len(entries)}]"
        )
        scores, measures = _kept(folder / _SCORES_FOLDER, entry, scenes, max_scenes, score)
        if not scores:
            raise SepconError(f"{scenes.name}: {entry.name} can be measured on none of its scenes")
        looked_at = num_measured(scenes, max_scenes)
        summary = summarize_scenes(
            scores, num_scenes=looked_at, bootstrap_resamples=bootstrap_resamples
        )
        rows.append({"name": entry.name, "step": entry.step, **summary, **measures})
        by_scene += [_scene_row(entry, each) for each in scores]
    write_csv(folder / SCENES_FILE, by_scene)
    examples = list(_examples(folder / EXAMPLES_FOLDER, entries, scenes, num_examples))
    if report:
        write_page(folder / REPORT_FILE, scenes=scenes.name, rows=rows, examples=examples)
    return Results(rows, table(rows))


def _references(names: Sequence[str]) -> Iterator[_Entry]:
    for name in names:
        if name not in REFERENCES:
            raise SepconError(f"unknown reference {name!r}; known are {', '.join(REFERENCES)}")
        yield _Entry(name.replace("_", " "), None, name)


def _checkpoints(
    separators: Mapping[str, str | Path], steps: Sequence[int] | None, sample_rate_hz: int
) -> Iterator[_Entry]:
    for name, path in separators.items():
        found = find_model(path, "separator", run_first=True)
        if found.is_saved_model:
            yield _export(name, found.folder, sample_rate_hz)
        else:
            yield from _states(name, found.folder, steps, sample_rate_hz)


def _export(name: str, folder: Path, sample_rate_hz: int) -> _Entry:
    exported = load_recording_separator(folder)
    _check_rate(folder, exported.sample_rate_hz, sample_rate_hz)

    def separate(mixture: tf.Tensor) -> tf.Tensor:
        return exported.function(mixture)["sources"]

    measured = functools.cache(lambda: MeasuredSeparator(separate))
    return _Entry(name, exported.step, exported.fingerprint, measured)


def _states(
    name: str, run: Path, steps: Sequence[int] | None, sample_rate_hz: int
) -> Iterator[_Entry]:
    config = load_separator_config(run)
    _check_rate(run, config.sample_rate_hz, sample_rate_hz)
    kept = list_states(run)
    missing = sorted(set(steps or ()) - set(kept))
    if missing or not kept:
        raise SepconError(
            f"{run}: no state of step {missing or 'any'}; kept there: "
            f"{', '.join(map(str, kept)) or 'none'}"
        )
    # One network for all states of a run, which only exchange its weights.
    network = functools.cache(functools.partial(_measured, config))
    for step in kept if steps is None else steps:
        weights = state_folder(run, step).resolve()
        identity = f"{weights} {weights.stat().st_mtime_ns}"
        yield _Entry(name, step, identity, functools.partial(_with_weights, network, weights))


def _measured(config: SeparatorConfig) -> tuple[Separator, MeasuredSeparator]:
    separator = Separator(config)
    return separator, MeasuredSeparator(separator)


def _with_weights(
    network: Callable[[], tuple[Separator, MeasuredSeparator]], weights: Path
) -> MeasuredSeparator:
    separator, measured = network()
    read_weights(separator, weights)
    return measured


def _check_rate(folder: Path, rate_hz: int, sample_rate_hz: int) -> None:
    if rate_hz != sample_rate_hz:
        raise SepconError(
            f"{folder}: separates at {rate_hz} Hz, the scenes have {sample_rate_hz} Hz; "
            "give a separator of their rate"
        )


def _score(
    entry: _Entry,
    scenes: ClipDataset,
    max_scenes: int | None,
    batch_size: int,
    number: str,
) -> Scored:
    arguments: dict[str, Any] = {"max_clips": max_scenes, "batch_size": batch_size}
    description = f"{number} {entry.title}"
    if entry.load is None:
        reference = REFERENCES[entry.identity]
        return score_scenes(reference, scenes, description=description, **arguments), {}
    measured = entry.load()
    scores = score_scenes(measured.separate_scene, scenes, description=description, **arguments)
    return scores, mixit_measure(measured, scenes, **arguments)


def _kept(
    folder: Path,
    entry: _Entry,
    scenes: ClipDataset,
    max_scenes: int | None,
    score: Callable[[], Scored],
) -> Scored:
    """Returns the scores that an earlier run has kept, or scores and keeps them."""
    key = f"{entry.identity} {scenes.name} {num_measured(scenes, max_scenes)}"
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if path.is_file():
        cure = "remove it, then the same command measures it again"
        kept = read_json(path, cure=cure)
        with told_if_damaged(path, cure=cure):
            return [SceneScores(**scene) for scene in kept["scenes"]], dict(kept["measures"])
    start = time.monotonic()
    scores, measures = score()
    measures = {**measures, "seconds": round(time.monotonic() - start, 2)}
    kept = {"scenes": [dataclasses.asdict(each) for each in scores], "measures": measures}
    with told_if_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    run_folder.write_text(path, json.dumps(kept))
    return scores, measures


def _scene_row(entry: _Entry, scores: SceneScores) -> Row:
    means = {
        name: float(np.mean(values)) if len(values) else None
        for name, values in dataclasses.asdict(scores).items()
        if name.endswith("_db")
    }
    counts = {"sources": scores.num_sources, "active_channels": scores.num_active_channels}
    return {"name": entry.name, "step": entry.step, "scene": scores.id, **counts, **means}


def _examples(
    folder: Path, entries: Sequence[_Entry], scenes: ClipDataset, num_examples: int
) -> Iterator[Example]:
    """Separates the first scenes with the last checkpoint of each separator, into files."""
    last = {entry.name: entry for entry in entries if entry.load is not None}
    separators = {entry.title: entry.load() for entry in last.values() if entry.load is not None}
    for scene in example_scenes(scenes, num_examples):
        channels = {
            title: np.asarray(loaded.separator(scene.mixture[np.newaxis]))[0]  # [channel, samples]
            for title, loaded in separators.items()
        }
        prefixes = {title: f"separator_{n}_channel" for n, title in enumerate(separators)}
        named = {prefixes[title]: found for title, found in channels.items()}
        files = write_example(folder, scene, named, scenes.sample_rate_hz)
        yield Example(scene, channels, prefixes, files, scenes.sample_rate_hz)
