"""The quickstart runs the whole chain, and tells what it cannot run in one line."""

import json
import os
import subprocess
from pathlib import Path

import warm_python

REPOSITORY = Path(__file__).resolve().parents[1]
SUPPORT = REPOSITORY / "tests" / "support"


def test_the_quickstart(tmp_path, monkeypatch):
    """The whole chain in processes of its own, on tiny settings."""
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
    words = [
        "--gin_file",
        "tiny.gin",
        "--gin_file",
        str(SUPPORT / "smallest.gin"),
        "--seeds",
        "1",
        "--run_dir",
        str(tmp_path / "run"),
    ]
    command = [warm_python.path(), str(REPOSITORY / "tools" / "quickstart.py"), *words]
    output = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert output.returncode == 0, output.stderr
    names = {row["name"] for row in json.loads((tmp_path / "run" / "results.json").read_text())}
    assert names == {
        "log-mel statistics",
        "untrained encoder",
        "mixture-mixture",
        "mixture-channel, trained separator",
        "mixture-mixture, random equalization",
    }
    assert all(name in output.stdout for name in names)
    assert "audio/flac" in (tmp_path / "run" / "report.html").read_text()
    first = tmp_path / "run" / "first_sounds" / "separated"
    assert 'src="scene.wav/channel_0.wav"' in (first / "report.html").read_text()
    assert len(list(first.glob("scene.wav/channel_*.wav"))) == 4
    assert output.stdout.index("something to hear") < output.stdout.index("mixture-mixture")
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 0
    assert "started" not in again.stderr
    assert after_the_first_sounds(again.stdout)[1:-2] == after_the_first_sounds(output.stdout)[1:-2]


def after_the_first_sounds(text: str) -> list[str]:
    lines = text.splitlines()
    return lines[next(n for n, line in enumerate(lines) if "something to hear" in line) :]


def test_the_quickstart_wants_an_esc50_folder(tmp_path):
    command = [warm_python.path(), str(REPOSITORY / "tools" / "quickstart.py")]
    output = subprocess.run(
        [*command, "--esc50", str(tmp_path / "nowhere")], capture_output=True, text=True
    )
    assert output.returncode == 1
    assert output.stderr.startswith("sepcon: error: ")
    assert "nowhere/meta/esc50.csv" in output.stderr
    assert output.stderr.count("\n") == 1


def test_the_quickstart_leaves_the_folder_of_another_alone(tmp_path):
    (tmp_path / "quickstart.txt").write_text("path/to/ESC-50\n")
    command = [warm_python.path(), str(REPOSITORY / "tools" / "quickstart.py")]
    output = subprocess.run(
        [*command, "--run_dir", str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert output.returncode == 1
    assert "holds the quickstart on path/to/ESC-50, not on the built-in scenes" in output.stderr
    assert output.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart.txt"]
