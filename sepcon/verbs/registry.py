"""What the command line can call: the verbs, and what gin files can name beside them.

Tables only. To add a verb, write its function and an entry of `VERBS`; its gin file goes to
`gin/runs`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal


@dataclasses.dataclass(frozen=True)
class VerbFlag:
    """A flag that gives one argument of a verb's function; it comes before what gin says of it.

    Attributes: name, help, type, what it is chosen from if at all, the argument where that has
    another name, a former name of the flag, which scripts may still use, and its default where
    files are given.
    """

    name: str
    help: str
    type: Literal["string", "multi_string", "integer", "float", "enum", "boolean"] = "string"
    choices: tuple[str, ...] = ()
    argument: str = ""
    former: str = ""
    for_files: str = ""


@dataclasses.dataclass(frozen=True)
class Verb:
    """A command: where its function is, and what its help says.

    Attributes: function; summary, example, details and positional, for the help; flags of its own;
    opened_by, argument -> module:name of what opens the path that it names, for --dry_run;
    launches, whether it starts other verbs; checked_by, of a verb that does, module:name of what
    checks its arguments for --dry_run and returns the table, without TensorFlow.
    """

    function: str
    summary: str
    example: str
    details: str
    positional: str = ""
    flags: tuple[VerbFlag, ...] = ()
    opened_by: Mapping[str, str] = dataclasses.field(default_factory=dict)
    launches: bool = False
    checked_by: str = ""


VERBS = {
    "doctor": Verb(
        "sepcon.doctor.doctor:doctor",
        "look at this machine: devices, libraries, a step of every task, speed",
        "sepcon doctor --run_dir=/tmp/sepcon/doctor",
        "The first thing to run on a new machine; needs no data. Each line says OK, SLOW or FAIL "
        "and what to do. Every task is asked, operation by operation, whether a GPU and a TPU run "
        "it, also where there is none; its step on each device is compared with the CPU's. The "
        "exit code is 1 if a check failed. RUN_DIR/doctor.json is what to send with a report.",
        flags=(
            VerbFlag("tasks", "those whose name begins so; all by default", "multi_string"),
            VerbFlag("quick", "one task of each kind, and no speed", "boolean"),
            VerbFlag("json", "print each check as JSON", "boolean", argument="json_lines"),
        ),
    ),
    "import": Verb(
        "sepcon.verbs.import_clips:import_clips",
        "decode recordings, or images, of any source into records, with a manifest of them all",
        "sepcon import --gin_file=import/folder.gin "
        "--gin_bindings='SOURCE_DIR=\"path/to/recordings\"' --run_dir=/tmp/sepcon/imported",
        "One file of import/ says what is imported: audioset_segments, audioset_parquet, folder, "
        "esc50, urbansound8k, dcase2018, litis_rouen or tfds; of videos video_folder; of images "
        "image_folder, cifar10 or tfds_images. A file of taggers/ has the clips labelled by a "
        "tagger. Resumable, on all cores; data/imported.gin or data/images.gin reads the result.",
    ),
    "prepare": Verb(
        "sepcon.verbs.prepare:prepare",
        "decode recordings and mix sound scenes ahead of training",
        "sepcon prepare --gin_file=data/builtin_scenes.gin --run_dir=/tmp/sepcon/prepare",
        "The other verbs prepare what they miss at first use; this one does it on its own.",
    ),
    "train_separator": Verb(
        "sepcon.verbs.train_separator:train_separator",
        "train a separation network on unlabelled scenes by mixture invariant training",
        "sepcon train_separator --gin_file=data/builtin_scenes.gin --run_dir=/tmp/sepcon/separator",
        "Keeps the weights at several convergence states under states/; resumes where it stopped.",
    ),
    "separate": Verb(
        "sepcon.verbs.separate:separate",
        "split recordings, or every clip of a dataset, into separated channels",
        "sepcon separate song.wav\n"
        "  sepcon separate path/to/recordings --separator=/tmp/sepcon/separator "
        "--out=/tmp/sepcon/separated\n"
        "  sepcon separate --gin_file=data/builtin_scenes.gin "
        "--gin_bindings='SEPARATOR=\"/tmp/sepcon/separator\"' --run_dir=/tmp/sepcon/channels",
        "With files or folders: writes channels of their sample rate that sum to the recording "
        "(the mean of its channels), report.html and separated.json into --out. What is done is "
        "skipped; what cannot be separated is named, and the exit code is 1 only if that is "
        "everything. Without: stores the channels of the configured dataset for pretraining.",
        positional="[FILE_OR_FOLDER ...]",
        flags=(
            VerbFlag(
                "separator",
                "a run folder of train_separator, what export made of it, or a name of packaged "
                "weights, the default for files (`sepcon list weights`)",
                former="checkpoint",
            ),
            VerbFlag(
                "out",
                "folder of the channels, `separated` by default; the same as --run_dir",
                argument="run_dir",
                for_files="separated",
            ),
            VerbFlag("step", "state of the run folder; the last by default", "integer"),
            VerbFlag(
                "format",
                "of the channels; same: WAV (32-bit float) for WAV, FLAC (24-bit) for all others",
                "enum",
                ("same", "wav", "flac"),
            ),
            VerbFlag(
                "window_seconds",
                "long recordings are separated in windows of this length, 10 by default",
                "float",
            ),
        ),
        opened_by={"separator": "sepcon.separation.recording_separator:load_recording_separator"},
    ),
    "control_channels": Verb(
        "sepcon.verbs.control_channels:control_channels",
        "store the true sources of scenes, or random masks, in the place of separated channels",
        "sepcon control_channels "
        "--gin_file=data/builtin_scenes.gin --gin_bindings='KIND=\"random_masks\"' "
        "--gin_bindings='REFERENCE=\"/tmp/sepcon/channels\"' --run_dir=/tmp/sepcon/random_masks",
        "Controls: they tell what separation adds to mere filtering, and what it could add.",
        opened_by={"reference": "sepcon.data.channel_shards:read_index"},
    ),
    "channel_cost": Verb(
        "sepcon.verbs.channel_cost:channel_cost",
        "estimate time and disk of separated channels, stored or made on the fly",
        "sepcon channel_cost --gin_file=data/builtin_scenes.gin "
        "--gin_bindings='SEPARATOR=\"/tmp/sepcon/separator\"' --run_dir=/tmp/sepcon/channel_cost",
        "Times the separator on one batch. Both ways give the same numbers to within rounding.",
        opened_by={"separator": "sepcon.separation.recording_separator:load_recording_separator"},
    ),
    "pretrain": Verb(
        "sepcon.verbs.pretrain:pretrain",
        "pretrain an encoder by similarity maximization and coincidence prediction",
        "sepcon pretrain --gin_file=data/builtin_scenes.gin --run_dir=/tmp/sepcon/encoder",
        "Resumes to the very step where it stopped, and exports a SavedModel at the end.",
    ),
    "finetune": Verb(
        "sepcon.verbs.finetune:finetune",
        "train classifiers of labelled clips by cross-validation, from any start",
        "sepcon finetune --gin_file=data/esc10.gin "
        "--gin_bindings='ESC50_DIR=\"path/to/ESC-50\"' --run_dir=/tmp/sepcon/esc10",
        "All folds and seeds; the epoch is chosen by clips held out of the training folds, and, to "
        "compare with, by the test fold. Resumes where it stopped.",
    ),
    "classify": Verb(
        "sepcon.verbs.classify:classify",
        "name the classes of recordings with what finetune has trained",
        "sepcon classify path/to/recordings --model=/tmp/sepcon/esc10 --out=/tmp/sepcon/classes\n"
        "  sepcon classify path/to/recordings --model=/tmp/sepcon/esc10 --separator=separator-v1 "
        "--out=/tmp/sepcon/sounds",
        "Prints the top classes of each file and writes them to OUT/classes.csv. Of a whole "
        "finetuning run, or of several --model, the mean probability counts. What cannot be "
        "decoded is named and skipped; the exit code is 1 only if that is everything.\n"
        "With --separator, what sounds in the mixture and in each channel, and when: "
        "OUT/sounds.csv, channels.csv, report.html to look and listen, and beside the channels of "
        "each recording label files for Audacity and Raven.",
        positional="FILE_OR_FOLDER ...",
        flags=(
            VerbFlag(
                "model",
                "a run folder of finetune, of one of its folds, an export, or a name of packaged "
                "weights, the default where there are some (`sepcon list weights`)",
                "multi_string",
            ),
            VerbFlag(
                "out",
                "folder of the table, `classes` by default; the same as --run_dir",
                argument="run_dir",
                for_files="classes",
            ),
            VerbFlag("top", "classes to name, 5 by default", "integer"),
            VerbFlag(
                "separator",
                "separate first: a run folder of train_separator, what export made of it, or a "
                "name of packaged weights (`sepcon list weights`); the flags below need it",
            ),
            VerbFlag("separator_step", "state of its run folder; the last by default", "integer"),
            VerbFlag(
                "window_seconds",
                "long recordings are separated in windows of this length, 10 by default",
                "float",
            ),
            VerbFlag(
                "format",
                "of the channels; same: WAV (32-bit float) for WAV, FLAC (24-bit) for all others",
                "enum",
                ("same", "wav", "flac"),
            ),
            VerbFlag(
                "min_level_db",
                "patches this far below the loudest of all channels count as silent, -30 by "
                "default; a channel without others is left out",
                "float",
            ),
            VerbFlag("threshold", "probability from which a class counts, 0.5 by default", "float"),
            VerbFlag(
                "max_gap_seconds", "gaps of a class up to this are closed, 1 by default", "float"
            ),
            VerbFlag("min_seconds", "shorter segments are dropped, 0.25 by default", "float"),
        ),
        opened_by={
            "model": "sepcon.inference.members:load_members",
            "separator": "sepcon.separation.recording_separator:load_recording_separator",
        },
    ),
    "export": Verb(
        "sepcon.verbs.export:export",
        "write an encoder, classifier or separator as SavedModel, TensorFlow Lite or ONNX",
        "sepcon export --gin_bindings='MODEL=\"/tmp/sepcon/encoder\"' --run_dir=/tmp/sepcon/export",
        "All take raw waveform, need no sepcon and are at RUN_DIR/FORMAT. A SavedModel takes any "
        "length. tflite and onnx have built-in operations alone and take one length; before they "
        "are written they are run beside the SavedModel. onnx needs the extra of that name.",
        flags=(
            VerbFlag("format", "saved_model by default", "enum", ("saved_model", "tflite", "onnx")),
            VerbFlag(
                "seconds",
                "of tflite and onnx: how long waveforms are; a patch by default, of separators 4",
                "float",
            ),
        ),
        opened_by={"model": "sepcon.models.products.write:open_product"},
    ),
    "embed": Verb(
        "sepcon.verbs.embed:embed",
        "turn a dataset or a folder of recordings into embeddings on disk",
        "sepcon embed --gin_file=data/builtin_scenes.gin "
        "--gin_bindings='MODEL=\"/tmp/sepcon/encoder/saved_model\"' "
        "--run_dir=/tmp/sepcon/embeddings",
        "Resumable; for a folder of your own use data/folder.gin. embedders/channels.gin puts a "
        "separator in front of the encoder, also for benchmark and export.",
        opened_by={"model": "sepcon.embeddings.embedders:load_embedder"},
    ),
    "benchmark": Verb(
        "sepcon.verbs.benchmark:benchmark",
        "measure encoders (mAP, d-prime of a shallow classifier) or separators (SI-SNR by step)",
        "sepcon benchmark --gin_file=data/builtin_scenes.gin "
        "--gin_bindings='MODEL=\"/tmp/sepcon/encoder/saved_model\"' "
        "--run_dir=/tmp/sepcon/benchmark",
        "Writes results.json and prints the table. runs/benchmark.gin measures encoders, "
        "runs/benchmark_audioset.gin does so with AudioSet's conventions, a file of embedders/ "
        "brings other people's models or embeddings, runs/benchmark_separation.gin measures "
        "separators on scenes with known sources.",
        opened_by={
            "models": "sepcon.embeddings.embedders:load_embedder",
            "separators": "sepcon.separation.recording_separator:load_recording_separator",
        },
    ),
    "study": Verb(
        "sepcon.verbs.study:study",
        "run many rows (of pretraining, of finetuning) side by side; tables with p-values",
        "sepcon study --gin_file=papers/fonseca2021/claims.gin "
        "--gin_file=data/builtin_scenes.gin --run_dir=/tmp/sepcon/study",
        "Runs the other verbs, as many at once as study.workers; resumes where it stopped. "
        "study.plan is the kind of study, study.only picks some of its rows. The gin files given "
        "here reach all commands behind the rows' own, the bindings behind the rows' own.",
        launches=True,
        checked_by="sepcon.studies.checks:dry_run",
    ),
}

# What gin files can name beside the verbs, as module:name.
CONFIGURABLES = (
    "sepcon.views.augment:RandomEqualization",
    "sepcon.views.augment:RandomPadCrop",
    "sepcon.views.augment:RandomSpeed",
    "sepcon.views.augment:SpecAugment",
    "sepcon.embeddings.benchmark:benchmark_embeddings",
    "sepcon.separation.benchmark:benchmark_separation",
    "sepcon.inference.channel_benchmark.benchmark:benchmark_channels",
    "sepcon.datasets.audioset.parquet:audioset_parquet",
    "sepcon.datasets.audioset.segments:audioset_segments",
    "sepcon.scenes.recipe:SceneRecipe",
    "sepcon.data.folder:folder",
    "sepcon.datasets.folders:audio_folder",
    "sepcon.datasets.folders:esc50_folder",
    "sepcon.datasets.folders:urbansound8k_folder",
    "sepcon.datasets.fuss:fuss",
    "sepcon.datasets.images.cifar10:cifar10",
    "sepcon.datasets.images.folder:image_folder",
    "sepcon.datasets.images.tfds:tfds_images",
    "sepcon.datasets.acoustic_scenes:dcase2018_scenes",
    "sepcon.datasets.acoustic_scenes:litis_rouen",
    "sepcon.datasets.videos:video_folder",
    "sepcon.importing.imported:imported",
    "sepcon.importing.imported:imported_folds",
    "sepcon.importing.imported_images:imported_images",
    "sepcon.importing.machine_labels:MachineLabels",
    "sepcon.importing.machine_labels:TaggerLabels",
    "sepcon.datasets.esc50.clips:esc50",
    "sepcon.datasets.esc50.clips:esc50_folds",
    "sepcon.scenes.prepared_scenes:sound_scenes",
    "sepcon.scenes.clips:scene_clips",
    "sepcon.datasets.tfds:tfds_set",
    "sepcon.views.example_mixing:ExampleMixing",
    "sepcon.audio.log_mel:LogMel",
    "sepcon.audio.maps.log_mel_maps:LogMelMaps",
    "sepcon.audio.maps.log_mel_maps:ResizedLogMelMaps",
    "sepcon.embeddings.npy_folder:npy_folder",
    "sepcon.embeddings.training_probe:TrainingProbe",
    "sepcon.finetuning.linear:LinearEvaluation",
    "sepcon.models.encoders:efficientnet_b0",
    "sepcon.models.encoders:efficientnet_lite0",
    "sepcon.models.encoders:log_mel_statistics",
    "sepcon.models.encoders:mobilenet_v2",
    "sepcon.models.encoders:resnet50",
    "sepcon.models.encoders:small_cnn",
    "sepcon.models.encoders:small_resnet",
    "sepcon.models.encoders:vggish",
    "sepcon.models.vggish_original:vggish_original",
    "sepcon.embeddings.foreign:hear_module",
    "sepcon.embeddings.foreign:python_function",
    "sepcon.embeddings.foreign:saved_model",
    "sepcon.models.products.channel_embedding:Channels",
    "sepcon.models.separator.network:SeparatorConfig",
    "sepcon.embeddings.shallow:ShallowSettings",
    "sepcon.separation.random_masks:RandomMasks",
    "sepcon.data.clip_examples:ClipExamples",
    "sepcon.tasks.image_views:ImageViews",
    "sepcon.tasks.label_scores:LabelScores",
    "sepcon.tasks.log_mel_views:LogMelViews",
    "sepcon.tasks.pretraining:SimilarityAndCoincidence",
    "sepcon.studies.finetuning:FinetuningPlan",
    "sepcon.studies.inference:InferencePlan",
    "sepcon.studies.pretraining:PretrainingPlan",
    "sepcon.studies.transfer:TransferPlan",
    "sepcon.tasks.supervised:SupervisedObjective",
    "sepcon.tasks.supervised:supervised",
    "sepcon.taggers.imagenet:ImageNetTagger",
    "sepcon.taggers.model_taggers:PictureTagger",
    "sepcon.taggers.model_taggers:SoundTagger",
    "sepcon.taggers.python_tagger:PythonTagger",
    "sepcon.training.optimizers:lars",
    "sepcon.training.loop:fit",
    "sepcon.training.metric_writers:WeightsAndBiases",
    "sepcon.training.optimizers:adam",
    "sepcon.training.optimizers:adamw",
    "sepcon.training.optimizers:sgd",
    "sepcon.training.schedules:by_epoch",
    "sepcon.training.schedules:constant",
    "sepcon.training.schedules:cosine",
    "sepcon.training.schedules:step_decay",
    "sepcon.views.image_augment:ColourJitter",
    "sepcon.views.image_augment:RandomBlur",
    "sepcon.views.image_augment:RandomGrey",
    "sepcon.views.image_augment:RandomResizedCrop",
    "sepcon.views.sampler:ViewSampler",
)

# What their callers give of these in every call: bound in gin it would have no effect, and is
# refused.
GIVEN_BY_CALLERS = {
    **{
        path: ("num_frames", "num_mels", "num_maps", "image_size")
        for path in CONFIGURABLES
        if path.startswith(("sepcon.models.encoders:", "sepcon.models.vggish_original:"))
    },
    "sepcon.models.encoders:log_mel_statistics": ("num_frames", "num_mels", "num_maps"),
    "sepcon.embeddings.benchmark:benchmark_embeddings": ("folder", "on_start"),
    "sepcon.separation.benchmark:benchmark_separation": ("folder", "on_start"),
    "sepcon.inference.channel_benchmark.benchmark:benchmark_channels": ("folder", "on_start"),
    "sepcon.training.loop:fit": (
        "task",
        "stream",
        "optimizer",
        "num_steps",
        "run_dir",
        "strategy",
        "validate",
        "validate_every_steps",
        "config_text",
        "description",
        "on_start",
    ),
    "sepcon.training.schedules:by_epoch": ("steps_per_epoch",),
}
