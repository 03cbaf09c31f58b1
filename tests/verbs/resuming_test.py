"""What may change between two starts of a run: the table, its document, and each row of it."""

import re
from pathlib import Path

import pytest

from sepcon.cli.signatures import read_source
from sepcon.errors import SepconError
from sepcon.runs import run_folder
from sepcon.runs.settings import Setting
from sepcon.verbs import resuming
from sepcon.verbs.registry import CONFIGURABLES, GIVEN_BY_CALLERS, VERBS
from sepcon.verbs.resuming import RULES, SETTINGS

DOCUMENT = Path(resuming.__file__).parents[1] / "runs" / "README.md"
OF_A_RUN = {"run_dir", "config_text", "launch"}
VERB_NAMES = {verb.function.partition(":")[2] for verb in VERBS.values()}
ROWS = [
    (name, rule, parameter)
    for name, by_rule in SETTINGS.items()
    for rule, parameters in by_rule.items()
    for parameter in parameters.split()
]


def test_rules_are_of_settings_that_there_are_and_what_has_none_is_refused():
    paths = [*(verb.function for verb in VERBS.values()), *CONFIGURABLES]
    settings = {
        (path.partition(":")[2], parameter)
        for path in paths
        for parameter in read_source(path).parameters
        if parameter not in {*GIVEN_BY_CALLERS.get(path, ()), *OF_A_RUN}
    }
    listed = [(name, parameter) for name, _, parameter in ROWS]
    assert sorted(listed) == sorted(set(listed)), "a setting stands in the table twice"
    assert set(listed) <= settings
    for name, parameter in settings - set(listed):
        assert resuming.rule_of(Setting(name, parameter)) == "refused"
    assert resuming.rule_of(Setting("a_function_of_a_user", "size")) == "refused"
    assert {rule for _, rule, _ in ROWS} <= set(RULES)


def test_the_table_of_the_document_is_that_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|(.*)\|$", DOCUMENT.read_text(), re.M)
    documented = {
        name: {
            rule: " ".join(cell.split())
            for rule, cell in zip(RULES, cells, strict=True)
            if cell.strip()
        }
        for name, *cells in rows
    }
    expected = {
        name: {rule: " ".join(each.split()) for rule, each in by_rule.items()}
        for name, by_rule in SETTINGS.items()
        if by_rule
    }
    assert documented == expected
    text = " ".join(DOCUMENT.read_text().split())
    assert all(f"**{rule}**: {words}" in text for rule, words in RULES.items())


def configuration(name: str, parameter: str, value: str) -> tuple[str, str]:
    """A verb, and a configuration of it that reads the setting."""
    verb = name if name in VERB_NAMES else "pretrain"
    way = "" if name == verb else f"pretrain.views = @{name}()\n"
    return verb, f"{way}{name}.{parameter} = {value}\n"


def start(folder: Path, text: str, verb: str, *, under_way: bool = True) -> bool:
    """What every verb does at its start."""
    if not resuming.begin(verb, folder, config_text=text, under_way=under_way):
        return False
    resuming.keep_configuration(verb, folder, text, under_way=under_way)
    return True


def refused(folder: Path, text: str, verb: str, **arguments: bool) -> str:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    try:
        start(folder, text, verb, **arguments)
    except SepconError as error:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        return str(error)
    return ""


@pytest.mark.parametrize(("name", "rule", "parameter"), ROWS, ids=lambda value: value)
def test_each_setting_is_treated_by_its_rule(tmp_path, capsys, name, rule, parameter):
    verb, before = configuration(name, parameter, "'before'")
    _, now = configuration(name, parameter, "'now'")
    folder = tmp_path / "run"
    assert start(folder, before, verb)
    assert refused(folder, before, verb) == ""
    capsys.readouterr()
    line = refused(folder, now, verb)
    told = f"{name}.{parameter} 'before', now 'now'"
    assert (told in line) == (rule == "refused")
    assert (told in capsys.readouterr().err) == (rule in ("noted", "compared"))
    start(folder, before, verb)
    run_folder.finish(folder, {})
    line = refused(folder, now, verb)
    assert (told in line and "finished run" in line) == (rule != "free")
    capsys.readouterr()
    assert not start(folder, before, verb)
    assert "nothing to do" in capsys.readouterr().err


def of_study(root: Path) -> str:
    """What a row of a study reads: a path inside, one beside it, and one elsewhere."""
    return (
        "pretrain.views = @LogMelViews()\n"
        f"LogMelViews.separators = ['{root}/separators/a', \"{root}/separators/b\"]\n"
        "pretrain.examples = @ClipExamples()\n"
        f"ClipExamples.channels = ('{root}/channels', '/elsewhere/channels')\n"
    )


