"""What of the scores of taggers is a label: every rule against its transcription in loops."""

from pathlib import Path

import numpy as np
import pytest
from import_fixtures import write_audio

from sepcon.data.clip_examples import ClipExamples
from sepcon.data.stream import TrainingStream
from sepcon.datasets.folders import audio_folder
from sepcon.errors import SepconError
from sepcon.importing.clip_source import Clip, ClipSource
from sepcon.importing.imported import imported, imported_folds
from sepcon.importing.machine_labels import MachineLabels, TaggerLabels
from sepcon.taggers.tagger import Sees
from sepcon.verbs.import_clips import import_clips
from sepcon.views.clip_patches import clip_patches
from sepcon.views.sampler import ViewSampler

HEARD, SEEN = ("Dog", "Rain", "Speech", "Silence"), ("beagle", "pug", "umbrella", "desk")
CLIPS = 12


class Drawn:
    """A tagger whose scores are random numbers, others for each clip, two or three windows each."""

    sees: Sees = "sound"
    rule, digest = "drawn", "0" * 64

    def __init__(self, name: str, class_names: tuple[str, ...], seed: int) -> None:
        self.name, self.class_names, self._seed = name, class_names, seed

    def scores(self, clip: Clip) -> np.ndarray:
        generator = np.random.default_rng([self._seed, abs(int(clip.audio[:99].sum()))])
        return generator.random((2 + self._seed, len(self.class_names)))


