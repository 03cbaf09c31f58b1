"""Training a separator: supervision of a share of the batch, from the call to the saved weights."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.data.clips import ClipDataset, from_reader
from sepcon.errors import SepconError
from sepcon.models.separator.network import SeparatorConfig, load_separator
from sepcon.verbs.train_separator import train_separator

TINY = SeparatorConfig(num_sources=2, bottleneck=4, conv_channels=4, num_repeats=1, num_dilations=1)
SOURCES = np.random.default_rng(0).integers(-9000, 9000, [6, 2, 4000]).astype(np.int16)


def scenes(name: str = "scenes", *, known: bool = True) -> ClipDataset:
    sources = tf.constant(SOURCES)

    def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
        audio = tf.reduce_sum(sources[position], axis=0)
        return {"id": tf.strings.as_string(position), "audio": audio, "labels": tf.zeros([0])}

    return from_reader(
        name=name,
        num_clips=len(SOURCES),
        class_names=(),
        clip_samples=4000,
        read=read,
        read_with_sources=(
            (lambda position: read(position) | {"sources": sources[position]}) if known else None
        ),
    )


def train(folder: Path, **changes: Any) -> Path:
    arguments: dict[str, Any] = {
        "run_dir": folder,
        "clips": scenes(),
        "batch_size": 4,
        "num_steps": 4,
        "separator": TINY,
        "segment_seconds": 0.2,
        "optimizer": lambda: keras.optimizers.Adam(1e-2),
    }
    return train_separator(**(arguments | changes))


def weights(run: Path, step: int) -> list[np.ndarray]:
    return [variable.numpy() for variable in load_separator(run, step).variables]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[float, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {share: train(folder / str(share), supervised_share=share) for share in (0.0, 0.5, 1.0)}


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path, runs):
    train(tmp_path, supervised_share=0.5, num_steps=3)
    (tmp_path / "run.json").unlink()
    train(tmp_path, supervised_share=0.5)
    for one, other in zip(weights(runs[0.5], 4), weights(tmp_path, 4), strict=True):
        np.testing.assert_array_equal(one, other)


def test_supervision_changes_what_is_learned(runs):
    none, some, all_of_it = (weights(run, 4)[-1] for run in runs.values())
    assert not np.array_equal(none, some)
    assert not np.array_equal(some, all_of_it)
    logged = [(run / "metrics.jsonl").read_text() for run in runs.values()]
    assert ["supervised_loss" in text for text in logged] == [False, True, True]
    assert ["negative_snr_db" in text for text in logged] == [True, True, False]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"clips": scenes("own", known=False)}, "own: the sources .* are not known; take sound sc"),
        ({"supervised_share": 0.3}, "choose a multiple of 1/2 or another batch_size"),
        ({"supervised_share": -1.0}, "expected 0 to 1"),
        ({"batch_size": 3}, "batch_size: got 3 clips per replica, expected an even number"),
        (
            {"separator": SeparatorConfig(num_sources=1, num_repeats=1, num_dilations=1)},
            "set SeparatorConfig.num_sources to 2",
        ),
    ],
)
def test_supervision_that_cannot_be_is_told_in_one_line(tmp_path, changes, message):
    with pytest.raises(SepconError, match=message) as caught:
        train(tmp_path, **({"supervised_share": 0.5} | changes))
    assert "\n" not in str(caught.value)
