"""One row: a linear classifier of mixtures with one kind of views beside them.

Every choice (pooling, share of energy, penalty) is made by validation scenes; the test scenes are
scored once by what was chosen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sepcon.embeddings.channels.attention import AttentionSettings
from sepcon.embeddings.sources import nested_subsets
from sepcon.embeddings.store import Embeddings
from sepcon.inference.channel_benchmark.embedded_scenes import Bag, EmbeddedScenes
from sepcon.inference.channel_benchmark.features import (
    Setting,
    attention_features,
    pooled_features,
    principal_components,
    random_features,
)
from sepcon.inference.channel_benchmark.ridge import fit_ridge
from sepcon.metrics.classification import average_precision, classification_scores
from sepcon.models.linear_classifier import LinearClassifier
from sepcon.models.products.channel_pooling import ATTENTION, audible
from sepcon.reports.results import Row

ROLES = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class ChannelMeasurement:
    """What is tried, and what is measured.

    Attributes:
      poolings: of the views.
      shares: of the energy of the loudest view, below which views are left out.
      penalties: of the classifier, see `fit_ridge`.
      clips_per_class: few labels: as many scenes of each class.
      attention: how attention is learned.
    """

    poolings: Sequence[str]
    shares: Sequence[float]
    penalties: Sequence[float]
    clips_per_class: int
    attention: AttentionSettings


class _Labelled(NamedTuple):
    """Features and labels of the scenes that a classifier learns from, and of the other two."""

    features: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]


class _Chosen(NamedTuple):
    """Attributes: validation mAP; how views are pooled; penalty; classifier; features by role."""

    validation: float
    setting: Setting | None
    penalty: float
    classifier: LinearClassifier
    features: Mapping[str, np.ndarray]

    @property
    def test_scores(self) -> np.ndarray:
        return self.classifier.logits(self.features["test"])


class RowMeasurement:
    """Measures rows of one encoder with one seed.

    Args:
      measurement: what is tried.
      scenes: the embedded scenes by role.
      encoder: its name there.
      seed: of the scenes with few labels, of attention, and of random features.
    """

    def __init__(
        self,
        measurement: ChannelMeasurement,
        scenes: Mapping[str, EmbeddedScenes],
        encoder: str,
        seed: int,
    ) -> None:
        self._measurement, self._scenes = measurement, scenes
        self._encoder, self._seed = encoder, seed
        self._labels = {role: scenes[role].labels for role in ROLES}
        self._few = self._few_labels()

    def alone(self) -> Row:
        """The row of mixtures alone."""
        return self._row(self._choose_of({None: self._mixtures()}), None)

    def with_random_features(self) -> Row:
        """The row of mixtures with random features of the mixture, as many as views would give."""
        mixtures = self._mixtures()
        made = random_features(mixtures["train"], seed=self._seed)
        features = {role: made(each) for role, each in mixtures.items()}
        return self._row(self._choose_of({None: features}), None)

    def with_views(self, kind: str) -> Row:
        """The row of mixtures with the views of one kind."""
        bags = {role: self._scenes[role].bag(self._encoder, kind) for role in ROLES}
        measurement = self._measurement
        tried = {
            setting: {role: pooled_features(bags[role], setting) for role in ROLES}
            for share in measurement.shares
            for setting in [Setting(p, share) for p in measurement.poolings if p != ATTENTION]
        }

        def choose(of_train: np.ndarray) -> list[_Chosen]:
            chosen = [self._fitted(setting, each, of_train) for setting, each in tried.items()]
            if ATTENTION in measurement.poolings:
                # Learning it takes as long as all others: with the share that is best for them.
                shares = [c.setting.share for c in _best_first(chosen) if c.setting]
                share = (shares or list(measurement.shares))[0]
                chosen.append(self._attended(bags, Setting(ATTENTION, share), of_train))
            return chosen

        return self._row(choose, bags["test"])

    def _choose_of(
        self, tried: Mapping[Setting | None, Mapping[str, np.ndarray]]
    ) -> Callable[[np.ndarray], list[_Chosen]]:
        return lambda of_train: [
            self._fitted(setting, features, of_train) for setting, features in tried.items()
        ]

    def _mixtures(self) -> dict[str, np.ndarray]:
        return {role: self._scenes[role].mixture(self._encoder) for role in ROLES}

    def _few_labels(self) -> np.ndarray:
        """Positions of the training scenes that are labelled where few are."""
        train = self._scenes["train"]
        nothing = np.zeros((len(train.ids), 1), np.float32)
        clips = Embeddings(train.ids, nothing, train.labels, train.class_names)
        count = self._measurement.clips_per_class
        return nested_subsets(clips, clips_per_class=(count,), seed=self._seed)[count].positions[0]

    def _fitted(
        self, setting: Setting | None, features: Mapping[str, np.ndarray], of_train: np.ndarray
    ) -> _Chosen:
        """Fits a classifier for each penalty, and takes the best on validation scenes."""
        layers = fit_ridge(
            features["train"][of_train],
            self._labels["train"][of_train],
            penalties=self._measurement.penalties,
        )
        scored = [
            (self._validation_score(layer.logits(features["validation"])), number)
            for number, layer in enumerate(layers)
        ]
        best, number = max(scored, key=lambda each: (each[0], -each[1]))
        return _Chosen(best, setting, self._measurement.penalties[number], layers[number], features)

    def _attended(self, bags: Mapping[str, Bag], setting: Setting, of_train: np.ndarray) -> _Chosen:
        learned = attention_features(
            setting,
            bags["train"].select(of_train),
            self._labels["train"][of_train],
            bags["validation"],
            self._labels["validation"],
            seed=self._seed,
            settings=self._measurement.attention,
        )
        features = {role: learned(bags[role]) for role in ROLES}
        return self._fitted(setting, features, of_train)

    def _validation_score(self, scores: np.ndarray) -> float:
        return _mean_average_precision(self._labels["validation"], scores)

    def _row(self, choose: Callable[[np.ndarray], list[_Chosen]], bag: Bag | None) -> Row:
        everything = np.arange(len(self._labels["train"]))
        chosen = choose(everything)
        best, few = _best_first(chosen)[0], _best_first(choose(self._few))[0]
        count = self._measurement.clips_per_class
        return {
            "mAP": self._test_score(best.test_scores),
            "validation_mAP": best.validation,
            "mAP_few": self._test_score(few.test_scores),
            **self._by_number_of_sources(best.test_scores),
            "mAP_same_size": self._of_same_size(best),
            **self._by_pooling(chosen),
            "pooling": "" if best.setting is None else best.setting.pooling,
            "audible_share": None if best.setting is None else best.setting.share,
            "penalty": best.penalty,
            "pooling_few": "" if few.setting is None else few.setting.pooling,
            "views_per_patch": _views_per_patch(bag, best.setting),
            "num_features": best.features["test"].shape[1],
            "clips_per_class_few": count,
            "num_train_clips": len(everything),
            "num_train_clips_few": len(self._few),
            "num_validation_clips": len(self._labels["validation"]),
            "num_test_clips": len(self._labels["test"]),
        }

    def _test_score(self, scores: np.ndarray) -> float:
        return classification_scores(
            targets=self._labels["test"], scores=scores
        ).mean_average_precision

    def _by_number_of_sources(self, scores: np.ndarray) -> Row:
        """MAP of the test scenes with one source, two, and so on; null where there are too few."""
        counts = self._scenes["test"].num_sources
        row: Row = {}
        for number in range(1, 5):
            there = counts == number
            labels = self._labels["test"][there]
            told = labels.any(axis=0) & ~labels.all(axis=0) if len(labels) else np.zeros(0, bool)
            row[f"mAP_sources_{number}"] = (
                _mean_average_precision(labels, scores[there]) if told.any() else None
            )
        return row

    def _of_same_size(self, best: _Chosen) -> float:
        """The same features brought down to as many as the mixture alone has."""
        size = self._scenes["test"].mixture(self._encoder).shape[1]
        if best.features["train"].shape[1] == size:
            return self._test_score(best.test_scores)
        reduce = principal_components(best.features["train"], size)
        features = {role: reduce(each) for role, each in best.features.items()}
        everything = np.arange(len(self._labels["train"]))
        return self._test_score(self._fitted(None, features, everything).test_scores)

    def _by_pooling(self, chosen: Sequence[_Chosen]) -> Row:
        """Test mAP of each pooling, with the share and the penalty that validation chose."""
        row: Row = {}
        for pooling in self._measurement.poolings:
            of_pooling = [
                each for each in chosen if each.setting and each.setting.pooling == pooling
            ]
            best = _best_first(of_pooling)[0] if of_pooling else None
            row[f"mAP_{pooling}"] = None if best is None else self._test_score(best.test_scores)
        return row


def _best_first(chosen: Sequence[_Chosen]) -> list[_Chosen]:
    return sorted(chosen, key=lambda each: -each.validation)


def _views_per_patch(bag: Bag | None, setting: Setting | None) -> float | None:
    if bag is None or setting is None:
        return None
    return float(audible(bag.energy, setting.share).numpy().sum(axis=-1).mean())


def _mean_average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean over the classes that have a positive."""
    present = labels.any(axis=0)
    return float(average_precision(targets=labels[:, present], scores=scores[:, present]).mean())
