"""Weights on disk: whole or not at all, and only into the model they belong to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.models.compact_weights import write_compact
from sepcon.models.weights import list_states, read_weights, state_folder, write_weights


def model(units=3, layers=1):
    inputs = keras.Input([4])
    x = inputs
    for _ in range(layers):
        x = keras.layers.Dense(units)(x)
    return keras.Model(inputs, x)


def test_reading_gives_back_what_was_written(tmp_path):
    written, read = model(), model()
    folder = state_folder(tmp_path, 300)
    write_weights(written, folder)
    assert folder.name == "step-00000300"
    assert (folder / "weights.index").is_file()
    read_weights(read, folder)
    for a, b in zip(written.weights, read.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_writing_again_replaces_and_leaves_nothing_else(tmp_path):
    first, second, read = model(), model(), model()
    folder = state_folder(tmp_path, 1)
    write_weights(first, folder)
    write_weights(second, folder)
    read_weights(read, folder)
    np.testing.assert_array_equal(read.weights[0], second.weights[0])
    assert [path.name for path in folder.parent.iterdir()] == ["step-00000001"]


def test_states_are_listed_in_order_of_steps(tmp_path):
    assert list_states(tmp_path) == []
    for step in (1000, 0, 123456789):
        write_weights(model(), state_folder(tmp_path, step))
    (tmp_path / "states" / "step-unfinished").mkdir()
    (tmp_path / "states" / ".step-00000007.tmp").mkdir()
    assert list_states(tmp_path) == [0, 1000, 123456789]


@pytest.mark.parametrize(
    "other, message",
    [
        (lambda: model(units=5), r"kernel has shape \[4, 3\], expected \[4, 5\]"),
        (lambda: model(layers=2), r"shape nothing, expected \[3, 3\]"),
    ],
)
def test_another_architecture_is_named_by_its_first_variable(tmp_path, other, message):
    folder = state_folder(tmp_path, 2)
    write_weights(model(), folder)
    with pytest.raises(SepconError, match=message) as error:
        read_weights(other(), folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_smaller_model_does_not_take_part_of_the_weights(tmp_path):
    write_weights(model(layers=2), tmp_path / "w")
    with pytest.raises(SepconError, match=r"expected nothing"):
        read_weights(model(layers=1), tmp_path / "w")


def test_missing_and_damaged_weights(tmp_path):
    with pytest.raises(SepconError, match="no weights there"):
        read_weights(model(), tmp_path / "nowhere")
    folder = tmp_path / "w"
    write_weights(model(), folder)
    data = next(folder.glob("weights.data*"))
    data.write_bytes(data.read_bytes()[:10])
    with pytest.raises(SepconError, match=r"do not fit|cannot be read"):
        read_weights(model(), folder)


def test_failing_to_write_keeps_what_was_there(tmp_path, monkeypatch):
    folder, read = tmp_path / "w", model()
    first = model()
    write_weights(first, folder)

    def disk_full(*_arguments, **_options):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.train.Checkpoint, "write", disk_full)
    with pytest.raises(SepconError, match=r"cannot be written.*No space left"):
        write_weights(model(), folder)
    monkeypatch.undo()
    read_weights(read, folder)
    np.testing.assert_array_equal(read.weights[0], first.weights[0])
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_model_that_tensorflow_sees_only_in_part_is_refused(tmp_path):
    class Stack(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.parts = [keras.layers.Dense(2), keras.layers.Dense(2)]
            for part in self.parts:
                part.build([None, 2])

    with pytest.raises(ValueError, match="finds 0 of its 4 variables"):
        write_weights(Stack(), tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_half_precision_is_read_like_a_checkpoint(tmp_path):
    written, read = model(units=50), model(units=50)
    file = write_compact(written, state_folder(tmp_path, 3))
    assert file.stat().st_size < 1400  # 200 weights of 2 bytes, 50 of 4, and the archive
    read_weights(read, file.parent)
    for a, b in zip(written.weights, read.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)
    np.testing.assert_array_equal(written.weights[1], read.weights[1])


def test_half_precision_of_another_model_is_named_by_its_first_variable(tmp_path):
    write_compact(model(), tmp_path)
    other = model(units=5)
    before = other.get_weights()
    with pytest.raises(SepconError, match=r"kernel has shape \[4, 3\], expected \[4, 5\]"):
        read_weights(other, tmp_path)
    assert all((a == b).all() for a, b in zip(before, other.get_weights(), strict=True))
    with pytest.raises(SepconError, match=r"shape nothing, expected \[3, 3\]"):
        read_weights(model(layers=2), tmp_path)
    write_compact(model(layers=2), tmp_path)
    with pytest.raises(SepconError, match=r"has shape \[3, 3\], expected nothing"):
        read_weights(model(), tmp_path)


def test_half_precision_that_cannot_be(tmp_path):
    loud = model()
    loud.weights[0].assign(np.full((4, 3), 1e5))
    with pytest.raises(ValueError, match="beyond float16, up to 100000"):
        write_compact(loud, tmp_path)
    assert not (tmp_path / "weights.npz").exists()
    file = write_compact(model(), tmp_path)
    whole = file.read_bytes()
    for cut in (whole[:200], b"", whole[:60] + b"\xff" * 20 + whole[80:]):
        file.write_bytes(cut)
        with pytest.raises(SepconError, match=r"weights\.npz: is damaged"):
            read_weights(model(), tmp_path)
