"""What a training logs reaches other services too, and what fails there stops nothing."""

import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_training import ToyStream, toy_setup

from sepcon.errors import SepconError
from sepcon.training.loop import fit
from sepcon.training.metric_writers import WeightsAndBiases, hyperparameters

CONFIG = "fit.log_every_steps = 2\nname = 'a'\nSTEPS = 4\nloss = @other()\nlong = \\\n    'b'\n"


class Notes:
    def __init__(self, fails_at=None):
        self.events, self.fails_at = [], fails_at

    def open(self, run_dir, hyperparameters):
        self.events.append(("open", run_dir, dict(hyperparameters)))

    def write(self, step, values):
        if step == self.fails_at:
            raise ConnectionError("no network")
        self.events.append(("write", step, dict(values)))

    def close(self):
        self.events.append(("close",))


def train(run_dir, writer, num_steps=4):
    task, optimizer = toy_setup()
    return fit(
        task=task,
        stream=ToyStream(),
        optimizer=optimizer,
        num_steps=num_steps,
        run_dir=run_dir,
        log_every_steps=2,
        config_text=CONFIG,
        metric_writer=writer,
    )


def test_a_writer_gets_every_line_of_the_log(tmp_path):
    notes = Notes()
    train(tmp_path, notes)
    opened, first, second, closed = notes.events
    plain = {"fit.log_every_steps": 2, "name": "a", "STEPS": 4}
    assert opened == ("open", tmp_path, plain)
    assert (first[1], second[1], closed) == (2, 4, ("close",))
    assert {"loss", "accuracy", "learning_rate"} <= first[2].keys()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    assert metadata.plugin_data.plugin_name == "hparams"
    assert b"log_every_steps" in metadata.plugin_data.content


def test_a_writer_that_fails_is_told_once_and_the_training_goes_on(tmp_path, capsys):
    notes = Notes(fails_at=2)
    assert train(tmp_path, notes).step == 4
    assert [event[0] for event in notes.events] == ["open"]
    assert capsys.readouterr().err.count("Notes gets no metrics any more: no network") == 1


def test_weights_and_biases_continues_the_run_of_a_folder(tmp_path, monkeypatch):
    started = []

    def init(**arguments):
        run = SimpleNamespace(lines=[], finished=0)
        run.log = lambda values, step: run.lines.append((step, values))
        run.finish = lambda: setattr(run, "finished", run.finished + 1)
        started.append((arguments, run))
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    for num_steps in (2, 4):
        train(tmp_path, WeightsAndBiases(project="p", mode="offline"), num_steps)
    (one, before), (other, after) = started
    assert one["id"] == other["id"]
    assert (one["resume"], one["project"], one["config"]["STEPS"]) == ("allow", "p", 4)
    assert [step for step, _ in before.lines + after.lines] == [2, 4]
    assert before.finished == after.finished == 1


def test_a_missing_package_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SepconError, match="pip install wandb"):
        train(tmp_path, WeightsAndBiases())
    assert not (tmp_path / "metrics.jsonl").exists()


def test_hyperparameters_are_plain_values():
    assert hyperparameters(None) == {}
    assert hyperparameters("a.b = True\nc/d.e = 1e-3\nf = [1]\n") == {"a.b": True, "c/d.e": 1e-3}
