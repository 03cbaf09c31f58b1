"""Streaming of embeddings: statistics, subsets, blocks and training against clips in memory."""

import functools
import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from sepcon.embeddings import shallow
from sepcon.embeddings import sources as embedding_sources
from sepcon.embeddings.archive import read_archive
from sepcon.embeddings.shallow import ShallowSettings, train_shallow_classifier
from sepcon.embeddings.sources import held, nested_subsets, normalised, row_statistics, shards_ahead
from sepcon.embeddings.store import Embeddings, EmbeddingWriter, StoreLayout
from sepcon.embeddings.training_blocks import TrainingBlocks

CLASSES = ("a", "b", "c")


def clips(count=100, dim=5, seed=0, patches=False, rate=0.3):
    random = np.random.default_rng(seed)
    rows = random.integers(1, 4, count).astype(np.int32)
    labels = (random.random((count, len(CLASSES))) < rate).astype(np.uint8)
    size = rows.sum() if patches else count
    embedding = (100 + random.normal(size=(size, dim))).astype(np.float32)
    ids = np.array([f"{seed}-{number}" for number in range(count)])
    return Embeddings(ids, embedding, labels, CLASSES, rows if patches else None)


def store(folder, data, shard_size):
    layout = StoreLayout(
        "d", "m", data.class_names, len(data), shard_size, data.patches is not None
    )
    writer = EmbeddingWriter(folder, layout)
    for shard in range(layout.num_shards):
        part = data.select(np.arange(len(data))[shard * shard_size : (shard + 1) * shard_size])
        arrays = {"ids": part.ids, "embedding": part.embedding, "labels": part.labels}
        writer.write_shard(shard, **arrays, patches=part.patches)
    return writer.finish()


