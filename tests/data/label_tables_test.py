"""Tables of labels as people have them: each is read right or refused in one line."""

import csv
import dataclasses
import io
import os
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcon.data.label_tables.exclusion import excluded_names
from sepcon.data.labels import Labels, read_labels
from sepcon.errors import SepconError

CLASSES = ("dog", "rain", "clapping")
FILES = tuple(f"{fold}-{100 + n}-A.ogg" for fold in (1, 2) for n in range(6))
CLASS_OF = {name: CLASSES[number % 3] for number, name in enumerate(FILES)}


def read(
    folder: Path, text: str | bytes, files: tuple[str, ...] = FILES, *, allow_missing: bool = False
) -> Labels:
    """Reads a table; the files need not exist, only their names count."""
    table = folder / "labels.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    paths = sorted(folder / "audio" / name for name in files)
    return read_labels(table, paths, folder / "audio", allow_missing=allow_missing)


def classes_of(labels: Labels) -> dict[str, set[str]]:
    return {
        path.name: {labels.class_names[number] for number in numbers}
        for path, numbers in zip(labels.paths, labels.numbers, strict=True)
    }


def lines(row: Callable[[str, str], str], header: str = "filename,label\n") -> str:
    return header + "\n".join(row(name, label) for name, label in CLASS_OF.items()) + "\n"


def stem(name: str) -> str:
    return name.removesuffix(".ogg")


RIGHT = {
    "plain": lines(lambda f, c: f"{f},{c}"),
    "no header": lines(lambda f, c: f"{f},{c}", ""),
    "no last line end": lines(lambda f, c: f"{f},{c}").rstrip(),
    "empty lines": lines(lambda f, c: f"\n{f},{c}\n \n,"),
    "byte order mark, CR LF": "\ufeff" + lines(lambda f, c: f"{f},{c}").replace("\n", "\r\n"),
    "CR alone": lines(lambda f, c: f"{f},{c}").replace("\n", "\r"),
    "semicolons": lines(lambda f, c: f"{f};{c}", "filename;label\n"),
    "tabs": lines(lambda f, c: f"{f}\t{c}", "filename\tlabel\n"),
    "tabs, no header": lines(lambda f, c: f"{f}\t{c}", ""),
    "quotes": lines(lambda f, c: f'"{f}","{c}"', '"filename","label"\n'),
    "space behind commas": lines(lambda f, c: f'{f}, "{c}"', "filename, label\n"),
    "stems": lines(lambda f, c: f"{stem(f)},{c}"),
    "stems, no header": lines(lambda f, c: f"{stem(f)},{c}", ""),
    "another ending": lines(lambda f, c: f"{stem(f)}.wav,{c}"),
    "an ending in capitals": lines(lambda f, c: f"{stem(f)}.OGG,{c}"),
    "labels first": lines(lambda f, c: f"{c},{f}", "label,filename\n"),
    "an index first": lines(lambda f, c: f"7,{f},{c}", ",filename,label\n"),
    "dot slash": lines(lambda f, c: f"./{f},{c}"),
    "a folder in front": lines(lambda f, c: f"data/audio/{f},{c}"),
    "a folder above": lines(lambda f, c: f"../clips/{f},{c}"),
    "backslashes": lines(lambda f, c: f"C:\\data\\audio\\{f},{c}"),
    "every row twice": lines(lambda f, c: f"{f},{c}\n{f},{c}"),
    "another spelling": lines(lambda f, c: f"{c},{f}", "Class Name,File_Name\n"),
    "a comment": "# made by hand, yesterday\n" + lines(lambda f, c: f"{f},{c}"),
    "numbers and names": lines(
        lambda f, c: f"{f},{CLASSES.index(c)},{c}", "filename,label,class_name\n"
    ),
    "two columns of files": lines(lambda f, c: f"{f},/old/{f},{c}", "filename,filepath,label\n"),
    "a split": lines(lambda f, c: f"train,{f},{c}", "split,filename,label\n"),
    "esc-50": lines(
        lambda f, c: f"{f},{f[0]},{CLASSES.index(c)},{c},True,{f[2:5]},A",
        "filename,fold,target,category,esc10,src_file,take\n",
    ),
    "urbansound8k": lines(
        lambda f, c: f"{f},{f[2:5]},0.0,4.0,1,{f[0]},{CLASSES.index(c)},{c}",
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n",
    ),
    "kaggle": lines(
        lambda f, c: f"{f},{c},{f[0]},{f[2:5]}", "fname,label,manually_verified,freesound_id\n"
    ),
    "fsd50k": lines(lambda f, c: f'{stem(f)},"{c}","/m/{c},/t/1",val', "fname,labels,mids,split\n"),
    "audioset": "# Segments csv created today\n# num_ytids=12, num_segs=12\n"
    + lines(
        lambda f, c: f'{stem(f)}, 30.000, 40.000, "{c}"',
        "# YTID, start_seconds, end_seconds, positive_labels\n",
    ),
    "audioset strong": lines(
        lambda f, c: f"{stem(f)}\t0.1\t0.9\t{c}",
        "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n",
    ),
    "dcase scenes": lines(
        lambda f, c: f"audio/{f}\t{c}\t{c}-{f[0]}\ta",
        "filename\tscene_label\tidentifier\tsource_label\n",
    ),
    "dcase scenes, no header": lines(lambda f, c: f"audio/{f}\t{c}\t{c}-{f[0]}", ""),
    "dcase events": lines(
        lambda f, c: f"{f}\t0.0\t1.5\t{c}\n{f}\t2.0\t3.5\t{c}",
        "filename\tonset\toffset\tevent_label\n",
    ),
    "dcase weak": lines(lambda f, c: f"{f}\t{c}", "filename\tevent_labels\n"),
    "one-hot": lines(
        lambda f, c: f"{f}," + ",".join(str(int(c == name)) for name in CLASSES) + f",{f[0]}",
        "filename,dog,rain,clapping,fold\n",
    ),
    "one-hot, floats": lines(
        lambda f, c: ";".join(["train", *(f"{float(c == name)}" for name in CLASSES), f]),
        "split;dog;rain;clapping;fname\n",
    ),
}


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_a_table_in_a_known_layout_gives_its_classes(tmp_path: Path, text: str) -> None:
    labels = read(tmp_path, text)
    assert labels.class_names == tuple(sorted(CLASSES))
    assert classes_of(labels) == {name: {label} for name, label in CLASS_OF.items()}
    assert not labels.missing


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    labels = read(tmp_path, RIGHT["plain"].replace("dog", "búho").encode(encoding))
    assert labels.class_names == ("búho", "clapping", "rain")


