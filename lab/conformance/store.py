"""Plays about keys that are kept on a host, under its TPM."""

from __future__ import annotations

import msgspec

from lab.client import Lab
from lab.conformance.bench import Bench, all_run, holds, starts, stays, view
from lab.conformance.standard import HOSTS, HOUR_S, PASS_S, cut_all
from lab.schema import commands as c
from lab.schema.answers import MachineState, Vm
from protocol.terms import HostCryptoState, NodeName, PowerState

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
