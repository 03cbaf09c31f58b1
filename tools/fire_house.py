"""What is fired at: recordings of half a second, models of a few hundred weights, and commands.

Every verb takes a second or two with them. All paths are relative to one folder, so that what a
command writes does not depend on where that is.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from fire_contents import contents, differences
from fire_process import DONE, Ended, Trouble, run_command
from PIL import Image

CLASSES = ("bell", "rain", "wind")
NUM_RECORDINGS, NUM_PICTURES = 12, 9
RATE_HZ = 16000
SMALL_FILE = "small.gin"
# Steps enough that several checkpoints are written, and no more.
_SMALL = """
import fire_encoder

ENCODER = @fire_encoder
LogMel.num_mels = 16
SCENE_SECONDS = 0.3
NUM_TRAIN_SCENES = 4
NUM_VALIDATION_SCENES = 3
NUM_TEST_SCENES = 4
SceneRecipe.synthetic_clips_per_class = 3
SceneRecipe.max_sources = 2
SeparatorConfig.num_sources = 2
SeparatorConfig.bottleneck = 4
SeparatorConfig.conv_channels = 4
SeparatorConfig.num_dilations = 1
train_separator.segment_seconds = 0.3
train_separator.measure_on = None
SEPARATOR_STEPS = 12
SEPARATOR_STATES = (0,)
separator/fit.checkpoint_every_steps = 3
separator/fit.log_every_steps = 2
STEPS = 12
PATCH_SECONDS = 0.2
PROJECTION_HIDDEN_SIZES = (8,)
COINCIDENCE_HIDDEN_SIZES = (8,)
pretrain/fit.checkpoint_every_steps = 3
pretrain/fit.log_every_steps = 2
RandomPadCrop.seconds = 0.2
CLIP_SECONDS = 0.3
small_resnet.widths = (4, 4)
small_resnet.embedding_size = 8
IMAGE_SIZE = 16
finetune/fit.checkpoint_every_steps = 3
finetune/fit.log_every_steps = 2
embed.shard_size = 2
CLEAN_CLIPS = None
benchmark_embeddings.num_classifiers = 1
ShallowSettings.hidden_units = 4
ShallowSettings.max_epochs = 2
"""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `sepcon` that writes one folder.

    Attributes:
      verb: its verb.
      words: all its words but the one that says where to write.
      needs: folders that must be there, made by the commands of that name.
      out: the flag that says where to write.
    """

    verb: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    out: str = "run_dir"

    def line(self, folder: str) -> list[str]:
        """The whole command, without `sepcon`, writing into `folder`."""
        return [self.verb, *self.words, "--num_threads=1", f"--{self.out}={folder}"]


def _configured(verb: str, *files: str, **bindings: object) -> tuple[str, ...]:
    bound = [f"--gin_bindings={name}={value!r}" for name, value in bindings.items()]
    names = [f"runs/{verb}.gin", *files]
    # Tiny first, as every run needs it; then what makes it smaller still.
    return (*[f"--gin_file={name}" for name in names], *bound)


_TINY = ("tiny.gin", SMALL_FILE)
_SCENES = ("data/builtin_scenes.gin", *_TINY)
_IMPORTED = ("data/imported.gin", *_TINY)
_SHARES = {"IMPORTED": "imported", "TEST_SHARE": 0.3, "VALIDATION_SHARE": 0.3}
# Each folder that a command writes is called like its key.
COMMANDS = {
    "imported": Command(
        "import",
        (
            *_configured(
                "import",
                "import/folder.gin",
                SOURCE_DIR="recordings",
                LABELS_CSV="labels.csv",
            ),
            "--gin_bindings=import_clips.clips_per_shard=2",
            "--gin_bindings=import_clips.processes=2",
        ),
    ),
    "pictured": Command(
        "import",
        (
            *_configured(
                "import",
                "import/image_folder.gin",
                SOURCE_DIR="pictures",
                IMAGE_SIDE=16,
                LABELLED_BY_FOLDER=True,
            ),
            "--gin_bindings=import_clips.clips_per_shard=2",
            "--gin_bindings=import_clips.processes=2",
        ),
    ),
    "prepared": Command("prepare", _configured("prepare", *_SCENES, DATA_DIR="prepared/data")),
    "separator": Command(
        "train_separator",
        _configured("train_separator", *_SCENES, DATA_DIR="prepared/data"),
        ("prepared",),
    ),
    "separated": Command(
        "separate", ("recordings", "--checkpoint=separator"), ("separator",), out="out"
    ),
    "channels": Command(
        "separate",
        (
            *_configured("separate", *_SCENES, SEPARATOR="separator", DATA_DIR="prepared/data"),
            "--gin_bindings=separate.shard_clips=2",
        ),
        ("separator",),
    ),
    "masks": Command(
        "control_channels",
        (
            *_configured(
                "control_channels",
                *_SCENES,
                KIND="random_masks",
                REFERENCE="channels",
                DATA_DIR="prepared/data",
            ),
            "--gin_bindings=control_channels.masks=@RandomMasks()",
        ),
        ("channels",),
    ),
    "encoder": Command(
        "pretrain",
        _configured(
            "pretrain",
            *_SCENES,
            "views/mixture_channel_equalized.gin",
            CHANNELS=["channels"],
            DATA_DIR="prepared/data",
        ),
        ("channels",),
    ),
    "image_encoder": Command(
        "pretrain",
        (
            *_configured(
                "pretrain",
                "data/images.gin",
                "objectives/similarity.gin",
                *_TINY,
                IMPORTED_IMAGES="pictured",
            ),
            "--gin_bindings=ENCODER=@small_resnet",
        ),
        ("pictured",),
    ),
    "embeddings": Command(
        "embed",
        _configured("embed", *_IMPORTED, MODEL="encoder/saved_model", **_SHARES),
        ("imported", "encoder"),
    ),
    "finetuned": Command(
        "finetune",
        _configured("finetune", "data/imported_folds.gin", *_TINY, IMPORTED="imported"),
        ("imported",),
    ),
    "benchmarked": Command(
        "benchmark",
        _configured("benchmark", *_SCENES, MODEL="encoder/saved_model", DATA_DIR="prepared/data"),
        ("encoder",),
    ),
    "exported": Command("export", _configured("export", MODEL="encoder"), ("encoder",)),
    "studied": Command(
        "study",
        (
            *_configured("study", "data/imported_folds.gin", *_TINY, IMPORTED="imported"),
            "--gin_bindings=study.plan=@FinetuningPlan()",
            "--gin_bindings=study.rows={'one': ('runs/finetune.gin',)}",
            "--gin_bindings=study.workers=1",
        ),
        ("imported",),
    ),
    "classified": Command(
        "classify", ("recordings", "--model=finetuned"), ("finetuned",), out="out"
    ),
}


