"""What is read from the source is what an import would show, and calls reach the real thing."""

import importlib
import inspect

import pytest

import gin
from sepcon.cli import configurables
from sepcon.cli.configuration import read_configuration
from sepcon.cli.signatures import read_source
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.training.optimizers import adam
from sepcon.verbs.registry import CONFIGURABLES, GIVEN_BY_CALLERS, VERBS

PATHS = [*CONFIGURABLES, *(verb.function for verb in VERBS.values())]


@pytest.mark.parametrize("path", PATHS)
def test_parameters_are_those_of_the_imported(path):
    module, name = path.split(":")
    real = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    source = read_source(path)
    order = sorted(source.parameters, key=lambda each: source.parameters[each].keyword_only)
    assert order == list(real)
    for each, parameter in source.parameters.items():
        assert parameter.keyword_only == (real[each].kind is inspect.Parameter.KEYWORD_ONLY), each
        assert (parameter.default is None) == (real[each].default is inspect.Parameter.empty), each
    for each, parameter in source.parameters.items():
        assert each in parameter.file.read_text().splitlines()[parameter.line - 1]


def test_a_literal_default_is_that_of_the_imported():
    source = read_source("sepcon.training.loop:fit")
    assert source.parameters["steps_per_call"].default == "10"
    assert source.parameters["keep_state_steps"].default == "()"


def test_names_without_their_modules_are_unique():
    names = [configurables.selector_of(path).rpartition(".")[2] for path in PATHS]
    assert len(set(names)) == len(names)


def test_what_callers_give_are_parameters():
    for path, names in GIVEN_BY_CALLERS.items():
        assert set(names) <= set(read_source(path).parameters), path


@pytest.mark.parametrize("path", ["sepcon.errors:nothing", "sepcon.losses.mixit:math"])
def test_what_is_not_there_is_an_error(path):
    with pytest.raises(LookupError, match="defines no function or class"):
        read_source(path)


def test_a_reference_gives_the_real_thing():
    read_configuration("pretrain", ["tiny.gin"], ["pretrain/adam.learning_rate = 0.5"])
    bound = gin.get_bindings("sepcon.pretrain", resolve_references=False)
    views = bound["views"].scoped_configurable_fn()
    assert type(views) is LogMelViews
    assert views.sampler.patch_seconds == 1.0
    optimizer = bound["optimizer"].scoped_configurable_fn()
    assert type(optimizer) is type(adam(learning_rate=0.5))
    assert float(optimizer.learning_rate) == 0.5
