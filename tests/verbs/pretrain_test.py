"""What `pretrain` and `train_separator` say of arguments that do not fit, before any training."""

import signal
from typing import Any, NoReturn

import keras
import pytest
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import ClipDataset, from_reader
from sepcon.data.examples import ReadExample
from sepcon.errors import Interrupted, SepconError
from sepcon.models.encoders import small_cnn
from sepcon.models.separator.network import SeparatorConfig
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.pretraining import SimilarityAndCoincidence
from sepcon.tasks.supervised import supervised
from sepcon.training.task import Task
from sepcon.verbs.pretrain import pretrain
from sepcon.verbs.train_separator import train_separator
from sepcon.views.sampler import ViewSampler


def clips(samples: int | None = 16000) -> ClipDataset:
    def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "id": tf.strings.as_string(position),
            "audio": tf.zeros([samples or 16000], tf.int16),
            "labels": tf.zeros([0]),
        }

    return from_reader(name="toy", num_clips=4, class_names=(), clip_samples=samples, read=read)


def taken(changes: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: changes.pop(name) for name in names if name in changes}


def call(tmp_path: Any, **changes: Any) -> None:
    """Pretrains for a step; changes that are no arguments of the verb are of their objects."""
    of_examples = {"clips": clips()} | taken(changes, "clips", "channels")
    sampler = ViewSampler(pairs=("mixture-mixture",), patch_seconds=0.5)
    of_views = {"sampler": sampler, "log_mel": LogMel()}
    of_views |= taken(changes, "sampler", "log_mel", "separators")
    sizes = taken(
        changes, "coincidence_weight", "projection_hidden_sizes", "coincidence_hidden_sizes"
    )
    arguments: dict[str, Any] = {
        "run_dir": tmp_path / "run",
        "examples": ClipExamples(**of_examples),
        "views": LogMelViews(**of_views),
        "encoder": small_cnn,
        "objective": SimilarityAndCoincidence(**sizes),
        "batch_size": 4,
        "num_steps": 1,
        "optimizer": lambda: keras.optimizers.Adam(1e-3),
    }
    pretrain(**(arguments | changes))


class Numbers:
    """Examples of which no log-mel patch can be made."""

    name, num_examples, class_names, num_uniforms = "numbers", 4, (), 0

    def reader(self) -> ReadExample:
        return lambda position, uniforms: {"id": tf.strings.as_string(position), "number": position}


CHANNEL = ViewSampler(pairs=("mixture-channel",), patch_seconds=0.5)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sampler": CHANNEL}, "mixture-channel need separated channels"),
        ({"sampler": CHANNEL, "channels": ["a"], "separators": [("b", None)]}, "got both"),
        (
            {"channels": ["a"]},
            "mixture-mixture take no separated channels, got .'a'.: leave them out",
        ),
        ({"log_mel": LogMel(sample_rate_hz=44100)}, "differs from log_mel.sample_rate_hz=44100"),
        (
            {
                "log_mel": LogMel(sample_rate_hz=44100),
                "sampler": ViewSampler(pairs=("mixture-mixture",), sample_rate_hz=44100),
            },
            "toy: clips are at 16000 Hz, but the front-end wants 44100 Hz",
        ),
        ({"examples": Numbers()}, "numbers: LogMelViews are made of clips, got Numbers"),
        ({"separators": [("b", 3)]}, "mixture-mixture take no separated channels"),
        ({"sampler": CHANNEL, "channels": ["nowhere"]}, "nowhere.*no such file"),
        ({"sampler": CHANNEL, "separators": [("nowhere", None)]}, "nowhere"),
        ({"clips": clips(None)}, "toy: clips differ in length"),
        ({"clips": clips(4000)}, "shorter than a patch of 8000"),
        ({"objective": supervised()}, "toy has no labels"),
        ({"batch_size": 1, "coincidence_weight": 1.0}, "at least 2"),
        ({"strategy": "two"}, "strategy: got 'two'"),
        ({"coincidence_hidden_sizes": ()}, "at least one layer"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises((SepconError, ValueError), match=message):
        call(tmp_path, **changes)
    assert not (tmp_path / "run" / "run.json").exists()


def test_heads_are_as_wide_as_they_are_told(tmp_path):
    tasks = []

    def loop(*, task: Task, **_: Any) -> NoReturn:
        tasks.append(task)
        raise Interrupted(signal.SIGTERM)

    sizes = {"projection_hidden_sizes": (7,), "coincidence_hidden_sizes": (5, 3, 2)}
    with pytest.raises(Interrupted):
        call(tmp_path, loop=loop, **sizes)
    assert not (tmp_path / "run" / "run.json").exists()
    model = tasks[0].model
    assert [weight.shape[-1] for weight in model.projection.trainable_weights] == [7] * 3 + [
        128
    ] * 2
    kernels = [
        tuple(weight.shape) for weight in model.coincidence.weights if len(weight.shape) == 2
    ]
    assert sorted(kernels) == sorted([(512, 5), (512, 5), (5, 3), (3, 2), (2, 1)])


def test_a_run_of_another_architecture_is_left_alone(tmp_path):
    call(tmp_path)
    before = (tmp_path / "run" / "model.json").read_text()
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(SepconError, match="another architecture"):
        call(tmp_path, encoder=lambda **shape: small_cnn(embedding_size=16, **shape))
    assert (tmp_path / "run" / "model.json").read_text() == before


def test_a_separator_of_another_architecture_is_left_alone(tmp_path):
    small = SeparatorConfig(
        num_sources=2, bottleneck=4, conv_channels=4, num_repeats=1, num_dilations=1
    )
    arguments: dict[str, Any] = {
        "run_dir": tmp_path,
        "clips": clips(),
        "batch_size": 2,
        "num_steps": 1,
        "segment_seconds": 0.5,
        "optimizer": lambda: keras.optimizers.Adam(1e-3),
    }
    train_separator(separator=small, **arguments)
    (tmp_path / "run.json").unlink()
    other = SeparatorConfig(
        num_sources=3, bottleneck=4, conv_channels=4, num_repeats=1, num_dilations=1
    )
    with pytest.raises(SepconError, match="another architecture"):
        train_separator(separator=other, **arguments)
