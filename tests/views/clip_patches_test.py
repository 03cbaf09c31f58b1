"""Patches read by place against the same sampler on whole clips, and what is read for them."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from stored_clips import noise, open_clips, write_channels, write_clips

from sepcon.data.channel_shards import shard_path
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import select, subset, to_float
from sepcon.data.stored import samples as samples_module
from sepcon.data.stored.envelope_file import envelope_path
from sepcon.data.stream import TrainingStream
from sepcon.errors import SepconError, raised_in_graph
from sepcon.views.clip_patches import PatchesByPlace, PatchesOfWholeClips, clip_patches
from sepcon.views.sampler import ViewSampler

LENGTH = 24000
SECONDS = LENGTH / 16000
KINDS = ("mixture-mixture", "mixture-channel", "channel-channel")
SAMPLER = ViewSampler(pairs=KINDS, patch_seconds=0.3, position_candidates=2)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of one length and their channels of two states, and clips of all lengths."""
    root = tmp_path_factory.mktemp("stored")
    write_clips(root / "clips", noise([LENGTH] * 12))
    write_clips(root / "lengths", noise([LENGTH, 9000, 70000, 25001, 4000, 31999], seed=1))
    for state in (0, 1):
        write_channels(root / f"state{state}", open_clips(str(root / "clips")), state=state)
    return root


def examples_of(stored: Path, *, by_place: bool = True, **changes: Any) -> ClipExamples:
    clips = open_clips(str(stored / "clips"), clip_samples=LENGTH, by_place=by_place)
    arguments = {"channels": ["state0", "state1"], "channels_dir": str(stored)} | changes
    return ClipExamples(clips, **arguments)


def stream_of(examples: Any, sampler: ViewSampler = SAMPLER, **changes: Any) -> TrainingStream:
    arguments = {"batch_size": 9, "seed": 5, "num_uniforms": sampler.num_uniforms} | changes
    return TrainingStream(examples=examples, **arguments)


def batches(stream: TrainingStream, count: int, start: int = 0) -> list[dict[str, np.ndarray]]:
    return list(stream.batches(start).take(count).as_numpy_iterator())


