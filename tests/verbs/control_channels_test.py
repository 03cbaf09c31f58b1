"""Controls: random masks of given energies, and the sources that were mixed."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from sepcon.data.channel_shards import ChannelWriter, read_index
from sepcon.data.channels import stored_channels
from sepcon.data.clips import ClipDataset, from_reader
from sepcon.errors import SepconError
from sepcon.separation.random_masks import RandomMasks
from sepcon.verbs.control_channels import control_channels

SAMPLES, CLIPS = 16000, 5


def mixtures(batch: int = 3, seed: int = 0) -> np.ndarray:
    """Noise of a slope and a level that change, on the scale of recordings."""
    rng = np.random.default_rng(seed)
    noise = np.cumsum(rng.normal(size=(batch, SAMPLES)), axis=-1)
    noise -= np.linspace(0, 1, SAMPLES) * noise[:, -1:]
    noise = 0.01 * noise + rng.normal(size=(batch, SAMPLES)) * np.linspace(0, 1, SAMPLES)
    return (0.05 * noise).astype(np.float32)


def normals(masks: RandomMasks, batch: int, channels: int, seed: int = 1) -> np.ndarray:
    shape = (batch, channels, masks.num_time_knots(SAMPLES), masks.num_frequency_knots)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def energy(audio: np.ndarray) -> np.ndarray:
    return np.square(audio, dtype=np.float64).sum(axis=-1)


@pytest.mark.parametrize(
    "shares, ratio",
    [((0.4, 0.3, 0.2, 0.1), 0.6), ((0.85, 0.1, 0.04, 0.01), 0.9), ((0.5, 0.5), 0.75)],
)
def test_channels_sum_to_the_mixture_and_have_the_energies_asked_for(shares, ratio):
    masks, mixture = RandomMasks(), mixtures()
    wanted = ratio * energy(mixture)[:, np.newaxis] * np.array(shares)
    channels = np.asarray(
        masks(
            mixture=mixture,
            energies=wanted.astype(np.float32),
            normals=normals(masks, 3, len(shares)),
        )
    )
    assert channels.shape == (3, len(shares), SAMPLES)
    np.testing.assert_allclose(channels.sum(axis=1), mixture, atol=1e-5)
    decibels = 10 * np.log10(energy(channels) / wanted)
    assert np.abs(decibels).max() < 2.0


def test_masks_are_smooth_and_have_nothing_to_do_with_the_sound():
    masks = RandomMasks()
    mixture = mixtures(1)
    numbers = normals(masks, 1, 2)
    half = 0.35 * energy(mixture)[:, np.newaxis] * np.ones(2)
    split = masks(mixture=mixture, energies=half.astype(np.float32), normals=numbers)
    stft = [np.abs(tf.signal.stft(each, 512, 128)) for each in (split[0, 0], mixture[0])]
    mask = stft[0] / (stft[1] + 1e-9)
    loud = stft[1] > np.median(stft[1])
    jumps = np.abs(np.diff(mask, axis=0))[loud[1:] & loud[:-1]]
    # A knot is 31 frames wide: from frame to frame a mask can change by a few hundredths only.
    assert np.median(jumps) < 0.1
    assert mask[loud].std() > 0.1


def test_graph_equals_eager_and_examples_do_not_touch_each_other():
    masks, mixture, numbers = RandomMasks(), mixtures(), normals(RandomMasks(), 3, 3)
    wanted = (0.2 * energy(mixture)[:, np.newaxis] * np.ones(3)).astype(np.float32)

    def split(mixture, energies, normals):
        return masks(mixture=mixture, energies=energies, normals=normals)

    signature = [tf.TensorSpec([None, *each.shape[1:]]) for each in (mixture, wanted, numbers)]
    traced = tf.function(split, input_signature=signature)(mixture, wanted, numbers)
    np.testing.assert_allclose(traced, split(mixture, wanted, numbers), atol=1e-4)
    alone = split(mixture[1:2], wanted[1:2], numbers[1:2])
    np.testing.assert_allclose(traced[1:2], alone, atol=1e-4)


def test_silence_stays_silence():
    masks = RandomMasks()
    silence = np.zeros((1, SAMPLES), np.float32)
    channels = masks(
        mixture=silence, energies=np.zeros((1, 4), np.float32), normals=normals(masks, 1, 4)
    )
    assert not np.any(channels)


def sources_of(position: tf.Tensor) -> tf.Tensor:
    seed = tf.stack([position, tf.constant(7, tf.int64)])
    noise = tf.random.stateless_normal([3, SAMPLES], seed, stddev=1000.0)
    return tf.cast(noise, tf.int16) * tf.constant([[3], [1], [0]], tf.int16)


def clips(with_sources: bool = True) -> ClipDataset:
    def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "id": "clip" + tf.strings.as_string(position),
            "audio": tf.reduce_sum(sources_of(position), axis=0),
            "labels": tf.zeros([0]),
        }

    def read_with_sources(position: tf.Tensor) -> dict[str, tf.Tensor]:
        return read(position) | {"sources": sources_of(position)}

    return from_reader(
        name="toy",
        num_clips=CLIPS,
        class_names=(),
        clip_samples=SAMPLES,
        read=read,
        read_with_sources=read_with_sources if with_sources else None,
    )


def stored(folder: Path, position: int) -> np.ndarray:
    channels = stored_channels(paths=[str(folder)])
    return channels.read(
        tf.constant(position, tf.int64), tf.constant(f"clip{position}"), 0.0
    ).numpy()


def test_true_sources_are_stored_as_they_are_and_a_second_call_does_nothing(tmp_path, capsys):
    folder = control_channels(run_dir=tmp_path / "true", clips=clips(), kind="true_sources")
    for position in range(CLIPS):
        expected = sources_of(tf.constant(position, tf.int64))
        np.testing.assert_array_equal(stored(folder, position), expected)
    control_channels(run_dir=tmp_path / "true", clips=clips(), kind="true_sources")
    assert "nothing to do" in capsys.readouterr().err


def test_random_masks_take_over_number_and_energies_of_the_reference(tmp_path):
    reference = tmp_path / "separated"
    shares = np.array([0.6, 0.5, 0.3])
    with ChannelWriter(
        reference, clips=clips(), num_channels=3, checkpoint="run", step=1
    ) as writer:
        for element in clips().build():
            audio = element["audio"].numpy() / 32768
            writer.write(element["id"], shares[:, np.newaxis] * audio)
    made = [
        control_channels(
            run_dir=tmp_path / name,
            clips=clips(),
            kind="random_masks",
            reference=str(reference),
            seed=seed,
            batch_size=2,
        )
        for name, seed in (("a", 0), ("b", 1))
    ]
    assert read_index(made[0]).num_channels == 3
    for position in range(CLIPS):
        first, other = (stored(folder, position).astype(np.float64) for folder in made)
        decibels = 10 * np.log10(energy(first) / energy(stored(reference, position)))
        assert np.abs(decibels).max() < 2.0
        mixture = sources_of(tf.constant(position, tf.int64)).numpy().sum(axis=0)
        np.testing.assert_allclose(first.sum(axis=0), mixture, atol=2)  # three roundings
        assert np.abs(first - other).max() > 100
    assert not np.array_equal(stored(made[0], 0), stored(made[0], 1))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": "sources"}, "'sources', expected one of true_sources, random_masks"),
        ({"kind": "random_masks", "reference": "nowhere"}, "nowhere.*sepcon separate"),
        ({"clips": clips(with_sources=False)}, "toy: the sources .* are not known"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, changes, message):
    arguments = {"run_dir": tmp_path / "run", "clips": clips(), "kind": "true_sources"} | changes
    with pytest.raises(SepconError, match=message):
        control_channels(**arguments)
