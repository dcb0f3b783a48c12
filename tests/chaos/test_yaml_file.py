"""The reader of YAML takes any text: what is wrong with it is told, with line and column."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.yaml_file import VALUES_LIMIT, TextPlace, YamlFlaw, read_yaml

TAGS = ["bool", "int", "float", "timestamp", "binary", "null", "str", "set", "omap", "map", "seq"]
SCALARS = ["''", "'-'", "x", "0b", "12", "2001-99-99", "1:90", "[a]", "{a: b}", "~"]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("scalar", SCALARS)
def test_a_tag_that_its_value_does_not_fit_is_a_problem_at_its_place(tag: str, scalar: str) -> None:
    file = read_yaml(f"a: 1\nb: !!{tag} {scalar}\n")
    for problem in file.problems:
        assert (
            problem.flaw is YamlFlaw.UNREADABLE
            and problem.place == TextPlace(2, 1)
            and problem.text
        )
    assert (file.data is None) == bool(file.problems)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-?[]{}!&*|>'\"%@`#,\n\t .0123456789=<~"), max_size=60))
def test_any_text_is_read_or_has_problems(text: str) -> None:
    file = read_yaml(text)
    assert file.problems or file.data is not None or file.places


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: x\x07y\n", TextPlace(2, 5)),
        ("a: 1\r\nb: \x00\r\n", TextPlace(2, 4)),
        ("\x1b", TextPlace(1, 1)),
    ],
)
def test_a_character_that_yaml_does_not_have_is_found_where_it_is(
    text: str, place: TextPlace
) -> None:
    (problem,) = read_yaml(text).problems
    assert (problem.flaw, problem.place) == (YamlFlaw.UNREADABLE, place)


def test_a_small_file_has_no_more_values_than_are_read_in_a_moment() -> None:
    line = "- [" + "1," * 998 + "]\n"  # 999 values, and one for the list of all
    (problem,) = read_yaml(line * 20).problems
    assert problem.flaw is YamlFlaw.TOO_LARGE
    assert problem.place == TextPlace(VALUES_LIMIT // 999 + 1, 4 + 2 * 8)
    assert read_yaml(line * 2).problems == []
