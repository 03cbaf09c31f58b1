"""Prepares TFDS data sets once, safely, and reads their records at any place.

Two processes may ask for the same data set at the same time: one prepares it, the other waits.
A killed preparation leaves a folder with another name, which the next one removes.
"""

from __future__ import annotations

import contextlib
import contextvars
import fcntl
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import tensorflow as tf
import tensorflow_datasets as tfds

from sepcon.data.records import RecordFiles
from sepcon.errors import SepconError, one_line
from sepcon.runs.json_file import read_json
from sepcon.runs.seals import check_seals, write_seals

_CURE = "delete the folder, then the same command prepares it again"

# TFDS makes a file of a few bytes in far less.
_AT_IT_SECONDS = 60.0
PREPARE_AGAIN = "delete its folder and prepare it again"


def is_prepared(directory: Path) -> bool:
    """Whether a finished TFDS data set lies in `directory`."""
    return (directory / "dataset_info.json").is_file()


class NotPreparedError(SepconError):
    """A data set is not prepared, and must not be prepared now.

    Attributes:
      name: of the data set.
      directory: where it will be.
    """

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(f"{name} is not prepared in {directory}; run sepcon prepare")
        self.name, self.directory = name, directory


_ONLY_OPEN = contextvars.ContextVar("only_open", default=False)


@contextlib.contextmanager
def only_open() -> Iterator[None]:
    """Inside this block no data set is prepared: a missing one raises `NotPreparedError`."""
    token = _ONLY_OPEN.set(True)
    try:
        yield
    finally:
        _ONLY_OPEN.reset(token)


def prepare_once(
    make_builder: Callable[[], tfds.core.DatasetBuilder],
    *,
    data_dir: str | Path,
    manual_dir: Path | None = None,
) -> Path:
    """Prepares a data set unless it is there, and returns its folder.

    Args:
      make_builder: returns the builder, with its `data_dir`, from which it reads what is there.
      data_dir: the same.
      manual_dir: folder with the raw data, if the builder takes one.

    Raises:
      NotPreparedError: within `only_open`, if it is not there.
      SepconError: if the folder cannot be written or the raw data are not what they should be.
    """
    try:
        with _quiet():
            builder = make_builder()
    except SepconError:
        raise
    # What TFDS raises of a damaged description has no class of its own.
    except Exception as error:
        fault = _damaged_description(Path(data_dir).expanduser(), error)
        if fault is None:
            raise
        raise fault from error
    directory = Path(builder.data_dir)
    if is_prepared(directory):
        check_seals(directory, cure=_CURE)
        return directory
    if _ONLY_OPEN.get():
        raise NotPreparedError(builder.info.full_name, directory)
    with _locked(directory) as alone:
        if is_prepared(directory):
            return directory
        print(f"Preparing {builder.info.full_name} in {directory}", file=sys.stderr)
        if alone:
            _remove_leftovers(directory)
        try:
            _prepare(builder, manual_dir)
            write_seals(directory, [file.name for file in directory.iterdir() if file.is_file()])
        except SepconError:
            # Without a lock another process may have been first: what it has made is the same.
            if alone or not is_prepared(directory):
                raise
    return directory


def _remove_leftovers(directory: Path) -> None:
    """Removes what TFDS has left of a preparation that was killed; for who holds the lock."""
    for leftover in directory.parent.glob(f"incomplete.*_{directory.name}"):
        shutil.rmtree(leftover, ignore_errors=True)
    # Data sets of one builder share this folder: what is new may be somebody else's, who is at it.
    before = time.time() - _AT_IT_SECONDS
    for leftover in (directory.parent.parent / ".config").glob("incomplete.*"):
        with contextlib.suppress(OSError):
            if leftover.stat().st_mtime < before:
                leftover.unlink()


def _damaged_description(data_dir: Path, error: Exception) -> SepconError | None:
    """What is told of a data set that cannot be opened; None where all are as they must be."""
    for path in sorted(data_dir.rglob("dataset_info.json")):
        cure = f"delete {path.parent}, then the same command prepares it again"
        try:
            check_seals(path.parent, cure=cure)
            read_json(path, cure=cure)
            for other in (path.with_name("features.json"), path.with_name("metadata.json")):
                if other.exists():
                    read_json(other, cure=cure)
            tfds.builder_from_directory(path.parent)
        except SepconError as fault:
            return fault
        except Exception:
            return SepconError(
                f"{path}: is damaged or of another version ({one_line(error)}); {cure}"
            )
    return None


