"""A classifier: an encoder and a linear layer on its embedding, as a thing to train and on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from sepcon.audio.maps.log_mel_maps import FrontEnd
from sepcon.errors import SepconError
from sepcon.models import weights
from sepcon.models.batch_norm import plain_json
from sepcon.models.encoder_files import EncoderConfig, build_from, parse_encoder
from sepcon.models.model_file import MODEL_FILE, read_description
from sepcon.models.packaged import folder_of
from sepcon.runs.run_folder import write_model_file

KIND = "classifier"
SELECTED_FOLDER = "selected"
STEP_FILE = "step.txt"


class Classifier(keras.Model):
    """Names the class of a patch.

    Args:
      encoder: log_mel [batch, frames, mels] -> embedding [batch, dim].
      num_classes: size of the output, at least 1.
      normalize: whether embeddings are brought to length one before the linear layer.
    """

    def __init__(self, *, encoder: keras.Model, num_classes: int, normalize: bool) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        super().__init__(name="classifier")
        self.encoder = encoder
        self.normalize = normalize
        self.head = keras.layers.Dense(num_classes, name="classifier")
        self.head.build((None, encoder.output_shape[-1]))
        self.built = True

    def logits(self, embedding: tf.Tensor) -> tf.Tensor:
        """Embeddings [..., dim] to logits [..., classes] float32."""
        if self.normalize:
            embedding = tf.math.l2_normalize(embedding, axis=-1)
        return self.head(embedding)

    def call(self, log_mel: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Classifies patches.

        Args:
          log_mel: [batch, frames, mels] float32.
          training: whether batch statistics are used.

        Returns:
          [batch, classes] float32, logits.
        """
        return self.logits(self.encoder(log_mel, training=training))


@dataclass(frozen=True)
class ClassifierConfig:
    """What a classifier is, without its weights.

    Attributes:
      encoder: see `EncoderConfig`.
      class_names: of the logits, in their order.
      normalize: see `Classifier`.
    """

    encoder: EncoderConfig
    class_names: tuple[str, ...]
    normalize: bool

    def build(self) -> Classifier:
        """Returns the classifier with fresh random weights."""
        return Classifier(
            encoder=self.encoder.build(),
            num_classes=len(self.class_names),
            normalize=self.normalize,
        )

    def to_json(self) -> str:
        """Returns the content of model.json."""
        own = {"class_names": self.class_names, "normalize": self.normalize}
        return json.dumps({"kind": KIND, **self.encoder.fields(), **own}, indent=1)


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier with weights, and what is needed to feed it."""

    model: Classifier
    config: ClassifierConfig
    step: int

    @property
    def log_mel(self) -> FrontEnd:
        return self.config.encoder.log_mel


def save_classifier_config(run_dir: str | Path, config: ClassifierConfig) -> None:
    """Writes model.json into the folder of a run, whole or not at all.

    Raises:
      SepconError: the folder describes another architecture.
    """
    write_model_file(Path(run_dir) / MODEL_FILE, config.to_json())


def describe(
    classifier: Classifier, *, log_mel: FrontEnd, patch_seconds: float, class_names: Sequence[str]
) -> ClassifierConfig:
    """Returns the description of a classifier.

    Args:
      classifier: the network.
      log_mel: its front-end.
      patch_seconds: length of the patches that it is trained on.
      class_names: of its outputs.
    """
    encoder = EncoderConfig(plain_json(classifier.encoder), log_mel, float(patch_seconds))
    return ClassifierConfig(encoder, tuple(class_names), classifier.normalize)


def load_classifier(run_dir: str | Path, step: int | None = None) -> LoadedClassifier:
    """Rebuilds the classifier of a run of `sepcon finetune`.

    Args:
      run_dir: folder of one fold and seed, or a name of packaged weights.
      step: a state that was kept; by default the one that validation has chosen.

    Raises:
      SepconError: no such run or state, another kind of model, or damaged files.
    """
    run_dir = folder_of(run_dir)
    path = run_dir / MODEL_FILE
    config = read_description(path, kind=KIND, parse=_parse)
    model = build_from(path, config)
    if step is not None:
        if step not in weights.list_states(run_dir):
            raise SepconError(
                f"{run_dir} has no state of step {step}; it has those of "
                f"{weights.list_states(run_dir)}, and the selected one without a step."
            )
        weights.read_weights(model, weights.state_folder(run_dir, step))
        return LoadedClassifier(model, config, step)
    weights.read_weights(model, run_dir / SELECTED_FOLDER)
    return LoadedClassifier(model, config, read_selected_step(run_dir))


def write_selected(model: Classifier, run_dir: Path, step: int) -> None:
    """Saves the weights that are the best on validation so far, in place of the earlier ones.

    Args:
      model: the network.
      run_dir: folder of the run.
      step: training step of the weights.

    Raises:
      WriteError: they cannot be written.
    """
    notes = {STEP_FILE: f"{step}\n"}
    weights.write_weights(model, run_dir / SELECTED_FOLDER, notes=notes)


def read_selected_step(run_dir: str | Path) -> int:
    """Reads which step's weights were chosen by validation.

    Args:
      run_dir: folder of the run.

    Raises:
      SepconError: the run has no chosen weights.
    """
    path = Path(run_dir) / SELECTED_FOLDER / STEP_FILE
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise SepconError(f"{path} cannot be read; run `sepcon finetune` there again") from error


def _parse(fields: dict) -> ClassifierConfig:
    return ClassifierConfig(
        parse_encoder(fields), tuple(fields["class_names"]), bool(fields["normalize"])
    )
