"""The list of what was evaluated, and of what was not there."""

import csv
import hashlib

import pytest

from sepcon.errors import SepconError
from sepcon.runs.evaluated_clips import write_evaluated_clips


def test_the_hash_is_that_of_the_file_whatever_the_order(tmp_path):
    found = write_evaluated_clips(tmp_path, ids=["b", "-a", "ü"], left_out=None)
    content = (tmp_path / "test_ids.txt").read_bytes()
    assert content.decode().splitlines() == ["-a", "b", "ü"]
    assert found == {
        "test_ids_sha256": hashlib.sha256(content).hexdigest(),
        "num_missing_test_clips": None,
    }
    assert write_evaluated_clips(tmp_path, ids=["ü", "b", "-a"], left_out=None) == found
    other = write_evaluated_clips(tmp_path, ids=["-a", "b"], left_out=None)
    assert other["test_ids_sha256"] != found["test_ids_sha256"]
    assert not (tmp_path / "missing_test_ids.csv").exists()


def test_what_is_missing_is_told_with_its_reason(tmp_path):
    left_out = {"z": "not downloaded", "c": 'cut off, "at" 3 s'}
    found = write_evaluated_clips(tmp_path, ids=["a"], left_out=left_out)
    assert found["num_missing_test_clips"] == 2
    with open(tmp_path / "missing_test_ids.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["reason"]) for row in rows] == sorted(left_out.items())
    assert write_evaluated_clips(tmp_path, ids=["a"], left_out={})["num_missing_test_clips"] == 0


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(SepconError, match="gone"):
        write_evaluated_clips(tmp_path / "gone", ids=["a"], left_out=None)
