"""Embeddings on disk: right numbers, nothing lost, nothing computed twice."""

import json

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import LOG_MEL, PATCH_SECONDS, noise, write_run
from separator_stub import write_separator_run

import sepcon.embeddings.write
from sepcon.data.clips import ClipDataset
from sepcon.embeddings.embedder import Embedder
from sepcon.embeddings.embedders import (
    load_embedder,
    load_reference_config,
    log_mel_statistics,
    untrained_encoder,
)
from sepcon.embeddings.store import EmbeddingStore, EmbeddingWriter, StoreLayout
from sepcon.embeddings.write import batches_of_equal_length, write_embeddings
from sepcon.errors import SepconError
from sepcon.models.encoder_files import load_encoder
from sepcon.models.products.channel_embedding import Channels
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.verbs.embed import embed
from sepcon.verbs.export import export

CLASSES = ("bark", "rain")
LENGTHS = [9000, 500, 9000, 12000, 9000, 500, 0, 12000, 9000, 9000, 700]


def dataset(lengths=LENGTHS, announced=None, seed=0):
    random = np.random.default_rng(seed)
    clips = [
        {
            "id": f"clip {number}",
            "audio": random.integers(-9000, 9000, size=length).astype(np.int16),
            "labels": (random.uniform(size=2) < 0.5).astype(np.float32),
        }
        for number, length in enumerate(lengths)
    ]
    signature = {
        "id": tf.TensorSpec([], tf.string),
        "audio": tf.TensorSpec([None], tf.int16),
        "labels": tf.TensorSpec([2], tf.float32),
    }
    dataset = ClipDataset(
        name="toy",
        num_clips=len(clips) if announced is None else announced,
        sample_rate_hz=16000,
        class_names=CLASSES,
        clip_samples=None,
        build=lambda: tf.data.Dataset.from_generator(lambda: clips, output_signature=signature),
    )
    return dataset, clips


def moments(waveform):
    """An embedding that a reader can check: mean, mean square, number of samples."""
    samples = tf.cast(tf.shape(waveform)[1], tf.float32)
    total = tf.maximum(samples, 1.0)
    return tf.stack(
        [
            tf.reduce_sum(waveform, 1) / total,
            tf.reduce_sum(waveform**2, 1) / total,
            tf.fill([tf.shape(waveform)[0]], samples),
        ],
        axis=1,
    )


class Counting:
    """Embeds by `moments`, counts the clips, and fails at a chosen one."""

    def __init__(self, fail_at=None):
        self.clips = 0
        self.fail_at = fail_at

    def __call__(self, waveform):
        self.clips += len(waveform)
        if self.fail_at is not None and self.clips >= self.fail_at:
            raise KeyboardInterrupt
        return moments(waveform)


def check(store, clips):
    everything = store.load()
    assert everything.ids.tolist() == [clip["id"] for clip in clips]
    assert everything.labels.dtype == np.uint8
    np.testing.assert_array_equal(everything.labels, [clip["labels"] for clip in clips])
    assert everything.class_names == CLASSES
    for clip, row in zip(clips, everything.embedding, strict=True):
        audio = clip["audio"].astype(np.float64) / 32768
        mean, square = (audio.mean(), (audio**2).mean()) if len(audio) else (0, 0)
        np.testing.assert_allclose(row, [mean, square, len(audio)], atol=1e-6)


@pytest.mark.parametrize("shard_size", [1, 3, 4, 11, 100])
def test_every_clip_in_order_whatever_its_length(tmp_path, shard_size):
    clips, expected = dataset()
    store = embed(
        run_dir=tmp_path,
        model=Embedder("moments", moments),
        clips=clips,
        batch_size=2,
        shard_size=shard_size,
    )
    check(store, expected)
    check(EmbeddingStore(tmp_path / "embeddings"), expected)
    assert sum(len(shard.ids) for shard in store.shards()) == len(store) == 11
    index = json.loads((tmp_path / "embeddings" / "index.json").read_text())
    assert index["dataset"] == "toy"
    assert index["dim"] == 3
    assert sum(index["shard_sizes"]) == 11


