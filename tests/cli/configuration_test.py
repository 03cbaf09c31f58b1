"""Gin files and bindings: which come first, what a run reads of them, and names that are wrong."""

from pathlib import Path

import pytest

from sepcon import cli
from sepcon.cli.bindings import MACRO, Configuration, ConfigurationError, Key
from sepcon.cli.configurables import selector_of
from sepcon.cli.configuration import read_configuration
from sepcon.cli.gin_files import project_files, project_folder, purpose
from sepcon.cli.reach import check_read, check_values, reach
from sepcon.errors import SepconError
from sepcon.verbs.registry import VERBS

SCENES = "data/builtin_scenes.gin"


def value(configuration: Configuration, macro: str) -> object:
    return configuration.values[Key(macro, MACRO, "value")]


def read(verb: str, *files: str, bindings: tuple[str, ...] = ()) -> Configuration:
    return read_configuration(verb, files, bindings)


def checked(verb: str, *files: str, bindings: tuple[str, ...] = ()) -> None:
    """Everything that is checked of a command line."""
    configuration = read(verb, *files, bindings=bindings)
    given = ["run_dir", "config_text"]
    found = reach(configuration, selector_of(VERBS[verb].function), given)
    check_read(configuration, found, verb)
    check_values(found, verb)


def test_the_file_of_the_verb_comes_first():
    configuration = read("pretrain", "scale/small.gin", SCENES)
    assert value(configuration, "STEPS") == 1000
    assert value(configuration, "LEARNING_RATE") == 1e-3
    assert str(configuration.origins[Key("STEPS", MACRO, "value")]).startswith("scale/small.gin:")
    with pytest.raises(KeyError):
        value(read_configuration("pretrain", [SCENES], [], defaults=False), "STEPS")


