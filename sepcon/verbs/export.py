"""`sepcon export`: an encoder, classifier or separator becomes a SavedModel that takes waveform."""

from __future__ import annotations

from pathlib import Path

from sepcon.models.products.write import write_saved_model
from sepcon.runs.claim import claims_run_dir


@claims_run_dir
def export(
    *,
    run_dir: str | Path,
    model: str | Path,
    step: int | None = None,
    hop_seconds: float | None = None,
    licence: str = "",
    config_text: str = "",
) -> Path:
    """Writes run_dir/saved_model: waveform in, embeddings, class probabilities or sources out.

    What it gives depends on the kind of run (see `EmbeddingModel`, `ClassificationModel` and
    `SeparationModel`). Beside the graph it holds assets/model_card.json (rates, sizes, step, git
    revision, gin), assets/model.json (the architecture) and, of a classifier,
    assets/class_map.csv. It appears whole or not at all.

    Args:
      run_dir: where to write; may be the run itself.
      model: run folder of `sepcon pretrain` or `sepcon train_separator`, or of one fold and seed of
        `sepcon finetune`; or a name of packaged weights.
      step: which state to take; by default the last one, of a classifier that which validation has
        chosen.
      hop_seconds: time between patches of an encoder, half a patch by default.
      licence: of the weights, for the model card, such as "CC-BY-4.0".
      config_text: the resolved configuration, kept in the model card.

    Returns:
      The SavedModel folder.

    Raises:
      SepconError: `model` is no such run or lacks the step; run_dir cannot be written or already
        holds another SavedModel.
    """
    return write_saved_model(
        run_dir=run_dir,
        model=model,
        step=step,
        hop_seconds=hop_seconds,
        licence=licence,
        config_text=config_text,
    )
