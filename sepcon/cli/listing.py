"""`sepcon list`: what there is to choose from, by kind, each with one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sepcon.cli.gin_files import GinFile, project_files, purpose
from sepcon.errors import SepconError, nearest
from sepcon.models.packaged import describe, packaged_names, weights_folder
from sepcon.verbs.registry import VERBS

# What the header of a study begins with.
STUDY = "A study: "
# Files that go to a folder of their own by what they are of.
_ENCODER, _SEPARATOR = "models/encoder_", "models/separator_"


def listing(words: Sequence[str]) -> str:
    """Returns the tables of some kinds, of all by default.

    Args:
      words: names of kinds.

    Raises:
      SepconError: there is no such kind.
    """
    kinds = _kinds()
    if set(words) & {"--help", "-h"}:
        return f"usage: sepcon list [KIND ...]\n\nkinds: {', '.join(kinds)}"
    for word in words:
        if word not in kinds:
            raise SepconError(
                f"unknown kind {word!r}, expected one of {', '.join(kinds)}{nearest(word, kinds)}"
            )
    chosen = words or list(kinds)
    return "\n\n".join(_table(kind, kinds[kind]) for kind in chosen)


def _kinds() -> dict[str, Mapping[str, str]]:
    """The kinds, each with what is of it: name -> sentence."""
    verbs = {name: verb.summary[0].upper() + verb.summary[1:] for name, verb in VERBS.items()}
    kinds: dict[str, dict[str, str]] = {"verbs": verbs}
    for file in project_files():
        kinds.setdefault(_kind(file), {})[file.name] = purpose(file.path)
    summaries = {name: describe(weights_folder() / name)["summary"] for name in packaged_names()}
    if summaries:
        kinds["weights"] = summaries
    # In the order in which a command line is put together.
    order = ["verbs", "data", "encoders", "separators", "views", "studies"]
    return {kind: kinds[kind] for kind in sorted(kinds, key=lambda kind: _rank(kind, order))}


def _rank(kind: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(kind) if kind in order else len(order), kind)


def _kind(file: GinFile) -> str:
    # Rows alone do not make a study: some files hold what several studies include.
    if purpose(file.path).startswith(STUDY):
        return "studies"
    if file.name.startswith(_ENCODER):
        return "encoders"
    if file.name.startswith(_SEPARATOR):
        return "separators"
    return file.name.partition("/")[0] if "/" in file.name else "overlays"


def _table(kind: str, rows: Mapping[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join([f"{kind}:", *[f"  {name:<{width}}  {text}" for name, text in rows.items()]])
