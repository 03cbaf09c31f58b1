"""The table of formats has a row for each, of the models that were really written."""

import importlib
import sys
from pathlib import Path

from encoder_stub import write_run

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
benchmark_export = importlib.import_module("benchmark_export")


def test_a_row_has_size_time_and_difference(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "encoder")
    words = ["benchmark_export.py", str(tmp_path / "encoder"), f"--run_dir={tmp_path / 'out'}"]
    monkeypatch.setattr(sys, "argv", [*words, "--formats", "tflite", "--calls", "1"])
    # Threads can be set before TensorFlow starts alone.
    monkeypatch.setattr(benchmark_export, "use_one_thread", lambda: None)
    benchmark_export.main()
    row = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert row[1:3] == ["0.5 s", "`tflite`"]
    size = sum(path.stat().st_size for path in (tmp_path / "out/encoder/tflite").iterdir())
    assert row[3] == f"{size / 1e6:.1f}"
    assert float(row[5]) < 1e-4
