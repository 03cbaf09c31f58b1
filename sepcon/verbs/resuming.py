"""What may change between two starts of a run, setting by setting, and the check made of it.

What has no rule in `SETTINGS`, a new setting or one of a user's own module, is refused. A test
compares the table with that in `sepcon/runs/README.md`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from sepcon.errors import SepconError, printable
from sepcon.runs import run_folder
from sepcon.runs.settings import Change, Setting, Settings, changes, has_moved, read_settings
from sepcon.verbs.registry import CONFIGURABLES, VERBS

Rule = Literal["free", "noted", "compared", "refused"]
RULES: Mapping[Rule, str] = MappingProxyType(
    {
        "free": "may change at any time: it changes no result, or only which results there are",
        "noted": "an unfinished run goes on and says so; a finished run is refused",
        "compared": "as noted; and what it leads to is compared with what the folder holds: other "
        "clips, another model or another layout are refused",
        "refused": "what is trained would be another: refused once a step is saved",
    }
)

# Configurable -> rule -> its parameters. What concerns a run alone counts: `run_dir` is the run.
SETTINGS: Mapping[str, Mapping[Rule, str]] = MappingProxyType(
    {
        # Verbs.
        "doctor": {"free": "tasks quick json_lines"},
        "import_clips": {
            "free": "processes max_fault_share runner pipeline_options",
            "compared": "source taggers clips_per_shard",
        },
        "prepare": {"noted": "clips"},
        "train_separator": {
            "noted": "num_steps optimizer measure_on max_measured_clips num_examples loop strategy "
            "deterministic",
            "compared": "clips separator",
            "refused": "batch_size segment_seconds gain_range_db supervised_share sparsity_weight "
            "sparsity_form covariance_weight seed",
        },
        "separate": {
            "free": "files shard_clips runner pipeline_options",
            "noted": "batch_size",
            "compared": "separator step format window_seconds clips",
        },
        "control_channels": {
            "noted": "batch_size",
            "compared": "clips kind reference",
            "refused": "masks seed",
        },
        "channel_cost": {
            "noted": "separator clips batch_size num_steps num_runs num_stored",
        },
        "pretrain": {
            "free": "probe",
            "noted": "optimizer num_steps recalibration_batches loop strategy deterministic",
            "compared": "encoder",
            "refused": "examples views objective batch_size shuffle_buffer seed",
        },
        "finetune": {
            "free": "folds max_folds seeds",
            "noted": "optimizer learning_rate classifier_learning_rate loop strategy deterministic",
            "compared": "encoder",
            "refused": "clips views objective batch_size epochs start clip_seconds "
            "classifier_epochs validation_share validate_every_epochs labels_per_class linear",
        },
        "classify": {"free": "model files top"},
        "export": {"free": "format", "compared": "model step hop_seconds seconds channels licence"},
        "embed": {"noted": "batch_size", "compared": "model clips shard_size patches channels"},
        "benchmark": {"noted": "measure"},
        "study": {
            "free": "plan rows grid only baseline against figures final title workers threads "
            "expected_seconds",
        },
        # Plans of studies: each run of theirs is compared by itself.
        "FinetuningPlan": {},
        "InferencePlan": {"free": "encoders seeds states"},
        "TransferPlan": {"free": "seeds starts imported imported_as separator maps"},
        "PretrainingPlan": {
            "free": "seeds rotations separator_seeds states loudness_of baselines on_the_fly",
        },
        # What is measured: embeddings and scores that are kept are of the same model and clips.
        "benchmark_embeddings": {
            "noted": "seeds baselines classifier linear_probe clip_probe num_classifiers "
            "bootstrap_resamples batch_size clip_score clips_per_class reference",
            "compared": "models train validation test clean_clips shard_size channels",
        },
        "benchmark_separation": {
            "noted": "references num_examples batch_size bootstrap_resamples report",
            "compared": "separators scenes steps max_scenes",
        },
        "benchmark_channels": {
            "noted": "poolings shares penalties clips_per_class attention batch_size",
            "compared": "encoders separator states reference train validation test seed max_train "
            "max_validation max_test hop_seconds shard_size",
        },
        "ShallowSettings": {
            "noted": "hidden_units dropout learning_rate l2 batch_size max_epochs patience "
            "sampling",
        },
        "Channels": {"compared": "separator step pooling audible_share window_seconds"},
        "hear_module": {"compared": "module weights"},
        "python_function": {"compared": "name sample_rate_hz output"},
        "saved_model": {"compared": "path sample_rate_hz output signature"},
        "npy_folder": {"compared": "path"},
        # Clips, by their name and number, which tell recipes, parts and the digest of an import.
        "audioset_parquet": {"compared": "parquet_dir classes_csv"},
        "audioset_segments": {"compared": "segments_csv audio_dir classes_csv"},
        "audio_folder": {"compared": "path labels_csv"},
        "esc50_folder": {"compared": "path"},
        "urbansound8k_folder": {"compared": "path"},
        "tfds_set": {"compared": "path"},
        "cifar10": {"compared": "path"},
        "image_folder": {"compared": "path side labelled_by_folder"},
        "tfds_images": {"compared": "path side"},
        "dcase2018_scenes": {"compared": "path"},
        "litis_rouen": {"compared": "path rotation"},
        "video_folder": {
            "compared": "path clip_seconds shortest_seconds pictures picture_side",
        },
        # Taggers, by their notes in the plan of an import.
        "SoundTagger": {
            "compared": "name path classes output activation sample_rate_hz window_seconds "
            "hop_seconds",
        },
        "PictureTagger": {
            "compared": "name path classes output activation side offset scale",
        },
        "ImageNetTagger": {"compared": "name classes weights"},
        "PythonTagger": {"compared": "name function classes sees sample_rate_hz"},
        "folder": {
            "free": "threads",
            "compared": "path labels_csv clip_seconds max_skipped_share decode_first exclude",
        },
        "fuss": {"compared": "data_dir split config path"},
        "imported": {
            "compared": "path part validation_share test_share test_folds folds clip_seconds "
            "exclude labels",
        },
        "MachineLabels": {
            "compared": "taggers join soft min_clips max_share repeat_share",
        },
        "TaggerLabels": {
            "compared": "tagger over_frames threshold top without renamed prefix",
        },
        "imported_images": {
            "compared": "path part validation_share test_share test_folds folds exclude",
        },
        "imported_folds": {"compared": "path folds exclude scores_of"},
        "esc50": {"compared": "data_dir path folds esc10 max_skipped_share sample_rate_hz"},
        "esc50_folds": {"compared": "data_dir path folds esc10 max_skipped_share sample_rate_hz"},
        "sound_scenes": {
            "compared": "data_dir split clips clips_dir esc50_dir recipe max_skipped_share",
        },
        "scene_clips": {
            "compared": "data_dir split clips clips_dir esc50_dir recipe max_skipped_share",
        },
        "SceneRecipe": {
            "compared": "scene_seconds num_train num_validation num_test max_sources gain_db "
            "source_rms visible_share test_fold test_share validation_share "
            "synthetic_clips_per_class seed",
        },
        "ClipExamples": {
            "compared": "clips channels channels_dir",
            "refused": "clip_seconds with_sources hop_samples",
        },
        # What is learned, and how it is seen.
        "LogMelViews": {
            "refused": "sampler log_mel anchor_augmentations positive_augmentations "
            "waveform_augmentations example_mixing separators front_end",
        },
        "ViewSampler": {
            "refused": "pairs patch_seconds temporal_proximity min_relative_energy "
            "position_candidates sample_rate_hz hop_samples",
        },
        "LogMel": {
            "refused": "sample_rate_hz window_seconds hop_seconds num_mels min_hz max_hz floor "
            "range_db",
        },
        "LogMelMaps": {
            "refused": "sample_rate_hz window_lengths_seconds hop_seconds mels_per_map min_hz "
            "max_hz floor",
        },
        "ResizedLogMelMaps": {
            "refused": "sample_rate_hz window_lengths_seconds hops_seconds mels_per_map "
            "num_columns min_hz max_hz floor",
        },
        "ImageViews": {
            "refused": "crop anchor_augmentations positive_augmentations centre_share",
        },
        "RandomResizedCrop": {"refused": "size min_area max_area max_aspect flip_probability"},
        "ColourJitter": {"refused": "strength probability"},
        "RandomGrey": {"refused": "probability"},
        "RandomBlur": {"refused": "probability min_deviation max_deviation radius_share"},
        "TrainingProbe": {
            "free": "train test every_steps num_train num_test penalty batch_size seed",
        },
        "LabelScores": {"free": "examples every_steps num_examples batch_size seed"},
        "LinearEvaluation": {"refused": "statistics penalties of_scores"},
        "ExampleMixing": {"refused": "max_share"},
        "RandomEqualization": {"refused": "num_knots knot_deviation max_level_drop"},
        "RandomPadCrop": {"refused": "seconds sample_rate_hz"},
        "RandomSpeed": {"refused": "max_factor"},
        "SpecAugment": {
            "refused": "num_time_masks max_time_frames num_mel_masks max_mel_bands fill num_maps",
        },
        "RandomMasks": {"refused": "knot_seconds num_frequency_knots sample_rate_hz"},
        "SimilarityAndCoincidence": {
            "refused": "similarity_weight coincidence_weight temperature projection_hidden_sizes "
            "projection_size coincidence_hidden_sizes",
        },
        "SupervisedObjective": {
            "refused": "contrastive_weight exclusive num_views normalize_embedding temperature "
            "projection_hidden_sizes projection_size frozen_encoder",
        },
        "supervised": {"refused": "exclusive num_views"},
        # Networks: model.json, and each weight of the checkpoint.
        "SeparatorConfig": {
            "compared": "num_sources sample_rate_hz basis window_seconds hop_seconds "
            "num_coefficients bottleneck conv_channels num_repeats num_dilations kernel_size norm "
            "block_scale skip_residual mixture_consistency matmul_dtype causal",
        },
        "efficientnet_b0": {"compared": "embedding_size", "refused": "weights"},
        "efficientnet_lite0": {"compared": "embedding_size", "refused": "weights"},
        "log_mel_statistics": {},
        "mobilenet_v2": {"compared": "embedding_size", "refused": "weights"},
        "resnet50": {"compared": "embedding_size", "refused": "weights"},
        "small_cnn": {"compared": "embedding_size"},
        "small_resnet": {"compared": "embedding_size widths"},
        "vggish": {"compared": "embedding_size"},
        "vggish_original": {"compared": "embedding_size hidden_units"},
        # How it is trained: what error messages advise to lower may be lowered.
        "fit": {
            "free": "steps_per_call checkpoint_every_steps keep_checkpoints log_every_steps "
            "summary_every_steps metric_writer",
            "noted": "gradient_clip_norm jit_compile precision",
            "refused": "keep_state_steps",
        },
        "WeightsAndBiases": {"free": "project mode"},
        "adam": {"noted": "learning_rate beta_1 beta_2 epsilon"},
        "adamw": {"noted": "learning_rate weight_decay beta_1 beta_2 epsilon not_decayed"},
        "lars": {"noted": "learning_rate momentum weight_decay trust excluded"},
        "sgd": {"noted": "learning_rate momentum nesterov"},
        "by_epoch": {"noted": "peak warmup_epochs first_share decay"},
        "constant": {"noted": "rate warmup_steps"},
        "cosine": {"noted": "peak total_steps warmup_steps final"},
        "step_decay": {"noted": "initial boundaries factor warmup_steps"},
    }
)

# Configurable and parameter as configurations of earlier versions call it -> its name today.
FORMER_NAMES = MappingProxyType({("separate", "checkpoint"): "separator"})


def begin(
    verb: str,
    run_dir: Path,
    *,
    config_text: str,
    under_way: bool = True,
    steps: int | None = None,
    steps_done: int = 0,
) -> bool:
    """Says whether a run has anything left to do; writes nothing.

    Args:
      verb: name of its function.
      run_dir: the folder of the run.
      config_text: the resolved configuration of this start; empty for a call from Python, of which
        the steps alone are known here.
      under_way: whether the folder holds anything that was made under the earlier configuration.
      steps: of a training, that are asked for.
      steps_done: of a training, that are saved.

    Raises:
      SepconError: this start says otherwise than the earlier one, where that matters.
    """
    finished = run_folder.is_finished(run_dir)
    if finished and steps is not None:
        made = run_folder.read_record(run_dir).get("steps", steps)
        if made != steps:
            raise SepconError(
                f"{_shown(run_dir)}: holds a finished run of {made} steps, asked for {steps}; "
                "ask for as many, or give another --run_dir"
            )
    if steps is not None and steps_done > steps:
        raise SepconError(
            f"{_shown(run_dir)}: has done {steps_done} steps, asked for {steps}; ask for "
            f"{steps_done} or more, or give another --run_dir"
        )
    check(verb, run_dir, config_text=config_text, finished=finished, under_way=under_way)
    if finished:
        run_folder.tell_finished(run_dir)
    return not finished


def _renamed(settings: Settings) -> Settings:
    """What an earlier version has written, under the names of today."""
    values = {
        dataclasses.replace(
            setting,
            parameter=FORMER_NAMES.get(
                (setting.configurable, setting.parameter), setting.parameter
            ),
        ): value
        for setting, value in settings.values.items()
    }
    return Settings(values, settings.called)


def check(
    verb: str, run_dir: Path, *, config_text: str, finished: bool, under_way: bool = True
) -> list[Change]:
    """Compares this start of a run with the earlier one; returns what is to be noted.

    Args:
      verb: name of its function.
      run_dir: the folder of the run.
      config_text: the resolved configuration of this start; empty for a call from Python.
      finished: whether what was made is finished, or part of it that is kept.
      under_way: whether the folder holds anything that was made under the earlier configuration.

    Raises:
      SepconError: a setting has changed that must not.
    """
    earlier = run_folder.configuration(run_dir)
    if not earlier or not config_text or not (under_way or finished):
        return []
    before, now = _renamed(read_settings(earlier, verb)), read_settings(config_text, verb)
    roots = _folders_of(run_dir)
    found = [
        each
        for each in changes(before, now, default_of)
        if rule_of(each.setting) != "free" and not has_moved(each, roots)
    ]
    wrong = found if finished else [e for e in found if rule_of(e.setting) == "refused"]
    # Folders of earlier versions say the same by settings of other names.
    if _is_of_another_version(before):
        wrong = [each for each in wrong if "@" not in f"{each.before}{each.now}"]
    if wrong:
        more = f" (and {len(wrong) - 1} more settings)" if len(wrong) > 1 else ""
        state = "a finished run" if finished else "an unfinished run"
        raise SepconError(
            f"{_shown(run_dir)}: holds {state} with {printable(str(wrong[0]))}{more}; give the "
            "settings it began with, or another --run_dir"
        )
    return found


def _folders_of(run_dir: Path) -> list[Path]:
    """The folder of a run, and those of runs around it: that of its study."""
    folder = Path(os.path.abspath(run_dir))
    return [each for each in (folder, *folder.parents) if (each / run_folder.CONFIG_FILE).is_file()]


def keep_configuration(
    verb: str, run_dir: Path, config_text: str, *, under_way: bool = True
) -> None:
    """Writes the configuration into the folder of a run, and notes what differs from before.

    To be called when all checks of a start have passed. The earlier one is kept as config.<n>.gin.

    Args:
      verb: its name.
      run_dir: folder of the run.
      config_text: the resolved configuration.
      under_way: see `check`.

    Raises:
      WriteError: it cannot be written.
    """
    noted = check(verb, run_dir, config_text=config_text, finished=False, under_way=under_way)
    if noted:
        told = "; ".join(printable(str(each)) for each in noted)
        print(
            f"sepcon: note: {_shown(run_dir)} goes on with other settings: {told}", file=sys.stderr
        )
    run_folder.write_configuration(run_dir, config_text)


def rule_of(setting: Setting) -> Rule:
    """The rule of a setting; refused where there is none, so that nothing new is ever mixed."""
    return _rules().get((setting.configurable, setting.parameter), "refused")


@functools.cache
def _rules() -> Mapping[tuple[str, str], Rule]:
    return {
        (name, parameter): rule
        for name, by_rule in SETTINGS.items()
        for rule, parameters in by_rule.items()
        for parameter in parameters.split()
    }


def default_of(setting: Setting) -> str | None:
    """The default of a setting as Python shows it; None where it has none, or is not ours."""
    path = _paths().get(setting.configurable)
    if path is None:
        return None
    module, _, name = path.partition(":")
    function = getattr(importlib.import_module(module), name)
    parameter = inspect.signature(function).parameters.get(setting.parameter)
    if parameter is None or parameter.default is parameter.empty:
        return None
    return repr(parameter.default)


@functools.cache
def _paths() -> Mapping[str, str]:
    paths = [*(verb.function for verb in VERBS.values()), *CONFIGURABLES]
    return {path.partition(":")[2]: path for path in paths}


def _is_of_another_version(settings: Settings) -> bool:
    """Whether a configuration binds what no setting of this version is called."""
    known = _rules()
    return any(
        (each.configurable, each.parameter) not in known
        for each in settings.values
        if each.configurable in SETTINGS
    )


def _shown(run_dir: Path) -> str:
    return printable(str(run_dir))
