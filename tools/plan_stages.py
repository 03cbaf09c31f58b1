"""The arithmetic of tools/plan.py: stages, what each has to do, and how long that takes.

A stage takes as long as the slowest of what it does at the same time: products on the
accelerators, reading records, or work of the processors. Nothing here runs a network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from plan_networks import Costs, Networks

from sepcon.audio.samples import SAMPLE_RATE_HZ

# float32 weights, and two moments of Adam in a checkpoint.
_WEIGHT_BYTES = 4
_CHECKPOINT_BYTES = 12
# int16, in records as in channels.
_SAMPLE_BYTES = 2
_HOUR = 3600.0

# What products are part of; those of the classifier are done by processors.
Call = Literal["separator_forward", "separator_step", "pretraining_step", "embed", "classifier"]
# Work of processors, measured in clips or in rows of embeddings.
Chore = Literal["import", "classifier"]
# Who reads the records of a stage: every host all of them, the hosts in turns, or one alone.
Sharing = Literal["all", "split", "one"]


@dataclasses.dataclass(frozen=True)
class Workload:
    """How much of everything.

    Attributes:
      clips: in the data set.
      clip_seconds: of each.
      source_bytes: of a clip as it is distributed.
      classes: of the benchmark.
      separator_passes: of the separator's training over all clips.
      pretraining_passes: of pretraining.
      benchmark_passes: of the shallow classifier.
      states: convergence states whose channels are stored.
      mean_embedding: whether a clip has one embedding, and not one for each patch.
    """

    clips: int
    clip_seconds: float
    source_bytes: float
    classes: int
    separator_passes: float
    pretraining_passes: float
    benchmark_passes: float
    states: int
    mean_embedding: bool = False

    @property
    def clip_samples(self) -> int:
        return round(self.clip_seconds * SAMPLE_RATE_HZ)

    def steps(self, passes: float, batch_size: int) -> int:
        """Training steps of so many passes."""
        return math.ceil(passes * self.clips / batch_size)


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage has to do.

    Attributes:
      name: for the table.
      flops: in products and convolutions, by what they are part of.
      bytes_read: over the whole stage.
      bytes_written: the same.
      disk_bytes: what is left of it.
      sharing: see `Sharing`; "one" runs on one accelerator of one host, however many there are.
      chore: what processors do in it, if it is worth counting.
      chore_items: on how many clips, or rows of embeddings.
      steps: training steps, or 0.
    """

    name: str
    flops: Mapping[Call, float]
    bytes_read: float
    bytes_written: float
    disk_bytes: float
    sharing: Sharing
    chore: Chore | None = None
    chore_items: float = 0.0
    steps: int = 0

    @property
    def total_flops(self) -> float:
        return sum(self.flops.values())


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a machine was measured to do; one process of some threads.

    Attributes:
      gemm_gflops: of a large matrix product.
      call_gflops: of each `Call` but the classifier.
      per_core: clips imported, or rows classified once in training, in a second by one core.
      read_megabytes: records read in a second by the training stream.
    """

    gemm_gflops: float
    call_gflops: Mapping[str, float]
    per_core: Mapping[str, float]
    read_megabytes: float


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where it shall run.

    Attributes:
      accelerators: how many.
      tflops: what each does in a matrix product; 0 for the measured machine itself.
      utilisation: an accelerator's share of that, by the share that the measured machine reaches.
      parallel_efficiency: what is left of each one's speed where there are several.
      per_host: accelerators of a host at most.
      cores: of a host.
    """

    accelerators: int = 1
    tflops: float = 0.0
    utilisation: float = 1.0
    parallel_efficiency: float = 1.0
    per_host: int = 1
    cores: int = 1

    @property
    def hosts(self) -> int:
        return math.ceil(self.accelerators / self.per_host)


@dataclasses.dataclass(frozen=True)
class Duration:
    """How long a stage takes, and what it waits for."""

    hours: float
    bound: str


def make_stages(work: Workload, networks: Networks, costs: Costs) -> list[Stage]:
    """Returns the stages from the import to the benchmark, in order."""
    record = _SAMPLE_BYTES * work.clip_samples
    channels = networks.separator.num_sources * record if networks.views.needs_channels else 0
    rows = 1 if work.mean_embedding else costs.num_patches
    # float32, and labels of a byte
    embedded = rows * _WEIGHT_BYTES * costs.embedding_size + work.classes
    pretraining = _pretraining(work, networks, costs, record + channels)
    return [
        _once(work, "import", read=work.source_bytes, written=record, chore="import"),
        _separator_training(work, networks, costs, record),
        *([_channel_storage(work, costs, record, channels)] if channels else []),
        pretraining,
        *([_on_the_fly(work, networks, costs, record)] if channels else []),
        _once(work, "embedding", read=record, written=embedded, embed=costs.embed_flops),
        _benchmark(work, costs, rows, embedded),
    ]


def _once(
    work: Workload,
    name: str,
    *,
    read: float,
    written: float,
    chore: Chore | None = None,
    embed: float = 0,
) -> Stage:
    """A stage that goes through all clips once: the import shared by the hosts, or embedding."""
    return Stage(
        name=name,
        flops={"embed": work.clips * embed} if embed else {},
        bytes_read=work.clips * read,
        bytes_written=work.clips * written,
        disk_bytes=work.clips * written,
        sharing="split" if chore else "one",
        chore=chore,
        chore_items=work.clips,
    )


