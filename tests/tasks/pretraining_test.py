"""The pretraining task: its losses put together by hand, two devices against one, and training."""

import json
import os
import subprocess
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.models.encoders import small_cnn
from sepcon.tasks.batch_views import recalibrate
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.pretraining import PretrainingTask, SimilarityAndCoincidence
from sepcon.views.augment import RandomEqualization, SpecAugment
from sepcon.views.sampler import ViewSampler
from sepcon.views.separator_front_end import SeparatorFrontEnd

SAMPLES = 8000
LOG_MEL = LogMel(num_mels=32)
SAMPLER = ViewSampler(pairs=("mixture-channel",), patch_seconds=0.3)


OF_OBJECTIVE = {"similarity_weight", "coincidence_weight", "temperature"}


def task_for(**settings) -> PretrainingTask:
    """Similarity alone unless weights are given; the other settings are of the views."""
    keras.utils.set_random_seed(3)
    encoder = small_cnn(embedding_size=32, num_mels=32)
    of_objective = {key: settings.pop(key) for key in OF_OBJECTIVE & set(settings)}
    objective = SimilarityAndCoincidence(
        **({"projection_size": 16, "coincidence_weight": 0.0} | of_objective)
    )
    views = LogMelViews(**({"log_mel": LOG_MEL, "sampler": SAMPLER} | settings))
    return PretrainingTask(encoder=encoder, views=views, objective=objective)


