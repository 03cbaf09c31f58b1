"""The arithmetic of tools/plan.py: stages, what each has to do, and how long that takes.

A stage takes as long as the slowest of what it does at the same time: products on the
accelerators, reading from disks, or work of the processors, which have to check and take apart what
is read. Nothing here runs a network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from plan_networks import Costs, Networks

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.stored.frames import HOP_SAMPLES, WORD_BYTES, frame_words
from sepcon.views.sampler import PAIRS

# float32 weights, and two moments of Adam in a checkpoint.
_WEIGHT_BYTES = 4
_CHECKPOINT_BYTES = 12
# int16, in records as in channels.
_SAMPLE_BYTES = 2
# float16, of every window and frame
_SCORE_BYTES = 2
_HOUR = 3600.0

# What products are part of; those of the classifier are done by processors.
Call = Literal["separator_forward", "separator_step", "pretraining_step", "embed", "classifier"]
# Work of processors, in clips, clips that taggers label, rows of embeddings, megabytes of whole
# records, and examples of two patches that are read by place.
Chore = Literal["import", "tagging", "classifier", "records", "patches"]
# Who reads the records of a stage: every host its share, or one alone.
Sharing = Literal["split", "one"]


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
      tagging_seconds: of a processor for a clip of an import with taggers, decoding included; 0
        for an import without them.
      scores: that all taggers give for a clip.
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
    tagging_seconds: float = 0.0
    scores: int = 0

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
      chore: what processors do in it.
      chore_items: on how much, see `Chore`.
      reads: from places all over a disk, beside which the bytes count.
      steps: training steps, or 0.
    """

    name: str
    flops: Mapping[Call, float]
    bytes_read: float
    bytes_written: float
    disk_bytes: float
    sharing: Sharing
    chore: Chore
    chore_items: float
    reads: float = 0.0
    steps: int = 0

    @property
    def total_flops(self) -> float:
        return sum(self.flops.values())


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a machine was measured to do, and what its disk is said to do.

    Attributes:
      gemm_gflops: of a large matrix product.
      call_gflops: of each `Call` but the classifier.
      per_core: of each `Chore`, what one core does in a second; of "tagging" where there is any.
      read_megabytes: what the disk of a host gives in a second.
      reads_per_second: from places all over it.
    """

    gemm_gflops: float
    call_gflops: Mapping[str, float]
    per_core: Mapping[str, float]
    read_megabytes: float
    reads_per_second: float


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
    """Returns the stages from the import to the benchmark, in order.

    What pretrains without channels has no separator to train either.
    """
    record = _SAMPLE_BYTES * work.clip_samples
    channels = networks.separator.num_sources * record if networks.views.needs_channels else 0
    rows = 1 if work.mean_embedding else costs.num_patches
    # float32, and labels of a byte
    embedded = rows * _WEIGHT_BYTES * costs.embedding_size + work.classes
    pretraining = _pretraining(work, networks, costs)
    return [
        _import(work, record),
        *(
            [
                _separator_training(work, networks, costs, record),
                _channel_storage(work, costs, record, channels),
            ]
            if channels
            else []
        ),
        pretraining,
        *([_on_the_fly(work, networks, costs, record)] if channels else []),
        _embedding(work, costs, record, embedded),
        _benchmark(work, costs, rows, embedded),
    ]


def _import(work: Workload, record_bytes: float) -> Stage:
    written = work.clips * (record_bytes + _SCORE_BYTES * work.scores)
    return Stage(
        name="import with taggers" if work.tagging_seconds else "import",
        flops={},
        bytes_read=work.clips * work.source_bytes,
        bytes_written=written,
        disk_bytes=written,
        sharing="split",
        chore="tagging" if work.tagging_seconds else "import",
        chore_items=work.clips,
    )


def _embedding(work: Workload, costs: Costs, record_bytes: float, embedded_bytes: float) -> Stage:
    read = work.clips * record_bytes
    return Stage(
        name="embedding",
        flops={"embed": work.clips * costs.embed_flops},
        bytes_read=read,
        bytes_written=work.clips * embedded_bytes,
        disk_bytes=work.clips * embedded_bytes,
        sharing="one",
        chore="records",
        chore_items=1e-6 * read,
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
    patches: int = 0,
    reads: float = 0.0,
) -> Stage:
    """A stage that leaves its last two checkpoints and the weights of some states.

    It reads examples of two patches, or whole records.
    """
    return Stage(
        name=name,
        flops=flops,
        bytes_read=bytes_read,
        bytes_written=_CHECKPOINT_BYTES * num_weights,
        disk_bytes=(2 * _CHECKPOINT_BYTES + states * _WEIGHT_BYTES) * num_weights,
        sharing="split",
        chore="patches" if patches else "records",
        chore_items=patches or 1e-6 * bytes_read,
        reads=reads,
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
        chore="records",
        chore_items=1e-6 * separations * record_bytes,
    )


def _pretraining(work: Workload, networks: Networks, costs: Costs) -> Stage:
    steps = work.steps(work.pretraining_passes, networks.pretraining_batch)
    examples = steps * networks.pretraining_batch
    read, reads = patch_reads(networks)
    return _training(
        "pretraining",
        flops={"pretraining_step": steps * costs.pretraining_step_flops},
        steps=steps,
        bytes_read=examples * read,
        num_weights=costs.pretraining_weights,
        states=1,
        patches=examples,
        reads=examples * reads,
    )


def patch_reads(networks: Networks) -> tuple[int, int]:
    """Bytes and disk reads of an example: two patches, and what says which and that they are whole.

    Of each patch the checksums before and behind it are read; of a patch that may be a channel,
    energies and checksums of all channels in its place, whose pages hold these checksums too.
    """
    sampler = networks.views
    sides = sum(any(PAIRS[pair][side] for pair in sampler.pairs) for side in (0, 1))
    words = sides * sampler.patch_frames * frame_words(networks.separator.num_sources)
    # Places are chosen by the energies of mixtures, where there are several to choose from.
    places = 2 * sampler.position_candidates if sampler.position_candidates > 1 else 0
    words += places * sampler.patch_frames * frame_words(1)
    # To the end of the last frame, where there is a checksum.
    samples = -(-sampler.patch_samples // HOP_SAMPLES) * HOP_SAMPLES
    read = 2 * (_SAMPLE_BYTES * samples + 2 * WORD_BYTES) + WORD_BYTES * words
    return read, 2 * 2 + places


def _on_the_fly(work: Workload, networks: Networks, costs: Costs, record_bytes: float) -> Stage:
    """Pretraining on whole clips, in which every state separates every batch."""
    stored = _pretraining(work, networks, costs)
    examples = stored.steps * networks.pretraining_batch
    separated = work.states * examples * costs.separate_flops
    return dataclasses.replace(
        stored,
        name=f"or pretraining with {work.states} separators on the fly",
        flops={**stored.flops, "separator_forward": separated},
        bytes_read=examples * record_bytes,
        chore="records",
        chore_items=1e-6 * examples * record_bytes,
        reads=0.0,
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
    per_host = rates.per_core[stage.chore] * cluster.cores
    seconds["processors"] = stage.chore_items / (per_host * hosts)
    if stage.chore not in ("import", "tagging"):  # whose reading is part of what was measured
        by_bytes = stage.bytes_read / (1e6 * rates.read_megabytes)
        seconds["reading"] = max(by_bytes, stage.reads / rates.reads_per_second) / hosts
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
        name="sum, channels stored" if len(counted) < len(stages) else "sum",
        flops=flops,
        bytes_read=sum(each.bytes_read for each in counted),
        bytes_written=sum(each.bytes_written for each in counted),
        disk_bytes=sum(each.disk_bytes for each in counted),
        sharing="one",
        chore="records",
        chore_items=0.0,
    )
