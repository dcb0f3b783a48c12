"""``broker.down``: a lab whose bus is a cluster goes on without one of its servers."""

from __future__ import annotations

from typing import Any

import pytest

from lab.client import Lab
from lab.schema.commands import GetFaults, GetNodes, VmCreate
from lab.schema.errors import KeysteadError

BOTH = [
    pytest.param("sim", {}, marks=pytest.mark.sim, id="sim"),
    pytest.param(
        "lab", {"tpm": "none", "pace": 30}, marks=[pytest.mark.lab, pytest.mark.slow], id="lab"
    ),
]


async def links(lab: Lab) -> dict[str, tuple[int, int]]:
    """How often each node has lost its link to the bus, and has had it again."""
    nodes = (await lab.do(GetNodes())).items
    return {
        str(n.node): (n.counters.get("disconnects", 0), n.counters.get("reconnects", 0))
        for n in nodes
    }


@pytest.mark.parametrize(("mode", "options"), BOTH)
async def test_it_survives_the_loss_of_one_server_and_not_of_the_last(
    mode: Any, options: dict[str, Any]
) -> None:
    async with Lab(mode, seed=5, hosts=2, vms=1, bus={"servers": 3}, **options) as lab:
        before = await links(lab)
        second = await lab.fault("broker.down", on=2)
        now = await links(lab)
        moved = {node for node, (lost, _) in now.items() if lost > before[node][0]}
        assert moved and moved != {*now}, "nodes are spread over the servers"
        assert all(lost == back for lost, back in now.values())
        await lab.do(VmCreate("during", encrypted=True, host="esxi-001"))
        assert [row.state for row in (await lab.do(GetFaults())).items] == ["active"]

        with pytest.raises(KeysteadError, match="server 2 of the bus is down already"):
            await lab.fault("broker.down", on=2)
        third = await lab.fault("broker.down", on=3)
        with pytest.raises(KeysteadError, match="only one of the bus that is up") as caught:
            await lab.fault("broker.down", on=1)
        assert caught.value.id == "KS-CHAOS-106"
        whole = await lab.fault("broker.restart")
        report = await lab.heal(whole)
        assert report.healed == (whole,), "it does not start what another fault has down"
        assert {f.id for f in (await lab.do(GetFaults())).items} == {second, third}
        assert {*(await lab.heal()).healed} == {second, third}
        await lab.do(VmCreate("after", encrypted=True, host="esxi-002"))


@pytest.mark.sim
async def test_it_is_refused_where_there_is_no_such_server() -> None:
    async with Lab("sim", seed=5, hosts=1, vms=0) as lab:
        for on, told in ((1, "broker.restart"), (2, "has 1"), (0, "greater than or equal to 1")):
            with pytest.raises(KeysteadError, match=told):
                await lab.fault("broker.down", on=on)
