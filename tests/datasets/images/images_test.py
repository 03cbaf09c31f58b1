"""Images of every origin become records: folders, CIFAR-10 in its three forms, TFDS."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from image_fixtures import cifar_rows, picture, write_cifar10, write_image_folder
from PIL import Image

from sepcon.datasets.images import cifar10 as cifar
from sepcon.datasets.images.cifar10 import cifar10, read_batch
from sepcon.datasets.images.folder import image_folder
from sepcon.datasets.images.tfds import tfds_images
from sepcon.errors import SepconError
from sepcon.images.square import SquareImage, squeeze
from sepcon.importing.clip_source import ClipSource
from sepcon.importing.import_shard import convert_shard
from sepcon.importing.imported_images import imported_images
from sepcon.verbs.import_clips import import_clips


def images_of(source: ClipSource) -> dict[str, SquareImage]:
    loaded = source.read([each for each in source.references if not each.reason])
    return {each.id: image for each, image in loaded if isinstance(image, SquareImage)}


def test_a_class_whose_name_is_no_text_is_refused_and_a_file_is_not(tmp_path: Path) -> None:
    """As old archives unpack: in latin-1."""
    folder, name = os.fsencode(tmp_path) + b"/caf\xe9", "caf\udce9.png"
    os.mkdir(folder)
    Image.fromarray(picture(0)).save(os.fsdecode(folder) + f"/{name}")
    with pytest.raises(SepconError, match=r"the class caf\\udce9 has a name that is not UTF-8"):
        image_folder(path=str(tmp_path), side=8, labelled_by_folder=True)
    source = image_folder(path=str(tmp_path), side=8)
    run = tmp_path / "run"
    assert import_clips(run_dir=run, source=source, processes=1).kept == 1
    assert imported_images(path=str(run)).num_examples == 1


def test_a_folder_is_read_and_what_is_broken_is_named(tmp_path: Path) -> None:
    reasons = write_image_folder(tmp_path / "images")
    source = image_folder(path=str(tmp_path / "images"), side=8, labelled_by_folder=True)
    rows = [each.row for each in convert_shard(source.read, source.references)]
    assert {row.id: row.reason for row in rows} == reasons
    assert source.class_names == ("cat", "dog")
    assert {row.id: row.label_numbers for row in rows} == {
        name: (0,) if name.startswith("cat") else (1,) for name in reasons
    }
    assert "1 .webp files" in source.note
    broken = {row.id: row.detail for row in rows if row.detail}
    assert broken.keys() == {"dog/half.png", "dog/text.jpg"}
    unlabelled = image_folder(path=str(tmp_path / "images"), side=8)
    assert not any(reference.labels for reference in unlabelled.references)


def test_an_image_outside_the_folders_of_classes_has_no_label(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "images")
    os.rename(tmp_path / "images/cat/0.png", tmp_path / "images/0.png")
    source = image_folder(path=str(tmp_path / "images"), side=8, labelled_by_folder=True)
    assert {r.id: r.reason for r in source.references if r.reason} == {"0.png": "no known label"}


def test_folders_without_images_and_impossible_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(b"RIFF")
    with pytest.raises(SepconError, match=r"holds no image.*passed over 1 \.webp files"):
        image_folder(path=str(tmp_path), side=8)
    with pytest.raises(SepconError, match="no such folder"):
        image_folder(path=str(tmp_path / "nowhere"), side=8)
    with pytest.raises(SepconError, match="side: got 1, expected"):
        image_folder(path=str(tmp_path), side=1)


@pytest.mark.parametrize("form", ["binary", "python", "png"])
def test_cifar10_is_the_same_in_all_its_forms(tmp_path: Path, form: str) -> None:
    batches = {"data_batch_1": 0, "data_batch_2": 100, "test_batch": 200}
    inner = {"binary": "cifar-10-batches-bin", "python": "", "png": "package"}[form]
    write_cifar10(tmp_path / "root" / inner, form, batches=batches)
    source = cifar10(path=str(tmp_path / "root"))
    read_batch.cache_clear()
    images = images_of(source)
    for name, seed in batches.items():
        pixels, labels = cifar_rows(6, seed)
        for row in range(6):
            image = images[f"{name}-{row:05d}"]
            np.testing.assert_array_equal(image.pixels, pixels[row])
            assert (image.width, image.height) == (32, 32)
        of_batch = [r for r in source.references if r.id.startswith(name)]
        assert [r.labels for r in of_batch] == [(label,) for label in labels]
        assert {r.fold for r in of_batch} == {"test" if name == "test_batch" else "train"}


def test_batches_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match="holds no batch of CIFAR-10"):
        cifar10(path=str(tmp_path))
    (tmp_path / "data_batch_1.bin").write_bytes(b"x" * 3000)
    with pytest.raises(SepconError, match=r"data_batch_1\.bin: is no batch.*multiple of 3073"):
        cifar10(path=str(tmp_path))


def test_a_batch_cannot_run_a_program(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, ("touch evil",)

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SepconError, match=r"asks for \w+\.system, which is no array"):
        cifar10(path=str(tmp_path))
    assert not (tmp_path / "evil").exists()


class Squares(tfds.core.GeneratorBasedBuilder):
    """A data set of a few images."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=("cat", "dog")),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager: object) -> dict[str, object]:
        return {"train": self._generate_examples(0), "validation": self._generate_examples(10)}

    def _generate_examples(self, first: int):  # type: ignore[no-untyped-def]
        for number in range(3):
            yield number, {"image": picture(first + number), "label": number % 2}


def test_images_of_tfds(tmp_path: Path) -> None:
    builder = Squares(data_dir=tmp_path)
    builder.download_and_prepare()
    source = tfds_images(path=str(builder.data_dir), side=12)
    assert source.class_names == ("cat", "dog")
    images = images_of(source)
    assert images.keys() == {f"{s}-{n}" for s in ("train", "validation") for n in range(3)}
    assert (images["train-0"].width, images["train-0"].height) == (16, 12)
    for split, first in (("train", 0), ("validation", 10)):
        # TFDS has shuffled them: what a record is of, its pixels say.
        number_of = {squeeze(picture(first + n), 12).tobytes(): n for n in range(3)}
        loaded = list(source.read([each for each in source.references if each.fold == split]))
        numbers = [number_of[image.pixels.tobytes()] for _, image in loaded]
        assert sorted(numbers) == [0, 1, 2]
        assert [each.labels for each, _ in loaded] == [(number % 2,) for number in numbers]


def test_the_names_of_the_classes_are_in_the_official_order() -> None:
    assert tuple(sorted(cifar.CLASS_NAMES)) == cifar.CLASS_NAMES