def batch_for(task: PretrainingTask, size: int = 8, seed: int = 0) -> dict[str, tf.Tensor]:
    """Noises of their own colour each, split into two channels."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(size, 2, SAMPLES + 30))
    filters = rng.normal(size=(size, 2, 31))
    channels = [
        [np.convolve(noise[i, m], filters[i, m], mode="valid") for m in range(2)]
        for i in range(size)
    ]
    channels = np.array(channels)[..., :SAMPLES] * 600.0
    channels = np.clip(channels, -16000, 16000).astype(np.int16)
    return {
        "audio": tf.constant(channels.sum(axis=1, dtype=np.int16)),
        "channels": tf.constant(channels),
        "uniforms": tf.constant(rng.random((size, task.num_uniforms), np.float32)),
        "state_uniform": tf.constant(rng.random(size, np.float32)),
    }


def start_of(uniform: float) -> int:
    """Where a patch of 4800 samples begins, a multiple of 400."""
    return 400 * int(uniform * ((SAMPLES - 4800) // 400 + 1))


def softplus(x):
    return np.logaddexp(0.0, x)


def expected_losses(task, embeddings, temperature):
    """Both losses in numpy, from the embeddings [2 * batch, dim] of a training pass."""
    rows = len(embeddings) // 2
    z = task.model.projection(embeddings, training=True).numpy().astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    similarity = 0.0
    for i in range(2 * rows):
        partner = (i + rows) % (2 * rows)
        others = [z[i] @ z[j] / temperature for j in range(2 * rows) if j != i]
        similarity += np.log(np.sum(np.exp(others))) - z[i] @ z[partner] / temperature
    logits = task.model.coincidence(embeddings[:rows], embeddings[rows:]).numpy()
    coincidence = 0.0
    for i in range(rows):
        coincidence += softplus(-logits[i, i])
        coincidence += sum(softplus(logits[i, j]) for j in range(rows) if j != i) / (rows - 1)
    return similarity / (2 * rows), coincidence / rows


def test_losses_equal_formulas_on_patches_cut_by_hand():
    task = task_for(similarity_weight=0.5, coincidence_weight=2.0, temperature=0.3)
    batch = batch_for(task)
    uniforms = batch["uniforms"].numpy()
    length = 4800
    patches = {"anchor": [], "positive": []}
    for i, row in enumerate(uniforms):
        mixture = batch["audio"].numpy()[i] / 32768.0
        channels = batch["channels"].numpy()[i] / 32768.0
        first, second = start_of(row[1]), start_of(row[2])
        patches["anchor"].append(mixture[first : first + length])
        cut = channels[:, second : second + length]
        energy = np.square(cut).sum(axis=-1)
        audible = np.flatnonzero(energy >= 0.1 * energy.max())
        patches["positive"].append(cut[audible[int(row[4] * len(audible))]])
    waveforms = np.array(patches["anchor"] + patches["positive"], np.float32)
    embeddings = task.model.encoder(LOG_MEL(waveforms), training=True).numpy()
    similarity, coincidence = expected_losses(task, embeddings, 0.3)

    results = task.loss(batch, training=True)
    assert float(results["similarity_loss"]) == pytest.approx(similarity, rel=1e-4)
    assert float(results["coincidence_loss"]) == pytest.approx(coincidence, rel=1e-4)
    assert float(results["loss"]) == pytest.approx(0.5 * similarity + 2.0 * coincidence, rel=1e-4)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosine = np.mean(np.sum(unit[:8] * unit[8:], axis=1))
    assert float(results["positive_cosine"]) == pytest.approx(cosine, rel=1e-4)
    deviation = np.sqrt(unit[:8].var(axis=0).sum())
    assert float(results["embedding_deviation"]) == pytest.approx(deviation, rel=1e-3)


@pytest.mark.parametrize("left_out", ["similarity", "coincidence"])
def test_a_weight_of_zero_leaves_out_loss_and_head(left_out):
    weights = {"similarity_weight": 1.0, "coincidence_weight": 1.0} | {f"{left_out}_weight": 0.0}
    task = task_for(**weights)
    head = {"similarity": task.model.projection, "coincidence": task.model.coincidence}
    assert head.pop(left_out) is None
    (kept,) = head.values()
    assert len(task.model.variables) == len(task.model.encoder.variables) + len(kept.variables)
    results = task.loss(batch_for(task), training=True)
    assert f"{left_out}_loss" not in results
    assert np.isfinite(results["loss"])


def test_graph_with_unknown_batch_equals_eager():
    task = task_for(
        coincidence_weight=1.0,
        anchor_augmentations=(SpecAugment(),),
        positive_augmentations=(RandomEqualization(), SpecAugment()),
    )
    batch = batch_for(task)
    spec = {k: tf.TensorSpec([None, *v.shape[1:]], v.dtype) for k, v in batch.items()}
    traced = tf.function(
        lambda b: task.loss(b, training=False), autograph=False, input_signature=[spec]
    )
    eager = task.loss(batch, training=False)
    for name, value in traced(batch).items():
        assert float(value) == pytest.approx(float(eager[name]), rel=1e-4, abs=1e-5), name


def test_anchors_and_positives_get_their_own_augmentations():
    plain = task_for(positive_augmentations=(RandomEqualization(),))
    batch = batch_for(plain)
    changed = plain.views(batch)
    uniforms = batch["uniforms"]
    bare = task_for()
    original = bare.views(batch | {"uniforms": uniforms[:, : bare.num_uniforms]})
    np.testing.assert_array_equal(changed.anchor, original.anchor)
    own = uniforms[:, bare.num_uniforms :]
    np.testing.assert_array_equal(changed.positive, RandomEqualization()(original.positive, own))


def test_front_end_makes_the_channels_that_would_be_read():
    def halves(mixture: tf.Tensor) -> tf.Tensor:
        return tf.stack([0.5 * mixture, 0.5 * mixture], axis=1)

    made = task_for(front_end=SeparatorFrontEnd([halves]))
    read = task_for()
    batch = batch_for(made)
    audio = batch["audio"] // 2 * 2  # even, so that a half is an integer
    batch |= {"audio": audio, "channels": tf.stack([audio // 2, audio // 2], axis=1)}
    from_disk = read.views(batch)
    batch.pop("channels")
    on_the_fly = made.views(batch)
    np.testing.assert_array_equal(on_the_fly.positive, from_disk.positive)


def test_missing_channels_are_named():
    task = task_for()
    batch = batch_for(task)
    del batch["channels"]
    with pytest.raises(ValueError, match="need channels"):
        task.loss(batch, training=True)


@pytest.mark.parametrize(
    "bad, names",
    [
        ({"similarity_weight": 0.0}, "similarity_weight"),
        ({"coincidence_weight": -1.0}, "coincidence_weight"),
        ({"temperature": 0.0}, "temperature"),
        ({"sampler": ViewSampler(sample_rate_hz=8000)}, "sample_rate_hz"),
    ],
)
def test_bad_settings_are_named(bad, names):
    with pytest.raises(ValueError, match=names):
        task_for(**bad)


def test_summaries_hold_pictures_and_sound():
    task = task_for()
    summaries = task.summaries(batch_for(task))
    assert set(summaries.audio) == {"mixture", "channel_0", "channel_1"}
    mixture, rate = summaries.audio["mixture"]
    assert (mixture.shape, rate) == ((4, SAMPLES), 16000)
    total = summaries.audio["channel_0"][0] + summaries.audio["channel_1"][0]
    np.testing.assert_allclose(total, mixture, atol=1e-6)
    frames = LOG_MEL.num_frames(SAMPLER.patch_samples)
    for picture in summaries.images.values():
        assert picture.shape == (4, 32, frames, 1)
        assert 0.0 <= np.min(picture) < 0.1 < 0.9 < np.max(picture) <= 1.0


def test_recalibration_takes_statistics_of_unaugmented_mixtures():
    task = task_for(anchor_augmentations=(RandomEqualization(max_level_drop=9.0),))
    batch = batch_for(task)
    assert recalibrate(task.model.encoder, task.views, [batch]) == 1
    starts = [start_of(uniform) for uniform in batch["uniforms"].numpy()[:, 1]]
    cut = [
        clip[start : start + 4800] / np.float32(32768)
        for clip, start in zip(batch["audio"].numpy(), starts, strict=True)
    ]
    expected = np.mean(LOG_MEL(np.array(cut, np.float32)), axis=(0, 1))
    norm = task.model.encoder.get_layer("normalize_mels")
    np.testing.assert_allclose(norm.moving_mean, expected, atol=1e-3)


def test_training_lowers_the_loss():
    task = task_for(coincidence_weight=1.0, anchor_augmentations=(SpecAugment(),))
    variables = task.model.trainable_variables
    optimizer = keras.optimizers.Adam(2e-3)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(batch):
        with tf.GradientTape() as tape:
            results = task.loss(batch, training=True)
        gradients = tape.gradient(results["loss"], variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply(gradients, variables)
        return results

    history = [step(batch_for(task, size=16, seed=seed)) for seed in range(60)]
    for name, share in (("similarity_loss", 0.85), ("coincidence_loss", 0.92)):
        first, last = (np.mean([h[name] for h in part]) for part in (history[:5], history[-5:]))
        assert last < share * first, name
    accuracy = [float(h["contrastive_accuracy"]) for h in history]
    assert np.mean(accuracy[-5:]) > np.mean(accuracy[:5])


# Logical devices must be made before TensorFlow starts, so this runs in a process of its own. It
# prints what one device finds on the global batch and what two find on halves of it.
TWO_DEVICES = """
    import json, sys
    import numpy as np, tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    sys.path.insert(0, sys.argv[1])
    from pretraining_test import SpecAugment, batch_for, task_for
    from sepcon.views.sampler import ViewSampler

    def run(strategy):
        with strategy.scope():
            task = task_for(
                coincidence_weight=0.7,
                sampler=ViewSampler(
                    pairs=("mixture-channel", "mixture-mixture"), patch_seconds=0.3
                ),
                anchor_augmentations=(SpecAugment(),),
            )
        variables = task.model.trainable_variables
        batch = batch_for(task)
        rows = 8 // strategy.num_replicas_in_sync
        def share(context):
            first = context.replica_id_in_sync_group * rows
            return {k: v[first:first + rows] for k, v in batch.items()}
        batch = {
            k: strategy.experimental_distribute_values_from_function(lambda c: share(c)[k])
            for k in batch
        }
        @tf.function(autograph=False)
        def step(batch):
            def replica(batch):
                with tf.GradientTape() as tape:
                    results = task.loss(batch, training=True)
                return results, tape.gradient(results["loss"], variables)
            total = lambda x: strategy.reduce("SUM", x, axis=None)
            results, gradients = strategy.run(replica, args=(batch,))
            return tf.nest.map_structure(total, results), [total(g) for g in gradients]
        results, gradients = step(batch)
        statistics = {
            f"{number}:{v.name}": v.numpy().ravel().tolist()
            for number, v in enumerate(task.model.non_trainable_variables)
        }
        return {
            "results": {k: float(v) for k, v in results.items()},
            "gradients": {
                f"{number}:{v.name}": np.ravel(g)[:2000].tolist()
                for number, (v, g) in enumerate(zip(variables, gradients))
            },
            "statistics": statistics,
        }

    one = run(tf.distribute.OneDeviceStrategy("CPU:0"))
    two = run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    print(json.dumps([one, two]))
"""


def test_two_devices_equal_one_on_the_global_batch(repository):
    import warm_python  # The other process, which imports this module, does not find it.

    environment = os.environ | {"PYTHONPATH": str(repository), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [
            warm_python.path(),
            "-c",
            textwrap.dedent(TWO_DEVICES),
            str(repository / "tests" / "tasks"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert one["results"].keys() == two["results"].keys()
    assert len(one["results"]) == 6
    for name, value in one["results"].items():
        assert two["results"][name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    for kind in ("gradients", "statistics"):
        values = [np.concatenate(list(each[kind].values())) for each in (one, two)]
        assert np.abs(values[0]).max() > 1e-2
        for name, expected in one[kind].items():
            scale = np.abs(expected).max() + 1e-4
            np.testing.assert_allclose(
                two[kind][name], expected, atol=2e-3 * scale, err_msg=f"{kind} of {name}"
            )
