"""The weights that come with the package: what is in them, and the notebook that shows them."""

import json
import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from sepcon import cli
from sepcon.models import packaged

NOTEBOOK = Path(packaged.__file__).parents[1] / "inference" / "tour.ipynb"
MOST_BYTES = 6_000_000


def test_all_weights_together_are_small_and_each_has_a_whole_card():
    names = packaged.packaged_names()
    assert set(names) <= set(packaged.DEFAULTS.values())
    assert {packaged.DEFAULTS["separator"], packaged.DEFAULTS["encoder"]} <= set(names)
    files = [path for path in packaged.weights_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    attribution = (packaged.weights_folder() / "ATTRIBUTION.txt").read_text()
    of_clips = False
    for name in names:
        card = packaged.describe(packaged.folder_of(name))
        assert card["name"] == name
        assert packaged.DEFAULTS[card["kind"]] == name
        of_clips |= "ESC-10" in json.dumps(card["trained_on"])
        assert card["licence"] == "Apache-2.0"
        assert card["measured"]
        assert card["trained_on"]
        assert card["not_for"]
        assert re.fullmatch("[0-9a-f]{40}", card["git_revision"])
        assert "tools/train_weights.py" in card["command"]
        # Nothing of the machine that trained it.
        assert not re.search(r"[\"'= ]/\w+/", json.dumps(card))
    licences = re.findall(r", (CC[^,]*), http", attribution)
    assert (len(licences) > 100) == of_clips
    assert set(licences) <= {"CC0", "CC-BY"}


@pytest.fixture(scope="module")
def toured() -> dict:
    """The names of the notebook after its cells were run, from the first to the last."""
    mpl.use("Agg")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    plt.close("all")
    return names


def test_the_notebook_separates_what_was_mixed(toured):
    scene, channels = toured["scene"], toured["channels"]
    np.testing.assert_allclose(channels.sum(axis=0), scene, atol=1e-4)
    # The best channel for each sound is nearer to it than the scene is.
    for sound in toured["sounds"]:
        reference = 0.1 * sound / np.std(sound)
        errors = [np.square(channel - reference).sum() for channel in channels]
        assert min(errors) < 0.7 * np.square(scene - reference).sum()


def test_the_notebook_names_classes_it_never_heard(toured):
    assert toured["embedding"].clip.shape == (512,)
    assert toured["accuracy"] > 0.6


def test_the_weights_are_listed_with_what_was_measured(capsys):
    assert cli.main(["list", "weights"]) == 0
    shown = capsys.readouterr().out
    for name in packaged.packaged_names():
        assert re.search(rf"^  {name} +\S.*never heard", shown, flags=re.MULTILINE)
