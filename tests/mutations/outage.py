"""One outage through the library, in either mode, and everything that was wrong in it."""

from __future__ import annotations

from typing import Any

from lab.client import Lab
from lab.schema.answers import HostView, MachineState, Node
from lab.schema.commands import GetHostView, GetNodes
from protocol.terms import PowerState, VmCryptoState


async def outage(lab: Lab) -> list[str]:
    """What was not as the product promises; empty for a healthy lab of two hosts with TPMs."""
    wrong: list[str] = []
    await lab.cut("vcenter", "kms")
    await lab.reboot("esxi-001")
    if not await _becomes(lab, crypto=VmCryptoState.LOCKED, power=PowerState.OFF):
        wrong.append(f"vm-01 is not locked after the reboot: {await lab.vm('vm-01')}")
    await lab.heal()
    if not await _becomes(lab, crypto=VmCryptoState.UNLOCKED):
        wrong.append(f"vm-01 did not unlock: {await lab.vm('vm-01')}")
    await lab.sleep(20)
    if not wrong and (await lab.vm("vm-01")).power is not PowerState.OFF:
        wrong.append("unlocking powered vm-01 on")
    wrong += await _store(lab)
    wrong += await _changed_boot(lab)
    for row in await _nodes(lab):
        count = row.counters.get("violations", 0)
        if count:
            wrong.append(f"the broker refused {row.node} {count} subjects")
    return wrong


async def _store(lab: Lab) -> list[str]:
    """Key persistence, then the same cut with a power loss in it."""
    await lab.vm_on("vm-01")
    await lab.esx("esxi-001", "system security keypersistence enable")
    await lab.cut("vcenter", "kms")
    await lab.power_loss("esxi-001")
    # vCenter may not have heard of the power loss yet: the host itself is asked.
    view: HostView | None = None
    for _ in range(30):
        view = await lab.do(GetHostView("esxi-001"))
        if [v.power for v in view.vms if v.vm == "vm-01"] == [PowerState.ON]:
            break
        await lab.sleep(2)
    else:
        return [f"vm-01 did not come back from its store: {view}"]
    await lab.heal()
    return []


async def _changed_boot(lab: Lab) -> list[str]:
    """Secure Boot off must stop the boot of a sealed host."""
    await lab.fault("host.boot_measure", on="esxi-002", secure_boot=False)
    await lab.reboot("esxi-002")
    state = next(n.state for n in await _nodes(lab) if n.node == "esxi-002")
    await lab.heal()
    return (
        [] if state is MachineState.HALTED else [f"the changed boot went on: esxi-002 is {state}"]
    )


async def _nodes(lab: Lab) -> tuple[Node, ...]:
    return (await lab.do(GetNodes())).items


async def _becomes(lab: Lab, **wanted: Any) -> bool:
    for _ in range(80):
        vm = await lab.vm("vm-01")
        if all(getattr(vm, name) == value for name, value in wanted.items()):
            return True
        await lab.sleep(5)
    return False
