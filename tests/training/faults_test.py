"""What goes wrong with a run from outside: it is told in one line, and nothing is lost."""

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from full_disk import full_disk
from toy_training import SharedToys, ToyStream, toy_setup, values_of

from sepcon.errors import Interrupted, SepconError
from sepcon.runs.claim import CLAIM_FILE
from sepcon.training import loop
from sepcon.training.loop import fit

SUPPORT = Path(__file__).resolve().parents[1] / "support"
TOYS = SharedToys()


@pytest.fixture(autouse=True)
def shared_graphs(monkeypatch):
    TOYS.begin_test()
    monkeypatch.setattr(loop, "StepFunction", TOYS.steps)


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is heard, also where these tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def train(run_dir, num_steps=6, *, hidden=16, stream=None, **arguments):
    task, optimizer = TOYS.setup(hidden)
    result = fit(
        task=task,
        stream=stream or ToyStream(num_uniforms=2 * hidden),
        optimizer=optimizer,
        num_steps=num_steps,
        run_dir=run_dir,
        **arguments,
    )
    return task, result


def start(run_dir, *arguments):
    paths = os.pathsep.join([str(SUPPORT.parents[1]), str(SUPPORT)])
    return subprocess.Popen(
        [warm_python.path(), SUPPORT / "faults_child.py", run_dir, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def checkpoint_steps(run_dir):
    return sorted(int(path.stem[5:]) for path in (run_dir / "checkpoints").glob("step-*.npz"))


def stop_at_random(run_dir, number, generator):
    """Starts the run, waits for a checkpoint and a bit, and sends it a signal."""
    steps_before = checkpoint_steps(run_dir)
    # Slow data, lest the run is over before the signal comes.
    process = start(run_dir, "--seconds_per_batch=0.02")
    while checkpoint_steps(run_dir) == steps_before and process.poll() is None:
        time.sleep(0.005)
    time.sleep(generator.uniform(0.0, 0.3))
    process.send_signal(number)
    output, errors = process.communicate()
    return process.returncode, output, errors


def arrays_of(path):
    with np.load(path) as members:
        return {name: members[name] for name in members.files if name != "record"}


def test_killed_at_random_moments(tmp_path):
    """Two SIGKILL, a SIGTERM and a last start give the same bits as one start."""
    generator = random.Random()
    whole = start(tmp_path / "whole")
    parts = tmp_path / "parts"
    codes = [stop_at_random(parts, signal.SIGKILL, generator)[0] for _ in range(2)]
    assert codes == [-signal.SIGKILL] * 2, "the run was over before it could be killed"
    code, output, errors = stop_at_random(parts, signal.SIGTERM, generator)
    assert (code, output) == (143, ""), errors
    stopped = int(re.search(r"stopped by SIGTERM after step (\d+) and saved", errors)[1])
    assert 0 < stopped < 120
    assert checkpoint_steps(parts)[-1] == stopped
    for process in (start(parts), whole):
        output, errors = process.communicate()
        assert json.loads(output) == {"step": 120}, errors
    name = "checkpoints/step-00000120.npz"
    one, two = arrays_of(tmp_path / "whole" / name), arrays_of(parts / name)
    assert one.keys() == two.keys()
    for member in one:
        assert one[member].tobytes() == two[member].tobytes()
    lines = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path / "whole", parts)
    ]
    for left, right in zip(*lines, strict=True):
        assert (left["step"], left["loss"]) == (right["step"], right["loss"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_call_and_saves(tmp_path, number):
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def interrupt():
        os.kill(os.getpid(), number)
        return {"x": 1.0}

    with pytest.raises(Interrupted, match=r"stopped by SIG.* after step 4 and saved") as caught:
        train(tmp_path, 8, steps_per_call=2, validate=interrupt, validate_every_steps=4)
    assert caught.value.exit_code == 128 + number
    assert checkpoint_steps(tmp_path) == [4]
    assert not (tmp_path / "run.json").exists()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    task, result = train(tmp_path, 8)
    assert result.step == 8
    whole, _ = train(tmp_path / "whole", 8)
    for one, two in zip(values_of(task.model), values_of(whole.model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_second_interrupt_stops_at_once(tmp_path):
    before = signal.getsignal(signal.SIGINT)

    def insist():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        return {}

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 8, validate=insist, validate_every_steps=4)
    # What it was before: a shell that starts us in the background has it ignored.
    assert signal.getsignal(signal.SIGINT) is before


def test_signal_in_the_last_step_is_too_late(tmp_path):
    def interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    assert train(tmp_path, 4, validate=interrupt)[1].step == 4
    assert (tmp_path / "run.json").exists()


def test_trains_outside_the_main_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(train(tmp_path, 2)))
    thread.start()
    thread.join()
    assert results[0][1].step == 2


def test_loss_that_is_not_finite(tmp_path):
    stream = ToyStream(bad_step=7)
    with pytest.raises(SepconError) as caught:
        train(tmp_path, 12, stream=stream, steps_per_call=4, checkpoint_every_steps=5)
    message = str(caught.value)
    assert "loss is nan in step 7" in message
    assert "batch 7 of seed 0" in message
    assert "the checkpoint of step 5 is kept" in message
    assert "\n" not in message
    assert checkpoint_steps(tmp_path) == [5]
    train(tmp_path / "good", 5)
    expected = arrays_of(tmp_path / "good/checkpoints/step-00000005.npz")
    for name, array in arrays_of(tmp_path / "checkpoints/step-00000005.npz").items():
        np.testing.assert_array_equal(array, expected[name])
    # With the clip out of the way the same folder goes on.
    assert train(tmp_path, 12)[1].step == 12


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradient_that_is_not_finite(tmp_path, jit_compile):
    """The root of zero: a finite loss whose gradient is not. The weights would be lost."""
    task, optimizer = toy_setup()
    task.loss = lambda batch, training: {
        "loss": tf.sqrt(tf.reduce_sum(task.model.first.bias * 0.0))
    }
    with pytest.raises(
        SepconError, match=r"gradient_norm is nan in step 0 .*nothing was saved yet"
    ):
        fit(
            task=task,
            stream=ToyStream(),
            optimizer=optimizer,
            num_steps=4,
            run_dir=tmp_path,
            jit_compile=jit_compile,
        )
    assert not checkpoint_steps(tmp_path)


def test_another_architecture(tmp_path):
    train(tmp_path, 2)
    with pytest.raises(SepconError) as caught:
        train(tmp_path, 4, hidden=20)
    assert str(tmp_path) in str(caught.value)
    assert "first/kernel of shape [24, 16] where this model" in str(caught.value)
    assert "first/kernel of shape [24, 20]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_checkpoint(tmp_path, capsys):
    train(tmp_path, 4, checkpoint_every_steps=2)
    path = tmp_path / "checkpoints" / "step-00000004.npz"
    path.write_bytes(path.read_bytes()[:100])
    task, _ = train(tmp_path, 6)
    errors = capsys.readouterr().err
    assert "step-00000004.npz is damaged" in errors
    assert "goes on from step 2" in errors
    whole, _ = train(tmp_path / "whole", 6)
    for one, two in zip(values_of(task.model), values_of(whole.model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_full_disk(tmp_path, monkeypatch):
    """A limit on the size of files stands for it: the write fails half way, as on a full disk."""
    whole, _ = train(tmp_path / "whole", 6)
    train(tmp_path / "run", 2)
    good = (tmp_path / "run/checkpoints/step-00000002.npz").read_bytes()
    save = loop.Checkpoints.save

    def save_on_full_disk(self, progressed):
        with full_disk(len(good) // 2):
            save(self, progressed)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoints, "save", save_on_full_disk)
        with pytest.raises(SepconError, match=r"step-00000004.npz: cannot be written") as caught:
            train(tmp_path / "run", 6, checkpoint_every_steps=4)
    assert str(tmp_path / "run/checkpoints") in str(caught.value)
    assert "goes on from step 2" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000002.npz"]
    assert (tmp_path / "run/checkpoints/step-00000002.npz").read_bytes() == good
    task, _ = train(tmp_path / "run", 6)
    for one, two in zip(values_of(task.model), values_of(whole.model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_full_disk_under_the_log(tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left\non device")

    monkeypatch.setattr(tf.summary, "scalar", full)
    with pytest.raises(
        SepconError, match=r"metrics.jsonl: cannot be written .No space left on device"
    ):
        train(tmp_path, 2)


@pytest.mark.parametrize("place", ["file/run", "/proc/run"])
def test_folder_that_cannot_be_written(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(loop, "check_setup", lambda **_: pytest.fail("something was done before"))
    with pytest.raises(SepconError, match=r"cannot be written .* choose another folder") as caught:
        train(tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_in_use(tmp_path):
    with open(tmp_path / CLAIM_FILE, "w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        with pytest.raises(SepconError, match="another process writes there"):
            train(tmp_path)
    train(tmp_path)


def test_done_file_that_cannot_be_read(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SepconError, match=r"run.json: is damaged .*remove it, then the same"):
        train(tmp_path)


def test_out_of_memory(tmp_path, monkeypatch):
    def too_much(*arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\ntensor")

    monkeypatch.setattr(loop.StepFunction, "__call__", too_much)
    with pytest.raises(SepconError, match=r"out of memory .*OOM when .* lower batch_size"):
        train(tmp_path)
