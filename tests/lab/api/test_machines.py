"""Nodes that are off, paused or gone: what is told of them leads somewhere, never in a circle."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.schema.commands.base import Command
from lab.schema.errors import KeysteadError
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.terms import NodeName
from services.runtime.sim.trace import Trace

HOST = NodeName("esxi-001")
pytestmark = pytest.mark.sim


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(mode="sim", hosts=2, vms=2, seed=3) as made:
        yield made


async def states(lab: Lab) -> dict[str, MachineState]:
    return {node.node: node.state for node in (await lab.do(c.GetNodes())).items}


@pytest.mark.slow
@pytest.mark.parametrize("node", [HOST, "kms", "vcenter"])
async def test_a_paused_node_stays_in_the_list(lab: Lab, node: str) -> None:
    before = await states(lab)
    await lab.do(c.HostPause((node,)))
    assert await states(lab) == before | {node: MachineState.PAUSED}
    assert (await lab.do(c.GetStatus())).nodes[MachineState.PAUSED] == 1
    await lab.do(c.HostResume((node,)))
    assert await states(lab) == before


async def test_a_paused_host_is_described_and_the_cure_is_to_let_it_go_on(lab: Lab) -> None:
    await lab.do(c.HostPause((HOST,)))
    found = await lab.do(c.DescribeHost(HOST))
    assert (found.machine.state, found.machine.boot) == (MachineState.PAUSED, 1)
    assert found.host_view is None
    reason = found.reasons[0]
    assert (reason.rule, reason.cure) == ("proc.pause", f"keystead host resume {HOST}")
    vm = next(v.vm for v in (await lab.do(c.GetVms())).items if v.host == HOST)
    assert (await lab.do(c.DescribeVm(vm))).reasons[0].rule == "proc.pause"
    tpm = next(t for t in (await lab.do(c.GetTpm())).items if t.host == HOST)
    assert tpm.state == "unknown" and tpm.backend == "model"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pause", "question"),
    [
        (HOST, c.Esx(HOST, ("system", "settings", "encryption", "get"))),
        (HOST, c.GetHostView(HOST)),
        ("vcenter", c.GetHosts()),
        ("vcenter", c.GetVms()),
    ],
)
async def test_a_question_to_a_paused_node_names_the_way_out(
    lab: Lab, pause: str, question: Command[object]
) -> None:
    await lab.do(c.HostPause((pause,)))
    with pytest.raises(KeysteadError, match=f"{pause} is paused") as caught:
        await lab.do(question)
    assert caught.value.fix == f"keystead host resume {pause}"


async def test_a_question_to_a_node_that_is_off_names_the_way_out(lab: Lab) -> None:
    await lab.do(c.HostPowerLoss((HOST,), stay_off=True))
    with pytest.raises(KeysteadError, match=f"{HOST} is off") as caught:
        await lab.do(c.GetHostView(HOST))
    assert caught.value.fix == f"keystead host power-on {HOST}"


async def test_what_vcenter_shows_of_a_host_without_power_is_marked_stale(lab: Lab) -> None:
    """It has not noticed yet: connected and safe stand beside a machine that is off."""
    await lab.do(c.HostPowerLoss((HOST,), stay_off=True))
    hosts = {host.host: host for host in (await lab.do(c.GetHosts())).items}
    assert hosts[HOST].connection == "connected" and hosts[HOST].machine is MachineState.OFF
    assert {host: seen.stale for host, seen in hosts.items()} == {HOST: True, "esxi-002": False}
    stale = {(vm.host == HOST, vm.stale) for vm in (await lab.do(c.GetVms())).items}
    assert stale == {(True, True), (False, False)}
    assert (await lab.do(c.DescribeHost(HOST))).vcenter == hosts[HOST]


@pytest.mark.parametrize("node", ["kms", "vcenter"])
async def test_a_paused_server_is_told_where_it_is_missed(lab: Lab, node: str) -> None:
    await lab.do(c.HostPause((node,)))
    resume = f"keystead host resume {node}"
    if node == "kms":
        assert [server.machine for server in (await lab.do(c.GetKms())).items] == ["paused"]
        reasons = (await lab.do(c.DescribeProvider("kms-provider"))).reasons
        assert [reason.cure for reason in reasons] == [resume]
    else:
        assert (await lab.do(c.GetStatus())).vcenter is MachineState.PAUSED
        reasons = (await lab.do(c.DescribeHost(HOST))).reasons
        assert (reasons[-1].rule, reasons[-1].cure) == ("R7", resume)


@pytest.mark.parametrize(
    ("command", "mark"),
    [
        (c.HostPowerLoss(("role:esxi",)), "end:power_loss"),
        (c.HostCrash(("role:esxi",)), "end:crash"),
    ],
)
def test_the_power_of_all_goes_at_once(command: Command[object], mark: str) -> None:
    """Not one host after another, each back before the next one goes."""
    trace = Trace(record=True)
    lab, session = make(plan(load("default", hosts=4, vms=1, tpm="model")), 3, trace=trace)
    before = trace.count
    lab.run(perform(session, command))
    marks = [(e.at, e.label) for e in trace.entries[before:] if e.node in lab.hosts()]
    ends = [at for at, label in marks if label == mark]
    boots = [at for at, label in marks if label == "power-on"]
    assert len(ends) == 4 and ends[-1] - ends[0] < 1e6
    assert len(boots) in (0, 4) and all(at > ends[-1] for at in boots)
    lab.loop.close()


def test_a_site_is_powered_on_as_a_storm_and_servers_before_those_who_need_them() -> None:
    """All hosts at the same moment, after vCenter has started, and that after its key server."""
    trace = Trace(record=True)
    lab, session = make(plan(load("default", hosts=4, vms=1, tpm="model")), 3, trace=trace)
    lab.run(perform(session, c.HostPowerLoss(("all",), stay_off=True)))
    before = trace.count
    lab.run(perform(session, c.HostPowerOn(("all",))))
    boots = {e.node: e.at for e in trace.entries[before:] if e.label == "power-on"}
    hosts = sorted(boots[host] for host in lab.hosts())
    assert len(boots) == 6 and hosts[-1] - hosts[0] < 1e6
    assert boots["kms"] < boots["vcenter"] < hosts[0]
    lab.loop.close()


@pytest.mark.tpm
async def test_what_a_real_tpm_tells_in_a_simulation_is_the_same_in_every_run() -> None:
    """But for its endorsement key, which it makes itself."""

    async def told() -> tuple[object, ...]:
        async with Lab(mode="sim", hosts=1, vms=1, seed=3, tpm="libtpms") as lab:
            [tpm] = (await lab.do(c.GetTpm())).items
            return tpm.state, tpm.clock, tpm.reset_count, tpm.restart_count, tpm.pcrs

    first = await told()
    assert first == await told() and first[0] == "on" and first[1] is None
