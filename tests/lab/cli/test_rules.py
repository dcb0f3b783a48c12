"""The rules that code cites can be read, and printed by their ids."""

from __future__ import annotations

import json

import msgspec
import pytest

from lab.cli.main import run
from lab.local.explain import all_rules, read_rules

PAGE = """# Rules

Words before any rule.

## Locking

About the group.

### LOCK-01: Two failures
A key is missing,
and nobody can bring it.

### LOCK-02: The home

## Boot

### B0: Firmware
It starts.
"""


def test_a_page_is_read() -> None:
    found = [msgspec.structs.astuple(rule) for rule in read_rules(PAGE).values()]
    assert found == [
        ("LOCK-01", "Two failures", "A key is missing, and nobody can bring it.", "Locking"),
        ("LOCK-02", "The home", "", "Locking"),
        ("B0", "Firmware", "It starts.", "Boot"),
    ]


def test_an_id_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="LOCK-01 stands twice"):
        read_rules(PAGE + "### LOCK-01: Again\n")


def test_every_rule_has_a_title_and_a_text_of_whole_sentences() -> None:
    found = all_rules()
    assert len(found) > 300
    for rule in found.values():
        assert rule.group and rule.title and not rule.title.endswith("."), rule
        assert rule.text.endswith((".", "?")) and len(rule.text) > 15, rule
        assert rule.text[0].isupper() or rule.text.startswith(("`", "vCenter", "vSAN")), rule


@pytest.mark.parametrize("id", ["LOCK-01", "lock-01", "kp-13A", "B9", "c4"])
def test_a_rule_is_printed_whatever_the_case(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", id]) == 0
    out = capsys.readouterr().out
    rule = all_rules()[id.upper().replace("KP-13A", "KP-13a")]
    assert out.startswith(f"{rule.id}: {rule.title}\n")
    assert " ".join(rule.text.split()) in " ".join(out.split())


def test_a_rule_as_json_and_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "std-13", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["apiVersion"], document["kind"], document["id"]) == (
        "keystead/v1",
        "Rule",
        "STD-13",
    )
    assert document["text"] == all_rules()["STD-13"].text
    assert run(["explain", "std-13", "-o", "name"]) == 0
    assert capsys.readouterr().out == "STD-13\n"


def test_all_rules_are_listed_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "rules", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["items"]
    assert [row["id"] for row in listed] == list(all_rules())
    assert run(["explain", "rules", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == list(all_rules())


def test_a_name_nearby_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "LOCK-1"]) == 64
    assert "did you mean LOCK-01" in capsys.readouterr().err
