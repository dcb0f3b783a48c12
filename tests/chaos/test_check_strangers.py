"""A check reads records of one type and op: what others say, however loudly, changes no finding."""

from __future__ import annotations

import pytest

from chaos.checks import CHECKS
from chaos.history import Record
from tests.chaos import test_checks as known
from tests.chaos.test_checks import Row

FOLLOW_THE_ORACLE = {"truth_table", "no_needless_outage", "recovery_bound"}
"""These follow a fold of whole histories, in which each record has its place."""


def strangers(rows: list[Row]) -> list[Row]:
    """What each of these records would say, in a record of another type, or of another state."""
    found: list[Row] = []
    for node, type, op, data in rows:
        found.append((node, "remark", "" if op in ("node", "staging") else op, data))
        if type == "state":
            found.append((node, type, "other", data))
    return found


def together(*parts: tuple[list[Row], float]) -> list[Record]:
    """Records of each part a second apart, from its moment on."""
    made = [(row, begin + n) for rows, begin in parts for n, row in enumerate(rows)]
    return [
        Record(seq=n, t=t, node=row[0], type=row[1], op=row[2], data=row[3])
        for n, (row, t) in enumerate(made, start=1)
    ]


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - FOLLOW_THE_ORACLE))
def test_a_record_of_another_type_or_op_changes_no_finding(name: str) -> None:
    """All that speaks for or against it, in records that are not what the check reads."""
    stories = [rows for check, _, rows in known.CASES if check == name]
    every = strangers([row for rows in stories for row in rows])
    for rows in ([], *stories):
        plain = CHECKS[name].judge(together((rows, 1.0)))
        mixed = CHECKS[name].judge(together((every, 0.0), (rows, 1.0), (every, len(rows) + 1.0)))
        assert (mixed.result, mixed.text) == (plain.result, plain.text), rows
        assert tuple(seq - len(every) for seq in mixed.records) == plain.records
