"""Pages in a real browser, on the window of a phone and of a desk, in light and dark."""

from pathlib import Path

import numpy as np
import pytest
from browser import AXE_FILE, CHROMIUM, look_at

from sepcon.reports import page as report
from sepcon.reports.labels import Labels, Span

WIDTHS = (360, 1280)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of everything, with names too long for a phone."""
    if not CHROMIUM:
        pytest.skip("no Chromium is installed")
    path = tmp_path_factory.mktemp("page") / "report.html"
    waveform = np.sin(np.arange(160000) / 10).astype(np.float32) / 2
    labels = ("recording", "channel_0", "a_name_that_is_longer_than_a_phone_is_wide" * 2)
    clips = [report.audio_clip(label, waveform, 16000) for label in labels]
    head = ["row", *(f"column {number}" for number in range(12))]
    section = report.Section(
        "Everything",
        ["text " * 40],
        table=[head, ["mixture-channel, random equalization", *(["0.123 to 0.456"] * 12)]],
        figures=[
            report.interval_figure("rows", [("r", 0.5, 0.4, 0.6)], x_label="mAP"),
            report.matrix_figure("confusion", np.eye(3), ["a", "b", "c"]),
        ],
        clips=clips,
        code="sepcon " + "--a_long_word" * 30,
        together_seconds=10.0,
    )
    spans = [
        Span(
            start,
            min(start + 2.5, 10),
            f"a class {start} " + "of_a_long_name" * 9,
            f"class {start} 0.5",
        )
        for start in range(9)
    ]
    labels = Labels([span.text for span in spans], spans)
    labelled = [
        report.audio_clip(label, waveform, 16000, labels) for label in ("mixture", "channel_0")
    ]
    sections = [
        section,
        report.Section("Listen", clips=clips[:2]),
        report.Section("Sounds", clips=labelled, together_seconds=10.0),
    ]
    report.write_report(path, title="A page", subtitle="of a test", sections=sections)
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_is_whole_on_every_window(page: Path, dark: bool, tmp_path: Path) -> None:
    for width, found in look_at(page, WIDTHS, tmp_path, dark=dark).items():
        assert found["viewport"] == width
        assert found["wide"] <= width, "the page scrolls sideways"
        assert len(found["players"]) == 7
        for left, right, size in (*found["players"], *found["pictures"]):
            assert left >= 0
            assert right <= width
            assert size >= 200
        assert found["hidden_buttons"] == 0
        assert found["paper"] == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")
        if width == 1280:  # Under each other, aligned.
            assert len({(left, right) for left, right, _ in found["pictures"][:3]}) == 1
        (picture,) = {(left, right) for left, right, _ in found["pictures"][5:]}
        assert picture[1] - picture[0] >= 0.85 * min(width, 62 * 16)
        second = (picture[1] - picture[0]) / 10
        for number, (left, _, size) in enumerate(sorted(found["spans"])):
            start = number // 2  # Each of the two pictures has one from each second on.
            assert left == pytest.approx(picture[0] + start * second, abs=0.6)
            assert size == pytest.approx(min(2.5, 10 - start) * second, abs=0.6)
        together = found["together"]
        assert max(together["times"]) - min(together["times"]) < 0.1
        assert together["play"] == ["muted", "heard", "heard"]
        assert together["solo"] == ["heard", "muted", "muted"]
        assert together["again"] == ["muted", "heard", "heard"]
        assert together["mute"] == ["muted", "muted", "heard"]
        assert together["stop"] == ["paused"] * 3
        if AXE_FILE.is_file():
            assert found["violations"] == []
            assert {"color-contrast", "scrollable-region-focusable"} <= set(found["passes"])
    if not AXE_FILE.is_file():
        pytest.skip("the layout was looked at, but SEPCON_AXE_CORE names no axe-core")