def patches_of_whole(
    examples: ClipExamples,
    sampler: ViewSampler,
    count: int,
    *,
    as_float: bool = False,
    **changes: Any,
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Batches of whole clips, and what the sampler draws of them on the device."""
    whole = dataclasses.replace(examples, hop_samples=sampler.hop_samples)
    draw = tf.function(
        lambda mixture, channels, uniforms: tf.stack(
            sampler(mixture=mixture, channels=channels, uniforms=uniforms), axis=1
        ),
        autograph=False,
    )
    for batch in batches(stream_of(whole, sampler, **changes), count):
        mixture, channels = batch["audio"], batch.get("channels")
        if as_float:
            mixture, channels = to_float(mixture), to_float(channels)
        yield batch, draw(mixture, channels, batch["uniforms"]).numpy()


@pytest.mark.parametrize("by_place", [True, False])
@pytest.mark.parametrize(
    "kinds, candidates, proximity",
    [(KINDS, 1, True), (KINDS, 3, False), (("mixture-mixture",), 2, True)],
)
def test_patches_are_those_that_are_drawn_of_whole_clips(
    stored: Path, by_place: bool, kinds: tuple[str, ...], candidates: int, proximity: bool
) -> None:
    sampler = ViewSampler(kinds, 0.31, proximity, position_candidates=candidates)  # no whole frames
    channels = {} if len(kinds) > 1 else {"channels": []}
    examples = examples_of(stored, by_place=by_place, **channels)
    patches = clip_patches(examples, sampler)
    assert type(patches) is (PatchesByPlace if by_place else PatchesOfWholeClips)
    got = batches(stream_of(patches, sampler), 5)
    for batch, (whole, expected) in zip(got, patches_of_whole(examples, sampler, 5), strict=True):
        assert set(batch) == {"patches", "labels", "uniforms", "position"}
        for name in ("labels", "uniforms", "position"):
            np.testing.assert_array_equal(batch[name], whole[name])
        np.testing.assert_array_equal(batch["patches"], expected)


@pytest.mark.parametrize("seconds, candidates", [(0.4, 3), (1.0, 1), (5.0, 3)])
def test_clips_of_all_lengths_are_cropped_and_padded_alike(
    stored: Path, seconds: float, candidates: int
) -> None:
    sampler = ViewSampler(("mixture-mixture",), 0.3, position_candidates=candidates)
    drawn = []
    for by_place in (True, False):
        clips = open_clips(str(stored / "lengths"), by_place=by_place)
        examples = ClipExamples(clips, clip_seconds=seconds)
        drawn.append(batches(stream_of(clip_patches(examples, sampler), sampler), 3))
    whole = patches_of_whole(examples, sampler, 3)
    for by_place, decoded, (_, expected) in zip(*drawn, whole, strict=True):
        np.testing.assert_array_equal(by_place["patches"], expected)
        np.testing.assert_array_equal(decoded["patches"], expected)


def test_channels_made_on_the_fly_are_drawn_as_stored_ones(stored: Path) -> None:
    """float32 on the device against exact sums in the pipeline: one rule, no other choice."""
    examples = examples_of(stored)
    size = {"batch_size": 250}
    got = batches(stream_of(clip_patches(examples, SAMPLER), **size), 4)
    expected = patches_of_whole(examples, SAMPLER, 4, as_float=True, **size)
    for batch, (_, patches) in zip(got, expected, strict=True):
        np.testing.assert_array_equal(to_float(batch["patches"]), patches)


def test_patches_of_a_part_of_the_clips_are_those_of_its_clips(stored: Path) -> None:
    clips = open_clips(str(stored / "clips"), clip_samples=LENGTH)
    sampler = ViewSampler(("mixture-mixture",), SECONDS)  # whole clips
    whole = np.stack([each["audio"] for each in clips.build().as_numpy_iterator()])
    chosen = np.asarray([7, 2, 11, 3])
    for part, numbers in (
        (subset(clips, num_clips=4, start=5), np.arange(5, 9)),
        (select(clips, chosen, name="chosen"), chosen),
        (select(subset(clips, num_clips=6, start=2), np.asarray([5, 0]), name="x"), [7, 2]),
    ):
        (batch,) = batches(stream_of(clip_patches(ClipExamples(part), sampler), sampler), 1)
        expected = whole[np.asarray(numbers)[batch["position"]]]
        for side in (0, 1):
            np.testing.assert_array_equal(batch["patches"][:, side], expected)
        labels = np.asarray(numbers)[batch["position"]] % 3
        np.testing.assert_array_equal(batch["labels"], np.eye(3)[labels])


def test_a_resumed_stream_and_the_rows_of_workers_are_the_same_to_the_bit(stored: Path) -> None:
    patches = clip_patches(examples_of(stored), SAMPLER)
    unbroken = batches(stream_of(patches), 6)
    for start in (1, 4):
        for got, expected in zip(
            batches(stream_of(patches, threads=1), 2, start), unbroken[start:], strict=False
        ):
            np.testing.assert_array_equal(got["patches"], expected["patches"])
    rows = [stream_of(patches, threads=16).batches(2, range(3 * w, 3 * w + 3)) for w in range(3)]
    parts = [next(iter(each.take(1).as_numpy_iterator())) for each in rows]
    for name, expected in unbroken[2].items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), expected)


def test_what_is_read_is_little_more_than_what_is_used(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = ViewSampler(("mixture-channel", "channel-channel"), 0.975)
    stream = stream_of(clip_patches(examples_of(stored), sampler), sampler, prefetch=0, threads=1)
    sizes: list[int] = []

    class Watched:
        """As much of `os` as is asked for."""

        path = os.path

        @staticmethod
        def pread(descriptor: int, size: int, offset: int) -> bytes:
            sizes.append(size)
            return os.pread(descriptor, size, offset)

    monkeypatch.setattr(samples_module, "os", Watched)
    used = sum(batch["patches"].nbytes for batch in batches(stream, 4))
    examples = -(-used // (2 * 2 * sampler.patch_samples))
    assert 1.0 < sum(sizes) / used < 1.2 * (examples + 9) / examples  # It may be a batch ahead.
    assert len(sizes) <= 8 * (examples + 9)


@pytest.mark.parametrize("damage", ["clips", "channels"])
def test_damaged_samples_end_the_stream_with_their_file(
    stored: Path, tmp_path: Path, damage: str
) -> None:
    path = Path(write_clips(tmp_path / "clips", noise([LENGTH] * 6)))
    clips = open_clips(str(path), clip_samples=LENGTH)
    folder = write_channels(tmp_path / "state", clips)
    changed = path if damage == "clips" else shard_path(folder, 0)
    examples = ClipExamples(clips, channels=[folder])
    sampler = ViewSampler(patch_seconds=0.3)
    stream = stream_of(clip_patches(examples, sampler), sampler)
    data = bytearray(changed.read_bytes())
    for start in range(1000, len(data), 800):
        data[start] ^= 1
    changed.write_bytes(data)
    with pytest.raises(tf.errors.OpError) as error:
        batches(stream, 1)
    said = str(raised_in_graph(error.value))
    assert said.startswith(f"{changed}: record ")
    assert f"is damaged or not the one that {envelope_path(changed).name} was made of" in said


def test_stores_of_earlier_versions_are_measured_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_clips(tmp_path / "clips", noise([LENGTH] * 6))
    folder = write_channels(tmp_path / "state", open_clips(path, clip_samples=LENGTH))
    shards = [path, *map(str, sorted(Path(folder).glob("*.tfrecord")))]
    envelopes = [envelope_path(each) for each in shards[1:]]
    written = [each.read_bytes() for each in envelopes]
    for each in envelopes:
        each.unlink()  # as `sepcon separate` left them before
    sampler = ViewSampler(patch_seconds=0.3)

    def drawn() -> np.ndarray:
        clips = open_clips(path, clip_samples=LENGTH)
        patches = clip_patches(ClipExamples(clips, channels=[folder]), sampler)
        return batches(stream_of(patches, sampler), 1)[0]["patches"]

    first = drawn()
    assert "Measuring" in capsys.readouterr().err
    assert [each.read_bytes() for each in envelopes] == written
    np.testing.assert_array_equal(drawn(), first)
    assert "Measuring" not in capsys.readouterr().err


def test_channels_of_other_clips_are_refused_before_the_first_batch(
    stored: Path, tmp_path: Path
) -> None:
    other = write_clips(tmp_path / "clips", noise([LENGTH] * 12)[::-1])
    data = Path(other).read_bytes()
    assert b"clip0" in data
    clips = open_clips(other, clip_samples=LENGTH)
    moved = select(clips, np.asarray([1, 0, *range(2, 12)]), name="noise")
    examples = ClipExamples(moved, channels=[str(stored / "state0")])
    with pytest.raises(SepconError, match="clip 0 is clip0, expected clip1; these are channels of"):
        stream_of(clip_patches(examples, SAMPLER))


def test_another_length_of_frames_than_the_stored_one_is_refused(stored: Path) -> None:
    sampler = ViewSampler(("mixture-mixture",), 0.3, hop_samples=200)
    with pytest.raises(SepconError, match=r"stored for every 400 samples, but.*is 200"):
        clip_patches(examples_of(stored, channels=[]), sampler)
