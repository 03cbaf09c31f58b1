"""A dry run says of a training what it would take, and leaves its weights alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from toy_training import HIDDEN, SAMPLES, LocalTask, ToyStream, ToyTask

from sepcon.errors import SepconError
from sepcon.training.dry_loop import DryLoop, TrainingChecked
from sepcon.training.loop import fit
from sepcon.training.step_memory import step_memory

BATCH = 8
WEIGHTS = SAMPLES * HIDDEN + HIDDEN + HIDDEN * 8 + 8


def built(task):
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build(task.model.trainable_variables)
    return optimizer


def test_the_memory_of_a_step_is_that_of_what_its_gradients_take():
    task = LocalTask()
    memory = step_memory(
        task=task,
        optimizer=built(task),
        strategy=tf.distribute.get_strategy(),
        spec=ToyStream(BATCH).batches(0).element_spec,
    )
    # Batch normalisation: scale and offset, and two moving statistics that are not trained.
    assert memory.gradients == 4 * (WEIGHTS + 2 * HIDDEN)
    assert memory.weights == 4 * (WEIGHTS + 4 * HIDDEN)
    # Two moments, the iterations (int64) and the learning rate.
    assert memory.optimizer == 2 * memory.gradients + 8 + 4
    # Input, hidden layer, and error; the two largest once more; a number that the mean divides by.
    rows = [SAMPLES, HIDDEN, 8]
    assert memory.activations == 4 * BATCH * (sum(rows) + SAMPLES + HIDDEN) + 4
    assert memory.total == (
        memory.weights + memory.gradients + memory.optimizer + memory.activations
    )


def test_activations_grow_with_the_batch_and_nothing_else_does():
    def memory(batch_size):
        task = LocalTask()
        return step_memory(
            task=task,
            optimizer=built(task),
            strategy=tf.distribute.get_strategy(),
            spec=ToyStream(batch_size).batches(0).element_spec,
        )

    small, large = memory(8), memory(32)
    assert large.activations - 4 == 4 * (small.activations - 4)
    assert large.total - small.total == large.activations - small.activations


def test_a_dry_loop_says_what_a_training_would_be_and_trains_nothing(tmp_path):
    task, loop = ToyTask(), DryLoop({"keep_checkpoints": 1, "keep_state_steps": (0, 2)})
    before = [np.array(weight) for weight in task.model.variables]
    with pytest.raises(TrainingChecked):
        loop(
            task=task,
            stream=ToyStream(BATCH),
            optimizer=keras.optimizers.Adam(0.1),
            num_steps=5,
            run_dir=tmp_path / "run",
            description="toys",
        )
    assert not (tmp_path / "run").exists()
    for weight, value in zip(task.model.variables, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    (training,) = loop.trainings
    assert (training.num_steps, training.batch_size) == (5, BATCH)
    assert training.num_weights == WEIGHTS + 4 * HIDDEN
    assert training.batch["audio"] == f"({BATCH}, {SAMPLES}) int16"
    text = dict(training.rows())
    assert text["steps"].startswith("5 of 8 examples")


def test_the_disk_it_names_is_what_a_training_takes(tmp_path):
    task, optimizer = ToyTask(hidden=4000), keras.optimizers.Adam(0.1)
    settings = {"keep_checkpoints": 1, "keep_state_steps": (0, 2), "checkpoint_every_steps": 2}
    stream = ToyStream(BATCH, num_uniforms=task.num_uniforms)
    arguments = {"task": task, "stream": stream, "optimizer": optimizer, "num_steps": 3}
    loop = DryLoop(settings)
    with pytest.raises(TrainingChecked):
        loop(**arguments, run_dir=tmp_path / "dry")
    fit(**arguments, run_dir=tmp_path / "run", **settings)
    folder = tmp_path / "run"
    checkpoint = sum(file.stat().st_size for file in (folder / "checkpoints").rglob("*"))
    states = sum(file.stat().st_size for file in (folder / "states").rglob("*"))
    # One checkpoint beside the one that takes its place.
    assert loop.trainings[0].disk_bytes == pytest.approx(2 * checkpoint + states, rel=0.02)


def test_periods_are_checked_as_the_training_would(tmp_path):
    loop = DryLoop({"checkpoint_every_steps": 0})
    task = ToyTask()
    with pytest.raises(SepconError, match="checkpoint_every_steps: got 0"):
        loop(task=task, stream=ToyStream(BATCH), optimizer=built(task), num_steps=5)
    with pytest.raises(SepconError, match="keep_state_steps: got 7"):
        DryLoop({"keep_state_steps": (7,)})(
            task=task, stream=ToyStream(BATCH), optimizer=built(task), num_steps=5
        )
