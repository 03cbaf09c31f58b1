"""Tones of three classes in three folds, learned by a small encoder in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.data.clips import from_reader
from sepcon.data.folds import FoldedClips
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.supervised import SupervisedObjective
from sepcon.training.loop import fit
from sepcon.training.optimizers import adamw
from sepcon.training.schedules import by_epoch
from sepcon.verbs.finetune import finetune
from sepcon.views.augment import RandomPadCrop, RandomSpeed, SpecAugment
from sepcon.views.sampler import ViewSampler

CLASS_NAMES = ("low", "middle", "high")
FOLDS = ("1", "2", "3")
SAMPLES = 4000


def tone(label: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([label, seed])
    hz = (300, 900, 2700)[label] * rng.uniform(0.9, 1.1)
    time = np.arange(SAMPLES) / 16000
    noisy = 6000 * np.sin(2 * np.pi * hz * time) + 900 * rng.normal(size=SAMPLES)
    return noisy.astype(np.int16)


def tones(per_fold: int = 4) -> FoldedClips:
    """Every clip is an original of its own; the class can be heard."""
    rows = [(fold, label, n) for fold in FOLDS for label in range(3) for n in range(per_fold)]
    labels = np.array([label for _, label, _ in rows])
    audio = np.stack([tone(label, number) for number, (_, label, _) in enumerate(rows)])

    def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "id": tf.strings.as_string(position),
            "audio": tf.gather(tf.constant(audio), position),
            "labels": tf.one_hot(tf.gather(tf.constant(labels), position), 3),
        }

    clips = from_reader(
        name="tones",
        num_clips=len(rows),
        class_names=CLASS_NAMES,
        clip_samples=SAMPLES,
        read=read,
    )
    names = tuple(f"{fold}-{label}-{number}" for fold, label, number in rows)
    return FoldedClips(clips, labels, tuple(fold for fold, _, _ in rows), names)


def encoder(*, num_frames: int | None, num_mels: int) -> keras.Model:
    log_mel = keras.Input((num_frames, num_mels), name="log_mel")
    x = keras.layers.BatchNormalization(synchronized=True, momentum=0.8)(log_mel)
    x = keras.layers.Dense(12, activation="relu")(x)
    return keras.Model(log_mel, keras.layers.GlobalAveragePooling1D()(x), name="tiny")


def views_of_tones(**changes: Any) -> LogMelViews:
    """Patches of a quarter of a second, augmented as SoundCLR has it."""
    masks = [SpecAugment(max_mel_bands=2, max_time_frames=4, fill="minimum")]
    arguments: dict[str, Any] = {
        "sampler": ViewSampler(pairs=("mixture-mixture",), patch_seconds=0.25),
        "log_mel": LogMel(num_mels=16),
        "anchor_augmentations": masks,
        "positive_augmentations": masks,
        "waveform_augmentations": [RandomSpeed(1.05), RandomPadCrop(0.25)],
    }
    return LogMelViews(**(arguments | changes))


def finetune_tones(run_dir: Path, *, alpha: float = 0.5, steps_per_call: int = 10, **changes: Any):
    """`sepcon finetune` of one fold, twelve epochs of two steps."""
    loop: Callable[..., Any] = changes.pop("loop", None) or (
        lambda **given: fit(**given, steps_per_call=steps_per_call, checkpoint_every_steps=2)
    )
    arguments: dict[str, Any] = {
        "clips": tones(),
        "encoder": encoder,
        "views": views_of_tones(),
        "objective": SupervisedObjective(contrastive_weight=alpha, projection_size=8),
        "optimizer": lambda learning_rate: adamw(learning_rate=learning_rate, weight_decay=1e-3),
        "learning_rate": lambda steps_per_epoch: by_epoch(
            peak=0.05, steps_per_epoch=steps_per_epoch, warmup_epochs=1
        ),
        "batch_size": 9,
        "epochs": 12,
        "folds": (1,),
        "validation_share": 0.25,
    }
    return finetune(run_dir=run_dir, loop=loop, **(arguments | changes))
