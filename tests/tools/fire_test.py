"""The tool that fires at sepcon, in its short form; and that it sees what must not happen."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
sys.path.insert(0, str(TOOLS))

import fire_audio  # noqa: E402
import fire_contents  # noqa: E402
import fire_files  # noqa: E402
import fire_mutations  # noqa: E402
import fire_process  # noqa: E402
from fire_table import Table, spread  # noqa: E402


def test_a_little_of_everything_leaves_only_zeros() -> None:
    """Mutated audio and imports, an import on a full disk, and one that is killed."""
    ended = subprocess.run(
        [sys.executable, TOOLS / "fire.py", "--short", "--seed=5"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("| all |")]
    counts = [[int(cell) for cell in line.split("|")[2:-1]] for line in lines]
    assert [sum(row) for row in counts] == [300, 45, 30, 1, 1]
    # What may happen comes first, in two columns, of kills in one.
    assert [sum(row[1 if len(row) == 3 else 2 :]) for row in counts] == [0, 0, 0, 0, 0]
    assert "audio: 300 of 300, 0 faults" in ended.stderr


def test_a_change_depends_on_seed_and_number_alone() -> None:
    whole = fire_audio.originals(np.random.default_rng(3))
    few = list(fire_audio.mutations(whole, 3, 5))
    assert few == list(fire_audio.mutations(whole, 3, 8))[:5]
    assert few != list(fire_audio.mutations(whole, 4, 5))
    assert all(data != whole[kind] for _, kind, data in few)


def overfill(path: str) -> tuple[str, str]:
    return fire_audio.DECODED, str(len(bytes(3 << 30)))


def chatter(path: str) -> tuple[str, str]:
    os.write(2, b"chatter")
    return fire_audio.DECODED, ""


DEEDS: dict[str, Callable[[str], tuple[str, str]]] = {
    fire_process.CRASHED: lambda path: os.abort(),
    fire_process.HUNG: lambda path: (time.sleep(60), ("", ""))[1],
    fire_process.TRACEBACK: lambda path: (fire_process.TRACEBACK, "OSError: x"),
    fire_process.CHATTER: chatter,
}


@pytest.mark.parametrize("became", DEEDS)
def test_a_decoder_at_fault_is_seen_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, became: str
) -> None:
    """Of three files the second meets a decoder that does something it must not."""

    def decode(path: str) -> tuple[str, str]:
        fault = b"fault" in Path(path).read_bytes()
        return DEEDS[became](path) if fault else (fire_audio.DECODED, "")

    files = [b"good", b"fault", b"good"]
    monkeypatch.setattr(fire_audio, "_decode", decode)
    monkeypatch.setattr(
        fire_audio, "mutations", lambda *_: ((n, "x", data) for n, data in enumerate(files))
    )
    told = fire_audio.table()
    done = fire_audio.fire(told, count=3, seed=0, seconds=1.0, keep=tmp_path / "kept")
    assert list(done) == [1, 2, 3]
    assert told.counts == {("x", fire_audio.DECODED): 2, ("x", became): 1}
    assert len(told.faults) == 1
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [b"fault"]


def test_memory_beyond_the_limit_ends_in_an_error_of_the_worker() -> None:
    def fill(count: int) -> int:
        return len(bytes(count))

    with fire_process.Worker(fill, seconds=20.0, memory_bytes=1 << 28) as worker:
        assert worker.call(1 << 20)[:2] == (fire_process.DONE, 1 << 20)
        assert worker.call(1 << 30)[0] == fire_process.CRASHED
        assert worker.call(5)[:2] == (fire_process.DONE, 5)


@pytest.mark.parametrize("said, code, outcome", [
    ("fine\n", 0, fire_process.DONE),
    ("sepcon: error: bad\n", 1, fire_process.REFUSED),
    ("sepcon: error: bad\nsepcon: error: worse\n", 1, fire_process.TRACEBACK),
    ("Traceback (most recent call last):\n", 1, fire_process.TRACEBACK),
    ("Exception ignored in: x\n", 0, fire_process.TRACEBACK),
    ("", -9, fire_process.KILLED),
    ("", -11, fire_process.CRASHED),
])  # fmt: skip
def test_how_a_command_ended_is_told_by_its_code_and_words(
    said: str, code: int, outcome: str
) -> None:
    assert fire_process._outcome(code, said) == outcome


def test_a_comparison_leaves_out_times_and_nothing_else(tmp_path: Path) -> None:
    def write(name: str, **values: object) -> dict[str, bytes]:
        folder = tmp_path / name
        folder.mkdir()
        text = ", ".join(f'"{key}": {value}' for key, value in values.items())
        (folder / "run.json").write_text(f"{{{text}}}")
        (folder / "a.csv").write_text(f"name,seconds\n{values['loss']},{values['seconds']}\n")
        record = np.frombuffer(f'{{"seconds": {values["seconds"]}}}'.encode(), np.uint8)
        np.savez(folder / "a.npz", record=record, weights=np.full(3, values["loss"]))
        return fire_contents.contents(folder)

    one = write("one", loss=1.5, seconds=3, clip_seconds=2)
    assert fire_contents.differences(one, write("two", loss=1.5, seconds=44, clip_seconds=2)) == []
    other = write("three", loss=1.25, seconds=3, clip_seconds=3)
    del other["a.csv"]
    assert fire_contents.differences(one, other) == [
        "a.csv is missing",
        "a.npz is other",
        "run.json is other",
    ]


@pytest.mark.parametrize("name, row", [
    ("a.md", "| row | accuracy | seconds |\n| --- | --- | --- |\n| one | {} | {} |\n"),
    ("a.html", '<thead><tr><th scope="col">row</th><th scope="col">accuracy</th>'
               '<th scope="col">seconds</th></tr></thead>\n<tbody>\n'
               '<tr><th scope="row">one</th><td>{}</td><td>{}</td></tr>\n'),
])  # fmt: skip
def test_tables_of_pages_are_compared_without_their_seconds(
    tmp_path: Path, name: str, row: str
) -> None:
    found = []
    for accuracy, seconds in ((0.5, 3), (0.5, 7), (0.25, 3)):
        (tmp_path / name).write_text(row.format(accuracy, seconds))
        found.append(fire_contents.contents(tmp_path))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_code_in_a_file_would_be_seen_if_it_were_executed(tmp_path: Path) -> None:
    marker, generator = tmp_path / "executed", np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    data = (tmp_path / "a.npz").read_bytes()
    coded = fire_mutations.with_code("a.npz", data, marker, generator)
    assert coded is not None
    (tmp_path / "a.npz").write_bytes(coded)
    with np.load(tmp_path / "a.npz", allow_pickle=True) as archive:
        archive["x"]
    assert marker.exists()
    model = '{"encoder": "{\\"layers\\": [{\\"class_name\\": \\"ReLU\\"}]}", "rate": 3}'
    coded = fire_mutations.with_code("model.json", model.encode(), marker, generator)
    assert coded is not None
    assert b"ReLU" not in coded
    assert str(marker).encode() in coded or b"__lambda__" in coded


def test_another_result_with_exit_code_0_is_the_worst() -> None:
    right = fire_files._digest([1, np.zeros(2)])
    same = (fire_process.DONE, (fire_process.DONE, right), "")
    other = (fire_process.DONE, (fire_process.DONE, fire_files._digest([1, np.ones(2)])), "")
    assert fire_files._became(same, right)[0] == fire_files.SAME
    assert fire_files._became(other, right)[0] == fire_files.DIFFERENT
    assert fire_files._one_line("a\nb")[0] == fire_process.TRACEBACK


def test_a_table_counts_and_shares_are_spread() -> None:
    table = Table("Fired at", "what", ("good",), ("bad",))
    table.add("a", "good")
    table.add("a", "bad", "why")
    table.add("b", "good")
    assert re.findall(r"\| all \| (\d) \| (\d) \|", table.text()) == [("2", "1")]
    assert table.faults == ["a: bad: why"]
    with pytest.raises(ValueError, match="column 'ugly' is none of"):
        table.add("a", "ugly")
    names = spread({"often": 6, "seldom": 2})
    assert names.count("often") == 6
    assert "seldom" in names[:3]
    assert "seldom" in names[3:]
