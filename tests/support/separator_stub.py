"""A tiny separator in a run folder as training leaves it, for the tests of what is done with it."""

from pathlib import Path

import keras
import numpy as np

from sepcon.models.separator.network import Separator, SeparatorConfig, save_separator_config
from sepcon.models.weights import state_folder, write_weights

CONFIG = SeparatorConfig(
    num_sources=3, bottleneck=4, conv_channels=4, num_repeats=1, num_dilations=1
)


def write_separator_run(folder: Path, steps: tuple[int, ...] = (7,)) -> Path:
    """Writes a run whose state at each step has random weights of that seed."""
    folder.mkdir(parents=True, exist_ok=True)
    save_separator_config(CONFIG, folder)
    for step in steps:
        keras.utils.set_random_seed(step)
        separator = Separator(CONFIG)
        for variable in separator.variables:  # Those that start at 0 or 1 are to matter as well.
            noise = np.random.default_rng(step).normal(0.0, 0.1, variable.shape)
            variable.assign_add(noise.astype(np.float32))
        write_weights(separator, state_folder(folder, step))
    return folder
