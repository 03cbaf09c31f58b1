"""Writes an encoder, classifier or separator for TensorFlow Lite or ONNX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.errors import SepconError
from sepcon.models.model_file import MODEL_FILE
from sepcon.models.packaged import folder_of
from sepcon.models.products.card import model_card
from sepcon.models.products.conversion import CONVERSIONS, Runner, check_installed, converted
from sepcon.models.products.fixed_length import SIGNATURE, FixedLengthModel, default_num_samples
from sepcon.models.products.saved_model import MODEL_CARD_FILE
from sepcon.models.products.write import open_product
from sepcon.runs.json_file import read_json
from sepcon.runs.seals import write_seals
from sepcon.runs.whole_file import whole_folder

# How far outputs may be from those of the SavedModel, of numbers up to 1 and in parts of larger.
TOLERANCE = 1e-4


def write_converted(
    *,
    run_dir: str | Path,
    model: str | Path,
    format: str,
    seconds: float | None = None,
    step: int | None = None,
    hop_seconds: float | None = None,
    licence: str = "",
    config_text: str = "",
) -> Path:
    """Writes run_dir/FORMAT: the converted model, its model card and what else the product has.

    It has built-in operations alone, one signature (`patch`) and takes one waveform at a time, of
    one length: [1, samples] float32. Before it is there it is run beside what
    the SavedModel would be; where they differ by more than 1e-4 nothing is written. Other
    arguments are those of `write_saved_model`.

    Args:
      run_dir: where to write; may be the run itself.
      model: run folder, or a name of packaged weights.
      format: `tflite` or `onnx`.
      seconds: length of the waveforms; that of a patch by default, of separators 4 s.
      step: which state to take.
      hop_seconds: time between patches, where a waveform has several.
      licence: of the weights.
      config_text: the resolved configuration.

    Returns:
      The folder.

    Raises:
      SepconError: as `write_saved_model`; or a package is missing, the network cannot be
        converted, or the converted one gives other numbers.
    """
    check_installed(format)
    conversion = CONVERSIONS[format]
    product = open_product(model, step, hop_seconds)
    num_samples = _num_samples(product.module, seconds)
    facts = {
        **product.facts,
        "format": format,
        "signature": SIGNATURE,
        "waveform_shape": [1, num_samples],
        "invalid_waveforms": "give NaN: samples that are NaN, infinite or beyond 100",
    }
    target = Path(run_dir) / format
    if target.exists():
        _check_same(target, facts)
        print(f"{target} is there already and is this very model: nothing to do.")
        return target
    content = converted(FixedLengthModel(product.module, num_samples, batch=1), format)
    facts["difference_to_saved_model"] = differences(
        product.module, conversion.open_runner(content), num_samples
    )
    card = model_card(facts, model, config_text=config_text, licence=licence)
    del card["empty_batch"], card["waveform_refused"]
    card["waveform"] = "float32 in [-1, 1]"
    texts = {
        MODEL_CARD_FILE: json.dumps(card, indent=1),
        MODEL_FILE: (folder_of(model) / MODEL_FILE).read_text(),
        **product.files,
    }
    with whole_folder(target) as scratch:
        for name, text in texts.items():
            (scratch / name).write_text(text)
        (scratch / conversion.file).write_bytes(content)
        write_seals(scratch, [*texts, conversion.file])
    largest = max(facts["difference_to_saved_model"].values())
    print(
        f"Wrote {target / conversion.file} ({len(content) / 1e6:.1f} MB): step "
        f"{card['training_step']} of {model}, [1, {num_samples}] samples; in "
        f"{conversion.runtime} at most {largest:.1g} from the SavedModel."
    )
    return target


def differences(product: Any, run: Runner, num_samples: int) -> dict[str, float]:
    """Returns how far a converted model is at most from the product that it was made of.

    Args:
      product: EmbeddingModel, ClassificationModel or SeparationModel.
      run: the converted model.
      num_samples: of its waveforms.

    Returns:
      By output: the largest difference; of values that reach beyond 1, divided by their largest.

    Raises:
      SepconError: one is above 1e-4.
    """
    largest: dict[str, float] = {}
    for waveform in _test_waveforms(num_samples):
        expected = product(tf.constant(waveform))
        for name, value in run(waveform).items():
            difference = _difference(value, expected[name].numpy())
            largest[name] = max(largest.get(name, 0.0), difference)
    for name, difference in largest.items():
        # NaN is not below it either.
        if not difference <= TOLERANCE:
            raise SepconError(
                f"the converted model was not written: its {name} is {difference:.2g} from that "
                f"of the SavedModel, expected at most {TOLERANCE:g}; export the SavedModel"
            )
    return largest


def _difference(value: np.ndarray, expected: np.ndarray) -> float:
    if value.shape != expected.shape:
        raise SepconError(
            f"the converted model gives shape {value.shape}, the SavedModel {expected.shape}"
        )
    return float(np.max(np.abs(value - expected)) / max(1.0, np.max(np.abs(expected))))


def _test_waveforms(num_samples: int) -> list[np.ndarray]:
    """Noise; a fading sweep behind silence, whose bins differ by far; each [1, samples]."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=num_samples)
    time = np.arange(num_samples) / num_samples
    sweep = 0.5 * np.sin(num_samples * time * time) * np.exp(-3 * time) * (time > 0.25)
    return [waveform.astype(np.float32)[np.newaxis] for waveform in (noise, sweep)]


def _num_samples(product: Any, seconds: float | None) -> int:
    if seconds is None:
        return default_num_samples(product)
    num_samples = round(seconds * int(product.sample_rate_hz()))
    if not 1 <= num_samples <= 2**24:
        raise SepconError(f"seconds: got {seconds:g}, expected the length of a waveform, such as 4")
    return num_samples


def _check_same(target: Path, facts: Mapping[str, Any]) -> None:
    try:
        existing = read_json(target / MODEL_CARD_FILE, cure="")
    except SepconError:
        existing = {}
    compared = ("fingerprint", "waveform_shape")
    if any(existing.get(name) != facts[name] for name in compared):
        raise SepconError(
            f"{target} holds another model and is left as it is. "
            "Give another run_dir, or remove that folder."
        )