def write_inputs(folder: Path, seed: int = 0) -> None:
    """Writes recordings of three kinds of noise, a table of labels, pictures, and small.gin."""
    generator = np.random.default_rng(seed)
    recordings = folder / "recordings"
    recordings.mkdir(parents=True)
    lines = ["filename,label,fold,source"]
    for number in range(NUM_RECORDINGS):
        label = CLASSES[number % len(CLASSES)]
        name, ending = f"{label}{number}", ("wav", "flac", "ogg")[number // 3 % 3]
        length = int(generator.integers(4000, 8000))
        noise = 0.1 * generator.normal(size=length).cumsum() / (1 + number % 3) / 10
        soundfile.write(recordings / f"{name}.{ending}", np.clip(noise, -0.9, 0.9), RATE_HZ)
        lines.append(f"{name}.{ending},{label},{1 + number // 3 % 2},{name}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    write_pictures(folder / "pictures", generator)
    (folder / SMALL_FILE).write_text(_SMALL)


def write_pictures(folder: Path, generator: np.random.Generator) -> None:
    """Writes small images into a folder for each class, of the forms that are read."""
    for number in range(NUM_PICTURES):
        label = CLASSES[number % len(CLASSES)]
        (folder / label).mkdir(parents=True, exist_ok=True)
        height, width = generator.integers(12, 40, 2)
        image = Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))
        mode, ending = (("RGB", "png"), ("L", "jpg"), ("CMYK", "jpg"))[number // 3 % 3]
        image.convert(mode).save(folder / label / f"{number}.{ending}")


class House:
    """A folder with inputs and with what commands have made, each made once, when it is asked for.

    Args:
      root: the folder, empty.

    Attributes:
      root: the folder.
      unbroken: how the commands ended that nothing befell, by the folder that they made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # For the commands that a study starts, which find `fire_encoder` there.
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self.unbroken: dict[str, Ended] = {}
        self._contents: dict[str, dict[str, bytes]] = {}
        write_inputs(root)

    def make(self, name: str) -> Ended:
        """Makes a folder and what it needs; returns how its command ended."""
        for each in in_order([name]):
            if each not in self.unbroken:
                ended = self.run(each)
                if ended.outcome != DONE:
                    raise RuntimeError(f"{each}: {ended.outcome}: {ended.said[-3000:]}")
                self.unbroken[each] = ended
                self._contents[each] = contents(self.root / each)
                shutil.copytree(self.root / each, self.root / "whole" / each)
        return self.unbroken[name]

    def run(self, name: str, trouble: Trouble | None = None) -> Ended:
        """Runs the command that makes a folder, on what is there."""
        return run_command(COMMANDS[name].line(name), self.root, trouble=trouble)

    def differences(self, name: str) -> list[str]:
        """In what a folder differs from the one that nothing befell."""
        return differences(self._contents[name], contents(self.root / name))

    def remove(self, name: str) -> None:
        """Removes a folder that was made."""
        shutil.rmtree(self.root / name)

    def restore(self, name: str) -> None:
        """Puts back the folder that nothing befell."""
        shutil.rmtree(self.root / name, ignore_errors=True)
        shutil.copytree(self.root / "whole" / name, self.root / name)


def in_order(wanted: Sequence[str]) -> list[str]:
    """The wanted folders and all that they need, each behind what it needs."""
    ordered: list[str] = []
    for name in wanted:
        for each in (*in_order(COMMANDS[name].needs), name):
            if each not in ordered:
                ordered.append(each)
    return ordered