def assert_equal(ours, theirs):
    for name in ("ids", "embedding", "labels", "patches"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("patches", [False, True])
def test_a_store_holds_what_was_written(tmp_path, patches):
    data = clips(patches=patches)
    found = store(tmp_path, data, 7)
    assert_equal(found.load(), data)
    assert sum(found.shard_rows) == len(data.embedding)
    order = [3, 0, 14]
    for shard, number in zip(shards_ahead(found, order), order, strict=True):
        assert_equal(shard, found.shard(number))
    assert_equal(held(found), data)
    assert held(found, max_bytes=100) is found


def test_mean_over_patches_and_selection_by_loops():
    data = clips(20, patches=True)
    pieces = np.split(data.embedding, np.cumsum(data.patches)[:-1])
    means = [piece.astype(np.float64).mean(axis=0) for piece in pieces]
    np.testing.assert_allclose(data.mean_over_patches(data.embedding), means, rtol=1e-6)
    chosen = data.select(np.array([4, 2, 17]))
    np.testing.assert_array_equal(chosen.embedding, np.concatenate([pieces[i] for i in (4, 2, 17)]))
    np.testing.assert_array_equal(
        data.row_labels,
        np.concatenate([[label] * n for label, n in zip(data.labels, data.patches, strict=True)]),
    )
    assert len(data.select(np.zeros(0, int)).embedding) == 0


def test_archives_that_numpy_reads_and_others(tmp_path):
    arrays = {"a": np.arange(12.0).reshape(3, 4), "b": np.array(["x", "yz"]), "c": np.zeros((0, 3))}
    np.savez(tmp_path / "plain.npz", **arrays)
    found = read_archive(tmp_path / "plain.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    with pytest.raises(ValueError, match="compressed"):
        read_archive(tmp_path / "packed.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}]))
    with pytest.raises(ValueError, match="numbers or text"):
        read_archive(tmp_path / "objects.npz")


@pytest.mark.parametrize("patches", [False, True])
@pytest.mark.parametrize("shard_size", [1, 7, 100])
def test_statistics_of_one_pass(tmp_path, patches, shard_size):
    data = clips(patches=patches)
    data.embedding[:, 2] = 3.0
    found = row_statistics(store(tmp_path, data, shard_size))
    exact = data.embedding.astype(np.float64)
    deviation = exact.std(axis=0)
    deviation[2] = 1.0
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(found.deviation, deviation, rtol=1e-6)
    np.testing.assert_array_equal(found.label_rows, data.row_labels.sum(axis=0))
    assert found.rows == len(exact)


def test_normalised_store_is_the_normalised_clips(tmp_path):
    data = clips()
    scale = {"mean": np.arange(5, dtype=np.float32), "deviation": np.full(5, 2, np.float32)}
    in_memory = normalised(data, **scale).embedding
    np.testing.assert_array_equal(
        held(normalised(store(tmp_path, data, 9), **scale)).embedding, in_memory
    )
    np.testing.assert_array_equal(in_memory, (data.embedding - scale["mean"]) / scale["deviation"])


@pytest.mark.parametrize("patches", [False, True])
def test_few_labels_are_nested_seeded_and_enough(tmp_path, patches, monkeypatch):
    data = clips(400, patches=patches, rate=np.array([0.3, 0.05, 0.01]))
    counts = (3, 10, 50)
    subsets = nested_subsets(data, clips_per_class=counts, seed=1)
    random_order = np.argsort(np.random.default_rng(1).random(400))
    for count, subset in subsets.items():
        ranked = [[i for i in random_order if data.labels[i, c]][:count] for c in range(3)]
        expected = data.select(np.array(sorted(set(itertools.chain(*ranked)))))
        assert_equal(held(subset), expected)
        assert len(subset) == len(expected)
        assert sum(subset.shard_rows) == len(expected.embedding)
        enough = np.minimum(count, data.labels.sum(axis=0))
        assert (held(subset).labels.sum(axis=0) >= enough).all()
    found = [set(held(subsets[count]).ids) for count in counts]
    assert found[0] < found[1] < found[2]
    monkeypatch.setattr(embedding_sources, "_MOST_CANDIDATES", 5)
    streamed = nested_subsets(store(tmp_path, data, 13), clips_per_class=counts, seed=1)
    for count in counts:
        assert_equal(held(streamed[count]), held(subsets[count]))
    other = nested_subsets(data, clips_per_class=(3,), seed=2)
    assert set(held(other[3]).ids) != found[0]


def numbered(count, seed=0):
    """Clips whose embedding is their number."""
    data = clips(count, 1, seed)
    return Embeddings(
        data.ids, np.arange(count, dtype=np.float32)[:, np.newaxis], data.labels, CLASSES
    )


def epoch(blocks, random):
    """Numbers of the clips in the order of their use; checks that the labels are theirs."""
    rows = []
    for block in blocks.epoch(random):
        rows.append(block.inputs[block.batches].reshape(-1))
        labels = block.targets[block.batches].reshape(-1, len(CLASSES))
        np.testing.assert_array_equal(labels, DATA.labels[rows[-1].astype(int)])
        assert block.batches.shape[1] == 8
    return np.concatenate(rows).astype(int)


DATA = numbered(203)


def test_blocks_take_every_clip_once_in_an_order_of_the_seed(tmp_path):
    source = store(tmp_path, DATA, 10)
    arguments = {"label_rows": DATA.labels.sum(axis=0), "batch_size": 8, "max_bytes": 7 * 45}
    orders = []
    for _ in range(2):
        random = np.random.default_rng(5)
        blocks = TrainingBlocks(source, **arguments)
        orders.append([epoch(blocks, random) for _ in range(3)])
    np.testing.assert_array_equal(orders[0], orders[1])
    for order in orders[0]:
        assert len(order) == 200  # 203 clips in batches of 8
        assert len(set(order)) == 200
    assert len({tuple(order) for order in orders[0]}) == 3
    assert len({frozenset(range(203)) - set(order) for order in orders[0]}) > 1
    # Nearly all of the order is in it: neither shards nor clips of a shard stay together.
    assert np.corrcoef(np.arange(200), orders[0][0])[0, 1] < 0.3


def test_clips_in_memory_are_shuffled_as_a_whole():
    blocks = TrainingBlocks(DATA, label_rows=DATA.labels.sum(axis=0), batch_size=8)
    order = epoch(blocks, np.random.default_rng(3))
    np.testing.assert_array_equal(order, np.random.default_rng(3).permutation(203)[:200])


@pytest.mark.parametrize("in_memory", [True, False])
def test_balanced_sampling_draws_in_proportion_to_rarity(tmp_path, in_memory):
    label_rows = DATA.labels.sum(axis=0)
    source = DATA if in_memory else store(tmp_path, DATA, 40)
    blocks = TrainingBlocks(
        source, label_rows=label_rows, batch_size=8, sampling="class_balanced", max_bytes=2 * 40 * 7
    )
    random = np.random.default_rng(0)
    drawn = np.bincount(np.concatenate([epoch(blocks, random) for _ in range(300)]), minlength=203)
    weights = (DATA.labels / label_rows).sum(axis=1)
    expected = weights / weights.sum() * drawn.sum()
    assert (drawn[weights == 0] == 0).all()
    assert drawn.sum() > 300 * 203 * 0.95
    np.testing.assert_allclose(drawn, expected, atol=6 * np.sqrt(expected.max()))


def learnable(count, seed, patches=False):
    """Two classes that are directions, the third their exclusive or."""
    random = np.random.default_rng(seed)
    factors = random.choice([-1.0, 1.0], size=(count, 2))
    labels = np.stack([factors[:, 0] > 0, factors[:, 1] > 0, factors.prod(axis=1) > 0], axis=1)
    rows = random.integers(1, 4, count).astype(np.int32) if patches else np.ones(count, np.int32)
    mixing = np.random.default_rng(99).normal(size=(2, 20))
    factors = factors.repeat(rows, axis=0)
    embedding = factors @ mixing + 0.4 * random.normal(size=(len(factors), 20)) + 5
    ids = np.array([f"{seed}-{number}" for number in range(count)])
    return Embeddings(
        ids,
        embedding.astype(np.float32),
        labels.astype(np.uint8),
        CLASSES,
        rows if patches else None,
    )


@pytest.mark.parametrize("patches", [False, True])
@pytest.mark.parametrize("sampling", ["plain", "class_balanced"])
def test_streamed_training_learns_as_much(tmp_path, monkeypatch, patches, sampling):
    train, validation, test = (learnable(n, i, patches) for i, n in enumerate((600, 200, 200)))
    settings = ShallowSettings(hidden_units=32, max_epochs=40, batch_size=32, sampling=sampling)
    whole = train_shallow_classifier(train=train, validation=validation, settings=settings)
    stores = [store(tmp_path / str(i), c, 50) for i, c in enumerate((train, validation, test))]
    monkeypatch.setattr(shallow, "held", lambda source: source)
    monkeypatch.setattr(
        shallow, "TrainingBlocks", functools.partial(TrainingBlocks, max_bytes=250 * 83)
    )
    streamed = train_shallow_classifier(train=stores[0], validation=stores[1], settings=settings)
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(streamed.deviation, whole.deviation, rtol=1e-6)
    for classifier in (whole, streamed):
        scores = classifier.predict_clips(test)
        np.testing.assert_allclose(classifier.predict_clips(stores[2]), scores, atol=1e-6)
        assert average_precision_score(test.labels, scores, average="macro") > 0.95
    again = train_shallow_classifier(train=stores[0], validation=stores[1], settings=settings)
    for ours, theirs in zip(again.weights, streamed.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_score_of_a_clip_is_the_mean_of_its_patches():
    train = learnable(100, 0, patches=True)
    settings = ShallowSettings(hidden_units=8, max_epochs=2, batch_size=32)
    classifier = train_shallow_classifier(train=train, validation=train, settings=settings)
    pieces = np.split(train.embedding, np.cumsum(train.patches)[:-1])
    expected = [classifier.predict(piece).mean(axis=0) for piece in pieces]
    scores = classifier.predict_clips(train)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    history = classifier.validation_mean_average_precision
    reached = average_precision_score(train.labels, scores, average="macro")
    assert reached == pytest.approx(history[classifier.best_epoch], abs=1e-6)


def test_bad_sampling_is_named():
    with pytest.raises(ValueError, match="sampling='none' must be one of plain, class_balanced"):
        ShallowSettings(sampling="none")
