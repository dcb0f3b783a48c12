"""What the tests of moves between vCenters do within a simulated lab, while a move is under way."""

from __future__ import annotations

import asyncio
from typing import Any

from lab.core import LabCore
from protocol.errors import ProductError
from protocol.messages.agent import CutRule
from protocol.messages.host.session import QueryHost
from protocol.messages.host.vms import GuestChallenge
from protocol.messages.vcenter.vms import (
    CreateVm,
    ListVms,
    PowerOffVm,
    PowerOnVm,
    RelocateVm,
    ServiceLocator,
    UnregisterVm,
)
from protocol.terms import ClusterName, NodeName, VmName

WEST, EAST = NodeName("west"), NodeName("east")
HOSTS = tuple(NodeName(f"esxi-{n:03d}") for n in range(1, 5))
HOSTS_OF = {WEST: HOSTS[:2], EAST: HOSTS[2:]}
PEACE_S = 400.0
STEPS = (*(n * 0.002 for n in range(13)), 0.028, 0.032, 0.036, 0.04)
"""Seconds after the beginning of a move; it takes forty milliseconds."""


def amiss(found: dict[str, Any]) -> list[str]:
    """What must not be, of what ``struck`` has found."""
    wrong = {
        "it ran twice": found["twice"] > 1,
        "not one owner": len(found["owners"]) != 1,
        "not one registration": len(found["registered"]) != 1,
        "its owner looks for it elsewhere": not found["there"],
        "it cannot be started": found["power"] != "works",
        "it was said to have moved": found["outcome"] == "ok" and not found["moved"],
    }
    return [what for what, is_so in wrong.items() if is_so]


async def struck(lab: LabCore, vm: str, what: str, after_s: float, off: bool) -> dict[str, Any]:
    """Move the VM to the vCenter that has it not, strike ``what`` so long after the beginning, and
    put it right a minute later; ``off``: one that is powered off. How it ended, on how many hosts
    the VM ran at most, and, in peace: which vCenters have it, which hosts list it, and whether it
    is there to be worked with.
    """
    name = VmName(vm)
    (before,) = await owners(lab, name)
    other = EAST if before[0] == WEST else WEST
    target = HOSTS_OF[other][0]
    if off:
        await lab.ask(before[0], PowerOffVm(vm=name), within_s=120)
    seen: list[int] = []
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_watch(lab, name, seen, done), name="watch")
        asked = group.create_task(_move(lab, name, before[0], other, target), name="move")
        await lab.sleep(after_s)
        source = NodeName(before[1])
        await _strike(
            lab, what, {"leaving": before[0], "coming": other, "source": source, "target": target}
        )
        outcome = await asked
        await lab.sleep(PEACE_S)
        done.set()
    owner = await owners(lab, name)
    power = await _power_cycled(lab, name, owner)
    return {
        "outcome": outcome,
        "twice": max(seen),
        "owners": [str(vcenter) for vcenter, _ in owner],
        "registered": [str(host) for host in await listing(lab, name)],
        "moved": [vcenter for vcenter, _ in owner] == [other],
        "power": power,
        "there": [host for _, host in owner] == [str(host) for host in await listing(lab, name)],
    }


async def _move(
    lab: LabCore, vm: VmName, vcenter: NodeName, other: NodeName, target: NodeName
) -> str:
    message = RelocateVm(vm=vm, service=ServiceLocator(vcenter=other), host=target)
    try:
        await lab.ask(vcenter, message, within_s=120)
    except ProductError as error:
        return f"{type(error).__name__}: {error}"
    return "ok"


async def _strike(lab: LabCore, what: str, nodes: dict[str, NodeName]) -> None:
    way, _, where = what.partition(" ")
    if way == "cut":
        a, b = (nodes[word] for word in where.split("-"))
        await lab.put_rules([CutRule(id="cut", src=src, dst=dst) for src, dst in ((a, b), (b, a))])
        await lab.sleep(60)
        await lab.drop_rules("cut")
        return
    await lab.power_off(nodes[where], way)
    await lab.sleep(60)
    await lab.power_on(nodes[where])


async def _watch(lab: LabCore, vm: VmName, seen: list[int], done: asyncio.Event) -> None:
    while not done.is_set():
        seen.append(await _guests(lab, vm))
        await lab.sleep(0.25 if len(seen) < 200 else 5)


async def _guests(lab: LabCore, vm: VmName) -> int:
    """How many guests of the VM answer; one that stands still for its move does not."""
    challenge = GuestChallenge(vm=vm, nonce=b"nonce", blocks=(7,))
    answers = await lab.ask_each(HOSTS, challenge, within_s=0.2)
    return sum(not isinstance(answer, ProductError) for answer in answers.values())


