"""A process that was not there when link rules were put has them when it is there again."""

from __future__ import annotations

import pytest

from lab.api.commands import GetNodes, HostPause, HostResume
from lab.client import Lab
from protocol.terms import NodeName

pytestmark = pytest.mark.lab
VCENTER, FIRST = NodeName("vcenter"), NodeName("esxi-001")


async def rules(lab: Lab) -> set[tuple[str, str]]:
    """Rules on what the first host sends, as its own process has them, and to whom."""
    nodes = {node.node: node.rules for node in (await lab.do(GetNodes())).items}
    return {(rule.rule, rule.dst) for rule in nodes[FIRST]}


async def test_what_was_cut_while_a_process_stood_still_is_cut_when_it_goes_on() -> None:
    async with Lab("lab", hosts=2, vms=0, tpm="none", pace=60) as lab:
        await lab.do(HostPause((FIRST,)))
        cut = await lab.cut("vcenter", "role:esxi")
        await lab.do(HostResume((FIRST,)))
        assert await rules(lab) == {(cut, VCENTER)}


async def test_a_process_that_was_killed_comes_back_behind_the_same_cut() -> None:
    async with Lab("lab", hosts=1, vms=0, tpm="none", pace=60) as lab:
        cut = await lab.cut("vcenter", FIRST)
        assert await rules(lab) == {(cut, VCENTER)}
        killed = await lab.fault("proc.kill", on=FIRST)
        await lab.heal(killed)
        assert await rules(lab) == {(cut, VCENTER)}
