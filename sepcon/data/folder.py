"""Any folder of audio as a `ClipDataset`, decoded inside the graph while it is read."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from sepcon.audio.decode import DecodeReport, decode_file
from sepcon.audio.decode_in_graph import decode_in_graph, decode_plain_wav, is_plain_wav
from sepcon.audio.files import AudioError, read_header
from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.audio_folder import require_audio
from sepcon.data.clips import ClipDataset, Element, fit_length, from_reader
from sepcon.data.label_tables.exclusion import excluded_positions
from sepcon.data.labels import Labels, read_labels
from sepcon.errors import SepconError, printable
from sepcon.runs.progress import track

_SILENT = "silent from end to end"


def folder(
    *,
    path: str,
    labels_csv: str | None = None,
    clip_seconds: float | None = None,
    max_skipped_share: float = 0.05,
    decode_first: bool = True,
    threads: int = 2,
    exclude: str | Sequence[str] = (),
) -> ClipDataset:
    """Returns the audio files of a folder and of those below it, sorted by path.

    Every file is decoded once before the data set is returned, so that a damaged file is named,
    counted and skipped here and not in the middle of a run. A file that becomes unreadable later is
    named too: in training the next file that can be read takes its place, as long as no more than
    `max_skipped_share` of the files are lost. Everywhere else another clip would be a wrong result;
    there the run ends with the name of the file, and the next run leaves the file out.

    Args:
      path: the folder. Hidden files and folders are left out.
      labels_csv: a table of labels, see `read_labels`; files that it does not name, and those that
        have no label in it, are left out.
      clip_seconds: every clip is cut or zero-padded to this; None keeps the lengths.
      max_skipped_share: above this share of undecodable files it stops.
      decode_first: False reads only the headers, which is quicker and finds less.
      threads: files decoded at a time.
      exclude: files to leave out, relative to the folder, or a file with one in each line, see
        `excluded_names`.

    Raises:
      SepconError: if there is no folder, no audio, too much of it undecodable, or the table names
        what is not there.
    """
    path = os.path.expanduser(path)
    clip_samples = None if clip_seconds is None else round(clip_seconds * SAMPLE_RATE_HZ)
    if clip_samples is not None and clip_samples < 1:
        raise ValueError(f"clip_seconds: got {clip_seconds}, expected more than 0")
    survey = require_audio(path)
    labels = (
        None
        if labels_csv is None
        else read_labels(os.path.expanduser(labels_csv), survey.paths, path)
    )
    listed = survey.paths if labels is None else labels.labelled_paths
    left_out_by_name = excluded_positions(
        exclude, [(os.path.relpath(file, path),) for file in listed], of=path
    )
    listed = [file for number, file in enumerate(listed) if number not in left_out_by_name]
    report = DecodeReport()
    usable, left_out = _check_files(listed, report, decode_first=decode_first, threads=threads)
    report.check_share(max_skipped_share)
    print(f"{path}: {printable(report.summary())}", file=sys.stderr)
    files = _Files(usable, faults_before=len(report.failures), max_skipped_share=max_skipped_share)
    element = _element_maker(Path(path), usable, labels, clip_samples)

    def read_or_next(position: tf.Tensor) -> Element:
        audio, position = files.read_or_next(position)
        return {**element(audio, position), "position": position}

    return from_reader(
        name=Path(path).resolve().name,
        num_clips=len(usable),
        class_names=() if labels is None else labels.class_names,
        clip_samples=clip_samples,
        read=lambda position: element(files.read(position), position),
        read_or_next=read_or_next,
        num_parallel_calls=threads,
        left_out={
            os.path.relpath(file, path): reason
            for file, reason in (survey.faults | left_out).items()
        },
        digest=_digest(Path(path), usable, labels),
    )


def _digest(root: Path, paths: Sequence[Path], labels: Labels | None) -> str:
    """Tells these files from others, by their names and sizes, and behind a dot their labels."""
    files, of_files = hashlib.sha256(), hashlib.sha256()
    of_path = dict(zip(labels.paths, labels.numbers, strict=True)) if labels else {}
    for path in paths:
        files.update(os.fsencode(os.path.relpath(path, root)))
        files.update(f"\0{path.stat().st_size}\n".encode())
        of_files.update(f"{of_path.get(path)}\n".encode())
    of_files.update(repr(labels.class_names if labels else ()).encode())
    return f"{files.hexdigest()[:16]}.{of_files.hexdigest()[:8]}"


def _check_files(
    paths: Sequence[Path], report: DecodeReport, *, decode_first: bool, threads: int
) -> tuple[list[Path], dict[Path, str]]:
    """Returns the files that can be used, and why the others cannot, and counts."""

    def fault_of(path: Path) -> str | None:
        if not decode_first:
            try:
                read_header(path)
            except SepconError as error:
                return str(error)
            return None
        single = DecodeReport()
        if single.decode(path) is not None:
            return None
        return single.failures[0] if single.failures else _SILENT

    usable, left_out = [], {}
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        faults = track(pool.map(fault_of, paths), len(paths), "Checking files", unit="file")
        for path, fault in zip(paths, faults, strict=True):
            if fault is None:
                report.decoded += 1
                usable.append(path)
                continue
            left_out[path] = fault
            if fault == _SILENT:
                report.silent.append(str(path))
            else:
                report.failures.append(fault)
    return usable, left_out


class _Files:
    """Reads files inside the graph by their numbers, and counts those that no longer can be read.

    Args:
      paths: the files.
      faults_before: files that could not be read when they were listed; they count too.
      max_skipped_share: of all files, what may be lost.
    """

    def __init__(
        self, paths: Sequence[Path], *, faults_before: int, max_skipped_share: float
    ) -> None:
        self._paths = paths
        # Here and not in the graph, of which TensorFlow would say that it cannot read its source.
        self._names = [os.fsencode(path) for path in paths]
        self._faults_before, self._max_skipped_share = faults_before, max_skipped_share
        self._lost: set[int] = set()
        self._lock = threading.Lock()

    def read(self, position: tf.Tensor) -> tf.Tensor:
        """Returns int16 [samples] of the file at a position, int64 []."""
        return decode_in_graph(self._path(position))

    def read_or_next(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the samples of the first file from a position on that can be read, and where."""
        position, plain, audio = tf.numpy_function(
            self._first_readable, [position], [tf.int64, tf.bool, tf.int16], stateful=False
        )
        position, plain = tf.ensure_shape(position, []), tf.ensure_shape(plain, [])
        audio = tf.cond(
            plain,
            lambda: decode_plain_wav(self._path(position)),
            lambda: tf.ensure_shape(audio, [None]),
        )
        return audio, position

    def _path(self, position: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.constant(self._names), position)

    def _first_readable(self, start: np.ndarray) -> tuple[np.int64, np.bool_, np.ndarray]:
        """The position, whether the graph is to decode the file there, and else its samples."""
        for step in range(len(self._paths)):
            position = (int(start) + step) % len(self._paths)
            path = self._paths[position]
            if position in self._lost:
                continue
            if is_plain_wav(path):
                return np.int64(position), np.bool_(True), np.zeros(0, np.int16)
            try:
                return np.int64(position), np.bool_(False), decode_file(path)
            except AudioError as fault:
                self._lose(position, fault)
        raise SepconError("not one file can be read any more")

    def _lose(self, position: int, fault: AudioError) -> None:
        with self._lock:
            if position in self._lost:
                return
            self._lost.add(position)
            lost = len(self._lost) + self._faults_before
        total = len(self._paths) + self._faults_before
        now = f"{fault}; it could be read when the run began"
        if lost > self._max_skipped_share * total:
            raise SepconError(
                f"{now}; that makes {lost} of {total} files, more than the share of "
                f"{self._max_skipped_share:g} allowed by max_skipped_share; mend them or allow "
                "more, and the same command goes on"
            )
        print(
            f"sepcon: skipped {printable(now)}; the next file takes its place ({lost} of {total} "
            "files cannot be read)",
            file=sys.stderr,
        )


