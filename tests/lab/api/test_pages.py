"""What a command lists is whole, also when it is longer than one message."""

from __future__ import annotations

import pytest

from lab.api.commands import GetAudit
from lab.api.table import perform
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.errors import ProductError
from protocol.messages.kms import Activate
from protocol.terms import KeyId, NodeName

pytestmark = pytest.mark.sim


def test_an_audit_trail_of_many_pages_is_whole() -> None:
    lab, session = make(plan(load("default", hosts=1, vms=1, tpm="model")), 3)

    async def refusals() -> None:
        for number in range(1100):
            with pytest.raises(ProductError):
                await lab.ask(NodeName("kms"), Activate(key_id=KeyId(f"nothing-{number}")))

    lab.run(refusals())
    rows = lab.run(perform(session, GetAudit())).items
    lab.loop.close()
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1].key_id == "nothing-1099"
