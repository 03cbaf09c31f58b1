"""However many devices share a batch, training does what one device does on all of it."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from toy_training import ToyStream, toy_setup, values_of

from sepcon.errors import SepconError
from sepcon.runs.claim import _is_chief
from sepcon.training.distribution import (
    check_batch,
    distributed_batches,
    is_chief,
    make_strategy,
    num_workers,
)
from sepcon.training.loop import fit

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def start(script, *arguments, **environment):
    # Workers that wait for each other have waited for ever as forks of a process with TensorFlow.
    python = sys.executable if "TF_CONFIG" in environment else warm_python.path()
    paths = os.pathsep.join([str(SUPPORT.parents[1]), str(SUPPORT)])
    return subprocess.Popen(
        [python, SUPPORT / script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def last_line(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


def config(job: str, index: int, **more: list[str]) -> str:
    """TF_CONFIG of a process of a cluster with two workers."""
    cluster = {"worker": ["b:2", "c:3"], **more}
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    return last_line(start("replicas_child.py", tmp_path_factory.mktemp("replicas")))


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("workers")
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    configs = [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        for index in range(2)
    ]
    both = [start("worker_child.py", run_dir, TF_CONFIG=json.dumps(c)) for c in configs]
    return run_dir, [last_line(process) for process in both]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def assert_same_weights(one, two):
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "one, other", [("one", "two"), ("one", "moved"), ("one_compiled", "two_compiled")]
)
def test_two_devices_train_like_one(replicas, one, other):
    assert replicas["replicas"] == 2
    # Weights, and the moving statistics of batch normalisation with them.
    assert_same_weights(replicas[one]["weights"], replicas[other]["weights"])
    for left, right in zip(replicas[one]["metrics"], replicas[other]["metrics"], strict=True):
        assert left == pytest.approx(right, rel=1e-4)


def test_clipping_was_at_work(replicas):
    norms = [line["gradient_norm"] for line in replicas["one"]["metrics"]]
    assert len(norms) == 6
    assert min(norms) > 0.5


def test_replicas_hold_the_same(replicas):
    assert replicas["replica_copies"] == 0.0


def test_each_replica_gets_contiguous_rows(replicas):
    first, second = list(range(24, 32)), list(range(32, 40))
    assert replicas["rows"]["one"] == [[first], [second]]
    assert replicas["rows"]["two"] == [[first[:4], first[4:]], [second[:4], second[4:]]]


@pytest.mark.parametrize(
    "what, expected",
    [
        ("batch_size", "SepconError: batch_size: got 7, which 2 replicas cannot share equally"),
        ("scope", "ValueError: variable .* was made outside the strategy's scope"),
        ("compiled", "SepconError: jit_compile: what this task exchanges between replicas"),
        ("gpus", "SepconError: jit_compile: cannot be had on 2 GPUs that share a batch"),
        ("tpu", "SepconError: strategy 'tpu': no TPU answers as 'local': .* run on a TPU VM"),
        ("devices", "SepconError: strategy 'mirrored': num_devices is 3, but TensorFlow sees 2"),
    ],
)
def test_what_would_differ_is_refused(replicas, what, expected):
    assert re.match(expected, replicas["messages"][what])


def test_two_workers_train_like_one_device(workers, tmp_path):
    _, (chief, other) = workers
    assert [chief["chief"], other["chief"]] == [True, False]
    # The second worker got a signal after step 4: both stopped there, saved, and went on.
    assert chief["results"] == other["results"]
    stopped, end = chief["results"]
    assert "stopped by SIGTERM after step 4 and saved" in stopped
    assert end == 6
    task, optimizer = toy_setup()
    fit(
        task=task,
        stream=ToyStream(),
        optimizer=optimizer,
        num_steps=6,
        run_dir=tmp_path,
        gradient_clip_norm=0.5,
        log_every_steps=1,
    )
    assert chief["weights"] == other["weights"]
    assert_same_weights(chief["weights"], [v.tolist() for v in values_of(task.model)])


def test_no_worker_leaves_before_the_chief_is_done(workers):
    _, (chief, other) = workers
    assert other["left"] >= chief["done"]
    # What is summed over the workers is traced once, whatever the number of calls.
    assert chief["traces"] == other["traces"] == 1


@pytest.mark.parametrize(
    "job, index, more, workers, chief",
    [
        ("worker", 0, {}, 2, True),
        ("worker", 1, {}, 2, False),
        ("chief", 0, {"chief": ["a:1"]}, 3, True),
        ("worker", 0, {"chief": ["a:1"]}, 3, False),
    ],
)
def test_one_process_is_the_chief(monkeypatch, job, index, more, workers, chief):
    monkeypatch.setenv("TF_CONFIG", config(job, index, **more))
    strategy = object.__new__(tf.distribute.MultiWorkerMirroredStrategy)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    monkeypatch.setattr(type(strategy), "cluster_resolver", resolver)
    assert (num_workers(strategy), is_chief(strategy)) == (workers, chief)
    assert _is_chief() == chief  # who claims the folder of the run


def test_only_the_chief_writes(workers):
    run_dir, _ = workers
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert len(list((run_dir / "tensorboard").iterdir())) == 2  # one for each start
    assert sorted(path.name for path in (run_dir / "states").iterdir()) == [
        "step-00000000",
        "step-00000006",
    ]


def test_one_device_gets_the_batch_as_it_is():
    batch = next(iter(distributed_batches(ToyStream(), 2, make_strategy("default"))))
    expected = next(iter(ToyStream().batches(2)))
    for name, value in expected.items():
        np.testing.assert_array_equal(batch[name], value)


def test_a_gpu_gets_its_batches_ahead_and_trains_alike(monkeypatch, tmp_path):
    """The strategy that a GPU is given, here on the CPU, has the bits of that without any."""
    trained = []
    for place, device in (("plain", None), ("ahead", "/device:CPU:0")):
        monkeypatch.setattr("sepcon.training.distribution.first_gpu", lambda device=device: device)
        strategy = make_strategy("default")
        assert isinstance(strategy, tf.distribute.OneDeviceStrategy) == (device is not None)
        task, optimizer = toy_setup(strategy)
        fit(
            task=task,
            stream=ToyStream(),
            optimizer=optimizer,
            num_steps=3,
            run_dir=tmp_path / place,
            strategy=strategy,
        )
        trained.append(values_of(task.model))
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "name, environment, message",
    [
        ("mirrord", None, "got 'mirrord', expected one of default, mirrored, multi_worker, tpu"),
        ("multi_worker", None, "TF_CONFIG is not set; give every worker one like {"),
        ("multi_worker", "{", "TF_CONFIG is '{', expected something like {"),
        ("multi_worker", '{"cluster": {"worker": []}, "task": {"index": 0}}', "expected something"),
        ("multi_worker", config("worker", 0, ps=["d:4"]), "TF_CONFIG names ps; every process here"),
        ("multi_worker", config("evaluator", 0), "TF_CONFIG names evaluator"),
        ("multi_worker", config("chief", 0), "expected something like"),
    ],
)
def test_strategies_that_cannot_be_had(monkeypatch, name, environment, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if environment is not None:
        monkeypatch.setenv("TF_CONFIG", environment)
    with pytest.raises(SepconError, match=message) as caught:
        make_strategy(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "shapes, message",
    [
        ({"x": [None, 3]}, "'x' needs a static shape"),
        ({"x": []}, "'x' needs a static shape"),
        ({"x": [4], "y": [5]}, "all parts of a batch must have as many rows"),
    ],
)
def test_shapes_of_batches(shapes, message):
    spec = {name: tf.TensorSpec(shape) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        check_batch(spec, 1)
