"""Other people's models and embeddings, by stand-ins of their exact signatures."""

import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from foreign_models import write_hear_module, write_yamnet

from sepcon.data.clips import ClipDataset
from sepcon.embeddings.embedders import load_embedder
from sepcon.embeddings.foreign import hear_module, python_function, saved_model
from sepcon.embeddings.npy_folder import npy_folder
from sepcon.embeddings.write import write_embeddings
from sepcon.errors import SepconError


@pytest.fixture(scope="module")
def yamnet(tmp_path_factory):
    return write_yamnet(tmp_path_factory.mktemp("models") / "yamnet")


def noise(batch, samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (batch, samples)).astype(np.float32)


def test_yamnet_gives_patches_and_their_mean(yamnet):
    embedder = saved_model(path=yamnet, sample_rate_hz=16000, output=1)
    waveform = noise(3, 16000 * 2)
    patches = embedder.patches(waveform)
    assert patches.shape == (3, 3, 1024)  # 0.96 s every 0.48 s
    model = tf.saved_model.load(str(yamnet))
    for clip, ours in zip(waveform, patches, strict=True):
        np.testing.assert_array_equal(ours, model(clip)[1])
    np.testing.assert_allclose(embedder(waveform), patches.mean(axis=1), rtol=1e-5)
    assert embedder.fingerprint == saved_model(path=yamnet, output=1).fingerprint
    assert embedder.fingerprint != saved_model(path=yamnet, output=0).fingerprint


def test_which_output_is_asked_for(yamnet):
    with pytest.raises(
        SepconError, match=r"3 outputs .*\(3, 1024\).* one of \[0, 1, 2\], got None"
    ):
        load_embedder(yamnet)(noise(1, 32000))
    with pytest.raises(SepconError, match="got 3"):
        saved_model(path=yamnet, output=3)(noise(1, 32000))


OUTPUTS = {
    "clip": lambda x: tf.stack([tf.reduce_mean(x, -1), tf.reduce_max(x, -1)], axis=-1),
    "patches": lambda x: tf.stack([x[..., :-1:100], x[..., 1::100]], axis=-1),
}


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("kind", ["clip", "patches"])
@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("callable_object", [False, True])
def test_every_form_of_saved_model(tmp_path, rank, kind, by_name, callable_object):
    function = OUTPUTS[kind]

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None] * rank, tf.float32, name="audio")])
        def __call__(self, audio):
            return {"scores": audio, "embedding": function(audio)} if by_name else function(audio)

    class Hidden(tf.Module):
        def __init__(self, model):
            self.model = model

    model = Model()
    serving = model.__call__.get_concrete_function()
    if callable_object:
        tf.saved_model.save(model, str(tmp_path))
    else:
        tf.saved_model.save(Hidden(model), str(tmp_path), {"serving_default": serving})
    waveform = noise(3, 1000)
    expected = np.asarray(function(tf.constant(waveform)))
    output = "output_0" if not by_name and not callable_object else None
    embedder = saved_model(path=tmp_path, output=output)
    if kind == "clip":
        np.testing.assert_allclose(embedder(waveform), expected, rtol=1e-6)
        np.testing.assert_allclose(embedder.patches(waveform), expected[:, np.newaxis], rtol=1e-6)
    else:
        np.testing.assert_allclose(embedder.patches(waveform), expected, rtol=1e-6)
        np.testing.assert_allclose(embedder(waveform), expected.mean(axis=1), atol=1e-6)


def test_hear_module(tmp_path):
    file = write_hear_module(tmp_path / "hear_model.py")
    (tmp_path / "weights.txt").write_text("3")
    plain = hear_module(module=str(file))
    weighted = hear_module(module=str(file), weights=str(tmp_path / "weights.txt"))
    waveform = noise(2, 44100)
    assert plain.sample_rate_hz == 22050
    np.testing.assert_allclose(plain(waveform)[:, 0], waveform.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(weighted(waveform), 3 * plain(waveform), rtol=1e-5)
    assert plain.patches(waveform).shape == (2, 4, 2)
    np.testing.assert_allclose(
        plain.patches(waveform)[..., 0], waveform[:, :44000].reshape(2, 4, -1).mean(-1), atol=1e-6
    )
    assert plain.fingerprint != weighted.fingerprint


def test_hear_module_in_pytorch(tmp_path, monkeypatch):
    """With a stand-in for PyTorch: it sees what the real one would, and only then is asked for."""

    class Tensor:
        def __init__(self, values):
            self.values = values

        def detach(self):
            return self

        def cpu(self):
            return self

        def numpy(self):
            return self.values

    class Module:
        __module__ = "torch.nn"
        sample_rate = 16000

    hear = types.ModuleType("hear_in_torch")
    hear.load_model = lambda model_file_path="": type("Model", (Module,), {})()
    hear.get_scene_embeddings = lambda audio, model: Tensor(audio.values[:, :3])
    torch = types.ModuleType("torch")
    torch.from_numpy = Tensor
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "hear_in_torch", hear)
    embedder = hear_module(module="hear_in_torch")
    waveform = noise(2, 100)
    np.testing.assert_array_equal(embedder(waveform), waveform[:, :3])
    np.testing.assert_array_equal(embedder.patches(waveform), waveform[:, np.newaxis, :3])


