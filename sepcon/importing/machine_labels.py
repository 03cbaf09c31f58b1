"""From the scores of taggers to labels: what counts as a label is chosen when clips are read."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from sepcon.data.stored.sparse_labels import SparseLabels
from sepcon.errors import SepconError, nearest, one_line
from sepcon.importing.import_folder import FinishedImport
from sepcon.importing.score_files import read_scores

OverFrames = Literal["max", "mean"]
Join = Literal["union", "intersection"]


@dataclasses.dataclass(frozen=True)
class TaggerLabels:
    """What of a tagger's scores is a label.

    Attributes:
      tagger: its name in the import.
      over_frames: how the scores of a clip's windows or pictures become one: the "max" says whether
        something is there at all, the "mean" suits what is there all the time, such as a scene.
      threshold: the least score of a label, above 0.
      top: at most so many labels of a clip, those of the highest scores; None for all.
      without: classes that are no labels, such as "Silence".
      renamed: CSV file with columns `from` and `to`: classes of this tagger, and what they are
        called as labels, such as a class of another tagger. Several may become one, whose score is
        the highest of theirs.
      prefix: stands before the names of classes that are not renamed.
    """

    tagger: str
    over_frames: OverFrames = "max"
    threshold: float = 0.1
    top: int | None = None
    without: Sequence[str] = ()
    renamed: str = ""
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.over_frames not in get_args(OverFrames):
            raise SepconError(
                f"TaggerLabels.over_frames is {self.over_frames!r}, expected one of "
                f"{', '.join(get_args(OverFrames))}"
            )
        if not 0 < self.threshold <= 1 or (self.top is not None and self.top < 1):
            raise SepconError(
                f"TaggerLabels: threshold is {self.threshold} and top {self.top}, expected more "
                "than 0 up to 1, and 1 or more or None"
            )

    def names(self, class_names: Sequence[str]) -> list[str]:
        """Returns what each class of the tagger is called as a label; "" for none.

        Raises:
          SepconError: `without` or `renamed` names a class that the tagger does not have.
        """
        renamed = _read_renamed(self.renamed)
        for name in (*self.without, *renamed):
            if name not in class_names:
                raise SepconError(
                    f"TaggerLabels: the tagger {self.tagger} has no class {name!r}"
                    f"{nearest(name, class_names)}; name one of its {len(class_names)} classes"
                )
        return [
            "" if name in self.without else renamed.get(name, f"{self.prefix}{name}")
            for name in class_names
        ]

    def of_clips(self, frames: np.ndarray, scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """Returns the scores of labels, 0 where there is none.

        Args:
          frames: integer [clips], windows or pictures of each, 1 or more.
          scores: float16 [all of them, classes].
          allowed: bool [classes], which may be labels.

        Returns:
          float32 [clips, classes].

        Raises:
          SepconError: scores are no probabilities.
        """
        if not len(frames):
            return np.zeros((0, scores.shape[1]), np.float32)
        if scores.min() < 0 or scores.max() > 1:
            raise SepconError(
                f"TaggerLabels: scores of {self.tagger} lie in {scores.min():.3g} to "
                f"{scores.max():.3g}, expected 0 to 1; import with an activation of the tagger"
            )
        starts = np.cumsum(frames) - frames
        if self.over_frames == "max":
            pooled = np.maximum.reduceat(scores, starts, axis=0).astype(np.float32)
        else:
            sums = np.add.reduceat(scores.astype(np.float32), starts, axis=0)
            pooled = sums / frames[:, np.newaxis]
        pooled *= allowed
        if self.top is not None and self.top < pooled.shape[1]:
            # A stable order: of equal scores the first classes count.
            below = np.argsort(-pooled, axis=1, kind="stable")[:, self.top :]
            np.put_along_axis(pooled, below, 0.0, axis=1)
        return np.where(pooled >= self.threshold, pooled, np.float32(0))


def _read_renamed(path: str) -> Mapping[str, str]:
    if not path:
        return {}
    file = Path(path).expanduser()
    try:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))
        renamed = {row["from"]: row["to"] for row in rows}
        if not all(renamed) or not all(renamed.values()) or len(renamed) != len(rows):
            raise ValueError("a name is empty, or stands in the column from twice")
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise SepconError(
            f"{file}: names no classes ({type(error).__name__}: {one_line(error)}); expected a "
            "table with columns from and to"
        ) from error
    return renamed


@dataclasses.dataclass(frozen=True, eq=False)
class ReadLabels:
    """Machine labels of all records of some imports.

    Attributes:
      labels: of the records, those of one import after those of another.
      class_names: of their columns.
      counts: int64 [classes], clips that have each label, of those that were counted.
      digest: tells them from other labels of the same clips.
      repeats: int64 [records], how often a clip is learned from in an epoch.
    """

    labels: SparseLabels
    class_names: tuple[str, ...]
    counts: np.ndarray
    digest: str
    repeats: np.ndarray


@dataclasses.dataclass(frozen=True)
class MachineLabels:
    """What is a label of imported clips that were labelled by taggers.

    Attributes:
      taggers: what of the scores of each is a label. Classes that are called the same are one.
      join: "union" takes what any of the taggers says, with the highest score; "intersection" what
        all of them say, with the lowest, of the classes that all of them have.
      soft: whether a label is as much as its score, or 1.
      min_clips: classes of fewer clips are no labels.
      max_share: nor are those of a larger share of the clips.
      repeat_share: clips with a label rarer than this are repeated in training: by the square root
        of this share over that of their rarest label, as Gupta et al. ("LVIS", 2019, section 3.3)
        have it, to the nearest number. 0 repeats none.
    """

    taggers: Sequence[TaggerLabels]
    join: Join = "union"
    soft: bool = True
    min_clips: int = 1
    max_share: float = 1.0
    repeat_share: float = 0.0

    def __post_init__(self) -> None:
        if not self.taggers or self.join not in get_args(Join):
            raise SepconError(
                f"MachineLabels: {len(self.taggers)} taggers by {self.join!r}, expected at least "
                f"one, by {' or '.join(get_args(Join))}"
            )
        if self.min_clips < 1 or not 0 < self.max_share <= 1 or not 0 <= self.repeat_share < 1:
            raise SepconError(
                f"MachineLabels: min_clips is {self.min_clips}, max_share {self.max_share} and "
                f"repeat_share {self.repeat_share}, expected 1 or more, more than 0 up to 1, and 0 "
                "to less than 1"
            )

    def read(
        self, imports: Sequence[FinishedImport], counts: Sequence[int], counted: np.ndarray
    ) -> ReadLabels:
        """Reads the labels of all clips of imports.

        Args:
          imports: labelled by the same taggers.
          counts: records of each file of records, of one import after the other.
          counted: int64 [n], the records by which the number of clips of a class is counted.

        Raises:
          SepconError: a tagger or class is not there, or no class is left.
        """
        names, columns = self._vocabulary(imports[0])
        blocks = [
            self._joined(shards, columns, len(names))
            for of_import, of_files in _by_import(imports, counts)
            for shards in zip(*(self._scores(of_import, of_files)), strict=True)
        ]
        rows, places, values = _sparse(blocks)
        labels = _labels(rows, places, values, sum(counts), len(names))
        kept = self._frequent(labels, counted)
        if not kept.any():
            raise SepconError(
                f"{imports[0].root}: no class has at least {self.min_clips} clips and at most a "
                f"share of {self.max_share:g}; lower min_clips or the threshold of TaggerLabels"
            )
        labels = _only(labels, rows, kept)
        class_names = tuple(name for name, keep in zip(names, kept, strict=True) if keep)
        of_class = _clips_of_class(labels, counted)
        _tell(imports[0], class_names, len(names), of_class, len(counted), labels, counted)
        return ReadLabels(
            labels,
            class_names,
            of_class,
            self._digest(class_names, imports),
            self._repeats(labels, of_class, len(counted)),
        )

    def _vocabulary(self, first: FinishedImport) -> tuple[list[str], list[np.ndarray]]:
        """The names of all labels, and the column of each class of each tagger, -1 for none."""
        by_tagger = []
        notes = {note.name: note for note in first.taggers}
        for rule in self.taggers:
            if rule.tagger not in notes:
                raise SepconError(
                    f"{first.root}: holds no scores of a tagger {rule.tagger!r}, it has "
                    f"{', '.join(notes) or 'none'}; name one of these, or import with TAGGERS"
                )
            by_tagger.append(rule.names(notes[rule.tagger].class_names))
        names = list(dict.fromkeys(name for each in by_tagger for name in each if name))
        if self.join == "intersection":
            names = [name for name in names if all(name in each for each in by_tagger)]
        if not names:
            raise SepconError(
                "MachineLabels: no class is in the vocabularies of all taggers; give a table of "
                "TaggerLabels.renamed, or join by union"
            )
        place = {name: number for number, name in enumerate(names)}
        return names, [np.array([place.get(name, -1) for name in each]) for each in by_tagger]

    def _scores(
        self, of_import: FinishedImport, counts: Sequence[int]
    ) -> list[Iterator[tuple[np.ndarray, np.ndarray]]]:
        return [
            read_scores(of_import.root, of_import.taggers, rule.tagger, counts)
            for rule in self.taggers
        ]

    def _joined(
        self,
        shards: Sequence[tuple[np.ndarray, np.ndarray]],
        columns: Sequence[np.ndarray],
        num_names: int,
    ) -> np.ndarray:
        """The labels of the clips of one shard, float32 [clips, names]."""
        found = []
        for rule, (frames, scores), places in zip(self.taggers, shards, columns, strict=True):
            allowed = places >= 0
            of_classes = rule.of_clips(frames, scores, allowed)
            of_names = np.zeros((num_names, len(frames)), np.float32)
            np.maximum.at(of_names, places[allowed], of_classes[:, allowed].T)
            found.append(of_names.T)
        joined = (np.maximum if self.join == "union" else np.minimum).reduce(found)
        return joined if self.soft else (joined > 0).astype(np.float32)

    def _frequent(self, labels: SparseLabels, counted: np.ndarray) -> np.ndarray:
        of_class = _clips_of_class(labels, counted)
        return (of_class >= self.min_clips) & (of_class <= self.max_share * len(counted))

    def _repeats(self, labels: SparseLabels, of_class: np.ndarray, clips: int) -> np.ndarray:
        records = len(labels.starts) - 1
        if not self.repeat_share:
            return np.ones(records, np.int64)
        share = np.maximum(of_class, 1) / clips
        factor = np.maximum(1.0, np.sqrt(self.repeat_share / share))
        largest = np.ones(records)
        rows = np.repeat(np.arange(records), np.diff(labels.starts))
        np.maximum.at(largest, rows, factor[labels.columns])
        return np.rint(largest).astype(np.int64)

    def _digest(self, class_names: Sequence[str], imports: Sequence[FinishedImport]) -> str:
        renamed = [sorted(_read_renamed(rule.renamed).items()) for rule in self.taggers]
        taggers = [[str(note) for note in each.taggers] for each in imports]
        told = repr((self, renamed, tuple(class_names), taggers))
        return hashlib.sha256(told.encode()).hexdigest()[:8]


def pooled_scores(
    of_import: FinishedImport, tagger: str, counts: Sequence[int], over_frames: OverFrames = "mean"
) -> np.ndarray:
    """Returns what a tagger says of each clip of an import, float32 [records, classes].

    Args:
      of_import: where its scores are.
      tagger: its name.
      counts: records of each shard.
      over_frames: see `TaggerLabels`.

    Raises:
      SepconError: there are no such scores.
    """
    rule = TaggerLabels(tagger, over_frames=over_frames, threshold=float(np.finfo(np.float32).tiny))
    return np.concatenate(
        [
            rule.of_clips(frames, scores, np.ones(scores.shape[1], bool))
            for frames, scores in read_scores(of_import.root, of_import.taggers, tagger, counts)
        ]
    )


def _by_import(
    imports: Sequence[FinishedImport], counts: Sequence[int]
) -> Iterator[tuple[FinishedImport, Sequence[int]]]:
    first = 0
    for each in imports:
        yield each, counts[first : first + len(each.records)]
        first += len(each.records)


def _sparse(blocks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Records, columns and values of all labels."""
    rows, columns, values, first = [], [], [], 0
    for block in blocks:
        of_row, of_column = np.nonzero(block)
        rows.append(of_row + first)
        columns.append(of_column)
        values.append(block[of_row, of_column])
        first += len(block)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


