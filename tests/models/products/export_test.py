"""A SavedModel is the live model, in a process that has neither sepcon nor Keras."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import LOG_MEL, PATCH_SECONDS, noise, write_run
from stranger import run_stranger

from sepcon.embeddings.embedders import load_embedder, load_reference_config
from sepcon.errors import SepconError
from sepcon.models.encoder_files import load_encoder
from sepcon.models.model_file import MODEL_FILE
from sepcon.models.products.card import model_card
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.weights import state_folder
from sepcon.runs import run_folder
from sepcon.runs.revision import running_revision
from sepcon.verbs.export import export

OUTSIDE = """
for key in inputs.files:
    for name, value in model(inputs[key]).items():
        results[key + "/" + name] = value.numpy()
    if inputs[key].ndim == 2:
        served = model.signatures["serving_default"](waveform=tf.constant(inputs[key]))
        results[key + "/served"] = served["embedding"].numpy()
results["metadata"] = np.array([float(value) for value in (
    model.sample_rate_hz(), model.patch_seconds(), model.hop_seconds(), model.embedding_size())])
results["card"] = np.array(tf.io.read_file(model.model_card_file.asset_path).numpy())
results["trainable"] = len(model.trainable_variables) if hasattr(
    model, "trainable_variables") else sum(v.trainable for v in model._tf_variables)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, steps=(10, 20))
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export(
        run_dir=tmp_path_factory.mktemp("export"), model=run, config_text="pretrain.x = 1\n"
    )


@pytest.fixture(scope="module")
def live(run):
    return EmbeddingModel(load_encoder(run).encoder, LOG_MEL, patch_seconds=PATCH_SECONDS)


def test_stranger_gets_the_same_numbers(exported, live, tmp_path):
    inputs = {
        "short": noise(1, 500),
        "patch": noise(2, 8000),
        "odd": noise(3, 20011),
        "alone": noise(12000),
        "silence": np.zeros((2, 9000), np.float32),
    }
    results = run_stranger(OUTSIDE, saved_model=exported, inputs=inputs, folder=tmp_path)
    for key, waveform in inputs.items():
        for name, value in live(waveform).items():
            np.testing.assert_allclose(results[f"{key}/{name}"], value, rtol=1e-5, atol=1e-5)
            assert np.isfinite(results[f"{key}/{name}"]).all()
        if waveform.ndim == 2:
            np.testing.assert_array_equal(results[f"{key}/served"], results[f"{key}/embedding"])
    np.testing.assert_allclose(results["metadata"], [16000, 0.5, 0.25, 8])
    assert json.loads(results["card"].item())["sample_rate_hz"] == 16000
    assert results["trainable"] == 6


def test_model_card(exported):
    card = json.loads((exported / "assets" / "model_card.json").read_text())
    assert card["training_step"] == 20
    assert card["gin"] == "pretrain.x = 1\n"
    assert card["embedding_size"] == 8
    assert card["patch_seconds"] == 0.5
    assert card["hop_seconds"] == 0.25
    assert card["log_mel"]["num_mels"] == 16
    assert card["licence"] == "not stated"
    assert card["measured"] == {}
    assert {"git_revision", "git_dirty", "sepcon_version", "created"} <= set(card)
    assert card["git_revision"] == running_revision().commit


def test_loaded_model_can_be_trained_further(exported):
    model = tf.saved_model.load(str(exported))
    trainable = [variable for variable in model._tf_variables if variable.trainable]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(noise(2, 20000))["embedding"] ** 2)
    gradients = tape.gradient(loss, trainable)
    assert len(gradients) == 6
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert any(np.abs(gradient).max() > 0 for gradient in gradients)


def test_saving_the_loaded_model_again_takes_its_card_along(exported, tmp_path):
    model = tf.saved_model.load(str(exported))
    tf.saved_model.save(model, str(tmp_path / "again"), signatures=dict(model.signatures))
    again = tmp_path / "again" / "assets"
    assert {file.name for file in again.iterdir()} == {"model_card.json", MODEL_FILE}


def test_patch_signature_runs_in_tensorflow_lite(exported):
    converter = tf.lite.TFLiteConverter.from_saved_model(str(exported), signature_keys=["patch"])
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    waveform = noise(1, 8000)
    result = interpreter.get_signature_runner("patch")(waveform=waveform)["embedding"]
    expected = tf.saved_model.load(str(exported))(waveform)["embedding"]
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_chosen_step_and_hop(run, tmp_path):
    folder = export(run_dir=tmp_path, model=run, step=10, hop_seconds=0.1)
    card = json.loads((folder / "assets" / "model_card.json").read_text())
    assert (card["training_step"], card["hop_seconds"]) == (10, 0.1)
    loaded = load_encoder(run, step=10)
    live = EmbeddingModel(loaded.encoder, LOG_MEL, patch_seconds=PATCH_SECONDS, hop_seconds=0.1)
    waveform = noise(1, 20000)
    expected = live(waveform)["embedding"]
    np.testing.assert_allclose(load_embedder(folder)(waveform), expected, atol=1e-5)