def test_python_function(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def embed(waveform):\n    return waveform[:, :2] * 2\n")
    embedder = python_function(name=f"{file}:embed", sample_rate_hz=8000)
    waveform = noise(3, 100)
    np.testing.assert_array_equal(embedder(waveform), 2 * waveform[:, :2])
    assert embedder.sample_rate_hz == 8000
    by_module = python_function(name="numpy:atleast_2d")
    np.testing.assert_array_equal(by_module(waveform), waveform)
    before = embedder.fingerprint
    file.write_text("def embed(waveform):\n    return waveform[:, :2] * 3\n")
    assert python_function(name=f"{file}:embed").fingerprint != before


def test_what_is_no_model_is_told(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def embed(waveform):\n    raise RuntimeError('out of luck')\nvalue = 3\n")
    with pytest.raises(SepconError, match=r"own.py:embed failed: RuntimeError: out of luck"):
        python_function(name=f"{file}:embed")(noise(1, 10))
    with pytest.raises(SepconError, match="no function 'value'"):
        python_function(name=f"{file}:value")
    with pytest.raises(SepconError, match="names no function"):
        python_function(name="numpy")
    with pytest.raises(SepconError, match="no such file"):
        python_function(name=f"{tmp_path}/gone.py:embed")
    with pytest.raises(SepconError, match="no_such_module failed: ModuleNotFoundError"):
        python_function(name="no_such_module:embed")
    with pytest.raises(SepconError, match="no HEAR module: it has no function 'load_model'"):
        hear_module(module=str(file))
    with pytest.raises(SepconError, match="is no SavedModel"):
        saved_model(path=tmp_path)


def clips_of(ids, rate=16000, samples=16000):
    audio = np.random.default_rng(0).normal(0, 3000, (len(ids), samples)).astype(np.int16)
    elements = {"id": ids, "audio": audio, "labels": np.eye(len(ids), dtype=np.float32)}
    build = tf.data.Dataset.from_tensor_slices(elements)
    names = tuple(f"class {number}" for number in range(len(ids)))
    return ClipDataset("toy", len(ids), rate, names, samples, lambda: build), audio


def test_clips_are_resampled_to_what_the_model_hears(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def embed(x):\n    return x[:, ::x.shape[1] // 8][:, :8], x.shape[1]\n")
    seconds = np.arange(16000) / 16000
    clips, _ = clips_of(["a", "b"])
    tone = (8000 * np.sin(2 * np.pi * 5 * seconds)).astype(np.int16)
    build = clips.build().map(lambda clip: {**clip, "audio": tf.constant(tone)})
    clips = ClipDataset(**{**clips.__dict__, "build": lambda: build})
    embedder = python_function(name=f"{file}:embed", sample_rate_hz=48000, output=0)
    found = write_embeddings(folder=tmp_path / "out", embedder=embedder, clips=clips).load()
    expected = 8000 / 32768 * np.sin(2 * np.pi * 5 * np.arange(8) / 8)
    np.testing.assert_allclose(found.embedding[0][1:], expected[1:], atol=2e-3)


IDS = ["-dash", "sub/clip.wav", "c"]


def write_files(folder, ids=IDS, patches=False):
    random = np.random.default_rng(3)
    arrays = {}
    for number, clip in enumerate(ids):
        shape = (number + 1, 4) if patches else (4,)
        arrays[clip] = random.normal(size=shape)
        path = folder / f"{clip.removesuffix('.wav')}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, arrays[clip])
    return arrays


@pytest.mark.parametrize("patches", [False, True])
def test_a_folder_with_a_file_for_each_clip(tmp_path, patches):
    arrays = write_files(tmp_path / "in", patches=patches)
    embedder = npy_folder(path=tmp_path / "in")
    clips, _ = clips_of(IDS)
    for asked in (False, True):
        folder = tmp_path / f"out {asked}"
        found = write_embeddings(folder=folder, embedder=embedder, clips=clips, patches=asked)
        data = found.load()
        assert data.ids.tolist() == IDS
        expected = [np.atleast_2d(array) for array in arrays.values()]
        if not asked:
            expected = [array.mean(axis=0, keepdims=True) for array in expected]
        np.testing.assert_allclose(data.embedding, np.concatenate(expected), rtol=1e-6)
    (tmp_path / "in" / "c.npy").write_bytes(b"")
    with pytest.raises(SepconError, match=r"c.npy cannot be read"):
        embedder.embed_clips(["c"], np.zeros((1, 1)), patches=False)
    (tmp_path / "in" / "c.npy").unlink()
    with pytest.raises(SepconError, match="holds no embedding of clip 'c'"):
        embedder.embed_clips(["c"], np.zeros((1, 1)), patches=False)
    assert npy_folder(path=tmp_path / "in").fingerprint != embedder.fingerprint


def test_one_array_with_its_ids(tmp_path):
    table = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "all.npy", table)
    (tmp_path / "ids.txt").write_text("x\n-dash\nc\n")
    embedder = npy_folder(path=tmp_path)
    found = embedder.embed_clips(["c", "x"], np.zeros((2, 1)), patches=False)
    np.testing.assert_array_equal(np.concatenate(found), table[[2, 0]])
    with pytest.raises(SepconError, match=r"ids\.txt does not name clip 'y'"):
        embedder.embed_clips(["y"], np.zeros((1, 1)), patches=False)
    (tmp_path / "ids.txt").write_text("x\nx\nc\n")
    with pytest.raises(SepconError, match=r"3 ids, 2 of them different"):
        npy_folder(path=tmp_path)
    np.save(tmp_path / "second.npy", table)
    with pytest.raises(SepconError, match=r"2 \.npy files"):
        npy_folder(path=tmp_path)
    with pytest.raises(SepconError, match=r"no \.npy file"):
        npy_folder(path=tmp_path / "nowhere")


def test_arrays_of_another_shape_are_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2)))
    with pytest.raises(SepconError, match=r"clip 'a' has shape \(2, 2, 2\)"):
        npy_folder(path=tmp_path).embed_clips(["a"], np.zeros((1, 1)), patches=False)
