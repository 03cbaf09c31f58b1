"""Studies of transfer: encoders are pretrained, on images or sound, and rows finetune from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from sepcon.errors import SepconError
from sepcon.reports.comparison import Summary
from sepcon.reports.page import Section
from sepcon.reports.results import RESULTS_FILE, read_results
from sepcon.runs import run_folder
from sepcon.runs.jobs import Job
from sepcon.runs.names import path_inside
from sepcon.startup import load_tensorflow
from sepcon.studies.finetuning import START, FinetuningPlan, trainings_in
from sepcon.studies.plan import Result, Study, checked_row, command_words, job_name
from sepcon.studies.rows import Entries, StudyRow, folder_name, study_rows

_IMPORT, _STARTS = "import", "starts"
# The separator of a study, and the channels that starts may name.
_SEPARATOR, _CHANNELS = "separator", "channels"
_ASKED_CHANNELS = "%CHANNELS"
_IMAGES = "IMPORTED_IMAGES"
# t-SNE needs some neighbours.
_FEWEST_POINTS = 12


@dataclasses.dataclass(frozen=True)
class TransferPlan(FinetuningPlan):
    """As `FinetuningPlan`, with starts that are pretrained by the study itself.

    A row takes one by binding START to its name. Every seed has a pretraining of its own: how much
    that differs is part of what the interval of a row says.

    Attributes:
      seeds: of pretraining and finetuning.
      starts: name -> gin files and bindings of a command `sepcon pretrain`.
      imported: gin files and bindings of a command `sepcon import`, whose result the starts read;
        () where the macro is bound to an import that is there.
      imported_as: the macro that names the import: IMPORTED_IMAGES, of images, is read by the
        starts; IMPORTED, of sound, by the rows as well.
      separator: gin files and bindings of a command `sepcon train_separator`. Starts that learn
        from its channels say CHANNELS=("channels",).
      maps: names of the rows whose embeddings the page shows as a map.
    """

    seeds: Sequence[int] = (0,)
    starts: Mapping[str, Entries] = dataclasses.field(default_factory=dict)
    imported: Entries = ()
    imported_as: str = _IMAGES
    separator: Entries = ()
    maps: Sequence[str] = ()

    expected_seconds: ClassVar[Mapping[str, float]] = MappingProxyType(
        {
            "import": 60.0,
            "train_separator": 330.0,
            "separate": 90.0,
            "pretrain": 1200.0,
            "finetune": 600.0,
        }
    )

    def check(self, study: Study) -> None:
        if not self.seeds:
            raise SepconError("TransferPlan.seeds must name at least one")
        others = [row for row in study.rows if self._start_of(row) is None]
        super().check(dataclasses.replace(study, rows=tuple(others)))
        names = [row.name for row in study.rows]
        if unknown := sorted(set(self.maps) - set(names)):
            raise SepconError(
                f"TransferPlan.maps names {unknown[0]!r}, expected some of {', '.join(names)}"
            )
        needed = self._needed(study)
        if self._imports(study):
            checked_row("import", _only_row(_IMPORT, self.imported), study.launch)
        if self._separates(study):
            separator = _only_row(_SEPARATOR, self.separator)
            bindings = self._imported_bindings(study)
            checked_row("train_separator", separator, study.launch, bindings=bindings)
        for start in needed:
            bindings = self._start_bindings(study, start, 0)
            checked_row("pretrain", start, study.launch, bindings=bindings)

    def jobs(self, study: Study) -> list[Job]:
        jobs = []
        if self._imports(study):
            jobs.append(study.job("import", _IMPORT, row=_only_row(_IMPORT, self.imported)))
        of_import = tuple(job.name for job in jobs)
        if self._separates(study):
            jobs += self._separation(study, of_import)
        for seed in self.seeds:
            for start in self._needed(study):
                needs = (_CHANNELS,) if self._is_of_channels(study, start) else of_import
                bindings = self._start_bindings(study, start, seed)
                folder = _start_folder(start, seed)
                jobs.append(
                    study.job("pretrain", folder, row=start, bindings=bindings, needs=needs)
                )
            jobs += [self._finetuning(study, row, seed, of_import) for row in study.rows]
        return jobs

    def _separation(self, study: Study, needs: Sequence[str]) -> list[Job]:
        """A separator is trained, and the channels of its last state are stored."""
        row, bindings = _only_row(_SEPARATOR, self.separator), self._imported_bindings(study)
        trained = study.job("train_separator", _SEPARATOR, row=row, bindings=bindings, needs=needs)
        bindings = (*bindings, f"SEPARATOR={str(study.root / _SEPARATOR)!r}")
        # Of a separator's own files it needs those alone that say which clips.
        stored = study.job("separate", _CHANNELS, row=row, bindings=bindings, needs=(trained.name,))
        return [trained, stored]

    def results(self, study: Study) -> list[Result]:
        """Returns a line for each training: a row, a seed and a fold.

        `pretraining_seconds` are those of its start, where the study has trained it.
        """
        return [
            {**training, **told}
            for row in study.rows
            for seed in self.seeds
            for told in [self._told_of(study, row, seed)]
            for training in trainings_in(study.root / _folder(row, seed))
        ]

    def note(self, study: Study, results: Sequence[Result], *, final: bool) -> str:
        del results, final
        made = [start.name for start in self._needed(study)]
        return f"Pretrained in this study, once a seed: {', '.join(made)}" if made else ""

    def sections(self, study: Study, selection: Sequence[Summary], *, final: bool) -> list[Section]:
        del selection
        section = self._map(study) if final and self.maps else None
        return [] if section is None else [section]

    def _start_of(self, row: StudyRow) -> StudyRow | None:
        """What a row starts with, if the study makes it."""
        start = str(row.bound.get(START) or "")
        return self._starts.get(start)

    @property
    def _starts(self) -> dict[str, StudyRow]:
        return {row.name: row for row in study_rows(self.starts)} if self.starts else {}

    def _needed(self, study: Study) -> list[StudyRow]:
        """The starts that rows take, in their own order."""
        taken = {start.name for row in study.rows if (start := self._start_of(row))}
        return [start for start in self._starts.values() if start.name in taken]

    def _rows_read_import(self) -> bool:
        return bool(self.imported) and self.imported_as != _IMAGES

    def _imports(self, study: Study) -> bool:
        return bool(self.imported) and (self._rows_read_import() or bool(self._needed(study)))

    def _separates(self, study: Study) -> bool:
        """Whether a start learns from channels of the separator of this study."""
        return any(self._is_of_channels(study, start) for start in self._needed(study))

    def _is_of_channels(self, study: Study, start: StudyRow) -> bool:
        if not self.separator:
            return False
        words = command_words("pretrain", start, study.launch, self._imported_bindings(study))
        channels = study.launch.bound(words, (_ASKED_CHANNELS,)).get(_ASKED_CHANNELS)
        return tuple(channels or ()) == (_CHANNELS,)

    def _imported_bindings(self, study: Study) -> tuple[str, ...]:
        if not self.imported:
            return ()
        return (f"{self.imported_as}={str(study.root / _IMPORT)!r}",)

    def _start_bindings(self, study: Study, start: StudyRow, seed: int) -> tuple[str, ...]:
        """What a pretraining is given beside what its start says."""
        channels: tuple[str, ...] = ()
        if self._is_of_channels(study, start):
            channels = (f"CHANNELS_DIR={str(study.root)!r}",)
        return (*self._imported_bindings(study), *channels, f"pretrain.seed={seed}")

    def _finetuning(
        self, study: Study, row: StudyRow, seed: int, of_import: tuple[str, ...]
    ) -> Job:
        bindings: tuple[str, ...] = (f"finetune.seeds=({seed},)",)
        needs: tuple[str, ...] = ()
        if self._rows_read_import():
            bindings, needs = (*self._imported_bindings(study), *bindings), of_import
        if start := self._start_of(row):
            folder = _start_folder(start, seed)
            bindings = (*bindings, f"finetune.start={str(study.root / folder)!r}")
            needs = (job_name(folder),)
        return study.job("finetune", _folder(row, seed), row=row, bindings=bindings, needs=needs)

    def _told_of(self, study: Study, row: StudyRow, seed: int) -> dict[str, Any]:
        told: dict[str, Any] = {"name": row.name}
        if start := self._start_of(row):
            made = run_folder.read_numbers(study.root / _start_folder(start, seed), "seconds")
            told["pretraining_seconds"] = round(made["seconds"], 1)
        return told | study.told_of("finetune", row, study.root / _folder(row, seed))

    def _map(self, study: Study) -> Section | None:
        """Embeddings of the first test fold and seed, of each of the rows in `maps`."""
        # They load TensorFlow, which nothing of a study needs before its end.
        load_tensorflow()
        from sepcon.embeddings.map import Points, map_figure
        from sepcon.finetuning.predictions import Predictions
        from sepcon.finetuning.selection import SELECTED_FILE

        panels: list[tuple[str, Points]] = []
        names: Sequence[str] = ()
        for row in study.rows:
            if row.name in self.maps:
                folder = study.root / _folder(row, self.seeds[0])
                path = folder / RESULTS_FILE
                names = read_results(path)["class_names"]
                first = path_inside(folder, trainings_in(folder)[0]["folder"], source=path)
                found = Predictions.load(first / SELECTED_FILE)
                if found.embedding is not None:
                    panels.append((row.name, Points(found.embedding, found.labels)))
        if not panels or len(panels[0][1].label) < _FEWEST_POINTS:
            return None
        return Section(
            "Maps of the embeddings",
            [
                "For the eye alone. Clips of the first test fold, first seed, as the encoder of "
                "each row embeds them. Near points have similar embeddings; distances between "
                "groups and their sizes mean nothing."
            ],
            figures=[
                map_figure(
                    "t-SNE of test clips: the ten most frequent classes in colour, others grey.",
                    panels,
                    names,
                )
            ],
        )


def _only_row(name: str, entries: Entries) -> StudyRow:
    (row,) = study_rows({name: entries})
    return row


def _start_folder(start: StudyRow, seed: int) -> Path:
    return Path(_STARTS) / folder_name(start.name) / f"seed{seed}"


def _folder(row: StudyRow, seed: int) -> Path:
    return Path("rows") / row.folder / f"seed{seed}"
