import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.audio.samples import to_int16
from sepcon.data import clips as clips_lib
from sepcon.data.clips import ClipDataset, from_reader
from sepcon.errors import SepconError


def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "id": tf.strings.as_string(position),
        "audio": tf.cast(tf.range(position), tf.int16),
        "labels": tf.zeros([0]),
    }


CLIPS = from_reader(name="toy", num_clips=6, class_names=(), clip_samples=None, read=read)


def ids(clips: ClipDataset) -> list[str]:
    return [element["id"].decode() for element in clips.build().as_numpy_iterator()]


def test_every_int16_survives_the_way_to_float_and_back() -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    there = clips_lib.to_float(tf.constant(every)).numpy()
    assert there.dtype == np.float32
    assert there.min() == -1.0
    assert there.max() == 32767 / 32768
    np.testing.assert_array_equal(to_int16(there), every)


def test_loud_samples_are_held_at_the_rails_and_halves_go_to_even() -> None:
    loud = np.asarray([1.0, 5.0, -1.0, -9.0, 0.5 / 32768, 1.5 / 32768, -0.5 / 32768])
    assert to_int16(loud).tolist() == [32767, 32767, -32768, -32768, 0, 2, 0]


@given(
    length=st.integers(0, 60), wanted=st.integers(1, 50), uniform=st.floats(0, 1, exclude_max=True)
)
@settings(deadline=None)
def test_fit_length_crops_inside_or_pads_behind(length: int, wanted: int, uniform: float) -> None:
    audio = np.arange(1, length + 1, dtype=np.int16)
    got = clips_lib.fit_length(tf.constant(audio), wanted, tf.constant(uniform, tf.float32)).numpy()
    if length <= wanted:
        expected = np.concatenate([audio, np.zeros(wanted - length, np.int16)])
    else:
        start = min(int(float(np.float32(uniform)) * (length - wanted + 1)), length - wanted)
        expected = audio[start : start + wanted]
    np.testing.assert_array_equal(got, expected)


def test_fit_length_in_a_graph_of_unknown_length_keeps_channels_together() -> None:
    signature = [tf.TensorSpec([2, None], tf.int16), tf.TensorSpec([], tf.float32)]
    fit = tf.function(lambda a, u: clips_lib.fit_length(a, 3, u), input_signature=signature)
    audio = np.asarray([[1, 2, 3, 4, 5], [11, 12, 13, 14, 15]], np.int16)
    assert fit(audio, 0.5).numpy().tolist() == [[2, 3, 4], [12, 13, 14]]
    assert fit(audio[:, :1], 0.5).numpy().tolist() == [[1, 0, 0], [11, 0, 0]]
    assert fit.get_concrete_function().output_shapes == (2, 3)


def test_clips_come_in_order_on_every_call() -> None:
    assert ids(CLIPS) == ids(CLIPS) == [str(i) for i in range(6)]


@pytest.mark.parametrize("start, count", [(0, 6), (2, 3), (5, 1)])
def test_a_subset_is_a_part_read_in_order_or_at_any_place(start: int, count: int) -> None:
    part = clips_lib.subset(CLIPS, start=start, num_clips=count)
    expected = [str(start + i) for i in range(count)]
    assert part.num_clips == count
    assert ids(part) == expected
    assert [part.read(i)["id"].numpy().decode() for i in range(count)] == expected  # type: ignore[misc]


@pytest.mark.parametrize("start, count", [(0, 7), (6, 1), (0, 0), (-1, 2)])
def test_a_subset_beyond_the_end_is_named(start: int, count: int) -> None:
    with pytest.raises(SepconError, match=r"toy: asked for clips .* holds 6"):
        clips_lib.subset(CLIPS, start=start, num_clips=count)


def test_clips_without_sources_say_so() -> None:
    with pytest.raises(SepconError, match="toy: the sources inside these clips are not known"):
        clips_lib.with_sources(CLIPS)


def test_a_reader_of_a_sequential_data_set_reads_the_same() -> None:
    sequential = ClipDataset("toy", 6, 16000, (), None, CLIPS.build)
    get = clips_lib.reader(sequential)
    for position in (4, 1):
        element = tf.function(get)(tf.constant(position, tf.int64))
        assert element["audio"].numpy().tolist() == list(range(position))
        assert element["id"].numpy() == str(position).encode()
