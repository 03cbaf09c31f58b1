import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import ClipDataset, from_reader, subset
from sepcon.data.examples import Example, ExamplesInRows, ReadExample
from sepcon.data.stream import TrainingStream
from sepcon.errors import SepconError

LENGTHS = [50, 80, 120, 80, 200, 81, 79]


def make_clips(lengths: list[int], *, random_access: bool = True) -> ClipDataset:
    """Clip i holds the samples 1000 * i + 1, 1000 * i + 2, ..."""
    table = tf.ragged.constant(
        [[1000 * i + 1 + j for j in range(n)] for i, n in enumerate(lengths)], tf.int16
    )

    def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "id": tf.strings.format("clip{}", position),
            "audio": table[position],
            "labels": tf.one_hot(position % 3, 3),
        }

    clips = from_reader(
        name="toy",
        num_clips=len(lengths),
        class_names=("a", "b", "c"),
        clip_samples=None,
        read=read,
    )
    if random_access:
        return clips
    return ClipDataset("toy", len(lengths), SAMPLE_RATE_HZ, ("a", "b", "c"), None, clips.build)


CLIPS = make_clips(LENGTHS)


def take(stream: TrainingStream, start: int, count: int) -> list[dict[str, np.ndarray]]:
    return list(stream.batches(start).take(count).as_numpy_iterator())


def stream(clips: ClipDataset = CLIPS, **changes: Any) -> TrainingStream:
    """Of clips brought to 80 samples, unless other examples are given."""
    of_clips = {"with_sources": changes.pop("with_sources", False)}
    values: dict[str, Any] = {
        "examples": ClipExamples(clips, 80 / SAMPLE_RATE_HZ, **of_clips),
        "batch_size": 4,
        "seed": 3,
        "num_uniforms": 5,
    }
    return TrainingStream(**(values | changes))


REFERENCE = take(stream(), 0, 30)


@given(start=st.integers(0, 28))
@settings(deadline=None, max_examples=12)
def test_resuming_gives_the_same_batches_to_the_bit(start: int) -> None:
    resumed = take(stream(), start, 2)
    for got, expected in zip(resumed, REFERENCE[start : start + 2], strict=True):
        for key in expected:
            np.testing.assert_array_equal(got[key], expected[key])


def test_every_clip_comes_once_in_each_epoch_and_nothing_is_dropped() -> None:
    order = np.concatenate([batch["position"] for batch in REFERENCE])
    epochs = order[: 7 * 17].reshape(17, 7)
    for epoch in epochs:
        assert sorted(epoch) == list(range(7))
    assert len({tuple(epoch) for epoch in epochs}) == 17
    # Each place of the epoch is taken by each clip now and then.
    assert all(len(set(column)) >= 5 for column in epochs.T)


def test_shapes_are_static_and_dtypes_as_promised() -> None:
    spec = stream().batches(0).element_spec
    assert spec == {
        "audio": tf.TensorSpec([4, 80], tf.int16),
        "uniforms": tf.TensorSpec([4, 5], tf.float32),
        "state_uniform": tf.TensorSpec([4], tf.float32),
        "labels": tf.TensorSpec([4, 3], tf.float32),
        "position": tf.TensorSpec([4], tf.int32),
    }


