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


@dataclasses.dataclass(frozen=True)
class Watched(Pictures):
    """Pictures, read one by one or in rows, that note which of them were read."""

    read: list[int] = dataclasses.field(default_factory=list)

    def reader(self) -> ReadExample:
        read = super().reader()

        def watched(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
            seen = tf.numpy_function(self._note, [position], tf.int64)
            return read(tf.ensure_shape(seen, position.shape), uniforms)

        return watched

    def _note(self, positions: np.ndarray) -> np.ndarray:
        self.read.extend(np.ravel(positions).tolist())
        return positions


@dataclasses.dataclass(frozen=True)
class WatchedRows:
    """The same examples, many by one call."""

    one: Watched = dataclasses.field(default_factory=Watched)
    num_examples: int = 6
    name: str = "pictures"
    class_names: tuple[str, ...] = ()
    num_uniforms: int = 1

    def row_reader(self) -> ReadExample:
        pixels = tf.constant(self.one.pixels())

        def read(positions: tf.Tensor, uniforms: tf.Tensor) -> Example:
            seen = tf.numpy_function(self.one._note, [positions], tf.int64)
            pictures = tf.gather(pixels, tf.ensure_shape(seen, [None]))
            mirrored = (uniforms[:, 0] < 0.5)[:, tf.newaxis, tf.newaxis]
            return {
                "id": tf.strings.as_string(positions),
                "picture": tf.where(mirrored, pictures[..., ::-1], pictures),
                "all_uniforms": uniforms,
            }

        return read


@pytest.mark.parametrize("batch_size", [6, 198])
def test_workers_read_their_own_rows_alone_and_together_all_of_a_batch(batch_size: int) -> None:
    """One by one and in rows, of which 198 take several calls: the same to the bit."""
    made = {"batch_size": batch_size, "seed": 1, "num_uniforms": 3, "prefetch": 0, "threads": 1}
    of_kind: list[list[dict[str, np.ndarray]]] = []
    for kind in (Watched, WatchedRows):
        whole = TrainingStream(examples=kind(), **made)
        expected = next(iter(whole.batches(2).take(1).as_numpy_iterator()))
        parts, share = [], batch_size // 3
        for worker in range(3):
            examples = kind()
            log = examples.read if isinstance(examples, Watched) else examples.one.read
            stream = TrainingStream(examples=examples, **made)
            rows = range(worker * share, (worker + 1) * share)
            parts.append(next(iter(stream.batches(2, rows).take(1).as_numpy_iterator())))
            read = expected["position"][rows.start : rows.stop].tolist()
            assert log[:share] == read
            assert len(log) <= share + 64  # It may be a call ahead.
        for name, value in expected.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), value)
        of_kind.append([expected])
    for name, value in of_kind[0][0].items():
        np.testing.assert_array_equal(of_kind[1][0][name], value)
