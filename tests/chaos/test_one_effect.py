"""With vSphere HA a host that is back may list a VM that another runs by now; two never run it."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks.one_effect import one_effect
from chaos.checks.result import CheckOutcome
from tests.chaos.test_checks import LOOK, made, on, records


@pytest.mark.parametrize(
    ("there", "result"),
    [
        ([on("a", "poweredOff"), on("b")], CheckOutcome.PASS),
        ([on("a"), on("b")], CheckOutcome.FAIL),
        ([on("a", "poweredOff"), on("d")], CheckOutcome.FAIL),
    ],
)
def test_hosts_of_a_cluster_with_ha(there: list[Any], result: CheckOutcome) -> None:
    staging = ("", "state", "staging", {"ha": ["a", "b", "c"]})
    assert one_effect(records([staging, LOOK, *there, made()])).result is result


@pytest.mark.parametrize(
    ("rows", "result"),
    [
        ([("invoke",), on("a"), on("b"), ("ok",)], CheckOutcome.PASS),
        ([("invoke",), on("a"), ("ok",), on("b")], CheckOutcome.PASS),
        ([("invoke",), ("ok",), LOOK, on("a"), on("b")], CheckOutcome.FAIL),
    ],
)
def test_a_vm_is_seen_on_both_hosts_only_while_it_is_migrated(
    rows: list[Any], result: CheckOutcome
) -> None:
    told = [(on("a")[0], *row, "vm.migrate", {"n": 4}) if len(row) == 1 else row for row in rows]
    assert one_effect(records([LOOK, *told, LOOK, made()])).result is result
