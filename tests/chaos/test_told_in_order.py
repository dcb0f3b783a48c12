"""A host that lacks its key of a trusted provider: no key server was found unreachable before."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks.result import CheckOutcome
from chaos.checks.told_in_order import told_in_order
from chaos.history import Record
from protocol.events import EventTypeId as Id


@pytest.mark.parametrize(
    ("kind", "result"),
    [("trustAuthority", CheckOutcome.PASS), ("vCenter", CheckOutcome.FAIL)],
)
def test_what_a_host_lacks_is_told_after_its_cause(kind: str, result: CheckOutcome) -> None:
    told = [(Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR.value, "esxi-001", "")]
    assert judged(kind, told) is result
    told = [
        (event.value, "esxi-001", "vm-01")
        for event in (
            Id.KMS_UNREACHABLE,
            Id.VM_LOCKED_KMS_CLUSTER_ERROR,
            Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR,
            Id.VM_UNLOCKED,
        )
    ]
    assert judged(kind, told) is result


def judged(kind: str, told: list[tuple[str, str, str]]) -> CheckOutcome:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("staging", {"providers": [{"name": "p", "type": kind, "servers": []}]}),
        ("event_log", {"told": told}),
    ]
    records = [
        Record(seq=n, t=float(n), node="", type="state", op=op, data=data)
        for n, (op, data) in enumerate(rows, start=1)
    ]
    return told_in_order(records).result
