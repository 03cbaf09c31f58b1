"""Every shipped gin file is run: for two steps, or for the loss and gradients of one batch."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import tensorflow as tf
from esc50_stub import write_esc50

import gin
from sepcon import cli
from sepcon.cli.configuration import read_configuration
from sepcon.errors import Interrupted

REPOSITORY = Path(__file__).resolve().parents[1]
GIN = REPOSITORY / "gin"
SMALLEST = REPOSITORY / "tests" / "support" / "smallest.gin"
BUILTIN = ("--gin_file=data/builtin_scenes.gin",)
NO_CLIPS = ("ClipExamples.clips = None",)


def sepcon(*words: str) -> None:
    assert cli.main(words) == 0, words


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this file go; they share prepared scenes, separator and channels."""
    return tmp_path_factory.mktemp("sepcon")


@pytest.fixture(scope="module")
def common(place: Path) -> tuple[str, ...]:
    files = ("--gin_file=tiny.gin", f"--gin_file={SMALLEST}")
    return (*BUILTIN, *files, f"--gin_bindings=DATA_DIR='{place / 'data'}'")


@pytest.fixture(scope="module")
def separator(place: Path, common: tuple[str, ...]) -> Path:
    run = place / "separator"
    sepcon("train_separator", *common, f"--run_dir={run}")
    return run


@pytest.fixture(scope="module")
def channels(place: Path, common: tuple[str, ...], separator: Path) -> Path:
    run = place / "channels" / "late"
    sepcon("separate", *common, f"--gin_bindings=SEPARATOR='{separator}'", f"--run_dir={run}")
    return run


def losses(run: Path) -> list[float]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    # Lines of validation alone have none.
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


LOSSES: list[dict[str, float]] = []


@gin.configurable
def one_batch(*, task: Any, stream: Any, on_start: Callable[[], None], **_: Any) -> NoReturn:
    """In place of the training loop, whose graph takes ten times as long to make as to run."""
    on_start()
    with tf.GradientTape() as tape:
        shares = task.loss(next(iter(stream.batches(0))), training=True)
    gradients = tape.gradient(shares["loss"], task.model.trainable_variables)
    assert all(np.isfinite(each).all() for each in gradients if each is not None)
    assert sum(each is not None for each in gradients) > 10
    LOSSES.append({name: float(share) for name, share in shares.items()})
    raise Interrupted(signal.SIGTERM)  # What comes after training is for other tests.


def losses_of_one_batch(verb: str, *words: str) -> dict[str, float]:
    """What `verb` makes of its configuration, up to where training would begin."""
    before = len(LOSSES)
    loop = f"--gin_bindings={verb}.loop=@one_batch"
    assert cli.main([verb, *words, loop]) == 143, words
    (losses,) = LOSSES[before:]
    return losses


def loss_of_one_batch(verb: str, *words: str) -> float:
    return losses_of_one_batch(verb, *words)["loss"]


@pytest.mark.parametrize("path", sorted((GIN / "views").glob("*.gin")), ids=lambda path: path.stem)
def test_views(path, place, common, channels):
    words = [f"--gin_file=views/{path.name}", f"--run_dir={place / 'views' / path.stem}"]
    # Views that need them want them; all others refuse them.
    given = cli.bound_arguments("pretrain", gin_files=[str(path)], gin_bindings=NO_CLIPS)
    if given["views"].sampler.needs_channels:
        words.append(f"--gin_bindings=CHANNELS=['{channels}']")
    assert np.isfinite(loss_of_one_batch("pretrain", *common, *words))


ENCODERS = {path.stem.removeprefix("encoder_") for path in (GIN / "models").glob("encoder_*.gin")}
# Their graphs take most of a minute to build; the loop has nothing to do with what is in them.
LARGE_ENCODERS = {"mobilenet_v2", "resnet50", "efficientnet_b0", "efficientnet_lite0"}


@pytest.mark.parametrize("name", sorted(ENCODERS - LARGE_ENCODERS))
def test_encoders(name, place, common):
    words = [f"--gin_file=models/encoder_{name}.gin", f"--run_dir={place / 'encoders' / name}"]
    if name == "vggish_original":  # Of its 72 million weights nearly all are in these layers.
        words.append("--gin_bindings=vggish_original.hidden_units=16")
    assert np.isfinite(loss_of_one_batch("pretrain", *common, *words))


