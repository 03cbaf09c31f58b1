"""The part of a study's page that shows embeddings of the test as a map."""

from __future__ import annotations

from collections.abc import Sequence

from sepcon import comparison
from sepcon.benchmark_embeddings import CLEAN_CLIPS_PREFIX
from sepcon.data.embeddings import Embeddings, EmbeddingStore
from sepcon.embedding_map import map_figure, single_class_points
from sepcon.report import Section
from sepcon.study_plan import Plan
from sepcon.study_rows import Run


def map_section(
    plan: Plan, *, baseline: str, selection: Sequence[comparison.Summary]
) -> Section | None:
    """Returns maps of the baseline, of the row that validation likes best, and of the supervised.

    Of clean clips where these were measured, otherwise of scenes with one class; each row's first
    run. None where there are too few of either, or the embeddings are not kept.
    """
    trained = {row.name: row for row in plan.rows}
    # The end of the scale is drawn in any case, and is nothing to be chosen.
    chosen = [
        each for each in selection if each.name in trained and not trained[each.name].supervised
    ]
    best = max(chosen, key=lambda each: each.value.mean, default=None)
    names = [baseline, *([best.name] if best else [])]
    names += [row.name for row in plan.rows if row.supervised]
    panels, of_what = [], ""
    for name in dict.fromkeys(names):
        run = next(run for run in plan.runs() if run.row.name == name)
        for role, words in ((f"{CLEAN_CLIPS_PREFIX}test", "clean clips"), ("test", "test scenes")):
            embeddings = _embeddings(plan, run, role)
            points = embeddings and single_class_points(embeddings)
            if embeddings and points and of_what in ("", words):
                panels.append((name, points))
                class_names, of_what = embeddings.class_names, words
                break
    if not panels:
        return None
    of_what = {"clean clips": "clean clips of the test", "test scenes": "test scenes of one class"}[
        of_what
    ]
    caption = f"t-SNE of {of_what}: the ten most frequent classes in colour, all others grey."
    return Section(
        "A map of the embeddings",
        [
            "For the eye alone. The rows are the baseline, the one with the highest validation mAP "
            "and, where there is one, the supervised; each by its first run. Near points have "
            "similar embeddings; distances between groups and their sizes mean nothing.",
        ],
        figures=[map_figure(caption, panels, class_names)],
    )


def _embeddings(plan: Plan, run: Run, role: str) -> Embeddings | None:
    stores = sorted(plan.benchmark_dir(run).glob(f"embeddings/*/{role}"))
    return EmbeddingStore(stores[0]).load() if stores else None
