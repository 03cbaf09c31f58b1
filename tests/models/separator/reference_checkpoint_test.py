"""Checkpoints of the reference implementation become run folders that give the same waveforms."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from sepcon import cli
from sepcon.errors import SepconError
from sepcon.models.separator.network import load_separator, load_separator_config
from sepcon.models.separator.reference_checkpoint import read_reference_checkpoint
from sepcon.models.separator.reference_weights import config_from_reference
from sepcon.models.weights import list_states

GOLDEN = Path(__file__).parent / "golden"
TOOL = Path(__file__).resolve().parents[3] / "tools" / "convert_reference_checkpoint.py"
NAMES = ("tdcn_stft_small", "tdcn_stft_skip_small", "tdcn_stft_magsq_small", "tdcn_learned_small")
STEP = 1234


@pytest.fixture(scope="module")
def convert():
    """The tool's main function, which takes what one would type."""
    spec = importlib.util.spec_from_file_location(TOOL.stem, TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *words: module.main([str(word) for word in words])


def arrays_of(name: str) -> dict:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


def weights_of(name: str) -> dict:
    return {key[4:-2]: value for key, value in arrays_of(name).items() if key.startswith("var/")}


def write_npz(path: Path, weights: dict) -> Path:
    np.savez(path, **{f"var/{name}:0": value for name, value in weights.items()})
    return path


def write_tensorflow_1(folder: Path, weights: dict) -> Path:
    """A checkpoint as a training run of TensorFlow 1 leaves it, with all that belongs to it."""
    tf1 = tf.compat.v1
    with tf1.Graph().as_default(), tf1.Session() as session:
        variables = [tf1.Variable(value, name=name) for name, value in weights.items()]
        step = tf1.train.get_or_create_global_step()
        loss = tf.add_n([tf.reduce_sum(tf.square(variable)) for variable in variables])
        tf1.train.AdamOptimizer(1e-4).minimize(loss, global_step=step)
        tf1.train.ExponentialMovingAverage(0.9).apply(variables)
        session.run([tf1.global_variables_initializer(), step.assign(STEP).op])
        session.run(step.assign(STEP))
        return Path(tf1.train.Saver().save(session, str(folder / "model.ckpt"), STEP))


def relative_error(got, expected) -> float:
    return float(np.linalg.norm(np.ravel(got) - np.ravel(expected)) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", NAMES)
def test_converted_arrays_separate_like_the_reference(name, tmp_path, convert, capsys):
    assert convert(GOLDEN / f"{name}.npz", tmp_path / "run", "--num_dilations", 3) == 0
    assert f"{len(weights_of(name))} variables of step 0" in capsys.readouterr().out
    separator = load_separator(tmp_path / "run")
    golden = arrays_of(name)
    assert relative_error(separator(golden["mixture"]), golden["separated"]) < 1e-4


def test_a_converted_run_is_one_that_separate_takes(tmp_path, convert):
    assert convert(GOLDEN / "tdcn_stft_small.npz", tmp_path / "run", "--num_dilations", 3) == 0
    clip = tmp_path / "clip.wav"
    tf.io.write_file(str(clip), tf.audio.encode_wav(0.1 * tf.random.normal([8000, 1]), 16000))
    folders = (f"--separator={tmp_path / 'run'}", f"--out={tmp_path / 'channels'}")
    assert cli.main(["separate", str(clip), *folders]) == 0
    assert len(list((tmp_path / "channels").rglob("channel_*.wav"))) == 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_tensorflow_1(tmp_path_factory.mktemp("tf1"), weights_of("tdcn_stft_skip_small"))


@pytest.mark.parametrize("form", ["prefix", "file", "folder"])
def test_a_checkpoint_of_tensorflow_1_gives_the_same(form, checkpoint, tmp_path, convert, capsys):
    forms = {
        "prefix": checkpoint,
        "file": checkpoint.with_name(f"{checkpoint.name}.index"),
        "folder": checkpoint.parent,
    }
    assert convert(forms[form], tmp_path / "run") == 0
    assert list_states(tmp_path / "run") == [STEP]
    weights, golden = weights_of("tdcn_stft_skip_small"), arrays_of("tdcn_stft_skip_small")
    # Of each weight two moments and an average; two decays and the step.
    text = f"{len(weights)} variables of step {STEP}, {3 * len(weights) + 3} that only training"
    assert text in capsys.readouterr().out
    separator = load_separator(tmp_path / "run")
    assert relative_error(separator(golden["mixture"]), golden["separated"]) < 1e-4


def test_what_no_shape_tells_comes_from_the_options(tmp_path, convert):
    words = ("--sample_rate_hz", 8000, "--window_seconds", 0.05, "--hop_seconds", 0.025)
    more = ("--num_dilations", 2, "--unpredicted_consistency", "uniform")
    assert convert(GOLDEN / "tdcn_stft_magsq_small.npz", tmp_path / "run", *words, *more) == 0
    config = load_separator_config(tmp_path / "run")
    assert (config.sample_rate_hz, config.window_samples, config.hop_samples) == (8000, 400, 200)
    assert (config.num_repeats, config.num_dilations) == (3, 2)
    assert config.mixture_consistency == "uniform"


def test_a_rate_at_which_windows_are_no_whole_number_of_hops(tmp_path, convert):
    weights = weights_of("tdcn_learned_small")
    for name, shape in (("encoder/dense", (55, 32)), ("decoder/dense_1", (32, 55))):
        weights[f"conv_{name}/kernel"] = np.full(shape, 0.01, np.float32)
    path = write_npz(tmp_path / "in.npz", weights)
    assert convert(path, tmp_path / "run", "--num_dilations", 3, "--sample_rate_hz", 22050) == 0
    separator = load_separator(tmp_path / "run")
    # Of the reference's 2.5 and 1.25 ms.
    assert (separator.config.window_samples, separator.config.hop_samples) == (55, 28)
    mixture = arrays_of("tdcn_learned_small")["mixture"]
    np.testing.assert_allclose(tf.reduce_sum(separator(mixture), axis=1), mixture, atol=1e-5)


def test_a_finished_run_is_left_alone(tmp_path, convert, capsys):
    assert convert(GOLDEN / "tdcn_stft_small.npz", tmp_path / "run", "--num_dilations", 3) == 0
    before = load_separator(tmp_path / "run").get_weights()
    capsys.readouterr()
    assert convert(GOLDEN / "tdcn_learned_small.npz", tmp_path / "run", "--num_dilations", 3) == 0
    assert "finished run" in capsys.readouterr().err
    for a, b in zip(before, load_separator(tmp_path / "run").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def without(name):
    return lambda weights: {key: value for key, value in weights.items() if key != name}


def with_value(name, value):
    return lambda weights: weights | {name: value}


SCALE = "initial_dense/dense_scale/scale_layer"


@pytest.mark.parametrize(
    "change, words, message",
    [
        (without(SCALE), (), f"missing {SCALE}; unknown none"),
        (with_value("extra/kernel", np.ones(3, np.float32)), (), "missing none; unknown extra/ker"),
        (without("dense/kernel"), (), "no variable 'dense/kernel'"),
        (with_value("dense/kernel", np.ones([12, 1029], np.float32)), (), "multiple of 257 bins"),
        (with_value("dense/kernel", np.ones(12, np.float32)), (), "got shape (12,), expected a m"),
        (with_value(SCALE, np.float32("nan")), (), f"{SCALE} holds what is not a finite number"),
        (with_value(SCALE, np.array("text")), (), f"{SCALE} holds what is not a finite number"),
        (lambda weights: weights, ("--num_dilations", "4"), "6 blocks do not make whole repeats"),
        (lambda weights: weights, ("--num_dilations", "0"), "num_dilations: got 0"),
        (
            lambda weights: weights,
            ("--window_seconds", "0.1"),
            "window of 0.1 s at 16000 Hz has 16",
        ),
        (lambda weights: weights, ("--hop_seconds", "0.032"), "hop_seconds: got 0.032"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(change, words, message, tmp_path, convert, capsys):
    path = write_npz(tmp_path / "in.npz", change(weights_of("tdcn_stft_small")))
    assert convert(path, tmp_path / "run", "--num_dilations", 3, *words) == 1
    told = capsys.readouterr().err
    assert message in told
    assert str(path) in told
    assert told.startswith("sepcon: error: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()


def damaged(path: Path) -> Path:
    path.write_bytes((GOLDEN / "tdcn_stft_small.npz").read_bytes()[:5000])
    return path


def cut_short(checkpoint: Path, folder: Path) -> Path:
    for part in checkpoint.parent.glob(f"{checkpoint.name}.*"):
        size = 100 if ".data" in part.name else None
        (folder / part.name).write_bytes(part.read_bytes()[:size])
    return folder / checkpoint.name


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda folder, _: folder / "nothing", "no checkpoint there"),
        (lambda folder, _: folder, "no checkpoint there"),
        (lambda folder, _: folder / "nothing.npz", "cannot be read as .npz"),
        (lambda folder, _: damaged(folder / "in.npz"), "cannot be read as .npz"),
        (lambda folder, _: write_npz(folder / "in.npz", {}), "no array is called var/<name>"),
        (lambda folder, checkpoint: cut_short(checkpoint, folder), "damaged checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_told(make, message, checkpoint, tmp_path):
    path = make(tmp_path, checkpoint)
    with pytest.raises(SepconError, match=message) as error:
        read_reference_checkpoint(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_several_microphones_are_refused():
    weights = weights_of("tdcn_stft_small")
    weights["initial_dense/dense/kernel"] = np.ones([514, 12], np.float32)
    weights["dense/kernel"] = np.ones([12, 514 * 4], np.float32)
    with pytest.raises(SepconError, match="several microphones"):
        config_from_reference(weights, num_dilations=3)
