"""Checkpoints come back as they were, or say what is wrong; a failed write harms nothing."""

import errno
import os
import re

import keras
import numpy as np
import pytest

from sepcon.errors import SepconError
from sepcon.training.checkpoints import Checkpoints, Progressed, named_variables


def variables(*shapes, value=0.0):
    return {
        f"model/v{place}": keras.Variable(np.full(shape, value, np.float32), name=f"v{place}")
        for place, shape in enumerate(shapes)
    }


def fill(variables, value):
    for place, variable in enumerate(variables.values()):
        variable.assign(np.full(variable.shape, value + place, np.float32))


def save(run_dir, step, *, keep=2, shapes=((2, 3), ())):
    made = variables(*shapes)
    fill(made, step)
    Checkpoints(run_dir, made, keep=keep).save(Progressed(step, step / 2, {"a": {"b": 0.1}}))


def restore(run_dir, shapes=((2, 3), ())):
    made = variables(*shapes)
    return Checkpoints(run_dir, made).restore(), [v.numpy() for v in made.values()]


def files(run_dir):
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def test_comes_back(tmp_path):
    save(tmp_path, 7)
    progressed, (one, two) = restore(tmp_path)
    assert progressed == Progressed(7, 3.5, {"a": {"b": 0.1}})
    np.testing.assert_array_equal(one, np.full((2, 3), 7.0))
    assert two == 8.0


def test_bits_and_integers_come_back(tmp_path):
    odd = np.array([np.nan, -0.0, np.inf, 1e-45, 1.1], np.float32)
    values = {"f": odd, "i": np.array(2**53 + 1, np.int64), "u": np.array([1, 2], np.uint32)}
    saved = {name: keras.Variable(value, dtype=value.dtype) for name, value in values.items()}
    Checkpoints(tmp_path, saved).save(Progressed(1))
    loaded = {n: keras.Variable(np.zeros_like(v), dtype=v.dtype) for n, v in values.items()}
    Checkpoints(tmp_path, loaded).restore()
    for name, value in values.items():
        assert loaded[name].numpy().tobytes() == value.tobytes()


def test_nothing_there(tmp_path):
    progressed, (one, _) = restore(tmp_path)
    assert progressed == Progressed(0)
    np.testing.assert_array_equal(one, np.zeros((2, 3)))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_last_few_are_kept(tmp_path, keep):
    for step in (5, 10, 15, 20):
        save(tmp_path, step, keep=keep)
    expected = [f"step-{step:08d}.npz" for step in (5, 10, 15, 20)[-keep:]]
    assert files(tmp_path) == expected


def test_same_model_with_other_names(tmp_path):
    """Keras counts the names of unnamed layers up from one model to the next."""
    optimizer = keras.optimizers.Adam()
    first = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    second = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    optimizer.build(first.trainable_variables)
    Checkpoints(tmp_path, named_variables(first, optimizer)).save(Progressed(3))
    other = keras.optimizers.Adam()
    other.build(second.trainable_variables)
    named = named_variables(second, other)
    assert len(named) == 2 + 2 + 4
    Checkpoints(tmp_path, named).restore()
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])


def test_variables_of_one_name_are_all_kept():
    class Model:
        variables = tuple(keras.Variable(np.zeros(2), name="same") for _ in range(3))

    optimizer = keras.optimizers.SGD()
    assert len(named_variables(Model, optimizer)) == 3 + len(optimizer.variables)


@pytest.mark.parametrize(
    "shapes, message",
    [
        (
            ((2, 3), (4,)),
            r"it has model/v1 of shape \[\] where this model has model/v1 of shape \[4\]",
        ),
        (
            ((3, 2), ()),
            r"it has model/v0 of shape \[2, 3\] where this .* model/v0 of shape \[3, 2\]",
        ),
        (((2, 3),), r"it has model/v1 of shape \[\] where this model has nothing"),
        (((2, 3), (), (1,)), r"it has nothing where this model has model/v2 of shape \[1\]"),
    ],
)
def test_another_architecture(tmp_path, shapes, message):
    save(tmp_path, 4)
    made = variables(*shapes, value=9.0)
    with pytest.raises(SepconError, match=message) as caught:
        Checkpoints(tmp_path, made).restore()
    assert str(tmp_path) in str(caught.value)
    assert "another run_dir" in str(caught.value)
    for variable in made.values():
        np.testing.assert_array_equal(variable.numpy(), np.full(variable.shape, 9.0))


