"""Studies of inference: what views beside a mixture add to encoders that the study pretrains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from sepcon.errors import SepconError
from sepcon.reports.comparison import (
    SECONDS,
    compared_columns,
    interval_text,
    mean_column,
    summarize,
    table,
)
from sepcon.reports.results import RESULTS_FILE, read_rows
from sepcon.runs.jobs import Job
from sepcon.runs.json_file import told_if_damaged
from sepcon.separation.control_kinds import view_kinds
from sepcon.studies.plan import (
    Measure,
    Plan,
    Result,
    Study,
    Table,
    checked_row,
    command_words,
    job_name,
)
from sepcon.studies.rows import Entries, StudyRow, study_rows

_ASKED_CHANNELS = "%CHANNELS"
_PREPARE, _SEPARATOR, _CHANNELS, _BENCHMARK = "prepare", "separator", "channels", "benchmark"
_NUMBERS = ("seed", "seconds", "mAP")


# Further measures that rows are compared by, and what the page calls them.
_FURTHER = {
    "mAP_few": "few labels",
    "mAP_sources_1": "1 source",
    "mAP_sources_2": "2 sources",
    "mAP_sources_3": "3 sources",
    "mAP_sources_4": "4 sources",
    "mAP_same_size": "as many features as the mixture",
}


@dataclasses.dataclass(frozen=True)
class InferencePlan(Plan):
    """Rows are what stands beside the mixture where an encoder is used, for several encoders.

    A row is one of `encoders`, and what is put beside the mixture: a state of the separator, or
    another kind of `benchmark_channels` (see `view_kinds`). Its name says both, as in 'mixtures,
    random masks', and it has no gin files of its own. Each encoder is pretrained with each seed;
    one `sepcon benchmark` a seed then measures all rows. All share the scenes and the separator.

    Attributes:
      encoders: name -> gin files and bindings of a command `sepcon pretrain`. One that learns from
        channels says CHANNELS, names of `states`.
      seeds: of pretraining, and of what is random in the benchmark.
      states: convergence states of the separator by the names that rows use: step, or None for the
        last.
    """

    encoders: Mapping[str, Entries] = dataclasses.field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    states: Mapping[str, int | None] = dataclasses.field(default_factory=dict)

    # What gin files of the study are read for: rows have none.
    verb: ClassVar[str] = "pretrain"
    heading: ClassVar[str] = "What views beside the mixture add"
    measure: ClassVar[Measure] = Measure(
        mean_column("mAP"),
        "macro mAP on the test scenes",
        paragraphs=(
            "A linear classifier on the embedding of a mixture, and of views of it. Pooling, share "
            "of energy and penalty were chosen by validation scenes, for each row and seed.",
            "Random features of the mixture are as many numbers as the mixture with maximum and "
            "mean of its views. Random filters and random masks separate nothing: what they gain "
            "as well is not an effect of separation.",
        ),
        further=(
            mean_column("mAP_same_size", head="as many features as the mixture"),
            mean_column("mAP_maximum", head="maximum"),
            mean_column("mAP_mean", head="mean"),
            mean_column("mAP_both", head="both"),
            mean_column("mAP_attention", head="attention"),
            mean_column("views_per_patch", head="views a patch", decimals=1),
            SECONDS,
        ),
        further_paragraphs=(
            "As many features as the mixture: the principal components of mixture and views "
            "together, as many as the mixture alone has numbers. By pooling: with the share of "
            "energy that validation scenes choose for it.",
        ),
    )
    selection: ClassVar[Measure] = Measure(
        mean_column("validation_mAP", head="validation mAP"), "macro mAP on the validation scenes"
    )
    expected_seconds: ClassVar[Mapping[str, float]] = MappingProxyType(
        {
            "prepare": 25.0,
            "train_separator": 330.0,
            "separate": 90.0,
            "pretrain": 250.0,
            "benchmark": 1750.0,
        }
    )

    def check(self, study: Study) -> None:
        if not self.seeds or not self.encoders or not self.states:
            raise SepconError(
                "InferencePlan.seeds, .encoders and .states must name at least one each"
            )
        known = self._row_names
        for row in study.rows:
            if row.name not in known or row.gin_files or row.gin_bindings:
                raise SepconError(
                    f"row {row.name!r}: expected an encoder of InferencePlan.encoders and what is "
                    f"beside the mixture, without gin files and bindings of its own, such as "
                    f"{known[0]!r}; encoders are {', '.join(self.encoders)}; beside the mixture: "
                    f"{', '.join(view_kinds(list(self.states)))}"
                )
        for encoder in self._encoders:
            checked_row("pretrain", encoder, study.launch)
            unknown = sorted(set(self._channels_of(study, encoder)) - set(self.states))
            if unknown:
                raise SepconError(
                    f"InferencePlan.encoders: {encoder.name!r} learns from the channels "
                    f"{unknown[0]!r}, expected some of {', '.join(self.states)}"
                )
        for seed in self.seeds:
            bindings = self._benchmark_bindings(study, seed)
            checked_row(_BENCHMARK, StudyRow("of all rows"), study.launch, bindings=bindings)

    def jobs(self, study: Study) -> list[Job]:
        steps = tuple(sorted({step for step in self.states.values() if step is not None}))
        jobs = [
            study.job("prepare", _PREPARE),
            study.job(
                "train_separator",
                _SEPARATOR,
                bindings=[f"SEPARATOR_STATES={steps}"],
                needs=(_PREPARE,),
            ),
        ]
        stored = {name for each in self._encoders for name in self._channels_of(study, each)}
        for name in sorted(stored):
            bindings = [self._separator(study), f"SEPARATOR_STEP={self.states[name]}"]
            jobs.append(
                study.job("separate", Path(_CHANNELS, name), bindings=bindings, needs=(_SEPARATOR,))
            )
        for seed in self.seeds:
            pretrained = [self._pretraining(study, encoder, seed) for encoder in self._encoders]
            jobs += pretrained
            jobs.append(
                study.job(
                    "benchmark",
                    Path(_BENCHMARK, f"seed{seed}"),
                    bindings=self._benchmark_bindings(study, seed),
                    needs=(_SEPARATOR, *(job.name for job in pretrained)),
                )
            )
        return jobs

    def results(self, study: Study) -> list[Result]:
        """Returns a line for each row and seed, the rows of an encoder one after the other."""
        results: list[Result] = []
        order = {name: place for place, name in enumerate(self._row_names)}
        for row in sorted(study.rows, key=lambda row: order[row.name]):
            for seed in self.seeds:
                folder = study.root / _BENCHMARK / f"seed{seed}"
                path = folder / RESULTS_FILE
                measured = read_rows(path, numbers=_NUMBERS)
                with told_if_damaged(path, cure="remove the folder, then the same command goes on"):
                    (found,) = [each for each in measured if each["name"] == row.name]
                told = study.told_of("benchmark", row, folder)
                results.append({**found, **told})
        return results

    def tables(self, study: Study, results: Sequence[Result]) -> Mapping[str, Table]:
        """Returns a comparison by each further measure, and what the trained separator gains."""
        tables = {"gains": self._gains(results)}
        for key, name in _FURTHER.items():
            if _has_numbers(results, key):
                summaries = summarize(
                    results, baseline=study.baseline, against=study.against, measure=key
                )
                columns = compared_columns(mean_column(key, head=f"mAP, {name}"))
                told = f"{study.compared_with('what the table says')}, paired by seed."
                cells = table(summaries, columns)
                tables[f"table_{key}"] = Table(f"Test mAP: {name}", (told,), cells)
        return tables

    def _gains(self, results: Sequence[Result]) -> Table:
        """By how much the last state of the separator is above all else, encoder by encoder."""
        kinds = view_kinds(list(self.states))
        trained = list(self.states)[-1]
        others = [kind for kind in kinds if kind != trained]
        cells = [["encoder", "test scenes", trained, *[f"above {other}" for other in others]]]
        for encoder in self.encoders:
            own = [row for row in results if row["name"] == f"{encoder}, {trained}"]
            for key, name in {"mAP": "all", **_FURTHER}.items():
                if own and _has_numbers(own, key):
                    above = [
                        _gain(results, f"{encoder}, {trained}", f"{encoder}, {other}", key)
                        for other in others
                    ]
                    mean = sum(float(row[key]) for row in own) / len(own)
                    cells.append([encoder, name, f"{mean:.3f}", *above])
        return Table(
            f"What the {trained} gains",
            (
                "Differences of test mAP, paired by seed, with their 95 % intervals. What it is "
                "above random masks and random filters, which cost the same, is what separation "
                "adds; what it is above random features is not a matter of more numbers.",
            ),
            cells,
        )

    def note(self, study: Study, results: Sequence[Result], *, final: bool) -> str:
        del study, final
        counts = {
            name: sorted({result[name] for result in results})
            for name in ("num_train_clips", "num_train_clips_few", "num_test_clips")
        }
        train, few, test = (
            " to ".join(dict.fromkeys([str(found[0]), str(found[-1])])) for found in counts.values()
        )
        return (
            f"{train} labelled scenes, {few} where few are labelled; {test} test scenes. Encoders "
            "never saw a label"
        )

    @property
    def _row_names(self) -> list[str]:
        kinds = view_kinds(list(self.states))
        return [f"{encoder}, {kind}" for encoder in self.encoders for kind in kinds]

    @property
    def _encoders(self) -> tuple[StudyRow, ...]:
        return study_rows(self.encoders)

    def _channels_of(self, study: Study, encoder: StudyRow) -> tuple[str, ...]:
        words = command_words("pretrain", encoder, study.launch)
        return tuple(study.launch.bound(words, (_ASKED_CHANNELS,)).get(_ASKED_CHANNELS) or ())

    def _separator(self, study: Study) -> str:
        return f"SEPARATOR={str(study.root / _SEPARATOR)!r}"

    def _pretraining(self, study: Study, encoder: StudyRow, seed: int) -> Job:
        named = self._channels_of(study, encoder)
        bindings, needs = [f"SEED={seed}"], [_PREPARE]
        if named:
            bindings.append(f"CHANNELS_DIR={str(study.root / _CHANNELS)!r}")
            needs = [job_name(Path(_CHANNELS, name)) for name in named]
        folder = self._encoder_folder(encoder, seed)
        return study.job("pretrain", folder, row=encoder, bindings=bindings, needs=needs)

    def _encoder_folder(self, encoder: StudyRow, seed: int) -> Path:
        return Path("pretrain", encoder.folder, f"seed{seed}")

    def _benchmark_bindings(self, study: Study, seed: int) -> list[str]:
        encoders = {
            encoder.name: str(study.root / self._encoder_folder(encoder, seed))
            for encoder in self._encoders
        }
        return [
            f"benchmark_channels.encoders={encoders}",
            f"benchmark_channels.states={dict(self.states)}",
            self._separator(study),
            f"SEED={seed}",
        ]


def _has_numbers(results: Sequence[Result], key: str) -> bool:
    """Whether all have one: a handful of scenes may hold none with as many sources."""
    return all(result.get(key) is not None for result in results)


def _gain(results: Sequence[Result], name: str, other: str, key: str) -> str:
    """The difference of two rows, as text; nothing where the other was not measured."""
    rows = [row for row in results if row["name"] in (name, other)]
    if not _has_numbers(rows, key) or not any(row["name"] == other for row in rows):
        return ""
    summaries = summarize(rows, baseline=other, measure=key)
    (summary,) = [each for each in summaries if each.name == name]
    interval = interval_text(summary.difference.low, summary.difference.high, sign="+")
    mean = f"{summary.difference.mean:+.3f}"
    return f"{mean} ({interval})" if interval else mean
