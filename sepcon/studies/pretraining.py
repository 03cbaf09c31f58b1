"""Studies of pretraining: rows times seeds, from the scenes to the shallow benchmark."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from sepcon.reports.comparison import (
    SECONDS,
    SUPERVISED_ABOVE,
    Summary,
    interval_column,
    mean_column,
)
from sepcon.reports.page import Section
from sepcon.reports.results import RESULTS_FILE, read_rows
from sepcon.runs import run_folder
from sepcon.runs.jobs import Job
from sepcon.runs.json_file import told_if_damaged
from sepcon.startup import load_tensorflow
from sepcon.studies.plan import Measure, Plan, Result, Study
from sepcon.studies.pretraining_commands import (
    ASKED_OF_ROWS,
    PretrainingCommands,
    PretrainingSettings,
    World,
    is_supervised,
)

# What the benchmark calls the lower end of the scale.
# What every row of a benchmark has.
_NUMBERS = ("seed", "seconds")
_UNTRAINED = "untrained encoder"


@dataclasses.dataclass(frozen=True)
class PretrainingPlan(PretrainingSettings, Plan):
    """Rows are ways of pretraining, compared by the mAP of the shallow benchmark.

    Every row is pretrained and measured with every seed, in every rotation of the data. Rows share
    scenes, separators and stored channels, which are made as far as rows name them (`CHANNELS`).
    See `PretrainingSettings`.
    """

    verb: ClassVar[str] = "pretrain"
    asks: ClassVar[Sequence[str]] = ASKED_OF_ROWS
    heading: ClassVar[str] = "Quality of the embeddings"
    # A further number of the benchmark takes a column here.
    measure: ClassVar[Measure] = Measure(
        mean_column("mAP"),
        "macro mAP on the test scenes",
        paragraphs=(
            "A classifier with one hidden layer on frozen embeddings, tested once on scenes whose "
            "recordings occur nowhere else.",
            "What a control gains as well (random equalization, random masks, an untrained "
            "separator) is not an effect of separation.",
        ),
        beside=(mean_column("d_prime", head="d-prime", decimals=2),),
        further=(
            SUPERVISED_ABOVE,
            mean_column("linear_mAP", head="linear mAP"),
            mean_column("retrieval_mAP", head="retrieval mAP"),
            mean_column("clip_accuracy", head="clean clips"),
            interval_column("clip_accuracy", head="clean clips, 95 %"),
            SECONDS,
        ),
        further_paragraphs=(
            "Where a row is supervised: which share of the distance from the untrained encoder to "
            "supervised training on the same scenes a row covers. Linear mAP is that of a linear "
            "classifier on scenes. Retrieval mAP is that of scenes ranked by their distance to an "
            "example; a random order has about 1/3. Clean clips, where there are any: the accuracy "
            "of a linear probe on single recordings.",
        ),
    )
    selection: ClassVar[Measure] = Measure(
        mean_column("validation_mAP", head="validation mAP"), "macro mAP on the validation scenes"
    )
    expected_seconds: ClassVar[Mapping[str, float]] = MappingProxyType(
        {
            "prepare": 25.0,
            "train_separator": 330.0,
            "channel_cost": 20.0,
            "separate": 90.0,
            "control_channels": 90.0,
            "pretrain": 250.0,
            "benchmark": 45.0,
        }
    )

    def check(self, study: Study) -> None:
        PretrainingCommands(self, study).check()

    def jobs(self, study: Study) -> list[Job]:
        return PretrainingCommands(self, study).jobs()

    def results(self, study: Study) -> list[Result]:
        """Returns the rows of all benchmarks, the baselines first.

        `seconds` counts the pretraining too, whose `steps` are told. With several rotations a
        result has its `rotation`, and with several separators the seed of its `separator` (None
        for rows without one).
        """
        commands = PretrainingCommands(self, study)
        results: list[Result] = []
        of_baselines = itertools.product(self.rotations, self.seeds) if self.baselines else ()
        for rotation, seed in of_baselines:
            folder = commands.baselines_dir(rotation, seed)
            told = study.told_of("benchmark", None, folder, self.rotations[rotation])
            told |= self._world(World(rotation))
            results += [
                {**row, **told} for row in read_rows(folder / RESULTS_FILE, numbers=_NUMBERS)
            ]
        order = {row.name: place for place, row in enumerate(study.rows)}
        for run in sorted(commands.runs(), key=lambda run: order[run.row.name]):
            folder = commands.pretrain_dir(run)
            trained = run_folder.read_numbers(folder, "seconds", "steps")
            path = commands.benchmark_dir(run) / RESULTS_FILE
            rows = read_rows(path, numbers=_NUMBERS)
            with told_if_damaged(path, cure="remove the folder, then the same command goes on"):
                (row,) = rows
            seconds = round(trained["seconds"] + float(row["seconds"]), 1)
            told = study.told_of("pretrain", run.row, folder, self.rotations[run.world.rotation])
            told |= {"seconds": seconds, "steps": trained["steps"], **self._world(run.world)}
            results.append({**row, **told})
        return results

    def _world(self, world: World) -> Result:
        told: Result = {}
        if len(self.rotations) > 1:
            told["rotation"] = world.rotation
        if len(self.separator_seeds) > 1:
            told["separator"] = world.separator
        return told

    def ends(self, study: Study) -> tuple[str, str]:
        supervised = [row.name for row in study.rows if is_supervised(row)]
        return _UNTRAINED, supervised[0] if supervised else ""

    def note(self, study: Study, results: Sequence[Result], *, final: bool) -> str:
        del study, final
        steps = dict.fromkeys(str(result["steps"]) for result in results if "steps" in result)
        differ = " (rows differ!)" if len(steps) > 1 else ""
        return f"Pretraining of {', '.join(steps)} steps{differ}"

    def sections(self, study: Study, selection: Sequence[Summary], *, final: bool) -> list[Section]:
        # They load TensorFlow, which nothing of a study needs before its end.
        load_tensorflow()
        from sepcon.studies.map import map_section
        from sepcon.studies.pretraining_page import (
            listening_section,
            pretraining_section,
            separation_section,
        )

        commands = PretrainingCommands(self, study)
        sections = [map_section(commands, selection)] if final else []
        separators: dict[World, Path] = commands.separator_dirs
        for world, separator in separators.items():
            if (separator / "separation.json").is_file():
                sections.append(separation_section(separator, world))
        for separator in list(separators.values())[:1]:
            sections.append(listening_section(separator / "examples"))
        sections.append(pretraining_section(commands))
        return [section for section in sections if section]
