"""What a kind of study says: the commands that rows are made of, and what they yield.

A further kind is a subclass of `Plan` in a file of this room and a line in
`sepcon.verbs.registry.CONFIGURABLES`; gin binds it as `study.plan = @NameOfTheClass()`. The verb
`study` does the rest for every kind alike: it checks the rows, runs the commands, compares what
they yield, and writes the tables and the page.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from sepcon.errors import SepconError
from sepcon.reports.comparison import Column, Summary
from sepcon.reports.page import Section
from sepcon.reports.results import Row
from sepcon.runs import run_folder
from sepcon.runs.jobs import Job
from sepcon.runs.launch import Launch
from sepcon.studies.rows import StudyRow

# What one run yields: `name` (of its row), `seed`, and the numbers that were measured.
Result = Row


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number of the results that rows are compared by.

    Attributes:
      column: of the tables; its key is that of the results.
      words: what the number is, in the middle of a sentence.
      paragraphs: what the page says of it.
      beside: columns that stand right beside it.
      further: columns behind all others in table.md, and in a table of their own on the page.
      further_paragraphs: what the page says of those.
    """

    column: Column
    words: str
    paragraphs: tuple[str, ...] = ()
    beside: tuple[Column, ...] = ()
    further: tuple[Column, ...] = ()
    further_paragraphs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.column.key


@dataclasses.dataclass(frozen=True)
class Table:
    """A further table of a plan.

    Attributes: heading and paragraphs, for the page; cells, row by row, the head first.
    """

    heading: str
    paragraphs: tuple[str, ...]
    cells: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Study:
    """A study as its plan sees it: rows that were checked, and where and how they run.

    Attributes:
      root: the study's run folder.
      rows: of the study, each read and found to be right.
      launch: how other verbs are started.
      baseline: name of the row that others are compared with.
      against: rows that are compared with another row -> its name, their own for none.
      figures: figures of the page beside that of all rows: name -> names of the rows in it.
      threads: of each command.
      expected_seconds: verb -> seconds of a command on one core, for the time left.
    """

    root: Path
    rows: tuple[StudyRow, ...]
    launch: Launch
    baseline: str = ""
    against: Mapping[str, str] = dataclasses.field(default_factory=dict)
    figures: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    threads: int = 1
    expected_seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def compared_with(self, others: str) -> str:
        """Returns a sentence, without its full stop, that says what rows are compared with.

        Args:
          others: words for where the rows of `against` are named, such as "the table".
        """
        others = f", or to {others}" if self.against else ""
        return f"Differences are to {self.baseline}{others}"

    def job(
        self,
        verb: str,
        folder: str | Path,
        *,
        row: StudyRow | None = None,
        bindings: Sequence[str] = (),
        needs: Sequence[str] = (),
    ) -> Job:
        """Returns a command of the study.

        The row's gin files come before the study's, and the row's bindings before those of the
        command line, so that the study wins over its rows; `bindings` win over both.

        Args:
          verb: what is run.
          folder: its run folder, below the study's.
          row: whose gin files and bindings it is given, if those of any.
          bindings: what the plan decides.
          needs: names of the jobs that must have finished before, see `job_name`.
        """
        run_dir = self.root / folder
        words = (
            *command_words(verb, row, self.launch, bindings),
            f"--run_dir={run_dir}",
            f"--num_threads={self.threads}",
        )
        return Job(
            job_name(folder),
            words,
            tuple(needs),
            functools.partial(run_folder.is_finished, run_dir),
            self.expected_seconds.get(verb, Job.expected_seconds),
        )

    def told_of(
        self, verb: str, row: StudyRow | None, folder: Path, bindings: Sequence[str] = ()
    ) -> Result:
        """Returns what a result says of the command that made it: commit, gin files, bindings.

        Args:
          verb: what was run.
          row: whose gin files and bindings it was given.
          folder: its run folder.
          bindings: of the plan that say what was measured, not where it is.
        """
        files = row.gin_files if row else ()
        own = row.gin_bindings if row else ()
        return {
            "commit": run_folder.read_record(folder).get("commit", ""),
            "gin_files": [f"runs/{verb}.gin", *files, *self.launch.gin_files],
            "gin_bindings": [*own, *self.launch.gin_bindings, *bindings],
        }


