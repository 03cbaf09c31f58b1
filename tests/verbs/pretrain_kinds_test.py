"""`sepcon pretrain` with an objective and with a kind of input that this file alone knows."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import gin
from sepcon import cli
from sepcon.data.clips import ClipDataset, from_reader
from sepcon.data.examples import Example, Examples, ReadExample
from sepcon.models.weights import list_states
from sepcon.replicas import num_replicas
from sepcon.runs.run_folder import write_model_file
from sepcon.tasks.batch_views import BatchViews
from sepcon.training.task import Summaries, Task
from sepcon.views.sampler import Views

SIDE, CLASSES = 8, ("dark", "bright")


@gin.configurable
def noise_clips() -> ClipDataset:
    audio = np.random.default_rng(0).integers(-9999, 9999, (8, 12000), np.int16)

    def read(position: tf.Tensor) -> Example:
        return {
            "id": tf.strings.as_string(position),
            "audio": tf.gather(tf.constant(audio), position),
            "labels": tf.zeros([0]),
        }

    return from_reader(name="noise", num_clips=8, class_names=(), clip_samples=12000, read=read)


class AgreementTask:
    """Brings the embeddings of both views together, and nothing else."""

    def __init__(self, encoder: keras.Model, views: BatchViews, weight: float) -> None:
        self.model = self.product = encoder
        self.num_uniforms = views.num_uniforms
        self._views, self._weight = views, weight

    def loss(self, batch: dict[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        anchor, positive = (self.model(view, training=training) for view in self._views(batch))
        distance = tf.reduce_mean(tf.square(anchor - positive)) / num_replicas()
        return {"loss": self._weight * distance, "distance": distance}

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        return self._views.summaries(batch)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Agreement:
    """An objective that is bound in gin as those of the project are."""

    weight: float = 1.0

    def task(self, *, encoder: keras.Model, views: BatchViews, examples: Examples) -> Task:
        return AgreementTask(encoder, views, self.weight)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Pictures:
    """Dark and bright pictures of noise; reading one mirrors it at random."""

    num_examples: int = 10
    name: str = "pictures"
    class_names: tuple[str, ...] = CLASSES
    num_uniforms: int = 1

    def reader(self) -> ReadExample:
        noise = np.random.default_rng(1).integers(0, 99, (self.num_examples, SIDE, SIDE, 3))
        label = np.arange(self.num_examples) % 2
        pixels = tf.constant(noise + 100 * label[:, None, None, None], tf.uint8)

        def read(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
            picture = tf.gather(pixels, position)
            return {
                "id": tf.strings.as_string(position),
                "picture": tf.where(uniforms[0] < 0.5, picture[:, ::-1], picture),
                "labels": tf.one_hot(position % 2, 2),
            }

        return read


@gin.configurable
@dataclasses.dataclass(frozen=True, eq=False)
class BrightnessViews:
    """Two views of a picture that differ in how bright they are."""

    largest_change: float = 0.2
    num_uniforms: int = 2

    @property
    def encoder_arguments(self) -> Mapping[str, int]:
        return {"height": SIDE, "width": SIDE}

    def opened(self, examples: Examples) -> BatchViews:
        return self

    def drawn_from(self, examples: Examples, *, plain: bool = False) -> Examples:
        return examples

    def __call__(self, batch: dict[str, tf.Tensor]) -> Views:
        pixels = self.plain(batch)
        changes = self.largest_change * batch["uniforms"]  # [batch, 2]
        return Views(*(pixels + changes[:, side, None, None, None] for side in (0, 1)))

    def single(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        return self(batch).anchor

    def plain(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(batch["picture"], tf.float32) / 255.0

    def summaries(self, batch: dict[str, tf.Tensor]) -> Summaries:
        return Summaries(images={"anchor": self.single(batch)[..., :1]})

    def save_description(self, run_dir: str | Path, encoder: keras.Model) -> None:
        description = {"kind": "picture encoder", "encoder": encoder.to_json()}
        write_model_file(Path(run_dir) / "model.json", json.dumps(description))


@gin.configurable
def picture_encoder(*, height: int, width: int) -> keras.Model:
    picture = keras.Input((height, width, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(picture)
    x = keras.layers.BatchNormalization(synchronized=True)(x)
    return keras.Model(picture, keras.layers.GlobalAveragePooling2D()(x))


def pretrain(run: Path, *bindings: str) -> int:
    words = ["pretrain", "--gin_file=tiny.gin"]
    words += [f"--gin_bindings={binding}" for binding in bindings]
    return cli.main([*words, f"--run_dir={run}"])


def metrics(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])


def test_an_objective_of_somebody_else_is_trained_and_exported(tmp_path):
    objective = ("pretrain.objective=@Agreement()", "Agreement.weight=3.0")
    sound = ("TRAIN_CLIPS=@noise_clips()", "PATCH_SECONDS=0.5", "small_cnn.embedding_size=16")
    assert pretrain(tmp_path, *sound, *objective) == 0
    logged = metrics(tmp_path)
    assert logged["step"] == 2
    assert logged["loss"] == pytest.approx(3.0 * logged["distance"])
    assert logged["distance"] > 0
    embeddings = tf.saved_model.load(str(tmp_path / "saved_model"))(tf.zeros([1, 16000]))
    assert embeddings["embedding"].shape[-1] == 16


PICTURES = (
    "pretrain.examples=@Pictures()",
    "pretrain.views=@BrightnessViews()",
    "pretrain.encoder=@picture_encoder",
)


@pytest.mark.parametrize(
    "objective, expected",
    [
        (None, {"similarity_loss", "coincidence_loss", "contrastive_accuracy"}),
        ("supervised", {"cross_entropy", "precision_at_one"}),
    ],
)
def test_pictures_are_learned_from_by_the_objectives_of_the_project(
    objective, expected, tmp_path, capsys
):
    # Heads of the default size would take longer to make than all the rest.
    small = ("PROJECTION_HIDDEN_SIZES=(8,)", "COINCIDENCE_HIDDEN_SIZES=(8,)")
    bound = small if objective is None else (f"pretrain.objective=@{objective}()",)
    run = tmp_path / "run"
    assert pretrain(run, *PICTURES, *bound) == 0
    assert expected <= set(metrics(run))
    assert np.isfinite(metrics(run)["loss"])
    assert list_states(run) == [2]
    # What is not defined is said, not left out in silence; asked for by name, it is an error.
    assert "no SavedModel is defined for this kind of encoder" in capsys.readouterr().err
    assert not (run / "saved_model").exists()
    assert (run / "run.json").is_file()
    out = tmp_path / "export"
    words = [f"--gin_bindings=MODEL='{run}'", f"--run_dir={out}"]
    assert cli.main(["export", *words]) == 1
    message = "holds a network of kind 'picture encoder', of which no SavedModel is defined"
    assert message in capsys.readouterr().err


def test_views_of_sound_say_that_pictures_are_none(tmp_path, capsys):
    assert pretrain(tmp_path, "pretrain.examples=@Pictures()") == 1
    assert "pictures: LogMelViews are made of clips, got Pictures" in capsys.readouterr().err
