"""The command line: help, errors in one line, and what goes into the run folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sepcon import cli
from sepcon.verbs.registry import VERBS

PREPARE = ["prepare", "--gin_file=runs/prepare.gin", "--gin_file=data/builtin_scenes.gin"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_names_every_verb(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"  {verb} " in out for verb in cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_of_a_verb_says_what_it_does_with_an_example(verb, capsys):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert f"example:\n  sepcon {verb} " in out
    if (Path(cli.gin_folders()[0]) / "runs" / f"{verb}.gin").is_file() and verb != "classify":
        assert f"sepcon {verb} --gin_file=runs/{verb}.gin" in out
    assert "--run_dir" in out


def test_without_a_word_the_help_is_shown_and_the_code_is_2(capsys):
    code, out, _ = run(capsys)
    assert (code, "usage:" in out) == (2, True)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["pretain"], "unknown verb 'pretain'; expected one of import, prepare, train_separator"),
        (["pretrain", "--gin_fil=x"], "Unknown command line flag 'gin_fil'"),
        (["pretrain"], "--run_dir is missing"),
        (["pretrain", "x", "--run_dir=r"], "pretrain takes no arguments beside flags, got ['x']"),
        (["pretrain", "--run_dir=r", "--num_threads=two"], "num_threads"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(words, expected, capsys):
    code, _, err = run(capsys, *words)
    assert code == 2
    assert err.startswith("sepcon: error: ")
    assert expected in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words, expected",
    [
        (
            ["--gin_file=runs/prepre.gin"],
            "runs/prepre.gin: no such gin file in the current folder, ",
        ),
        (["--gin_bindings=prepare.clps=()"], "doesn't have a parameter named 'clps'"),
        (["--gin_bindings=prepair.clips=()"], "No configurable matching 'prepair'"),
        (["--gin_bindings=prepare.clips=("], "configuration: "),
        (["--gin_file=runs/prepare.gin"], "required value missing: TEST_CLIPS, TRAIN_CLIPS"),
        (["--gin_file=data/esc50_scenes.gin"], "required value missing: ESC50_DIR"),
        ([], "missing 1 required keyword-only argument: 'clips'"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line_and_nothing_is_made(
    words, expected, capsys, tmp_path
):
    code, _, err = run(capsys, "prepare", f"--run_dir={tmp_path / 'run'}", *words)
    assert code == 1
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "binding, expected",
    [
        ("pretrain/cosine.warmup_steps=2", "of cosine: total_steps must exceed warmup_steps=2"),
        (
            "SimilarityAndCoincidence.temperature=-1.0",
            "of SimilarityAndCoincidence: temperature must be above 0, got -1.0",
        ),
        (
            "SpecAugment.max_time_frames=-1",
            "of SpecAugment: the width of masks must not be negative",
        ),
    ],
)
def test_a_value_that_is_refused_is_told_in_one_line(binding, expected, capsys, tmp_path):
    files = ["runs/pretrain.gin", "data/builtin_scenes.gin", "tiny.gin"]
    words = [f"--gin_file={file}" for file in files]
    words += [f"--gin_bindings=DATA_DIR='{tmp_path}'", f"--gin_bindings={binding}"]
    code, _, err = run(capsys, "pretrain", f"--run_dir={tmp_path / 'run'}", *words)
    assert code == 1
    assert f"sepcon: error: configuration {expected}" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_fault_of_the_code_keeps_its_traceback(monkeypatch, tmp_path):
    monkeypatch.setitem(cli._registered, VERBS["prepare"].function, lambda **_: int("a fault"))
    with pytest.raises(ValueError, match="a fault"):
        cli.main(["prepare", f"--run_dir={tmp_path}"])


def test_a_folder_named_like_a_gin_folder_does_no_harm(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "prepare", "--gin_file=data/esc50_scenes.gin", "--run_dir=r")
    assert (code, "ESC50_DIR" in err) == (1, True)


def test_a_file_of_the_user_comes_before_one_of_the_project(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "prepare.gin").write_text("prepare.clips = %MINE\n")
    monkeypatch.chdir(tmp_path)
    _, _, err = run(capsys, "prepare", "--gin_file=runs/prepare.gin", "--run_dir=r")
    assert "required value missing: MINE" in err


def test_the_resolved_configuration_is_kept_and_unused_bindings_are_told(tmp_path, capsys):
    words = [
        *PREPARE,
        "--gin_file=tiny.gin",
        f"--gin_bindings=DATA_DIR='{tmp_path / 'data'}'",
        "--gin_bindings=vggish.embedding_size=7",
        f"--run_dir={tmp_path / 'run'}",
    ]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert "16 clips of 2 s" in out
    assert "this run has no use for vggish.embedding_size" in err
    assert "NUM_TRAIN_SCENES = 16" in (tmp_path / "run" / "config.gin").read_text()
    code, _, err = run(capsys, *words)
    assert (code, "finished run; nothing to do" in err) == (0, True)


def test_it_runs_as_a_module_from_any_folder(tmp_path):
    output = subprocess.run(
        [sys.executable, "-m", "sepcon", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert output.stdout.strip()


def test_gin_files_are_found_in_the_checkout():
    assert (Path(cli.gin_folders()[0]) / "runs" / "pretrain.gin").is_file()


def test_one_thread_is_one_of_numpy_too():
    code = (
        "import types; from sepcon import cli; "
        "cli._configure_process(types.SimpleNamespace(num_threads=1)); "
        "import numpy, threadpoolctl; "
        "print({each['num_threads'] for each in threadpoolctl.threadpool_info() "
        "if each['user_api'] == 'blas'})"
    )
    environment = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{1}"
