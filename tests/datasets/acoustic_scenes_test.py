"""Acoustic scenes in their official layouts: classes, places, divisions, and their warts."""

from pathlib import Path

import pytest
from scene_fixtures import DCASE_ROWS, write_dcase2018, write_litis_rouen

from sepcon.datasets.acoustic_scenes import DCASE_CLASSES, dcase2018_scenes, litis_rouen
from sepcon.errors import SepconError
from sepcon.importing.imported import imported_folds
from sepcon.verbs.import_clips import import_clips


@pytest.mark.parametrize("ending", [".txt", ".csv"])
def test_dcase_has_its_places_and_its_division(ending, tmp_path):
    source = dcase2018_scenes(path=str(write_dcase2018(tmp_path, ending=ending)))
    assert source.class_names == DCASE_CLASSES
    assert [(each.id, each.group, each.fold) for each in source.references] == [
        (file, place, fold) for file, _, place, fold in DCASE_ROWS
    ]
    assert [DCASE_CLASSES[each.labels[0]] for each in source.references] == [
        scene for _, scene, *_ in DCASE_ROWS
    ]
    counts = import_clips(run_dir=tmp_path / "run", source=source, processes=1)
    assert counts.kept == 4
    assert counts.left_out() == {"missing": 1, "not in the table": 1}
    folded = imported_folds(path=str(tmp_path / "run"))
    assert folded.folds == ("train", "train", "test", "test")
    assert folded.groups == ("barcelona-0", "barcelona-0", "london-2", "paris-9")


def test_litis_has_its_classes_by_name_and_one_of_its_divisions(tmp_path):
    root = write_litis_rouen(tmp_path)
    source = litis_rouen(path=str(root))
    assert source.class_names == ("avion", "busystreet", "kidgame")
    assert [(each.id, each.fold, each.reason) for each in source.references] == [
        ("avion1.wav", "train", ""),
        ("avion2.wav", "test", ""),
        ("busystreet-12.wav", "train", ""),
        ("kidgame10.wav", "test", "missing"),
        ("kidgame3.wav", "train", ""),
    ]
    other = litis_rouen(path=str(root), rotation=2)
    assert [each.fold for each in other.references] == ["test", "train", "train", "train", "test"]
    assert import_clips(run_dir=tmp_path / "run", source=source, processes=1).kept == 4
    with pytest.raises(SepconError, match="rotation is 3, expected 1 to 2"):
        litis_rouen(path=str(root), rotation=3)


def test_what_is_no_such_folder_is_told(tmp_path):
    with pytest.raises(
        SepconError, match=r"is no folder of DCASE 2018 scenes, meta\.csv is missing"
    ):
        dcase2018_scenes(path=str(tmp_path))
    with pytest.raises(SepconError, match=r"relation_wav_examples\.txt: cannot be read"):
        litis_rouen(path=str(tmp_path))
    root = write_dcase2018(tmp_path / "dcase") / "TUT-urban-acoustic-scenes-2018-development"
    lists = root / "evaluation_setup"
    with open(lists / "fold1_train.txt", "a") as file:
        file.write("audio/bus-london-2-0-a.wav\tbus\n")
    with pytest.raises(SepconError, match=r"bus-london-2-0-a\.wav is in another list"):
        dcase2018_scenes(path=str(root))
    for path in lists.iterdir():
        path.unlink()
    with pytest.raises(SepconError, match="has no lists of training and test"):
        dcase2018_scenes(path=str(root))
    meta: Path = root / "meta.csv"
    meta.write_text(meta.read_text().replace("\ttram\t", "\tspaceship\t"))
    write = lists / "fold1_train.txt"
    write.write_text("audio/a.wav\tbus\n")
    (lists / "fold1_evaluate.txt").write_text("audio/b.wav\tbus\n")
    with pytest.raises(SepconError, match="line 6 is no row of DCASE 2018"):
        dcase2018_scenes(path=str(root))
    litis = write_litis_rouen(tmp_path / "litis")
    (litis / "relation_wav_examples.txt").write_text("avion1.wav 1\nnothing\n")
    with pytest.raises(SepconError, match="line 2 is 'nothing', expected a file and its number"):
        litis_rouen(path=str(litis))