@pytest.mark.parametrize(
    "layout, groups, folds",
    [
        ("esc-50", lambda name: name[2:5], lambda name: name[0]),
        ("urbansound8k", lambda name: name[2:5], lambda name: name[0]),
        ("kaggle", lambda name: name[2:5], None),
        ("fsd50k", None, lambda name: "val"),
        ("dcase scenes", lambda name: f"{CLASS_OF[name]}-{name[0]}", None),
        ("dcase scenes, no header", lambda name: f"{CLASS_OF[name]}-{name[0]}", None),
        ("one-hot", None, lambda name: name[0]),
        ("a split", None, lambda name: "train"),
        ("plain", None, None),
    ],
)
def test_originals_and_folds_are_those_of_the_table(
    tmp_path: Path,
    layout: str,
    groups: Callable[[str], str] | None,
    folds: Callable[[str], str] | None,
) -> None:
    labels = read(tmp_path, RIGHT[layout])
    assert labels.groups == ({name: groups(name) for name in FILES} if groups else {})
    assert labels.folds == ({name: folds(name) for name in FILES} if folds else {})


def test_what_was_understood_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, RIGHT["esc-50"] + f"{FILES[0]},1,1,rain,True,100,A\n", (*FILES, "x.wav"))
    said = capsys.readouterr().err
    assert (
        "files from column filename, labels from column category, original recordings from column "
        "src_file, folds from column fold: 12 files, 3 classes (clapping, dog, rain), "
        "6 original recordings"
    ) in said
    assert "1 files that it does not name are left out" in said
    assert "1 files have other labels in another row, and all of them count" in said
    assert f"such as {FILES[0]}: dog, rain\n" in said