def _element_maker(
    root: Path, paths: Sequence[Path], labels: Labels | None, clip_samples: int | None
) -> Callable[[tf.Tensor, tf.Tensor], Element]:
    """Returns what makes an element of samples, int16 [samples], and the position of their file."""
    names = [os.fsencode(os.path.relpath(path, root)) for path in paths]
    numbers, splits, num_classes = _label_table(paths, labels)

    def element(audio: tf.Tensor, position: tf.Tensor) -> Element:
        if clip_samples is not None:
            audio = fit_length(audio, clip_samples, tf.constant(0.0))
        first, last = tf.gather(splits, position), tf.gather(splits, position + 1)
        rows = tf.one_hot(tf.constant(numbers)[first:last], num_classes)  # [label, class]
        return {
            "id": tf.gather(tf.constant(names), position),
            "audio": audio,
            "labels": tf.ensure_shape(tf.reduce_sum(rows, axis=0), [num_classes]),
        }

    return element


def _label_table(
    paths: Sequence[Path], labels: Labels | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Class numbers of all files in a row, where those of each begin, and the number of classes."""
    if labels is None:
        return np.zeros(0, np.int32), np.zeros(len(paths) + 1, np.int32), 0
    of_path = dict(zip(labels.paths, labels.numbers, strict=True))
    lists = [of_path[path] for path in paths]
    splits = np.cumsum([0, *map(len, lists)]).astype(np.int32)
    numbers = np.asarray([number for list_ in lists for number in list_], np.int32)
    return numbers, splits, len(labels.class_names)