def cut(content, rng):
    return content[: rng.integers(len(content))]


def flip(content, rng):
    """Flips a bit of a value: the record lies behind the values, and padding is not checked."""
    place = content.index(b"\x00\x00\xa0\x40" * 6)  # 5.0
    damaged = bytearray(content)
    damaged[place + rng.integers(24)] ^= 1 << rng.integers(8)
    return bytes(damaged)


def other(content, rng):
    return b"no checkpoint at all"


@pytest.mark.parametrize("damage", [cut, flip, other])
def test_damaged_one_falls_back(tmp_path, capsys, damage):
    save(tmp_path, 3)
    save(tmp_path, 5)
    path = tmp_path / "checkpoints" / "step-00000005.npz"
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(10):
        path.write_bytes(damage(content, rng))
        progressed, (one, _) = restore(tmp_path)
        assert progressed.step == 3
        np.testing.assert_array_equal(one, np.full((2, 3), 3.0))
        assert re.search(r"warning: .*step-00000005.npz is damaged", capsys.readouterr().err)
    # Going on from there, the good ones are kept and the damaged one is not.
    save(tmp_path, 4)
    assert files(tmp_path) == ["step-00000003.npz", "step-00000004.npz"]


def test_all_damaged(tmp_path):
    save(tmp_path, 3)
    (tmp_path / "checkpoints" / "step-00000003.npz").write_bytes(b"")
    with pytest.raises(SepconError, match=r"step-00000003.npz is damaged .*no earlier .*remove"):
        restore(tmp_path)


@pytest.mark.parametrize("call", ["write_array", "fsync", "replace"])
def test_full_disk(tmp_path, monkeypatch, call):
    save(tmp_path, 3)
    before = (tmp_path / "checkpoints" / "step-00000003.npz").read_bytes()

    def full(*arguments, **named):
        if call == "write_array":
            arguments[0].write(b"a part of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        owner = {"write_array": np.lib.format, "fsync": os, "replace": os}[call]
        patch.setattr(owner, call, full)
        with pytest.raises(SepconError, match=r"step-00000005.npz: cannot be written") as caught:
            save(tmp_path, 5)
    message = str(caught.value)
    assert str(tmp_path / "checkpoints") in message
    assert "No space left on device" in message
    assert "goes on from step 3" in message
    assert files(tmp_path) == ["step-00000003.npz"]
    assert (tmp_path / "checkpoints" / "step-00000003.npz").read_bytes() == before
    save(tmp_path, 5)
    assert restore(tmp_path)[0].step == 5


def test_a_checkpoint_that_a_killed_process_was_about_to_remove(tmp_path):
    for step in (3, 6, 9):
        Checkpoints(tmp_path, variables((2, 3), ()), keep=9).save(Progressed(step))
    checkpoints = Checkpoints(tmp_path, variables((2, 3), ()), keep=2)
    checkpoints.remove_remains()
    assert files(tmp_path) == ["step-00000006.npz", "step-00000009.npz"]
    assert checkpoints.restore().step == 9


def test_remains_of_a_killed_process(tmp_path):
    save(tmp_path, 3)
    remains = tmp_path / "checkpoints" / ".step-00000004.npz.4711.part"
    remains.write_bytes(b"half")
    checkpoints = Checkpoints(tmp_path, variables((2, 3), ()))
    assert checkpoints.restore().step == 3
    checkpoints.remove_remains()
    assert files(tmp_path) == ["step-00000003.npz"]
