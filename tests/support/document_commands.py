"""The commands of the documents: found in their blocks, each once, and in an order that works."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# Where documents are, beside those at the root.
_FOLDERS = ("gin", "sepcon", "tools", "tests")
_RUNS = "/tmp/sepcon/"


@dataclass(frozen=True)
class Command:
    """A command of a document.

    Attributes: line, as it is written, without comments; tokens, its words as a shell reads them.
    """

    line: str
    tokens: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.tokens[0]

    @property
    def words(self) -> tuple[str, ...]:
        return self.tokens[1:]

    @cached_property
    def makes(self) -> str:
        """The run folder below /tmp/sepcon that it makes; empty if it makes none."""
        if {"--print_config", "--dry_run"} & set(self.words):
            return ""
        match = re.search(rf"--(?:run_dir|out)[= ]{_RUNS}(\S+)", " ".join(self.words))
        return match[1] if match else ""

    @cached_property
    def uses(self) -> set[str]:
        """The folders below /tmp/sepcon that it reads."""
        return set(re.findall(rf"{_RUNS}(\w+)", " ".join(self.words))) - {self.makes}


def documents(repository: Path) -> list[Path]:
    """All documents of a checkout, its README first."""
    paths = [path for folder in _FOLDERS for path in sorted((repository / folder).rglob("*.md"))]
    return [repository / "README.md", repository / "BUILD.md", *paths]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a document that are marked as being of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.M)


def anchors(path: Path) -> set[str]:
    """What links can name of a document: its headings, as they are turned into anchors."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(texts: Iterable[str]) -> list[Command]:
    """The commands of blocks, each once: what has the same words is the same command."""
    found = {}
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            line = re.sub(r"(^| )# .*", "", line).strip()
            # Settings of the environment before the program are no words of it.
            bare = re.sub(r"^(\w+=('[^']*'|\S+) +)+", "", line)
            if tokens := tuple(shlex.split(bare)):
                found.setdefault(_normalised(tokens), Command(line, tokens))
    return list(found.values())


def in_order(listed: Sequence[Command]) -> list[Command]:
    """The same commands, each behind those whose run folders it reads; else as they stand."""
    waiting, ordered = list(listed), []
    while waiting:
        made = {command.makes for command in waiting}
        ready = next((command for command in waiting if not command.uses & made), None)
        if ready is None:
            raise ValueError(f"these need each other's folders: {[each.line for each in waiting]}")
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def _normalised(tokens: Sequence[str]) -> tuple[str, ...]:
    """With `--flag value` as `--flag=value`."""
    joined: list[str] = []
    for token in tokens:
        if joined and re.fullmatch(r"--\w+", joined[-1]) and not token.startswith("--"):
            joined[-1] += f"={token}"
        else:
            joined.append(token)
    return tuple(joined)
