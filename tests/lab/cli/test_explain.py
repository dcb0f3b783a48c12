"""``keystead explain`` is one search over everything that has a name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaos.fields import describe_fields
from lab.cli.main import run
from lab.topology.lab_file import LabFile


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
    assert run(["explain", *words, "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "MatchList" and document["query"] == " ".join(words)
    return [(item["kind"], item["name"]) for item in document["items"]]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("latent", ("fault", "tpm.clear")),
        ("locked", ("term", "locked, unlocked")),
        ("unlocked", ("term", "locked, unlocked")),
        ("persistence", ("term", "key persistence")),
        ("key persistence", ("term", "key persistence")),
        ("psod", ("term", "purple screen, PSOD")),
        ("lab", ("term", "lab")),
        ("topology", ("term", "topology")),
        ("vm encrypt", ("command", "vm encrypt")),
        ("secure_boot", ("lab file", "clusters.hosts.secure_boot")),
        ("requires.hosts", ("experiment", "requires.hosts")),
    ],
)
def test_the_closest_match_comes_first(
    words: str, first: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(capsys, *words.split())[0] == first


def test_a_word_finds_things_of_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {kind for kind, _ in explain(capsys, "persistence")}
    assert kinds >= {"term", "command", "action", "lab file", "experiment", "knob", "rule"}


def test_people_read_a_term_in_full_and_a_line_of_each_other_match(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["explain", "locked"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("locked, unlocked: A VM's crypto state. vCenter marks a VM locked when")
    assert "\nprobe    vm.locked  " in out and out.count("\n") < 25
    assert "more: keystead explain locked -o wide" in err


def test_what_a_word_is_part_of_is_found_by_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "latent"]) == 0
    assert "field latent (true | false): TPMs are cleared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "near"),
    [("presistence", "persistence"), ("topolgy", "topology"), ("LOCK-1", "LOCK-01")],
)
def test_what_is_nowhere_names_what_is_near(
    word: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", word]) == 64
    assert f"did you mean {near}" in capsys.readouterr().err


def test_every_field_of_a_lab_file_says_what_it_is() -> None:
    assert [field.path for field in describe_fields(LabFile) if not field.text] == []
