"""Mutated records, checkpoints, manifests and models, fed to what the verbs read them with.

Three things may become of one: nothing, as the change touches nothing that counts; a refusal in one
line; or that it is made again. The worst is another result that nobody notices: it has a column.
Code is put into files that a careless reader would execute; it must not be.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from fire_contents import contents
from fire_house import House
from fire_mutations import mutated, with_code
from fire_process import CRASHED, DONE, HUNG, REFUSED, TRACEBACK, Worker
from fire_table import Table, spread

from sepcon.runs.seals import SEALS_FILE

SAME = "right result"
DIFFERENT, EXECUTED = "another result", "code executed"
_CODE_SHARE = 0.1
_TEXT = (".json", ".csv", ".gin", ".txt")
_SAMPLES = 3200


def table() -> Table:
    """An empty table."""
    bad = (DIFFERENT, EXECUTED, TRACEBACK, CRASHED, HUNG)
    return Table("Mutated files of runs", "read by", (SAME, REFUSED), bad)


@dataclasses.dataclass(frozen=True)
class Reader:
    """What reads files of a folder.

    Attributes:
      folder: the folder of `fire_house.COMMANDS` whose files are mutated.
      files: which of them, as patterns below it.
      read: returns all that came of them, in what `_digest` takes.
      share: of a thousand mutated files; what takes longer gets fewer.
    """

    folder: str
    files: tuple[str, ...]
    read: Callable[[], Any]
    share: int


def _waveform() -> np.ndarray:
    return np.random.default_rng(0).normal(0.0, 0.1, (1, _SAMPLES)).astype(np.float32)


def _elements(clips: Any) -> list[Any]:
    return [sorted(element.items()) for element in clips.build().as_numpy_iterator()]


def _imported() -> Any:
    from sepcon.importing.imported import imported

    shares: dict[str, Any] = {"test_share": 0.3, "validation_share": 0.3}
    clips = [
        imported(path="imported", part="train", **shares),
        imported(path="imported", part="validation", **shares),
        imported(path="imported", part="test", **shares),
    ]
    return [[part.class_names, part.num_clips, _elements(part)] for part in clips]


def _imported_folds() -> Any:
    from sepcon.importing.imported import imported_folds

    folded = imported_folds(path="imported")
    return [_elements(folded.clips), folded.clips.class_names, folded.folds, folded.groups]


def _images() -> Any:
    import tensorflow as tf

    from sepcon.importing.imported_images import imported_images

    images = imported_images(path="pictured", part="train", validation_share=0.0, test_folds=())
    read = tf.function(images.reader(), autograph=False)
    none = tf.zeros([0])
    elements = [read(tf.constant(n, tf.int64), none) for n in range(images.num_examples)]
    return [images.class_names, images.name, [_numpy(element) for element in elements]]


def _scenes() -> Any:
    from sepcon.scenes.prepared_scenes import open_sound_scenes

    directory = next(Path("prepared/data").glob("sound_scenes/*/1.0.0"))
    clips = [open_sound_scenes(directory, split=split) for split in ("train", "test")]
    return [[part.class_names, part.num_clips, _elements(part)] for part in clips]


def _channels() -> Any:
    from sepcon.data.channels import stored_channels

    stored = stored_channels(paths=["channels"])
    records = [stored.files[0].bytes_at(place) for place in range(stored.index.num_clips)]
    return [dataclasses.astuple(stored.index), records]


def _checkpoint() -> Any:
    import tensorflow as tf

    from sepcon.training.checkpoints import Checkpoints

    whole = Path("whole/encoder/checkpoints")
    with np.load(max(whole.iterdir())) as archive:
        shapes = [archive[n].shape for n in archive.files if n != "record"]
        types = [archive[n].dtype for n in archive.files if n != "record"]
    variables = [tf.Variable(tf.zeros(s, t)) for s, t in zip(shapes, types, strict=True)]
    named = {str(place): variable for place, variable in enumerate(variables)}
    progressed = Checkpoints(Path("encoder"), named).restore()
    arrays = [variable.numpy() for variable in variables]
    # An earlier one in the place of a damaged one is the right result: the run trains on from it.
    earlier = progressed.step < 12
    return "an earlier one" if earlier else [progressed.step, progressed.notes, arrays]


def _separator() -> Any:
    from sepcon.separation.recording_separator import load_recording_separator

    separator = load_recording_separator("separator")
    return [separator.step, separator.fingerprint, separator.separate_batch(_waveform())]


def _embedder(path: str) -> Callable[[], Any]:
    def read() -> Any:
        from sepcon.embeddings.embedders import load_embedder

        embedder: Any = load_embedder(path)
        return [embedder.sample_rate_hz, embedder.fingerprint, embedder(_waveform())]

    return read


def _encoder() -> Any:
    """The run itself, not the SavedModel in it."""
    from sepcon.models.encoder_files import load_encoder

    loaded = load_encoder("encoder")
    num_frames, num_mels = loaded.encoder.input_shape[1:]
    log_mel = np.random.default_rng(0).normal(size=(1, num_frames or 50, num_mels))
    embedding = loaded.encoder(log_mel.astype(np.float32)).numpy()
    return [dataclasses.astuple(loaded.log_mel), loaded.patch_seconds, loaded.step, embedding]


def _classifier() -> Any:
    from sepcon.verbs.classify import load_members

    return [
        [member.class_names, member.sample_rate_hz, _numpy(member.function(_waveform()))]
        for member in load_members("finetuned")
    ]


def _numpy(outputs: Mapping[str, Any]) -> list[tuple[str, np.ndarray]]:
    return sorted((name, output.numpy()) for name, output in outputs.items())


def _embeddings() -> Any:
    from sepcon.embeddings.store import EmbeddingStore

    return dataclasses.astuple(EmbeddingStore("embeddings/embeddings").load())


def _predictions() -> Any:
    from sepcon.finetuning.predictions import Predictions

    return dataclasses.astuple(Predictions.load(Path("finetuned/seed0/fold1/selected.npz")))


@functools.cache
def _loaded_separator() -> Any:
    from sepcon.separation.recording_separator import load_recording_separator

    return load_recording_separator("separator")


def _separated() -> Any:
    """The whole verb, which makes again what is not whole, with a separator that is there."""
    from sepcon.separation.page import report_separated
    from sepcon.separation.separate_files import separate_files

    separator = _loaded_separator()
    separated = separate_files(["recordings"], out=Path("separated"), separator=separator)
    report_separated(separated.root, separated.listed)
    found = contents(Path("separated"))
    # Seals from which a file was taken out leave the channels what they are.
    return sorted((n, d) for n, d in found.items() if not n.endswith(("report.html", SEALS_FILE)))


READERS = {
    "embed (an import)": Reader("imported", ("*.tfrecord", "*.csv", "*.json"), _imported, 140),
    "finetune (an import)": Reader(
        "imported", ("*.tfrecord", "*.csv", "*.json"), _imported_folds, 120
    ),
    "pretrain (images)": Reader("pictured", ("*.tfrecord", "*.csv", "*.json"), _images, 100),
    "pretrain (scenes)": Reader(
        "prepared", ("data/**/*.tfrecord-*", "data/**/*.json"), _scenes, 110
    ),
    "pretrain (channels)": Reader(
        "channels", ("*.tfrecord", "index.json", "run.json", "seals.json"), _channels, 120
    ),
    "pretrain (a checkpoint)": Reader("encoder", ("checkpoints/*12.npz",), _checkpoint, 100),
    "separate (a run)": Reader(
        "separator", ("model.json", "seals.json", "states/*12/*"), _separator, 30
    ),
    "separate (files done)": Reader(
        "separated", ("separated.json", "*/recording.json", "*/seals.json"), _separated, 50
    ),
    "export (a run)": Reader("encoder", ("model.json", "seals.json", "states/*/*"), _encoder, 25),
    "embed (a SavedModel)": Reader(
        "exported", ("saved_model/*.*", "saved_model/*/*"), _embedder("exported"), 15
    ),
    "classify": Reader(
        "finetuned", ("seed0/fold1/model.json", "seed0/fold1/selected/*"), _classifier, 10
    ),
    "benchmark (embeddings)": Reader("embeddings", ("embeddings/*",), _embeddings, 110),
    "study (predictions)": Reader("finetuned", ("seed0/fold1/selected.npz",), _predictions, 70),
}


def fire(
    house: House,
    told: Table,
    *,
    count: int,
    seed: int,
    seconds: float = 300.0,
    readers: Mapping[str, Reader] = MappingProxyType(READERS),
) -> Iterator[int]:
    """Mutates files one by one, has each read and puts it back; yields how many are done.

    Args:
      house: what is fired at.
      told: receives what became of each.
      count: of mutated files, spread over the readers as their shares say.
      seed: decides with the number of a file which it is and how it is changed.
      seconds: for one reader, before it counts as a hang.
      readers: what they are fed to, some of `READERS`.
    """
    for reader in readers.values():
        house.make(reader.folder)
    marker = house.root / "executed"
    names = spread({name: reader.share for name, reader in readers.items()})
    with Worker(
        lambda name: _read(house.root, name), seconds=seconds, memory_bytes=8 << 30
    ) as worker:
        right = {name: worker.call(name) for name in readers}
        for name, (became, answer, _) in right.items():
            if became != DONE or answer[0] != DONE:
                raise RuntimeError(f"{name}: {became} {answer}, with nothing mutated")
        for number in range(count):
            name = names[number % len(names)]
            generator = np.random.default_rng([seed, number])
            path, data = _mutated_file(house.root, READERS[name], generator, marker)
            before = path.read_bytes()
            path.write_bytes(data)
            became, detail = _became(worker.call(name), right[name][1][1])
            if marker.exists():
                became, detail = EXECUTED, f"{marker} was made"
                marker.rmdir() if marker.is_dir() else marker.unlink()
            shown = f"file {number} of seed {seed}, {path.relative_to(house.root)}: {detail}"
            told.add(name, became, shown)
            path.write_bytes(before)
            if READERS[name].folder == "separated":
                house.restore("separated")
            yield number + 1


def _mutated_file(
    root: Path, reader: Reader, generator: np.random.Generator, marker: Path
) -> tuple[Path, bytes]:
    folder = root / reader.folder
    paths = sorted(
        {path for files in reader.files for path in folder.glob(files) if path.is_file()}
    )
    path = paths[int(generator.integers(len(paths)))]
    data = path.read_bytes()
    if generator.random() < _CODE_SHARE and (
        coded := with_code(path.name, data, marker, generator)
    ):
        return path, coded
    return path, mutated(data, generator, text=path.suffix in _TEXT)


def _became(called: tuple[str, Any, str], right: str) -> tuple[str, str]:
    became, answer, _ = called
    if became != DONE:
        return became, str(answer)
    outcome, detail = answer
    if outcome != DONE:
        return outcome, detail
    return (SAME, "") if detail in (right, _digest("an earlier one")) else (DIFFERENT, "")


def _read(root: Path, name: str) -> tuple[str, str]:
    """Runs a reader, in the fork; returns what became of it, and a digest or its message."""
    import contextlib
    import io
    import os

    from sepcon.errors import SepconError, raised_in_graph

    os.chdir(root)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return DONE, _digest(READERS[name].read())
    except SepconError as error:
        return _one_line(str(error))
    except Exception as error:
        fault = raised_in_graph(error)
        if fault is not None:
            return _one_line(str(fault))
        return TRACEBACK, f"{type(error).__name__}: {str(error)[:300]}"


def _one_line(message: str) -> tuple[str, str]:
    return (TRACEBACK, f"several lines: {message!r}") if "\n" in message else (REFUSED, message)


def _digest(value: Any) -> str:
    """A digest of nested lists, dictionaries, arrays, text and numbers, to the bit."""
    state = hashlib.sha256()
    _feed(state, value)
    return state.hexdigest()


def _feed(state: Any, value: Any) -> None:
    if isinstance(value, np.ndarray) and value.dtype != object:
        state.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, Mapping):
        _feed(state, sorted(value.items()))
    elif isinstance(value, list | tuple | np.ndarray):
        state.update(f"[{len(value)}".encode())
        for each in value:
            _feed(state, each)
    else:
        state.update(repr(value).encode("utf-8", "surrogateescape"))
