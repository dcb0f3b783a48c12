"""Plays about a native key provider."""

from __future__ import annotations

from lab.conformance.bench import Bench, all_run, stays
from lab.conformance.standard import HOSTS
from protocol.terms import HostCryptoState


async def reboot_without_vcenter(bench: Bench) -> str:
    """A12: hosts derive their keys themselves [NKP-11]."""
    async with bench.lab("native") as lab:
        vms = await lab.vms()
        await lab.fault("vcenter.down")
        await lab.power_loss(*HOSTS)
        await lab.sleep(120)
        await stays(lab, HOSTS, HostCryptoState.SAFE, 10, "after its reboot without vCenter")
        await all_run(lab, vms, "after the reboot of its host without vCenter", guests=False)
        await lab.heal()
        await lab.sleep(10)
        await all_run(lab, vms, "when vCenter is back")
        return f"{len(vms)} VMs run again on {len(HOSTS)} hosts, with vCenter down"
