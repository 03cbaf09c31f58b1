"""The commands of a study of pretraining: they share scenes, separators and channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepcon.errors import SepconError
from sepcon.reports.results import LOG_MEL_STATISTICS, UNTRAINED_ENCODER
from sepcon.runs import run_folder
from sepcon.runs.jobs import Job
from sepcon.separation.control_kinds import KINDS, RANDOM_MASKS, TRUE_SOURCES
from sepcon.studies.plan import Study, checked_row, job_name
from sepcon.studies.rows import StudyRow, folder_name

# Where the benchmark of what it measures beside the rows goes; no row may have its folder.
_BASELINES = "baselines"
_CHANNELS, _OBJECTIVE = "%CHANNELS", "pretrain.objective"
# What these commands depend on of what is bound for a row.
ASKED_OF_ROWS = (_CHANNELS, _OBJECTIVE)


@dataclasses.dataclass(frozen=True)
class World:
    """Scenes, and where a separator is involved the one trained on them.

    Attributes:
      rotation: name of a way to split the data; empty where there is only one.
      separator: the seed of the separator; None for the one there is, or for none.
    """

    rotation: str = ""
    separator: int | None = None

    @property
    def folder(self) -> Path:
        """Below the study's run folder."""
        parts = [folder_name(self.rotation)]
        if self.separator is not None:
            parts.append(f"separator{self.separator}")
        return Path(*parts)


@dataclasses.dataclass(frozen=True)
class Run:
    """One pretraining. Attributes: row, what is trained; world, on what; seed."""

    row: StudyRow
    world: World
    seed: int


@dataclasses.dataclass(frozen=True)
class PretrainingSettings:
    """Everything beside its rows that decides which commands a study of pretraining runs.

    Attributes:
      seeds: of each row's weights, batches and classifiers; rows of a seed share the separator.
      rotations: ways to split the data: name -> gin bindings that every command gets behind the
        study's, say `SceneRecipe.test_fold = 3`. All rows and seeds are run in each of them.
      separator_seeds: of several, a separator is trained from each in every rotation, and rows that
        need one are run with each; () for one, whose seed is SEED.
      states: convergence states of the separator by the names that rows use: step, or None for
        the last.
      loudness_of: the state whose channels' energies random masks take over.
      baselines: what is measured beside the rows, see `sepcon.embeddings.benchmark`; () for none.
      on_the_fly: runs separators inside the training step, in place of storing their channels once.
        `sepcon channel_cost` tells what either costs.
    """

    seeds: Sequence[int] = (0,)
    rotations: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=lambda: {"": ()})
    separator_seeds: Sequence[int] = ()
    states: Mapping[str, int | None] = dataclasses.field(default_factory=dict)
    loudness_of: str = "late"
    baselines: Sequence[str] = (LOG_MEL_STATISTICS, UNTRAINED_ENCODER)
    on_the_fly: bool = False

    def __post_init__(self) -> None:
        if not self.seeds or not self.rotations:
            raise SepconError("PretrainingPlan.seeds and .rotations must name at least one each")
        folders = [folder_name(name) for name in self.rotations]
        if twice := sorted({folder for folder in folders if folders.count(folder) > 1}):
            raise SepconError(
                f"PretrainingPlan.rotations: two rotations have the folder {twice[0]!r}; rename one"
            )
        if len(folders) > 1 and not all(folders):
            raise SepconError(
                "PretrainingPlan.rotations: of several, each needs a name of letters or digits"
            )


def channels_of(row: StudyRow) -> tuple[str, ...]:
    """Returns the names of the channels that a row learns from.

    They are separator states of the study, or kinds of `sepcon control_channels`.
    """
    return tuple(row.bound.get(_CHANNELS, ()))


def is_supervised(row: StudyRow) -> bool:
    """Whether a row learns from labels: the upper end of the scale."""
    return row.bound.get(_OBJECTIVE) == "@supervised()"