@pytest.mark.parametrize("name", sorted(LARGE_ENCODERS & ENCODERS))
def test_large_encoders_have_gradients(name):
    read_configuration("pretrain", [f"models/encoder_{name}.gin"], [])
    encoder = gin.query_parameter("%ENCODER").scoped_configurable_fn(num_mels=64)
    log_mel = np.random.default_rng(0).normal(size=(2, 33, 64)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(encoder(log_mel, training=True)))
    gradients = tape.gradient(loss, encoder.trainable_variables)
    assert len(gradients) > 100
    assert all(np.isfinite(gradient).all() for gradient in gradients)


OBJECTIVES = sorted((GIN / "objectives").glob("*.gin"))


@pytest.mark.parametrize("path", OBJECTIVES, ids=lambda path: path.stem)
def test_objectives(path, place, common):
    run = place / "objectives" / path.stem
    words = [f"--gin_file=objectives/{path.name}", f"--run_dir={run}"]
    probed = path.stem == "similarity"
    if probed:
        words += ["--gin_file=probes/linear.gin", "--gin_bindings=TrainingProbe.num_test=8"]
    sepcon("pretrain", *common, *words)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    scores = [json.loads(line).get("validation/probe_map") for line in lines]
    assert any(score is not None and 0 <= score <= 1 for score in scores) == probed
    assert np.isfinite(losses(run)).all()
    assert (run / "saved_model" / "saved_model.pb").is_file()


def test_channels_on_the_fly_give_the_loss_of_stored_ones(place, common, separator, channels):
    pairs = "--gin_file=views/mixture_channel_equalized.gin"
    places = (f"CHANNELS=['{channels}']", f"SEPARATORS=[('{separator}', None)]")
    losses = [
        loss_of_one_batch(
            "pretrain",
            *common,
            pairs,
            f"--gin_bindings={binding}",
            f"--run_dir={place / 'places' / str(number)}",
        )
        for number, binding in enumerate(places)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_several_separator_states_on_the_fly(place, common, separator):
    states = f"--gin_bindings=SEPARATORS=[('{separator}', 0), ('{separator}', None)]"
    pairs = "--gin_file=views/mixture_channel_equalized.gin"
    run = f"--run_dir={place / 'places' / 'several'}"
    assert np.isfinite(loss_of_one_batch("pretrain", *common, pairs, states, run))


def test_the_full_separator(place, common):
    words = ["--gin_file=models/separator_tdcn.gin", "--gin_bindings=SEPARATOR_BATCH_SIZE=2"]
    words.append(f"--run_dir={place / 'separator_tdcn'}")
    assert np.isfinite(loss_of_one_batch("train_separator", *common, *words))


def test_a_causal_separator_of_half_supervised_batches(place, common):
    run = place / "separator_causal"
    words = ["--gin_file=models/separator_causal.gin", f"--run_dir={run}"]
    for name in ("SUPERVISED_SHARE", "SPARSITY_WEIGHT", "COVARIANCE_WEIGHT"):
        words.append(f"--gin_bindings={name}=0.5")
    losses = losses_of_one_batch("train_separator", *common, *words)
    assert {"loss", "supervised_loss", "sparsity", "covariance"} <= set(losses)
    assert np.isfinite(list(losses.values())).all()
    assert json.loads((run / "model.json").read_text())["config"]["causal"]


@pytest.fixture(scope="module")
def esc50(place: Path) -> tuple[str, ...]:
    root = write_esc50(place / "ESC-50")
    bindings = (f"ESC50_DIR='{root}'", f"DATA_DIR='{place / 'data'}'")
    return tuple(f"--gin_bindings={binding}" for binding in bindings)


# The studies of this paper are among the commands of the documents.
VARIANTS = sorted(
    path
    for path in (GIN / "papers" / "soundclr2021").glob("*.gin")
    if path.stem not in ("esc10", "pretrained")
)


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_soundclr(path, place, esc50):
    words = [f"--gin_file=papers/soundclr2021/{path.name}", "--gin_file=data/esc10.gin"]
    words += ["--gin_file=tiny.gin", "--gin_bindings=finetune.folds=(3,)"]
    if path.stem == "paper":
        # A small one in the place of what cannot be downloaded here, with the paper's front-end.
        words += ["--gin_file=models/encoder_small_cnn.gin"]
    run = f"--run_dir={place / 'finetune' / path.stem}"
    assert np.isfinite(loss_of_one_batch("finetune", *words, *esc50, run))