def test_files_with_an_empty_label_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = read(tmp_path, RIGHT["plain"].replace(",rain", ","))
    assert labels.class_names == ("clapping", "dog")
    assert len(labels.labelled_paths) == 8
    assert f"4 files without a label are left out, such as {FILES[1]}" in capsys.readouterr().err


REFUSED = {
    "nothing": ("", "is empty; expected a header"),
    "white space": (" \n\n", "is empty; expected a header"),
    "a header alone": ("filename,label\n", "holds no label, only its header"),
    "no label in any row": (lines(lambda f, c: f"{f},"), "holds no label"),
    "no names of columns": ("zzz,dog\n", "begins with 'zzz,dog': no column is called by a name"),
    "a split is no label": (
        lines(lambda f, c: f"{f},train", "filename,split\n"),
        "begins with 'filename,split': no column is called by a name for labels",
    ),
    "a fold is no label": (
        lines(lambda f, c: f"{f},1,0", "filename,fold,esc10\n"),
        "begins with 'filename,fold,esc10': no column is called by a name for labels",
    ),
    "a column that may be anything": (
        lines(lambda f, c: f"{f},{c}", "filename,what\n"),
        "begins with 'filename,what': no column is called by a name for labels",
    ),
    "splits as columns": (
        lines(lambda f, c: f"{f},1,0", "filename,train,test\n"),
        "train is no class with 0 and 1",
    ),
    "probabilities": (
        lines(lambda f, c: f"{f},0.3,0.7", "filename,dog,rain\n"),
        "dog is no class with 0 and 1",
    ),
    "labels in several columns": (
        lines(lambda f, c: f"{f},{c},x", "filename,label_1,label_2\n"),
        r"several columns \(label_1, label_2\)",
    ),
    "two columns of labels": (
        lines(lambda f, c: f"{f},{c},{f[0]}", "filename,label,category\n"),
        "columns label, category say different labels; keep one",
    ),
    "two columns of other files": (
        "filename,path,label\n1-100-A.ogg,1-101-A.ogg,dog\n",
        "columns filename, path name different files; keep one",
    ),
    "two columns of originals": (
        lines(lambda f, c: f"{f},{c},1,2", "filename,label,source,group\n"),
        r"several columns may name the original recording \(source, group\)",
    ),
    "three columns and no header": (
        lines(lambda f, c: f"{f},{c},train", ""),
        "has no header, and what its 3 columns are is not known; put a line with their names",
    ),
    "a split behind tabs and no header": (
        lines(lambda f, c: f"{f}\t{c}\ttrain", ""),
        "has no header, and what its 3 columns are is not known",
    ),
    "one column": ("\n".join(FILES), "has one column and no labels"),
    "a split and no header": (
        lines(lambda f, c: f"{f},{'test' if f[0] == '1' else 'Train'}", ""),
        "second column seems to be a split",
    ),
    "two columns that name classes in two ways": (
        lines(lambda f, c: f"{f},{c},the {c}", "filename,label,class_name\n"),
        "columns label, class_name say different labels",
    ),
    "a class in two columns": (
        lines(lambda f, c: f"{f},0,1", "filename,dog,dog\n"),
        "its header has two columns for one class",
    ),
    "a letter that is not shown": (
        "filename,label\n1-100-A.ogg,dog\n1-101-A.ogg,do\u200bg\n",
        "line 3 has the label 'do.*g' and a line above 'dog'",
    ),
    "a list in a list": (lines(lambda f, c: f"{f},\"[['{c}']]\""), "expected a list of labels"),
    "files in both columns": (
        lines(lambda f, c: f"{f},{f}", ""),
        "has no header, and both columns name files",
    ),
    "commas that are not in quotes": (
        lines(lambda f, c: f"{stem(f)},{c},Sound,/m/0", "fname,labels,mids\n"),
        "line 2 has 4 columns, the first line has 3",
    ),
    "a row that ends early": (
        lines(lambda f, c: f"{f},{c}") + "1-100-A.ogg\n",
        "line 14 has 1 column, its column 'label' is missing",
    ),
    "a quote that stays open": (
        lines(lambda f, c: f'{f},"{c}').replace("\n", "\n", 1),
        "cannot be read as a table",
    ),
    "latin-1": (
        lines(lambda f, c: f"{f},{c}é").encode("latin-1"),
        "cannot be read as a UTF-8 table .* in line 2.*save it as UTF-8",
    ),
    "UTF-16 without a mark": (
        RIGHT["plain"].encode("utf-16-le"),
        "cannot be read as a UTF-8 table .*zero bytes",
    ),
    "two spellings of a class": (
        lines(lambda f, c: f"{f},{c.title() if f[0] == '2' else c}"),
        "line 8 has the label 'Dog' and a line above 'dog'",
    ),
    "nan": (lines(lambda f, c: f"{f},nan"), "line 2 has the label 'nan'.*leave the cell empty"),
    "a line break": (lines(lambda f, c: f'{f},"{c}\nx"'), "line break; is a quote open"),
    "a name that is not there": (
        RIGHT["plain"] + "zzz.wav,dog\nyyy.wav,dog\n",
        "line 14 names 'zzz.wav', which is not in .*audio; 2 of the 14 names in column filename",
    ),
    "an empty name": (RIGHT["plain"] + ",dog\n", "line 14 names ''"),
    "two folds of one file": (
        "filename,label,fold\n1-100-A.ogg,dog,1\n1-100-A.ogg,dog,2\n",
        "line 3 says fold '2' of 1-100-A.ogg, another line '1'",
    ),
    "two folders for one file": (
        "filename,label\na/1-100-A.ogg,dog\nb/1-100-A.ogg,rain\n",
        "line 3 names 'b/1-100-A.ogg' and another one 'a/1-100-A.ogg'; of both only 1-100-A.ogg",
    ),
    "two endings for one file": (
        "filename,label\n1-100-A.wav,dog\n1-100-A.mp3,rain\n",
        "line 3 names '1-100-A.mp3' and another one '1-100-A.wav'",
    ),
    "one label or several": (
        lines(lambda f, c: f'{f},"{c}, loud"', "filename,labels\n"),
        "line 2 has 'dog, loud': one label or several",
    ),
    "a comma between labels of other rows": (
        RIGHT["plain"].replace(",dog\n", ',"dog, rain"\n', 1),
        "line 2 has 'dog, rain': one label or several",
    ),
    "two separators of labels": (
        lines(lambda f, c: f'{f},"{c},loud;x"'),
        "line 2 has 'dog,loud;x': one label or several",
    ),
    "tags that may be one": (
        lines(lambda f, c: f"{f},{c} loud", "filename,tags\n"),
        "line 2 has 'dog loud': one label or several",
    ),
}


