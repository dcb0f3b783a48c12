"""What the oracle does not reason about makes a run unknown, and never a breach of the rules."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chaos.checks.result import CheckOutcome
from chaos.checks.truth_table import NOT_REASONED, truth_table
from chaos.history import Record
from chaos.oracle.fold.settings import FoldSettings
from services.knobs import faults, table
from tests.chaos.oracle.test_truth_table_check import BAD, GOOD, records


def with_knobs(story: list[Record], **knobs: Any) -> list[Record]:
    """The same run of a lab with these knobs as well."""
    return [
        msgspec.structs.replace(
            one, data={**one.data, "knobs": {**one.data.get("knobs", {}), **knobs}}
        )
        if one.op == "staging"
        else one
        for one in story
    ]


OTHER: dict[str, Any] = {
    "auto_unlock": False,
    "failover_on_missing": True,
    "store_follows_cache": False,
    "unattested_blocks": "all",
    "vc_key_cache_s": 3600,
}


def test_the_defaults_are_those_of_the_table() -> None:
    assert OTHER.keys() == NOT_REASONED.keys() and faults(OTHER) == {}
    assert {name: table()[name].default for name in NOT_REASONED} == dict(NOT_REASONED)
    assert not NOT_REASONED.keys() & set(FoldSettings.__struct_fields__)


@pytest.mark.parametrize("name", NOT_REASONED)
def test_another_answer_is_unknown_and_the_default_is_judged(name: str) -> None:
    good = records(next(iter(GOOD.values()))())
    bad = records(next(iter(BAD.values()))[0]())
    for story, judged in ((good, CheckOutcome.PASS), (bad, CheckOutcome.FAIL)):
        other = truth_table(with_knobs(story, **{name: OTHER[name]}))
        assert other.result is CheckOutcome.UNKNOWN and name in other.text
        usual = truth_table(with_knobs(story, **{name: NOT_REASONED[name]}))
        assert usual.result is judged
