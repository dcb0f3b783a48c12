"""What a seed fixes is the same on every machine and every version of Python."""

from __future__ import annotations

import pytest

from services.runtime.seeded import SeededStreams, Tokens, derive, stream, unit


def test_names_do_not_run_into_each_other() -> None:
    assert derive(1, "a", "bc") != derive(1, "ab", "c") != derive(1, "a|bc")


def test_a_purpose_has_these_numbers_for_ever() -> None:
    assert derive(7, "a") == 184004875293245781299938647847251536357
    assert unit(7, "fate", "a") == pytest.approx(0.36733752027502287, abs=0)
    assert stream(7, "a").random() == pytest.approx(0.5065907839229035, abs=0)
    assert Tokens(7, "a").next(4).hex() == "738850e4"


def test_a_unit_is_uniform_and_below_one() -> None:
    drawn = [unit(1, number) for number in range(2000)]
    assert all(0.0 <= value < 1.0 for value in drawn)
    assert [round(sum(value < tenth / 10 for value in drawn) / 200) for tenth in range(1, 10)] == [
        *range(1, 10)
    ]


def test_one_draw_more_in_one_stream_moves_no_other() -> None:
    one, two = SeededStreams(3, "node"), SeededStreams(3, "node")
    one["busy"].random()
    assert one["quiet"].random() == two["quiet"].random()
    assert one["busy"] is one["busy"]
    assert one["busy"].random() != two["busy"].random()
