"""Views of scenes are what they are called, and their embeddings are those of the product."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import LOG_MEL, PATCH_SECONDS, write_run
from separator_stub import write_separator_run

from sepcon.data.clips import from_reader
from sepcon.errors import SepconError
from sepcon.inference.channel_benchmark import embedded_scenes
from sepcon.inference.channel_benchmark.benchmark import benchmark_channels
from sepcon.inference.channel_benchmark.embedded_scenes import embed_scenes
from sepcon.inference.channel_benchmark.features import Setting, pooled_features
from sepcon.inference.channel_benchmark.scene_views import Patches, SceneViews
from sepcon.models.encoder_files import load_encoder
from sepcon.models.products.channel_embedding import Channels, with_channels
from sepcon.models.products.networks import open_separator
from sepcon.separation.control_kinds import (
    FILTERED_VIEWS,
    MASKED_VIEWS,
    SOURCE_VIEWS,
    view_kinds,
)

SAMPLES, CLASSES, SHARE = 14000, 3, 0.001
STATES = {"untrained separator": 3, "trained separator": None}


def scenes_of(name, count, seed):
    """Scenes of one to three sources: a tone for each class, in noise of its own."""
    random = np.random.default_rng(seed)
    seconds = np.arange(SAMPLES) / 16000
    labels = random.uniform(size=(count, CLASSES)) < 0.5
    labels[np.arange(count), np.arange(count) % CLASSES] = True
    sources = np.zeros((count, CLASSES + 1, SAMPLES), np.int16)
    for scene, column in zip(*np.nonzero(labels), strict=True):
        tone = np.sin(2 * np.pi * 400 * 2.5**column * seconds)
        sound = 1500 * tone + 300 * random.normal(size=SAMPLES)
        sources[scene, column] = sound * random.uniform(0.3, 1)
    given = tf.constant(sources)
    targets = tf.constant(labels, tf.float32)

    def read_with_sources(position):
        return {**read(position), "sources": given[position]}

    def read(position):
        audio = tf.cast(tf.reduce_sum(tf.cast(given[position], tf.int32), axis=0), tf.int16)
        identifier = tf.strings.join([name, tf.strings.as_string(position)])
        return {"id": identifier, "audio": audio, "labels": targets[position]}

    clips = from_reader(
        name=name,
        num_clips=count,
        class_names=("low", "middle", "high"),
        clip_samples=SAMPLES,
        read=read,
        read_with_sources=read_with_sources,
    )
    return clips, sources


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "one", steps=(10,))
    write_run(folder / "two", steps=(20,))
    write_separator_run(folder / "separator", steps=(3, 7))
    return folder


@pytest.fixture(scope="module")
def views(runs):
    patches = Patches.of_clips(SAMPLES, LOG_MEL, patch_seconds=PATCH_SECONDS, hop_seconds=0.25)
    separators = {
        name: open_separator(runs / "separator", step).network for name, step in STATES.items()
    }
    return SceneViews(separators, "trained separator", LOG_MEL, patches, SHARE, seed=5)


@pytest.fixture(scope="module")
def embedded(runs, views, tmp_path_factory):
    scenes, _ = scenes_of("scenes", 7, 0)
    encoders = {name: load_encoder(runs / name).encoder for name in ("one", "two")}
    folder = tmp_path_factory.mktemp("embedded")

    def embed():
        return embed_scenes(
            folder, scenes, views, encoders, title="embed", shard_size=3, batch_size=2
        )

    return folder, embed, embed()


def test_patches_are_those_of_the_product(views):
    assert views.patches.samples == 8000
    assert views.patches.starts == (0, 4000, 6080)


def test_channels_give_what_the_product_gives(runs, embedded):
    _, _, found = embedded
    scenes, sources = scenes_of("scenes", 7, 0)
    waveforms = sources.sum(axis=1).astype(np.float32) / 32768
    for encoder in ("one", "two"):
        loaded = load_encoder(runs / encoder)
        channels = Channels(runs / "separator", pooling="both", audible_share=0.8)
        product = with_channels(loaded.encoder, loaded.config, channels).module
        bag = found.bag(encoder, "trained separator")
        features = pooled_features(bag, Setting("both", 0.8))
        # Kept in half precision.
        np.testing.assert_allclose(features, product(waveforms)["embedding"], rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(
            found.mixture(encoder), product(waveforms)["embedding"][:, :8], rtol=2e-3, atol=2e-3
        )
    assert found.ids.tolist() == [f"scenes{k}" for k in range(7)]
    np.testing.assert_array_equal(found.num_sources, (sources != 0).any(axis=2).sum(axis=1))
    assert found.class_names == scenes.class_names


def test_controls_are_what_they_are_called(views):
    _, sources = scenes_of("scenes", 4, 0)
    audio = tf.constant(sources.sum(axis=1).astype(np.int16))
    made = dict(views(audio, tf.constant(sources), range(4)))
    assert list(made) == [*STATES, FILTERED_VIEWS, MASKED_VIEWS, SOURCE_VIEWS]
    assert {*made} < {*view_kinds(list(STATES))}
    # Masks and filters have as many views as the separator, as loud as its own.
    separated = made["trained separator"]
    np.testing.assert_array_equal(made[FILTERED_VIEWS].energy, separated.energy)
    np.testing.assert_array_equal(made[FILTERED_VIEWS].where, separated.where)
    total = [
        made[kind].energy[:, :, ::2].sum(axis=2) for kind in (MASKED_VIEWS, "trained separator")
    ]
    np.testing.assert_allclose(
        total[0] / total[0].sum(1, keepdims=True),
        total[1] / total[1].sum(1, keepdims=True),
        atol=0.1,
    )
    # A filter adds the same to all frames and patches of a view, and something else to another.
    scene, view, patch = made[FILTERED_VIEWS].where.T
    of_mixture = views.of_mixture(audio).numpy().reshape(4, 3, -1, LOG_MEL.num_mels)
    gains = made[FILTERED_VIEWS].log_mel.numpy() - of_mixture[scene, patch]
    np.testing.assert_allclose(gains, np.broadcast_to(gains[:, :1], gains.shape), atol=1e-4)
    of_view = {}
    for place, gain in zip(zip(scene, view, strict=True), gains[:, 0], strict=True):
        np.testing.assert_allclose(of_view.setdefault(place, gain), gain, atol=1e-4)
    assert np.abs(np.diff(np.stack(list(of_view.values())), axis=0)).max(axis=1).min() > 0.05
    # Sources that are silent are left out; the others are heard as they are.
    scene, source, _ = made[SOURCE_VIEWS].where.T
    heard = {(int(a), int(b)) for a, b in zip(scene, source, strict=True)}
    assert heard == set(
        zip(*(each.tolist() for each in np.nonzero((sources != 0).any(2))), strict=True)
    )
    again = dict(views(audio[1:2], tf.constant(sources[1:2]), [1]))
    for kind in (FILTERED_VIEWS, MASKED_VIEWS):
        rows = made[kind].where[:, 0] == 1
        np.testing.assert_allclose(again[kind].log_mel, made[kind].log_mel[rows], atol=2e-3)


def test_a_killed_run_goes_on_with_the_shards_that_are_missing(embedded, monkeypatch):
    folder, embed, found = embedded
    paths = sorted(folder.glob("*.npz"))
    assert len(paths) == 3
    expected = found.bag("two", MASKED_VIEWS)
    paths[0].unlink()
    paths[2].write_bytes(paths[2].read_bytes()[:-500])
    written = []
    write = embedded_scenes.write_arrays
    monkeypatch.setattr(
        embedded_scenes,
        "write_arrays",
        lambda path, arrays: (written.append(path), write(path, arrays)),
    )
    again = embed()
    assert written == [paths[0], paths[2]]
    for name, value in dataclasses.asdict(again.bag("two", MASKED_VIEWS)).items():
        np.testing.assert_allclose(value, getattr(expected, name), rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def splits():
    counts = {"train": 24, "validation": 9, "test": 10}
    return {name: scenes_of(name, count, k)[0] for k, (name, count) in enumerate(counts.items())}


def test_the_benchmark_measures_every_encoder_with_every_kind_of_views(runs, splits, tmp_path):
    states = {"trained separator": None}
    arguments = {"separator": runs / "separator", "states": states, "shares": (0.01,), **splits}
    results = benchmark_channels(
        tmp_path, encoders={"one": runs / "one"}, clips_per_class=3, max_test=8, **arguments
    )
    assert [row["name"] for row in results.rows] == [f"one, {k}" for k in view_kinds(list(states))]
    json.dumps(results.rows)
    alone, more, *others = results.rows
    assert alone["num_features"] == 8
    assert more["num_features"] == 24
    assert (alone["pooling"], alone["audible_share"]) == ("", None)
    for row in others:
        assert row["num_test_clips"] == 8
        assert 0 < row["num_train_clips_few"] < row["num_train_clips"] == 24
        assert row["pooling"] in ("maximum", "mean", "both", "attention")
        assert row["mAP"] == row[f"mAP_{row['pooling']}"]
        assert 0 < row["views_per_patch"] <= 4
    assert not (tmp_path / "embeddings").exists()
    assert [len(line) for line in results.table] == [len(results.table[0])] * (
        1 + len(results.rows)
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reference": "late"}, "reference is 'late', expected one of untrained separator"),
        ({"shares": (2.0,)}, "audible_share: got 2.0"),
        ({"poolings": ("median",)}, "pooling: got 'median'"),
        ({"states": {"trained separator": 5}}, "no state of step 5"),
        ({"encoders": {"a": "nowhere"}}, "nowhere"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_written(runs, splits, tmp_path, changes, told):
    arguments = {"encoders": {"one": runs / "one"}, "separator": runs / "separator"}
    arguments |= {"states": STATES, "on_start": lambda: (tmp_path / "started").touch(), **splits}
    with pytest.raises(SepconError, match=told):
        benchmark_channels(tmp_path, **(arguments | changes))
    assert list(tmp_path.iterdir()) == []


def test_scenes_without_sources_are_refused(runs, splits, tmp_path):
    blind = dataclasses.replace(splits["test"], build_with_sources=None, read_with_sources=None)
    with pytest.raises(SepconError, match="the sources inside these clips are not known"):
        benchmark_channels(
            tmp_path,
            encoders={"one": runs / "one"},
            separator=runs / "separator",
            states=STATES,
            **(splits | {"test": blind}),
        )