async def listing(lab: LabCore, vm: VmName) -> list[NodeName]:
    """The hosts that list the VM in their own word."""
    found = []
    for host, answer in (await lab.ask_each(HOSTS, QueryHost(), within_s=5)).items():
        if isinstance(answer, ProductError):
            continue
        for one in answer.summary.vms:
            if one.vm == vm:
                found.append(host)
    return found


async def owners(lab: LabCore, vm: VmName) -> list[tuple[NodeName, str]]:
    """Each vCenter that has the VM in its inventory, with its host there."""
    found = []
    for vcenter in (WEST, EAST):
        listed = (await lab.ask(vcenter, ListVms(), within_s=30)).vms
        found += [(vcenter, str(one.host)) for one in listed if one.vm == vm]
    return found


async def _power_cycled(lab: LabCore, vm: VmName, owner: list[tuple[NodeName, str]]) -> str:
    """``works`` when its vCenter powers it off and on."""
    try:
        await lab.ask(owner[0][0], PowerOffVm(vm=vm), within_s=120)
        await lab.ask(owner[0][0], PowerOnVm(vm=vm), within_s=120)
    except (ProductError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return "works"


async def moved_on(lab: LabCore, vm: str, after_s: float) -> dict[str, Any]:
    """Its first vCenter falls so long after the move's beginning, and is away while the VM moves on
    to a third, once its host has told of it. Which vCenters have it in peace, and ``there``, whose
    hosts list it; ``on``: it has moved on."""
    name, third, target = VmName(vm), NodeName("south"), NodeName("esxi-005")
    async with asyncio.TaskGroup() as group:
        group.create_task(_move(lab, name, WEST, EAST, HOSTS_OF[EAST][0]), name="move")
        await lab.sleep(after_s)
        await lab.power_off(WEST, "crash")
        await lab.sleep(30)
    outcome = await _move(lab, name, EAST, third, target)
    await lab.power_on(WEST)
    await lab.sleep(PEACE_S)
    found, hosts = [], []
    for vcenter in (WEST, EAST, third):
        vms = (await lab.ask(vcenter, ListVms(), within_s=30)).vms
        found += [str(vcenter) for one in vms if one.vm == name]
    for host, answer in (await lab.ask_each((*HOSTS, target), QueryHost(), within_s=5)).items():
        if not isinstance(answer, ProductError) and any(
            one.vm == name for one in answer.summary.vms
        ):
            hosts.append(str(WEST if host in HOSTS_OF[WEST] else EAST if host in HOSTS else third))
    return {"owners": found, "there": hosts, "on": outcome == "ok", "outcome": outcome}


async def named(lab: LabCore, vm: str, cluster: str) -> dict[str, Any]:
    """Make a VM of that name at the vCenter that expects it, in another cluster, while the link
    from it to the first vCenter is cut. ``made``: what came of it."""
    name = VmName(vm)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_move(lab, name, WEST, EAST, HOSTS_OF[EAST][0]), name="move")
        await lab.put_rules([CutRule(id="cut", src=HOSTS[0], dst=HOSTS_OF[EAST][0])])
        await lab.sleep(2)
        made = await _made(lab, name, cluster)
        await lab.drop_rules("cut")
        await asked
    outcome = await _move(lab, name, WEST, EAST, HOSTS_OF[EAST][0])
    return {
        "made": made,
        "outcome": outcome,
        "owners": [str(vcenter) for vcenter, _ in await owners(lab, name)],
    }


async def left_alone(lab: LabCore, vm: str, cluster: str) -> dict[str, Any]:
    """The other vCenter does not answer when it is asked to take a VM that is off, and falls.
    ``unregistered``: what came of that meanwhile; ``waits``: of the making of a VM of that name in
    this cluster of the other one, when it is back."""
    name, unregistered = VmName(vm), "ok"
    await lab.put_rules([CutRule(id="cut", src=EAST, dst=WEST)])
    outcome = await _move(lab, name, WEST, EAST, HOSTS_OF[EAST][0])
    await lab.power_off(EAST, "crash")
    try:
        await lab.ask(WEST, UnregisterVm(vm=name), within_s=120)
    except ProductError as error:
        unregistered = f"{type(error).__name__}: {error}"
    await lab.drop_rules("cut")
    await lab.power_on(EAST)
    await lab.sleep(PEACE_S)
    waits = await _made(lab, name, cluster)
    return {"open": outcome.partition(":")[0], "unregistered": unregistered, "waits": waits}


async def _made(lab: LabCore, vm: VmName, cluster: str) -> str:
    try:
        message = CreateVm(vm=vm, cluster=ClusterName(cluster), operation_id="namesake")
        await lab.ask(EAST, message, within_s=30)
    except ProductError as error:
        return f"{type(error).__name__}: {error}"
    return "ok"
