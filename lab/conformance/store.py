"""Plays about keys that are kept on a host, under its TPM."""

from __future__ import annotations

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