def make_scenes(*, random_access: bool = True) -> ClipDataset:
    """Scenes of two sources: multiples of 1000, and the rest."""
    read = CLIPS.read
    assert read is not None

    def read_with_sources(position: tf.Tensor) -> dict[str, tf.Tensor]:
        clip = read(position)
        sources = tf.stack([clip["audio"] // 1000 * 1000, clip["audio"] % 1000])
        return clip | {"sources": sources}

    clips = from_reader(
        name="scenes",
        num_clips=len(LENGTHS),
        class_names=CLIPS.class_names,
        clip_samples=None,
        read=read,
        read_with_sources=read_with_sources,
    )
    return clips if random_access else dataclasses.replace(clips, read=None, read_with_sources=None)


@pytest.mark.parametrize("random_access", [False, True])
def test_sources_are_cut_as_their_clip(random_access: bool) -> None:
    clips = make_scenes(random_access=random_access)
    batches = take(stream(clips=clips, with_sources=True), 3, 5)
    for got, expected in zip(batches, REFERENCE[3:8], strict=True):
        np.testing.assert_array_equal(got["audio"], expected["audio"])
        np.testing.assert_array_equal(got["sources"].sum(axis=1), expected["audio"])
        assert not np.any(got["sources"][:, 0] % 1000)
    resumed = take(stream(clips=clips, with_sources=True), 5, 1)[0]
    np.testing.assert_array_equal(resumed["sources"], batches[2]["sources"])


def test_a_subset_keeps_the_sources() -> None:
    part = subset(make_scenes(), start=2, num_clips=3)
    assert part.read_with_sources is not None
    sources = part.read_with_sources(tf.constant(1, tf.int64))["sources"]
    np.testing.assert_array_equal(sources.numpy()[:, 0], [3000, 1])


def test_clips_of_no_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clip_seconds: got 0\.0, expected above 0"):
        stream(examples=ClipExamples(CLIPS, 0.0))
    with pytest.raises(SepconError, match="toy: clips differ in length; bind clip_seconds"):
        stream(examples=ClipExamples(CLIPS))


def test_sources_that_are_not_known_are_asked_for_in_vain() -> None:
    with pytest.raises(SepconError, match="toy: the sources inside these clips are not known"):
        stream(with_sources=True).batches(0)


def test_examples_do_not_depend_on_the_batch_size() -> None:
    wide = take(stream(batch_size=20), 0, 3)
    for key in ("audio", "uniforms", "labels", "position"):
        narrow = np.concatenate([batch[key] for batch in REFERENCE[:15]])
        np.testing.assert_array_equal(np.concatenate([b[key] for b in wide]), narrow)


def test_a_batch_may_be_larger_than_the_data_set() -> None:
    batch = take(stream(batch_size=21), 2, 1)[0]
    assert sorted(batch["position"]) == sorted([*range(7)] * 3)


def test_short_clips_are_padded_and_long_ones_cropped_at_random() -> None:
    starts = set()
    for batch in REFERENCE:
        for position, audio in zip(batch["position"], batch["audio"], strict=True):
            length = LENGTHS[position]
            clip = 1000 * position + 1 + np.arange(length)
            if length <= 80:
                np.testing.assert_array_equal(audio, np.pad(clip, (0, 80 - length)))
            else:
                start = audio[0] - clip[0]
                np.testing.assert_array_equal(audio, clip[start : start + 80])
                if length == 200:
                    starts.add(int(start))
    assert len(starts) > 8
    assert min(starts) >= 0
    assert max(starts) <= 120


def test_uniforms_are_uniform_and_change_from_epoch_to_epoch() -> None:
    values = np.concatenate([b["uniforms"] for b in take(stream(num_uniforms=200), 0, 30)])
    assert values.min() >= 0
    assert values.max() < 1
    assert len(np.unique(values, axis=0)) == len(values)
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    expected = values.size / 20
    chi_square = np.sum((counts - expected) ** 2 / expected)
    assert chi_square < 45  # 19 degrees of freedom: 1 in 1000 is above 43.8; the seed is fixed
    correlation = np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]
    assert abs(correlation) < 0.03


def test_more_uniforms_leave_order_and_crops_as_they_are() -> None:
    for got, expected in zip(take(stream(num_uniforms=9), 0, 5), REFERENCE[:5], strict=True):
        np.testing.assert_array_equal(got["audio"], expected["audio"])
    assert take(stream(num_uniforms=0), 0, 1)[0]["uniforms"].shape == (4, 0)


class Numbered:
    """Examples that are their number, of which neither reading nor training takes a chance."""

    name, num_examples, num_uniforms, class_names = "numbers", 6, 0, ()

    def reader(self) -> ReadExample:
        def read(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
            assert uniforms.shape == (0,)
            return {"id": tf.strings.as_string(position), "number": position}

        return read


class NumberedInRows(Numbered):
    def row_reader(self) -> ReadExample:
        def read(positions: tf.Tensor, uniforms: tf.Tensor) -> Example:
            assert uniforms.shape[1:] == (0,)
            return {"id": tf.strings.as_string(positions), "number": positions}

        return read


@pytest.mark.parametrize("examples", [Numbered(), NumberedInRows()])
def test_a_stream_without_any_random_number_trains_like_others(examples: Any) -> None:
    """TensorFlow's `unbatch` of rows without elements ends the process."""
    assert isinstance(examples, ExamplesInRows) == isinstance(examples, NumberedInRows)
    batches = take(stream(examples=examples, num_uniforms=0), 0, 3)
    assert [batch["uniforms"].shape for batch in batches] == [(4, 0)] * 3
    epochs = np.concatenate([batch["number"] for batch in batches]).reshape(2, 6)
    assert np.sort(epochs).tolist() == [list(range(6))] * 2


def test_another_seed_gives_another_stream() -> None:
    other = take(stream(seed=4), 0, 30)
    assert any(
        not np.array_equal(a["position"], b["position"])
        for a, b in zip(other, REFERENCE, strict=True)
    )
    rows = {row.tobytes() for batch in [*other, *REFERENCE] for row in batch["uniforms"]}
    assert len(rows) == 240
    assert take(stream(seed=-1), 0, 1)[0]["audio"].shape == (4, 80)


def test_the_global_seed_of_tensorflow_changes_nothing() -> None:
    tf.random.set_seed(123)
    got = take(stream(), 3, 1)[0]
    np.testing.assert_array_equal(got["position"], REFERENCE[3]["position"])
    np.testing.assert_array_equal(got["uniforms"], REFERENCE[3]["uniforms"])


def test_a_data_set_that_can_only_be_gone_through_gives_the_same_stream() -> None:
    slow = stream(clips=make_clips(LENGTHS, random_access=False))
    for got, expected in zip(take(slow, 1, 4), REFERENCE[1:5], strict=True):
        for key in expected:
            np.testing.assert_array_equal(got[key], expected[key])


def test_a_shuffle_buffer_keeps_runs_together() -> None:
    clips = make_clips([1] * 20)
    batches = take(stream(clips=clips, batch_size=20, shuffle_buffer=5), 0, 6)
    for batch in batches:
        order = batch["position"]
        assert sorted(order) == list(range(20))
        runs = order.reshape(4, 5) // 5
        assert (runs == runs[:, :1]).all()
    assert len({tuple(batch["position"]) for batch in batches}) == 6


def test_a_step_far_away_is_reached_at_once() -> None:
    batch = take(stream(), 10**9, 1)[0]
    assert batch["audio"].shape == (4, 80)


def test_describe_names_the_examples_of_the_step() -> None:
    expected = ", ".join(f"clip{position}" for position in REFERENCE[6]["position"])
    assert stream().describe(6) == f"step 6 of toy: examples {expected}"


def test_a_stream_is_known_by_its_examples() -> None:
    assert stream().identity == "7 examples of toy"
    assert stream(seed=9, batch_size=2).identity == stream().identity
    assert stream(clips=make_clips([9, 9])).identity == "2 examples of toy"


@pytest.mark.parametrize(
    "field, value",
    [("batch_size", 0), ("num_uniforms", -1), ("threads", 0), ("shuffle_buffer", 0)],
)
def test_bad_arguments_are_named(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field}: got {value}"):
        stream(**{field: value})
    with pytest.raises(ValueError, match="start_step: got -1"):
        stream().batches(-1)
