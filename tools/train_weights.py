"""Trains the weights that come with the package, measures them, and writes their model cards.

    python tools/train_weights.py --esc50=ESC-50 --run_dir=RUN --into=sepcon/weights

The material is the built-in events, and of ESC-50 those clips of ESC-10 that are free (see
`weights_material`). Every stage is a `sepcon` command that resumes: a stopped training goes on with
the same command. Without --esc50 there are no clips of ESC-10 and no classifier. The test fold of
ESC-10 is heard by nothing before the classifier is measured on it.

With --from_quickstart=runs/quickstart it trains nothing: it packs the separator and the best
encoder of a finished tools/quickstart.sh on the built-in scenes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from weights_cards import pack_classifier, pack_encoder, pack_separator, write_attribution
from weights_material import Material, write_material

from sepcon import cli
from sepcon.errors import SepconError
from sepcon.runs.run_folder import is_finished
from sepcon.scenes.recipe import SceneRecipe
from sepcon.scenes.synthetic import SyntheticEvents
from sepcon.studies.rows import folder_name

_BEST_ROW = "mixture-mixture, random equalization"
_BASELINES = ("log-mel statistics", "untrained encoder")
ENCODER_BINDINGS = ("BATCH_SIZE=32", "PATCH_SECONDS=2.0")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command. Attributes: name, also of its run folder; words, without --run_dir."""

    name: str
    words: tuple[str, ...]


def stages(material: Material, root: Path, options: argparse.Namespace) -> list[Stage]:
    """Returns the commands that make and measure the weights, in their order."""
    scenes = (
        "--gin_file=data/builtin_scenes.gin",
        *(f"--gin_file={file}" for file in options.gin_file),
        *_bind(
            f"DATA_DIR={str(root / 'data')!r}",
            "sound_scenes.clips='weights'",
            f"sound_scenes.clips_dir={str(material.recordings)!r}",
        ),
    )
    encoder = root / "encoder"
    made = [
        Stage(
            "separator",
            (
                "train_separator",
                *scenes,
                *_bind(f"SEPARATOR_STEPS={options.separator_steps}", "SEPARATOR_STATES=()"),
            ),
        ),
        Stage(
            "encoder",
            (
                "pretrain",
                "--gin_file=scale/small.gin",
                *scenes,
                *_bind(f"STEPS={options.steps}", *ENCODER_BINDINGS),
            ),
        ),
        Stage(
            "benchmark",
            (
                "benchmark",
                *scenes,
                *_bind(f"MODEL={str(encoder)!r}", "benchmark_embeddings.clean_clips=None"),
            ),
        ),
    ]
    if material.esc10 is not None:
        words = (
            "finetune",
            "--gin_file=data/esc10.gin",
            *(f"--gin_file={file}" for file in options.gin_file),
            *_bind(
                f"ESC50_DIR={str(material.esc10)!r}",
                f"DATA_DIR={str(root / 'data')!r}",
                f"START={str(encoder)!r}",
                f"EPOCHS={options.epochs}",
                f"finetune.folds=({material.test_fold},)",
                ENCODER_BINDINGS[1],
            ),
        )
        made.append(Stage("classifier", words))
    # What one command reads, the others need not.
    further = ("--shared_config", *_bind(*options.gin_bindings))
    return [Stage(stage.name, (*stage.words, *further)) for stage in made]


