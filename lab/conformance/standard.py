"""Plays about a standard key provider."""

from __future__ import annotations

from lab.client import Lab
from lab.conformance.bench import Bench, all_run, holds, starts, stays, view
from lab.schema import commands as c
from protocol.terms import HostCryptoState, VmCryptoState

HOSTS = ("esxi-001", "esxi-002")
HOUR_S = 3600
PASS_S = 400
"""Lab seconds in which vCenter looks at every host once more."""
FAR_S = 6 * HOUR_S


async def cut_all(lab: Lab) -> None:
    """Nobody outside is reached: neither vCenter by hosts, nor key servers by vCenter."""
    for host in HOSTS:
        await lab.cut("vcenter", host)
        await lab.cut("kms", host)
    await lab.cut("vcenter", "kms")


async def outage_without_reboot(bench: Bench) -> str:
    """A01: what runs does not notice who is away [LOCK-04]."""
    async with bench.lab() as lab:
        vms = await lab.vms()
        only = await lab.cut("vcenter", "kms")
        await lab.sleep(HOUR_S)
        locked = [one for one in await lab.events() if "VMLocked" in one.event.value]
        holds(not locked, f"vCenter tells of {len(locked)} locked VMs while the key server is cut")
        await lab.heal(only)
        await cut_all(lab)
        for hours in (1, 6):
            await lab.sleep(HOUR_S if hours == 1 else FAR_S - HOUR_S)
            await all_run(lab, vms, f"after {hours} h alone")
        return f"{len(vms)} VMs run after {FAR_S // HOUR_S} h without vCenter and key server"


async def reboot_without_store(bench: Bench) -> str:
    """A02: a host without stored keys waits for them, whoever of the two is away [STD-13]."""
    for a, b in (("vcenter", "kms"), ("vcenter", HOSTS[0])):
        async with bench.lab(key_persistence=False) as lab:
            await lab.cut(a, b)
            await lab.power_loss(HOSTS[0])
            await lab.sleep(60)
            when = f"after its reboot with the link of {a} and {b} cut"
            await stays(lab, HOSTS[:1], HostCryptoState.PREPARED, 600, when)
            other = (await view(lab, HOSTS[1])).crypto_state
            holds(other is HostCryptoState.SAFE, f"{HOSTS[1]} did not reboot and is {other.value}")
    return "prepared for 600 s, with the key server cut and with vCenter cut"


async def one_server_of_two(bench: Bench) -> str:
    """A16: an operation that one key server can serve does not fail [STD-08]."""
    async with bench.lab(kms=2) as lab:
        await lab.fault("proc.pause", on="kms-1")
        for name in ("new-1", "new-2"):
            made = await lab.do(c.VmCreate(name, host=HOSTS[0], encrypted=True))
            await starts(lab, made.vm, "with one key server of two")
        await lab.reboot(HOSTS[0])
        await lab.sleep(120)
        for vm in await lab.vms():
            holds(vm.crypto is VmCryptoState.UNLOCKED, f"{vm.vm} is {vm.crypto}")
        await stays(lab, HOSTS, HostCryptoState.SAFE, 10, "with one key server of two")
    return "new keys, and keys after a reboot, by the other key server"
