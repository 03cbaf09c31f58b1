"""Samples read by place: against the arrays that were written, and after damage to any byte."""

import os
from pathlib import Path

import numpy as np
import pytest

from sepcon.data.example_bytes import serialize_example, write_record
from sepcon.data.stored.checksums import checksum, checksums_between, running_checksums
from sepcon.data.stored.clip_samples import ClipSamples
from sepcon.data.stored.envelope_file import RecordLayout, envelope_path
from sepcon.data.stored.frames import HOP_SAMPLES
from sepcon.data.stored.samples import StoredSamples
from sepcon.errors import SepconError

LAYOUT = RecordLayout("channels", rows=2, labels="classes")
LENGTHS = [[1000, 400, 1], [3 * HOP_SAMPLES]]


def write_file(path: Path, lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    """A file of records of noise, loud at most; returns the samples of each, [2, samples]."""
    rng = np.random.default_rng(seed)
    written = [rng.integers(-32768, 32767, (2, n), np.int16, endpoint=True) for n in lengths]
    with open(path, "wb") as file:
        for number, samples in enumerate(written):
            features = {
                "id": b"clip %d\0" % number,
                "classes": [number, 7],
                "channels": samples.tobytes(),
                "rest": b"behind",
            }
            write_record(file, serialize_example(features))
    return written


def opened(paths: list[Path]) -> StoredSamples:
    return StoredSamples([str(path) for path in paths], LAYOUT, cure="write it again")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [tmp_path / "a", tmp_path / "b"]


@pytest.fixture
def written(paths: list[Path]) -> list[np.ndarray]:
    files = [write_file(*each) for each in zip(paths, LENGTHS, [0, 1], strict=True)]
    return [samples for file in files for samples in file]


@pytest.mark.parametrize("length", [1, 399, 400, 500, 800, 1300])
def test_every_stretch_of_every_row_is_what_was_written(
    paths: list[Path], written: list[np.ndarray], length: int
) -> None:
    store = opened(paths)
    assert (len(store), store.rows, store.lengths.tolist()) == (4, 2, [1000, 400, 1, 1200])
    assert store.ids.tolist() == [b"clip 0\0", b"clip 1\0", b"clip 2\0", b"clip 0\0"]
    places = [(r, row, f) for r in range(4) for row in (-1, 0, 1) for f in range(5)]
    records, rows, first = (np.asarray(each) for each in zip(*places, strict=True))
    out = np.zeros((len(places), length), np.int16)
    store.cut(out, records, rows, first)
    for got, (record, row, start) in zip(out, places, strict=True):
        padded = np.zeros(HOP_SAMPLES * start + length, np.int16)
        if row >= 0:
            samples = written[record][row][: len(padded)]
            padded[: len(samples)] = samples
        np.testing.assert_array_equal(got, padded[HOP_SAMPLES * start :])


def test_energies_are_those_of_the_samples(paths: list[Path], written: list[np.ndarray]) -> None:
    store = opened(paths)
    records, first = np.repeat(np.arange(4), 5), np.tile(np.arange(5), 4)
    got = store.energies(records, first, 3)
    assert got.shape == (20, 3, 2)
    for energies, record, start in zip(got, records, first, strict=True):
        for row in range(2):
            padded = np.zeros(8 * HOP_SAMPLES)
            padded[: written[record].shape[1]] = written[record][row]
            framed = np.square(padded.reshape(8, HOP_SAMPLES)).sum(axis=1)
            np.testing.assert_allclose(energies[:, row], framed[start : start + 3], rtol=1e-7)
    np.testing.assert_array_equal(got, np.round(got))  # so that their sums are exact


def test_clips_know_ids_lengths_and_labels_without_being_read(
    paths: list[Path], written: list[np.ndarray]
) -> None:
    store = opened(paths)
    columns = np.asarray([2, 1, -1, -1, -1, -1, -1, 0])
    clips = ClipSamples(store, np.asarray([3, 0, 1, 2]), columns)
    positions = np.asarray([2, 0, 3])
    assert clips.ids(positions).tolist() == [b"clip 1\0", b"clip 0\0", b"clip 2\0"]
    assert clips.lengths(positions).tolist() == [400, 1200, 1]
    assert clips.labels(positions).tolist() == [[1, 1, 0], [1, 0, 1], [1, 0, 0]]
    part = clips.part(np.asarray([3, 0]))
    assert part.ids(np.asarray([0, 1])).tolist() == [b"clip 2\0", b"clip 0\0"]


def read_everything(store: StoredSamples, samples: list[np.ndarray]) -> None:
    """Stretches of two frames and all energies; what does not raise must be what was written."""
    for record, expected in enumerate(samples):
        padded = np.pad(expected, [[0, 0], [0, 2 * HOP_SAMPLES]])
        for start in range(-(-expected.shape[1] // HOP_SAMPLES)):
            out = np.zeros((2, 2 * HOP_SAMPLES), np.int16)
            place = np.full(2, start)
            store.cut(out, np.full(2, record), np.arange(2), place)
            begin = HOP_SAMPLES * start
            np.testing.assert_array_equal(out, padded[:, begin : begin + out.shape[1]])
            energy = store.energies(np.asarray([record]), place[:1], 1)[0, 0]
            frame = padded[:, begin : begin + HOP_SAMPLES].astype(np.float64)
            np.testing.assert_allclose(energy, np.square(frame).sum(axis=1), rtol=1e-7)


def error_of_reading(path: Path, samples: list[np.ndarray]) -> str | None:
    try:
        read_everything(opened([path]), samples)
    except SepconError as error:
        return str(error)
    return None


@pytest.mark.parametrize("which", ["records", "envelope"])
def test_no_byte_that_is_read_changes_unnoticed(tmp_path: Path, which: str) -> None:
    """Of a place it is told, or nothing that is read depends on it."""
    path = tmp_path / "a"
    samples = write_file(path, [900])
    opened([path])  # writes the envelope
    changed = path if which == "records" else envelope_path(path)
    content = changed.read_bytes()
    told = 0
    step = 29 if which == "records" else 9
    for offset in range(0, len(content), step):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << offset % 8
        changed.write_bytes(damaged)
        error = error_of_reading(path, samples)
        if error is not None:
            assert str(path) in error
            assert "delete" in error or "write it again" in error
            told += 1
    assert told > 0.4 * len(content) / step
    changed.write_bytes(content)
    read_everything(opened([path]), samples)


def test_an_envelope_of_another_file_and_a_cut_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    samples = write_file(path, [900])
    opened([path])
    write_file(path, [900], seed=1)  # as long, other samples
    with pytest.raises(
        SepconError, match=r"a: record 0 is damaged or not the one that a\.envelope"
    ):
        read_everything(opened([path]), samples)
    write_file(path, [901])
    with pytest.raises(SepconError, match=r"a\.envelope\.npz: is not the envelope of a .*delete"):
        opened([path])
    envelope_path(path).unlink()
    store = opened([path])
    os.truncate(path, 100)
    with pytest.raises(SepconError, match="shrank while it was read"):
        read_everything(store, samples)


def test_records_of_another_layout_are_told(tmp_path: Path) -> None:
    write_file(tmp_path / "a", [900])
    with pytest.raises(SepconError, match="a: record 0: there is no feature 'audio'; write it"):
        StoredSamples([str(tmp_path / "a")], RecordLayout("audio"), cure="write it again")


def test_a_checksum_of_a_stretch_follows_from_those_around_it() -> None:
    data = np.random.default_rng(0).bytes(5000)
    running = np.fromiter(running_checksums(data, 800), np.uint32)
    assert running[-1] == checksum(data)
    for frames in (1, 2, 5):
        before, after = running[: 7 - frames], running[frames:7]
        expected = [checksum(data[800 * k : 800 * (k + frames)]) for k in range(7 - frames)]
        assert checksums_between(before, after, 800 * frames).tolist() == expected
