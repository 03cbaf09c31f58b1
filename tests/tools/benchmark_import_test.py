"""The benchmark of imports: its figures fit together, and its commands are understood."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import benchmark_import  # noqa: E402

from sepcon.audio.decode import decode_file  # noqa: E402
from sepcon.audio.samples import to_int16  # noqa: E402

TINY = ["--clips=2", "--seconds=0.5", "--rounds=3"]


def test_figures_that_fit_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_import.main([*TINY, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {row["clips"]: row for row in result["rows"]}
    kinds = ("files", "parquet")
    assert set(rows) == {f"{kind}, {what}" for kind in kinds for what in ("bare", "import")}
    for kind in kinds:
        assert rows[f"{kind}, bare"]["share_of_bare_speed"] == 1.0
        assert 0.01 < rows[f"{kind}, import"]["share_of_bare_speed"] < 3.0
    for row in rows.values():
        assert row["clips_a_second"] == pytest.approx(1e3 / row["ms_a_clip"])
    # 24 bits of noise do not become much smaller.
    assert 0.5 * 48000 * 2 < result["bytes_a_clip"] < 0.5 * 48000 * 2 * 3
    assert benchmark_import.main(TINY) == 0
    assert "parquet, import" in capsys.readouterr().out


def test_both_sides_do_the_same_work(tmp_path: Path) -> None:
    (path,) = benchmark_import._make_clips(tmp_path / "clips", 1, 0.5)
    bare = to_int16(benchmark_import._bare(path))
    assert np.abs(bare.astype(int) - decode_file(path)).max() <= 1


def test_the_command_of_the_documents_is_understood() -> None:
    text = (TOOLS / "README.md").read_text()
    lines = re.findall(r"tools/benchmark_import\.py(.*)", text)
    assert lines
    for line in lines:
        benchmark_import._parse(shlex.split(line))


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(SystemExit):
        benchmark_import.main(["--clips=0"])
