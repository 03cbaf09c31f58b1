"""What pip makes of each extra today, and whether that was tried.

    python tools/resolve_extras.py                compares with tools/resolved.json
    python tools/resolve_extras.py --write        writes it

pip chooses the versions for a fresh environment of this Python and installs nothing. Needs the
package index; about half a minute of processor time for each extra.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_name("resolved.json")
# What decides whether the rest works: of all else any version will do.
DECISIVE = (
    "tensorflow",
    "keras",
    "numpy",
    "protobuf",
    "tensorflow-datasets",
    "tensorflow-metadata",
    "tensorflow-io",
    "ml-dtypes",
    "apache-beam",
    "onnx",
    "onnxruntime",
    "tf2onnx",
)
# Extras that bring no pins are resolved together.
GROUPS = {
    "": ("",),
    "free": ("report", "parquet", "images", "video", "lite0"),
    "onnx": ("onnx",),
    "beam": ("beam", "tfds-cli"),
    "tfio": ("tfio", "test"),
    "tpu": ("tpu",),
    "dev": ("dev",),
}


def read_setup() -> dict[str, list[str]]:
    """Returns what setup.py requires: by extra, and "" for all installations."""
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    values: dict[str, Any] = {}
    # As far as the lists go: what follows builds the package.
    exec(source[: source.index("VERSION: ")], values)
    return {"": values["REQUIRED"], **values["EXTRAS"]}


def digest(requirements: dict[str, list[str]]) -> str:
    """Returns the SHA-256, in hex, of all that setup.py requires."""
    return hashlib.sha256(json.dumps(requirements, sort_keys=True).encode()).hexdigest()


def resolve(requirements: list[str]) -> dict[str, str]:
    """Returns the versions of the decisive packages that pip would install.

    Raises:
      subprocess.CalledProcessError: pip found no such versions, or no package index.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), *requirements]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        items = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    versions = {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in items}
    return {name: versions[name] for name in DECISIVE if name in versions}


def main() -> int:
    """Resolves all extras; returns 1 where one differs from the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the record")
    parser.add_argument("--only", nargs="*", default=list(GROUPS), choices=list(GROUPS))
    arguments = parser.parse_args()
    requirements = read_setup()
    record = json.loads(RECORD.read_text()) if RECORD.is_file() else {"resolved": {}}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    recorded = record["resolved"].setdefault(python, {})
    untried = 0
    for group in arguments.only:
        wanted = [*requirements[""], *(r for extra in GROUPS[group] for r in requirements[extra])]
        versions = resolve(wanted)
        same = versions == recorded.get(group)
        untried += not same
        print(f"{group or 'default'}: {'as recorded' if same else 'NEW'}: {versions}", flush=True)
        if arguments.write:
            recorded[group] = versions
    if arguments.write:
        record["digest"] = digest(requirements)
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        return 0
    return min(untried, 1)


if __name__ == "__main__":
    sys.exit(main())