@pytest.mark.parametrize("text, message", REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(SepconError, match=message) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "labels.csv") in str(error.value)


@pytest.mark.parametrize(
    "header, cell, expected",
    [
        ("label", "dog;rain", {"dog", "rain"}),
        ("label", "dog| rain ;", {"dog", "rain"}),
        ("labels", '"dog,rain"', {"dog", "rain"}),
        ("labels", "\"['dog', 'rain']\"", {"dog", "rain"}),
        ("labels", '"[""dog"", ""rain""]"', {"dog", "rain"}),
        ("label", '"Male speech, man speaking"', {"Male speech, man speaking"}),
        ("labels", '"Boat, Water vehicle; Wind"', {"Boat, Water vehicle", "Wind"}),
        ("label", "street music", {"street music"}),
        ("label", "cafe\u0301", {"caf\u00e9"}),
        ("label,username", "street music,me", {"street music"}),
        ("tags,username", "street field-recording,me", {"street", "field-recording"}),
    ],
)
def test_labels_in_a_cell(tmp_path: Path, header: str, cell: str, expected: set[str]) -> None:
    labels = read(tmp_path, f"filename,{header}\n{FILES[0]},{cell}\n")
    assert classes_of(labels) == {FILES[0]: expected}


@pytest.mark.parametrize(
    "name, files, expected",
    [
        ("x.wav", ["x.wav", "deep/x.wav"], "x.wav"),
        ("deep/x.wav", ["x.wav", "deep/x.wav"], "deep/x.wav"),
        ("x.wav", ["deep/x.wav", "x.flac"], "deep/x.wav"),
        ("er/x.wav", ["deep/er/x.wav", "er2/x.wav"], "deep/er/x.wav"),
        ("audio/x.wav", ["x.wav", "b/audio/x.wav"], "x.wav"),
        ("x", ["deep/x.wav"], "deep/x.wav"),
        ("x.1", ["x.1.wav", "x.wav"], "x.1.wav"),
        ("x.mp3", ["x.ogg"], "x.ogg"),
        ("12", ["12__me__dog.wav", "123__me__dog.wav"], "12__me__dog.wav"),
        ("nai\u0308ve.wav", ["na\u00efve.wav"], "na\u00efve.wav"),
        ("na\u00efve.wav", ["na\u00efve.wav", "nai\u0308ve.wav"], "na\u00efve.wav"),
        ("nai\u0308ve.wav", ["na\u00efve.wav", "nai\u0308ve.wav"], "nai\u0308ve.wav"),
        ("a\\b.wav", ["a\\b.wav", "a/b.wav"], "a\\b.wav"),
    ],
)
def test_a_name_means_one_file(tmp_path: Path, name: str, files: list[str], expected: str) -> None:
    labels = read(tmp_path, f"filename,label\n{name},dog\n", tuple(files))
    assert labels.paths == (tmp_path / "audio" / expected,)


