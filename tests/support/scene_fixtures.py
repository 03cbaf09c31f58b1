"""Small data sets of acoustic scenes in their official layouts, with their warts."""

from pathlib import Path

from import_fixtures import write_audio

# file, scene, place, list that it is in
DCASE_ROWS = (
    ("airport-barcelona-0-0-a.wav", "airport", "barcelona-0", "train"),
    ("airport-barcelona-0-1-a.wav", "airport", "barcelona-0", "train"),
    ("bus-london-2-0-a.wav", "bus", "london-2", "test"),
    ("street_traffic-paris-9-7-b.wav", "street_traffic", "paris-9", "test"),
    ("tram-vienna-5-5-a.wav", "tram", "vienna-5", ""),
    ("park-milan-1-1-a.wav", "park", "milan-1", "train"),  # of a part that was not unpacked
)
LITIS_FILES = ("avion1.wav", "avion2.wav", "busystreet-12.wav", "kidgame3.wav", "kidgame10.wav")


def write_dcase2018(root: Path, *, ending: str = ".txt") -> Path:
    """The development set: a byte order mark, Windows line ends, tests without labels."""
    folder = root / "TUT-urban-acoustic-scenes-2018-development"
    (folder / "evaluation_setup").mkdir(parents=True)
    lines = ["filename\tscene_label\tidentifier\tsource_label"]
    lines += [f"audio/{file}\t{scene}\t{place}\ta" for file, scene, place, _ in DCASE_ROWS]
    (folder / "meta.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    of_list = {name: [row for row in DCASE_ROWS if row[3] == name] for name in ("train", "test")}
    header = "filename\tscene_label\n" if ending == ".csv" else ""
    for name, rows in (("train", "train"), ("evaluate", "test")):
        text = "".join(f"audio/{file}\t{scene}\n" for file, scene, *_ in of_list[rows])
        (folder / "evaluation_setup" / f"fold1_{name}{ending}").write_text(header + text)
    text = "".join(f"audio/{file}\n" for file, *_ in of_list["test"])
    (folder / "evaluation_setup" / f"fold1_test{ending}").write_text(text)
    for number, (file, *_) in enumerate(DCASE_ROWS[:-1]):
        write_audio(folder / "audio" / file, number)
    return root


def write_litis_rouen(root: Path) -> Path:
    """Numbers as MATLAB writes them, tabs and spaces, a file that is missing."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"{file}{' ' if n % 2 else chr(9)} {n + 1}" for n, file in enumerate(LITIS_FILES)]
    (root / "relation_wav_examples.txt").write_text("\r\n".join(lines) + "\r\n")
    learn = "   1.0000000e+00   3.0000000e+00   4.0000000e+00\n   2.0  3.0  5.0\n"
    test = "   2.0000000e+00   5.0000000e+00\n   1.0  4.0\n"
    (root / "fold3026-matrices_Learn.txt").write_text(learn)
    (root / "fold3026-matrices_Test.txt").write_text(test)
    for number, file in enumerate(LITIS_FILES[:-1]):
        write_audio(root / "data_rouen" / file, number)
    return root
