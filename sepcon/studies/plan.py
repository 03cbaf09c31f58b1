"""What a study runs: rows and seeds as commands that share scenes, separators and channels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sepcon.errors import SepconError
from sepcon.runs import run_folder
from sepcon.runs.jobs import Job
from sepcon.separation import controls
from sepcon.studies.rows import Run, StudyRow, World, rotation_folder

# A first guess on one core; the display corrects it by how right it was so far.
EXPECTED_SECONDS: Mapping[str, float] = MappingProxyType(
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
ONE_ROTATION: Mapping[str, Sequence[str]] = MappingProxyType({"": ()})


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that decides which commands a study runs.

    Attributes:
      root: the study's run folder.
      words: see `Launch`.
      rows: the ways of pretraining.
      seeds: of each row.
      rotations: name of a way to split the data -> the bindings that make it.
      separator_seeds: of the separators trained in each rotation; () for one with the seed that the
        study's own gin files say.
      states: name of a convergence state -> its step, None for the last.
      loudness_of: the state whose energies random masks take over.
      baselines: see `sepcon.embeddings.benchmark`.
      on_the_fly: whether separators run inside the training step, in place of stored channels.
      threads: of each command.
      expected_seconds: of each verb, see `EXPECTED_SECONDS`.
    """

    root: Path
    words: tuple[str, ...]
    rows: tuple[StudyRow, ...]
    seeds: tuple[int, ...]
    rotations: Mapping[str, Sequence[str]]
    separator_seeds: tuple[int, ...]
    states: Mapping[str, int | None]
    loudness_of: str
    baselines: tuple[str, ...]
    on_the_fly: bool
    threads: int
    expected_seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds or not self.rotations:
            raise SepconError("study.rows, .seeds and .rotations must name at least one each")
        for what in ("name", "folder"):
            _refuse_twice("rows", what, [getattr(row, what) for row in self.rows])
        _refuse_twice("rotations", "folder", [rotation_folder(name) for name in self.rotations])
        if len(self.rotations) > 1 and not all(map(rotation_folder, self.rotations)):
            raise SepconError("study.rotations: of several, each needs a name of letters or digits")
        known = {*self.states, *controls.KINDS}
        for row in self.rows:
            unknown = sorted(set(row.channels) - known)
            if unknown:
                raise SepconError(
                    f"{row.gin_file}: CHANNELS names {unknown[0]!r}, expected some of "
                    f"{', '.join(sorted(known))}; study.states has the separator's"
                )
        masks = any(controls.RANDOM_MASKS in row.channels for row in self.rows)
        if masks and self.loudness_of not in self.states:
            raise SepconError(
                f"study.loudness_of is {self.loudness_of!r}, expected one of "
                f"{', '.join(self.states)}: random masks are as loud as that state's channels"
            )

    def runs(self) -> list[Run]:
        """All pretrainings, seed by seed; rows without a separator are in each rotation once."""
        return [
            Run(row, world, seed)
            for seed in self.seeds
            for rotation in self.rotations
            for row in self.rows
            for world in self._worlds_of(row, rotation)
        ]

    def _worlds_of(self, row: StudyRow, rotation: str) -> list[World]:
        without = {controls.TRUE_SOURCES}
        if not self.separator_seeds or set(row.channels) <= without:
            return [World(rotation)]
        return [World(rotation, seed) for seed in self.separator_seeds]

    def pretrain_dir(self, run: Run) -> Path:
        return self._place(run.world, "pretrain") / run.row.folder / f"seed{run.seed}"

    def benchmark_dir(self, run: Run) -> Path:
        return self._place(run.world, "benchmark") / run.row.folder / f"seed{run.seed}"

    def baselines_dir(self, rotation: str, seed: int) -> Path:
        return self._place(World(rotation), "benchmark") / "baselines" / f"seed{seed}"

    @property
    def separator_dirs(self) -> dict[World, Path]:
        """The run folders of the separators that rows need."""
        return {
            world: self._place(world, "separator")
            for world, names in self._named().items()
            if set(names) - {controls.TRUE_SOURCES}
        }

    def jobs(self) -> list[Job]:
        """The commands, those first that others wait for."""
        jobs = [self._job("prepare", World(rotation), "prepare") for rotation in self.rotations]
        for world, names in self._named().items():
            jobs += self._channel_jobs(world, names)
        for run in self.runs():
            jobs += self._run_jobs(run)
        if self.baselines:
            jobs += [
                self._baselines_job(rotation, seed)
                for rotation in self.rotations
                for seed in self.seeds
            ]
        return jobs

    def _named(self) -> dict[World, tuple[str, ...]]:
        """The channels that rows name, in the order of the rows, by the worlds they are in."""
        named: dict[World, dict[str, None]] = {}
        for run in self.runs():
            named.setdefault(run.world, {}).update(dict.fromkeys(run.row.channels))
        return {world: tuple(names) for world, names in named.items()}

    def _channel_jobs(self, world: World, named: Sequence[str]) -> list[Job]:
        """The separator and what it makes: as much of it as the rows ask for."""
        stored = [] if self.on_the_fly else [name for name in named if name in self.states]
        masks = controls.RANDOM_MASKS in named
        if masks and self.loudness_of not in stored:
            stored.append(self.loudness_of)
        jobs = []
        if world in self.separator_dirs:
            jobs.append(self._separator_job(world))
            if world == next(iter(self.separator_dirs)) and set(named) & set(self.states):
                jobs.append(self._cost_job(world, stored))
        separator = self._place(world, "separator")
        needs = [job.name for job in jobs]
        for name in stored:
            bindings = [f"SEPARATOR={str(separator)!r}", f"SEPARATOR_STEP={self.states[name]}"]
            jobs.append(
                self._job("separate", world, "channels", name, bindings=bindings, needs=needs)
            )
        for kind in (name for name in named if name not in self.states):
            jobs.append(self._control_job(world, kind))
        return jobs

    def _separator_job(self, world: World) -> Job:
        steps = tuple(sorted({step for step in self.states.values() if step is not None}))
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
            for name in run.row.channels
            if name in self.states
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
        if kind == controls.RANDOM_MASKS:
            reference = self._place(world, "channels") / self.loudness_of
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
            gin_files=(row.gin_file,),
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
        if not row.channels:
            return [], [self._prepared(world)]
        if self.on_the_fly and all(name in self.states for name in row.channels):
            separator = self._place(world, "separator")
            separators = [(str(separator), self.states[name]) for name in row.channels]
            return ["CHANNELS=()", f"SEPARATORS={separators}"], [self._name(separator)]
        channels = self._place(world, "channels")
        names = [self._name(channels / name) for name in row.channels]
        return [f"CHANNELS_DIR={str(channels)!r}"], names

    def _baselines_job(self, rotation: str, seed: int) -> Job:
        """They need no weights, only the architecture that the first run writes down."""
        first = next(run for run in self.runs() if run.world.rotation == rotation)
        bindings = [
            "MODELS={}",
            f"benchmark_embeddings.reference={str(self.pretrain_dir(first))!r}",
            f"SEEDS=({seed},)",
            f"BASELINES={self.baselines}",
        ]
        needs = [self._name(self.pretrain_dir(first))]
        parts = ("benchmark", "baselines", f"seed{seed}")
        job = self._job("benchmark", World(rotation), *parts, bindings=bindings, needs=needs)
        return dataclasses.replace(job, expected_seconds=len(self.baselines) * job.expected_seconds)

    def _place(self, world: World, name: str) -> Path:
        return self.root / world.folder / name

    def _prepared(self, world: World) -> str:
        return self._name(self._place(World(world.rotation), "prepare"))

    def _name(self, run_dir: Path) -> str:
        return "-".join(run_dir.relative_to(self.root).parts)

    def _job(
        self,
        verb: str,
        world: World,
        *parts: str,
        bindings: Sequence[str] = (),
        needs: Sequence[str] = (),
        gin_files: Sequence[str] = (),
    ) -> Job:
        run_dir = self._place(world, parts[0]).joinpath(*parts[1:])
        arguments = (
            verb,
            f"--gin_file=runs/{verb}.gin",
            *[f"--gin_file={file}" for file in gin_files],
            *self.words,
            *[f"--gin_bindings={each}" for each in (*self.rotations[world.rotation], *bindings)],
            f"--run_dir={run_dir}",
            f"--num_threads={self.threads}",
        )
        done = functools.partial(run_folder.is_finished, run_dir)
        seconds = {**EXPECTED_SECONDS, **self.expected_seconds}[verb]
        return Job(self._name(run_dir), arguments, tuple(needs), done, seconds)


def _refuse_twice(setting: str, what: str, values: Sequence[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise SepconError(
            f"study.{setting}: two {setting} have the {what} {twice[0]!r}; rename one"
        )