def test_an_absolute_name_means_its_file(tmp_path: Path) -> None:
    text = f"filename,label\n{tmp_path}/audio/deep/x.wav,dog\n"
    labels = read(tmp_path, text, ("x.wav", "deep/x.wav", "deep/deep/x.wav"))
    assert labels.paths == (tmp_path / "audio" / "deep" / "x.wav",)


@pytest.mark.parametrize(
    "name, files",
    [
        ("x.wav", ["a/x.wav", "b/x.wav"]),
        ("x", ["x.wav", "x.flac"]),
        ("x.mp3", ["a/x.wav", "b/x.flac"]),
        ("deep/x.wav", ["x.wav", "deep/x.ogg"]),
        ("old/a/x.wav", ["x.wav", "a/x.wav"]),
    ],
)
def test_a_name_that_may_mean_two_files_is_refused_with_both(
    tmp_path: Path, name: str, files: list[str]
) -> None:
    with pytest.raises(SepconError, match="more than once") as error:
        read(tmp_path, f"filename,label\n{name},dog\n", tuple(files), allow_missing=True)
    assert all(file in str(error.value) for file in files)


@pytest.mark.parametrize("name", ["cats/x.wav", "x.txt", "X.wav", "xx", "deeper/x.wav"])
def test_a_name_that_contradicts_the_file_does_not_mean_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(SepconError, match=r"1 of the 1 names .* are not"):
        read(tmp_path, f"filename,label\n{name},dog\n", ("dogs/x.wav",), allow_missing=True)


def test_missing_names_are_listed_where_that_is_allowed(tmp_path: Path) -> None:
    labels = read(tmp_path, RIGHT["plain"] + "zzz.wav,gone\n", allow_missing=True)
    assert labels.missing == ("zzz.wav",)
    assert labels.class_names == tuple(sorted(CLASSES))


@pytest.mark.parametrize("name", ["abc_30000.wav", "Yabc_30.000_40.000.flac", "abc.ogg"])
def test_segments_of_audioset_are_found_by_their_times(tmp_path: Path, name: str) -> None:
    text = '# YTID, start_seconds, end_seconds, positive_labels\nabc, 30.0, 40.0, "/m/1,/m/2"\n'
    labels = read(tmp_path, text, (name, "abc_60000.wav"))
    assert classes_of(labels) == {name: {"/m/1", "/m/2"}}


# What stands in the cells of each kind of column, beside those that are read.
@dataclasses.dataclass(frozen=True)
class Layout:
    """Names of the columns of a published layout; the label of a row stands in `label`."""

    file: str
    label: str
    group: str = ""
    fold: str = ""
    others: tuple[str, ...] = ()
    several: str = ";"


