"""Plays about key providers as vCenter has them: their names, their deletion, their number."""

from __future__ import annotations

from lab.client import Lab
from lab.conformance.bench import Bench, all_run, expect_refusal, holds, start_refused, starts
from lab.conformance.standard import HOSTS
from lab.schema import commands as c
from lab.schema.answers import Vm

PROVIDER, OTHER, SERVER = "kms-provider", "other-name", "kms"
GRACE_S = 60
MOST = 32


async def name_is_identity(bench: Bench) -> str:
    """A14: the same key servers under another name are another provider [KEY-01, LOCK-06]."""
    async with bench.lab(knobs={"provider_delete_grace_s": GRACE_S}) as lab:
        vms = await lab.vms()
        await lab.do(c.ProviderDelete(PROVIDER))
        await lab.sleep(GRACE_S)
        await lab.power_loss(*HOSTS)
        await lab.wait_for("vm.locked=all", within_s=900)
        await lab.do(c.ProviderAdd(OTHER, (SERVER,), default=True))
        for vm in vms:
            unlock = c.VmUnlock(vm.vm)
            await expect_refusal(
                lab, unlock, PROVIDER, f"{vm.vm} with its key servers under another name"
            )
        await lab.sleep(900)
        for vm in await lab.vms():
            holds(bool(vm.missing), f"{vm.vm} is not locked with the servers under another name")
        await lab.do(c.ProviderAdd(PROVIDER, (SERVER,)))
        await _wait_for_unlock(lab, "with the provider back under its name")
        for vm in vms:
            await starts(lab, vm.vm, "with the provider back under its name")
    return f"{len(vms)} VMs stay locked under {OTHER}, and are unlocked under {PROVIDER}"


async def delete_provider(bench: Bench) -> str:
    """A19: what runs goes on; what is powered off starts again when the provider is back by its
    name, and not before [DEL-01]."""
    async with bench.lab(knobs={"provider_delete_grace_s": GRACE_S}) as lab:
        stays_on, cycled = await lab.vms()
        await lab.do(c.ProviderDelete(PROVIDER))
        await lab.sleep(2 * GRACE_S + 600)
        await all_run(lab, (stays_on, cycled), "long after its provider was deleted")
        await lab.vm_off(cycled.vm)
        await start_refused(lab, cycled.vm, PROVIDER, "after its provider was deleted")
        await all_run(lab, (stays_on,), "after another VM was refused")
        await lab.do(c.ProviderAdd(PROVIDER, (SERVER,), default=True))
        await _wait_for_unlock(lab, "with the provider back")
        await starts(lab, cycled.vm, "with the provider back")
    return f"runs on {2 * GRACE_S + 600} s later; a power cycle fails until {PROVIDER} is back"


async def as_many_as_allowed(bench: Bench) -> str:
    """A28: providers of all kinds are counted together [NKP-02]."""
    async with bench.lab(vms=0) as lab:
        for number in range(2, MOST + 1):
            name = f"provider-{number}"
            native = c.ProviderCreate(name)
            await lab.do(native if number % 2 else c.ProviderAdd(name, (SERVER,)))
        listed = len((await lab.do(c.GetProviders())).items)
        holds(listed == MOST, f"vCenter lists {listed} providers, and not {MOST}")
        for one_more in (c.ProviderCreate("one-more"), c.ProviderAdd("one-more", (SERVER,))):
            await expect_refusal(lab, one_more, str(MOST), f"provider {MOST + 1}")
    return f"{MOST} of two kinds are taken, and one more of either kind is refused"


async def _wait_for_unlock(lab: Lab, when: str) -> None:
    """Within a pass of vCenter no VM is locked any more."""
    for _ in range(90):
        locked: list[Vm] = [vm for vm in await lab.vms() if vm.missing]
        if not locked:
            return
        await lab.sleep(10)
    holds(False, f"{', '.join(vm.vm for vm in locked)} still locked {when}")
