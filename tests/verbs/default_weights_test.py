"""Commands on files work with nothing trained: they take the weights of the package, and say so."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from classifier_stub import write_classifier
from encoder_stub import write_run
from separator_stub import write_separator_run
from tones_stub import tone

from sepcon import cli
from sepcon.embeddings.store import EmbeddingStore
from sepcon.models import packaged

WRITERS = {
    "separator": write_separator_run,
    "encoder": write_run,
    "classifier": lambda folder: write_classifier(folder, 1.0),
}


@pytest.fixture
def recordings(tmp_path, monkeypatch) -> Path:
    """Weights of the package, and a folder to stand in with a recording in it."""
    for kind, name in packaged.DEFAULTS.items():
        WRITERS[kind](tmp_path / "weights" / name)
        card = tmp_path / "weights" / name / packaged.CARD_FILE
        card.write_text('{"summary": "made in a test"}')
    monkeypatch.setattr(packaged, "weights_folder", lambda: tmp_path / "weights")
    folder = tmp_path / "recordings"
    folder.mkdir()
    audio = np.concatenate([tone(1, 100 + k) for k in range(6)])
    soundfile.write(folder / "x.wav", audio, 16000)
    monkeypatch.chdir(tmp_path)
    return folder


def test_separating_classifying_and_embedding_need_no_model(recordings, capsys):
    assert cli.main(["separate", "recordings/x.wav"]) == 0
    assert "sepcon: separator-v1: made in a test\n" in capsys.readouterr().err
    assert len(list(Path("separated/x.wav").glob("channel_*.wav"))) == 3
    assert cli.main(["classify", "recordings/x.wav"]) == 0
    output = capsys.readouterr()
    assert "sepcon: classifier-v1: made in a test\n" in output.err
    assert "x.wav: middle" in output.out
    assert Path("classes/classes.csv").is_file()
    words = ["--gin_file=data/folder.gin", f"--gin_bindings=FOLDER={str(recordings)!r}"]
    assert cli.main(["embed", *words, "--run_dir=embedded"]) == 0
    assert "sepcon: encoder-v1: made in a test\n" in capsys.readouterr().err
    assert EmbeddingStore(Path("embedded/embeddings")).dim == 8


def test_where_it_goes_and_what_with_can_be_said(recordings, capsys):
    words = ["recordings", "--separator=separator-v1", "--out=here"]
    assert cli.main(["separate", *words]) == 0
    assert Path("here/report.html").is_file()
    assert not Path("separated").exists()
    assert "separator-v1" in capsys.readouterr().err
    # For a data set, which others train on, nothing is taken for granted.
    assert cli.main(["separate", "--run_dir=channels", "--gin_file=data/builtin_scenes.gin"]) == 1
    assert "SEPARATOR" in capsys.readouterr().err
    assert cli.main(["separate"]) == 2
    assert "--out is missing" in capsys.readouterr().err
