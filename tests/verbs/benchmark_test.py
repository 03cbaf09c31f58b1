"""The benchmark from clips to table, with each number recomputed by scikit-learn."""

import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import json
from collections import defaultdict

import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import write_run
from scipy.stats import norm
from separator_stub import write_separator_run
from sklearn.metrics import (
    average_precision_score,
    label_ranking_average_precision_score,
    roc_auc_score,
)

import sepcon.embeddings.benchmark
import sepcon.embeddings.measure
import sepcon.embeddings.splits
import sepcon.verbs.benchmark
from sepcon.data.clips import ClipDataset
from sepcon.embeddings import shallow
from sepcon.embeddings.benchmark import benchmark_embeddings
from sepcon.embeddings.embedder import Embedder
from sepcon.embeddings.shallow import ShallowSettings, train_shallow_classifier
from sepcon.embeddings.store import EmbeddingStore
from sepcon.errors import SepconError
from sepcon.models.products.channel_embedding import Channels

CLASSES = ("low", "high", "never in test")
SMALL = {
    "classifier": ShallowSettings(hidden_units=16, max_epochs=10, batch_size=32),
    "linear_probe": ShallowSettings(hidden_units=None, max_epochs=10, batch_size=32),
    "num_classifiers": 2,
    "bootstrap_resamples": 50,
}


def benchmark(run_dir, **arguments):
    return sepcon.verbs.benchmark.benchmark(
        run_dir=run_dir, measure=functools.partial(benchmark_embeddings, **arguments)
    )


def dataset(name, num_clips, seed, rare=True, names=CLASSES):
    """Clips of two tones in noise: each class is one of them; the third is there by chance."""
    random = np.random.default_rng(seed)
    seconds = np.arange(8800) / 16000
    tones = np.stack([np.sin(2 * np.pi * hz * seconds) for hz in (300, 3000)])
    labels = (random.uniform(size=(num_clips, 3)) < [0.5, 0.5, 0.3 * rare]).astype(np.float32)
    gains = labels[:, :2] * random.uniform(100, 900, size=(num_clips, 2))
    audio = 1000 * random.normal(size=(num_clips, 8800)) + gains @ tones
    ids = [f"{name}-{number}" for number in range(num_clips)]
    build = tf.data.Dataset.from_tensor_slices(
        {"id": ids, "audio": audio.astype(np.int16), "labels": labels}
    )
    return ClipDataset(
        name=name,
        num_clips=num_clips,
        sample_rate_hz=16000,
        class_names=names,
        clip_samples=8800,
        build=lambda: build,
    )


