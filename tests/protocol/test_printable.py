"""What a terminal obeys does not reach it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.schema.errors import KeysteadError
from protocol.printable import SHOWN, one_line, printable, printable_json, quote, quote_if_needed

HARD = "a\x1b[31m\x00\x7f\x9b\u202e\ud800\U000e0041\r\nb\tc"


def test_control_characters_are_escaped_and_lines_stay() -> None:
    assert printable("héllo\n\tvm-01") == "héllo\n\tvm-01"
    assert printable("a\x1b[31m\x00\r\x9b\u202e\ud800") == r"a\x1b[31m\x00\r\x9b\u202e\ud800"
    assert one_line("a\nb\tc") == r"a\nb\tc"


@given(st.text(st.characters(codec=None), max_size=50))
def test_any_text_can_be_shown_and_encoded(text: str) -> None:
    for shown in (printable(text), one_line(text)):
        assert shown.replace("\n", "").replace("\t", "").isprintable()
        shown.encode("utf-8")
    whole = printable_json(json.dumps({"text": text}, indent=2, ensure_ascii=False))
    assert whole.replace("\n", "").isprintable()
    assert json.loads(whole) == {"text": text}


def test_what_is_repeated_is_whole_up_to_a_length() -> None:
    longest, longer = "x" * SHOWN, "x" * (SHOWN + 1)
    assert (quote(longest), quote_if_needed(longest)) == (f"'{longest}'", longest)
    assert quote(longer) == quote_if_needed(longer) == f"'{longest}' ... ({SHOWN + 1} characters)"


@pytest.mark.parametrize("id", ["KS-USE-002", "KS-CHAOS-010"])
def test_an_error_for_people_has_nothing_of_it(id: str) -> None:
    error = KeysteadError(id, f"no host {HARD}", f"try {HARD}")
    for text in (str(error), error.fix):
        assert text.replace("\n", "").replace("\t", "").isprintable() and "a\\x1b[31m" in text
