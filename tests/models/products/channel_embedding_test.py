"""A separator in front of an encoder, against a transcription that goes patch by patch in numpy."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import LOG_MEL, PATCH_SECONDS, noise, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from separator_stub import CONFIG, write_separator_run
from stranger import run_stranger

import sepcon
from sepcon.errors import SepconError
from sepcon.models.encoder_files import load_encoder
from sepcon.models.products.channel_embedding import (
    ChannelEmbeddingModel,
    Channels,
    patch_energies,
)
from sepcon.models.products.channel_pooling import POOLINGS, audible, pooled, pooled_size
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.networks import open_separator
from sepcon.models.products.patch_embedder import PatchEmbedder
from sepcon.models.products.separation import SeparationModel
from sepcon.models.separator.network import Separator, SeparatorConfig, save_separator_config
from sepcon.models.weights import state_folder, write_weights
from sepcon.verbs.export import export

RATE, PATCH, HOP, FRAME_HOP, DIM = 16000, 8000, 4000, 160, 8


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "encoder")
    write_separator_run(folder / "separator", steps=(3, 7))
    return folder


@pytest.fixture(scope="module")
def encoder(runs):
    return load_encoder(runs / "encoder").encoder


@pytest.fixture(scope="module")
def separator(runs):
    return open_separator(runs / "separator").network


@pytest.fixture(scope="module")
def alone(encoder):
    return EmbeddingModel(encoder, LOG_MEL, patch_seconds=PATCH_SECONDS)


@pytest.fixture(scope="module")
def split(separator):
    return SeparationModel(separator)


@pytest.fixture(scope="module")
def share(alone, split):
    """Such that in half of the patches of a recording at least two channels are audible."""
    energies = [each for *_, each in patches_by_hand(alone, split, loud_and_soft(54000))]
    return float(np.median([sorted(each)[-2] / max(each) for each in energies]))


@pytest.fixture(scope="module")
def models(encoder, separator, share):
    """Models with windows of 1.3 s: five patches, as a recording of that length has."""
    return {
        pooling: ChannelEmbeddingModel(
            encoder,
            LOG_MEL,
            patch_seconds=PATCH_SECONDS,
            separator=separator,
            channels=Channels("x", None, pooling, share, window_seconds=1.3),
        )
        for pooling in ("both", "attention")
    }


def heard_by_hand(energies, share):
    return [energy > 0 and energy >= share * max(energies) for energy in energies]


def pooled_by_hand(mixture, channels, heard, pooling):
    """One patch: mixture [dim], channels [channel, dim]."""
    if pooling == "attention":
        kept = [c if h else np.zeros_like(c) for c, h in zip(channels, heard, strict=True)]
        return np.concatenate([mixture, *kept, np.array(heard, float)])
    audible_ones = [c for c, h in zip(channels, heard, strict=True) if h] or [mixture]
    highest, total = audible_ones[0].copy(), np.zeros_like(mixture)
    for one in audible_ones:
        for k in range(len(one)):
            highest[k] = max(highest[k], one[k])
        total = total + one
    parts = {"maximum": [highest], "mean": [total / len(audible_ones)]}
    parts["both"] = parts["maximum"] + parts["mean"]
    return np.concatenate([mixture, *parts[pooling]])


def windows_by_hand(num_patches):
    """First patch and number of patches of each window: at most five, evenly shared out."""
    count = math.ceil(num_patches / 5)
    each = -(-num_patches // count)
    return [(first, min(each, num_patches - first)) for first in range(0, num_patches, each)]


def patches_by_hand(alone, split, waveform):
    """Mixture [dim], channels [channel, dim] and energies [channel] of each patch."""
    mixture = alone(waveform)["patch_embedding"].numpy()
    for first, count in windows_by_hand(len(mixture)):
        start, last = first * HOP, first + count == len(mixture)
        end = len(waveform) if last else start + (count - 1) * HOP + PATCH
        channels = split(waveform[start:end])["sources"].numpy()
        embedded = np.stack([alone(channel)["patch_embedding"] for channel in channels])
        past = max(0, math.ceil((channels.shape[1] - PATCH) / FRAME_HOP)) * FRAME_HOP
        for k in range(count):
            at = min(k * HOP, past)
            energies = [float(np.sum(c[at : at + PATCH].astype(np.float64) ** 2)) for c in channels]
            yield mixture[first + k], embedded[:, k], energies


def by_hand(alone, split, waveform, pooling, share):
    """One recording [samples] to [patches, size]."""
    return np.array(
        [
            pooled_by_hand(mixture, channels, heard_by_hand(energies, share), pooling)
            for mixture, channels, energies in patches_by_hand(alone, split, waveform)
        ]
    )


def loud_and_soft(samples):
    """Noise whose level and colour change, so that other channels are audible in other patches."""
    sound = noise(samples, seed=samples)
    tone = np.sin(np.arange(samples) * np.linspace(0.02, 1.5, samples))
    return (sound * np.linspace(0.1, 1, samples) + 0.3 * tone).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 3000, PATCH, 12001, 20800, 54000])
def test_equals_channels_that_are_pooled_by_hand(models, alone, split, share, samples):
    waveform = loud_and_soft(samples)
    counts = set()
    for pooling, model in models.items():
        expected = by_hand(alone, split, waveform, pooling, share)
        outputs = model(waveform)
        assert expected.shape[1] == pooled_size(DIM, 3, pooling) == model.embedding_size()
        np.testing.assert_allclose(outputs["patch_embedding"], expected, atol=5e-5)
        np.testing.assert_allclose(outputs["embedding"], expected.mean(axis=0), atol=5e-5)
        # What the encoder says of the mixture alone comes first.
        np.testing.assert_allclose(
            outputs["embedding"][:DIM], alone(waveform)["embedding"], atol=1e-6
        )
        counts |= set(expected[:, -3:].sum(axis=1)) if pooling == "attention" else set()
    assert samples < 50000 or len(counts) > 1, "every patch has as many audible channels"


def test_neither_a_batch_nor_its_other_recordings_change_a_result(models):
    batch = np.stack([loud_and_soft(30000), noise(30000), np.zeros(30000, np.float32)])
    whole = models["both"](batch)["patch_embedding"].numpy()
    assert np.isfinite(whole).all()
    for row, waveform in zip(whole, batch, strict=True):
        np.testing.assert_allclose(row, models["both"](waveform)["patch_embedding"], atol=2e-5)
    assert models["both"](batch[:0])["embedding"].shape == (0, 3 * DIM)


def test_silence_has_the_mixture_in_the_place_of_its_channels(models, alone):
    silence = np.zeros(9000, np.float32)
    of_mixture = alone(silence)["embedding"].numpy()
    np.testing.assert_allclose(
        models["both"](silence)["embedding"], np.tile(of_mixture, 3), atol=1e-6
    )
    kept = models["attention"](silence)["embedding"].numpy()[DIM:]
    np.testing.assert_array_equal(kept, 0)


def test_energies_are_those_of_the_patches(encoder):
    embed = PatchEmbedder(encoder, LOG_MEL, patch_seconds=PATCH_SECONDS)
    waveform = noise(2, 20011)
    padded = np.pad(waveform, [(0, 0), (0, PATCH)]).astype(np.float64)
    last = -(-(20011 - PATCH) // FRAME_HOP) * FRAME_HOP
    for row in range(2):
        starts = [0, HOP, 2 * HOP, 3 * HOP, last]
        expected = [np.sum(padded[row, start : start + PATCH] ** 2) for start in starts]
        energies = patch_energies(embed, tf.constant(waveform))[row]
        np.testing.assert_allclose(energies, expected, rtol=1e-5)


EMBEDDINGS = st.integers(0, 2**31).map(
    lambda seed: np.random.default_rng(seed).normal(size=(4, 5, 6)).astype(np.float32)
)
ENERGIES = st.lists(
    st.sampled_from([0.0, 1e-30, 1e-4, 0.02, 0.5, 1.0, 1e6]), min_size=5, max_size=5
)


@settings(max_examples=60, deadline=None)
@given(EMBEDDINGS, ENERGIES, st.sampled_from(POOLINGS), st.sampled_from([0.0, 0.01, 1.0]))
def test_pooling_is_that_of_the_transcription(values, energies, pooling, share):
    mixture, channels = values[:, 0], values
    heard = audible(tf.constant([energies] * 4, tf.float32), share)
    result = pooled(tf.constant(mixture), tf.constant(channels), heard, pooling=pooling).numpy()
    by_hand = heard_by_hand(np.float32(energies), np.float32(share))
    for row in range(4):
        expected = pooled_by_hand(mixture[row], channels[row], by_hand, pooling)
        np.testing.assert_allclose(result[row], expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(EMBEDDINGS, ENERGIES, st.sampled_from(POOLINGS[:3]), st.permutations(range(5)))
def test_the_order_of_channels_and_what_is_left_out_do_not_matter(values, energies, pooling, order):
    mixture, energy = values[:, 0], np.array([energies] * 4, np.float32)

    def embedding(channels, energy):
        heard = audible(tf.constant(energy), 0.05)
        return pooled(tf.constant(mixture), tf.constant(channels), heard, pooling=pooling).numpy()

    before = embedding(values, energy)
    after = embedding(values[:, order], energy[:, order])
    np.testing.assert_allclose(before, after, atol=1e-6)
    unheard = ~audible(tf.constant(energy), 0.05).numpy()
    for anything in (np.nan, np.inf, 1e30):
        changed = np.where(unheard[..., np.newaxis], np.float32(anything), values)
        np.testing.assert_array_equal(embedding(changed, energy), before)
    # A further channel that nobody hears is none.
    more = np.concatenate([values, np.full((4, 1, 6), np.nan, np.float32)], axis=1)
    silent = np.pad(energy, [(0, 0), (0, 1)])
    np.testing.assert_allclose(embedding(more, silent), before, atol=1e-6)


OUTSIDE = """
for key in inputs.files:
    for name, value in model(inputs[key]).items():
        results[key + "/" + name] = value.numpy()
