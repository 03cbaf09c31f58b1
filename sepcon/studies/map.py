"""The part of the page of a study of pretraining that shows embeddings of the test as a map."""

from __future__ import annotations

from collections.abc import Sequence

from sepcon.embeddings.benchmark import CLEAN_CLIPS_PREFIX
from sepcon.embeddings.map import map_figure, single_class_points
from sepcon.embeddings.store import Embeddings, EmbeddingStore
from sepcon.reports import comparison
from sepcon.reports.page import Section
from sepcon.studies.pretraining_commands import PretrainingCommands, is_supervised

# What is drawn, the first that all rows have: where its embeddings are, and what it is.
_ROLES = {
    f"{CLEAN_CLIPS_PREFIX}test": "clean clips of the test",
    "test": "test scenes of one class",
}


def map_section(
    commands: PretrainingCommands, selection: Sequence[comparison.Summary]
) -> Section | None:
    """Draws maps of the baseline, of the row with the best validation score, and of the supervised.

    Args:
      commands: of the finished study.
      selection: summaries of the measure for selection.

    Returns:
      The section, with the first run of each row: clean clips where these were measured, otherwise
      scenes with one class. None where there are too few of either, or no embeddings are kept.
    """
    names = _names(commands, selection)
    for role, words in _ROLES.items():
        found = [_embeddings(commands, name, role) for name in names]
        points = [None if each is None else single_class_points(each) for each in found]
        panels = [(name, each) for name, each in zip(names, points, strict=True) if each]
        if found[0] is not None and len(panels) == len(names):
            caption = f"t-SNE of {words}: the ten most frequent classes in colour, all others grey."
            return Section(
                "A map of the embeddings",
                [
                    "An illustration, not a measurement. The rows are the baseline, the row with "
                    "the highest validation mAP and, if there is one, the supervised row; of each "
                    "the first run. Points that are close have similar embeddings; the distances "
                    "between groups and the sizes of groups mean nothing.",
                ],
                figures=[map_figure(caption, panels, found[0].class_names)],
            )
    return None


def _names(commands: PretrainingCommands, selection: Sequence[comparison.Summary]) -> list[str]:
    study = commands.study
    supervised = [row.name for row in study.rows if is_supervised(row)][:1]
    # The end of the scale is drawn in any case, and is nothing to be chosen.
    chosen = {row.name for row in study.rows if not is_supervised(row)}
    ranked = sorted(
        (each for each in selection if each.name in chosen), key=lambda each: -each.value.mean
    )
    best = [each.name for each in ranked[:1]]
    return list(dict.fromkeys([study.baseline, *best, *supervised]))


def _embeddings(commands: PretrainingCommands, name: str, role: str) -> Embeddings | None:
    run = next(run for run in commands.runs() if run.row.name == name)
    stores = sorted(commands.benchmark_dir(run).glob(f"embeddings/*/{role}"))
    return EmbeddingStore(stores[0]).load() if stores else None
