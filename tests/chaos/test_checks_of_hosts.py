"""What checks make of hosts that are installed anew, and of those that fetch their keys."""

from __future__ import annotations

import pytest

from chaos.checks import CHECKS
from chaos.checks.result import CheckOutcome
from tests.chaos.test_checks import SEALED, Row, boot, records

REINSTALLED: Row = ("esxi-001", "invoke", "host.reinstall", {"n": 1})
UNSEAL, ORDER = "no_unseal_under_changed_pcr", "told_in_order"


def log(*events: str) -> Row:
    """vCenter's log: these of host h."""
    return ("vc", "state", "event_log", {"told": [(f"com.vmware.vc.{e}", "h", "") for e in events]})


def staging(kind: str) -> Row:
    return ("", "state", "staging", {"providers": [{"name": "p", "type": kind}]})


ASKS, SAFE = "host.Crypto.ReqEnable.KMSClusterError", "host.Crypto.Enabled"
CASES: list[tuple[str, CheckOutcome, list[Row]]] = [
    (UNSEAL, CheckOutcome.PASS, [SEALED, boot(1), REINSTALLED, boot(2, "bb"), boot(3, "bb")]),
    (UNSEAL, CheckOutcome.FAIL, [SEALED, boot(1), REINSTALLED, boot(2, "bb"), boot(3, "cc")]),
    (ORDER, CheckOutcome.PASS, [staging("trustAuthority"), log(ASKS, SAFE)]),
    (ORDER, CheckOutcome.FAIL, [staging("vCenter"), log(ASKS, SAFE)]),
]


@pytest.mark.parametrize(("name", "result", "rows"), CASES)
def test_verdicts(name: str, result: CheckOutcome, rows: list[Row]) -> None:
    assert CHECKS[name].judge(records(rows)).result is result
