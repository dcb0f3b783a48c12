"""The page of findings is what the table of kinds says."""

from __future__ import annotations

import re

from lab.kmip.replay.findings import FindingLevel
from lab.kmip.replay.kinds import KINDS
from tests.docs.findings_page import PAGE, page


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text() == page(), "make it anew: .venv/bin/python -m tests.docs.findings_page"


def test_ids_are_words_and_each_stands_once() -> None:
    ids = [kind.id for kind in KINDS]
    assert len(set(ids)) == len(ids) > 30
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", one) for one in ids)
    assert {kind.level for kind in KINDS} == set(FindingLevel)