def _prepare(builder: tfds.core.DatasetBuilder, manual_dir: Path | None) -> None:
    config = tfds.download.DownloadConfig(
        manual_dir=None if manual_dir is None else str(manual_dir), try_download_gcs=False
    )
    try:
        with _quiet():
            builder.download_and_prepare(download_config=config)
    except Exception as error:
        # TFDS wraps what its generators and writers raise.
        cause = error.__cause__ or error
        if isinstance(cause, SepconError):
            raise cause from None
        if isinstance(cause, OSError | tf.errors.OpError):
            raise SepconError(
                f"{builder.data_dir}: cannot prepare {builder.name} there ({one_line(cause)}); "
                "choose a data_dir with room and write access"
            ) from error
        raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS's own bars, lines and warnings away: our bar speaks."""
    logger = logging.getLogger("absl")
    verbosity = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        tfds.enable_progress_bar()
        logger.setLevel(verbosity)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Holds a file lock beside `directory`; the system frees it when the process dies.

    Yields:
      Whether there is a lock: some network file systems have none. Then two processes may prepare
      the same at once, each in a folder of its own, until one of them gives it the name.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        file: IO[str] = open(directory.parent / f".{directory.name}.lock", "w")  # noqa: SIM115
    except OSError as error:
        raise SepconError(
            f"{directory.parent}: cannot be written ({error.strerror}); choose another data_dir"
        ) from error
    with file:
        alone = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another process that prepares {directory}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            alone = False
        yield alone


def ordered_key(index: int, total: int) -> int:
    """Returns a sorting key for TFDS that keeps the order of examples and saves memory.

    TFDS sorts examples that do not fit into memory in temporary files, and chooses the file of an
    example by the upper bits of its 128-bit key. Plain numbers would all go into the first file,
    which is then read into memory as a whole. These keys fill the files one after the other, with
    64 examples each.

    Args:
      index: number of the example, from 0.
      total: number of all examples.
    """
    num_files = max(1, min(500, total // 64))
    return (index * num_files // total << 128) // num_files + index


def open_builder(directory: Path) -> tfds.core.DatasetBuilder:
    """Opens a prepared data set.

    Args:
      directory: its folder.

    Raises:
      SepconError: if none is there or its records are not TFRecords.
    """
    if not is_prepared(directory):
        raise SepconError(f"{directory}: holds no prepared data set; prepare it with tfds build")
    check_seals(directory, cure=_CURE)
    try:
        builder = tfds.builder_from_directory(directory)
    # What TFDS raises of a damaged description has no class of its own.
    except Exception as error:
        raise SepconError(
            f"{directory / 'dataset_info.json'}: is damaged or of another version "
            f"({one_line(error)}); delete the folder and prepare it again"
        ) from error
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise SepconError(
            f"{directory}: its records are {builder.info.file_format}, expected tfrecord; "
            "build it without --file_format"
        )
    return builder


def split_records(builder: tfds.core.DatasetBuilder, splits: Sequence[str]) -> RecordFiles:
    """Opens the records of some splits, one split after the other.

    Args:
      builder: of a prepared data set.
      splits: their names.

    Returns:
      The records, numbered through all splits.

    Raises:
      SepconError: if a split is not there or has lost records.
    """
    for split in splits:
        if split not in builder.info.splits:
            raise SepconError(
                f"{builder.data_dir}: has no split {split}, only "
                f"{', '.join(builder.info.splits)}; choose one of these"
            )
    infos = [builder.info.splits[split] for split in splits]
    files = RecordFiles(
        [path for info in infos for path in info.filepaths],
        cure=PREPARE_AGAIN,
    )
    expected = sum(info.num_examples for info in infos)
    if len(files) != expected:
        raise SepconError(
            f"{builder.data_dir}: holds {len(files)} records of {'+'.join(splits)}, expected "
            f"{expected}; delete the folder and prepare it again"
        )
    return files


def parse(serialized: tf.Tensor, features: Mapping[str, tf.DType]) -> dict[str, tf.Tensor]:
    """Parses some scalar features of a record and leaves the others untouched.

    Args:
      serialized: string [].
      features: name -> dtype; int16 stands for samples that are stored as bytes.

    Returns:
      Name -> value: [] of that dtype, int16 [samples] for samples.
    """
    spec = {
        name: tf.io.FixedLenFeature([], tf.string if dtype == tf.int16 else dtype)
        for name, dtype in features.items()
    }
    values = tf.io.parse_single_example(serialized, spec)
    for name, dtype in features.items():
        if dtype == tf.int16:
            values[name] = tf.io.decode_raw(values[name], tf.int16)
    return values


def parse_labels(serialized: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Parses the class numbers of a record, none or several.

    Args:
      serialized: string [].
      num_classes: classes of the data set.

    Returns:
      float32 [classes], 1 for the classes of the record, else 0.
    """
    spec = {"labels": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)}
    labels = tf.io.parse_single_example(serialized, spec)["labels"]
    present = tf.one_hot(labels, num_classes, on_value=True, off_value=False)  # [label, class]
    return tf.cast(tf.reduce_any(present, axis=0), tf.float32)