def _separator_training(
    work: Workload, networks: Networks, costs: Costs, record_bytes: float
) -> Stage:
    steps = work.steps(work.separator_passes, networks.separator_batch)
    return _training(
        "separator training",
        flops={"separator_step": steps * costs.separator_step_flops},
        steps=steps,
        bytes_read=steps * networks.separator_batch * record_bytes,
        num_weights=costs.separator_weights,
        states=work.states,
    )


def _training(
    name: str,
    *,
    flops: Mapping[Call, float],
    steps: int,
    bytes_read: float,
    num_weights: int,
    states: int,
) -> Stage:
    """A stage that leaves its last two checkpoints and the weights of some states."""
    return Stage(
        name=name,
        flops=flops,
        bytes_read=bytes_read,
        bytes_written=_CHECKPOINT_BYTES * num_weights,
        disk_bytes=(2 * _CHECKPOINT_BYTES + states * _WEIGHT_BYTES) * num_weights,
        sharing="all",
        steps=steps,
    )


def _channel_storage(
    work: Workload, costs: Costs, record_bytes: float, channel_bytes: float
) -> Stage:
    separations = work.states * work.clips
    return Stage(
        name=f"channel storage, {work.states} states",
        flops={"separator_forward": separations * costs.separate_flops},
        bytes_read=separations * record_bytes,
        bytes_written=separations * channel_bytes,
        disk_bytes=separations * channel_bytes,
        sharing="split",
    )


def _pretraining(work: Workload, networks: Networks, costs: Costs, example_bytes: float) -> Stage:
    steps = work.steps(work.pretraining_passes, networks.pretraining_batch)
    return _training(
        "pretraining",
        flops={"pretraining_step": steps * costs.pretraining_step_flops},
        steps=steps,
        bytes_read=steps * networks.pretraining_batch * example_bytes,
        num_weights=costs.pretraining_weights,
        states=1,
    )


def _on_the_fly(work: Workload, networks: Networks, costs: Costs, record_bytes: float) -> Stage:
    """Pretraining in which every state separates every batch."""
    stored = _pretraining(work, networks, costs, record_bytes)
    separations = work.states * stored.steps * networks.pretraining_batch
    return dataclasses.replace(
        stored,
        name=f"or pretraining with {work.states} separators on the fly",
        flops={**stored.flops, "separator_forward": separations * costs.separate_flops},
    )


def _benchmark(work: Workload, costs: Costs, rows: int, clip_bytes: float) -> Stage:
    seen = work.benchmark_passes * work.clips
    return Stage(
        name="benchmark",
        flops={"classifier": seen * rows * costs.classifier_flops},
        bytes_read=seen * clip_bytes,
        bytes_written=0,
        disk_bytes=0,
        sharing="one",
        chore="classifier",
        chore_items=seen * rows,
    )


def duration(stage: Stage, rates: Rates, cluster: Cluster) -> Duration:
    """How long a stage takes somewhere.

    Args:
      stage: which.
      rates: of the measured machine.
      cluster: where.
    """
    alone = stage.sharing == "one"
    hosts = 1 if alone else cluster.hosts
    seconds = {
        "products": sum(
            flops / _flops_per_second(call, rates, cluster, alone)
            for call, flops in stage.flops.items()
            if call != "classifier"
        )
    }
    if stage.chore is not None:
        per_host = rates.per_core[stage.chore] * cluster.cores
        seconds["processors"] = stage.chore_items / (per_host * hosts)
    if stage.chore != "import":  # whose reading is part of what was measured
        readers = hosts if stage.sharing == "split" else 1
        seconds["reading"] = stage.bytes_read / (1e6 * rates.read_megabytes * readers)
    bound = max(seconds, key=lambda name: seconds[name])
    return Duration(seconds[bound] / _HOUR, bound)


def _flops_per_second(call: Call, rates: Rates, cluster: Cluster, alone: bool) -> float:
    measured = 1e9 * rates.call_gflops[call]
    if not cluster.tflops:
        return measured
    of_peak = rates.call_gflops[call] / rates.gemm_gflops
    each = 1e12 * cluster.tflops * of_peak * cluster.utilisation
    if alone or cluster.accelerators == 1:
        return each
    return each * cluster.accelerators * cluster.parallel_efficiency


def total(stages: Sequence[Stage]) -> Stage:
    """Sums what stages do; of both ways to pretrain, that with stored channels."""
    counted = [each for each in stages if not each.name.startswith("or ")]
    flops: dict[Call, float] = {}
    for each in counted:
        for call, amount in each.flops.items():
            flops[call] = flops.get(call, 0.0) + amount
    return Stage(
        name="sum, channels stored",
        flops=flops,
        bytes_read=sum(each.bytes_read for each in counted),
        bytes_written=sum(each.bytes_written for each in counted),
        disk_bytes=sum(each.disk_bytes for each in counted),
        sharing="one",
    )
