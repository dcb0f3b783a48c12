"""``explain knob``: the list of all, and one with everything that is known of it."""

from __future__ import annotations

import json

import msgspec
import pytest

from lab.cli.main import run
from lab.local.explain import rule_of
from services.knobs import table


def test_the_list_has_every_knob(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "knob", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == list(table())
    assert run(["explain", "knob"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [heartbeat] = [line.split(maxsplit=2) for line in lines if line.startswith("heartbeat_s")]
    assert heartbeat[:2] == ["heartbeat_s", "10"]
    assert heartbeat[2].split("  ")[0] == "0.1 to 3600 s"


def test_one_knob_says_all_that_is_known_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "knob", "vc_key_cache_s"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("vc_key_cache_s: How long vCenter keeps values of keys in memory")
    assert [line.split(":")[0] for line in lines] == [
        "default",
        "values",
        "instead",
        "unit",
        "rule",
        "read by",
    ]
    assert [line.split(": ")[1].strip() for line in lines] == [
        "0",
        "0 to 864000 s",
        "So long after a key was made or fetched, hosts get it without its key server.",
        "s",
        "C15",
        "vcenter",
    ]


def test_every_rule_of_a_knob_has_its_text() -> None:
    assert [row.name for row in table().values() if row.rule and rule_of(row.rule) is None] == []


def test_a_default_is_shown_as_a_lab_file_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "knob", "failover_on_missing"]) == 0
    assert "default:  false\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", table())
def test_the_document_is_the_row_of_the_table(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "knob", name, "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown.pop("apiVersion"), shown.pop("kind")) == ("keystead/v1", "Knob")
    assert shown == json.loads(msgspec.json.encode(table()[name]))
