"""The separator as a whole: shapes, consistency, seeds, files and export."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.models.separator.mixture_consistency import (
    enforce_mixture_consistency,
    magnitude_squared_weights,
    uniform_weights,
)
from sepcon.models.separator.network import (
    Separator,
    SeparatorConfig,
    load_separator,
    save_separator_config,
)
from sepcon.models.weights import state_folder, write_weights

TINY = SeparatorConfig(num_sources=3, bottleneck=6, conv_channels=8, num_repeats=2, num_dilations=2)
LEARNED = dataclasses.replace(
    TINY, basis="learned", window_seconds=0.0025, hop_seconds=0.00125, num_coefficients=10
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_separator(config, seed=0):
    keras.utils.set_random_seed(seed)
    return Separator(config)


@pytest.fixture(scope="module")
def tiny():
    return random_separator(TINY)


@pytest.mark.parametrize("config", [TINY, LEARNED], ids=["stft", "learned"])
@pytest.mark.parametrize("consistency", ["predicted", "magnitude_squared", "uniform"])
@pytest.mark.parametrize("samples", [1, 39, 700])
def test_any_length_and_sources_sum_to_the_mixture(config, consistency, samples):
    separator = random_separator(dataclasses.replace(config, mixture_consistency=consistency))
    mixture = normal(2, samples)
    sources = separator(mixture)
    assert sources.shape == (2, 3, samples)
    assert sources.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(sources, 1), mixture, atol=1e-5)


def test_silence_stays_silent(tiny):
    np.testing.assert_allclose(tiny(tf.zeros([1, 500])), 0.0, atol=1e-7)


@pytest.mark.parametrize("training", [False, True])
def test_a_function_of_unknown_shape_gives_the_same(tiny, training):
    signature = [tf.TensorSpec([None, None])]

    @tf.function(input_signature=signature, autograph=False)
    def function(mixture):
        return tiny(mixture, training=training)

    for batch, samples in ((1, 300), (3, 511)):
        mixture = normal(batch, samples)
        np.testing.assert_allclose(function(mixture), tiny(mixture), atol=1e-5)


def test_clips_do_not_see_each_other(tiny):
    mixture = normal(3, 600)
    np.testing.assert_allclose(tiny(mixture)[1:2], tiny(mixture[1:2]), atol=1e-6)


@pytest.mark.parametrize("config", [TINY, LEARNED], ids=["stft", "learned"])
def test_bfloat16_trains_nearly_like_float32(config):
    mixture, reference = normal(2, 700), normal(2, 3, 700, seed=1)
    gradients = []
    for dtype in ("float32", "bfloat16"):
        separator = random_separator(dataclasses.replace(config, matmul_dtype=dtype))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(separator(mixture, training=True) - reference))
        gradient = tape.gradient(loss, [v.value for v in separator.trainable_variables])
        assert {each.dtype for each in gradient} == {tf.float32}
        gradients.append(np.concatenate([np.ravel(each) for each in gradient]))
    exact, rounded = gradients
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 1e-5 < error < 0.05


def test_seed_decides_the_weights():
    one, same, other = (random_separator(TINY, seed) for seed in (1, 1, 2))
    for a, b in zip(one.variables, same.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(one.mask_dense.kernel.numpy() != other.mask_dense.kernel.numpy())


@pytest.mark.parametrize(
    "config, millions",
    # The papers' sizes as counted in shared/design/method.md, section 2.1.
    [
        (SeparatorConfig(basis="learned", window_seconds=0.0025, hop_seconds=0.00125), 8.80),
        (
            SeparatorConfig(
                basis="learned", window_seconds=0.0025, hop_seconds=0.00125, num_sources=8
            ),
            9.07,
        ),
    ],
)
def test_default_network_has_the_papers_size(config, millions):
    assert Separator(config).count_params() / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize(
    "field, value",
    [
        ("num_sources", 0),
        ("bottleneck", 6.0),
        ("kernel_size", 4),
        ("basis", "wavelet"),
        ("norm", "batch"),
        ("mixture_consistency", ""),
        ("hop_seconds", 0.032),
        ("hop_seconds", 0.00001),
        ("matmul_dtype", "float16"),
        ("causal", "yes"),
    ],
)
def test_impossible_config_names_the_field(field, value):
    with pytest.raises(SepconError, match=rf"SeparatorConfig\.(window_seconds|{field})"):
        dataclasses.replace(TINY, **{field: value})


def test_saved_run_gives_the_same_sources_at_every_state(tmp_path, tiny):
    save_separator_config(TINY, tmp_path)
    other = random_separator(TINY, seed=5)
    write_weights(other, state_folder(tmp_path, 0))
    write_weights(tiny, state_folder(tmp_path, 300))
    mixture = normal(1, 400)
    np.testing.assert_array_equal(load_separator(tmp_path)(mixture), tiny(mixture))
    np.testing.assert_array_equal(load_separator(tmp_path, 0)(mixture), other(mixture))
    with pytest.raises(SepconError, match="no state of step 7; kept there: 0, 300"):
        load_separator(tmp_path, 7)


def test_folders_without_a_separator(tmp_path):
    with pytest.raises(SepconError, match="holds no separator of `sepcon train_separator`"):
        load_separator(tmp_path)
    model = tmp_path / "model.json"
    for text, message in (
        ("{", "model.json: is damaged"),
        ('{"kind": "encoder"}', "describes a 'encoder', expected 'separator'"),
        ("[]", "expected an object"),
        ('{"kind": "separator"}', "model.json: is damaged"),
        ('{"kind": "separator", "config": {"colour": 1}}', "model.json: is damaged"),
        ('{"kind": "separator", "config": {"norm": "batch"}}', "SeparatorConfig.norm"),
    ):
        model.write_text(text)
        with pytest.raises(SepconError, match=message):
            load_separator(tmp_path)
    model.unlink()
    save_separator_config(TINY, tmp_path)
    assert json.loads(model.read_text())["config"]["num_sources"] == 3
    with pytest.raises(SepconError, match="kept there: none"):
        load_separator(tmp_path)


def test_saved_model_gives_the_same(tmp_path, tiny):
    module = tf.Module()
    module.separator = tiny
    signature = [tf.TensorSpec([None, None])]
    module.separate = tf.function(tiny, input_signature=signature, autograph=False)
    tf.saved_model.save(module, str(tmp_path))
    mixture = normal(2, 450)
    loaded = tf.saved_model.load(str(tmp_path))
    got = loaded.separate(tf.constant(mixture))
    np.testing.assert_allclose(got, tiny(mixture), atol=1e-6)


def test_consistency_follows_its_definition():
    mixture, estimate = normal(2, 9), normal(2, 3, 9, seed=1)
    weights = np.float32([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    got = enforce_mixture_consistency(mixture=mixture, estimate=estimate, weights=weights)
    for b in range(2):
        missing = mixture[b] - estimate[b].sum(axis=0)
        for m in range(3):
            expected = estimate[b, m] + weights[b, m] * missing
            np.testing.assert_allclose(got[b, m], expected, rtol=1e-5, atol=1e-6)


def test_weights_of_consistency():
    np.testing.assert_allclose(uniform_weights(4), np.full([1, 4], 0.25))
    estimate = np.float32([[[1.0, 1.0], [2.0, 2.0], [0.0, 0.0]]])
    np.testing.assert_allclose(magnitude_squared_weights(estimate), [[0.2, 0.8, 0.0]], atol=1e-6)
    silent = magnitude_squared_weights(np.zeros([1, 3, 5], np.float32))
    np.testing.assert_allclose(silent, np.full([1, 3], 1 / 3), rtol=1e-6)
