"""The stream on other kinds of examples than clips, and what reading one is told."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from sepcon.data.examples import Example, ReadExample
from sepcon.data.stream import TrainingStream


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Small pictures; reading one mirrors it at random."""

    num_examples: int = 6
    name: str = "pictures"
    class_names: tuple[str, ...] = ()
    num_uniforms: int = 1
    extra: str = "all_uniforms"

    def pixels(self) -> np.ndarray:
        return np.arange(self.num_examples * 6, dtype=np.uint8).reshape(-1, 2, 3)

    def reader(self) -> ReadExample:
        pixels = tf.constant(self.pixels())

        def read(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
            picture = tf.gather(pixels, position)
            return {
                "id": tf.strings.as_string(position),
                "picture": tf.where(uniforms[0] < 0.5, picture[:, ::-1], picture),
                self.extra: uniforms,
            }

        return read


def stream(start: int, count: int, **changes: object) -> list[dict[str, np.ndarray]]:
    examples = dataclasses.replace(Pictures(), **changes)  # type: ignore[arg-type]
    batches = TrainingStream(examples=examples, batch_size=4, seed=1, num_uniforms=3)
    return list(batches.batches(start).take(count).as_numpy_iterator())


def test_a_batch_holds_what_the_examples_hold_their_numbers_and_uniforms() -> None:
    for batch in stream(0, 8):
        assert set(batch) == {"picture", "all_uniforms", "uniforms", "position"}
        assert batch["picture"].shape == (4, 2, 3)
        pixels = Pictures().pixels()[batch["position"]]
        mirrored = batch["all_uniforms"][:, 0] < 0.5
        np.testing.assert_array_equal(batch["picture"][~mirrored], pixels[~mirrored])
        np.testing.assert_array_equal(batch["picture"][mirrored], pixels[mirrored][..., ::-1])


def test_reading_knows_what_the_step_will_draw_from() -> None:
    batches = stream(0, 8)
    for batch in batches:
        assert batch["all_uniforms"].shape == (4, 4)
        np.testing.assert_array_equal(batch["all_uniforms"][:, 1:], batch["uniforms"])
    mirrored = np.concatenate([batch["all_uniforms"][:, 0] < 0.5 for batch in batches])
    assert 5 < mirrored.sum() < 27


def test_a_resumed_stream_of_pictures_goes_on_to_the_bit() -> None:
    for got, expected in zip(stream(5, 3), stream(0, 8)[5:], strict=True):
        for key in expected:
            np.testing.assert_array_equal(got[key], expected[key])


def test_what_the_stream_adds_itself_an_example_must_not_hold() -> None:
    with pytest.raises(ValueError, match="examples of pictures hold position, which the stream"):
        stream(0, 1, extra="position")
