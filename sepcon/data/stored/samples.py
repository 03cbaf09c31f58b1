"""The samples of records, read by place, each stretch checked against what was written."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from sepcon.data.stored.checksums import checksum, checksums_between
from sepcon.data.stored.descriptors import Descriptors
from sepcon.data.stored.envelope_file import RecordLayout, open_envelopes
from sepcon.data.stored.frames import (
    HOP_SAMPLES,
    SAMPLE_BYTES,
    WORD_BYTES,
    energies_of,
    frame_words,
    num_frames,
)
from sepcon.errors import SepconError


class StoredSamples:
    """The samples of the records of several files, numbered through in the order of the files.

    What is asked for is read and nothing else: a stretch of a row, energies of some frames. Where
    a record ends, zeros follow.

    Args:
      paths: files of records.
      layout: what the records are called inside.
      cure: what helps where one is damaged, for messages.

    Raises:
      SepconError: a file is missing, damaged or of another layout.

    Attributes:
      rows: of each record.
      lengths: int64 [records], samples of a row.
      ids: [records] bytes.
    """

    def __init__(self, paths: Sequence[str], layout: RecordLayout, *, cure: str) -> None:
        envelopes = open_envelopes(paths, layout, cure=cure)
        counts = [len(envelope.offsets) for envelope in envelopes]
        width = WORD_BYTES * frame_words(layout.rows)
        self.rows = layout.rows
        self._paths, self._cure = tuple(paths), cure
        self._envelope_paths = tuple(envelope.path for envelope in envelopes)
        self._file = np.repeat(np.arange(len(envelopes)), counts)
        self._first = np.cumsum(counts) - counts
        self._offsets = _joined([each.offsets for each in envelopes])
        self._frame_offsets = _joined(
            [each.frames_offset + width * each.first_frames for each in envelopes]
        )
        self.lengths = _joined([each.lengths for each in envelopes])
        self.ids = np.concatenate([np.zeros(0, object), *(each.ids for each in envelopes)])
        label_counts = _joined([each.label_counts for each in envelopes])
        self._label_starts = np.concatenate([[0], np.cumsum(label_counts)])
        self._label_numbers = _joined([each.label_numbers for each in envelopes])
        self._samples_of = Descriptors(at_random=True)
        self._frames_of = Descriptors(at_random=True)

    def __len__(self) -> int:
        return len(self._file)

    def class_numbers(self, record: int) -> np.ndarray:
        """The class numbers of a record, int64 [n]."""
        return self._label_numbers[self._label_starts[record] : self._label_starts[record + 1]]

    def energies(self, records: np.ndarray, first: np.ndarray, count: int) -> np.ndarray:
        """Reads the energies of some frames.

        Args:
          records: int64 [n], of which records.
          first: int64 [n], the first frame of each, from 0 on.
          count: frames of each.

        Returns:
          float64 [n, count, rows], 0 where a record has ended.

        Raises:
          SepconError: the energies are damaged.
        """
        width = frame_words(self.rows)
        stored = num_frames(self.lengths[records])
        words = np.zeros((len(records), count, width), np.uint32)
        counts = np.clip(stored - first, 0, count)
        energies = np.zeros((len(records), count, self.rows))
        for number, (record, start, frames) in enumerate(
            zip(records.tolist(), first.tolist(), counts.tolist(), strict=True)
        ):
            if frames:
                place = int(self._frame_offsets[record]) + WORD_BYTES * width * start
                size = WORD_BYTES * width * frames
                data = self._read(self._frames_of, self._envelope_of(record), size, place)
                words[number, :frames] = np.frombuffer(data, "<u4").reshape(frames, width)
        for frames in np.unique(counts[counts > 0]).tolist():  # nearly always one
            rows = np.flatnonzero(counts == frames)
            try:
                energies[rows, :frames] = energies_of(words[rows, :frames], first[rows])
            except ValueError as error:
                raise self._bad_envelope(int(records[rows[error.args[0]]])) from None
        return energies

    def cut(
        self, out: np.ndarray, records: np.ndarray, rows: np.ndarray, first: np.ndarray
    ) -> None:
        """Reads a stretch of each of some rows.

        Args:
          out: int16 [n, samples] of zeros, receives them.
          records: int64 [n], of which records.
          rows: [n], which row of each; what is to stay as it is has -1.
          first: int64 [n], the frame that each begins with.

        Raises:
          SepconError: the samples, or the checksums of them, are damaged.
        """
        wanted = np.flatnonzero((rows >= 0) & (HOP_SAMPLES * first < self.lengths[records]))
        records, rows, first = records[wanted], rows[wanted].astype(np.int64), first[wanted]
        starts, lengths = HOP_SAMPLES * first, self.lengths[records]
        # To the end of a frame, where there is a checksum: less than a frame more than is wanted.
        last = np.minimum(num_frames(starts + out.shape[1]), num_frames(lengths))
        counts = np.minimum(HOP_SAMPLES * last, lengths) - starts
        offsets = self._offsets[records] + SAMPLE_BYTES * (rows * lengths + starts)
        found = np.fromiter(
            (
                self._stretch(out[number], record, offset, count)
                for number, record, offset, count in zip(
                    wanted.tolist(),
                    records.tolist(),
                    offsets.tolist(),
                    counts.tolist(),
                    strict=True,
                )
            ),
            np.uint32,
            len(wanted),
        )
        before = self._checksums(records, rows, first)
        after = self._checksums(records, rows, last)
        for count in np.unique(counts).tolist():  # nearly always one
            these = counts == count
            expected = checksums_between(before[these], after[these], SAMPLE_BYTES * count)
            if (bad := expected != found[these]).any():
                raise self._bad_samples(int(records[these][np.argmax(bad)]))

    def _stretch(self, out: np.ndarray, record: int, offset: int, count: int) -> int:
        """Reads `count` samples, of which `out` takes those it has room for; their checksum."""
        path = self._paths[self._file[record]]
        data = self._read(self._samples_of, path, SAMPLE_BYTES * count, offset)
        taken = np.frombuffer(data, "<i2", min(count, len(out)))
        out[: len(taken)] = taken
        return checksum(data)

    def _checksums(self, records: np.ndarray, rows: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """The checksums of all samples of a row before a frame, uint32 [n]."""
        words = frames * frame_words(self.rows) + self.rows + rows
        places = self._frame_offsets[records] + WORD_BYTES * words
        data = [
            self._read(self._frames_of, self._envelope_of(record), WORD_BYTES, place)
            for record, place in zip(records.tolist(), places.tolist(), strict=True)
        ]
        return np.frombuffer(b"".join(data), "<u4")

    def _read(self, descriptors: Descriptors, path: str, size: int, offset: int) -> bytes:
        try:
            data = os.pread(descriptors[path], size, offset)
        except OSError as error:
            raise SepconError(f"{path}: cannot be read ({error.strerror}); {self._cure}") from error
        if len(data) != size:
            raise SepconError(f"{path}: shrank while it was read; {self._cure}")
        return data

    def _envelope_of(self, record: int) -> str:
        return self._envelope_paths[self._file[record]]

    def _bad_envelope(self, record: int) -> SepconError:
        path = self._envelope_of(record)
        return SepconError(
            f"{path}: what it says of record {self._number(record)} is damaged; delete it, the "
            "next command makes it anew"
        )

    def _bad_samples(self, record: int) -> SepconError:
        path = self._paths[self._file[record]]
        return SepconError(
            f"{path}: record {self._number(record)} is damaged or not the one that "
            f"{os.path.basename(self._envelope_of(record))} was made of; if it was written anew, "
            f"delete that, else {self._cure}"
        )

    def _number(self, record: int) -> int:
        """The number of a record in its file."""
        return record - int(self._first[self._file[record]])


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *parts])
