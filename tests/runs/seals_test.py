"""What was written is what is read: whole files, large ones by blocks and size."""

import numpy as np
import pytest

from sepcon.errors import SepconError
from sepcon.runs import run_folder
from sepcon.runs.seals import SEALS_FILE, changed_files, check_seals, write_seals

SMALL = b"id,label\n1,dog\n2,cat\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "table.csv").write_bytes(SMALL)
    (tmp_path / "shard").write_bytes(np.random.default_rng(0).bytes(5 << 20))
    write_seals(tmp_path, ["table.csv", "shard"])
    check_seals(tmp_path, cure="import again")
    return tmp_path


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SMALL.replace(b"1,dog\n", b""),
        SMALL + b"3,cow\n",
        b"id,label\n2,cat\n1,dog\n",
        SMALL.replace(b"dog", b"dig"),
    ],
)
def test_an_edited_table_is_told(folder, data):
    (folder / "table.csv").write_bytes(data)
    with pytest.raises(SepconError, match=r"table.csv: is not what was written .*; import again"):
        check_seals(folder, cure="import again")


def test_an_exchanged_or_cut_shard_is_told(folder):
    good = (folder / "shard").read_bytes()
    other = np.random.default_rng(1).bytes(len(good))
    for data in (other, good[:-1], good + b"x", good[:100] + other[:4096] + good[4196:]):
        (folder / "shard").write_bytes(data)
        with pytest.raises(SepconError, match=r"shard: is not what was written"):
            check_seals(folder, cure="import again")


def test_a_file_that_is_gone_or_a_folder_is_told(folder):
    (folder / "shard").unlink()
    with pytest.raises(SepconError, match=r"shard: cannot be read \(No such file"):
        check_seals(folder, cure="import again")
    (folder / "shard").mkdir()
    with pytest.raises(SepconError, match=r"shard: cannot be read \(Is a directory"):
        check_seals(folder, cure="import again")


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"../x": "1"}}'])
def test_damaged_seals_are_told_themselves(folder, text):
    (folder / SEALS_FILE).write_text(text)
    with pytest.raises(SepconError, match=rf"{SEALS_FILE}"):
        check_seals(folder, cure="import again")


def test_a_finished_run_that_has_lost_its_seals_is_not_taken_for_an_old_one(folder):
    run_folder.finish(folder, {})
    check_seals(folder, cure="import again")
    (folder / SEALS_FILE).unlink()
    with pytest.raises(SepconError, match=rf"{SEALS_FILE}: is missing, .*; import again"):
        check_seals(folder, cure="import again")


def test_a_finished_run_without_seals_says_nothing_of_them(tmp_path):
    run_folder.finish(tmp_path, {})
    check_seals(tmp_path, cure="import again")
    assert "sealed" not in run_folder.read_record(tmp_path)


def test_folders_without_seals_are_those_of_earlier_versions(folder):
    (folder / SEALS_FILE).unlink()
    (folder / "shard").unlink()
    check_seals(folder, cure="import again")


def test_who_can_mend_them_is_told_which_files_have_changed(folder):
    assert changed_files(folder, cure="import again") == set()
    (folder / "shard").write_bytes(b"")
    (folder / "table.csv").unlink()
    assert changed_files(folder, cure="import again") == {"shard", "table.csv"}
