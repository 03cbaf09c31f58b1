"""Models on disk that were damaged: one line that names the folder, or the right weights."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.errors import SepconError
from sepcon.models.encoder_files import load_encoder, save_encoder_config
from sepcon.models.products.saved_model import load_callable
from sepcon.models.products.write import write_saved_model
from sepcon.models.weights import read_weights, state_folder, write_weights
from sepcon.training.checkpoints import Checkpoints, Progressed

TRIES = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretraining run with an encoder of a few weights, and its export."""
    folder = tmp_path_factory.mktemp("models") / "run"
    log_mel = keras.Input((None, 8))
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(4)(log_mel))
    encoder = keras.Model(log_mel, x)
    save_encoder_config(
        run_dir=folder, encoder=encoder, log_mel=LogMel(num_mels=8), patch_seconds=0.2
    )
    write_weights(encoder, state_folder(folder, 3))
    write_saved_model(run_dir=folder, model=folder)
    return folder


def damaged(data: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(max(1, len(data)))
    kind = generator.randrange(3)
    if kind == 0:
        return data[:start]
    changed = bytearray(data)
    for _ in range(1 if kind == 1 else 20):
        changed[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def refusal(read: Callable[[], object], right: Callable[[object], bool]) -> str:
    """The line that is told; of what is read without one, all must be right."""
    try:
        assert right(read())
    except SepconError as error:
        return str(error)
    return ""


def refusals(
    file: Path, read: Callable[[], object], right: Callable[[object], bool], name: str
) -> int:
    """How often one line was told, of a file that is damaged in many ways."""
    good, generator = file.read_bytes(), random.Random(file.name)
    told = 0
    for data in [b"", b"\0" * 100, *(damaged(good, generator) for _ in range(TRIES))]:
        file.write_bytes(data)
        line = refusal(read, right)
        told += bool(line)
        assert not line or ("\n" not in line and name in line), line
    file.unlink()
    file.mkdir()
    with pytest.raises(SepconError, match=name):
        read()
    file.rmdir()
    file.write_bytes(good)
    return told


@pytest.mark.parametrize("name", ["weights.index", "weights.data-00000-of-00001"])
def test_damaged_weights(run, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    expected = [each.numpy() for each in load_encoder(folder).encoder.variables]
    model = load_encoder(folder).encoder

    def read() -> list[np.ndarray]:
        for variable in model.variables:
            variable.assign(tf.zeros_like(variable))
        read_weights(model, state_folder(folder, 3))
        return [each.numpy() for each in model.variables]

    def right(found: list[np.ndarray]) -> bool:
        return all(map(np.array_equal, found, expected))

    assert refusals(state_folder(folder, 3) / name, read, right, "step-00000003") > TRIES // 2


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets/model_card.json",
        "fingerprint.pb",
    ],
)
def test_damaged_saved_models_are_told_before_tensorflow_sees_them(run, tmp_path, name):
    folder = tmp_path / "saved_model"
    shutil.copytree(run / "saved_model", folder)
    load_callable(folder, "serving_default")
    good, generator = (folder / name).read_bytes(), random.Random(name)
    for _ in range(5):
        (folder / name).write_bytes(damaged(good, generator) + b"x")
        with pytest.raises(SepconError, match=rf"{name}: is not what was written") as told:
            load_callable(folder, "serving_default")
        assert "\n" not in str(told.value)


def test_damaged_saved_models_of_earlier_versions(run, tmp_path):
    """Of which nothing was noted; their checksums are TensorFlow's."""
    folder = tmp_path / "saved_model"
    shutil.copytree(run / "saved_model", folder)
    (folder / "seals.json").unlink()
    for name in (
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ):
        file = folder / name
        good = file.read_bytes()
        for data in (b"", good[: len(good) // 2]):
            file.write_bytes(data)
            with pytest.raises(SepconError, match=r"saved_model cannot be read") as told:
                load_callable(folder, "serving_default")
            assert "\n" not in str(told.value)
        file.write_bytes(good)


def test_a_description_that_keras_cannot_build_is_one_line(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    # As earlier versions wrote it; where there is a seal, that tells the change.
    (folder / "seals.json").unlink()
    text = (folder / "model.json").read_text()
    for old, new in (("Dense", "Dance"), ("units", "unite"), ("Functional", "Function")):
        (folder / "model.json").write_text(text.replace(old, new))
        with pytest.raises(
            SepconError, match=r"run.* model.json: its description of the encoder"
        ) as e:
            load_encoder(folder)
        assert "\n" not in str(e.value)
    layer = '{"class_name": "Lambda", "config": {"function": "os.system"}}'
    (folder / "model.json").write_text(text.replace('"encoder": "', f'"encoder": {layer}, "x": "'))
    with pytest.raises(SepconError):
        load_encoder(folder)


def test_damaged_checkpoints_give_way_to_the_one_before(tmp_path, capsys):
    variable = tf.Variable([1.0, 2.0])
    checkpoints = Checkpoints(tmp_path, {"a": variable}, keep=2)
    checkpoints.save(Progressed(1, 1.0, {}))
    variable.assign([3.0, 4.0])
    checkpoints.save(Progressed(2, 2.0, {}))
    file = checkpoints.path(2)
    good, generator = file.read_bytes(), random.Random(0)
    earlier = 0
    for _ in range(TRIES):
        file.write_bytes(damaged(good, generator))
        variable.assign([0.0, 0.0])
        step = checkpoints.restore().step
        earlier += step == 1
        assert variable.numpy().tolist() == ([1.0, 2.0] if step == 1 else [3.0, 4.0])
    assert earlier > TRIES // 2
    assert "is damaged" in capsys.readouterr().err
    file.unlink()
    file.mkdir()
    assert checkpoints.restore().step == 1
