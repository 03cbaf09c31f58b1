"""What `sepcon import` has made, as `ClipDataset`s of training, validation and test clips."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.clips import ClipDataset, Element, ReadClip, fit_length, from_reader
from sepcon.data.folds import FoldedClips
from sepcon.data.label_tables.exclusion import excluded_positions
from sepcon.data.prepared import parse, parse_labels
from sepcon.data.records import RecordFiles
from sepcon.data.stored.clip_samples import ClipSamples
from sepcon.data.stored.samples import StoredSamples
from sepcon.data.stored.sparse_labels import SparseLabels
from sepcon.errors import SepconError
from sepcon.importing.clip_source import Content
from sepcon.importing.import_folder import CLIP_LAYOUT, FinishedImport, open_import
from sepcon.importing.machine_labels import MachineLabels, pooled_scores
from sepcon.importing.manifest import ManifestRow

_CURE = "delete its folder and import again"
# What is added before the logarithm: scores have the steps of float16.
_SMALLEST_SCORE = 1e-4

Part = Literal["all", "train", "validation", "test"]


@dataclasses.dataclass(frozen=True)
class _Division:
    """Which part of an import a clip belongs to; the arguments of `imported`."""

    validation_share: float
    test_share: float
    test_folds: frozenset[str]

    def part_of(self, row: ManifestRow) -> Part:
        place = _place(row.group or row.id)
        if row.fold in self.test_folds or (not self.test_folds and place < self.test_share):
            return "test"
        return "validation" if place >= 1.0 - self.validation_share else "train"


def _place(name: str) -> float:
    """A number in [0, 1) that depends on a name alone: no clip changes sides when others come."""
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return int.from_bytes(digest[:6], "big") / float(1 << 48)


def imported(
    *,
    path: str | Sequence[str],
    part: Part = "all",
    validation_share: float = 0.1,
    test_share: float = 0.0,
    test_folds: Sequence[int | str] = (),
    folds: Sequence[int | str] = (),
    clip_seconds: float | None = None,
    exclude: str | Sequence[str] = (),
    labels: MachineLabels | None = None,
) -> ClipDataset:
    """Returns imported clips in the order of their source.

    The part of a clip is decided by a hash of the original recording that it was cut from, or of
    its id where that is not known. So no recording is in two parts, and a recording stays in its
    part when others are added.

    Args:
      path: the folder of an import, or several of the same classes, one after the other.
      part: "train", "validation", "test", or "all" of them.
      validation_share: of the recordings that are not for testing.
      test_share: of the recordings, where no `test_folds` are given.
      test_folds: the folds that are for testing.
      folds: only clips of these folds are taken; empty for all.
      clip_seconds: every clip is cut or zero-padded to this; None keeps the lengths.
      exclude: ids or files of clips to leave out, or a file with one in each line, see
        `excluded_names`. All others stay in their parts.
      labels: of the taggers that an import was labelled by, in the place of those of the source;
        how many clips a class has is counted over all parts of `folds`.

    Raises:
      SepconError: there is no finished import, its files were changed since, the classes differ, or
        nothing is in the part.
    """
    if clip_seconds is not None and round(clip_seconds * SAMPLE_RATE_HZ) < 1:
        raise SepconError(f"imported: clip_seconds is {clip_seconds}, expected more than 0")
    clip_samples = None if clip_seconds is None else round(clip_seconds * SAMPLE_RATE_HZ)
    opened = open_part(
        path,
        content="audio",
        part=part,
        validation_share=validation_share,
        test_share=test_share,
        test_folds=test_folds,
        folds=folds,
        exclude=exclude,
    )
    positions, class_names, sparse, digest = opened.positions, opened.class_names, None, ""
    if labels is not None:
        told = labels.read(opened.imports, opened.files.counts, opened.of_folds)
        class_names, sparse, digest = told.class_names, told.labels, f".{told.digest}"
        if part == "train":
            positions = np.repeat(positions, told.repeats[positions])
    return from_reader(
        name=opened.name,
        num_clips=len(positions),
        class_names=class_names,
        clip_samples=clip_samples,
        read=_reader(opened.files, positions, len(class_names), clip_samples, sparse),
        samples=_samples(opened.files, positions, len(class_names), clip_samples, sparse),
        digest=digest,
    )


@dataclasses.dataclass(frozen=True)
class OpenPart:
    """A part of one or several imports, ready to be read.

    Attributes:
      name: tells these clips or images from others.
      class_names: of the classes.
      files: the records of all imports.
      positions: int64 [n], the records that are in the part.
      imports: that were opened.
      of_folds: int64 [m], the records of the folds that are looked at, of all parts.
    """

    name: str
    class_names: tuple[str, ...]
    files: RecordFiles
    positions: np.ndarray
    imports: Sequence[FinishedImport]
    of_folds: np.ndarray


def open_part(
    path: str | Sequence[str],
    *,
    content: Content,
    part: Part = "all",
    validation_share: float = 0.1,
    test_share: float = 0.0,
    test_folds: Sequence[int | str] = (),
    folds: Sequence[int | str] = (),
    exclude: str | Sequence[str] = (),
) -> OpenPart:
    """Opens a part of imports of clips or of images; see `imported`.

    Args:
      path: the folder of an import, or several of the same classes.
      content: what their records must hold.
      part: see `imported`, as are the others.
      validation_share: of what is not for testing.
      test_share: of all, where no `test_folds` are given.
      test_folds: the folds that are for testing.
      folds: only these folds are looked at; empty for all.
      exclude: ids or files to leave out.

    Raises:
      SepconError: there is no finished import of such content, the classes differ, or nothing is in
        the part.
    """
    _check(part, validation_share, test_share)
    imports = _open(path, content)
    division = _Division(validation_share, test_share, _names(test_folds))
    positions = _positions(imports, part, division, _names(folds))
    of_folds = _positions(imports, "all", division, _names(folds))
    excluded = _excluded(exclude, imports)
    positions, of_folds = (each[~np.isin(each, excluded)] for each in (positions, of_folds))
    if not len(positions):
        raise SepconError(f"{imports[0].root}: nothing is left in {part}; exclude fewer")
    files = _open_records(imports)
    name = _name(imports, part, positions, len(files))
    return OpenPart(name, imports[0].class_names, files, positions, imports, of_folds)


def imported_folds(
    *,
    path: str | Sequence[str],
    folds: Sequence[int | str] = (),
    exclude: str | Sequence[str] = (),
    scores_of: str = "",
) -> FoldedClips:
    """Returns imported clips of one class each with the fold and the original recording of each.

    Args:
      path: the folder of an import, or several of the same classes, one after the other.
      folds: only these are looked at; empty for all.
      exclude: clips to leave out, as `imported` has it. They are dealt out with the others and then
        left out, so that no other clip changes sides.
      scores_of: a tagger of the import, whose scores come with the clips: what
        `LinearEvaluation.of_scores` measures.

    Raises:
      SepconError: as `imported`, or a clip has no fold, no class, or several.
    """
    imports = _open(path, "audio")
    positions = _positions(imports, "all", _Division(0.0, 0.0, frozenset()), _names(folds))
    files = _open_records(imports)
    kept = list(_rows(imports))
    rows = [kept[position] for position in positions]
    for row in rows:
        if not row.fold or len(row.label_numbers) != 1:
            raise SepconError(
                f"{imports[0].root}: clip {row.id} has fold {row.fold or 'none'} and "
                f"{len(row.label_numbers)} classes, expected a fold and one class"
            )
    class_names = imports[0].class_names
    return FoldedClips(
        clips=from_reader(
            name=_name(imports, "all", positions, len(files)),
            num_clips=len(positions),
            class_names=class_names,
            clip_samples=None,
            read=_reader(files, positions, len(class_names), None),
            samples=_samples(files, positions, len(class_names), None),
        ),
        labels=np.array([row.label_numbers[0] for row in rows]),
        folds=tuple(row.fold for row in rows),
        groups=tuple(row.group or row.id for row in rows),
        excluded=np.flatnonzero(np.isin(positions, _excluded(exclude, imports))),
        scores=_log_scores(imports, files, scores_of)[positions] if scores_of else None,
    )


def _log_scores(imports: Sequence[FinishedImport], files: RecordFiles, tagger: str) -> np.ndarray:
    """The logarithm of the mean scores of all records, float32 [records, classes]."""
    found, first = [], 0
    for each in imports:
        counts = files.counts[first : first + len(each.records)]
        found.append(pooled_scores(each, tagger, counts))
        first += len(each.records)
    return np.log(np.concatenate(found) + _SMALLEST_SCORE)


def _open(path: str | Sequence[str], content: Content) -> list[FinishedImport]:
    imports = [open_import(Path(each).expanduser()) for each in _paths(path)]
    for each in imports:
        if each.content != content:
            raise SepconError(
                f"{each.root}: is an import of {each.content}, expected one of {content}; give "
                "another import, or a file of data/ for this one"
            )
    for each in imports[1:]:
        if each.class_names != imports[0].class_names:
            raise SepconError(
                f"{each.root}: has other classes than {imports[0].root}; give imports with one "
                "list of classes"
            )
        if each.settings != imports[0].settings:
            raise SepconError(
                f"{each.root}: was imported with {each.settings}, {imports[0].root} with "
                f"{imports[0].settings}; give imports with the same"
            )
    return imports


def _check(part: str, validation_share: float, test_share: float) -> None:
    if part not in get_args(Part):
        raise SepconError(f"imported: part is {part!r}, expected {', '.join(get_args(Part))}")
    if min(validation_share, test_share) < 0 or validation_share + test_share >= 1:
        raise SepconError(
            f"imported: validation_share {validation_share} and test_share {test_share} leave "
            "nothing to train on; expected shares from 0 that sum to less than 1"
        )


def _paths(path: str | Sequence[str]) -> Sequence[str]:
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise SepconError("imported: path is empty; give the folder of an import")
    return paths


def _names(folds: Sequence[int | str]) -> frozenset[str]:
    return frozenset(map(str, folds))


def _open_records(imports: Sequence[FinishedImport]) -> RecordFiles:
    files = RecordFiles(
        [record for each in imports for record in each.records],
        cure=_CURE,
    )
    expected = sum(each.num_imported for each in imports)
    if len(files) != expected:
        raise SepconError(
            f"{imports[0].root}: holds {len(files)} records (with those beside it), expected "
            f"{expected}; delete the folder and import again"
        )
    return files


def _rows(imports: Sequence[FinishedImport]) -> Iterator[ManifestRow]:
    """What is said of the records, in their order."""
    return itertools.chain.from_iterable(each.rows() for each in imports)


def _excluded(exclude: str | Sequence[str], imports: Sequence[FinishedImport]) -> np.ndarray:
    """Numbers of the records that are to be left out."""
    if not exclude:
        return np.zeros(0, np.int64)
    names = [(row.id, row.source) for row in _rows(imports)]
    roots = "+".join(str(each.root) for each in imports)
    return np.asarray(sorted(excluded_positions(exclude, names, of=roots)), np.int64)


def _name(
    imports: Sequence[FinishedImport], part: Part, positions: np.ndarray, num_records: int
) -> str:
    """Names what is in the data set: channels are stored for one choice of clips."""
    name = "+".join(f"{each.name}_{each.identity}" for each in imports)
    if len(positions) == num_records:
        return name
    return f"{name}/{part}_{hashlib.sha256(positions.tobytes()).hexdigest()[:8]}"


def _positions(
    imports: Sequence[FinishedImport], part: Part, division: _Division, folds: frozenset[str]
) -> np.ndarray:
    """Numbers of the records that are in the part, over all imports."""
    positions, found = [], set()
    for number, row in enumerate(_rows(imports)):
        found.add(row.fold)
        if (not folds or row.fold in folds) and part in ("all", division.part_of(row)):
            positions.append(number)
    unknown = (folds | division.test_folds) - found
    if unknown or not positions:
        raise SepconError(
            f"{imports[0].root}: "
            + (f"has no fold {', '.join(sorted(unknown))}" if unknown else f"nothing is in {part}")
            + f"; it has the folds {', '.join(sorted(found)) or 'of nothing'}; give other folds or "
            "shares"
        )
    return np.asarray(positions, np.int64)


def _samples(
    files: RecordFiles,
    positions: np.ndarray,
    num_classes: int,
    clip_samples: int | None,
    sparse_labels: SparseLabels | None = None,
) -> Callable[[], ClipSamples]:
    def opened() -> ClipSamples:
        store = StoredSamples(files.paths, CLIP_LAYOUT, cure=_CURE)
        return ClipSamples(store, positions, np.arange(num_classes), clip_samples, sparse_labels)

    return opened


def _reader(
    files: RecordFiles,
    positions: np.ndarray,
    num_classes: int,
    clip_samples: int | None,
    sparse_labels: SparseLabels | None = None,
) -> ReadClip:
    # Made here, not while a graph is traced: there it would become a part of the graph.
    table = tf.constant(positions)
    machine_labels = None if sparse_labels is None else sparse_labels.in_graph()

    def read(position: tf.Tensor) -> Element:
        record = tf.gather(table, position)
        serialized = files.read(record)
        row = parse(serialized, {"id": tf.string, "audio": tf.int16})
        audio = row["audio"]
        if clip_samples is not None:
            audio = fit_length(audio, clip_samples, tf.constant(0.0))
        if machine_labels is None:
            labels = parse_labels(serialized, num_classes)
        else:
            labels = machine_labels(record)
        return {"id": row["id"], "audio": audio, "labels": labels}

    return read
