"""`--dry_run` checks what can be checked of a run, and leaves nothing behind."""

from pathlib import Path

import pytest

from sepcon import cli


def dry(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, str], str]:
    """Exit code, the rows of the table, and what was said on standard error."""
    code = cli.main([*words, "--dry_run"])
    captured = capsys.readouterr()
    rows = [line.split("  ", 1) for line in captured.out.splitlines()]
    return code, {name.strip(): text.strip() for name, text in rows}, captured.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dry")


@pytest.fixture(scope="module")
def common(folder: Path) -> list[str]:
    files = ["--gin_file=data/builtin_scenes.gin", "--gin_file=tiny.gin"]
    return [*files, f"--gin_bindings=DATA_DIR='{folder / 'data'}'", f"--run_dir={folder / 'run'}"]


@pytest.fixture(scope="module")
def prepared(folder: Path, common: list[str]) -> Path:
    assert cli.main(["prepare", *common[:3], f"--run_dir={folder / 'prepare'}"]) == 0
    return folder


@pytest.mark.parametrize("verb", ["prepare", "pretrain", "train_separator", "control_channels"])
def test_data_that_are_not_prepared_are_named_and_left_alone(verb, folder, common, capsys):
    kind = ["--gin_bindings=KIND='true_sources'"] if verb == "control_channels" else []
    words = [common[0], common[1], f"--gin_bindings=DATA_DIR='{folder / 'none'}'", common[3]]
    code, rows, _ = dry(capsys, verb, *words, *kind)
    assert code == 0
    assert "is not prepared: the run does it first, in" in rows["data"]
    assert str(folder / "none") in rows["data"]
    assert not (folder / "none").exists()
    assert not (folder / "run").exists()


def test_a_training_is_described_and_not_begun(prepared, common, capsys):
    code, rows, _ = dry(capsys, "train_separator", *common)
    assert code == 0
    assert rows["run folder"] == f"{prepared / 'run'} would be made"
    assert rows["steps"] == "2 of 4 examples, 0.5 passes over 16 examples"
    assert rows["batch: audio"] == "(4, 32000) int16"
    assert rows["memory of a step"].startswith("about ")
    assert "for checkpoints and states" in rows["disk"]
    assert not (prepared / "run").exists()


def test_what_a_training_would_refuse_is_told(prepared, common, capsys):
    views = "--gin_file=views/mixture_channel.gin"
    code, rows, err = dry(capsys, "pretrain", *common, views)
    assert (code, rows) == (1, {})
    assert "views of mixture-channel need separated channels" in err
    wrong = "--gin_bindings=pretrain/fit.checkpoint_every_steps=0"
    code, _, err = dry(capsys, "pretrain", *common, wrong)
    assert code == 1
    assert "checkpoint_every_steps: got 0" in err


def test_models_are_opened_and_clips_read(prepared, common, capsys):
    code, rows, _ = dry(capsys, "prepare", *common)
    assert code == 0
    assert rows["clips"].endswith("/test: 8 clips of 2 s at 16000 Hz, 18 classes")
    nowhere = f"--gin_bindings=MODEL='{prepared}/nowhere'"
    for verb in ("embed", "export", "benchmark"):
        words = common[3:] if verb == "export" else common
        code, _, err = dry(capsys, verb, *words, nowhere)
        assert code == 1
        assert f"{prepared}/nowhere" in err
    code, _, err = dry(capsys, "separate", *common, "--gin_bindings=SEPARATOR='nowhere'")
    assert code == 1
    assert "nowhere holds no separator" in err


STUDY = ["--gin_file=quickstart/study.gin", "--gin_file=data/builtin_scenes.gin"]


def test_a_study_is_checked_to_the_last_row_and_not_begun(tmp_path, capsys):
    words = [*STUDY, f"--run_dir={tmp_path / 'run'}", "--gin_bindings=PretrainingPlan.seeds=(0, 1)"]
    code, rows, _ = dry(capsys, "study", *words)
    assert code == 0
    assert rows["rows"].startswith("4, ")
    assert rows["row 2"] == "mixture-channel, trained separator"
    assert rows["compared with"] == "mixture-mixture"
    # prepare, train_separator, channel_cost, separate; 4 rows and 2 seeds of pretrain and
    # benchmark, and a benchmark of the baselines for each seed.
    assert rows["commands"] == f"{4 + 4 * 2 * 2 + 2}, 0 of them finished"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "binding, message",
    [
        ("study.baseline='mixture-mixtur'", "study.baseline is 'mixture-mixtur', expected"),
        ("study.only='mixture-mixtur'", "study.only names 'mixture-mixtur', which is none"),
        ("study.against={'mixture-channel*': 'mixture-mixtur'}", "is 'mixture-mixtur', expected"),
        ("study.figures={'pairs': 'mixture-mixtur'}", "names 'mixture-mixtur', which is none"),
    ],
)
def test_a_wrong_name_in_a_study_is_told_with_the_nearest(binding, message, tmp_path, capsys):
    words = [*STUDY, f"--run_dir={tmp_path / 'run'}", f"--gin_bindings={binding}"]
    for dry_run in (["--dry_run"], []):
        assert cli.main(["study", *words, *dry_run]) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.endswith("did you mean mixture-mixture?\n")
    # The folder of a study that never began is not left behind.
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "entries, message",
    [
        ("'views/mixture_mixtur.gin'", "row 'a': views/mixture_mixtur.gin: no such gin file"),
        ("'BATCH_SIZ=8'", "row 'a': configuration: command line: nothing reads BATCH_SIZ"),
    ],
)
def test_a_row_that_its_command_would_refuse_is_told(entries, message, tmp_path, capsys):
    rows = f"--gin_bindings=study.rows={{'mixture-mixture': (), 'a': ({entries},)}}"
    code, _, err = dry(capsys, "study", *STUDY, rows, f"--run_dir={tmp_path / 'run'}")
    assert code == 1
    assert message in err


def test_the_state_of_the_run_folder_is_told(prepared, common, capsys):
    words = [*common[:3], f"--run_dir={prepared / 'prepare'}"]
    assert "holds a finished run" in dry(capsys, "prepare", *words)[1]["run folder"]
    (prepared / "begun").mkdir()
    (prepared / "begun" / "config.gin").write_text("")
    words = [*common[:3], f"--run_dir={prepared / 'begun'}"]
    assert "an unfinished run, which would go on" in dry(capsys, "prepare", *words)[1]["run folder"]


def test_a_disk_that_is_too_small_is_told(prepared, common, capsys, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("sepcon.verbs.dry_run.shutil.disk_usage", lambda _: usage)
    code, _, err = dry(capsys, "train_separator", *common)
    assert code == 1
    assert "are needed there and 0.0 MB are free; make room" in err
