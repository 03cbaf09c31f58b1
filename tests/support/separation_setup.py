"""A tiny separation task and batches for it."""

import keras
import numpy as np
import tensorflow as tf

from sepcon.models.separator.network import Separator, SeparatorConfig
from sepcon.tasks.separation import SeparationTask

TINY = SeparatorConfig(num_sources=3, bottleneck=6, conv_channels=8, num_repeats=1, num_dilations=2)
CLIP, SEGMENT = 1000, 800


def make_task(**options):
    keras.utils.set_random_seed(0)
    options = {"segment_seconds": SEGMENT / 16000, **options}
    return SeparationTask(Separator(TINY), **options)


def make_batch(rows=4, seed=0):
    random = np.random.default_rng(seed)
    return {
        "audio": tf.constant(random.integers(-20000, 20000, [rows, CLIP]), tf.int16),
        "uniforms": tf.constant(random.random([rows, 2]), tf.float32),
    }


def make_scenes(rows=8):
    """A batch of scenes with two sources, or one."""
    sources = np.random.default_rng(1).integers(-9000, 9000, [rows, 2, CLIP])
    sources[::3, 1] = 0
    audio = {"audio": sources.sum(axis=1), "sources": sources}
    return make_batch(rows) | {name: tf.constant(x, tf.int16) for name, x in audio.items()}
