"""``broker.route_cut``: two servers of the bus are up, and do not hear each other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab.client import Lab
from lab.schema.commands import GetFaults, GetVms, VmCreate
from lab.schema.errors import KeysteadError
from tests.e2e.test_broker_down import BOTH, links


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "options"), BOTH)
async def test_nobody_loses_a_link_and_two_sides_do_not_hear_each_other(
    mode: Any, options: dict[str, Any]
) -> None:
    async with Lab(mode, seed=5, hosts=2, vms=1, bus={"servers": 2}, **options) as lab:
        before = await links(lab)
        cut = await lab.fault("broker.route_cut", between=[2, 1])
        (listed,) = (await lab.do(GetFaults())).items
        assert listed.state == "active" and listed.summary.startswith("servers 1 and 2 of the bus")
        sides = [side.split(", ") for side in listed.found["apart"].split(" from ")]
        assert sorted(sides[0] + sides[1]) == sorted(before), "all of them, each at one server"
        assert {node: lost for node, (lost, _) in (await links(lab)).items()} == {
            node: lost for node, (lost, _) in before.items()
        }
        there = next(side for side in sides if "vcenter" not in side)
        needed = {"kms", "esxi-001", "esxi-002"} & {*there}
        assert needed, "the names of this lab lie on both sides"
        with pytest.raises(KeysteadError):
            for host in ("esxi-001", "esxi-002"):
                await lab.do(VmCreate(f"during-{host}", encrypted=True, host=host))
        with pytest.raises(KeysteadError, match="holds the route between servers 1 and 2"):
            await lab.fault("broker.route_cut", between=[1, 2])
        assert (await lab.heal()).healed == (cut,)
        for _ in range(60):
            await lab.sleep(5)
            if all(vm.connection == "connected" for vm in (await lab.do(GetVms())).items):
                break
        await lab.do(VmCreate("after", encrypted=True, host="esxi-002"))


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "options"), BOTH)
async def test_it_stays_cut_while_a_server_comes_and_goes(
    mode: Any, options: dict[str, Any]
) -> None:
    """In either order of their ends."""
    async with Lab(mode, seed=5, hosts=1, vms=0, bus={"servers": 3}, **options) as lab:
        for first in (0, 1):
            cut = await lab.fault("broker.route_cut", between=[1, 2])
            down = await lab.fault("broker.down", on=1)
            with pytest.raises(KeysteadError, match="server 1 of the bus is down"):
                await lab.fault("broker.route_cut", between=[1, 3])
            for fault in (cut, down) if first else (down, cut):
                assert (await lab.heal(fault)).healed == (fault,)
                await asyncio.sleep(0)
            assert (await lab.do(GetFaults())).items == ()


@pytest.mark.sim
async def test_it_is_refused_where_there_is_no_such_route() -> None:
    async with Lab("sim", seed=5, hosts=1, vms=0, bus={"servers": 2}) as lab:
        for between, told in (
            ([1, 1], "not 1 and 1"),
            ([1, 3], "no server 3 of the bus, which has 2"),
            ([0, 1], "greater than or equal to 1"),
            ([1], "Field required"),
            (1, "valid tuple"),
        ):
            with pytest.raises(KeysteadError, match=told):
                await lab.fault("broker.route_cut", between=between)