results["size"] = model.embedding_size().numpy()
results["card"] = np.array(tf.io.read_file(model.model_card_file.asset_path).numpy())
"""


def test_one_saved_model_holds_both_and_is_what_embeds_here(runs, tmp_path, capsys):
    channels = Channels(runs / "separator", audible_share=0.2, window_seconds=1.3)
    exported = export(run_dir=tmp_path / "out", model=runs / "encoder", channels=channels)
    assert "times as fast as real time; without the separator" in capsys.readouterr().out
    inputs = {"one": loud_and_soft(21000), "batch": noise(2, 9001), "silence": np.zeros((1, 50))}
    results = run_stranger(OUTSIDE, saved_model=exported, inputs=inputs, folder=tmp_path)
    separator = sepcon.load(runs / "separator", "separator")
    by_name = sepcon.load(runs / "encoder", "encoder").with_channels(
        separator, audible_share=0.2, window_seconds=1.3
    )
    for key, waveform in inputs.items():
        expected = by_name.function(tf.constant(waveform, tf.float32))
        for name, value in expected.items():
            np.testing.assert_allclose(results[f"{key}/{name}"], value, rtol=1e-5, atol=1e-5)
    card = json.loads(results["card"].item())
    assert results["size"] == card["embedding_size"] == 3 * DIM
    assert card["kind"] == "encoder"
    assert card["channels"]["pooling"] == "both"
    assert card["channels"]["separator_step"] == 7
    assert 0 < card["times_real_time"] < card["times_real_time_without_channels"]
    # Whatever takes an encoder takes it, and `embed` gives the same numbers.
    loaded = sepcon.load(exported, "encoder")
    assert loaded.embedding_size == 3 * DIM
    assert by_name.card["fingerprint"] == card["fingerprint"]
    for encoder in (loaded, by_name):
        embedding = encoder.embed(inputs["one"], sample_rate_hz=RATE)
        np.testing.assert_allclose(embedding.clip, results["one/embedding"], rtol=1e-5, atol=1e-5)
        assert "to 24 numbers" in repr(encoder)
    for encoder, told in (
        (loaded, "a separator in front of its encoder"),
        (by_name, "two networks"),
    ):
        with pytest.raises(SepconError, match=told):
            encoder.keras_model()
        with pytest.raises(SepconError, match=told):
            encoder.with_channels(runs / "separator")
    with pytest.raises(SepconError, match="another model"):
        export(run_dir=tmp_path / "out", model=runs / "encoder")


def test_exports_of_both_networks_can_be_put_together(runs, tmp_path, models, share):
    of_encoder = export(run_dir=tmp_path / "encoder", model=runs / "encoder")
    of_separator = export(run_dir=tmp_path / "separator", model=runs / "separator")
    waveform = loud_and_soft(21000)
    together = sepcon.load(of_encoder, "encoder").with_channels(
        of_separator, audible_share=share, window_seconds=1.3
    )
    embedding = together.embed(waveform, sample_rate_hz=RATE)
    np.testing.assert_allclose(embedding.clip, models["both"](waveform)["embedding"], atol=1e-5)
    with pytest.raises(SepconError, match="holds step 7 alone, not 3"):
        open_separator(of_separator, 3)
    assert open_separator(runs / "separator", 3).step == 3


def test_a_separator_of_one_channel_and_other_rates(runs, tmp_path, alone):
    encoder = sepcon.load(runs / "encoder", "encoder")
    for name, changes in (("one", {"num_sources": 1}), ("rate", {"sample_rate_hz": 8000})):
        config = SeparatorConfig(**{**vars(CONFIG), **changes})
        (tmp_path / name).mkdir()
        save_separator_config(config, tmp_path / name)
        write_weights(Separator(config), state_folder(tmp_path / name, 1))
    waveform = loud_and_soft(12000)
    embedding = encoder.with_channels(tmp_path / "one").embed(waveform, sample_rate_hz=RATE)
    # Its only channel is the mixture.
    np.testing.assert_allclose(embedding.clip, np.tile(alone(waveform)["embedding"], 3), atol=1e-4)
    with pytest.raises(SepconError, match="hears 8000 Hz, the encoder 16000 Hz"):
        encoder.with_channels(tmp_path / "rate")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pooling": "median"}, "pooling: got 'median', expected one of maximum, mean"),
        ({"audible_share": 1.5}, "audible_share: got 1.5"),
        ({"audible_share": float("nan")}, "audible_share: got nan"),
        ({"window_seconds": 0.0}, "window_seconds: got 0"),
    ],
)
def test_settings_out_of_range(changes, told):
    with pytest.raises(SepconError, match=told):
        Channels("x", **changes)


def test_what_cannot_be_exported_with_channels_says_so(runs, tmp_path):
    channels = Channels(runs / "separator")
    with pytest.raises(SepconError, match="tflite takes no encoder with a separator"):
        export(run_dir=tmp_path, model=runs / "encoder", format="tflite", channels=channels)
    with pytest.raises(SepconError, match="is a separator, and a separator is put in front"):
        export(run_dir=tmp_path, model=runs / "separator", channels=channels)
    learned = Channels(runs / "separator", pooling="attention")
    with pytest.raises(SepconError, match="attention is learned with labels"):
        export(run_dir=tmp_path, model=runs / "encoder", channels=learned)
    with pytest.raises(SepconError, match="holds no separator"):
        export(run_dir=tmp_path, model=runs / "encoder", channels=Channels(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []
