"""What the tests of moves between vCenters do within a simulated lab, while a move is under way."""

from __future__ import annotations

import asyncio
from typing import Any

from lab.core import LabCore
from protocol.errors import ProductError
from protocol.messages.agent import CutRule
from protocol.messages.host import GuestChallenge, QueryHost
from protocol.messages.vcenter import ListVms, PowerOffVm, PowerOnVm, RelocateVm, ServiceLocator
from protocol.terms import NodeName, VmName

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
