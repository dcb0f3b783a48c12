"""Plays about keys that are kept on a host, under its TPM."""

from __future__ import annotations

from lab.api import commands as c
from lab.api.answers import MachineState
from lab.client import Lab
from lab.conformance.bench import Bench, all_run, holds, stays, view
from lab.conformance.standard import HOSTS, cut_all
from protocol.terms import HostCryptoState

REMOVE = "system security keypersistence disable --remove-all-stored-keys"


async def reboot_with_store(bench: Bench) -> str:
    """A03: a host with stored keys needs nobody [KP-07]."""
    async with bench.lab(key_persistence=True) as lab:
        vms = await lab.vms()
        await cut_all(lab)
        await lab.power_loss(*HOSTS)
        await lab.sleep(120)
        await stays(lab, HOSTS, HostCryptoState.SAFE, 60, "after its reboot with all links cut")
        await all_run(lab, vms, "after the reboot of its host with all links cut")
        return f"safe, and {len(vms)} VMs run, with every link to vCenter and key server cut"


async def reboot_after_removal(bench: Bench) -> str:
    """A05: with its stored keys removed, a host is as one that never kept any [KP-03]."""
    async with bench.lab(key_persistence=True) as lab:
        await lab.esx(HOSTS[0], REMOVE)
        left = (await view(lab, HOSTS[0])).stored_keys
        holds(left == 0, f"{left} keys are in the store after they were removed")
        await cut_all(lab)
        await lab.power_loss(*HOSTS)
        await lab.sleep(60)
        when = "after its reboot with its stored keys removed"
        await stays(lab, HOSTS[:1], HostCryptoState.PREPARED, 600, when)
        await stays(lab, HOSTS[1:], HostCryptoState.SAFE, 10, "after its reboot with its keys kept")
    return "prepared for 600 s; the host whose keys were kept is safe"


async def recovery_keys(bench: Bench) -> str:
    """A08: only the recovery key in force opens a configuration [REC-02]."""
    recovery = "system settings encryption recovery"
    async with bench.lab(key_persistence=True) as lab:
        old = (await lab.esx(HOSTS[0], f"{recovery} list")).split()[-1]
        await lab.esx(HOSTS[0], f"{recovery} rotate")
        new = (await lab.esx(HOSTS[0], f"{recovery} list")).split()[-1]
        holds(old != new, "the recovery key is as it was before it was rotated")
        for typed, what, wanted in (
            ("no recovery key", "no recovery key at all", MachineState.HALTED),
            (old, "the one that was rotated away", MachineState.HALTED),
            (new, "the one in force", MachineState.RUNNING),
        ):
            seen = await _booted_with(lab, typed)
            holds(seen is wanted, f"{HOSTS[0]} is {seen.value} after {what} was typed")
        await stays(lab, HOSTS[:1], HostCryptoState.SAFE, 10, "after its recovery key was typed")
    return "a wrong one and the old one stop the boot; the one in force opens the same store"


async def _booted_with(lab: Lab, key: str) -> MachineState:
    await lab.do(c.HostPowerOff(HOSTS[:1]))
    (row,) = (await lab.do(c.HostPowerOn(HOSTS[:1], {"encryptionRecoveryKey": key}))).items
    return row.machine
