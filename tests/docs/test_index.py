"""Every page of the documentation is found by a question, and every link of the index leads on."""

from __future__ import annotations

import re

from tests.tidy.tree import ROOT

_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
DOCS = ROOT / "docs"


def test_the_index_has_every_page() -> None:
    links = set(_LINK.findall((DOCS / "README.md").read_text("utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} - links == set()
    assert [link for link in sorted(links) if not (DOCS / link).exists()] == []
