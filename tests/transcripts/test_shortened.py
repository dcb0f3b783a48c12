"""What is left out of a transcript is nothing that could change unseen."""

from __future__ import annotations

from typing import Any

import pytest

from lab.schema.errors import KeysteadError
from tests.transcripts.script import Line, Said, written
from tests.transcripts.shortened import (
    NO_FIX,
    Before,
    as_printed,
    differences,
    document_in,
    without_usual_fix,
)

ID = "KS-USE-002"
TOLD = f"keystead: error {ID}: there is no VM vm-09\n"
USUAL = KeysteadError(ID)


@pytest.mark.parametrize(
    ("err", "kept"),
    [
        (f"{TOLD}  fix: {USUAL.fix}\n", TOLD),
        (f"{TOLD}  fix: another\n", f"{TOLD}  fix: another\n"),
        (TOLD, f"{TOLD}{NO_FIX}\n"),
        ("keystead: error KS-PRODUCT-001: refused\n", "keystead: error KS-PRODUCT-001: refused\n"),
        ("keystead: interrupted\n", "keystead: interrupted\n"),
    ],
)
def test_a_fix_is_left_out_where_it_is_the_one_explained(err: str, kept: str) -> None:
    assert without_usual_fix(err) == kept


@pytest.mark.parametrize(
    ("code", "err", "last"),
    [
        (USUAL.exit_code, TOLD, f"! {TOLD.rstrip()}"),
        (0, TOLD, "exit 0"),
        (1, TOLD, "exit 1"),
        (0, "", "$ keystead x"),
        (130, "", "exit 130"),
    ],
)
def test_an_exit_code_is_left_out_where_it_follows(code: int, err: str, last: str) -> None:
    assert written(Line("$", "keystead x"), Said(code, "", err))[-1] == last


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"a": 1, "b": 2}, {"a": 1}, {"no b": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"a": [1, 2]}, {"a": [2, 1]}, {"a": [2, 1]}),
        (
            {"a": [{"n": 1, "v": 1}, {"n": 2, "v": 1}]},
            {"a": [{"n": 2, "v": 1}, {"n": 1, "v": 3}]},
            {"a": [{"n": 2}, {"n": 1, "v": 3}]},
        ),
        ({"a": [{"n": 1}]}, {"a": []}, {"a": []}),
        ({"a": [{"n": 1}, {"n": 2}]}, {"a": [{"n": 1}]}, {"a": [{"n": 1}]}),
        ({"a": [{"n": 1}]}, {"a": [{"n": 1}, {"n": 1}]}, {"a": [{"n": 1}, {"n": 1}]}),
    ],
)
def test_of_a_document_all_that_differs_is_told(old: Any, new: Any, told: Any) -> None:
    assert differences(old, new) == told


def test_a_document_is_compared_with_the_last_of_its_kind() -> None:
    before = Before()
    values = {f"field_{number}": "value" * 4 for number in range(12)}
    first, other = {"kind": "Vm", **values}, {"kind": "Host", **values}
    assert before.show_document(first).startswith("{\n")
    assert before.show_document(other).startswith("{\n")
    assert before.show_document(first) == "as the last Vm\n"
    assert before.show_document({**first, "field_3": 7}) == 'as the last Vm, but\n{"field_3": 7}\n'


def test_a_document_that_is_printed_otherwise_is_noticed() -> None:
    document = {"apiVersion": "keystead/v1", "b": 1, "a": "é"}
    assert document_in(as_printed(document)) == document
    assert document_in("apiVersion: keystead/v1\nb: 1\na: é\n") == document
    for out in ('{\n  "b":1\n}\n', "apiVersion: keystead/v1\nb:   1\n"):
        with pytest.raises(AssertionError):
            document_in(out)
