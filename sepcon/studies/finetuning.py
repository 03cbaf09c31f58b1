"""Studies of finetuning: several ways of training classifiers, by cross-validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from sepcon.errors import SepconError
from sepcon.reports.comparison import SECONDS, mean_column
from sepcon.reports.results import RESULTS_FILE, read_rows
from sepcon.runs.jobs import Job
from sepcon.startup import load_tensorflow
from sepcon.studies.plan import Measure, Plan, Result, Study
from sepcon.studies.rows import StudyRow

START = "finetune.start"


@dataclasses.dataclass(frozen=True)
class FinetuningPlan(Plan):
    """Rows are ways of finetuning, one command each, compared by accuracy.

    Seeds and folds are those of `sepcon finetune`, bound by the study's files or by a row.
    """

    verb: ClassVar[str] = "finetune"
    asks: ClassVar[Sequence[str]] = (START,)
    measure: ClassVar[Measure] = Measure(
        mean_column("accuracy"),
        "accuracy, mean over folds",
        paragraphs=(
            "Cross-validation: the accuracy of a seed is the mean over the test folds. The epoch "
            "is chosen by clips held out of the training folds. rows/ has the page of each row "
            "with its confusion matrix.",
        ),
        further=(
            mean_column("optimistic_accuracy", head="optimistic accuracy"),
            mean_column("fold_deviation", head="deviation between folds"),
            SECONDS,
        ),
        further_paragraphs=(
            "The optimistic accuracy has the epoch chosen by the test fold itself, as the code "
            "published with SoundCLR does.",
        ),
    )
    selection: ClassVar[Measure] = Measure(
        mean_column("validation_accuracy", head="validation accuracy"),
        "accuracy on the validation clips, mean over folds",
    )
    expected_seconds: ClassVar[Mapping[str, float]] = MappingProxyType({"finetune": 600.0})

    def check(self, study: Study) -> None:
        for row in study.rows:
            start = str(row.bound.get(START) or "")
            if start and not Path(start).expanduser().exists():
                raise SepconError(
                    f"row {row.name!r}: {START}: {start} is not there; check the path"
                )

    def jobs(self, study: Study) -> list[Job]:
        return [study.job("finetune", _folder(row), row=row) for row in study.rows]

    def results(self, study: Study) -> list[Result]:
        """Returns a line for each training: a row, a seed and a fold."""
        return [
            {
                "name": row.name,
                **training,
                **study.told_of("finetune", row, study.root / _folder(row)),
            }
            for row in study.rows
            for training in trainings_in(study.root / _folder(row))
        ]

    def runs(self, results: Sequence[Result]) -> list[Result]:
        """Returns a result for each row and seed: means over the folds, and all their seconds."""
        names = dict.fromkeys(result["name"] for result in results)
        return [
            run
            for name in names
            for run in _of_seeds(name, [each for each in results if each["name"] == name])
        ]

    def note(self, study: Study, results: Sequence[Result], *, final: bool) -> str:
        del results
        if not final:
            return ""
        # It loads TensorFlow, as in `_of_seeds`; nothing of a study needs that before its end.
        load_tensorflow()
        from sepcon.finetuning.page import ensemble_accuracy

        folders = [study.root / _folder(row) for row in study.rows]
        together = ensemble_accuracy([(folder, trainings_in(folder)) for folder in folders])
        return (
            f"Ensemble of all models of all rows (mean of probabilities): accuracy {together:.3f}"
        )


def _folder(row: StudyRow) -> Path:
    return Path("rows") / row.folder


def trainings_in(folder: Path) -> list[dict[str, Any]]:
    """What a run of `sepcon finetune` says of each training, see `sepcon.finetuning.fold`."""
    load_tensorflow()
    from sepcon.finetuning.page import MEASURES

    path = folder / RESULTS_FILE
    return read_rows(path, numbers=("seed", "seconds", "validation_accuracy", *MEASURES))


def _of_seeds(name: str, trainings: Sequence[Result]) -> list[Result]:
    load_tensorflow()
    from sepcon.finetuning.page import MEASURES, per_seed

    measures = {
        measure: per_seed(trainings, measure) for measure in (*MEASURES, "validation_accuracy")
    }
    runs = []
    for seed in measures["accuracy"]:
        folds = [training for training in trainings if training["seed"] == seed]
        runs.append(
            {
                "name": name,
                "seed": seed,
                **{measure: by_seed[seed] for measure, by_seed in measures.items()},
                "fold_deviation": float(np.std([fold["accuracy"] for fold in folds])),
                "seconds": sum(fold["seconds"] for fold in folds),
            }
        )
    return runs
