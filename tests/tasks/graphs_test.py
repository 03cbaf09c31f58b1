"""The training steps of the real tasks hold nothing that an accelerator refuses or drops."""

import functools

import pytest
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.doctor.graph_lint import lint_task
from sepcon.models.encoders import small_cnn
from sepcon.models.separator.network import Separator, SeparatorConfig
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.pretraining import PretrainingTask, SimilarityAndCoincidence
from sepcon.tasks.separation import SeparationTask
from sepcon.tasks.supervised import SupervisedObjective, SupervisedTask
from sepcon.views.augment import RandomEqualization, RandomPadCrop, RandomSpeed, SpecAugment
from sepcon.views.example_mixing import ExampleMixing
from sepcon.views.sampler import ViewSampler

SAMPLES = 16000


def spec(num_uniforms: int, **more: tf.TensorSpec) -> dict[str, tf.TensorSpec]:
    return {
        "audio": tf.TensorSpec([4, SAMPLES], tf.int16),
        "uniforms": tf.TensorSpec([4, num_uniforms], tf.float32),
        **more,
    }


@pytest.mark.parametrize(
    "pairs", [("mixture-mixture",), ("mixture-mixture", "mixture-channel", "channel-channel")]
)
def test_pretraining(pairs):
    sampler = ViewSampler(pairs=pairs, patch_seconds=0.5)
    log_mel = LogMel()
    views = LogMelViews(
        log_mel=log_mel,
        sampler=sampler,
        anchor_augmentations=[SpecAugment()],
        positive_augmentations=[RandomEqualization(), SpecAugment()],
        example_mixing=ExampleMixing(),
    )
    task = PretrainingTask(
        encoder=small_cnn(embedding_size=32, num_frames=log_mel.num_frames(sampler.patch_samples)),
        views=views,
        objective=SimilarityAndCoincidence(coincidence_weight=0.5),
    )
    channels = {"channels": tf.TensorSpec([4, 3, SAMPLES], tf.int16)} if len(pairs) > 1 else {}
    assert lint_task(task, spec(task.num_uniforms, **channels)) == []


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_supervised(weight):
    sampler = ViewSampler(pairs=("mixture-mixture",), patch_seconds=1.0)
    log_mel = LogMel(range_db=80.0)
    views = LogMelViews(
        log_mel=log_mel,
        sampler=sampler,
        anchor_augmentations=[SpecAugment(fill="minimum")],
        waveform_augmentations=[RandomSpeed(), RandomPadCrop(1.0)],
    )
    task = SupervisedTask(
        encoder=small_cnn(embedding_size=32, num_frames=log_mel.num_frames(sampler.patch_samples)),
        views=views,
        num_classes=5,
        objective=SupervisedObjective(contrastive_weight=weight),
    )
    labels = {"labels": tf.TensorSpec([4, 5], tf.float32)}
    assert lint_task(task, spec(task.num_uniforms, **labels)) == []


@pytest.mark.parametrize(
    "share, more",
    [
        (0.0, {}),
        (0.0, {"num_sources": 18}),  # too many for the exact search
        (0.0, {"basis": "learned", "causal": True, "norm": "global", "matmul_dtype": "bfloat16"}),
        (0.5, {"causal": True}),
        (1.0, {}),
    ],
)
def test_separation(share, more):
    if "basis" in more:
        more = more | {"window_seconds": 0.0025, "hop_seconds": 0.00125}
    small = {"num_sources": 3, "bottleneck": 8, "conv_channels": 8, "num_dilations": 2}
    config = SeparatorConfig(**{**small, "num_repeats": 1, **more})
    weights = {} if share == 1.0 else {"sparsity_weight": 0.1, "covariance_weight": 0.1}
    task = SeparationTask(Separator(config), segment_seconds=0.5, supervised_share=share, **weights)
    # What is traced for unknown shapes elsewhere in the process must not serve the training step.
    network = functools.partial(task.model, training=True)
    tf.function(
        network, autograph=False, input_signature=[tf.TensorSpec([None, None])]
    ).get_concrete_function()
    # On a CPU the search for the best assignment falls back on float64; on a TPU it does not.
    sources = {"sources": tf.TensorSpec([4, 3, SAMPLES], tf.int16)} if share else {}
    problems = lint_task(task, spec(task.num_uniforms, **sources), allowed=[r"float64"])
    assert problems == []
