"""Plays about a native key provider."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lab.conformance.bench import Bench, all_run, expect_refusal, starts, stays
from lab.conformance.standard import HOSTS
from lab.schema import commands as c
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


async def use_after_backup(bench: Bench) -> str:
    """A13: a native provider makes no keys before its first backup, and does after it [NKP-05]."""
    create = c.VmCreate("late", host=HOSTS[0], encrypted=True, provider="second")
    async with bench.lab("native", vms=0) as lab:
        await lab.do(c.ProviderCreate("second"))
        what = "an encrypted VM under a provider that is not backed up"
        await expect_refusal(lab, create, "second", what)
        with tempfile.TemporaryDirectory() as folder:
            await lab.do(c.ProviderExport("second", str(Path(folder) / "second.p12")))
        await lab.do(create)
        await starts(lab, "late", "after the provider was backed up")
    return "refused before the backup, done after it"
