"""What a study runs: rows and seeds as commands that share scenes, separator and channels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sepcon import control_channels, run_folder
from sepcon.errors import SepconError
from sepcon.jobs import Job

# A first guess on one core; the display corrects it by how right it was so far.
EXPECTED_SECONDS: Mapping[str, float] = MappingProxyType(
    {
        "prepare": 25.0,
        "train_separator": 330.0,
        "separate": 90.0,
        "control_channels": 90.0,
        "pretrain": 250.0,
        "benchmark": 30.0,
    }
)


@dataclasses.dataclass(frozen=True)
class StudyRow:
    """A way of pretraining, as its gin file describes it.

    Attributes:
      gin_file: what is given to `sepcon pretrain`.
      name: what the tables call it (the macro ROW; the file's name without one).
      channels: names of the channels it learns from (the macro CHANNELS): separator states of the
        study, or kinds of `sepcon control_channels`.
      figures: the figures it is drawn in (the macro FIGURES).
    """

    gin_file: str
    name: str
    channels: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        return Path(self.gin_file).stem


@dataclasses.dataclass(frozen=True)
class Launch:
    """How a study starts the other verbs.

    Attributes:
      words: flags that every command gets behind its own gin files: the study's own.
      read_row: reads a row's gin file as `sepcon pretrain` would, and raises a SepconError if that
        would fail.
      gin_files: those among `words`, for the record.
      command: what the words of a job are given to; None for `sepcon` itself.
    """

    words: tuple[str, ...]
    read_row: Callable[[str], StudyRow]
    gin_files: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that decides which commands a study runs.

    Attributes:
      root: the study's run folder.
      words: see `Launch`.
      rows: the ways of pretraining.
      seeds: of each row.
      states: name of a convergence state -> its step, None for the last.
      loudness_of: the state whose energies random masks take over.
      baselines: see `sepcon.benchmark_embeddings`.
      on_the_fly: whether separators run inside the training step, in place of stored channels.
      threads: of each command.
      expected_seconds: of each verb, see `EXPECTED_SECONDS`.
    """

    root: Path
    words: tuple[str, ...]
    rows: tuple[StudyRow, ...]
    seeds: tuple[int, ...]
    states: Mapping[str, int | None]
    loudness_of: str
    baselines: tuple[str, ...]
    on_the_fly: bool
    threads: int
    expected_seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds:
            raise SepconError("study.rows and study.seeds must name at least one each")
        for what in ("name", "folder"):
            values = [getattr(row, what) for row in self.rows]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise SepconError(f"study.rows: two rows have the {what} {twice[0]!r}; rename one")
        known = {*self.states, *control_channels.KINDS}
        for row in self.rows:
            unknown = sorted(set(row.channels) - known)
            if unknown:
                raise SepconError(
                    f"{row.gin_file}: CHANNELS names {unknown[0]!r}, expected some of "
                    f"{', '.join(sorted(known))}; study.states has the separator's"
                )
        if control_channels.RANDOM_MASKS in self._named and self.loudness_of not in self.states:
            raise SepconError(
                f"study.loudness_of is {self.loudness_of!r}, expected one of "
                f"{', '.join(self.states)}: random masks are as loud as that state's channels"
            )

    @property
    def _named(self) -> tuple[str, ...]:
        """All channels that rows name, in the order of the rows."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.channels))

    def pretrain_dir(self, row: StudyRow, seed: int) -> Path:
        return self.root / "pretrain" / row.folder / f"seed{seed}"

    def benchmark_dir(self, row: StudyRow, seed: int) -> Path:
        return self.root / "benchmark" / row.folder / f"seed{seed}"

    @property
    def baselines_dir(self) -> Path:
        return self.root / "benchmark" / "baselines"

    @property
    def separator_dir(self) -> Path:
        return self.root / "separator"

    def jobs(self) -> list[Job]:
        """The commands, those first that others wait for."""
        jobs = [self._job("prepare", self.root / "prepare"), *self._channel_jobs()]
        for seed in self.seeds:
            for row in self.rows:
                jobs += self._row_jobs(row, seed)
        if self.baselines:
            jobs.append(self._baselines_job())
        return jobs

    def _channel_jobs(self) -> list[Job]:
        """The separator and what it makes: as much of it as the rows ask for."""
        named = self._named
        of_states = [name for name in named if name in self.states]
        stored = [] if self.on_the_fly else list(of_states)
        masks = control_channels.RANDOM_MASKS in named
        if masks and self.loudness_of not in stored:
            stored.append(self.loudness_of)
        jobs = []
        if of_states or masks:
            steps = tuple(sorted({step for step in self.states.values() if step is not None}))
            states = [f"SEPARATOR_STATES={steps}"]
            jobs.append(self._job("train_separator", self.separator_dir, states, ["prepare"]))
        for name in stored:
            bindings = [
                f"SEPARATOR={str(self.separator_dir)!r}",
                f"SEPARATOR_STEP={self.states[name]}",
            ]
            jobs.append(self._job("separate", self._channels_dir / name, bindings, ["separator"]))
        for kind in (name for name in named if name not in self.states):
            jobs.append(self._control_job(kind))
        return jobs

    def _control_job(self, kind: str) -> Job:
        bindings, needs = [f"KIND={kind!r}"], ["prepare"]
        if kind == control_channels.RANDOM_MASKS:
            reference = self._channels_dir / self.loudness_of
            bindings.append(f"REFERENCE={str(reference)!r}")
            needs = [self._name(reference)]
        return self._job("control_channels", self._channels_dir / kind, bindings, needs)

    def _row_jobs(self, row: StudyRow, seed: int) -> list[Job]:
        trained = self.pretrain_dir(row, seed)
        bindings, needs = self._of_channels(row)
        pretrain = self._job(
            "pretrain",
            trained,
            [f"SEED={seed}", *bindings],
            needs,
            gin_files=(row.gin_file,),
        )
        bindings = [f"MODELS={ {row.name: str(trained)} }", f"SEEDS=({seed},)", "BASELINES=()"]
        benchmark = self._job("benchmark", self.benchmark_dir(row, seed), bindings, [pretrain.name])
        return [pretrain, benchmark]

    def _of_channels(self, row: StudyRow) -> tuple[list[str], list[str]]:
        """What tells a row where its channels are, and the jobs that make them."""
        if not row.channels:
            return [], ["prepare"]
        if self.on_the_fly and all(name in self.states for name in row.channels):
            separators = [(str(self.separator_dir), self.states[name]) for name in row.channels]
            return ["CHANNELS=()", f"SEPARATORS={separators}"], ["separator"]
        names = [self._name(self._channels_dir / name) for name in row.channels]
        return [f"CHANNELS_DIR={str(self._channels_dir)!r}"], names

    def _baselines_job(self) -> Job:
        """They need no weights, only the architecture that the first run writes down."""
        first = self.pretrain_dir(self.rows[0], self.seeds[0])
        bindings = [
            "MODELS={}",
            f"benchmark_embeddings.reference={str(first)!r}",
            f"SEEDS={self.seeds}",
            f"BASELINES={self.baselines}",
        ]
        job = self._job("benchmark", self.baselines_dir, bindings, [self._name(first)])
        share = len(self.baselines) * len(self.seeds)
        return dataclasses.replace(job, expected_seconds=share * job.expected_seconds)

    @property
    def _channels_dir(self) -> Path:
        return self.root / "channels"

    def _name(self, run_dir: Path) -> str:
        return "-".join(run_dir.relative_to(self.root).parts)

    def _job(
        self,
        verb: str,
        run_dir: Path,
        bindings: Sequence[str] = (),
        needs: Sequence[str] = (),
        *,
        gin_files: Sequence[str] = (),
    ) -> Job:
        arguments = (
            verb,
            f"--gin_file=runs/{verb}.gin",
            *[f"--gin_file={file}" for file in gin_files],
            *self.words,
            *[f"--gin_bindings={binding}" for binding in bindings],
            f"--run_dir={run_dir}",
            f"--num_threads={self.threads}",
        )
        done = functools.partial(run_folder.is_finished, run_dir)
        seconds = {**EXPECTED_SECONDS, **self.expected_seconds}[verb]
        return Job(self._name(run_dir), arguments, tuple(needs), done, seconds)
