"""A classifier of three tones in the folder of a finished fold, without any training."""

from pathlib import Path

import keras
import numpy as np
from tones_stub import CLASS_NAMES, SAMPLES

from sepcon.audio.log_mel import LogMel
from sepcon.models.classifier import Classifier, describe, save_classifier_config, write_selected
from sepcon.runs import run_folder

LOG_MEL = LogMel(num_mels=16)


def write_classifier(folder: Path, certainty: float) -> None:
    """A finished fold whose classifier looks for the loudest of three mel bands."""
    log_mel = keras.Input((None, 16), name="log_mel")
    encoder = keras.Model(log_mel, keras.layers.GlobalAveragePooling1D()(log_mel))
    classifier = Classifier(encoder=encoder, num_classes=3, normalize=False)
    time = np.arange(SAMPLES) / 16000
    tones = np.stack([np.sin(2 * np.pi * hz * time) for hz in (300, 900, 2700)])
    bands = encoder(LOG_MEL(tones.astype(np.float32))).numpy().argmax(axis=1)
    assert len(set(bands)) == 3
    classifier.head.set_weights([certainty * np.eye(16)[:, bands], np.zeros(3)])
    config = describe(classifier, log_mel=LOG_MEL, patch_seconds=0.25, class_names=CLASS_NAMES)
    save_classifier_config(folder, config)
    write_selected(classifier, folder, 10)
    run_folder.finish(folder, {})
