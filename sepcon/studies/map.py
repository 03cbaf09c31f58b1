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
    """Returns maps of the baseline, of the row that validation likes best, and of the supervised.

    Of clean clips where these were measured, otherwise of scenes with one class; each row's first
    run. None where there are too few of either, or the embeddings are not kept.
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
                    "For the eye alone. The rows are the baseline, the one with the highest "
                    "validation mAP and, where there is one, the supervised; each by its first "
                    "run. Near points have similar embeddings; distances between groups and their "
                    "sizes mean nothing.",
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
