"""Small trainings of every kind, to look at their steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.models import encoders
from sepcon.models.separator.network import Separator, SeparatorConfig
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.pretraining import PretrainingTask, SimilarityAndCoincidence
from sepcon.tasks.separation import SeparationTask
from sepcon.tasks.supervised import SupervisedObjective, SupervisedTask
from sepcon.training.task import Task
from sepcon.views.augment import RandomEqualization, RandomPadCrop, RandomSpeed, SpecAugment
from sepcon.views.example_mixing import ExampleMixing
from sepcon.views.sampler import ViewSampler

_ROWS, _SAMPLES, _SOURCES, _CLASSES = 4, 16000, 3, 5
Spec = dict[str, tf.TensorSpec]


@dataclasses.dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
      task: what is trained.
      spec: of a batch.
      precision: of its maps, see `computing_in`.
      rounded: whether anything is computed in bfloat16, which devices round each in its own way.
    """

    task: Task
    spec: Spec
    precision: str = "float32"
    rounded: bool = False

    def batch(self) -> dict[str, tf.Tensor]:
        """Makes a batch, always the same.

        Returns:
          Name -> tensor [rows, ...], of the shape that `spec` says.
        """
        random = np.random.default_rng(0)
        return {name: _drawn(random, each) for name, each in self.spec.items()}


def _drawn(random: np.random.Generator, spec: tf.TensorSpec) -> tf.Tensor:
    if spec.dtype == tf.int16:
        return tf.constant(random.normal(0, 3000, spec.shape), tf.int16)
    if spec.shape[-1] == _CLASSES:
        return tf.one_hot(random.integers(0, _CLASSES, spec.shape[0]), _CLASSES)
    return tf.constant(random.random(spec.shape), spec.dtype)


def _separation(share: float = 0.0, **config: Any) -> Case:
    small = {"bottleneck": 8, "conv_channels": 8, "num_repeats": 1, "num_dilations": 2}
    network = Separator(SeparatorConfig(**{**small, "num_sources": _SOURCES, **config}))
    weights: dict[str, Any] = (
        {} if share == 1.0 else {"sparsity_weight": 0.1, "covariance_weight": 0.1}
    )
    task = SeparationTask(network, segment_seconds=0.5, supervised_share=share, **weights)
    more = {"sources": tf.TensorSpec([_ROWS, _SOURCES, _SAMPLES], tf.int16)} if share else {}
    return Case(task, _spec(task, **more), rounded=network.config.matmul_dtype != "float32")


def _pretraining(
    factory: Callable[..., keras.Model], precision: str = "float32", **options: Any
) -> Case:
    pairs = ("mixture-mixture", "mixture-channel", "channel-channel")
    sampler = ViewSampler(pairs=pairs, patch_seconds=0.5, position_candidates=2)
    views = LogMelViews(
        log_mel=LogMel(),
        sampler=sampler,
        anchor_augmentations=[SpecAugment()],
        positive_augmentations=[RandomEqualization(), SpecAugment()],
        example_mixing=ExampleMixing(),
    )
    task = PretrainingTask(
        encoder=factory(embedding_size=32, **views.encoder_arguments),
        views=views,
        objective=SimilarityAndCoincidence(**options),
    )
    spec = _spec(task, channels=tf.TensorSpec([_ROWS, _SOURCES, _SAMPLES], tf.int16))
    return Case(task, spec, precision=precision, rounded=precision != "float32")


def _supervised(weight: float) -> Case:
    sampler = ViewSampler(pairs=("mixture-mixture",), patch_seconds=1.0)
    views = LogMelViews(
        log_mel=LogMel(range_db=80.0),
        sampler=sampler,
        anchor_augmentations=[SpecAugment(fill="minimum")],
        waveform_augmentations=[RandomSpeed(), RandomPadCrop(1.0)],
    )
    task = SupervisedTask(
        encoder=encoders.small_cnn(embedding_size=32, **views.encoder_arguments),
        views=views,
        num_classes=_CLASSES,
        objective=SupervisedObjective(contrastive_weight=weight),
    )
    return Case(task, _spec(task, labels=tf.TensorSpec([_ROWS, _CLASSES])))


def _spec(task: Task, **more: tf.TensorSpec) -> Spec:
    audio = tf.TensorSpec([_ROWS, _SAMPLES], tf.int16)
    return {"audio": audio, "uniforms": tf.TensorSpec([_ROWS, task.num_uniforms]), **more}


_LEARNED: dict[str, Any] = {"basis": "learned", "window_seconds": 0.0025, "hop_seconds": 0.00125}

# What each is called in the report -> makes it. The large encoders take seconds each.
CASES: Mapping[str, Callable[[], Case]] = {
    "separation": _separation,
    "separation, learned basis": lambda: _separation(**_LEARNED, norm="global"),
    "separation, causal, half supervised": lambda: _separation(0.5, causal=True),
    "separation, supervised": lambda: _separation(1.0),
    "separation, bfloat16": lambda: _separation(matmul_dtype="bfloat16"),
    "separation, 18 sources": lambda: _separation(num_sources=18),
    "pretraining": lambda: _pretraining(encoders.small_cnn),
    "pretraining, bfloat16": lambda: _pretraining(encoders.small_cnn, "bfloat16"),
    "pretraining, vggish": lambda: _pretraining(encoders.vggish),
    "supervised": lambda: _supervised(0.0),
    "supervised, contrastive": lambda: _supervised(0.5),
}
CASES_OF_EACH_KIND = ("separation", "pretraining", "supervised")
LARGE_CASES: Mapping[str, Callable[[], Case]] = {
    "pretraining, mobilenet_v2": lambda: _pretraining(encoders.mobilenet_v2),
    "pretraining, efficientnet_b0": lambda: _pretraining(encoders.efficientnet_b0),
    "pretraining, resnet50": lambda: _pretraining(encoders.resnet50),
}
