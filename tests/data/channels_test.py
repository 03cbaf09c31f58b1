import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from full_disk import full_disk

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.channel_shards import ChannelWriter, read_index, shard_path
from sepcon.data.channels import stored_channels
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import ClipDataset, from_reader
from sepcon.data.stream import TrainingStream
from sepcon.errors import SepconError, raised_in_graph

NUM_CLIPS, LENGTH = 11, 60


def make_clips(name: str = "toy", num_clips: int = NUM_CLIPS, prefix: str = "clip") -> ClipDataset:
    def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "id": prefix + tf.strings.as_string(position),
            "audio": tf.cast(100 * position + tf.range(LENGTH, dtype=tf.int64), tf.int16),
            "labels": tf.zeros([0]),
        }

    return from_reader(
        name=name, num_clips=num_clips, class_names=(), clip_samples=LENGTH, read=read
    )


CLIPS = make_clips()


def separated(audio: np.ndarray, state: int) -> np.ndarray:
    """Three channels that tell clip, channel, place and state apart."""
    return np.stack([audio + 2000 * (channel + 1) + 10000 * state for channel in range(3)])


def writer(folder: Path, **changes: Any) -> ChannelWriter:
    values: dict[str, Any] = {
        "clips": CLIPS,
        "num_channels": 3,
        "checkpoint": "run",
        "step": 300,
        "shard_clips": 4,
    }
    return ChannelWriter(folder, **(values | changes))


def write(folder: Path, *, state: int = 0, stop: int = NUM_CLIPS, **changes: Any) -> None:
    with writer(folder, **changes) as out:
        for element in CLIPS.build().skip(out.num_done).take(stop - out.num_done):
            out.write(element["id"], separated(element["audio"].numpy(), state))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "a")
    index = read_index(tmp_path / "a")
    assert index.shards == (4, 4, 3)
    assert (index.clips, index.checkpoint, index.step) == ("toy", "run", 300)
    channels = stored_channels(paths=[str(tmp_path / "a")])
    assert channels.num_channels == 3
    for position in (10, 0, 5):
        got = channels.read(tf.constant(position), tf.constant(f"clip{position}"), tf.constant(0.7))
        expected = separated(100 * position + np.arange(LENGTH), 0)
        np.testing.assert_array_equal(got, expected)


def test_float_channels_are_rounded_and_held_at_the_rails(tmp_path: Path) -> None:
    clips = make_clips(num_clips=1)
    values = np.asarray([[0.25, 1.5, -1.5], [0.4 / 32768, 0.6 / 32768, -1.0]], np.float32)
    with writer(tmp_path, clips=clips, num_channels=2) as out:
        out.write("clip0", values)
        assert out.finished
    got = stored_channels(paths=[str(tmp_path)]).read(
        tf.constant(0), tf.constant("clip0"), tf.constant(0.0)
    )
    assert got.numpy().tolist() == [[8192, 32767, -32768], [0, 1, -32768]]


@pytest.mark.parametrize("killed_at", [0, 1, 4, 9, 11])
def test_a_killed_writer_continues_and_ends_with_the_same_bytes(
    tmp_path: Path, killed_at: int
) -> None:
    write(tmp_path / "whole")
    write(tmp_path / "parts", stop=killed_at)
    assert read_index(tmp_path / "parts").num_done == (
        11 if killed_at == 11 else killed_at // 4 * 4
    )
    (tmp_path / "parts" / f".channels-00002.tfrecord.{'9' * 32}").write_bytes(b"half a shard")
    write(tmp_path / "parts")
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "parts").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_writer_that_was_killed_behind_a_shard_writes_its_envelope(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    write(tmp_path / "parts", stop=8)
    (tmp_path / "parts" / "channels-00001.tfrecord.envelope.npz").unlink()
    write(tmp_path / "parts")
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "parts" / path.name).read_bytes() == path.read_bytes()


def test_each_example_draws_one_state(tmp_path: Path) -> None:
    write(tmp_path / "a", state=0)
    write(tmp_path / "b", state=1, step=600)
    channels = stored_channels(paths=[str(tmp_path / "a"), str(tmp_path / "b")])
    for uniform, state in [(0.0, 0), (0.499, 0), (0.5, 1), (0.99999994, 1)]:
        got = channels.read(tf.constant(2), tf.constant("clip2"), tf.constant(uniform))
        np.testing.assert_array_equal(got, separated(200 + np.arange(LENGTH), state))


def test_the_stream_crops_channels_where_it_crops_the_clip(tmp_path: Path) -> None:
    write(tmp_path / "a", state=0)
    write(tmp_path / "b", state=1)
    stream = TrainingStream(
        examples=ClipExamples(CLIPS, 20 / SAMPLE_RATE_HZ, ["a", "b"], str(tmp_path)),
        batch_size=5,
        seed=0,
        num_uniforms=2,
    )
    assert stream.batches(0).element_spec["channels"] == tf.TensorSpec([5, 3, 20], tf.int16)
    states, starts = [], []
    for batch in stream.batches(0).take(20).as_numpy_iterator():
        for audio, channels, position in zip(
            batch["audio"], batch["channels"], batch["position"], strict=True
        ):
            starts.append(audio[0] - 100 * position)
            state = int(channels[0, 0] - audio[0] - 2000) // 10000
            np.testing.assert_array_equal(channels, separated(audio, state))
            states.append(state)
    assert 30 < sum(states) < 70
    assert len(set(starts)) > 20
    # Which state is drawn has nothing to do with where the clip is cut.
    assert abs(np.corrcoef(states, starts)[0, 1]) < 0.3