LAYOUTS = [
    Layout("filename", "category", "src_file", "fold", ("target", "esc10", "take")),
    Layout("slice_file_name", "class", "fsID", "fold", ("classID", "salience", "start", "end")),
    Layout("fname", "labels", "", "split", ("mids",), several=","),
    Layout("fname", "label", "freesound_id", "", ("manually_verified", "license")),
    Layout("filename", "scene_label", "identifier", "", ("source_label",)),
    Layout("filename", "event_label", "", "", ("onset", "offset")),
    Layout("id", "tags", "", "", ("username", "license", "description"), several=" "),
    Layout("file", "labels", "source", "split"),
]
WORDS = st.text("abcdefgh_é", min_size=1, max_size=6).map(
    lambda word: unicodedata.normalize("NFC", word)
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, dict[str, set[str]], dict[str, str], dict[str, str]]:
    """A table of some files in a layout, and what it says: labels, originals, folds of files."""
    layout = draw(st.sampled_from(LAYOUTS))
    stems = draw(st.lists(st.sampled_from(FILES), min_size=1, unique=True))
    most = 1 if layout.label in ("category", "class", "label", "scene_label") else 3
    classes = draw(st.lists(WORDS, min_size=3, max_size=3, unique_by=str.casefold))
    labels = {
        f: {*draw(st.lists(st.sampled_from(classes), min_size=1, max_size=most))} for f in stems
    }
    groups = {f: draw(st.sampled_from(["r1", "r2", "1234"])) for f in stems if layout.group}
    folds = {f: draw(st.sampled_from(["1", "2", "train"])) for f in stems if layout.fold}
    ids = {name: str(number) for number, name in enumerate([*classes, *FILES])}
    as_named = draw(st.sampled_from([str, stem, lambda f: f"./{f}", lambda f: f"audio/{f}"]))
    rows = []
    for name in stems:
        text = layout.several.join(sorted(labels[name]))
        row = {layout.file: as_named(name), layout.label: text}
        row |= {layout.group: groups[name]} if layout.group else {}
        row |= {layout.fold: folds[name]} if layout.fold else {}
        rows.append(row | dict.fromkeys(layout.others, ids[name]))
    order = draw(st.permutations([*rows[0], *draw(st.sampled_from([[], [""]]))]))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text,
        order,
        restval="7",
        delimiter=draw(st.sampled_from(",;\t")),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    writer.writeheader()
    writer.writerows(draw(st.permutations(rows)))
    return text.getvalue(), labels, groups, folds


@settings(deadline=None, max_examples=300)
@given(tables(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_the_order_of_columns_and_the_way_they_are_written_change_nothing(
    written: tuple[str, dict[str, set[str]], dict[str, str], dict[str, str]], encoding: str
) -> None:
    text, labels, groups, folds = written
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), text.encode(encoding))
    assert classes_of(found) == labels
    assert found.groups == groups
    assert found.folds == folds


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(st.sampled_from(FILES), st.sets(st.sampled_from(CLASSES)), min_size=1),
    st.permutations(["name", *CLASSES, "fold"]),
    st.sampled_from([("0", "1"), ("0.0", "1.0"), ("False", "True")]),
)
def test_a_column_for_each_class_gives_the_classes_that_are_on(
    labels: dict[str, set[str]], order: list[str], words: tuple[str, str]
) -> None:
    rows = [
        {"name": name, "fold": "3"} | {c: words[c in found] for c in CLASSES}
        for name, found in labels.items()
    ]
    text = "\n".join([",".join(order), *(",".join(row[c] for c in order) for row in rows)])
    with tempfile.TemporaryDirectory() as folder:
        if any(labels.values()):
            assert classes_of(read(Path(folder), text)) == labels
        else:
            with pytest.raises(SepconError, match="holds no label"):
                read(Path(folder), text)


@pytest.mark.parametrize("device", ["a pipe", "/dev/zero"])
def test_a_table_that_would_never_end_is_refused(tmp_path: Path, device: str) -> None:
    table = tmp_path / "labels.csv"
    if device == "a pipe":
        os.mkfifo(table)
    else:
        table.symlink_to(device)
    for reading in (lambda: read_labels(table, [], tmp_path), lambda: excluded_names(table)):
        with pytest.raises(SepconError, match=r"labels.csv: cannot be read .*is a pipe or a dev"):
            reading()