def _labels(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, records: int, classes: int
) -> SparseLabels:
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=records))])
    return SparseLabels(
        starts.astype(np.int64), columns.astype(np.int64), values.astype(np.float32), classes
    )


def _only(labels: SparseLabels, rows: np.ndarray, kept: np.ndarray) -> SparseLabels:
    """The labels of some of the classes."""
    these, place = kept[labels.columns], np.cumsum(kept) - 1
    columns, values = place[labels.columns[these]], labels.values[these]
    return _labels(rows[these], columns, values, len(labels.starts) - 1, int(kept.sum()))


def _clips_of_class(labels: SparseLabels, counted: np.ndarray) -> np.ndarray:
    """How many of some records have each label, int64 [classes]."""
    records = len(labels.starts) - 1
    is_counted = np.zeros(records, bool)
    is_counted[counted] = True
    of_label = np.repeat(is_counted, np.diff(labels.starts))
    return np.bincount(labels.columns[of_label], minlength=labels.num_classes)


def _tell(
    first: FinishedImport,
    class_names: Sequence[str],
    of_names: int,
    of_class: np.ndarray,
    clips: int,
    labels: SparseLabels,
    counted: np.ndarray,
) -> None:
    """Says in a line what the labels are: too many or too few show a wrong rule."""
    without = int((np.diff(labels.starts)[counted] == 0).sum())
    order = np.argsort(-of_class, kind="stable")
    most, least = (f"{class_names[n]} ({of_class[n]})" for n in (order[0], order[-1]))
    print(
        f"{first.root}: machine labels of {clips} clips: {len(class_names)} of {of_names} classes, "
        f"{of_class.sum() / max(1, clips):.2f} labels a clip, {without} clips without; from {most} "
        f"to {least}",
        file=sys.stderr,
    )
