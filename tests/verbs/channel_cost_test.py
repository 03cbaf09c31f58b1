"""Channels stored or made on the fly: the same numbers, and what either costs."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import ClipDataset, from_reader
from sepcon.data.stream import TrainingStream
from sepcon.errors import SepconError
from sepcon.models.encoders import small_cnn
from sepcon.models.separator.network import (
    Separator,
    SeparatorConfig,
    load_separator,
    save_separator_config,
)
from sepcon.models.weights import state_folder, write_weights
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.pretraining import PretrainingTask, SimilarityAndCoincidence
from sepcon.verbs.channel_cost import channel_cost, cost
from sepcon.verbs.separate import separate
from sepcon.views.sampler import ViewSampler
from sepcon.views.separator_front_end import SeparatorFrontEnd

SAMPLES, CLIPS = 8000, 6


def clips(samples: int | None = SAMPLES) -> ClipDataset:
    def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
        seed = tf.stack([position, tf.constant(3, tf.int64)])
        return {
            "id": tf.strings.as_string(position),
            "audio": tf.cast(tf.random.stateless_normal([SAMPLES], seed, stddev=3e3), tf.int16),
            "labels": tf.zeros([0]),
        }

    return from_reader(name="toy", num_clips=CLIPS, class_names=(), clip_samples=samples, read=read)


@pytest.fixture(scope="module")
def separator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small separator with random weights."""
    folder = tmp_path_factory.mktemp("separator")
    keras.utils.set_random_seed(5)
    config = SeparatorConfig(
        num_sources=3, bottleneck=8, conv_channels=8, num_repeats=1, num_dilations=2
    )
    save_separator_config(config, folder)
    write_weights(Separator(config), state_folder(folder, 7))
    return folder


def test_on_the_fly_and_stored_are_the_same_to_within_rounding(tmp_path, separator):
    separate(run_dir=tmp_path / "channels", separator=str(separator), clips=clips(), batch_size=4)
    sampler = ViewSampler(pairs=("mixture-channel", "channel-channel"), patch_seconds=0.3)
    front_end = SeparatorFrontEnd([load_separator(separator)])
    results, patches = [], []
    for channels, made in (
        ([str(tmp_path / "channels")], None),
        ([], front_end),
    ):
        keras.utils.set_random_seed(1)
        task = PretrainingTask(
            encoder=small_cnn(embedding_size=16, num_mels=32),
            views=LogMelViews(log_mel=LogMel(num_mels=32), sampler=sampler, front_end=made),
            objective=SimilarityAndCoincidence(),
        )
        stream = TrainingStream(
            examples=ClipExamples(clips(), channels=channels),
            batch_size=4,
            seed=0,
            num_uniforms=task.num_uniforms,
        )
        batch = next(iter(stream.batches(0)))
        patches.append(task.views(batch))
        results.append(task.loss(batch, training=False))
    for stored, on_the_fly in zip(*patches, strict=True):
        np.testing.assert_allclose(stored, on_the_fly, atol=1e-2)
        assert np.std(stored) > 0.1
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        assert float(results[1][name]) == pytest.approx(float(value), rel=1e-3, abs=1e-3), name


def test_the_estimate_is_what_the_shapes_say_and_what_was_stored(tmp_path, separator, capsys):
    folder = tmp_path / "channels"
    separate(run_dir=folder, separator=str(separator), clips=clips(), batch_size=4)
    arguments = {"separator": str(separator), "clips": clips(), "batch_size": 4, "num_steps": 30}
    estimate = channel_cost(run_dir=tmp_path / "cost", num_runs=2, **arguments)
    on_disk = sum(path.stat().st_size for path in folder.glob("*.tfrecord"))
    assert estimate.stored_bytes == 2 * SAMPLES * 3 * CLIPS
    assert 1.0 < on_disk / estimate.stored_bytes < 1.01  # names and checksums beside the samples
    assert estimate.stored_seconds > 0
    share = estimate.on_the_fly_seconds / estimate.stored_seconds
    assert share == pytest.approx(2 * 30 * 4 / CLIPS)
    out = capsys.readouterr().out
    assert "stored" in out
    assert "on the fly" in out
    again = channel_cost(run_dir=tmp_path / "cost", num_runs=2, **arguments)
    assert again == estimate


def test_a_cost_by_hand():
    estimate = cost(
        seconds_per_clip=0.05,
        clip_samples=80000,
        num_channels=4,
        num_clips=3000,
        clips_on_the_fly=64000,
    )
    assert estimate.stored_seconds == pytest.approx(150.0)
    assert estimate.stored_bytes == 1_920_000_000
    assert estimate.on_the_fly_seconds == pytest.approx(3200.0)


def test_clips_of_varying_length_have_no_stored_channels(tmp_path, separator):
    with pytest.raises(SepconError, match=r"toy: clips differ in length.*SEPARATORS"):
        channel_cost(run_dir=tmp_path / "cost", separator=str(separator), clips=clips(None))
