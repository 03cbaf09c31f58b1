"""The command line: help, errors in one line, and what goes into the run folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sepcon import cli
from sepcon.cli.gin_files import project_folder
from sepcon.verbs.registry import VERBS

PREPARE = ["prepare", "--gin_file=data/builtin_scenes.gin"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_names_every_verb(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_says_what_it_does_with_an_example(verb, capsys):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert f"example:\n  sepcon {verb} " in out
    assert f"--gin_file=runs/{verb}.gin" not in out
    assert (project_folder() / "runs" / f"{verb}.gin").is_file() == (
        f"runs/{verb}.gin is read first" in out
    )
    assert "--run_dir" in out


def test_without_a_word_the_help_is_shown_and_the_code_is_2(capsys):
    code, out, _ = run(capsys)
    assert (code, "usage:" in out) == (2, True)


@pytest.mark.parametrize(
    "words, expected",
    [
        (
            ["pretain"],
            "unknown verb 'pretain', expected one of doctor, import, prepare, train_separator",
        ),
        (["pretain"], "did you mean pretrain?"),
        (
            ["pretrain", "--gin_fil=x"],
            "Unknown command line flag 'gin_fil'. Did you mean: gin_file",
        ),
        (["embed", "--strategy=tpu", "--run_dir=r"], "Unknown command line flag 'strategy'"),
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
        (["--gin_file=data/builtin.gin"], "did you mean data/builtin_scenes.gin?"),
        (["--gin_file=builtin_scenes.gin"], "did you mean data/builtin_scenes.gin?"),
        (["--gin_bindings=prepare.clps=()"], "prepare has no parameter clps; did you mean clips?"),
        (["--gin_bindings=prepair.clips=()"], "of the name prepair; did you mean prepare?"),
        (["--gin_bindings=ENCODER=@resnet"], "of the name @resnet; did you mean @resnet50?"),
        (["--gin_bindings=ENCODER=resnet50"], "write --gin_bindings='ENCODER=@resnet50'"),
        (["--gin_bindings=prepare.clips=("], "it ends within brackets or quotes"),
        (["--gin_bindings=prepare.clips"], "expected NAME=VALUE"),
        (["--gin_bindings=DATA_DIR=/data"], "--gin_bindings='DATA_DIR=\"/data\"'"),
        (["--gin_bindings=DATA_DIR=here"], "--gin_bindings='DATA_DIR=\"here\"'"),
        (["--gin_bindings=DATA_DIRR=1"], "nothing reads DATA_DIRR; did you mean DATA_DIR?"),
        (
            ["--gin_bindings=tran/sound_scenes.split='a'"],
            "the scope tran of tran/sound_scenes.split",
        ),
        (["--gin_bindings=pretrain/fit.num_steps=3"], "it is given by what calls fit"),
        (["--gin_file=data/esc50_scenes.gin"], "required value missing: ESC50_DIR"),
        (["--no_defaults"], "prepare.clips has no value; bind it"),
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
    files = ["data/builtin_scenes.gin", "tiny.gin"]
    words = [f"--gin_file={file}" for file in files]
    words += [f"--gin_bindings=DATA_DIR='{tmp_path}'", f"--gin_bindings={binding}"]
    code, _, err = run(capsys, "pretrain", f"--run_dir={tmp_path / 'run'}", *words)
    assert code == 1
    assert f"sepcon: error: configuration {expected}" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_missing_data_are_told_with_the_files_that_give_them(tmp_path, capsys):
    code, _, err = run(capsys, "prepare", f"--run_dir={tmp_path / 'run'}")
    assert code == 1
    lines = err.splitlines()
    assert "missing: TEST_CLIPS, TRAIN_CLIPS, VALIDATION_CLIPS; add --gin_file=data/..." in lines[0]
    assert all(line.startswith("  data/") and line.endswith(".") for line in lines[1:])
    # AudioSet's file gives them by what it includes; a folder has no validation clips.
    names = {line.split()[0] for line in lines[1:]}
    assert {"data/builtin_scenes.gin", "data/audioset.gin"} <= names
    assert "data/folder.gin" not in names


def test_a_missing_model_is_told_with_both_ways_to_give_it(capsys):
    code, _, err = run(capsys, "benchmark", "--gin_file=data/builtin_scenes.gin", "--run_dir=r")
    assert code == 1
    assert "give it as --gin_bindings='MODEL=...'" in err
    assert "  embedders/yamnet.gin" in err


def test_mistakes_are_told_before_tensorflow_is_loaded():
    mistakes = [
        [
            "pretrain",
            "--run_dir=r",
            "--gin_file=data/builtin_scenes.gin",
            "--gin_bindings=STEPPS=3",
        ],
        ["pretrain", "--run_dir=r"],
        ["export", "--gin_bindings=MODEL=late", "--run_dir=r"],
        ["pretrain", "--help"],
        ["list"],
        ["pretrain", "--gin_file=data/builtin_scenes.gin", "--print_config"],
    ]
    code = (
        "import sys; from sepcon import cli\n"
        f"codes = [cli.main(words) for words in {mistakes}]\n"
        "print(codes, {'tensorflow', 'numpy', 'keras'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[1, 1, 1, 0, 0, 0] set()"


def seconds(*words: str) -> float:
    """Processor time of a command, the median of five."""
    code = (
        "import sys, time; from sepcon import cli; cli.main(sys.argv[1:]); "
        "print(time.process_time(), file=sys.stderr)"
    )
    times = []
    for _ in range(5):
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times.append(float(done.stderr.splitlines()[-1]))
    return sorted(times)[2]


def test_help_and_mistakes_take_no_time():
    # Measured at 0.1 and 0.2 s; the bounds leave room for slow machines.
    assert seconds("pretrain", "--help") < 0.5
    assert seconds("pretrain", "--run_dir=r", "--gin_bindings=STEPPS=3") < 1.0


def test_a_fault_of_the_code_keeps_its_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr("sepcon.verbs.prepare.prepare", lambda **_: int("a fault"))
    with pytest.raises(ValueError, match="a fault"):
        cli.main(["prepare", f"--run_dir={tmp_path}", "--gin_bindings=prepare.clips=()"])


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


def test_the_resolved_configuration_is_kept(tmp_path, capsys):
    words = [
        *PREPARE,
        "--gin_file=tiny.gin",
        f"--gin_bindings=DATA_DIR='{tmp_path / 'data'}'",
        f"--run_dir={tmp_path / 'run'}",
    ]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert "16 clips of 2 s" in out
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
        "import types; from sepcon.cli.command import _configure_process; "
        "_configure_process(types.SimpleNamespace(num_threads=1)); "
        "import numpy, threadpoolctl; "
        "print({each['num_threads'] for each in threadpoolctl.threadpool_info() "
        "if each['user_api'] == 'blas'})"
    )
    environment = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{1}"
