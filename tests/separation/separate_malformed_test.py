"""Two hundred malformed files and fifty good ones: each bad one is named, all others are done."""

import json
import os
from collections import Counter

import numpy as np
import soundfile
from malformed_files import CONTENTS, make_malformed
from separator_stub import write_separator_run

from sepcon import cli
from sepcon.errors import printable
from sepcon.separation.separated_folder import LIST_FILE


def channel_sum(folder, names):
    return np.sum([soundfile.read(os.fsencode(folder / name))[0] for name in names], axis=0)


def test_two_hundred_malformed_files(tmp_path, capfd):
    run = write_separator_run(tmp_path / "run")
    sounds, out = tmp_path / "sounds", tmp_path / "out"
    made = make_malformed(sounds, count=200, num_good=50)
    assert len(made) == 250
    assert {thing.kind for thing in made} >= {*CONTENTS, "folder", "loop", "itself", "pipe"}

    words = ["separate", str(sounds), "--separator", str(run), "--out", str(out)]
    assert cli.main(words) == 0

    captured = capfd.readouterr()
    lines = [
        line
        for line in captured.err.splitlines()
        if line.strip() and not line.startswith("separate:")  # The progress bar.
    ]
    entries = json.loads((out / LIST_FILE).read_text())["recordings"]
    done = {entry["recording"]: entry for entry in entries if entry["status"] == "done"}
    failed = [entry["reason"] for entry in entries if entry["status"] == "failed"]
    # One line for each that failed, and nothing else: no traceback, no library's chatter.
    skipped = [line for line in lines if line.startswith("sepcon: skipped ")]
    assert [line for line in lines if line not in skipped and "sepcon: note" not in line] == []
    assert Counter(skipped) == Counter(f"sepcon: skipped {printable(reason)}" for reason in failed)
    assert all(line.isprintable() for line in skipped)

    for thing in made:
        start = f"sepcon: skipped {printable(str(thing.path))}: "
        told = [line.removeprefix(start) for line in skipped if line.startswith(start)]
        became = "done" if str(thing.path) in done else "failed"
        assert thing.expected in ("either", became), (thing, told)
        assert len(told) == (became == "failed"), (thing, told)
        assert all(len(reason) > 10 for reason in told)
    assert {entry["recording"] for entry in entries} == {str(thing.path) for thing in made}
    assert len(done) + len(failed) == 250
    assert f"{len(done)} recordings separated, {len(failed)} failed" in captured.out

    for path, entry in done.items():
        expected = soundfile.read(os.fsencode(path), always_2d=True)[0].mean(axis=1)
        if not entry["clipped_samples"]:
            loudest = max(1.0, np.abs(expected).max())
            total = channel_sum(out / entry["folder"], entry["channels"])
            np.testing.assert_allclose(total, expected, atol=1e-6 * loudest, err_msg=path)
    assert (out / "report.html").is_file()

    # Nothing is done twice, and what failed is told again.
    assert cli.main(words) == 0
    again = capfd.readouterr()
    assert f"{len(done)} recordings separated ({len(done)} by an earlier run)" in again.out
    assert again.err.count("sepcon: skipped ") == len(failed)
