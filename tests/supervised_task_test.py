"""Supervised training: the loss written out, and that it learns what the labels say."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.features import LogMel
from sepcon.models.encoders import small_cnn
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.supervised import SupervisedTask
from sepcon.views import ViewSampler

SAMPLES, CLASSES = 8000, 3


def make_task() -> SupervisedTask:
    keras.utils.set_random_seed(1)
    views = ViewSampler(pairs=("mixture-mixture",), patch_seconds=0.3)
    patches = LogMelViews(log_mel=LogMel(num_mels=32), views=views)
    encoder = small_cnn(embedding_size=32, num_mels=32)
    return SupervisedTask(encoder=encoder, patches=patches, num_classes=CLASSES)


def batch_for(task: SupervisedTask, size: int = 8, seed: int = 0) -> dict[str, tf.Tensor]:
    """Sums of tones, one for each class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (size, CLASSES)).astype(np.float32)
    labels[labels.sum(axis=1) == 0, 0] = 1.0
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
    embeddings = task.product(tf.concat(task.patches(batch), axis=0), training=True)
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


def test_training_learns_the_labels():
    task = make_task()
    variables = task.model.trainable_variables
    assert len(variables) == len(task.product.trainable_variables) + 2
    optimizer = keras.optimizers.Adam(3e-3)
    optimizer.build(variables)

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            results = task.loss(batch, training=True)
        optimizer.apply(tape.gradient(results["loss"], variables), variables)
        return results

    history = [step(batch_for(task, 16, seed)) for seed in range(40)]
    first, last = (np.mean([each["loss"] for each in part]) for part in (history[:5], history[-5:]))
    assert last < 0.5 * first
    assert np.mean([each["precision_at_one"] for each in history[-5:]]) > 0.9


def test_without_a_class_there_is_nothing_to_learn():
    task = make_task()
    with pytest.raises(ValueError, match="num_classes"):
        SupervisedTask(encoder=task.product, patches=task.patches, num_classes=0)
