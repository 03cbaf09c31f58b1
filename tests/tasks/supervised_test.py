"""Supervised training: the loss written out, and that it learns what the labels say."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.models.encoders import small_cnn
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.supervised import SupervisedObjective, SupervisedTask, supervised
from sepcon.views.augment import RandomPadCrop, RandomSpeed
from sepcon.views.sampler import ViewSampler

SAMPLES, CLASSES = 8000, 3


def make_task(objective: SupervisedObjective | None = None, **settings) -> SupervisedTask:
    keras.utils.set_random_seed(1)
    sampler = ViewSampler(pairs=("mixture-mixture",), patch_seconds=0.3)
    views = LogMelViews(
        log_mel=LogMel(num_mels=32),
        sampler=sampler,
        waveform_augmentations=[RandomSpeed(), RandomPadCrop(0.3)],
    )
    encoder = small_cnn(embedding_size=32, num_mels=32)
    return SupervisedTask(
        encoder=encoder,
        views=views,
        num_classes=CLASSES,
        objective=objective or supervised(),
        **settings,
    )


def batch_for(
    task: SupervisedTask, size: int = 8, seed: int = 0, exclusive: bool = False
) -> dict[str, tf.Tensor]:
    """Sums of tones, one for each class; of a single one if classes are exclusive."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (size, CLASSES)).astype(np.float32)
    labels[labels.sum(axis=1) == 0, 0] = 1.0
    if exclusive:
        labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, size)]
    time = np.arange(SAMPLES) / 16000
    tones = np.stack([np.sin(2 * np.pi * hz * time) for hz in (400, 1300, 3500)])
    audio = 6000 * labels @ tones + 300 * rng.normal(size=(size, SAMPLES))
    return {
        "audio": tf.constant(audio.astype(np.int16)),
        "labels": tf.constant(labels),
        "uniforms": tf.constant(rng.random((size, task.num_uniforms), np.float32)),
    }


def test_the_loss_equals_the_formula_on_both_patches():
    task = make_task()
    batch = batch_for(task)
    labels = np.tile(batch["labels"], (2, 1))
    embeddings = task.product(tf.concat(task.views(batch), axis=0), training=True)
    logits = task.classifier.head(embeddings).numpy().astype(np.float64)
    probability = 1 / (1 + np.exp(-logits))
    entropy, hits = 0.0, 0.0
    for row in range(16):
        for k in range(CLASSES):
            of_label = probability[row, k] if labels[row, k] else 1 - probability[row, k]
            entropy -= np.log(of_label)
        hits += labels[row, np.argmax(logits[row])]
    results = task.loss(batch, training=True)
    assert float(results["loss"]) == pytest.approx(entropy / 16, rel=1e-4)
    assert float(results["precision_at_one"]) == pytest.approx(hits / 16)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_of_soundclr_put_together_by_hand(weight, views):
    """Cross-entropy on unit embeddings, SupCon on their projections, loop by loop."""
    task = make_task(SupervisedObjective(contrastive_weight=weight, num_views=views))
    batch = batch_for(task, exclusive=True)
    label = np.tile(np.argmax(batch["labels"], axis=1), views)
    log_mels = tf.concat(list(task.views(batch))[:views], axis=0)
    embedding = unit(task.classifier.encoder(log_mels, training=True).numpy().astype(np.float64))
    expected = 0.0
    if weight < 1:
        logits = task.classifier.head(embedding).numpy()
        of_label = logits[np.arange(len(label)), label]
        entropy = np.mean(np.log(np.exp(logits).sum(axis=1)) - of_label)
        expected += (1 - weight) * entropy
    if weight > 0:
        z = unit(task.model.projection(embedding).numpy().astype(np.float64))
        losses = []
        for i in range(len(z)):
            others = [j for j in range(len(z)) if j != i]
            positives = [j for j in others if label[j] == label[i]]
            total = np.log(sum(np.exp(z[i] @ z[j] / 0.05) for j in others))
            terms = [total - z[i] @ z[j] / 0.05 for j in positives]
            losses.append(np.mean(terms) if terms else 0.0)
        expected += weight * np.mean(losses)
    results = task.loss(batch, training=True)
    assert float(results["loss"]) == pytest.approx(expected, rel=2e-3)
    assert ("contrastive_loss" in results) == (weight > 0)
    assert ("cross_entropy" in results) == (weight < 1)


def test_one_view_is_the_first_of_two():
    task = make_task()
    batch = batch_for(task)
    np.testing.assert_allclose(
        task.views.single(batch), task.views(batch).anchor, rtol=1e-5, atol=1e-5
    )


def train(task: SupervisedTask, exclusive: bool = False) -> list[dict[str, tf.Tensor]]:
    variables = task.model.trainable_variables
    optimizer = keras.optimizers.Adam(3e-3)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(batch):
        with tf.GradientTape() as tape:
            results = task.loss(batch, training=True)
        optimizer.apply(tape.gradient(results["loss"], variables), variables)
        return results

    return [step(batch_for(task, 16, seed, exclusive)) for seed in range(40)]


def test_training_learns_the_labels():
    task = make_task()
    assert len(task.model.trainable_variables) == len(task.product.trainable_variables) + 2
    history = train(task)
    first, last = (np.mean([each["loss"] for each in part]) for part in (history[:5], history[-5:]))
    assert last < 0.5 * first
    assert np.mean([each["precision_at_one"] for each in history[-5:]]) > 0.9


def test_the_hybrid_loss_learns_the_labels():
    task = make_task(SupervisedObjective(), keep_classifier=True)
    assert task.product is task.classifier
    history = train(task, exclusive=True)
    first, last = (np.mean([each["loss"] for each in part]) for part in (history[:5], history[-5:]))
    assert last < 0.8 * first
    assert np.mean([each["precision_at_one"] for each in history[-5:]]) > 0.9


def test_a_frozen_encoder_stays_as_it_is():
    task = make_task(SupervisedObjective(contrastive_weight=0.0, frozen_encoder=True))
    assert len(task.model.trainable_variables) == 2
    before = [weight.copy() for weight in task.product.get_weights()]
    train(task, exclusive=True)
    for one, other in zip(before, task.product.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"contrastive_weight": 1.5}, "contrastive_weight=1.5"),
        ({"num_views": 3}, "num_views must be 1 or 2, got 3"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"exclusive": False}, "needs exclusive classes"),
        ({"contrastive_weight": 1.0, "frozen_encoder": True}, "nothing to be learned"),
    ],
)
def test_objectives_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        SupervisedObjective(**settings)


def test_without_a_class_there_is_nothing_to_learn():
    task = make_task()
    with pytest.raises(ValueError, match="num_classes"):
        SupervisedTask(
            encoder=task.product, views=task.views, num_classes=0, objective=supervised()
        )
