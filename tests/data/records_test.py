import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from sepcon.data import records
from sepcon.data.records import RecordFiles
from sepcon.errors import SepconError


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two files, one of them with an empty record, and an empty one between."""
    records = [[b"one", b"", b"three" * 1000], [], [b"four"]]
    result = []
    for number, contents in enumerate(records):
        path = tmp_path / f"{number}.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in contents:
                writer.write(record)
        result.append(path)
    return result


def test_records_are_those_that_tensorflow_reads(paths: list[Path]) -> None:
    files = RecordFiles(paths)
    expected = list(tf.data.TFRecordDataset([str(p) for p in paths]).as_numpy_iterator())
    assert len(files) == len(expected) == 4
    assert files.counts == (3, 0, 1)
    assert [files.bytes_at(i) for i in range(4)] == expected
    positions = np.asarray([3, 0, 2, 2, 1])
    in_graph = tf.data.Dataset.from_tensor_slices(positions).map(
        files.read, num_parallel_calls=3, deterministic=True
    )
    assert in_graph.element_spec == tf.TensorSpec([], tf.string)
    assert list(in_graph.as_numpy_iterator()) == [expected[i] for i in positions]


@pytest.mark.parametrize("kept", [1, 11, 12, 14, 18])
def test_a_file_cut_anywhere_in_a_record_is_named(paths: list[Path], kept: int) -> None:
    paths[2].write_bytes(paths[2].read_bytes()[:kept])
    with pytest.raises(SepconError, match=r"2\.tfrecord: ends in the middle of record 0"):
        RecordFiles(paths)


def read_all(path: Path, expected: list[bytes]) -> None:
    files = RecordFiles([path], cure="make it anew")
    for position in range(len(files)):
        assert files.bytes_at(position) == expected[position]


def test_no_byte_of_a_file_changes_unnoticed(paths: list[Path]) -> None:
    """Lengths, data and checksums: what is read is what was written, or the record is named."""
    path, records = paths[0], [b"one", b"", b"three" * 8]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    written = path.read_bytes()
    ends = np.cumsum([12 + len(record) + 4 for record in records])
    for offset in range(len(written)):
        for bits in (0x01, 0xFF):
            changed = bytearray(written)
            changed[offset] ^= bits
            path.write_bytes(changed)
            damaged = int(np.searchsorted(ends, offset, side="right"))
            said = f"{path}: record {damaged} is damaged, it does not have the checksum of what "
            with pytest.raises(SepconError, match=f"^{said}was written; make it anew$"):
                read_all(path, records)


def test_another_process_need_not_scan_the_files(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = RecordFiles(paths)
    expected = [files.bytes_at(position) for position in range(len(files))]
    sent = pickle.dumps(files)  # with its files open
    monkeypatch.setattr(records, "find_records", None)
    received = pickle.loads(sent)
    assert (received.paths, received.counts) == (files.paths, files.counts)
    assert [received.bytes_at(position) for position in range(len(received))] == expected


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match=r"gone: cannot be read \(No such file"):
        RecordFiles([tmp_path / "gone"])


def test_a_file_that_shrinks_while_open_is_an_error(paths: list[Path]) -> None:
    files = RecordFiles(paths)
    paths[0].write_bytes(paths[0].read_bytes()[:100])
    with pytest.raises(SepconError, match="shrank"):
        files.bytes_at(2)


def test_reading_keeps_nothing(tmp_path: Path) -> None:
    """TensorFlow keeps what some forms of a Python result hold: gigabytes in a training run."""

    def resident_bytes() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    size, count = 1 << 20, 300
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(bytes(size - 1) + b"\0")
    files = RecordFiles([tmp_path / "a.tfrecord"])
    dataset = tf.data.Dataset.range(count).map(lambda position: files.read(position * 0))
    lengths = dataset.map(tf.strings.length)
    assert int(next(iter(lengths))) == size
    before = resident_bytes()
    for data in dataset:
        assert data.shape == ()
    assert resident_bytes() - before < size * count / 3
