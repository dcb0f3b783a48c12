"""What a command lists is whole, also when it is longer than one message."""

from __future__ import annotations

import pytest

from lab.schema.commands import GetAudit
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.kms.keys import CreateKey
from protocol.terms import NodeName

pytestmark = pytest.mark.sim


def test_an_audit_trail_of_many_pages_is_whole() -> None:
    lab, session = make(plan(load("default", hosts=1, vms=1, tpm="model")), 3)

    async def keys() -> None:
        for number in range(1100):
            await lab.ask(NodeName("kms"), CreateKey(operation_id=f"key/{number}"))

    lab.run(keys())
    rows = lab.run(perform(session, GetAudit())).items
    lab.loop.close()
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > 1100 and rows[-1].operation == "Create"