@pytest.fixture(scope="module")
def splits():
    return {
        "train": dataset("train", 150, 0),
        "validation": dataset("validation", 60, 1),
        "test": dataset("test", 80, 2, rare=False),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


def halves(waveform):
    """A rough spectrum: energy of the sum and of the difference of neighbouring samples."""
    slow = tf.reduce_mean((waveform[:, 1:] + waveform[:, :-1]) ** 2, axis=1)
    fast = tf.reduce_mean((waveform[:, 1:] - waveform[:, :-1]) ** 2, axis=1)
    return tf.math.log(tf.stack([slow, fast], axis=1) + 1e-6)


@pytest.fixture(scope="module")
def finished_and_printed(splits, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    models = {"stub encoder": run, "halves": [Embedder("halves", halves)] * 2}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        rows = benchmark(run_dir=folder, models=models, seeds=(0, 1), **splits, **SMALL)
    return folder, rows, printed.getvalue()


@pytest.fixture(scope="module")
def finished(finished_and_printed):
    return finished_and_printed[:2]


def test_rows_are_baselines_and_models_by_seed(finished):
    folder, rows = finished
    names = ["log-mel statistics", "untrained encoder", "stub encoder", "halves"]
    assert [(row["name"], row["seed"]) for row in rows] == [(n, s) for n in names for s in (0, 1)]
    assert json.loads((folder / "results.json").read_text()) == rows
    for row in rows:
        assert row["mAP_low"] <= row["mAP"] <= row["mAP_high"]
        for key in ("d_prime", "AUC", "lwlrap"):
            assert row[f"{key}_low"] <= row[key] <= row[f"{key}_high"]
        assert 0.2 < row["retrieval_chance"] < 0.5
        assert row["retrieval_chance"] - 0.1 < row["retrieval_mAP"] < 1
        assert row["patches_per_clip"] == 1
        assert row["num_test_clips"] == 80
        assert row["num_classes"] == 2
        assert row["classes_left_out"] == 1
        assert row["seconds"] >= 0
    # Every other clip has each tone: a blind embedding would get about 0.5.
    assert min(row["mAP"] for row in rows) > 0.65


def test_numbers_are_those_of_scikit_learn_on_the_stored_embeddings(finished):
    folder, rows = finished
    row = rows[-1]
    stores = {}
    for index in folder.glob("embeddings/*/*/index.json"):
        store = EmbeddingStore(index.parent)
        if store.layout.model == "halves":
            stores[index.parent.name] = store.load()
    assert set(stores) == {"train", "validation", "test"}
    test = stores["test"]
    found = defaultdict(list)
    for prefix, settings in (("", SMALL["classifier"]), ("linear_", SMALL["linear_probe"])):
        for seed in (2, 3):  # row seed 1, two classifiers each
            classifier = train_shallow_classifier(
                train=stores["train"], validation=stores["validation"], settings=settings, seed=seed
            )
            scores = classifier.predict(test.embedding)[:, :2]
            targets = test.labels[:, :2]
            precision = average_precision_score(targets, scores, average="macro")
            auc = np.array([roc_auc_score(targets[:, c], scores[:, c]) for c in range(2)])
            assert (auc < 1).all()
            found[prefix + "mAP"].append(precision)
            found[prefix + "d_prime"].append(np.mean(np.sqrt(2) * norm.ppf(auc)))
            if not prefix:
                weight = test.labels.sum(axis=1)
                all_scores = classifier.predict(test.embedding)
                found["AUC"].append(auc.mean())
                found["lwlrap"].append(
                    label_ranking_average_precision_score(
                        test.labels, all_scores, sample_weight=weight
                    )
                )
    expected = {key: np.mean(values) for key, values in found.items()}
    expected["mAP_deviation"] = np.std(found["mAP"])
    assert expected["mAP_deviation"] > 0
    for key, value in expected.items():
        assert row[key] == pytest.approx(value, abs=1e-6), key


def test_table_of_classes(finished, splits):
    folder, rows = finished
    with open(folder / "per_class.csv") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) * 3
    mine = [line for line in table if line["name"] == "halves" and line["seed"] == "1"]
    counts = sum(clip["labels"] for clip in splits["test"].build().as_numpy_iterator())
    supports = dict(zip(CLASSES, counts.astype(int), strict=True))
    assert {line["class"]: int(line["positive_test_clips"]) for line in mine} == supports
    ordered = [supports[line["class"]] for line in mine]
    assert ordered == sorted(supports.values(), reverse=True)
    assert ordered[0] > ordered[1]
    mean = np.mean([float(line["average_precision"]) for line in mine[:2]])
    assert mean == pytest.approx(rows[-1]["mAP"])
    assert mine[2]["average_precision"] == "nan"


def test_printed_table_has_a_line_for_each_row(finished_and_printed):
    _, rows, printed = finished_and_printed
    lines = printed.splitlines()
    assert len(lines) == 2 + len(rows)
    assert "mAP" in lines[0]
    assert f"{rows[-1]['mAP']:.3f}" in lines[-1]
    assert "halves" in lines[-1]


def test_rows_of_one_model_share_its_embeddings(finished):
    folder, _ = finished
    # log-mel statistics, two untrained encoders, the stub, halves.
    assert len(list((folder / "embeddings").iterdir())) == 5


def test_second_start_changes_nothing(finished, splits, run, capsys):
    folder, rows = finished
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    again = benchmark(run_dir=folder, models={"stub encoder": run}, **splits, **SMALL)
    assert again == rows
    assert "nothing to do" in capsys.readouterr().err
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_clean_clips_are_probed_where_there_are_any(splits, tmp_path, capsys):
    arguments = {"models": {"halves": Embedder("halves", halves)}, "baselines": (), **SMALL}
    clean = {role: dataset(f"clean {role}", 80, 10 + seed) for seed, role in enumerate(splits)}
    (row,) = benchmark(run_dir=tmp_path, clean_clips=clean, **splits, **arguments)
    assert row["num_clean_test_clips"] == 80
    assert row["clip_accuracy_low"] <= row["clip_accuracy"] <= row["clip_accuracy_high"]
    assert row["clip_accuracy"] > 0.6
    assert {path.name for path in tmp_path.glob("embeddings/*/*")} == {*splits, *(
        f"clean_{role}" for role in splits)}  # fmt: skip
    printed = capsys.readouterr().out
    assert "clean clips" in printed
    assert f"{row['clip_accuracy']:.3f}" in printed
    clean["test"] = dataset("other", 20, 2, names=("a", "b", "c"))
    with pytest.raises(SepconError, match=r"test clips .* differ in their classes"):
        benchmark(run_dir=tmp_path / "b", clean_clips=clean, **splits, **arguments)


def test_killed_run_goes_on_with_the_same_result(splits, tmp_path, monkeypatch):
    arguments = {"models": {"halves": Embedder("halves", halves)}, "baselines": (), **SMALL}
    whole = benchmark(run_dir=tmp_path / "whole", **splits, **arguments)
    with monkeypatch.context() as patch:

        def kill(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(sepcon.embeddings.benchmark, "measure", kill)
        with pytest.raises(KeyboardInterrupt):
            benchmark(run_dir=tmp_path / "killed", **splits, **arguments)
    assert not (tmp_path / "killed" / "results.json").exists()

    def never(waveform):
        raise AssertionError("embedded again")

    arguments["models"] = {"halves": Embedder("halves", never)}
    resumed = benchmark(run_dir=tmp_path / "killed", **splits, **arguments)
    for row in (*whole, *resumed):
        row.pop("seconds")
    assert resumed == whole


def test_which_clips_were_tested_is_written_down(finished, splits, tmp_path):
    folder, rows = finished
    content = (folder / "test_ids.txt").read_bytes()
    assert content.decode().split() == sorted(f"test-{number}" for number in range(80))
    assert {row["test_ids_sha256"] for row in rows} == {hashlib.sha256(content).hexdigest()}
    assert {row["num_missing_test_clips"] for row in rows} == {None}
    test = dataclasses.replace(splits["test"], left_out={"test-80": "not downloaded"})
    arguments = {"models": {"halves": Embedder("halves", halves)}, "baselines": (), **SMALL}
    [row] = benchmark(run_dir=tmp_path, **{**splits, "test": test}, **arguments)
    assert row["num_missing_test_clips"] == 1
    assert (tmp_path / "missing_test_ids.csv").read_text() == "id,reason\ntest-80,not downloaded\n"


def thirds(waveform):
    """`halves` of each third of the clip, as an encoder gives its patches."""
    patches = tf.stack([halves(part) for part in tf.split(waveform[:, :8799], 3, axis=1)], axis=1)
    return {"embedding": tf.reduce_mean(patches, axis=1), "patch_embedding": patches}


def test_patches_are_learned_from_and_the_score_is_their_mean(splits, tmp_path):
    [row] = benchmark(
        run_dir=tmp_path,
        models={"thirds": Embedder("thirds", thirds)},
        baselines=(),
        clip_score="mean_patch_score",
        **splits,
        **SMALL,
    )
    assert (row["patches_per_clip"], row["clip_score"]) == (3, "mean_patch_score")
    stores = {
        index.parent.name: EmbeddingStore(index.parent).load()
        for index in tmp_path.glob("embeddings/*/*/index.json")
    }
    test = stores["test"]
    assert test.embedding.shape == (3 * 80, 2)
    precisions = []
    for seed in (0, 1):
        classifier = train_shallow_classifier(
            train=stores["train"],
            validation=stores["validation"],
            settings=SMALL["classifier"],
            seed=seed,
        )
        scores = classifier.predict(test.embedding).reshape(80, 3, 3).mean(axis=1)
        precisions.append(average_precision_score(test.labels[:, :2], scores[:, :2]))
    assert row["mAP"] == pytest.approx(np.mean(precisions), abs=1e-6)


def test_few_labels_from_a_store_that_is_streamed(splits, tmp_path, monkeypatch):
    arguments = {"models": {"halves": Embedder("halves", halves)}, "baselines": (), **SMALL}
    arguments |= {"clips_per_class": (5, 40), "shard_size": 40}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        [row] = benchmark(run_dir=tmp_path / "held", **splits, **arguments)
    assert 5 <= row["num_train_clips_at_5"] <= 15
    assert row["num_train_clips_at_5"] < row["num_train_clips_at_40"] < row["num_train_clips"]
    assert 0.3 < row["mAP_at_5"] <= 1
    assert row["d_prime_at_40"] > 0
    assert "40 a class" in printed.getvalue().splitlines()[0]
    for module in (sepcon.embeddings.splits, sepcon.embeddings.measure, shallow):
        monkeypatch.setattr(module, "held", lambda source: source)
    [streamed] = benchmark(run_dir=tmp_path / "streamed", **splits, **arguments)
    for key in ("num_train_clips_at_5", "retrieval_mAP", "test_ids_sha256", "embedding_size"):
        assert streamed[key] == row[key]
    assert streamed["mAP"] == pytest.approx(row["mAP"], abs=0.1)


def test_baselines_need_no_model_but_a_reference(splits, run, tmp_path):
    rows = benchmark(
        run_dir=tmp_path / "a",
        models={},
        baselines=("log_mel_statistics",),
        reference=run,
        **splits,
        **SMALL,
    )
    assert [row["name"] for row in rows] == ["log-mel statistics"]
    assert rows[0]["embedding_size"] == 32  # mean and deviation of the 16 bands of the reference
    with pytest.raises(SepconError, match="set `reference`"):
        benchmark(run_dir=tmp_path / "b", models={}, **splits, **SMALL)


def test_a_test_part_in_which_one_class_can_be_scored_says_so(splits, tmp_path, capsys):
    kept = splits["test"].build().map(lambda clip: {**clip, "labels": clip["labels"] * [1, 0, 0]})
    low = dataclasses.replace(splits["test"], build=lambda: kept)
    (row,) = benchmark(
        run_dir=tmp_path,
        models={"halves": Embedder("halves", halves)},
        baselines=(),
        **{**splits, "test": low},
        **SMALL,
    )
    assert row["num_classes"] == 1
    said = capsys.readouterr().err
    assert "of 3 classes only low can be scored with the 80 test clips; bind other clips" in said


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_separator_in_front_of_a_model_is_a_further_row(splits, run, tmp_path, pooling):
    separator = write_separator_run(tmp_path / "separator")
    channels = Channels(separator, pooling=pooling, audible_share=0.8)
    rows = benchmark(
        run_dir=tmp_path / "out",
        models={"stub": run},
        baselines=(),
        channels=channels,
        clips_per_class=(20,),
        **splits,
        **SMALL,
    )
    assert [row["name"] for row in rows] == ["stub", "stub, with channels"]
    assert [row["embedding_size"] for row in rows] == [8, 16]
    assert all(row["mAP"] > 0.5 and "mAP_at_20" in row for row in rows)
    stores = {
        store.layout.model: store.load().embedding
        for store in map(EmbeddingStore, tmp_path.glob("out/embeddings/*/test"))
    }
    alone, beside = sorted(stores.values(), key=lambda each: each.shape[1])
    np.testing.assert_allclose(beside[:, :8], alone, atol=1e-5)
    assert beside.shape[1] == (16 if pooling == "mean" else 8 + 3 * 9)


def test_a_separator_goes_in_front_of_encoders_alone(splits, run, tmp_path):
    separator = write_separator_run(tmp_path / "separator")

    def start(model, **changes):
        arguments = {"channels": Channels(separator), "baselines": (), **splits, **SMALL}
        benchmark(run_dir=tmp_path / "out", models={"it": model}, **(arguments | changes))

    with pytest.raises(SepconError, match="'it, with channels': a separator is put in front"):
        start(Embedder("halves", halves))
    with pytest.raises(SepconError, match="holds no separator"):
        start(run, channels=Channels(tmp_path / "nowhere"))
    short = Channels(separator, pooling="attention", window_seconds=0.5)
    with pytest.raises(SepconError, match=r"in one window of 0.5 s, but train has 0.55 s"):
        start(run, channels=short)
    assert not (tmp_path / "out").exists()


def test_bad_requests_are_named(splits, run, tmp_path):
    def start(models=None, **changes):
        models = {"stub": run} if models is None else models
        benchmark(run_dir=tmp_path / "out", models=models, **{**splits, **SMALL, **changes})

    with pytest.raises(SepconError, match=r"test clips .* differ in their classes: their order"):
        start(test=dataset("test", 20, 2, names=("high", "low", "never in test")))
    with pytest.raises(SepconError, match="'other'"):
        start(validation=dataset("v", 20, 2, names=("low", "high", "other")))
    with pytest.raises(SepconError, match="no labels"):
        start(train=dataset("t", 20, 2, names=()))
    with pytest.raises(SepconError, match="holds no encoder"):
        start({"stub": run, "gone": tmp_path / "gone"})
    with pytest.raises(SepconError, match="2 models for 1 seeds"):
        start({"stub": [run, run]})
    with pytest.raises(SepconError, match="unknown baseline 'random'"):
        start(baselines=("random",))
    with pytest.raises(SepconError, match="same name"):
        start({"untrained encoder": run})
    with pytest.raises(SepconError, match="nothing to measure"):
        start(seeds=())
    own = {"halves": Embedder("halves", halves)}
    with pytest.raises(SepconError, match=r"150 clips are in both train and test"):
        start(own, baselines=(), test=dataclasses.replace(splits["train"], name="test"))
    quiet = dataset("quiet", 4, 3)
    nothing = quiet.build().map(lambda clip: {**clip, "labels": 0 * clip["labels"]})
    quiet = dataclasses.replace(quiet, build=lambda: nothing)
    own = {"halves": Embedder("others", halves)}
    with pytest.raises(SepconError, match=r"holds 4 clips of 0 classes \(no labels\).*TEST_FOLDS"):
        start(own, baselines=(), test=quiet)
    with pytest.raises(SepconError, match=r"\(one\) holds 1 clip, .*bind other clips.*TEST_SHARE"):
        start(own, test=dataset("one", 1, 3))
    high = nothing.map(lambda clip: {**clip, "labels": tf.constant([0.0, 1.0, 0.0])})
    alike = dataclasses.replace(quiet, build=lambda: high)
    own = {"halves": Embedder("of one class", halves)}
    with pytest.raises(SepconError, match=r"holds 4 clips of 1 class \(high\): .*TEST_FOLDS"):
        start(own, baselines=(), test=alike)
    with pytest.raises(ValueError, match=r"clips_per_class=\(5, 0\)"):
        start(clips_per_class=(5, 0))
    with pytest.raises(ValueError, match="clip_score='max' must be one of"):
        start(clip_score="max")
    assert not (tmp_path / "out" / "results.json").exists()