def test_channels_of_other_clips_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    values: dict[str, Any] = {"batch_size": 2, "seed": 0, "num_uniforms": 0}
    channels = [str(tmp_path / "a")]
    more = ClipExamples(make_clips("more", 12), channels=channels)
    with pytest.raises(SepconError, match=r"holds channels of 11 clips \(toy\), but more has 12"):
        TrainingStream(examples=more, **values)
    other = ClipExamples(make_clips(prefix="x"), channels=channels)
    renamed = TrainingStream(examples=other, **values)
    with pytest.raises(tf.errors.OpError, match=r"clip \d+ is clip\d+, expected x\d+"):
        next(iter(renamed.batches(0)))


def test_a_folder_of_something_else_is_not_continued(tmp_path: Path) -> None:
    write(tmp_path, stop=5)
    for field, value in [("checkpoint", "other"), ("step", 7), ("num_channels", 4)]:
        with pytest.raises(SepconError, match=rf"holds channels with {field} .*asked for {value}"):
            writer(tmp_path, **{field: value})
    with pytest.raises(SepconError, match="holds channels with clips toy, asked for other"):
        writer(tmp_path, clips=make_clips("other"))


def test_unfinished_missing_and_damaged_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match=r"index\.json: no such file"):
        stored_channels(paths=[str(tmp_path / "none")])
    with pytest.raises(SepconError, match="paths is empty"):
        stored_channels(paths=[])
    write(tmp_path / "a", stop=9)
    with pytest.raises(SepconError, match="is unfinished, 8 of 11 clips are there"):
        stored_channels(paths=[str(tmp_path / "a")])
    write(tmp_path / "a")
    shard = shard_path(tmp_path / "a", 1)
    data = shard.read_bytes()
    shard.write_bytes(data[:-7])
    with pytest.raises(SepconError, match=r"channels-00001\.tfrecord: ends in the middle"):
        stored_channels(paths=[str(tmp_path / "a")])
    shard.write_bytes(b"")
    with pytest.raises(SepconError, match="holds 0 clips, expected 4"):
        stored_channels(paths=[str(tmp_path / "a")])
    shard.unlink()
    with pytest.raises(SepconError, match="cannot be read"):
        stored_channels(paths=[str(tmp_path / "a")])
    index = tmp_path / "a" / "index.json"
    index.write_text("{")
    with pytest.raises(SepconError, match=r"index\.json: is damaged or of another version"):
        stored_channels(paths=[str(tmp_path / "a")])


def test_channels_that_were_overwritten_end_the_stream_with_their_record(tmp_path: Path) -> None:
    write(tmp_path / "a")
    stream = TrainingStream(
        examples=ClipExamples(CLIPS, channels=[str(tmp_path / "a")]),
        batch_size=NUM_CLIPS,
        seed=0,
        num_uniforms=0,
    )
    shard = shard_path(tmp_path / "a", 1)
    data = bytearray(shard.read_bytes())
    data[-200:-100] = bytes(100)  # in clip 7, the last of its shard, while a run reads
    shard.write_bytes(data)
    with pytest.raises(tf.errors.OpError) as error:
        next(iter(stream.batches(0)))
    assert str(raised_in_graph(error.value)) == (
        f"{shard}: record 3 is damaged, it does not have the checksum of what was written; delete "
        "it and run.json beside it, and the same `sepcon separate` writes it again"
    )


def test_states_of_different_clips_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", clips=make_clips("other"))
    with pytest.raises(SepconError, match=r"b: has clips other, but .*a has toy"):
        stored_channels(paths=[str(tmp_path / "a"), str(tmp_path / "b")])


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(SepconError, match="has format 2, expected 1"):
        read_index(tmp_path)


def test_bad_channels_are_refused(tmp_path: Path) -> None:
    with writer(tmp_path, clips=make_clips(num_clips=1)) as out:
        with pytest.raises(ValueError, match=r"channels: got shape \(2, 5\)"):
            out.write("clip0", np.zeros((2, 5)))
        with pytest.raises(SepconError, match="the channels of clip clip0 are not finite"):
            out.write("clip0", np.full((3, 5), np.nan))
        out.write("clip0", np.zeros((3, 5)))
        with pytest.raises(ValueError, match="got more than 1 clips"):
            out.write("clip1", np.zeros((3, 5)))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SepconError, match=r"file/a: cannot be written \(Not a directory\)"):
        writer(tmp_path / "file" / "a")


def test_a_full_disk_is_named_and_nothing_finished_is_lost(tmp_path: Path) -> None:
    write(tmp_path, stop=4)
    told = pytest.raises(SepconError, match=r"tfrecord: cannot be written \(.*; make room")
    with told, full_disk((tmp_path / "index.json").stat().st_size + 50):
        write(tmp_path)
    assert not list(tmp_path.glob(".*"))
    assert read_index(tmp_path).num_done == 4
    write(tmp_path)
    assert stored_channels(paths=[str(tmp_path)]).num_channels == 3
