"""What the tests of clones and snapshots do within a simulated lab, while one is under way."""

from __future__ import annotations

import asyncio
from typing import Any

from lab.core import LabCore
from protocol.errors import NotFound, ProductError
from protocol.messages.host.session import QueryHost
from protocol.messages.host.vms import GuestChallenge
from protocol.messages.vcenter.vms import (
    CloneVm,
    CreateSnapshot,
    DestroyVm,
    ListVms,
    PowerOffVm,
    PowerOnVm,
    RegisterVm,
    RevertToSnapshot,
    VmInfo,
)
from protocol.terms import ClusterName, NodeName, PowerState, VmName

VCENTER, VM, COPY = NodeName("vcenter"), VmName("vm-01"), VmName("copy")
HOSTS = (NodeName("esxi-001"), NodeName("esxi-002"))
PEACE_S = 400.0
STEPS = tuple(n * 0.003 for n in range(14))
"""Seconds after the beginning of a task; each of them takes about forty milliseconds."""


async def cloned(lab: LabCore, what: str, after_s: float) -> list[str]:
    """Clone the running VM to the other host, strike ``what`` so long after the beginning, and put
    it right a minute later; what is amiss in peace, and after the task was repeated."""
    await _runs_again(lab)
    source = await _listed(lab, VM)
    assert source is not None
    target = next(host for host in HOSTS if host != source.host)
    message = CloneVm(operation_id=f"{what} {after_s}", vm=COPY, source=VM, host=target)
    outcome = await _struck(lab, message, what, after_s, source.host, target)
    amiss = ["the source does not run"] if not await _answers(lab, VM) else []
    amiss += await _half_there(lab, outcome)
    try:
        await lab.ask(VCENTER, message, within_s=120)
        await lab.ask(VCENTER, PowerOnVm(vm=COPY), within_s=120)
        if not await _answers(lab, COPY) or await _listing(lab, COPY) != [target]:
            amiss.append("it does not run where it was to be, or is on two hosts")
        await lab.ask(VCENTER, PowerOffVm(vm=COPY), within_s=120)
        await lab.ask(VCENTER, DestroyVm(vm=COPY), within_s=120)
    except ProductError as error:
        amiss.append(f"a repeat does not end it: {type(error).__name__}: {error}")
    return amiss


async def _half_there(lab: LabCore, outcome: str) -> list[str]:
    """What is wrong with a clone that is there, or with what is left of one that is not."""
    known, listing = await _listed(lab, COPY), await _listing(lab, COPY)
    if known is not None and listing == [known.host]:
        return []
    amiss = [] if outcome != "ok" else ["it was said to be there"]
    if known is not None or listing:
        return [*amiss, f"vCenter has it on {known and known.host}, hosts that list it: {listing}"]
    try:
        message = RegisterVm(vm=COPY, cluster=ClusterName("cluster-a"))
        await lab.ask(VCENTER, message, within_s=120)
    except NotFound:
        return amiss
    except ProductError as error:
        return [*amiss, f"{type(error).__name__}: {error}"]
    return [*amiss, "files of it are left"]


async def reverted(lab: LabCore, what: str, after_s: float) -> list[str]:
    """As ``cloned``: the running VM is to go back to a snapshot that has its memory."""
    await _runs_again(lab)
    await lab.ask(VCENTER, CreateSnapshot(vm=VM, snapshot="before", memory=True), within_s=120)
    before = await _run(lab, VM)
    source = await _listed(lab, VM)
    assert source is not None
    await lab.ask(VCENTER, PowerOffVm(vm=VM), within_s=120)
    await lab.ask(VCENTER, PowerOnVm(vm=VM), within_s=120)
    message = RevertToSnapshot(vm=VM, snapshot="before")
    outcome = await _struck(lab, message, what, after_s, source.host, source.host)
    amiss = [] if await _answers(lab, VM) else ["it does not run"]
    now = await _run(lab, VM)
    if outcome == "ok" and now != before and what.endswith("vcenter"):
        amiss.append("it was said to go on from its memory")
    try:
        await lab.ask(VCENTER, message, within_s=120)
        if await _run(lab, VM) != before:
            amiss.append("a repeat does not bring its memory back")
    except ProductError as error:
        amiss.append(f"a repeat does not end it: {type(error).__name__}: {error}")
    return amiss


async def _struck(
    lab: LabCore, message: Any, what: str, after_s: float, source: NodeName, target: NodeName
) -> str:
    way, _, where = what.partition(" ")
    node = {"vcenter": VCENTER, "source": source, "target": target}[where]
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_asked(lab, message), name="task")
        await lab.sleep(after_s)
        await lab.power_off(node, way)
        await lab.sleep(60)
        await lab.power_on(node)
        outcome = await asked
        await lab.sleep(PEACE_S)
    return outcome


async def _asked(lab: LabCore, message: Any) -> str:
    try:
        await lab.ask(VCENTER, message, within_s=120)
    except ProductError as error:
        return f"{type(error).__name__}: {error}"
    return "ok"


async def _runs_again(lab: LabCore) -> None:
    info = await _listed(lab, VM)
    if info is not None and info.power is PowerState.OFF:
        await lab.ask(VCENTER, PowerOnVm(vm=VM), within_s=120)


async def _listed(lab: LabCore, vm: VmName) -> VmInfo | None:
    listed = (await lab.ask(VCENTER, ListVms(), within_s=30)).vms
    return next((one for one in listed if one.vm == vm), None)


async def _listing(lab: LabCore, vm: VmName) -> list[NodeName]:
    """The hosts that list the VM in their own word."""
    found = []
    for host, answer in (await lab.ask_each(HOSTS, QueryHost(), within_s=5)).items():
        if not isinstance(answer, ProductError):
            found += [host for one in answer.summary.vms if one.vm == vm]
    return found


async def _answers(lab: LabCore, vm: VmName) -> bool:
    return bool(await _run(lab, vm))


async def _run(lab: LabCore, vm: VmName) -> bytes:
    """Which run of the guest answers; empty when none does."""
    challenge = GuestChallenge(vm=vm, nonce=b"nonce", blocks=(7,))
    answers = (await lab.ask_each(HOSTS, challenge, within_s=5)).values()
    return next((a.run for a in answers if not isinstance(a, ProductError)), b"")
