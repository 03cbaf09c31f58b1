"""An import of images: resumable, of the same bytes, and read as examples."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from image_fixtures import cifar_rows, write_cifar10, write_image_folder
from import_fixtures import write_audio

from sepcon.data.stream import TrainingStream
from sepcon.datasets.folders import audio_folder
from sepcon.datasets.images.cifar10 import cifar10
from sepcon.datasets.images.folder import image_folder
from sepcon.errors import SepconError
from sepcon.importing import import_folder
from sepcon.importing.imported import imported
from sepcon.importing.imported_images import imported_images
from sepcon.verbs.import_clips import import_clips


def contents(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    write_cifar10(tmp_path / "cifar", "binary", batches={"data_batch_1": 0, "test_batch": 50})
    source = cifar10(path=str(tmp_path / "cifar"))
    import_clips(run_dir=tmp_path / "import", source=source, processes=1, clips_per_shard=4)
    return tmp_path / "import"


def test_images_come_back_as_they_were_with_their_classes(cifar: Path) -> None:
    examples = imported_images(path=str(cifar), folds=("train",))
    assert (examples.num_examples, examples.side, len(examples.class_names)) == (6, 32, 10)
    pixels, labels = cifar_rows(6)
    stream = TrainingStream(examples=examples, batch_size=3, seed=0, num_uniforms=2)
    spec = stream.batches(0).element_spec
    assert spec["image"] == tf.TensorSpec([3, 32, 32, 3], tf.uint8)
    seen = set()
    for batch in stream.batches(0).take(2).as_numpy_iterator():
        for image, position, row in zip(
            batch["image"], batch["position"], batch["labels"], strict=True
        ):
            np.testing.assert_array_equal(image, pixels[position])
            assert row.argmax() == labels[position]
            assert row.sum() == 1
            seen.add(int(position))
        np.testing.assert_array_equal(batch["aspect"], np.ones(3, np.float32))
    assert seen == set(range(6))
    assert "data_batch_1" in stream.describe(0)
    test = imported_images(path=str(cifar), part="test", test_folds=("test",))
    assert test.num_examples == 6
    assert test.name != examples.name


def test_a_stopped_import_of_images_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    reasons = write_image_folder(tmp_path / "images")
    source = image_folder(path=str(tmp_path / "images"), side=8)
    settings = {"source": source, "processes": 1, "clips_per_shard": 3, "max_fault_share": 0.5}
    counts = import_clips(run_dir=tmp_path / "whole", **settings)
    assert counts.kept == sum(not reason for reason in reasons.values())
    assert counts.left_out() == {"cut off": 1, "not an image": 1, "of one colour": 1}
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    plan = import_folder.begin(stopped, source, clips_per_shard=3)
    import_folder.write_shard(stopped, 1, source.read, source.references[3:6])
    (stopped / "clips-00000.tfrecord.unfinished").write_bytes(b"")
    assert import_folder.unfinished_shards(stopped, plan) == [0, 2]
    import_clips(run_dir=stopped, **settings)
    whole = contents(tmp_path / "whole")
    went_on = {name: data for name, data in contents(stopped).items() if name in whole}
    assert went_on == whole
    aspect = next(
        iter(
            TrainingStream(
                examples=imported_images(path=str(stopped)), batch_size=6, seed=0, num_uniforms=1
            ).batches(0)
        )
    )["aspect"].numpy()
    assert aspect.max() == 5000
    assert np.sum(np.isclose(aspect, 16 / 12)) == 5


def test_another_size_is_another_import(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "images")
    small, large = (image_folder(path=str(tmp_path / "images"), side=side) for side in (8, 16))
    (tmp_path / "run").mkdir()
    import_folder.begin(tmp_path / "run", small, clips_per_shard=3)
    with pytest.raises(SepconError, match="settings squares of 8 pixels, now it is squares of 16"):
        import_folder.begin(tmp_path / "run", large, clips_per_shard=3)
    for source, name in ((small, "small"), (large, "large")):
        import_clips(run_dir=tmp_path / name, source=source, processes=1, max_fault_share=0.5)
    with pytest.raises(SepconError, match="was imported with squares of 16 pixels"):
        imported_images(path=[str(tmp_path / "small"), str(tmp_path / "large")])


def test_sound_and_images_are_not_taken_for_each_other(cifar: Path, tmp_path: Path) -> None:
    with pytest.raises(SepconError, match="is an import of images, expected one of audio"):
        imported(path=str(cifar))
    write_audio(tmp_path / "recordings" / "a.wav", 0)
    source = audio_folder(path=str(tmp_path / "recordings"))
    import_clips(run_dir=tmp_path / "audio", source=source, processes=1)
    with pytest.raises(SepconError, match="is an import of audio, expected one of images"):
        imported_images(path=str(tmp_path / "audio"))
    # Imports of earlier versions do not say what they hold.
    plan = json.loads((tmp_path / "audio" / "plan.json").read_text())
    assert plan.keys() == {"name", "clips", "clips_per_shard", "list_digest", "format"}
    assert imported(path=str(tmp_path / "audio")).num_clips == 1


def test_too_many_broken_images_stop_an_import(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "images")
    source = image_folder(path=str(tmp_path / "images"), side=8)
    with pytest.raises(SepconError, match=r"2 of 8 images are damaged.*1 cut off, 1 not an image"):
        import_clips(run_dir=tmp_path / "run", source=source, processes=1)
