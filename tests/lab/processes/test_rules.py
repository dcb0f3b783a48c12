"""A process that was not there when link rules were put, or firmware was set up, has them when it
is there again."""

from __future__ import annotations

import pytest

from lab.client import Lab, Owned
from lab.schema.commands import GetNodes, HostPause, HostResume, TpmPcrs
from protocol.terms import NodeName

pytestmark = pytest.mark.lab
KMS = NodeName("kms")
VCENTER, FIRST = NodeName("vcenter"), NodeName("esxi-001")


async def rules(lab: Lab) -> set[tuple[str, str]]:
    """Rules on what the first host sends, as its own process has them, and to whom."""
    nodes = {node.node: node.rules for node in (await lab.do(GetNodes())).items}
    return {(rule.rule, rule.dst) for rule in nodes[FIRST]}


@pytest.mark.slow
async def test_what_was_cut_while_a_process_stood_still_is_cut_when_it_goes_on() -> None:
    async with Lab("lab", hosts=2, vms=0, tpm="none", pace=60) as lab:
        await lab.do(HostPause((FIRST,)))
        cut = await lab.cut("vcenter", "role:esxi")
        await lab.do(HostResume((FIRST,)))
        assert await rules(lab) == {(cut, VCENTER)}


@pytest.mark.slow
async def test_a_process_that_was_killed_comes_back_behind_the_same_cut() -> None:
    async with Lab("lab", hosts=1, vms=0, tpm="none", pace=60) as lab:
        cut = await lab.cut("vcenter", FIRST)
        assert await rules(lab) == {(cut, VCENTER)}
        killed = await lab.fault("proc.kill", on=FIRST)
        await lab.heal(killed)
        assert await rules(lab) == {(cut, VCENTER)}


@pytest.mark.slow
async def test_a_kill_that_was_asked_for_is_no_surprise_and_leaves_a_machine_that_refuses() -> None:
    """The process of a key server is gone, its machine is not: who asks hears so at once."""
    async with Lab("lab", hosts=1, vms=0, tpm="none", pace=60) as lab:
        assert isinstance(lab.way, Owned)
        warned: list[str] = []
        lab.way.lab.warn = warned.append
        killed = await lab.fault("proc.kill", on=KMS)
        assert (await lab.way.lab.canary(VCENTER, KMS, within_s=60.0)).error == "Refused"
        await lab.heal(killed)
        assert warned == []
        lab.way.lab._child(KMS).kill()
        await lab.heal(await lab.fault("proc.kill", on=FIRST))
        assert [text for text in warned if "process of kms has ended" in text] == warned != []


@pytest.mark.slow
@pytest.mark.tpm
async def test_a_process_that_was_killed_comes_back_with_its_firmware_as_it_was_set_up() -> None:
    async def pcrs() -> dict[str, str]:
        return (await lab.do(TpmPcrs(FIRST))).pcrs

    async with Lab("lab", hosts=1, vms=0, pace=60) as lab:
        first = await pcrs()
        await lab.fault("host.boot_measure", on=FIRST, event="probe", pcr=5)
        await lab.heal(await lab.fault("proc.kill", on=FIRST))
        assert [pcr for pcr, value in (await pcrs()).items() if value != first[pcr]] == ["5"]