def test_batches_have_one_length_and_no_clip_is_lost(monkeypatch):
    monkeypatch.setattr(sepcon.embeddings.write, "_MAX_SAMPLES", 1000)
    random = np.random.default_rng(0)
    clips = [{"audio": np.zeros(random.integers(0, 1500) // 100 * 100)} for _ in range(300)]
    places, waiting = [], 0
    for batch in batches_of_equal_length(clips, 7):
        lengths = {len(clip["audio"]) for _, clip in batch}
        assert len(lengths) == 1
        assert len(batch) <= 7
        assert len(batch) == 1 or len(batch) * max(lengths) <= 1000 + max(lengths)
        places += [place for place, _ in batch]
        waiting = max(waiting, max(places) - len(places))
    assert sorted(places) == list(range(300))
    assert waiting < 60  # a few thousand samples, not the dataset


def test_killed_anywhere_it_goes_on_and_computes_no_shard_twice(tmp_path):
    clips, expected = dataset()
    for fail_at in (1, 5, 5, 4):
        with pytest.raises(KeyboardInterrupt):
            write_embeddings(
                folder=tmp_path,
                embedder=Embedder("moments", Counting(fail_at)),
                clips=clips,
                batch_size=1,
                shard_size=3,
            )
        with pytest.raises(SepconError, match="not finished"):
            EmbeddingStore(tmp_path)
    done = len(list(tmp_path.glob("*.npz"))) * 3
    assert done == 9
    counting = Counting()
    store = write_embeddings(
        folder=tmp_path, embedder=Embedder("moments", counting), clips=clips, shard_size=3
    )
    assert counting.clips == 11 - done
    check(store, expected)


def test_damaged_shards_are_noticed_and_computed_again(tmp_path):
    clips, expected = dataset()
    arguments = {"folder": tmp_path, "clips": clips, "shard_size": 3}
    store = write_embeddings(embedder=Embedder("moments", moments), **arguments)
    first, second, third, fourth = sorted(tmp_path.glob("*.npz"))
    first.write_bytes(first.read_bytes()[:-30])
    content = bytearray(third.read_bytes())
    content[len(content) // 2] ^= 1
    third.write_bytes(content)
    fourth.unlink()
    for damaged in (first, third, fourth):
        with pytest.raises(SepconError, match=damaged.name):
            store.shard(int(damaged.name[11:16]))
    counting = Counting()
    before = second.stat().st_mtime_ns
    check(write_embeddings(embedder=Embedder("moments", counting), **arguments), expected)
    assert counting.clips == 3 + 3 + 2
    assert second.stat().st_mtime_ns == before


def test_finished_run_changes_nothing(tmp_path, capsys):
    clips, _ = dataset()
    embed(run_dir=tmp_path, model=Embedder("moments", moments), clips=clips, config_text="a = 1\n")
    assert (tmp_path / "config.gin").read_text() == "a = 1\n"
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    counting = Counting()
    embed(run_dir=tmp_path, model=Embedder("moments", counting), clips=clips)
    assert "nothing to do" in capsys.readouterr().err
    assert counting.clips == 0
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def test_embeddings_of_something_else_are_left_alone(tmp_path):
    clips, expected = dataset()
    arguments = {"folder": tmp_path, "shard_size": 4}
    store = write_embeddings(embedder=Embedder("moments", moments), clips=clips, **arguments)
    other, _ = dataset(LENGTHS[:5])
    with pytest.raises(SepconError, match="model 'moments', now 'other'"):
        write_embeddings(embedder=Embedder("other", moments), clips=clips, **arguments)
    with pytest.raises(SepconError, match="num_clips 11, now 5"):
        write_embeddings(embedder=Embedder("moments", moments), clips=other, **arguments)
    check(store, expected)


def test_bad_models_and_datasets_are_named(tmp_path):
    clips, _ = dataset()

    def write(function, clips=clips, **settings):
        embedder = Embedder("model", function, **settings)
        folder = tmp_path / f"store of {clips.num_clips}"
        write_embeddings(folder=folder, embedder=embedder, clips=clips, shard_size=4)

    with pytest.raises(SepconError, match="'clip 6' is not finite"):  # 0 / 0 of the empty clip
        write(lambda waveform: tf.reduce_mean(waveform, axis=1, keepdims=True))
    with pytest.raises(SepconError, match=r"no 'embedding', only \['logits'\]"):
        write(lambda waveform: {"logits": waveform})
    with pytest.raises(SepconError, match="expected"):
        write(lambda waveform: tf.zeros([3]))
    with pytest.raises(SepconError, match="fewer clips than the 12"):
        write(moments, clips=dataset(announced=12)[0])
    with pytest.raises(SepconError, match="no clip"):
        write(moments, clips=dataset([])[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(SepconError, match="file"):
        embed(run_dir=tmp_path / "file", model=Embedder("moments", moments), clips=clips)


def test_more_clips_than_announced(tmp_path):
    with pytest.raises(SepconError, match="more clips than the 10"):
        write_embeddings(
            folder=tmp_path,
            embedder=Embedder("moments", moments),
            clips=dataset(announced=10)[0],
            shard_size=4,
        )


def test_full_disk_is_told_and_nothing_is_half_written(tmp_path, monkeypatch):
    clips, expected = dataset()

    def full(file, array, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    arguments = {"folder": tmp_path, "embedder": Embedder("moments", moments), "clips": clips}
    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", full)
        with pytest.raises(SepconError, match="No space left"):
            write_embeddings(**arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]
    check(write_embeddings(**arguments), expected)


def test_reading_what_is_no_store(tmp_path):
    with pytest.raises(SepconError, match="no embeddings"):
        EmbeddingStore(tmp_path)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(SepconError, match="damaged"):
        EmbeddingStore(tmp_path)
    with pytest.raises(ValueError, match="shard_size"):
        EmbeddingWriter(tmp_path, StoreLayout("a", "b", (), 3, 0))


def test_saved_model_run_and_export_folder_agree(tmp_path):
    run = tmp_path / "run"
    write_run(run)
    saved_model = export(run_dir=tmp_path / "export", model=run)
    loaded = load_encoder(run)
    waveform = noise(2, 20000)
    live = EmbeddingModel(loaded.encoder, LOG_MEL, patch_seconds=PATCH_SECONDS)(waveform)
    embedders = [load_embedder(path) for path in (run, saved_model, tmp_path / "export")]
    for embedder in embedders:
        np.testing.assert_allclose(embedder(waveform), live["embedding"], atol=1e-5)
        assert embedder.sample_rate_hz == 16000
    assert len({embedder.fingerprint for embedder in embedders}) == 1


def test_embeddings_with_channels_are_those_of_the_model_and_others_are_refused(tmp_path):
    write_run(tmp_path / "encoder")
    separator = write_separator_run(tmp_path / "separator")
    clips, elements = dataset([9000, 500, 12000])
    channels = Channels(separator, audible_share=0.8)
    arguments = {"run_dir": tmp_path / "out", "model": tmp_path / "encoder", "clips": clips}
    store = embed(**arguments, channels=channels)
    assert store.dim == 24
    embedder = load_embedder(tmp_path / "encoder", channels)
    for clip, row in zip(elements, store.load().embedding, strict=True):
        waveform = clip["audio"][np.newaxis].astype(np.float32) / 32768
        np.testing.assert_allclose(row, embedder(waveform)[0], atol=1e-5)
    with pytest.raises(SepconError, match="attention is learned with labels"):
        embed(
            run_dir=tmp_path / "learned",
            model=tmp_path / "encoder",
            clips=clips,
            channels=Channels(separator, pooling="attention"),
        )
    # An unfinished store of one model is not gone on with by another.
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(SepconError, match="embeddings of something else"):
        embed(**arguments, channels=Channels(separator, audible_share=0.7))
    with pytest.raises(SepconError, match="encoders of sepcon alone"):
        load_embedder(Embedder("moments", moments), channels)
    long = load_embedder(
        tmp_path / "encoder", Channels(separator, pooling="attention", window_seconds=0.6)
    )
    assert long.patches(noise(1, 20000)).shape == (1, 4, 8 + 3 * 9)
    with pytest.raises(SepconError, match=r"in one window of 0.6 s, but a recording has 1.25 s"):
        long(noise(1, 20000))


def test_a_model_of_somebody_else(tmp_path):
    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="audio")])
        def __call__(self, audio):
            return {"embedding": moments(audio)}

    tf.saved_model.save(Other(), str(tmp_path / "other"))
    embedder = load_embedder(tmp_path / "other")
    np.testing.assert_allclose(embedder(noise(2, 900)), moments(noise(2, 900)), rtol=1e-6)
    assert load_embedder(tmp_path / "other").fingerprint == embedder.fingerprint
    with pytest.raises(SepconError, match="holds no encoder"):
        load_embedder(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(SepconError, match="cannot be read"):
        load_embedder(tmp_path)


def test_log_mel_statistics_are_mean_and_deviation_over_time():
    waveform = noise(2, 9000)
    frames = LOG_MEL(waveform).numpy()
    expected = np.concatenate([frames.mean(axis=1), frames.std(axis=1)], axis=1)
    embedder = log_mel_statistics(LOG_MEL)
    np.testing.assert_allclose(embedder(waveform), expected, atol=1e-4)
    assert np.isfinite(embedder(noise(2, 3))).all()


def test_untrained_encoder_has_random_weights_and_normalised_input(tmp_path):
    trained = write_run(tmp_path)
    config = load_reference_config(tmp_path)
    clips, elements = dataset([9001] * 40 + [300])
    waveform = noise(2, 20000, seed=1)
    first, again, other = (
        untrained_encoder(config, clips=clips, seed=seed)(waveform) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    live = EmbeddingModel(trained, LOG_MEL, patch_seconds=PATCH_SECONDS)(waveform)["embedding"]
    assert np.abs(first - live).max() > 0.01

    embedder = untrained_encoder(config, clips=clips, seed=1)
    moving_mean, moving_variance = embedder.function._tf_variables[2:4]
    middle = [clip["audio"][500:8500] for clip in elements[:40]]
    middle.append(np.pad(elements[40]["audio"], (0, 7700)))
    frames = LOG_MEL(np.array(middle, np.float32) / 32768).numpy()
    np.testing.assert_allclose(moving_mean, frames.mean(axis=(0, 1)), atol=1e-3)
    np.testing.assert_allclose(moving_variance, frames.var(axis=(0, 1)), rtol=1e-2)
