"""The report page holds what it was given, and nothing of it breaks out of the page."""

import base64
import io
import sys

import numpy as np
import pytest
import soundfile

from sepcon.errors import SepconError
from sepcon.reports import page as report
from sepcon.reports.labels import Labels, Span, ticks


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


def test_labels_lie_under_the_picture_and_are_said_in_words(tmp_path):
    waveform = np.sin(np.arange(16000) / 10).astype(np.float32) / 2
    spans = [
        Span(0.0, 0.5, "dog", "dog <0.9>"),
        Span(0.25, 0.75, "rain", "rain 0.4"),
        Span(0.5, 1.0, "dog", "dog 0.8"),
    ]
    labels = Labels(["dog <0.9> (0.0 to 0.5 s)", "level 0 dB"], spans)
    assert labels.lanes == [[spans[0], spans[2]], [spans[1]]]
    clips = [
        report.audio_clip("labelled", waveform, 16000, labels),
        report.linked_clip("none heard", "x.flac", waveform, 16000, Labels()),
        report.audio_clip("plain", waveform, 16000),
    ]
    section = report.Section("Sounds", clips=clips, together_seconds=1.0)
    report.write_report(tmp_path / "r.html", title="T", subtitle="S", sections=[section])
    page = (tmp_path / "r.html").read_text()
    alternative = "spectrogram of labelled: dog &lt;0.9&gt; (0.0 to 0.5 s); level 0 dB"
    assert f'alt="{alternative}"' in page
    assert 'alt="spectrogram of plain"' in page
    assert '<span class="c0" style="left: 0.000%; width: 50.000%" title="dog &lt;0.9&gt;">' in page
    assert '<span class="c1" style="left: 25.000%; width: 50.000%"' in page
    assert '<span class="c0" style="left: 50.000%; width: 50.000%"' in page
    assert page.count('<div class="lane">') == 2
    assert page.count('class="clip wide"') == 2
    assert '<span style="left: 90.000%">0.9 s</span>' in page


@pytest.mark.parametrize("seconds", [6.25e-05, 0.3, 1.0, 9.99, 10.0, 30.0, 86400.0])
def test_times_below_a_picture_are_round_and_few(seconds):
    places = [percent for percent, _ in ticks(seconds)]
    assert places[0] == 0.0
    assert 4 <= len(places) <= 11
    assert places[-1] <= 100.0
    np.testing.assert_allclose(np.diff(places), places[1])
    step = float(ticks(seconds)[1][1].removesuffix(" s"))
    assert f"{step:.0e}"[0] in "125"
    assert step == pytest.approx(places[1] * seconds / 100)
