"""The version stands in one place, and what repeats it agrees."""

import re
from pathlib import Path

import sepcon


def test_the_citation_is_of_this_version(repository: Path) -> None:
    text = (repository / "CITATION.cff").read_text()
    (version,) = re.findall(r"^version: (\S+)$", text, flags=re.MULTILINE)
    assert version == sepcon.__version__
    assert re.search(r"^cff-version: 1\.2\.0$", text, flags=re.MULTILINE)
    (licence,) = re.findall(r"^license: (\S+)$", text, flags=re.MULTILINE)
    assert "Apache License" in (repository / "LICENSE").read_text()
    assert licence == "Apache-2.0"
    assert f"{licence}" in (repository / "setup.py").read_text()
