"""The report page holds what it was given, and nothing of it breaks out of the page."""

import base64
import io
import sys

import numpy as np
import pytest
import soundfile

from sepcon.errors import SepconError
from sepcon.reports import page as report


def test_the_page_holds_tables_sounds_and_pictures(tmp_path):
    waveform = np.sin(np.arange(8000) / 10).astype(np.float32) / 2
    clip = report.audio_clip("a <mixture>", waveform, 16000)
    section = report.Section(
        "Heading & more",
        ["first"],
        table=[["name", "value"], ["<row>", "0.5"]],
        figures=[
            report.line_figure("curve", {"a": ([0, 1], [1, 2])}, x_label="x", y_label="y"),
            report.interval_curves_figure(
                "checkpoints", {"a": [(0, 1, 0.5, 2), (10, 3, 2, 4)]}, x_label="x", y_label="y"
            ),
            report.matrix_figure("confusion", np.eye(3), ["a", "<b>", "c"]),
            report.interval_figure("rows", [("r", 0.5, 0.4, 0.6)], x_label="mAP"),
        ],
        clips=[
            clip,
            report.audio_clip("silence", np.zeros(8000, np.float32), 16000),
            report.linked_clip("beside the page", "a%20b.flac", waveform, 16000),
        ],
        code="a < b",
    )
    path = tmp_path / "report.html"
    report.write_report(path, title="T", subtitle="S", sections=[section])
    page = path.read_text()
    assert "&lt;row&gt;" in page
    assert "<row>" not in page
    assert "Heading &amp; more" in page
    assert page.count("<audio") == 3
    assert page.count("data:image/png") == 7
    assert 'src="a%20b.flac"' in page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    decoded, rate = soundfile.read(
        io.BytesIO(base64.b64decode(clip.source.removeprefix("data:audio/flac;base64,")))
    )
    assert rate == 16000
    np.testing.assert_allclose(decoded, waveform, atol=1 / 32768)
    assert base64.b64decode(clip.png).startswith(b"\x89PNG")


def test_a_player_of_a_high_rate_has_one_that_browsers_play():
    high = np.sin(np.arange(76800) / 100).astype(np.float32) / 2
    source = report.audio_clip("768 kHz", high, 768_000).source
    decoded, rate = soundfile.read(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert rate == 48_000
    np.testing.assert_allclose(decoded[100:-100], high[::16][100:-100], atol=1e-3)


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(SepconError, match=r"jinja2.*sepcon\[report\]"):
        report.write_report(tmp_path / "r.html", title="T", subtitle="S", sections=[])