def _bind(*bindings: str) -> tuple[str, ...]:
    return tuple(f"--gin_bindings={binding}" for binding in bindings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, measures and packs; returns the exit code."""
    options = _parse(arguments)
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    root = options.run_dir.expanduser().resolve()
    try:
        if options.from_quickstart is not None:
            command = f"tools/quickstart.sh && {_command(arguments)}"
            pack_quickstart(options.from_quickstart, options.into, command)
            return 0
        material = _material(root, options)
        for stage in stages(material, root, options):
            code = _run(stage, root)
            if code:
                return code
        pack(material, root, options.into, _command(arguments))
    except SepconError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return 1
    return 0


def pack(material: Material, root: Path, into: Path, command: str) -> None:
    """Writes the trained weights with their cards into a folder, one folder for each model."""
    into.mkdir(parents=True, exist_ok=True)
    pack_separator(into, root / "separator", material, command)
    rows = json.loads((root / "benchmark" / "results.json").read_text())
    pack_encoder(into, root / "encoder", {row["name"]: row for row in rows}, material, command)
    if material.esc10 is not None:
        fold = root / "classifier" / "seed0" / f"fold{material.test_fold}"
        pack_classifier(into, fold, root / "classifier", material, command)
    write_attribution(into, material)


def pack_quickstart(run: Path, into: Path, command: str) -> None:
    """Packs the separator and the best encoder of a finished quickstart on the built-in scenes.

    Raises:
      SepconError: it is no such run folder.
    """
    mark = run / "quickstart.txt"
    if not mark.is_file() or mark.read_text().strip() != "the built-in scenes":
        raise SepconError(f"{run}: is no quickstart on the built-in scenes; give its --run_dir")
    recipe = SceneRecipe()
    events = recipe.synthetic_clips_per_class * len(SyntheticEvents().class_names)
    material = Material(run, None, None, events, 0, 0, "")
    into.mkdir(parents=True, exist_ok=True)
    pack_separator(into, run / "separator", material, command)
    rows = json.loads((run / "results.json").read_text())
    named = {row["name"]: row for row in rows if row["seed"] == 0}
    measured = {"model": named[_BEST_ROW], **{name: named[name] for name in _BASELINES}}
    encoder = run / "pretrain" / folder_name(_BEST_ROW) / "seed0"
    pack_encoder(into, encoder, measured, material, command)
    write_attribution(into, material)


def _material(root: Path, options: argparse.Namespace) -> Material:
    """The material, put together once: the stages know it by its files."""
    kept = root / "material.json"
    if kept.is_file():
        fields = json.loads(kept.read_text(encoding="utf-8"))
        paths = {name: Path(fields[name]) for name in ("recordings", "esc10") if fields[name]}
        return Material(**(fields | paths))
    material = write_material(
        root / "material", esc50=options.esc50, events_per_class=options.events_per_class
    )
    kept.write_text(json.dumps(dataclasses.asdict(material), default=str), encoding="utf-8")
    return material


def _run(stage: Stage, root: Path) -> int:
    if is_finished(root / stage.name):
        return 0
    start = time.process_time()
    print(f"sepcon: {stage.name}: {' '.join(stage.words)}", file=sys.stderr, flush=True)
    code = cli.main([*stage.words, f"--run_dir={root / stage.name}"])
    minutes = (time.process_time() - start) / 60
    print(f"sepcon: {stage.name}: {minutes:.1f} minutes of processor time", file=sys.stderr)
    return code


def _command(arguments: Sequence[str] | None) -> str:
    """The command that was given, with the names of folders alone."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    shown = []
    for word in words:
        flag, equals, value = word.partition("=")
        shown.append(f"{flag}={Path(value).name}" if equals and "/" in value else word)
    return " ".join(["python tools/train_weights.py", *shown])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--esc50", type=Path, metavar="DIR", help="an ESC-50 folder")
    parser.add_argument(
        "--from_quickstart",
        type=Path,
        metavar="DIR",
        help="trains nothing: packs what a quickstart on the built-in scenes has trained",
    )
    parser.add_argument("--run_dir", type=Path, default=Path("runs/weights"))
    parser.add_argument("--into", type=Path, default=Path("runs/weights/packed"))
    parser.add_argument("--events_per_class", type=int, default=60)
    parser.add_argument("--separator_steps", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=1500, help="of the encoder")
    parser.add_argument("--epochs", type=int, default=40, help="of the classifier")
    parser.add_argument("--gin_file", action="append", default=[], help="further gin files")
    parser.add_argument(
        "--gin_bindings", action="append", default=[], help="further bindings for every stage"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
