"""The page of knobs is what the table of knobs says, and answers every open question."""

from __future__ import annotations

from services.knobs import table
from tests.docs.knobs_page import PAGE, page, questions


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text() == page(), "make it anew: .venv/bin/python -m tests.docs.knobs_page"


def test_every_question_has_a_row_and_every_knob_is_there() -> None:
    text = PAGE.read_text()
    assert [f"| C{n} |" in text for n in range(1, 29)] == [True] * 28
    assert len(questions()) == 28
    for name, row in table().items():
        assert f"`{name}`" in text
        assert f"{row.instead} |" in text


def test_a_knob_that_is_not_on_the_page_is_missed() -> None:
    lines = page().splitlines()
    assert "\n".join(lines[:-1]) + "\n" != page()
