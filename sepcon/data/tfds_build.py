"""`tfds build` where Apache Beam is not installed.

TFDS's command line imports all its verbs, and one of them needs Beam as soon as it is imported
(tensorflow/datasets#5463). This runs its build verb alone, with all its flags:

    python -m sepcon.data.tfds_build esc50 --manual_dir=ESC-50 --data_dir=data
    python -m sepcon.data.tfds_build sound_scenes --config=synthetic --data_dir=data
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import simple_parsing
from tensorflow_datasets.scripts.cli import build

from sepcon.errors import SepconError

_OURS = ("esc50", "sound_scenes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the data sets named; ours by name or folder, others as `tfds build` takes them."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    folder = Path(__file__).parent
    given = [str(folder / word) if word in _OURS else word for word in given]
    parser = simple_parsing.ArgumentParser(prog="python -m sepcon.data.tfds_build")
    parser.add_arguments(build.Args, dest="build")
    try:
        parser.parse_args(given).build.execute()
    # TFDS wraps what its generators raise.
    except Exception as error:
        told = error if isinstance(error, SepconError) else error.__cause__
        if not isinstance(told, SepconError):
            raise
        print(told, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
