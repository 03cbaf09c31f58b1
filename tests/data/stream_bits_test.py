"""Batches of clips are, to the bit, those of the stream before examples had kinds."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.channel_shards import ChannelWriter
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import ClipDataset, Element, from_reader
from sepcon.data.stream import TrainingStream
from sepcon.training.distribution import distributed_batches

LENGTHS = [50, 80, 120, 80, 200, 81, 79]
SAMPLES = 80

# First 16 digits of the SHA-256 of batches, from the code of commit 2db2735, where the stream and
# the reading of clips were one class: the old and the new way of making `stream` below differ in
# their arguments alone. An epoch has 7 places and a batch 4, so borders of epochs lie in most.
DIGESTS = {
    "plain": "abee71f4d3708335",
    "resumed": "b6b51dbe956b912a",
    "far": "62784eaa986bca7b",
    "seed": "37e67c4f3d175b6e",
    "runs": "c530ac2c219e3ab8",
    "long run": "d2caf09434e17545",
    "large batch": "9b8aeaf404379f6a",
    "copy": "abee71f4d3708335",
    "sources": "bb1e44fbbe51bf03",
    "channels": "2901fc5e7fae76c5",
    "worker 0": "5a45c0b21b51d91b",
    "worker 1": "14c5670ddfc46640",
    "no uniforms": "eed523515f707990",
}


def clips(*, random_access: bool = True) -> ClipDataset:
    """Clip i holds the samples 1000 * i + 1, 1000 * i + 2, ...; two sources add up to it."""
    table = tf.ragged.constant(
        [[1000 * i + 1 + j for j in range(n)] for i, n in enumerate(LENGTHS)], tf.int16
    )

    def read(position: tf.Tensor) -> Element:
        return {
            "id": tf.strings.format("clip{}", position),
            "audio": table[position],
            "labels": tf.one_hot(position % 3, 3),
        }

    def read_with_sources(position: tf.Tensor) -> Element:
        clip = read(position)
        sources = tf.stack([clip["audio"] // 1000 * 1000, clip["audio"] % 1000])
        return clip | {"sources": sources}

    made = from_reader(
        name="toy",
        num_clips=len(LENGTHS),
        class_names=("a", "b", "c"),
        clip_samples=None,
        read=read,
        read_with_sources=read_with_sources,
    )
    return made if random_access else dataclasses.replace(made, read=None, read_with_sources=None)


def stored_channels(folder: Path, state: int) -> str:
    """Writes two channels of each clip, loud in the second state."""
    path = folder / f"state{state}"
    with ChannelWriter(path, clips=clips(), num_channels=2, checkpoint="toy", step=state) as writer:
        for element in clips().build().as_numpy_iterator():
            audio = element["audio"].astype(np.int32)
            first = audio // 2 * state
            channels = np.stack([first, audio - first]).astype(np.int16)
            writer.write(element["id"].decode(), channels)
    return str(path)


def stream(of_clips: dict[str, Any] | None = None, **changes: Any) -> TrainingStream:
    examples = ClipExamples(
        **{"clips": clips(), "clip_seconds": SAMPLES / SAMPLE_RATE_HZ, **(of_clips or {})}
    )
    values = {"batch_size": 4, "seed": 3, "num_uniforms": 5}
    return TrainingStream(examples=examples, **(values | changes))


def digest(batches: tf.data.Dataset) -> str:
    digested = hashlib.sha256()
    for batch in batches.as_numpy_iterator():
        for name in sorted(batch):
            value = batch[name]
            digested.update(f"{name} {value.dtype} {value.shape}".encode())
            digested.update(value.tobytes())
    return digested.hexdigest()[:16]


@pytest.mark.parametrize(
    "case, changes, start, count",
    [
        ("plain", {}, 0, 12),
        ("resumed", {}, 5, 7),
        ("far", {}, 10**6 + 1, 2),
        ("seed", {"seed": -7}, 0, 4),
        ("runs", {"shuffle_buffer": 3}, 0, 12),
        ("long run", {"shuffle_buffer": 7}, 2, 3),
        ("large batch", {"batch_size": 17, "threads": 3}, 1, 3),
        ("copy", {"of_clips": {"clips": clips(random_access=False)}}, 0, 12),
        ("sources", {"of_clips": {"with_sources": True}}, 0, 6),
        ("no uniforms", {"num_uniforms": 0}, 0, 3),
    ],
)
def test_batches_are_what_they_were(
    case: str, changes: dict[str, Any], start: int, count: int
) -> None:
    assert digest(stream(**changes).batches(start).take(count)) == DIGESTS[case]


def test_batches_with_channels_of_two_states_are_what_they_were(tmp_path: Path) -> None:
    folders = [stored_channels(tmp_path, state) for state in (1, 2)]
    batches = stream({"channels": folders}).batches(0).take(8)
    assert digest(batches) == DIGESTS["channels"]


class OneOfTwoWorkers:
    """As much of a strategy as the sharing of batches asks for, in one of two processes."""

    num_replicas_in_sync = 2

    def __init__(self, number: int) -> None:
        self._number = number

    def distribute_datasets_from_function(self, function: Any) -> tf.data.Dataset:
        return function(tf.distribute.InputContext(2, self._number, 2))


@pytest.mark.parametrize("number", [0, 1])
def test_the_rows_of_each_of_two_workers_are_what_they_were(number: int) -> None:
    strategy = cast(tf.distribute.Strategy, OneOfTwoWorkers(number))
    rows = distributed_batches(stream(), 3, strategy).take(6)
    assert digest(rows) == DIGESTS[f"worker {number}"]
