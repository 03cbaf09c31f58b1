"""Run folders: configuration kept, finished runs left alone, unwritable ones told."""

import json

import pytest

from sepcon.errors import SepconError, WriteError
from sepcon.runs import run_folder
from sepcon.runs.revision import running_revision


def test_a_finished_run_says_so(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    run_folder.finish(tmp_path / "run", {"steps": 3})
    run_folder.tell_finished(tmp_path / "run")
    assert "finished run; nothing to do" in capsys.readouterr().err
    record = run_folder.read_record(tmp_path / "run")
    assert record == {"steps": 3, "commit": str(running_revision())}


def test_an_earlier_configuration_is_kept(tmp_path):
    assert run_folder.configuration(tmp_path) == ""
    run_folder.write_configuration(tmp_path, "# x\na = 1\nb = 2\n")
    run_folder.write_configuration(tmp_path, "# y\na = 1\nb = 3\n")
    assert run_folder.configuration(tmp_path) == "# y\na = 1\nb = 3\n"
    assert (tmp_path / "config.0.gin").read_text() == "# x\na = 1\nb = 2\n"
    run_folder.write_configuration(tmp_path, "# z\na = 1\nb = 3\n")
    assert len(list(tmp_path.iterdir())) == 2


def test_the_description_of_a_model_is_never_replaced(tmp_path):
    path = tmp_path / "run" / "model.json"
    run_folder.write_model_file(path, '{"name": "conv2d_1", "size": 3}')
    run_folder.write_model_file(path, '{"name": "conv2d_12", "size": 3}')
    with pytest.raises(SepconError, match="another architecture"):
        run_folder.write_model_file(path, '{"name": "conv2d_1", "size": 4}')
    assert path.read_text() == '{"name": "conv2d_1", "size": 3}'


def test_a_folder_that_cannot_be_made_is_an_error_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SepconError, match=r"file.run: cannot be written .*take another --run_dir"
    ) as error:
        run_folder.write_configuration(tmp_path / "file" / "run", "")
    assert "\n" not in str(error.value)


def test_an_unfinished_run_has_no_record(tmp_path):
    with pytest.raises(SepconError, match="holds no finished run"):
        run_folder.read_record(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    run_folder.write_text(tmp_path / "f", "old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(WriteError, match="full"):
        run_folder.write_text(tmp_path / "f", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"


TRAINING = {"step": 7, "seconds": 1.5, "metrics": {}}


def test_a_training_that_is_over_is_no_finished_run(tmp_path):
    assert run_folder.training_record(tmp_path) is None
    run_folder.note_training(tmp_path, TRAINING)
    assert not run_folder.is_finished(tmp_path)
    assert run_folder.training_record(tmp_path) == TRAINING
    with pytest.raises(SepconError, match="holds no finished run"):
        run_folder.read_record(tmp_path)
    run_folder.finish(tmp_path, {"steps": 7})
    assert run_folder.is_finished(tmp_path)
    assert run_folder.training_record(tmp_path) == TRAINING
    assert run_folder.read_record(tmp_path).keys() == {"steps", "commit"}


def test_runs_of_earlier_versions_count_as_finished(tmp_path):
    (tmp_path / "done.json").write_text(json.dumps(TRAINING))
    assert run_folder.training_record(tmp_path) == TRAINING
    assert not run_folder.is_finished(tmp_path)
    (tmp_path / "run.json").write_text('{"steps": 7}')
    assert run_folder.is_finished(tmp_path)
    assert run_folder.read_record(tmp_path) == {"steps": 7}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff{}", b"[" * 100_000])
def test_a_damaged_record_is_one_line_that_names_it(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    for read in (run_folder.is_finished, run_folder.read_record, run_folder.training_record):
        with pytest.raises(SepconError, match=r"run.json: is damaged .*remove it") as error:
            read(tmp_path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("training", ["{}", "1", '{"step": 7}', "[]"])
def test_a_training_that_is_not_what_it_must_be_is_damage_too(tmp_path, training):
    (tmp_path / "run.json").write_text(f'{{"finished": false, "training": {training}}}')
    with pytest.raises(SepconError, match=r"run.json: is damaged"):
        run_folder.training_record(tmp_path)
