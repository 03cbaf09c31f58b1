"""Stand-ins for other people's models, with the signatures that the real ones have."""

from pathlib import Path

import tensorflow as tf


def write_yamnet(folder: Path) -> Path:
    """Like YAMNet: [samples] at 16 kHz -> (scores [N, 521], embeddings [N, 1024], log-mel)."""

    class YamNet(tf.Module):
        def __init__(self):
            self.basis = tf.Variable(tf.random.stateless_normal([512, 1024], [0, 0]))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])
        def __call__(self, waveform):
            frames = tf.signal.frame(waveform, 15360, 7680)  # [patches, samples]
            spectrum = tf.abs(tf.signal.rfft(tf.signal.frame(frames, 1024, 1024)))[..., :512]
            embeddings = tf.reduce_mean(tf.math.log1p(spectrum), axis=1) @ self.basis
            return tf.nn.sigmoid(embeddings[:, :521]), embeddings, spectrum[:, 0, :64]

    tf.saved_model.save(YamNet(), str(folder))
    return folder


_HEAR_MODULE = '''
"""A module of HEAR's common interface."""

import tensorflow as tf


class Model(tf.Module):
    sample_rate = 22050
    scene_embedding_size = 2
    timestamp_embedding_size = 2

    def __init__(self, gain):
        self.gain = gain


def load_model(model_file_path=""):
    return Model(float(open(model_file_path).read()) if model_file_path else 1.0)


def get_scene_embeddings(audio, model):
    return model.gain * tf.stack([tf.reduce_mean(audio, 1), tf.math.reduce_std(audio, 1)], 1)


def get_timestamp_embeddings(audio, model):
    frames = tf.signal.frame(audio, 11000, 11000)
    values = tf.stack([tf.reduce_mean(frames, 2), tf.math.reduce_std(frames, 2)], 2)
    count = tf.shape(frames)[1]
    times = tf.repeat(500.0 * tf.range(count, dtype=tf.float32)[tf.newaxis], len(audio), axis=0)
    return model.gain * values, times
'''


def write_hear_module(file: Path) -> Path:
    file.write_text(_HEAR_MODULE)
    return file