@dataclasses.dataclass(frozen=True)
class PretrainingCommands:
    """What is run, and where. Attributes: settings, what decides it beside the rows; study."""

    settings: PretrainingSettings
    study: Study

    def check(self) -> None:
        """Raises a SepconError where rows do not fit the settings."""
        settings, rows = self.settings, self.study.rows
        known = {*settings.states, *KINDS}
        for row in rows:
            unknown = sorted(set(channels_of(row)) - known)
            if unknown:
                raise SepconError(
                    f"row {row.name!r}: CHANNELS names {unknown[0]!r}, expected some of "
                    f"{', '.join(sorted(known))}; PretrainingPlan.states has the separator's"
                )
            if row.folder == _BASELINES:
                raise SepconError(
                    f"study.rows: {row.name!r} is taken by PretrainingPlan.baselines; rename it"
                )
        masks = any(RANDOM_MASKS in channels_of(row) for row in rows)
        if masks and settings.loudness_of not in settings.states:
            raise SepconError(
                f"PretrainingPlan.loudness_of is {settings.loudness_of!r}, expected one of "
                f"{', '.join(settings.states)}: random masks are as loud as that state's channels"
            )
        for bindings in settings.rotations.values():
            if bindings:
                checked_row("pretrain", rows[0], self.study.launch, bindings=bindings)

    def runs(self) -> list[Run]:
        """All pretrainings, seed by seed; rows without a separator are in each rotation once."""
        return [
            Run(row, world, seed)
            for seed in self.settings.seeds
            for rotation in self.settings.rotations
            for row in self.study.rows
            for world in self._worlds_of(row, rotation)
        ]

    def _worlds_of(self, row: StudyRow, rotation: str) -> list[World]:
        without = {TRUE_SOURCES}
        if not self.settings.separator_seeds or set(channels_of(row)) <= without:
            return [World(rotation)]
        return [World(rotation, seed) for seed in self.settings.separator_seeds]

    def pretrain_dir(self, run: Run) -> Path:
        return self._place(run.world, "pretrain") / run.row.folder / f"seed{run.seed}"

    def benchmark_dir(self, run: Run) -> Path:
        return self._place(run.world, "benchmark") / run.row.folder / f"seed{run.seed}"

    def baselines_dir(self, rotation: str, seed: int) -> Path:
        return self._place(World(rotation), "benchmark") / _BASELINES / f"seed{seed}"

    @property
    def separator_dirs(self) -> dict[World, Path]:
        """The run folders of the separators that rows need."""
        return {
            world: self._place(world, "separator")
            for world, names in self._named().items()
            if set(names) - {TRUE_SOURCES}
        }

    def jobs(self) -> list[Job]:
        """The commands, those first that others wait for."""
        jobs = [
            self._job("prepare", World(rotation), "prepare") for rotation in self.settings.rotations
        ]
        for world, names in self._named().items():
            jobs += self._channel_jobs(world, names)
        for run in self.runs():
            jobs += self._run_jobs(run)
        if self.settings.baselines:
            jobs += [
                self._baselines_job(rotation, seed)
                for rotation in self.settings.rotations
                for seed in self.settings.seeds
            ]
        return jobs

    def _named(self) -> dict[World, tuple[str, ...]]:
        """The channels that rows name, in the order of the rows, by the worlds they are in."""
        named: dict[World, dict[str, None]] = {}
        for run in self.runs():
            named.setdefault(run.world, {}).update(dict.fromkeys(channels_of(run.row)))
        return {world: tuple(names) for world, names in named.items()}

    def _channel_jobs(self, world: World, named: Sequence[str]) -> list[Job]:
        """The separator and what it makes: as much of it as the rows ask for."""
        states = self.settings.states
        stored = [] if self.settings.on_the_fly else [name for name in named if name in states]
        masks = RANDOM_MASKS in named
        if masks and self.settings.loudness_of not in stored:
            stored.append(self.settings.loudness_of)
        jobs = []
        if world in self.separator_dirs:
            jobs.append(self._separator_job(world))
            if world == next(iter(self.separator_dirs)) and set(named) & set(states):
                jobs.append(self._cost_job(world, stored))
        separator = self._place(world, "separator")
        needs = [job.name for job in jobs]
        for name in stored:
            bindings = [f"SEPARATOR={str(separator)!r}", f"SEPARATOR_STEP={states[name]}"]
            jobs.append(
                self._job("separate", world, "channels", name, bindings=bindings, needs=needs)
            )
        for kind in (name for name in named if name not in states):
            jobs.append(self._control_job(world, kind))
        return jobs

    def _separator_job(self, world: World) -> Job:
        steps = tuple(sorted({step for step in self.settings.states.values() if step is not None}))
        bindings = [f"SEPARATOR_STATES={steps}"]
        if world.separator is not None:
            bindings.append(f"SEED={world.separator}")
        needs = [self._prepared(world)]
        return self._job("train_separator", world, "separator", bindings=bindings, needs=needs)

    def _cost_job(self, world: World, stored: Sequence[str]) -> Job:
        """Says what all channels of the study cost, before the first are stored."""
        of_states = [
            (run.world, name)
            for run in self.runs()
            for name in channels_of(run.row)
            if name in self.settings.states
        ]
        bindings = [
            f"SEPARATOR={str(self._place(world, 'separator'))!r}",
            f"NUM_RUNS={len(of_states)}",
            f"NUM_STORED={len(set(of_states))}",
        ]
        needs = [self._name(self._place(world, "separator"))]
        job = self._job("channel_cost", world, "channel_cost", bindings=bindings, needs=needs)
        folders = [self._place(world, "channels") / name for name in stored]

        def done() -> bool:
            chosen = bool(folders) and all(map(run_folder.is_finished, folders))
            return chosen or job.done()

        return dataclasses.replace(job, done=done, shown=True)

    def _control_job(self, world: World, kind: str) -> Job:
        bindings, needs = [f"KIND={kind!r}"], [self._prepared(world)]
        if kind == RANDOM_MASKS:
            reference = self._place(world, "channels") / self.settings.loudness_of
            bindings.append(f"REFERENCE={str(reference)!r}")
            needs = [self._name(reference)]
        return self._job(
            "control_channels", world, "channels", kind, bindings=bindings, needs=needs
        )

    def _run_jobs(self, run: Run) -> list[Job]:
        row, seed, world = run.row, run.seed, run.world
        trained = self.pretrain_dir(run)
        bindings, needs = self._of_channels(row, world)
        pretrain = self._job(
            "pretrain",
            world,
            "pretrain",
            row.folder,
            f"seed{seed}",
            bindings=[f"SEED={seed}", *bindings],
            needs=needs,
            row=row,
        )
        bindings = [f"MODELS={ {row.name: str(trained)} }", f"SEEDS=({seed},)", "BASELINES=()"]
        benchmark = self._job(
            "benchmark",
            world,
            "benchmark",
            row.folder,
            f"seed{seed}",
            bindings=bindings,
            needs=[pretrain.name],
        )
        return [pretrain, benchmark]

    def _of_channels(self, row: StudyRow, world: World) -> tuple[list[str], list[str]]:
        """What tells a row where its channels are, and the jobs that make them."""
        named, states = channels_of(row), self.settings.states
        if not named:
            return [], [self._prepared(world)]
        if self.settings.on_the_fly and states.keys() >= set(named):
            separator = self._place(world, "separator")
            separators = [(str(separator), states[name]) for name in named]
            return ["CHANNELS=()", f"SEPARATORS={separators}"], [self._name(separator)]
        channels = self._place(world, "channels")
        names = [self._name(channels / name) for name in named]
        return [f"CHANNELS_DIR={str(channels)!r}"], names

    def _baselines_job(self, rotation: str, seed: int) -> Job:
        """They need no weights, only the architecture that the first run writes down."""
        first = next(run for run in self.runs() if run.world.rotation == rotation)
        bindings = [
            "MODELS={}",
            f"benchmark_embeddings.reference={str(self.pretrain_dir(first))!r}",
            f"SEEDS=({seed},)",
            f"BASELINES={self.settings.baselines}",
        ]
        needs = [self._name(self.pretrain_dir(first))]
        parts = ("benchmark", _BASELINES, f"seed{seed}")
        job = self._job("benchmark", World(rotation), *parts, bindings=bindings, needs=needs)
        seconds = len(self.settings.baselines) * job.expected_seconds
        return dataclasses.replace(job, expected_seconds=seconds)

    def _place(self, world: World, name: str) -> Path:
        return self.study.root / world.folder / name

    def _prepared(self, world: World) -> str:
        return self._name(self._place(World(world.rotation), "prepare"))

    def _name(self, run_dir: Path) -> str:
        return job_name(run_dir.relative_to(self.study.root))

    def _job(
        self,
        verb: str,
        world: World,
        *parts: str,
        bindings: Sequence[str] = (),
        needs: Sequence[str] = (),
        row: StudyRow | None = None,
    ) -> Job:
        return self.study.job(
            verb,
            world.folder.joinpath(*parts),
            row=row,
            bindings=[*self.settings.rotations[world.rotation], *bindings],
            needs=needs,
        )
