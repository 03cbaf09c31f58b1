"""What the networks of gin files cost: operations, weights and sizes, for tools/plan.py.

Nothing is run: the separator is counted from its configuration, encoder and heads in the traced
graph of the pretraining loss.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from sepcon import cli
from sepcon.audio.log_mel import LogMel
from sepcon.embeddings.shallow import ShallowSettings
from sepcon.errors import SepconError
from sepcon.models.graphs.flops import function_flops
from sepcon.models.separator.flops import separator_flops
from sepcon.models.separator.network import Separator, SeparatorConfig
from sepcon.tasks.pretraining import PretrainingTask, SimilarityAndCoincidence
from sepcon.tasks.supervised import SupervisedObjective, SupervisedTask
from sepcon.verbs.pretrain import pretrain
from sepcon.verbs.train_separator import train_separator
from sepcon.views.sampler import ViewSampler

# A gradient with respect to each factor of a product is a product of the same size.
STEP_BY_FORWARD = 3
# Nothing of a data set is needed to know what a network costs.
_NO_DATA = ("TRAIN_CLIPS=None", "VALIDATION_CLIPS=None", "TEST_CLIPS=None", "CHANNELS=()")


@dataclasses.dataclass(frozen=True)
class Networks:
    """What gin files say of the networks and of their training.

    Attributes:
      separator: the configuration of the separator.
      separator_batch: clips in a batch of its training.
      separator_rows: what is separated in one step: mixtures of mixtures, and single clips where
        a share of the batch is supervised.
      segment_samples: of each of them.
      separator_steps: of its training.
      pretraining: the bound arguments of `sepcon pretrain`, with its defaults.
      encoder: for the patches of pretraining.
      optimizer: of pretraining.
      classifier: of the benchmark.
    """

    separator: SeparatorConfig
    separator_batch: int
    separator_rows: int
    segment_samples: int
    separator_steps: int
    pretraining: Mapping[str, Any]
    encoder: keras.Model
    optimizer: keras.optimizers.Optimizer
    classifier: ShallowSettings

    @property
    def log_mel(self) -> LogMel:
        return self.pretraining["views"].log_mel

    @property
    def views(self) -> ViewSampler:
        return self.pretraining["views"].sampler

    @property
    def pretraining_batch(self) -> int:
        return self.pretraining["batch_size"]

    def with_batch(self, batch_size: int) -> Networks:
        """The same with another batch in pretraining."""
        given = {**self.pretraining, "batch_size": batch_size}
        return dataclasses.replace(self, pretraining=given)


@dataclasses.dataclass(frozen=True)
class Costs:
    """What follows from `Networks` and the length of a clip; forward passes unless said otherwise.

    Attributes:
      separator_step_flops: of a training step.
      separate_flops: of separating a clip.
      pretraining_step_flops: of a training step with stored channels.
      embed_flops: of embedding a clip, all its patches.
      classifier_flops: of training the classifier on one embedding once.
      separator_weights: how many.
      pretraining_weights: how many, heads included.
      embedding_size: numbers in an embedding.
      num_patches: of a clip, when it is embedded.
    """

    separator_step_flops: int
    separate_flops: int
    pretraining_step_flops: int
    embed_flops: int
    classifier_flops: int
    separator_weights: int
    pretraining_weights: int
    embedding_size: int
    num_patches: int


def read_networks(gin_files: Sequence[str], gin_bindings: Sequence[str]) -> Networks:
    """Reads what gin files say of the networks, after those of runs/.

    Raises:
      SepconError: a file or binding is wrong.
    """
    bindings = [*_NO_DATA, *gin_bindings]
    separator = _arguments("train_separator", train_separator, gin_files, bindings)
    config = separator["separator"] or SeparatorConfig()
    batch, share = separator["batch_size"], separator["supervised_share"]
    given = _arguments("pretrain", pretrain, gin_files, bindings)
    # Made at once: with the next files gin forgets what it binds of them.
    encoder = given["encoder"](**given["views"].encoder_arguments)
    optimizer = given["optimizer"]()
    return Networks(
        separator=config,
        separator_batch=batch,
        separator_rows=round(batch * (1 - share) / 2 + batch * share),
        segment_samples=round(separator["segment_seconds"] * config.sample_rate_hz),
        separator_steps=separator["num_steps"],
        pretraining=given,
        encoder=encoder,
        optimizer=optimizer,
        classifier=cli.configured(
            "sepcon.embeddings.shallow:ShallowSettings",
            gin_files=gin_files,
            gin_bindings=gin_bindings,
        ),
    )


def _arguments(
    verb: str, function: Callable[..., Any], gin_files: Sequence[str], bindings: Sequence[str]
) -> dict[str, Any]:
    """The arguments of a verb: what gin binds, and the defaults of the others."""
    parameters = inspect.signature(function).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    bound = cli.bound_arguments(
        verb, gin_files=[f"runs/{verb}.gin", *gin_files], gin_bindings=bindings
    )
    return defaults | bound


def network_costs(networks: Networks, *, clip_samples: int, num_classes: int) -> Costs:
    """Counts what the networks need.

    Args:
      networks: which.
      clip_samples: length of a clip.
      num_classes: of the benchmark, and of what is pretrained with labels.
    """
    config, encoder = networks.separator, networks.encoder
    segment = min(networks.segment_samples, clip_samples)
    step = networks.separator_rows * separator_flops(config, num_samples=segment)
    patches = num_patches(networks, clip_samples)
    patch = tf.TensorSpec([1, *encoder.input_shape[1:]], tf.float32)
    embedding_size = encoder.output_shape[-1]
    task = pretraining_task(networks, num_classes)
    spec = batch_spec(
        task,
        networks,
        batch_size=networks.pretraining_batch,
        clip_samples=clip_samples,
        num_classes=num_classes,
    )
    return Costs(
        separator_step_flops=STEP_BY_FORWARD * step,
        separate_flops=separator_flops(config, num_samples=clip_samples),
        pretraining_step_flops=STEP_BY_FORWARD
        * function_flops(lambda batch: task.loss(batch, training=True)["loss"], spec),
        embed_flops=patches * function_flops(lambda x: encoder(x, training=False), patch),
        classifier_flops=STEP_BY_FORWARD
        * _classifier_flops(networks.classifier, embedding_size, num_classes),
        separator_weights=Separator(config).count_params(),
        pretraining_weights=task.model.count_params(),
        embedding_size=embedding_size,
        num_patches=patches,
    )


def num_patches(networks: Networks, clip_samples: int) -> int:
    """Patches that an exported encoder makes of a clip: half a patch apart, the end included."""
    hop_samples = networks.log_mel.hop_samples
    half = networks.views.patch_seconds / 2 * networks.log_mel.sample_rate_hz
    hop_frames = max(1, round(half / hop_samples))
    beyond_first = max(clip_samples - networks.views.patch_samples, 0)
    frames = -(-beyond_first // hop_samples)
    return 1 - (-frames // hop_frames)


def _classifier_flops(settings: ShallowSettings, embedding_size: int, num_classes: int) -> int:
    hidden = settings.hidden_units
    if hidden is None:
        return 2 * embedding_size * num_classes
    return 2 * hidden * (embedding_size + num_classes)


def pretraining_task(networks: Networks, num_classes: int) -> PretrainingTask | SupervisedTask:
    """The task that `sepcon pretrain` trains, with channels and labels from the batch."""
    objective, encoder = networks.pretraining["objective"], networks.encoder
    views = networks.pretraining["views"]  # Not opened: channels come with the batch.
    if isinstance(objective, SimilarityAndCoincidence):
        return PretrainingTask(encoder=encoder, views=views, objective=objective)
    if isinstance(objective, SupervisedObjective):
        return SupervisedTask(
            encoder=encoder, views=views, num_classes=num_classes, objective=objective
        )
    raise SepconError(
        f"pretrain.objective: got {type(objective).__name__}, but the plan counts the operations "
        "of SimilarityAndCoincidence and of supervised() alone"
    )


def batch_spec(
    task: PretrainingTask | SupervisedTask,
    networks: Networks,
    *,
    batch_size: int,
    clip_samples: int,
    num_classes: int,
) -> dict[str, tf.TensorSpec]:
    """Shapes of a batch with stored channels."""
    spec = {
        "audio": tf.TensorSpec([batch_size, clip_samples], tf.int16),
        "uniforms": tf.TensorSpec([batch_size, task.num_uniforms], tf.float32),
    }
    if isinstance(task, SupervisedTask):
        spec["labels"] = tf.TensorSpec([batch_size, num_classes], tf.float32)
    if networks.views.needs_channels:
        shape = [batch_size, networks.separator.num_sources, clip_samples]
        spec["channels"] = tf.TensorSpec(shape, tf.int16)
    return spec
