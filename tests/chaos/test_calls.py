"""Calls at key servers are counted as whoever reads the whole trail for each host counts them."""

from __future__ import annotations

from random import Random

from chaos.observe.audit import GET, Calls, asker
from protocol.messages.kms.keys import AuditRow

WHO = ("vcenter-01", "esxi-001", "kmip/esxi-001", "kmip/esxi-002 0123456789abcdef", "esxi-002")


def row(sequence: int, draws: Random) -> AuditRow:
    return AuditRow(
        sequence=sequence,
        at=float(sequence),
        who=draws.choice(WHO),
        operation=draws.choice((GET, "Create", "Activate")),
        key_id=f"key-{draws.randrange(6)}",
        result="Success",
        digest=str(sequence),
    )


def test_calls_are_those_that_the_whole_trail_shows() -> None:
    draws, rows, calls = Random(5), list[AuditRow](), Calls()
    counted = 0
    for _ in range(60):  # the trail grows, and is counted between
        rows += [row(len(rows) + number, draws) for number in range(draws.randrange(9))]
        begin, end = sorted((draws.randint(0, len(rows)), draws.randint(0, len(rows))))
        host, keys = draws.choice(("esxi-001", "esxi-002")), {"key-1", "key-4"}
        among = rows[begin:end]
        asked = [one for one in among if one.operation == GET and one.key_id in keys]
        by_host = [one for one in among if asker(one) == host and one not in asked]
        assert calls.count(rows, host, keys, begin, end) == len(asked) + len(by_host)
        counted += len(asked) + len(by_host)
    assert counted > 500
