"""`sepcon export`: an encoder, classifier or separator becomes a product that takes waveform."""

from __future__ import annotations

from pathlib import Path

from sepcon.errors import SepconError
from sepcon.models.products.channel_embedding import Channels
from sepcon.models.products.write import write_saved_model
from sepcon.models.products.write_converted import write_converted
from sepcon.runs.claim import claims_run_dir

FORMATS = ("saved_model", "tflite", "onnx")


@claims_run_dir
def export(
    *,
    run_dir: str | Path,
    model: str | Path,
    format: str = "saved_model",
    step: int | None = None,
    hop_seconds: float | None = None,
    seconds: float | None = None,
    channels: Channels | None = None,
    licence: str = "",
    config_text: str = "",
) -> Path:
    """Writes run_dir/FORMAT: waveform in, embeddings, class probabilities or sources out.

    What it gives depends on the kind of run (see `EmbeddingModel`, `ClassificationModel` and
    `SeparationModel`). Beside the model it holds model_card.json (rates, sizes, step, git
    revision, gin), model.json (the architecture) and, of a classifier, class_map.csv; of a
    SavedModel in assets/. It appears whole or not at all.

    Args:
      run_dir: where to write; may be the run itself.
      model: run folder of `sepcon pretrain` or `sepcon train_separator`, or of one fold and seed of
        `sepcon finetune`; or a name of packaged weights.
      format: `saved_model`; or `tflite` or `onnx`, of built-in operations alone, which take
        waveforms of one length (see `write_converted`).
      step: which state to take; by default the last one, of a classifier that which validation has
        chosen.
      hop_seconds: time between patches of an encoder, half a patch by default.
      seconds: of tflite and onnx the length of waveforms: a patch by default, of separators 4 s.
      channels: of an encoder, a separator that is put in front of it: both are in one SavedModel.
        What it costs is measured and noted in the card.
      licence: of the weights, for the model card, such as "CC-BY-4.0".
      config_text: the resolved configuration, kept in the model card.

    Returns:
      The folder of the product.

    Raises:
      SepconError: `model` is no such run or lacks the step; run_dir cannot be written or already
        holds another product; the format is unknown or cannot hold the network.
    """
    if format not in FORMATS:
        raise SepconError(f"format: got {format!r}, expected one of {', '.join(FORMATS)}")
    if format == "saved_model" and seconds is not None:
        raise SepconError(
            f"seconds: got {seconds:g}, but a SavedModel takes any length: leave it out, or "
            "give format tflite or onnx"
        )
    if format != "saved_model" and channels is not None:
        raise SepconError(
            f"channels: {format} takes no encoder with a separator in front of it, as it lacks "
            "loops over windows; export a SavedModel, or each of the two networks by itself"
        )
    if format == "saved_model":
        return write_saved_model(
            run_dir=run_dir,
            model=model,
            step=step,
            hop_seconds=hop_seconds,
            channels=channels,
            licence=licence,
            config_text=config_text,
        )
    return write_converted(
        run_dir=run_dir,
        model=model,
        format=format,
        seconds=seconds,
        step=step,
        hop_seconds=hop_seconds,
        licence=licence,
        config_text=config_text,
    )
