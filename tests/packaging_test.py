"""A wheel, installed without the checkout, still finds its gin files and hides nobody's library."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path


def test_a_wheel_brings_its_gin_files(tmp_path: Path, repository: Path) -> None:
    source = tmp_path / "source"
    # From a copy, for a build leaves folders behind.
    subprocess.run(["git", "clone", "--quiet", str(repository), str(source)], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    shipped = {name.removeprefix("sepcon/gin_files/") for name in names if name.endswith(".gin")}
    assert shipped == {
        str(path.relative_to(source / "gin")) for path in (source / "gin").rglob("*.gin")
    }
    assert not [name for name in names if name.startswith(("gin/", "tests/", "tools/"))]
    # The weights, and what else is no Python.
    kept = [path for path in (source / "sepcon").rglob("*") if path.is_file()]
    others = {str(path.relative_to(source)) for path in kept if path.suffix != ".py"}
    assert others <= set(names)
    assert [name for name in names if name.endswith("weights.npz")]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sepcon", *words],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    ran = run("prepare", "--gin_file=runs/prepare.gin", "--run_dir=r")
    assert ran.returncode == 1
    assert "required value missing: TEST_CLIPS" in ran.stderr
    assert "separator-v1" in run("list", "weights").stdout
