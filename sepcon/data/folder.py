"""Any folder of audio as a `ClipDataset`, decoded inside the graph while it is read."""

from __future__ import annotations

import concurrent.futures
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from sepcon.audio.decode import DecodeReport
from sepcon.audio.decode_in_graph import Backend, chosen_backend, decode_in_graph
from sepcon.audio.files import CODECS, AudioHeader, read_header
from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.clips import ClipDataset, Element, ReadClip, fit_length, from_reader
from sepcon.data.labels import Labels, find_audio, read_labels
from sepcon.errors import SepconError
from sepcon.runs.progress import track


def folder(
    *,
    path: str,
    labels_csv: str | None = None,
    clip_seconds: float | None = None,
    backend: Backend = "auto",
    max_skipped_share: float = 0.05,
    decode_first: bool = True,
    threads: int = 2,
) -> ClipDataset:
    """Returns the audio files of a folder and of those below it, sorted by path.

    Every file is decoded once before the data set is returned, so that a damaged one is named,
    counted and skipped here and not in the middle of a training run.

    Args:
      path: the folder. Hidden files and folders are left out.
      labels_csv: a table of `filename,label[;label...]`; files that it does not name are left out.
      clip_seconds: every clip is cut or zero-padded to this; None keeps the lengths.
      backend: who decodes: "tensorflow_io", "soundfile", or "auto" for the first that works.
      max_skipped_share: above this share of undecodable files it stops.
      decode_first: False reads only the headers, which is quicker and finds less.
      threads: files decoded at a time.

    Raises:
      SepconError: if there is no folder, no audio, too much of it undecodable, or the table names
        what is not there.
    """
    backend, path = chosen_backend(backend), os.path.expanduser(path)
    paths: Sequence[Path] = find_audio(path)
    labels = (
        None if labels_csv is None else read_labels(os.path.expanduser(labels_csv), paths, path)
    )
    listed = paths if labels is None else labels.paths
    report = DecodeReport()
    headers, left_out = _check_files(listed, report, decode_first=decode_first, threads=threads)
    report.check_share(max_skipped_share)
    print(f"{path}: {report.summary()}", file=sys.stderr)
    if labels is not None and len(listed) < len(paths):
        print(f"{path}: {len(paths) - len(listed)} files without a label left out", file=sys.stderr)
    clip_samples = None if clip_seconds is None else round(clip_seconds * SAMPLE_RATE_HZ)
    if clip_samples is not None and clip_samples < 1:
        raise ValueError(f"clip_seconds: got {clip_seconds}, expected more than 0")
    return from_reader(
        name=Path(path).resolve().name,
        num_clips=len(headers),
        class_names=() if labels is None else labels.class_names,
        clip_samples=clip_samples,
        read=_reader(Path(path), headers, labels, clip_samples, backend),
        num_parallel_calls=threads,
        left_out={os.path.relpath(file, path): reason for file, reason in left_out.items()},
    )


def _check_files(
    paths: Sequence[Path], report: DecodeReport, *, decode_first: bool, threads: int
) -> tuple[list[AudioHeader], dict[Path, str]]:
    """Returns the headers of the files that can be used, and why the others cannot, and counts."""

    def check(path: Path) -> AudioHeader | SepconError | None:
        try:
            header = read_header(path)
        except SepconError as error:
            return error
        if not decode_first:
            return header
        single = DecodeReport()
        if single.decode(path) is not None:
            return header
        return SepconError(single.failures[0]) if single.failures else None

    headers, left_out = [], {}
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        verdicts = track(pool.map(check, paths), len(paths), "Checking files", unit="file")
        for path, verdict in zip(paths, verdicts, strict=True):
            if isinstance(verdict, AudioHeader):
                report.decoded += 1
                headers.append(verdict)
            elif verdict is None:
                report.silent.append(str(path))
                left_out[path] = "silent from end to end"
            else:
                report.failures.append(str(verdict))
                left_out[path] = str(verdict)
    return headers, left_out


def _reader(
    root: Path,
    headers: Sequence[AudioHeader],
    labels: Labels | None,
    clip_samples: int | None,
    backend: Backend,
) -> ReadClip:
    names = [os.path.relpath(header.path, root) for header in headers]
    codecs = np.asarray([CODECS.index(header.codec) for header in headers], np.int32)
    rates = np.asarray([header.rate_hz for header in headers], np.int32)
    numbers, splits, num_classes = _label_table(headers, labels)

    def read(position: tf.Tensor) -> Element:
        path = tf.gather(tf.constant([header.path for header in headers]), position)
        audio = decode_in_graph(
            path,
            codec=tf.gather(tf.constant(codecs), position),
            rate_hz=tf.gather(tf.constant(rates), position),
            backend=backend,
        )
        if clip_samples is not None:
            audio = fit_length(audio, clip_samples, tf.constant(0.0))
        first, last = tf.gather(splits, position), tf.gather(splits, position + 1)
        rows = tf.one_hot(tf.constant(numbers)[first:last], num_classes)  # [label, class]
        return {
            "id": tf.gather(tf.constant(names), position),
            "audio": audio,
            "labels": tf.ensure_shape(tf.reduce_sum(rows, axis=0), [num_classes]),
        }

    return read


def _label_table(
    headers: Sequence[AudioHeader], labels: Labels | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Class numbers of all files in a row, where those of each begin, and the number of classes."""
    if labels is None:
        return np.zeros(0, np.int32), np.zeros(len(headers) + 1, np.int32), 0
    of_path = dict(zip(map(str, labels.paths), labels.numbers, strict=True))
    lists = [of_path[header.path] for header in headers]
    splits = np.cumsum([0, *map(len, lists)]).astype(np.int32)
    numbers = np.asarray([number for list_ in lists for number in list_], np.int32)
    return numbers, splits, len(labels.class_names)
