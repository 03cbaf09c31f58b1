import errno
import fcntl
import os
import threading
import time
import types
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_datasets.core import shuffle

from sepcon.data.prepared import open_builder, ordered_key, parse, prepare_once
from sepcon.errors import SepconError


@given(total=st.integers(1, 5_000_000), data=st.data())
def test_keys_keep_the_order_and_fill_few_files_evenly(total: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, total - 1))
    second = data.draw(st.integers(0, total - 1))
    keys = ordered_key(first, total), ordered_key(second, total)
    assert (keys[0] < keys[1]) == (first < second)
    assert 0 <= keys[0] < 2**128
    # How TFDS deals keys out to its thousand temporary files.
    files = [shuffle.get_bucket_number(key, 1000) for key in keys]
    assert (files[0] <= files[1]) or first > second


def test_no_file_holds_much() -> None:
    for total in (1, 63, 64, 4300, 100_000):
        counts: dict[int, int] = {}
        for index in range(total):
            number = shuffle.get_bucket_number(ordered_key(index, total), 1000)
            counts[number] = counts.get(number, 0) + 1
        assert len(counts) <= 500
        assert max(counts.values()) <= max(128, total / 500 + 1)


def test_the_temporary_files_of_tfds_keep_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 0)
    shuffler = shuffle.Shuffler(tmp_path, "salt", disable_shuffling=True)
    for index in range(300):
        shuffler.add(ordered_key(index, 300), str(index).encode())
    assert [int(data) for _, data in shuffler] == list(range(300))


def test_a_folder_that_is_not_prepared_is_named(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match="holds no prepared data set"):
        open_builder(tmp_path)


def test_parse_takes_what_is_asked_and_leaves_the_rest() -> None:
    def feature(values: list[bytes]) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    example = tf.train.Example(
        features=tf.train.Features(
            feature={
                "audio": feature([b"\x01\x00\xff\xff"]),
                "name": feature([b"x"]),
                "fold": tf.train.Feature(int64_list=tf.train.Int64List(value=[3])),
                "other": feature([b"a", b"b"]),
            }
        )
    )
    got = parse(
        tf.constant(example.SerializeToString()),
        {"audio": tf.int16, "name": tf.string, "fold": tf.int64},
    )
    assert set(got) == {"audio", "name", "fold"}
    assert got["audio"].numpy().tolist() == [1, -1]
    assert (got["name"].numpy(), got["fold"].numpy()) == (b"x", 3)


class Toy:
    """What of a builder of TFDS is used to prepare one."""

    name = "toy"
    info = types.SimpleNamespace(full_name="toy/1.0.0")

    def __init__(self, folder: Path, *, somebody_is_first: bool = False) -> None:
        self.data_dir = str(folder / "1.0.0")
        self.somebody_is_first = somebody_is_first

    def download_and_prepare(self, **_: object) -> None:
        Path(self.data_dir).mkdir(parents=True)
        (Path(self.data_dir) / "dataset_info.json").write_text("{}")
        if self.somebody_is_first:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")


def test_without_locks_nobody_is_disturbed_and_whoever_is_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    theirs = tmp_path / "incomplete.ABC_1.0.0"
    theirs.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", no_locks)
        made = prepare_once(lambda: Toy(tmp_path, somebody_is_first=True), data_dir=tmp_path)
    assert made == tmp_path / "1.0.0"
    assert theirs.exists()


def test_one_prepares_and_the_other_waits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "toy"
    leftover = folder / "incomplete.ABC_1.0.0"
    leftover.mkdir(parents=True)
    shared = tmp_path / ".config"
    shared.mkdir()
    for name, age in (("incomplete.old.json", 3600), ("incomplete.new.json", 1)):
        (shared / name).write_text("{")
        os.utime(shared / name, (time.time() - age,) * 2)
    with open(folder / ".1.0.0.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made: list[Path] = []
        thread = threading.Thread(
            target=lambda: made.append(prepare_once(lambda: Toy(folder), data_dir=tmp_path))
        )
        thread.start()
        while "Waiting for another process" not in capsys.readouterr().err:
            time.sleep(0.01)
        assert not (folder / "1.0.0").exists()
        assert leftover.exists()
    thread.join()
    assert made == [folder / "1.0.0"]
    assert not leftover.exists()
    # What is new may be that of another process, which prepares something else.
    assert [path.name for path in shared.iterdir()] == ["incomplete.new.json"]
