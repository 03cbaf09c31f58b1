"""`sepcon list` names what there is, and `--print_config` where values come from."""

import re

import pytest

from sepcon import cli
from sepcon.cli.configuration import read_configuration
from sepcon.cli.gin_files import project_files
from sepcon.cli.signatures import read_source
from sepcon.models.packaged import packaged_names
from sepcon.verbs.registry import VERBS


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(words) == 0
    return capsys.readouterr().out


def test_everything_is_listed_with_a_sentence(capsys):
    out = shown(capsys, "list")
    rows = re.findall(r"^  (\S+) +(\S.*)$", out, flags=re.MULTILINE)
    names = [name for name, _ in rows]
    assert len(names) == len(set(names))
    files = {file.name for file in project_files()}
    assert set(names) == {*VERBS, *files, *packaged_names()}


@pytest.mark.parametrize(
    "kind, name",
    [
        ("data", "data/esc50_scenes.gin"),
        ("encoders", "models/encoder_resnet50.gin"),
        ("studies", "papers/fonseca2021/claims.gin"),
        ("verbs", "train_separator"),
    ],
)
def test_one_kind_is_listed_alone(kind, name, capsys):
    out = shown(capsys, "list", kind)
    assert out.startswith(f"{kind}:\n")
    assert f"  {name} " in out
    assert "\n\n" not in out


def test_every_file_with_rows_is_listed_as_a_study_unless_others_include_it(capsys):
    out = shown(capsys, "list", "studies")
    studies = set(re.findall(r"^  (\S+)", out, flags=re.MULTILINE))
    files = {file.name: file for file in project_files()}
    with_rows = {
        name for name, file in files.items() if {"study.rows", "study.grid"} & {*file.bound}
    }
    included = {part for file in files.values() for part in file.includes}
    assert with_rows - studies <= included
    # Others get their rows from what they include.
    assert all(name in with_rows or files[name].includes for name in studies)
    assert {"quickstart/builtin.gin", "papers/soundclr2021/esc10.gin"} <= studies
    assert "quickstart/study.gin" not in studies


def test_a_wrong_kind_is_told(capsys):
    assert cli.main(["list", "encoder"]) == 1
    assert "did you mean encoders?" in capsys.readouterr().err


def test_the_configuration_is_shown_with_the_place_of_each_value(capsys, tmp_path):
    (tmp_path / "mine.gin").write_text("\nBATCH_SIZE = 3\n")
    words = ["--gin_file=data/builtin_scenes.gin", f"--gin_file={tmp_path}/mine.gin"]
    words += ["--gin_bindings=STEPS=7", "--strategy=mirrored", "--print_config"]
    out = shown(capsys, "pretrain", *words)
    lines = {line.split(" = ")[0]: line for line in out.splitlines()}
    assert re.fullmatch(r"STEPS = 7 +# command line", lines["STEPS"])
    assert re.fullmatch(rf"BATCH_SIZE = 3 +# {tmp_path}/mine\.gin:2", lines["BATCH_SIZE"])
    assert re.search(r"# runs/pretrain\.gin:\d+$", lines["SimilarityAndCoincidence.temperature"])
    assert re.fullmatch(
        r"# pretrain\.strategy = 'mirrored' +# --strategy", lines["# pretrain.strategy"]
    )
    parameter = read_source(VERBS["pretrain"].function).parameters["recalibration_batches"]
    assert re.fullmatch(
        rf"# pretrain\.recalibration_batches = {parameter.default} +"
        rf"# default, sepcon/verbs/pretrain\.py:{parameter.line}",
        lines["# pretrain.recalibration_batches"],
    )
    unread = out.partition("not read by this run.")[2]
    assert "# scene_clips.clips = 'synthetic'" in unread
    assert "sound_scenes.clips = 'synthetic'" not in unread.replace("scene_clips", "")


def test_what_is_shown_is_a_gin_file_of_what_the_run_reads(capsys, tmp_path):
    words = ["--gin_file=data/builtin_scenes.gin", "--gin_file=tiny.gin", "--print_config"]
    (tmp_path / "shown.gin").write_text(shown(capsys, "pretrain", *words))
    before = read_configuration("pretrain", ["data/builtin_scenes.gin", "tiny.gin"], [])
    after = read_configuration("pretrain", [str(tmp_path / "shown.gin")], [], defaults=False)
    assert after.values
    for key, value in after.values.items():
        assert repr(before.values[key]) == repr(value)


def test_no_default_is_shown_of_what_is_bound_outside_its_scope(capsys):
    out = shown(capsys, "pretrain", "--gin_file=data/builtin_scenes.gin", "--print_config")
    assert "\nSceneRecipe.num_train = " in out
    assert "SceneRecipe.num_train = 3000" not in out
    assert "# train/SceneRecipe.max_sources = 4 " in out


def test_what_is_missing_is_shown_in_place_of_an_error(capsys):
    assert "# Required, and not given: TRAIN_CLIPS" in shown(capsys, "pretrain", "--print_config")
