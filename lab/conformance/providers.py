"""Plays about standard and native key providers, about providers as vCenter has them (names,
deletion, number), and about keys that are kept on a host, under its TPM.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from lab.client import Lab
from lab.conformance.bench import (
    Bench,
    all_run,
    expect_refusal,
    holds,
    start_refused,
    starts,
    stays,
    view,
)
from lab.schema import commands as c
from lab.schema.answers import MachineState, Vm
from protocol.terms import HostCryptoState, NodeName, PowerState, VmCryptoState

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
            seen = await _boot_with_key(lab, typed)
            holds(seen is wanted, f"{HOSTS[0]} is {seen.value} after {what} was typed")
        await stays(lab, HOSTS[:1], HostCryptoState.SAFE, 10, "after its recovery key was typed")
    return "a wrong one and the old one stop the boot; the one in force opens the same store"


async def never_had(bench: Bench) -> str:
    """A04: a store has what its host once had, and nothing else [KP-15]."""
    home, late = HOSTS
    async with bench.lab(key_persistence=True) as lab:
        known = next(vm for vm in await lab.vms() if str(vm.host) == home)
        await lab.sleep(PASS_S)
        await lab.do(c.HostPowerOff((late,)))
        made = await lab.do(c.VmCreate("late", host=home, encrypted=True))
        await starts(lab, made.vm, "while another host is off")
        await lab.cut("vcenter", "kms")
        await lab.do(c.HostPowerOn((late,)))
        await lab.sleep(120)
        await lab.do(c.HostPowerLoss((home,), stay_off=True))
        await lab.sleep(60)
        for vm, wanted in ((known, True), (made, False)):
            there = msgspec.structs.replace(vm, host=NodeName(late))
            said = await _start_at_host(lab, there)
            holds(wanted is not bool(said), f"{vm.vm} on {late}: {said or 'it is on'}")
    return f"{late}, off while {made.vm} was made, starts {known.vm} and misses that one's key"


async def hourly_saves(bench: Bench) -> str:
    """A24: with hourly saves a loss of power takes the keys since the last one, and no other
    [DUR-02]."""
    stored = {}
    for save in ("hourly", "immediate"):
        knobs = {"config_save": save}
        async with bench.lab(key_persistence=True, vms=1, knobs=knobs) as lab:
            old = await lab.vm("vm-01")
            await lab.sleep(HOUR_S + 60)  # one more save of what the build has left
            new = await lab.do(c.VmCreate("new", host=str(old.host), encrypted=True))
            await lab.vm_on(new.vm)
            await lab.sleep(60)
            await cut_all(lab)
            await lab.power_loss(str(old.host))
            await lab.sleep(120)
            when = f"after a loss of power, with {save} saves"
            await stays(lab, (str(old.host),), HostCryptoState.SAFE, 10, when)
            stored[save] = (await view(lab, str(old.host))).stored_keys
            for vm, wanted in ((old, True), (new, save == "immediate")):
                said = await _start_at_host(lab, vm)
                holds(wanted is not bool(said), f"{vm.vm} {when}: {said or 'it is on'}")
    fewer = stored["immediate"] - stored["hourly"]
    holds(fewer == 1, f"{fewer} keys fewer are in the store with hourly saves, and not 1")
    return "hourly: exactly the newest key is missing; immediate: none"


async def _start_at_host(lab: Lab, vm: Vm) -> str:
    """Registered at its host, if need be, and powered on there, without vCenter: empty, or that it
    misses its key. ``Violated`` when something else is in the way."""
    host = str(vm.host)
    if vm.vm not in {one.vm for one in (await view(lab, host)).vms}:
        await lab.do(c.VmRegister(vm.vm, host=host, on_host=True))
    (row,) = (await lab.do(c.VmOn((vm.vm,), host, on_host=True))).items
    own = next(one for one in (await view(lab, host)).vms if one.vm == vm.vm)
    if not row.error:
        holds(own.power is PowerState.ON, f"{vm.vm} was powered on, and is {own.power.value}")
        return ""
    holds(own.missing == (vm.key,), f"{vm.vm} on {host}: {row.error}; it misses {own.missing}")
    return f"it misses {vm.key}"


async def _boot_with_key(lab: Lab, key: str) -> MachineState:
    await lab.do(c.HostPowerOff(HOSTS[:1]))
    (row,) = (await lab.do(c.HostPowerOn(HOSTS[:1], {"encryptionRecoveryKey": key}))).items
    return row.machine
