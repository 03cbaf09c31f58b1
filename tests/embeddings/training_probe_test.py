"""The probe of a training: what it sees, what it says, and that it changes nothing."""

import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.data.examples import Example, ReadExample
from sepcon.embeddings.training_probe import TrainingProbe
from sepcon.errors import SepconError


@dataclasses.dataclass(frozen=True)
class Points:
    """Points of three classes, far apart; `several` gives every second one another class too."""

    name: str = "points"
    num_examples: int = 60
    class_names: tuple[str, ...] = ("a", "b", "c")
    num_uniforms: int = 0
    first: int = 0
    several: bool = False

    def reader(self) -> ReadExample:
        def read(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
            del uniforms
            label = (position + self.first) % 3
            labels = tf.one_hot(label, 3)
            if self.several:
                labels = tf.maximum(labels, tf.one_hot((label + 1) % 3, 3))
            noise = tf.cast(position % 7, tf.float32) / 20
            point = tf.one_hot(label, 3) + noise
            return {"id": tf.strings.as_string(position), "point": point, "labels": labels}

        return read


VIEWS = SimpleNamespace(
    num_uniforms=1,
    plain=lambda batch: batch["point"],
    drawn_from=lambda examples, plain: examples if plain else None,
)


def encoder() -> keras.Model:
    point = keras.Input((3,))
    return keras.Model(point, keras.layers.BatchNormalization()(point))


@pytest.mark.parametrize("several, name", [(False, "probe_accuracy"), (True, "probe_map")])
def test_what_embeddings_tell_is_said_and_nothing_is_changed(several: bool, name: str) -> None:
    network = encoder()
    before = [weight.copy() for weight in network.get_weights()]
    train, test = Points(several=several), Points(first=1, several=several, num_examples=10)
    probe = TrainingProbe(train=train, test=test, every_steps=1, num_train=45, batch_size=20)
    scores = probe.validation(SimpleNamespace(product=network), VIEWS)  # type: ignore[arg-type]
    first = scores()
    assert first == {name: pytest.approx(1.0)}
    assert scores() == first
    for weight, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    # An encoder that has collapsed tells no class from another: seen as it is then.
    network.layers[1].set_weights([np.zeros(3), *before[1:]])
    assert scores()[name] < 0.8


def test_examples_without_labels_or_of_other_classes_are_refused() -> None:
    with pytest.raises(SepconError, match="probe: points and points have 0 and 0 classes"):
        TrainingProbe(train=Points(class_names=()), test=Points(class_names=()), every_steps=1)
    with pytest.raises(SepconError, match="have 3 and 2 classes, expected the same ones"):
        TrainingProbe(train=Points(), test=Points(class_names=("a", "b")), every_steps=1)
    with pytest.raises(SepconError, match="probe: every_steps is 0"):
        TrainingProbe(train=Points(), test=Points(), every_steps=0)
