"""The loop does the steps it should, tells of them, and goes on where it stopped."""

import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_training import SharedToys, ToyStream, ToyTask, toy_setup, values_of

from sepcon.errors import SepconError
from sepcon.models.weights import list_states, read_weights, state_folder
from sepcon.runs import run_folder
from sepcon.training import loop
from sepcon.training.checkpoints import Checkpoints, Progressed, named_variables
from sepcon.training.logs import Averages, peak_normalized
from sepcon.training.loop import fit

TOYS = SharedToys()


@pytest.fixture(autouse=True)
def shared_graphs(monkeypatch):
    TOYS.begin_test()
    monkeypatch.setattr(loop, "StepFunction", TOYS.steps)


def train(run_dir, num_steps, *, task=None, stream=None, **arguments):
    made, optimizer = TOYS.setup() if task is None else toy_setup()
    task = task or made
    result = fit(
        task=task,
        stream=stream or ToyStream(),
        optimizer=optimizer,
        num_steps=num_steps,
        run_dir=run_dir,
        **arguments,
    )
    return task, result


def metrics(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


class LinearTask:
    """Mean squared error of a linear map: its gradient is known on paper."""

    num_uniforms = 0

    def __init__(self):
        self.model = self.product = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1, use_bias=False)]
        )

    def loss(self, batch, *, training):
        error = self.model(batch["x"])[:, 0] - batch["y"]
        return {"loss": tf.reduce_mean(error**2)}

    def summaries(self, batch):
        raise NotImplementedError


