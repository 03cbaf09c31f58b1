"""Runs the main job: recordings, scenes, separator, views, encoders, and the shallow benchmark.

Before that it separates two built-in sounds with the weights of the package: something to hear.

Called by tools/quickstart.sh, which makes the environment. It is a study (`sepcon study`) whose
rows stand in gin/quickstart/study.gin: every stage is a `sepcon` command that also works by itself,
and the log of each holds its command.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from sepcon import cli
from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.scenes.synthetic import SyntheticEvents

_RUN_DIR = "runs/quickstart"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the quickstart; returns the exit code."""
    start = time.monotonic()
    options = _parse(arguments)
    if options.esc50 and not (options.esc50 / "meta" / "esc50.csv").is_file():
        print(
            f"sepcon: error: {options.esc50} is not an ESC-50 folder: expected "
            f"{options.esc50}/meta/esc50.csv and the recordings in audio/",
            file=sys.stderr,
        )
        return 1
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    run_dir = options.run_dir or Path(f"{_RUN_DIR}_esc50" if options.esc50 else _RUN_DIR)
    root = run_dir.expanduser().resolve()
    fault = _claim(root, str(options.esc50.resolve()) if options.esc50 else "the built-in scenes")
    if fault:
        print(f"sepcon: error: {fault}", file=sys.stderr)
        return 1
    _something_to_hear(root / "first_sounds")
    code = cli.main(_study(options, root))
    if code == 0:
        print(f"sepcon: {time.monotonic() - start:.0f} s; {root / 'results.json'}")
    return code


def _claim(root: Path, source: str) -> str:
    """Writes down what a run folder is of; returns the fault if it is of something else.

    What is finished there is not done again, so it must be of the same recordings.
    """
    mark = root / "quickstart.txt"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            mark.write_text(source + "\n")
        found = mark.read_text().strip()
    except OSError as error:
        return f"{root}: cannot be written ({error.strerror}); choose another --run_dir"
    if found == source:
        return ""
    return (
        f"{root} holds the quickstart on {found}, not on {source}; give another --run_dir, or "
        "remove that folder"
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/quickstart.sh", description=__doc__)
    parser.add_argument("--esc50", type=Path, metavar="DIR", help="an ESC-50 folder")
    parser.add_argument(
        "--run_dir", type=Path, help=f"default: {_RUN_DIR}, and {_RUN_DIR}_esc50 with --esc50"
    )
    parser.add_argument(
        "--seeds", type=int, help="pretrainings of each row; default: 2, and 3 with --esc50"
    )
    parser.add_argument("--workers", type=int, default=2, help="stages at once (default: 2)")
    parser.add_argument(
        "--gin_bindings", action="append", default=[], help="further bindings for every stage"
    )
    parser.add_argument("--gin_file", action="append", default=[], help="further gin files")
    return parser.parse_args(arguments)


def _something_to_hear(folder: Path) -> None:
    """Separates two built-in sounds with the packaged weights, before anything is trained.

    Whatever goes wrong here is told and stops nothing: the quickstart trains weights of its own.
    """
    scene = folder / "scene.wav"
    if not scene.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        events = SyntheticEvents()
        sounds = [
            events.generate(events.class_names.index(name), seed=1) for name in ("bell", "gusts")
        ]
        length = max(map(len, sounds))
        mixed = sum(np.pad(sound / np.std(sound), (0, length - len(sound))) for sound in sounds)
        soundfile.write(scene, 0.3 * mixed / np.abs(mixed).max(), SAMPLE_RATE_HZ)
    page = folder / "separated" / "report.html"
    if page.is_file() or cli.main(["separate", str(scene), f"--out={page.parent}"]) == 0:
        print(f"sepcon: something to hear: {page}", flush=True)


def _study(options: argparse.Namespace, root: Path) -> list[str]:
    """The command line of the study that the quickstart is."""
    plan = "quickstart/esc50.gin" if options.esc50 else "quickstart/builtin.gin"
    bindings = [f"DATA_DIR={str(root / 'data')!r}", f"study.workers={options.workers}"]
    if options.seeds is not None:
        bindings.append(f"PretrainingPlan.seeds={tuple(range(options.seeds))}")
    if options.esc50:
        bindings.append(f"ESC50_DIR={str(options.esc50.expanduser().resolve())!r}")
    return [
        "study",
        *[f"--gin_file={file}" for file in (plan, *options.gin_file)],
        *[f"--gin_bindings={binding}" for binding in (*bindings, *options.gin_bindings)],
        f"--run_dir={root}",
    ]


if __name__ == "__main__":
    sys.exit(main())