def test_second_export_says_so_and_another_model_is_refused(run, tmp_path, capsys):
    folder = export(run_dir=tmp_path, model=run)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    capsys.readouterr()
    export(run_dir=tmp_path, model=run)
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(SepconError, match="another model"):
        export(run_dir=tmp_path, model=run, step=10)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]


def test_an_interrupted_export_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(module, folder, **_):
        (Path(folder) / "saved_model.pb").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(SepconError, match="No space left"):
        export(run_dir=tmp_path, model=run)
    assert list(tmp_path.iterdir()) == []


def test_wrong_folders(run, tmp_path):
    with pytest.raises(SepconError, match="holds no encoder of `sepcon pretrain`"):
        export(run_dir=tmp_path, model=tmp_path / "nowhere")
    with pytest.raises(SepconError, match=r"no state of step 11; it has those of \[10, 20\]"):
        export(run_dir=tmp_path, model=run, step=11)
    other = tmp_path / "other"
    other.mkdir()
    (other / MODEL_FILE).write_text('{"kind": "projector"}')
    with pytest.raises(SepconError, match="kind 'projector', of which no SavedModel is defined"):
        export(run_dir=tmp_path, model=other)
    (other / MODEL_FILE).write_text('{"kind": "enc')
    with pytest.raises(SepconError, match="damaged"):
        export(run_dir=tmp_path, model=other)
    (other / MODEL_FILE).write_text((run / MODEL_FILE).read_text())
    with pytest.raises(SepconError, match="no saved state"):
        export(run_dir=tmp_path, model=other)
    with pytest.raises(SepconError, match="hop_seconds"):
        export(run_dir=tmp_path, model=run, hop_seconds=-1.0)
    assert not (tmp_path / "saved_model").exists()


def test_damaged_weights(tmp_path):
    write_run(tmp_path)
    for file in state_folder(tmp_path, 10).iterdir():
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(SepconError, match="damaged"):
        load_encoder(tmp_path)


def test_weights_of_another_architecture(run, tmp_path):
    write_run(tmp_path, steps=(10,), dim=9)
    (tmp_path / MODEL_FILE).write_text((run / MODEL_FILE).read_text())
    # As in folders of earlier versions; else the seal tells that the file was exchanged.
    (tmp_path / "seals.json").unlink()
    with pytest.raises(SepconError, match="shape"):
        export(run_dir=tmp_path / "out", model=tmp_path)


def test_the_architecture_travels_with_the_saved_model(run, exported):
    assert load_reference_config(exported) == load_reference_config(run)
    assert load_reference_config(exported.parent) == load_reference_config(run)
    with pytest.raises(SepconError, match="does not describe"):
        load_reference_config(run / "states")


def test_the_card_has_what_the_run_has_measured_and_no_folders(tmp_path):
    run_folder.note_training(tmp_path, {"step": 5, "seconds": 1.0, "metrics": {"loss": 0.5}})
    run_folder.finish(tmp_path, {"accuracy": 0.75, "seed": 3, "fold": "1", "seconds": 9.0})
    text = "a.path = '/home/me/data'\nb = [\"~/x/\", 'views/all.gin', '/m/', 1 / 2]\nc = '/'\n"
    card = model_card({"kind": "encoder"}, tmp_path, config_text=text, licence="CC0-1.0")
    assert card["measured"] == {"accuracy": 0.75, "training": {"loss": 0.5}}
    assert card["licence"] == "CC0-1.0"
    assert card["gin"] == (
        "a.path = '.../data'\nb = [\".../x\", 'views/all.gin', '.../m', 1 / 2]\nc = '/'\n"
    )
    rows = [{"step": step, "si_snri_channel_db": 0.5 * step, "num_scenes": 9} for step in (0, 5)]
    (tmp_path / "separation.json").write_text(json.dumps(rows))
    measured = model_card({"training_step": 5}, tmp_path)["measured"]
    assert (measured["si_snri_channel_db"], measured["num_scenes"]) == (2.5, 9)
    (tmp_path / "run.json").write_text("{")
    assert model_card({}, tmp_path)["measured"] == {}