@pytest.mark.parametrize("finished", [False, True])
def test_a_study_that_was_moved_goes_on_where_it_is(tmp_path, capsys, finished):
    old, new = tmp_path / "old" / "study", tmp_path / "new" / "renamed"
    assert start(old, "study.only = ()\n", "study")
    assert start(old / "rows" / "a", of_study(old), "pretrain")
    if finished:
        run_folder.finish(old / "rows" / "a", {})
    new.parent.mkdir()
    old.rename(new)
    capsys.readouterr()
    row = new / "rows" / "a"
    assert start(row, of_study(new), "pretrain") != finished
    assert "other settings" not in capsys.readouterr().err
    # What lies elsewhere has not moved with it.
    other = of_study(new).replace("/elsewhere", "/anywhere")
    assert ("ClipExamples.channels" in refused(row, other, "pretrain")) == finished
    other = of_study(new).replace("separators/b", "separators/c")
    assert "LogMelViews.separators" in refused(row, other, "pretrain")


def test_a_path_that_is_still_there_is_another_one_than_that_in_the_study(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    assert start(new, "study.only = ()\n", "study")
    assert start(new / "a", of_study(old), "pretrain")
    for name in ("a", "b"):
        (old / "separators" / name).mkdir(parents=True)
        (new / "separators" / name).mkdir(parents=True)
    assert "LogMelViews.separators" in refused(new / "a", of_study(new), "pretrain")
    # A link from the old place to the new one is the same place.
    (old / "separators").rename(tmp_path / "gone")
    (old / "separators").symlink_to(new / "separators")
    assert refused(new / "a", of_study(new), "pretrain") == ""


def test_a_run_beside_others_is_no_study(tmp_path):
    assert start(tmp_path / "a", of_study(tmp_path / "old"), "pretrain")
    assert "separators" in refused(tmp_path / "a", of_study(tmp_path / "new"), "pretrain")


def test_before_a_step_is_saved_everything_may_change(tmp_path):
    assert start(tmp_path, "pretrain.seed = 0\n", "pretrain", under_way=False)
    assert start(tmp_path, "pretrain.seed = 1\n", "pretrain", under_way=False)
    assert "seed 1, now 2" in refused(tmp_path, "pretrain.seed = 2\n", "pretrain")


def test_fewer_steps_than_are_done_are_told_before_anything_else(tmp_path):
    start(tmp_path, "pretrain.seed = 0\n", "pretrain")
    done = {"steps_done": 28, "config_text": "pretrain.seed = 1\n"}
    with pytest.raises(SepconError, match="has done 28 steps, asked for 2; ask for 28 or more"):
        resuming.begin("pretrain", tmp_path, steps=2, **done)
    with pytest.raises(SepconError, match=r"pretrain.seed 0, now 1"):
        resuming.begin("pretrain", tmp_path, steps=28, **done)


def test_a_finished_training_tells_other_steps_also_to_a_call_from_python(tmp_path):
    run_folder.finish(tmp_path, {"steps": 300})
    for asked in (200, 500):
        with pytest.raises(SepconError, match=f"finished run of 300 steps, asked for {asked}; "):
            resuming.begin("pretrain", tmp_path, config_text="", steps=asked)
    assert not resuming.begin("pretrain", tmp_path, config_text="", steps=300)


def test_what_an_earlier_version_called_otherwise_is_no_contradiction(tmp_path):
    """Its views were what is now the sampler of views."""
    before = "pretrain.views = @ViewSampler()\npretrain.temperature = 0.2\npretrain.seed = 0\n"
    now = "pretrain.views = @LogMelViews()\npretrain.seed = 0\n"
    start(tmp_path, before, "pretrain")
    assert "pretrain.seed 0, now 1" in refused(tmp_path, now.replace("= 0", "= 1"), "pretrain")
    assert refused(tmp_path, now, "pretrain") == ""


def test_defaults_are_those_of_the_functions(tmp_path):
    start(tmp_path, "pretrain.batch_size = 4\n", "pretrain")
    assert refused(tmp_path, "pretrain.batch_size = 4\npretrain.seed = 0\n", "pretrain") == ""
    told = refused(tmp_path, "pretrain.batch_size = 4\npretrain.seed = 3\n", "pretrain")
    assert "pretrain.seed 0, now 3" in told