def job_name(folder: str | Path) -> str:
    """Returns the name of the job whose run folder, below the study's, is this one."""
    return "-".join(Path(folder).parts)


def command_words(
    verb: str, row: StudyRow | None, launch: Launch, bindings: Sequence[str] = ()
) -> tuple[str, ...]:
    """Returns the command line of `verb` for a row, without `sepcon` and without --run_dir.

    Later words win: the row's files and bindings, those of the study, `bindings`.

    Args:
      verb: such as 'pretrain'.
      row: whose gin files and bindings are given; None for a command that all rows share.
      launch: what the study hands on to all of its commands.
      bindings: further ones, as in a gin file.
    """
    files, own = (row.gin_files, row.gin_bindings) if row else ((), ())
    return (
        verb,
        f"--gin_file=runs/{verb}.gin",
        *[f"--gin_file={file}" for file in files],
        *[f"--gin_bindings={binding}" for binding in own],
        *launch.words,
        *[f"--gin_bindings={binding}" for binding in bindings],
    )


def checked_row(
    verb: str,
    row: StudyRow,
    launch: Launch,
    *,
    asks: Sequence[str] = (),
    bindings: Sequence[str] = (),
) -> StudyRow:
    """Reads the configuration of a row, and returns the row with what the plan asks of it.

    Args:
      verb: what the row's gin files and bindings are given to.
      row: to check.
      launch: of the study.
      asks: names, see `Launch.bound`.
      bindings: further ones, see `Study.job`.

    Raises:
      SepconError: the verb would refuse its gin files or bindings.
    """
    try:
        bound = launch.bound(command_words(verb, row, launch, bindings), asks)
    except SepconError as error:
        raise SepconError(f"row {row.name!r}: {str(error).splitlines()[0]}") from None
    return dataclasses.replace(row, bound=bound)


class Plan(abc.ABC):
    """A kind of study; its fields are what is particular to it, bound in gin.

    Attributes:
      verb: what the gin files and bindings of a row are written for.
      asks: what the plan wants to know of the configuration of a row, and finds in its `bound`:
        parameters, and macros with % before their names.
      measure: what rows are compared by in the end.
      selection: what settings are chosen by, which must not depend on the test.
      heading: of the first table on the page.
      expected_seconds: verb -> a first guess of the seconds of a command on one core; the display
        corrects it by how right it was so far.
    """

    verb: ClassVar[str]
    asks: ClassVar[Sequence[str]] = ()
    measure: ClassVar[Measure]
    selection: ClassVar[Measure]
    heading: ClassVar[str] = "Results of the rows"
    expected_seconds: ClassVar[Mapping[str, float]] = MappingProxyType({})

    def check(self, study: Study) -> None:
        """Raises a SepconError where rows do not fit the plan; called before anything is run."""
        del study

    @abc.abstractmethod
    def jobs(self, study: Study) -> Sequence[Job]:
        """Returns all commands of the study, made by `Study.job`; what is shared is made once."""

    @abc.abstractmethod
    def results(self, study: Study) -> list[Result]:
        """Returns what the finished commands yield: the lines of study.csv and results.json.

        Each has `name`, `seed`, the keys of both measures, and what `Study.told_of` says; with
        several, the `rotation` of the data and the seed of the `separator`. Names that are no rows
        are shown and compared like these.
        """

    def runs(self, results: Sequence[Result]) -> Sequence[Result]:
        """Returns what is compared: one result for each run, where `results` has several."""
        return results

    def ends(self, study: Study) -> tuple[str, str]:
        """Returns the names at the lower and the upper end of the scale; "" where there is none."""
        del study
        return "", ""

    def note(self, study: Study, results: Sequence[Result], *, final: bool) -> str:
        """Returns a sentence for below the tables, without its full stop.

        Args:
          study: is finished.
          results: of the plan.
          final: whether anything of the test may be shown.
        """
        del study, results, final
        return ""

    def tables(self, study: Study, results: Sequence[Result]) -> Mapping[str, Table]:
        """Returns further tables of test scores: name of a file, without its .md -> table."""
        del study, results
        return {}

    def sections(self, study: Study, selection: Sequence[Summary], *, final: bool) -> list[Section]:
        """Returns what the page shows behind the tables.

        Args:
          study: is finished.
          selection: summaries of the measure for selection, one for each name.
          final: whether anything of the test may be shown.
        """
        del study, selection, final
        return []
