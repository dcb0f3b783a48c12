"""Every rule that code, documents and messages cite has its text in ``docs/rules.md``."""

from __future__ import annotations

import pytest

from lab.local.explain import all_rules
from services.knobs import table
from tests.tidy.cited import cited, unexplained
from tests.tidy.tree import Source, sources

KNOWN = all_rules()


def test_every_rule_that_is_cited_is_explained() -> None:
    found = unexplained(sources(), KNOWN)
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_the_tree_cites_rules() -> None:
    found = {
        id for source in sources() for _, id in cited(source) if source.path != "docs/rules.md"
    }
    assert len(found) > 80 and {"LOCK-01", "B8", "C4"} <= found


def test_every_id_that_is_explained_can_be_cited() -> None:
    lines = [id for _, id in cited(Source("docs/rules.md", "\n".join(KNOWN)))]
    assert lines == list(KNOWN)


@pytest.mark.parametrize("name", table())
def test_the_rule_of_a_knob_is_explained(name: str) -> None:
    """And an open question names the knob that answers it."""
    rule = table()[name].rule
    assert not rule or rule in KNOWN
    assert not rule.startswith("C") or f"`{name}`" in KNOWN[rule].text


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("the cache ends [STD-" + "77]", "STD-" + "77"),
        ("(LOCK-" + "99): so", "LOCK-" + "99"),
        ("step B" + "8x is none, B" + "8 is", ""),
        ("R" + "99, and what follows", "R" + "99"),
        ("by C" + "99: open", "C" + "99"),
    ],
)
def test_an_id_that_nothing_explains_is_found(text: str, id: str) -> None:
    found = unexplained([Source("lab/core.py", text)], KNOWN)
    assert found == ([f"lab/core.py:1: nothing explains {id}"] if id else [])


@pytest.mark.parametrize(
    "text",
    ["# noqa: B" + "023", "X25519 and AES-256", "KS-LAB-001", "esxi-001", "ES2023", "F" + "401"],
)
def test_what_is_no_id_is_let_pass(text: str) -> None:
    assert not list(cited(Source("lab/core.py", text)))
