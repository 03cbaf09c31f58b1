"""Linear evaluation: a linear classifier on the embeddings of an encoder that does not learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from sepcon.data.clips import to_float
from sepcon.data.folds import FoldedClips
from sepcon.errors import SepconError
from sepcon.finetuning.clip_batches import clip_batches
from sepcon.finetuning.predictions import Predictions
from sepcon.models.encoder_input import is_input_normalisation
from sepcon.models.encoders import recalibrate_batch_norm
from sepcon.models.linear_classifier import LinearClassifier, fit_linear_classifier
from sepcon.models.products.embedding import EmbeddingModel

Statistics = Literal["input", "all"]


@dataclasses.dataclass(frozen=True)
class LinearEvaluation:
    """How a frozen encoder is measured.

    Nothing of the encoder learns but the statistics of its batch normalisation. Those of its input
    are always of the training clips: bands of sound are no colours of images. Whose statistics the
    other layers have matters: on ESC-50, those of the clips in place of those of the images that an
    encoder was pretrained on were worth 0.036.

    Attributes:
      statistics: "input" leaves those of all other layers as they are in the start; "all" takes all
        of them anew on the training clips of the fold.
      penalties: of the linear classifier, see `fit_linear_classifier`; the validation clips choose.
      of_scores: whether what a tagger says of the clips is measured in place of the encoder: the
        teacher of a student. The clips must bring it, see `imported_folds`.
    """

    statistics: Statistics = "all"
    penalties: Sequence[float] = (1.0, 0.1, 0.01, 0.001)
    of_scores: bool = False

    def __post_init__(self) -> None:
        if self.statistics not in get_args(Statistics):
            raise SepconError(
                f"LinearEvaluation.statistics is {self.statistics!r}, expected one of "
                f"{', '.join(get_args(Statistics))}"
            )
        if not self.penalties or min(self.penalties) <= 0:
            raise SepconError(
                f"LinearEvaluation.penalties are {self.penalties}, expected numbers above 0"
            )

    def take_statistics(self, encoder: keras.Model, patches: Iterable[tf.Tensor]) -> None:
        """Takes the statistics of batch normalisation anew.

        Args:
          encoder: changed in place.
          patches: batches of log-mel patches [batch, frames, mels] of the training clips.
        """
        if self.statistics == "all":
            recalibrate_batch_norm(encoder, patches)
            return
        layer = next(layer for layer in encoder.layers if is_input_normalisation(layer))
        recalibrate_batch_norm(keras.Model(encoder.input, layer.output), patches)


@dataclasses.dataclass(frozen=True)
class EmbeddedClips:
    """Some clips of a fold. Attributes: ids; labels, their classes; embedding [clips, dim]."""

    ids: tuple[str, ...]
    labels: np.ndarray
    embedding: np.ndarray

    def predictions(self, classifier: LinearClassifier) -> Predictions:
        """What a linear classifier says of them."""
        probabilities = special.softmax(classifier.logits(self.embedding), axis=1)
        return Predictions(
            self.ids,
            self.labels,
            probabilities.astype(np.float32),
            embedding=self.embedding,
        )


def embed_clips(
    module: EmbeddingModel, folded: FoldedClips, positions: np.ndarray, samples: int
) -> EmbeddedClips:
    """Embeds some clips: the mean over the patches of each.

    Args:
      module: embeds recordings.
      folded: all clips.
      positions: integer [n], which are embedded.
      samples: length that each is cut or zero-padded to.
    """
    ids: list[str] = []
    embeddings = []
    for names, audio in clip_batches(folded.clips, positions, samples):
        ids += names
        embeddings.append(module(to_float(audio))["embedding"].numpy())
    return EmbeddedClips(tuple(ids), folded.labels[positions], np.concatenate(embeddings))


def scored_clips(folded: FoldedClips, positions: np.ndarray) -> EmbeddedClips:
    """Returns some clips with what a tagger says of them in place of an embedding.

    Args:
      folded: all clips, with scores.
      positions: integer [n], which of them.
    """
    scores = checked_scores(folded)
    ids = [name for names, _ in clip_batches(folded.clips, positions, 1) for name in names]
    return EmbeddedClips(tuple(ids), folded.labels[positions], scores[positions])


def checked_scores(folded: FoldedClips) -> np.ndarray:
    """Returns what a tagger says of clips in folds, float32 [clips, n].

    Raises:
      SepconError: that is not known of them.
    """
    if folded.scores is None:
        raise SepconError(
            f"{folded.clips.name}: no scores of a tagger come with these clips, which "
            "LinearEvaluation.of_scores measures; import with TAGGERS, and bind "
            "imported_folds.scores_of to the name of one"
        )
    return folded.scores


def fit_each(
    evaluation: LinearEvaluation, train: EmbeddedClips, num_classes: int
) -> list[LinearClassifier]:
    """Fits a linear classifier for each penalty.

    Args:
      evaluation: has the penalties.
      train: what they are fitted to.
      num_classes: of all clips.

    Returns:
      The classifiers in the order of the penalties.
    """
    labels = np.eye(num_classes)[train.labels]
    return [
        fit_linear_classifier(train.embedding, labels, penalty=penalty, exclusive=True)
        for penalty in evaluation.penalties
    ]
