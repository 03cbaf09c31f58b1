from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.data.example_bytes import bytes_span, integers, serialize_example, write_record
from sepcon.data.records import RecordFiles

NUMBERS = st.lists(st.integers(0, 2**63 - 1), max_size=5)
FEATURES = st.dictionaries(st.text(max_size=9), st.binary(max_size=300) | NUMBERS, max_size=5)


@settings(deadline=None, max_examples=60)
@given(FEATURES)
def test_tensorflow_reads_what_was_serialized(features: dict[str, bytes | list[int]]) -> None:
    parsed = tf.train.Example.FromString(serialize_example(features)).features.feature
    assert set(parsed) == set(features)
    for name, value in features.items():
        if isinstance(value, bytes):
            assert list(parsed[name].bytes_list.value) == [value]
        else:
            assert parsed[name].WhichOneof("kind") == "int64_list"
            assert list(parsed[name].int64_list.value) == value


@settings(deadline=None, max_examples=60)
@given(FEATURES, st.booleans())
def test_features_are_found_where_they_lie(
    features: dict[str, bytes | list[int]], by_tensorflow: bool
) -> None:
    data = serialize_example(features)
    if by_tensorflow:  # in an order of its own
        data = tf.train.Example.FromString(data).SerializeToString()
    for name, value in features.items():
        if isinstance(value, bytes):
            assert data[slice(*bytes_span(data, name))] == value
            assert integers(data, name) == []
        else:
            assert integers(data, name) == value
            with pytest.raises(ValueError, match="holds 0 strings of bytes, expected one"):
                bytes_span(data, name)
    with pytest.raises(ValueError, match="there is no feature 'absent feature'"):
        integers(data, "absent feature")


def test_one_feature_is_what_tensorflow_serializes() -> None:
    for value, feature in [
        (b"\0\xff" * 200, tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\0\xff" * 200]))),
        ([3, 300, 2**40], tf.train.Feature(int64_list=tf.train.Int64List(value=[3, 300, 2**40]))),
    ]:
        example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
        assert serialize_example({"x": value}) == example.SerializeToString()


@pytest.mark.parametrize("sizes", [[], [0], [1, 0, 70_000]])
def test_a_file_is_the_one_that_tensorflow_writes(tmp_path: Path, sizes: list[int]) -> None:
    records = [np.random.default_rng(size).bytes(size) for size in sizes]
    with open(tmp_path / "ours", "wb") as file:
        for record in records:
            write_record(file, record)
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    files = RecordFiles([tmp_path / "ours"])
    assert [files.bytes_at(number) for number in range(len(files))] == records
