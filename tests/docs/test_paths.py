"""Every file and folder that the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT, Source, sources

_PATH = re.compile(r"`((?:\./)?[\w.-]+(?:/[\w.-]+)+/?)`")
PAGES = [source for source in sources() if source.path.endswith(".md")]


def absent(page: Source, root: Path) -> list[str]:
    """Findings for paths that are not there."""
    return [
        page.at(number, f"{path} is not there")
        for number, line in enumerate(page.lines, 1)
        for path in _PATH.findall(line)
        if not (root / path).exists()
    ]


@pytest.mark.parametrize("page", PAGES, ids=[page.path for page in PAGES])
def test_what_a_document_names_is_there(page: Source) -> None:
    assert absent(page, ROOT) == []


def test_what_is_gone_is_found() -> None:
    page = Source("docs/page.md", "`lab/cli/main.py` and `lab/nowhere/at_all.py`, not `a b/c`")
    assert absent(page, ROOT) == ["docs/page.md:1: lab/nowhere/at_all.py is not there"]