def test_naming_or_including_it_again_undoes_nothing(tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("STEPS = 7\ninclude 'runs/pretrain.gin'\n")
    alone = read("pretrain", SCENES, "scale/small.gin").text()
    assert read("pretrain", "runs/pretrain.gin", SCENES, "scale/small.gin").text() == alone
    assert read("pretrain", SCENES, "scale/small.gin", "runs/pretrain.gin").text() == alone
    assert read("pretrain", SCENES, "scale/small.gin", "gin/runs/pretrain.gin").text() == alone
    assert value(read("pretrain", SCENES, str(mine)), "STEPS") == 7


def test_a_file_of_runs_is_read_once_also_where_it_is_not_the_default(tmp_path):
    # A row of a study comes before the study's file, which includes what it is a variant of.
    row = tmp_path / "row.gin"
    row.write_text("include 'runs/finetune.gin'\nALPHA = 0.25\n")
    study = "papers/soundclr2021/esc10.gin"
    assert value(read("finetune", str(row), study), "ALPHA") == 0.25
    assert value(read("finetune_study", str(row), study), "ALPHA") == 0.25


def test_other_files_win_again_where_they_are_named_again():
    views = ("views/no_spec_augment.gin", "views/mixture_mixture.gin")
    configuration = read("pretrain", *views)
    key = Key("", "sepcon.tasks.log_mel_views.LogMelViews", "anchor_augmentations")
    assert repr(configuration.values[key]) == "[@SpecAugment()]"


def test_a_variant_of_the_verbs_file_stands_in_its_place():
    variant = read("benchmark", SCENES, "runs/benchmark_separation.gin")
    assert not any(key.selector.endswith("benchmark_embeddings") for key in variant.values)
    checked("benchmark", "runs/benchmark_separation.gin", SCENES, bindings=("SEPARATOR = 'run'",))
    with pytest.raises(ConfigurationError, match="required value missing: SEPARATOR "):
        checked("benchmark", "runs/benchmark_separation.gin", SCENES)
    # It comes first, as the default would.
    assert value(read("benchmark", "tiny.gin", "runs/benchmark_audioset.gin"), "SEEDS") == (0,)


def test_a_file_of_the_user_by_the_name_of_the_default_stands_in_its_place(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "pretrain.gin").write_text("STEPS = 7\npretrain.num_steps = %STEPS\n")
    monkeypatch.chdir(tmp_path)
    assert len(read("pretrain", "runs/pretrain.gin").values) == 2
    # Without being named it is not read: gin files are code, and folders come from elsewhere.
    assert value(read("pretrain"), "STEPS") == 1500


@pytest.mark.parametrize(
    "verb", [name for name in VERBS if (project_folder() / "runs" / f"{name}.gin").is_file()]
)
def test_long_and_short_command_lines_say_the_same(verb):
    assert read(verb, f"runs/{verb}.gin", SCENES).text() == read(verb, SCENES).text()


def test_a_run_can_be_configured_from_the_file_that_it_keeps(tmp_path):
    bindings = ("STEPS = 7", "pretrain/adam.beta_1 = 0.5")
    before = read("pretrain", SCENES, "views/equalized_both.gin", bindings=bindings).text()
    (tmp_path / "config.gin").write_text(before)
    assert read("pretrain", str(tmp_path / "config.gin")).text() == before
    checked("pretrain", str(tmp_path / "config.gin"))


def test_a_file_that_includes_itself_is_an_error(tmp_path):
    (tmp_path / "loop.gin").write_text(f"include '{tmp_path}/loop.gin'\n")
    with pytest.raises(ConfigurationError, match=r"loop\.gin:1: .*loop\.gin includes itself"):
        read("pretrain", str(tmp_path / "loop.gin"))


def test_a_mistake_in_an_included_file_is_told_with_its_line(tmp_path):
    (tmp_path / "inner.gin").write_text("# A header.\n\nSTEPS = ten\n")
    (tmp_path / "outer.gin").write_text(f"include '{tmp_path}/inner.gin'\n")
    with pytest.raises(ConfigurationError, match=r"inner\.gin:3: 'STEPS = ten'.*in quotes"):
        read("pretrain", str(tmp_path / "outer.gin"))
    (tmp_path / "inner.gin").write_text("pretrain:\n  batch_size = 3\n  num_stepps = 4\n")
    with pytest.raises(ConfigurationError, match=r"inner\.gin:3: .*did you mean num_steps\?"):
        read("pretrain", str(tmp_path / "outer.gin"))
    (tmp_path / "inner.gin").write_text("\n\nENCODER = @smallcnn\n")
    with pytest.raises(ConfigurationError, match=r"inner\.gin:3: .*did you mean @small_cnn\?"):
        read("pretrain", str(tmp_path / "outer.gin"))


def test_files_may_speak_to_other_verbs_but_only_by_names_that_exist(tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("SEPARATOR_STEPS = 3\nvggish.embedding_size = 5\n")
    checked("pretrain", SCENES, str(mine))
    mine.write_text("\nSEPARATR_STEPS = 3\n")
    with pytest.raises(ConfigurationError, match=r"mine\.gin:2: .*did you mean SEPARATOR_STEPS\?"):
        checked("pretrain", SCENES, str(mine))
    # Macros of one's own are known where something reads them.
    mine.write_text(
        "MINE = 3\npretrain.num_steps = %MINE\nown/adam.beta_1 = 0.5\nO = @own/adam\n"
        "pretrain.optimizer = %O\nown/adam.learning_rate = 1.0\n"
    )
    checked("pretrain", SCENES, str(mine))


@pytest.mark.parametrize(
    "binding, expected",
    [
        ("SEPARATOR_STEPS = 3", "does not read it: nothing that it uses refers to it"),
        ("vggish.embedding_size = 3", "does not read it: it does not use vggish"),
        # The one in the scope comes before it: it would change nothing.
        (
            "adam.learning_rate = 3.0",
            r"pretrain/adam\.learning_rate of runs/pretrain\.gin:\d+ comes before it, bind that",
        ),
        ("separator/adam.beta_1 = 0.5", "adam.beta_1 is bound .* used in the scope pretrain"),
    ],
)
def test_a_binding_of_the_command_line_that_is_not_read_is_an_error(binding, expected):
    with pytest.raises(ConfigurationError, match=expected):
        checked("pretrain", SCENES, bindings=(binding,))


@pytest.mark.parametrize(
    "binding",
    [
        "STEPS = 3",
        "adam.beta_1 = 0.5",
        "pretrain/adam.beta_1 = 0.5",
        "pretrain/cosine.final = 0.1",
        "sepcon.tasks.pretraining.SimilarityAndCoincidence.temperature = 0.3",
        "optimizers.adam.beta_1 = 0.5",
        "small_cnn.embedding_size = 3",
        "LogMel.num_mels = 32",
        "SceneRecipe.seed = 3",
        "train/SceneRecipe.seed = 3",
        "train/sound_scenes.max_skipped_share = 0.1",
        "fit.steps_per_call = 1",
    ],
)
def test_a_binding_of_the_command_line_that_is_read_is_none(binding):
    checked("pretrain", SCENES, bindings=(binding,))


def test_what_a_file_asks_for_may_be_given_to_a_verb_that_does_without():
    given = ("AUDIOSET_TRAIN = 'a'", "AUDIOSET_EVAL = 'b'")
    checked("pretrain", "data/audioset.gin", bindings=given)
    checked("pretrain", "data/audioset.gin", bindings=given[:1])
    with pytest.raises(ConfigurationError, match=r"AUDIOSET_EVAL is bound .* does not read it"):
        checked("pretrain", SCENES, bindings=given[1:])


def test_a_value_that_replaces_what_is_missing_is_enough():
    # TRAIN_CLIPS is not read any more.
    checked(
        "pretrain",
        bindings=(
            "ClipExamples.clips = @train/sound_scenes()",
            "train/sound_scenes.data_dir = 'd'",
        ),
    )
    with pytest.raises(ConfigurationError, match=r"train/sound_scenes\.data_dir has no value"):
        checked("pretrain", bindings=("ClipExamples.clips = @train/sound_scenes()",))


def test_bound_arguments_are_made_for_programs_beside_the_verbs():
    bound = cli.bound_arguments(
        "pretrain", gin_files=["tiny.gin"], gin_bindings=["ClipExamples.clips = None"]
    )
    assert (bound["batch_size"], bound["views"].sampler.patch_seconds) == (4, 1.0)
    with pytest.raises(SepconError, match="TRAIN_CLIPS"):
        cli.bound_arguments("pretrain", gin_files=["tiny.gin"], gin_bindings=[])


def test_every_macro_of_the_project_is_read_by_some_file():
    # By `sepcon study` itself, or named in a header as what one may refer to.
    elsewhere = {"ROW", "FIGURES", "AGAINST", "ROTATIONS"}
    reads = set().union(*(file.macros for file in project_files()))
    bound = {name for file in project_files() for name in file.bound if name.isupper()}
    assert bound - reads <= elsewhere


OWN = ("papers", "quickstart")


@pytest.mark.parametrize("file", project_files(), ids=lambda file: file.name)
def test_every_gin_file_says_in_its_first_line_what_it_is(file):
    assert purpose(file.path)
    if not file.name.startswith(OWN):
        first = file.path.read_text().splitlines()[0]
        assert first == f"# {purpose(file.path)}"
        assert first.endswith(".")


def test_no_header_names_the_default_file():
    for file in project_files():
        if file.name.startswith("runs/"):
            assert (
                f"--gin_file={file.name}" not in file.path.read_text()
                or "_" in Path(file.name).stem
            )
