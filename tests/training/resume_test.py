"""The real command, killed at random moments and started again, ends with the same weights."""

import random
import signal
import subprocess
import time
from pathlib import Path

import tensorflow as tf
import warm_python

from sepcon.models.weights import list_states, state_folder

STEPS = 75


def command(folder: Path, run: str) -> list[str]:
    words = ["pretrain", "--gin_file=runs/pretrain.gin", "--gin_file=data/builtin_scenes.gin"]
    words += ["--gin_file=views/mixture_mixture.gin", "--gin_file=tiny.gin", "--num_threads=1"]
    bindings = [
        f"DATA_DIR='{folder / 'data'}'",
        f"STEPS={STEPS}",
        "pretrain/fit.checkpoint_every_steps=3",
        "pretrain/fit.steps_per_call=2",
        "small_cnn.embedding_size=32",
    ]
    words += [f"--gin_bindings={binding}" for binding in bindings]
    return [warm_python.path(), "-m", "sepcon", *words, f"--run_dir={folder / run}"]


def weights(run: Path) -> dict[str, bytes]:
    assert list_states(run)[-1] == STEPS
    reader = tf.train.load_checkpoint(str(state_folder(run, STEPS) / "weights"))
    names = [name for name in reader.get_variable_to_shape_map() if "VARIABLE_VALUE" in name]
    return {name: reader.get_tensor(name).tobytes() for name in names}


def kill_after_a_checkpoint(words: list[str], run: Path, seconds: float) -> None:
    before = set((run / "checkpoints").glob("*"))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while process.poll() is None and set((run / "checkpoints").glob("*")) <= before:
        time.sleep(0.02)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_runs_end_with_the_weights_of_one_that_was_not(tmp_path):
    subprocess.run(command(tmp_path, "whole"), check=True, capture_output=True)
    words, run = command(tmp_path, "killed"), tmp_path / "killed"
    generator = random.Random(0)
    for _ in range(2):
        kill_after_a_checkpoint(words, run, generator.uniform(0.0, 0.3))
    assert not (run / "run.json").exists()
    subprocess.run(words, check=True, capture_output=True)
    assert weights(run) == weights(tmp_path / "whole")
    assert (run / "saved_model" / "saved_model.pb").is_file()