class MapTask(LinearTask):
    """The same error, of a network with maps."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        layers = [
            keras.Input((3,)),
            keras.layers.Reshape((3, 1, 1)),
            keras.layers.Conv2D(4, (2, 1), activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
        self.model = self.product = keras.Sequential(layers)


class LinearStream:
    identity = "linear examples"

    def __init__(self):
        rng = np.random.default_rng(5)
        self.x = rng.normal(size=(7, 4, 3)).astype(np.float32)
        self.y = rng.normal(size=(7, 4)).astype(np.float32)

    def batches(self, start_step, rows=None):
        data = tf.data.Dataset.from_tensor_slices({"x": self.x, "y": self.y})
        return data.repeat().skip(start_step)

    def describe(self, step):
        return str(step)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_equals_gradient_descent_on_paper(tmp_path, clip, jit_compile):
    task, stream = LinearTask(), LinearStream()
    start = np.array([[0.5], [-1.0], [2.0]], np.float32)
    task.model.set_weights([start])
    result = fit(
        task=task,
        stream=stream,
        optimizer=keras.optimizers.SGD(0.1),
        num_steps=10,
        run_dir=tmp_path,
        steps_per_call=3,
        gradient_clip_norm=clip,
        log_every_steps=1,
        jit_compile=jit_compile,
    )
    weights, lines = start[:, 0].astype(np.float64), metrics(tmp_path)
    clipped = 0
    for step in range(10):
        x, y = stream.x[step % 7], stream.y[step % 7]
        error = x @ weights - y
        gradient = 2 * x.T @ error / len(y)
        norm = np.sqrt(sum(value**2 for value in gradient))
        assert lines[step]["step"] == step + 1
        assert lines[step]["loss"] == pytest.approx(np.mean(error**2), rel=1e-4)
        assert lines[step]["gradient_norm"] == pytest.approx(norm, rel=1e-4)
        if clip and norm > clip:
            gradient, clipped = gradient * clip / norm, clipped + 1
        weights = weights - 0.1 * gradient
    np.testing.assert_allclose(task.model.get_weights()[0][:, 0], weights, rtol=1e-4)
    assert result.step == 10
    assert bool(clip) == (clipped > 0)


def test_precision_is_of_the_steps_alone(tmp_path):
    """bfloat16 rounds the losses, weights are kept in float32, and one may go on in the other."""
    curves = {}
    for precision in ("float32", "bfloat16"):
        task = MapTask()
        settings = {
            "task": task,
            "stream": LinearStream(),
            "optimizer": keras.optimizers.SGD(0.01),
            "run_dir": tmp_path / precision,
            "log_every_steps": 1,
        }
        fit(**settings, num_steps=10, precision=precision)
        curves[precision] = np.array([line["loss"] for line in metrics(tmp_path / precision)])
        fit(**settings, num_steps=11)
        assert {weight.dtype for weight in task.model.get_weights()} == {np.dtype(np.float32)}
        assert {layer.compute_dtype for layer in task.model.layers} == {"float32"}
    np.testing.assert_allclose(curves["bfloat16"], curves["float32"], rtol=0.05)
    assert np.all(curves["bfloat16"] != curves["float32"])
    with pytest.raises(SepconError, match="precision: got 'float16', expected"):
        fit(**{**settings, "run_dir": tmp_path / "c"}, num_steps=1, precision="float16")
    assert not (tmp_path / "c" / "states").exists()


def test_learns(tmp_path):
    train(tmp_path, 200, steps_per_call=50, log_every_steps=50)
    losses = [line["loss"] for line in metrics(tmp_path)]
    assert losses[-1] < 0.7 * losses[0]


def test_result_does_not_depend_on_steps_per_call_or_on_stops(tmp_path):
    whole, _ = train(tmp_path / "whole", 23, steps_per_call=10)
    single, _ = train(tmp_path / "single", 23, steps_per_call=1)
    # Each start below is a new task with new weights, that goes on from the checkpoint.
    for end in (4, 5, 17, 23):
        parts, _ = train(tmp_path / "parts", end, steps_per_call=4, checkpoint_every_steps=3)
    values = [values_of(task.model) for task in (whole, single, parts)]
    for one, two, three in zip(*values, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_a_run_does_not_go_on_with_other_examples(tmp_path):
    train(tmp_path, 4)
    checkpoint = tmp_path / "checkpoints" / "step-00000004.npz"
    before = checkpoint.read_bytes()
    message = "was trained on toy examples up to step 4, but is given pictures; give those it began"
    with pytest.raises(SepconError, match=message):
        train(tmp_path, 6, stream=ToyStream(identity="pictures"))
    assert checkpoint.read_bytes() == before
    _, result = train(tmp_path, 6)
    assert result.step == 6


def test_a_checkpoint_from_before_examples_were_noted_goes_on(tmp_path):
    task, optimizer = toy_setup()
    optimizer.build(task.model.trainable_variables)
    earlier = Checkpoints(tmp_path, named_variables(task.model, optimizer))
    earlier.save(Progressed(3, 1.0, {"averages": Averages().state(), "metrics": {}}))
    _, result = train(tmp_path, 6, stream=ToyStream(identity="pictures"))
    assert result.step == 6


def test_finished_run_changes_nothing(tmp_path, capsys):
    task, first = train(tmp_path, 6, config_text="a = 1", summary_every_steps=3)
    before = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}
    again, second = train(tmp_path, 6)
    assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before
    assert "finished before, at step 6" in capsys.readouterr().err
    assert second.finished_before
    assert not first.finished_before
    assert (second.step, second.metrics) == (6, first.metrics)
    for one, two in zip(values_of(task.model), values_of(again.model), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("with_done", [True, False])
def test_lost_product_of_a_finished_run_comes_back(tmp_path, with_done):
    """As after a kill between its replacement and the end of the run."""
    task, first = train(tmp_path, 6)
    shutil.rmtree(tmp_path / "states")
    if not with_done:
        (tmp_path / "run.json").unlink()
    again, second = train(tmp_path, 6)
    assert list_states(tmp_path) == [6]
    assert second.metrics == first.metrics
    for one, two in zip(values_of(task.model), values_of(again.model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_training_that_an_earlier_version_has_finished_counts_as_such(tmp_path):
    _, first = train(tmp_path, 6)
    record = json.loads((tmp_path / "run.json").read_text())["training"]
    (tmp_path / "run.json").unlink()
    (tmp_path / "done.json").write_text(json.dumps(record))
    shutil.rmtree(tmp_path / "checkpoints")  # As after a fold of `finetune`.
    _, second = train(tmp_path, 6)
    assert second.finished_before
    assert second.metrics == first.metrics


@pytest.mark.parametrize("finished", [True, False])
def test_fewer_steps_than_are_done_are_refused_and_nothing_changes(tmp_path, finished):
    train(tmp_path, 6, keep_state_steps=[0])
    if not finished:
        (tmp_path / "run.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(SepconError, match=r"has done 6 steps, asked for 4; ask for 6 or more"):
        train(tmp_path, 4)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_states_are_kept_for_ever(tmp_path):
    initial, _ = toy_setup()
    train(tmp_path, 9, keep_state_steps=[0, 4], checkpoint_every_steps=2, keep_checkpoints=1)
    assert list_states(tmp_path) == [0, 4, 9]
    middle, _ = train(tmp_path / "short", 4)
    for step, expected in ((0, initial), (4, middle)):
        task, _ = toy_setup()
        task.model.first.bias.assign(np.full(16, 7.0))
        read_weights(task.model, state_folder(tmp_path, step))
        for one, two in zip(values_of(task.model), values_of(expected.model), strict=True):
            np.testing.assert_array_equal(one, two)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000009.npz"]


def test_lines_of_metrics(tmp_path):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4], [0.1, 0.01])
    task, _ = toy_setup()
    optimizer = keras.optimizers.SGD(schedule)
    result = fit(
        task=task,
        stream=ToyStream(),
        optimizer=optimizer,
        num_steps=7,
        run_dir=tmp_path,
        steps_per_call=2,
        log_every_steps=3,
        validate=lambda: {"score": 0.25},
        validate_every_steps=4,
    )
    lines = metrics(tmp_path)
    assert [line["step"] for line in lines] == [3, 4, 6, 7, 7]
    assert [line.get("validation/score") for line in lines] == [None, 0.25, None, None, 0.25]
    assert [line.get("learning_rate") for line in lines[:3]] == pytest.approx([0.1, None, 0.01])
    assert lines[0].keys() == {
        *("step", "loss", "accuracy", "gradient_norm", "learning_rate"),
        *("examples_per_second", "waiting_share"),
    }
    last = {**lines[3], **lines[4]}
    assert result.metrics == {name: value for name, value in last.items() if name != "step"}
    assert run_folder.training_record(tmp_path)["metrics"] == result.metrics
    assert not run_folder.is_finished(tmp_path)  # A verb may have more to make of it.


def test_metrics_are_those_of_an_uninterrupted_run(tmp_path):
    train(tmp_path / "whole", 12, log_every_steps=6)
    for end in (4, 12):
        train(tmp_path / "parts", end, log_every_steps=6)
    # The end of the first start was logged by itself, and the rest of the interval after it.
    whole, parts = metrics(tmp_path / "whole"), metrics(tmp_path / "parts")
    assert [line["step"] for line in parts] == [4, 6, 12]
    assert parts[0]["loss"] * 4 + parts[1]["loss"] * 2 == pytest.approx(whole[0]["loss"] * 6)
    assert parts[2]["loss"] == whole[1]["loss"]


def test_lines_after_the_checkpoint_are_dropped(tmp_path):
    train(tmp_path, 4, log_every_steps=2)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 6, "loss": 1}\n{"step": 8, "lo')
    train(tmp_path, 8, log_every_steps=2)
    assert [line["step"] for line in metrics(tmp_path)] == [2, 4, 6, 8]
    assert metrics(tmp_path)[2]["loss"] != 1


def test_share_of_time_waiting_for_data(tmp_path):
    slow = ToyStream(seconds_per_batch=0.05)
    for name, stream in (("slow", slow), ("fast", ToyStream())):
        train(tmp_path / name, 30, stream=stream, steps_per_call=10, log_every_steps=10)
    assert metrics(tmp_path / "slow")[-1]["waiting_share"] > 0.6
    assert metrics(tmp_path / "slow")[-1]["examples_per_second"] < 8 / 0.05 * 1.2
    # On a busy machine the fast one waits too, but never as much.
    waiting = {name: metrics(tmp_path / name)[-1]["waiting_share"] for name in ("slow", "fast")}
    assert waiting["fast"] < waiting["slow"]


def test_tensorboard(tmp_path):
    train(tmp_path, 4, config_text="loop.num_steps = 4", summary_every_steps=2, log_every_steps=2)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"loss", "accuracy", "learning_rate", "config"} <= set(events.Tags()["tensors"])
    assert [event.step for event in events.Tensors("sound")] == [2, 4]
    assert [event.step for event in events.Tensors("picture")] == [2, 4]
    encoded = events.Tensors("sound")[0].tensor_proto.string_val[0]
    sound, rate = tf.audio.decode_wav(encoded)
    assert int(rate) == 16000
    assert np.abs(sound.numpy()).max() == pytest.approx(1.0, abs=1e-3)


def test_peak_normalized():
    waveforms = np.array([[0.0, 0.0], [0.1, -0.2], [3.0, 1.0]], np.float32)
    expected = [[0, 0], [0.5, -1], [1, 1 / 3]]
    np.testing.assert_allclose(peak_normalized(waveforms), expected, rtol=1e-6)


def test_weights_without_gradient_are_told_and_left_alone(tmp_path, capsys):
    task, _ = toy_setup()
    task.model.unused = keras.layers.Dense(2)
    task.model.unused.build((None, 2))
    before = task.model.unused.kernel.numpy()
    train(tmp_path, 2, task=task)
    np.testing.assert_array_equal(task.model.unused.kernel.numpy(), before)
    assert "2 weights get no gradient" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_steps": 1e3}, "num_steps: got 1000.0, expected a whole number above 0"),
        ({"num_steps": 5, "steps_per_call": 0}, "steps_per_call: got 0"),
        ({"num_steps": 5, "keep_state_steps": [6]}, "keep_state_steps: got 6, expected .* 0 to"),
    ],
)
def test_wrong_numbers(tmp_path, arguments, message):
    with pytest.raises(SepconError, match=message):
        train(tmp_path / "run", **arguments)
    assert not os.listdir(tmp_path)


class TestSetup:
    """Each of these would train something else than meant without a word."""

    def fit(self, tmp_path, task, optimizer, stream=None):
        fit(
            task=task,
            stream=stream or ToyStream(),
            optimizer=optimizer,
            num_steps=1,
            run_dir=tmp_path,
        )

    @pytest.mark.parametrize("name", ["clipnorm", "global_clipnorm", "clipvalue"])
    def test_clipping_of_keras(self, tmp_path, name):
        with pytest.raises(ValueError, match=f"optimizer: {name} is 1.0, expected None"):
            self.fit(tmp_path, toy_setup()[0], keras.optimizers.SGD(0.1, **{name: 1.0}))

    def test_accumulation_of_keras(self, tmp_path):
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
        with pytest.raises(ValueError, match="gradient_accumulation_steps"):
            self.fit(tmp_path, toy_setup()[0], optimizer)

    def test_random_layers_of_keras(self, tmp_path):
        task, optimizer = toy_setup()
        task.model.dropout = keras.layers.Dropout(0.5)
        with pytest.raises(ValueError, match="random numbers of its own"):
            self.fit(tmp_path, task, optimizer)

    def test_number_of_uniforms(self, tmp_path):
        task, optimizer = toy_setup()
        with pytest.raises(ValueError, match="3 uniforms per row, but the task consumes 32"):
            self.fit(tmp_path, task, optimizer, ToyStream(num_uniforms=3))

    def test_loss_without_weights(self, tmp_path):
        task, optimizer = toy_setup()
        task.loss = lambda batch, training: {"loss": tf.reduce_sum(batch["uniforms"])}
        with pytest.raises(ValueError, match="depends on none of the model's"):
            self.fit(tmp_path, task, optimizer)

    @pytest.mark.parametrize("shares", [{}, {"loss": tf.zeros([2])}])
    def test_shares(self, tmp_path, shares):
        task, optimizer = toy_setup()
        task.loss = lambda batch, training: shares
        with pytest.raises(ValueError, match=r"task\.loss"):
            self.fit(tmp_path, task, optimizer)

    def test_model_that_is_not_built(self, tmp_path):
        task, optimizer = ToyTask(), keras.optimizers.SGD(0.1)
        task.model = keras.Sequential([keras.layers.Dense(2)])
        with pytest.raises(ValueError, match="no trainable variables"):
            self.fit(tmp_path, task, optimizer)