TAGGERS = (Drawn("hear", HEARD, 0), Drawn("see", SEEN, 1))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labels")
    lines = ["filename,label,fold"]
    for number in range(CLIPS):
        write_audio(root / "recordings" / f"{number:02d}.wav", number)
        lines.append(f"{number:02d}.wav,{'xyz'[number % 3]},{1 + number % 4}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    source = audio_folder(path=str(root / "recordings"), labels_csv=str(root / "labels.csv"))
    import_clips(
        run_dir=root / "run", source=source, taggers=TAGGERS, processes=1, clips_per_shard=5
    )
    (root / "map.csv").write_text("from,to\nbeagle,Dog\npug,Dog\numbrella,Rain\n")
    return root / "run"


def clips_of(run: Path) -> list[np.ndarray]:
    plain = imported(path=str(run), clip_seconds=None, validation_share=0.0)
    return [each["audio"] for each in plain.build().as_numpy_iterator()]


def labels_of(run: Path, rule: MachineLabels, **settings) -> tuple[tuple[str, ...], np.ndarray]:
    clips = imported(path=str(run), labels=rule, validation_share=0.0, **settings)
    return clips.class_names, np.stack([e["labels"] for e in clips.build().as_numpy_iterator()])


def told(scores: np.ndarray, *, mean: bool, threshold: float, top: int | None, without=()) -> dict:
    """The labels of one clip, by the words of the rule: class number -> value."""
    values = {}
    for number in range(scores.shape[1]):
        column = [np.float32(row[number]) for row in scores]
        values[number] = sum(column) / np.float32(len(column)) if mean else max(column)
    for number in without:
        values.pop(number)
    order = sorted(values, key=lambda number: -values[number])[:top]
    return {number: values[number] for number in order if values[number] >= threshold}


@pytest.mark.parametrize(
    "over_frames, threshold, top, soft",
    [("max", 0.5, None, True), ("mean", 0.45, 2, True), ("max", 0.6, 1, False)],
)
def test_one_tagger(run, over_frames, threshold, top, soft):
    rule = TaggerLabels("hear", over_frames, threshold, top, without=("Silence",))
    names, labels = labels_of(run, MachineLabels([rule], soft=soft))
    assert names == HEARD[:3]
    for audio, row in zip(clips_of(run), labels, strict=True):
        scores = TAGGERS[0].scores(Clip(audio)).astype(np.float16)
        settings = {"threshold": threshold, "top": top, "without": (3,)}
        expected = told(scores, mean=over_frames == "mean", **settings)
        for number in range(3):
            value = expected.get(number, 0.0)
            assert row[number] == pytest.approx(value if soft else float(value > 0), rel=1e-6)


def test_union_and_intersection_over_a_map_of_names(run):
    hear = TaggerLabels("hear", threshold=0.5)
    see = TaggerLabels("see", threshold=0.4, renamed=str(run.parent / "map.csv"), prefix="see/")
    names, union = labels_of(run, MachineLabels([hear, see]))
    assert names == (*HEARD, "see/desk")
    both, intersection = labels_of(run, MachineLabels([hear, see], join="intersection"))
    assert both == ("Dog", "Rain")
    for audio, one, other in zip(clips_of(run), union, intersection, strict=True):
        scores = [tagger.scores(Clip(audio)).astype(np.float16) for tagger in TAGGERS]
        heard = told(scores[0], mean=False, threshold=0.5, top=None)
        seen = told(scores[1], mean=False, threshold=0.4, top=None)
        seen_as = [max(seen.get(0, 0), seen.get(1, 0)), seen.get(2, 0)]
        heard_as = [heard.get(number, 0) for number in range(4)]
        expected = [max(h, s) for h, s in zip(heard_as, [*seen_as, 0, 0], strict=True)]
        np.testing.assert_allclose(one, [*expected, seen.get(3, 0)], rtol=1e-6)
        np.testing.assert_allclose(other, np.minimum(heard_as[:2], seen_as), rtol=1e-6)


def test_classes_are_counted_over_the_folds_that_are_looked_at(run):
    plain = TaggerLabels("hear", threshold=0.7)
    names, labels = labels_of(run, MachineLabels([plain]), folds=(1, 2, 3))
    counts = (labels > 0).sum(axis=0)
    assert len(labels) == 9
    least, most = 1 + counts.min(), counts.max() - 1
    kept, _ = labels_of(run, MachineLabels([plain], min_clips=int(least)), folds=(1, 2, 3))
    assert kept == tuple(n for n, count in zip(names, counts, strict=True) if count >= least)
    rule = MachineLabels([plain], max_share=float(most / 9))
    kept, fewer = labels_of(run, rule, folds=(1, 2, 3))
    assert kept == tuple(n for n, count in zip(names, counts, strict=True) if count <= most)
    places = [names.index(name) for name in kept]
    np.testing.assert_array_equal(fewer, labels[:, places])
    # All parts have the same classes, whatever is in them.
    parts = [
        imported(path=str(run), labels=rule, folds=(1, 2, 3), validation_share=0.4, part=part)
        for part in ("train", "validation")
    ]
    assert parts[0].class_names == parts[1].class_names == kept


def test_clips_of_rare_classes_are_repeated_in_training_alone(run):
    rule = MachineLabels([TaggerLabels("hear", threshold=0.9)], repeat_share=0.9)
    _, labels = labels_of(run, rule)
    share = (labels > 0).mean(axis=0)
    expected = [round(max([1.0, *np.sqrt(0.9 / share[row > 0])])) for row in labels]
    assert 1 in expected
    assert max(expected) > 1
    settings = {"path": str(run), "validation_share": 0.0, "labels": rule}
    train = imported(**settings, part="train")
    ids = [each["id"] for each in train.build().as_numpy_iterator()]
    assert ids == [
        f"{n:02d}.wav".encode() for n, times in enumerate(expected) for _ in range(times)
    ]
    assert imported(**settings, part="all").num_clips == CLIPS


def test_patches_that_are_read_by_place_have_the_same_labels(run):
    rule = MachineLabels([TaggerLabels("hear", threshold=0.5)], repeat_share=0.5)
    clips = imported(
        path=str(run), labels=rule, part="train", validation_share=0.0, clip_seconds=0.25
    )
    by_id = {e["id"]: e["labels"] for e in clips.build().as_numpy_iterator()}
    examples = clip_patches(
        ClipExamples(clips), ViewSampler(pairs=("mixture-mixture",), patch_seconds=0.1)
    )
    stream = TrainingStream(examples=examples, batch_size=clips.num_clips, seed=0, num_uniforms=20)
    batch = next(iter(stream.batches(0)))
    ids = [e["id"] for e in clips.build().as_numpy_iterator()]
    for position, row in zip(batch["position"].numpy(), batch["labels"].numpy(), strict=True):
        np.testing.assert_array_equal(row, by_id[ids[position]])
    assert ((batch["labels"].numpy() > 0) & (batch["labels"].numpy() < 1)).any()


def test_other_labels_are_other_examples(run):
    rules = [MachineLabels([TaggerLabels("hear", threshold=t)]) for t in (0.5, 0.6)]
    digests = {imported(path=str(run), labels=rule).digest for rule in rules}
    assert len(digests) == 2
    assert all(digest.startswith(".") for digest in digests)
    assert imported(path=str(run)).digest == ""
    assert imported(path=str(run)).class_names == ("x", "y", "z")


def test_scores_come_with_the_clips_of_folds(run):
    folded = imported_folds(path=str(run), scores_of="hear")
    assert folded.scores is not None
    for audio, row in zip(clips_of(run), folded.scores, strict=True):
        scores = TAGGERS[0].scores(Clip(audio)).astype(np.float16).astype(np.float32)
        np.testing.assert_allclose(row, np.log(scores.mean(axis=0) + 1e-4), rtol=1e-5)
    assert imported_folds(path=str(run)).scores is None


def test_rules_that_do_not_fit_are_told(run, tmp_path):
    def refused(**settings) -> str:
        with pytest.raises(SepconError) as caught:
            labels_of(run, MachineLabels([TaggerLabels(**settings)]))
        return str(caught.value)

    assert "holds no scores of a tagger 'smell', it has hear, see" in refused(tagger="smell")
    told = refused(tagger="hear", without=("silence",))
    assert "has no class 'silence'; did you mean Silence?" in told
    (tmp_path / "map.csv").write_text("a,b\n")
    assert "expected a table with columns from and to" in refused(
        tagger="see", renamed=str(tmp_path / "gone.csv")
    )
    rule = MachineLabels([TaggerLabels("hear")], min_clips=99)
    with pytest.raises(SepconError, match="no class has at least 99 clips"):
        labels_of(run, rule)
    with pytest.raises(SepconError, match="no class is in the vocabularies of all taggers"):
        labels_of(run, MachineLabels([TaggerLabels("hear"), TaggerLabels("see")], "intersection"))
    with pytest.raises(SepconError, match="threshold is 0"):
        TaggerLabels("hear", threshold=0)
    with pytest.raises(SepconError, match="over_frames is 'median'"):
        TaggerLabels("hear", "median")
    with pytest.raises(SepconError, match="min_clips is 0"):
        MachineLabels([TaggerLabels("hear")], min_clips=0)


def test_logits_are_no_probabilities(tmp_path):
    write_audio(tmp_path / "recordings" / "a.wav", 1)
    source: ClipSource = audio_folder(path=str(tmp_path / "recordings"))
    logits = Drawn("hear", HEARD, 0)
    logits.scores = lambda clip: np.full((1, 4), 3.0)  # type: ignore[method-assign]
    import_clips(run_dir=tmp_path / "run", source=source, taggers=[logits], processes=1)
    with pytest.raises(SepconError, match="scores of hear lie in 3 to 3, expected 0 to 1; import"):
        labels_of(tmp_path / "run", MachineLabels([TaggerLabels("hear")]))
