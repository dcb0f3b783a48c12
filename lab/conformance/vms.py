"""Plays about encrypted VMs (their keys one by one, recrypting, moving) and about encrypted
vSAN.
"""

from __future__ import annotations

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
    works,
)
from lab.conformance.providers import HOSTS, PASS_S
from lab.schema import commands as c
from lab.schema.answers import Vm, VmOnHost
from protocol.authorization import Privilege
from protocol.terms import (
    HostCryptoState,
    PowerState,
    VmConnectionState,
    VmCryptoState,
)

SECOND_DISK = 2


async def lose_keys(bench: Bench) -> str:
    """A15: without the key of its home a VM is invalid; without that of a disk it is valid, and
    starts without that disk [LOCK-02, LOCK-03]."""
    async with bench.lab() as lab:
        of_disk, of_home = await lab.vms()
        await lab.vm_off(of_disk.vm, of_home.vm)
        disks = (await lab.do(c.VmAddDisk(of_disk.vm, own_key=True))).items
        own = next(disk for disk in disks if disk.disk == SECOND_DISK)
        holds(own.key not in (None, of_disk.key), f"{own.label} has no key of its own")
        for key in (own.key, of_home.key):
            await lab.do(c.KmsKeyDestroy(str(key)))
        await lab.power_loss(*HOSTS)
        await lab.sleep(PASS_S)
        found = await lab.vm(of_disk.vm)
        await _is(lab, of_disk, VmConnectionState.CONNECTED, "without the key of a disk")
        holds(found.missing == (own.key,), f"{found.vm} misses {found.missing}, not {own.key}")
        await _is(lab, of_home, VmConnectionState.INVALID, "without the key of its home")
        await start_refused(lab, of_disk.vm, own.label, "without the key of a disk")
        await start_refused(lab, of_home.vm, str(of_home.key), "without the key of its home")
        await lab.do(c.VmRemoveDisk(of_disk.vm, SECOND_DISK))
        await starts(lab, of_disk.vm, "without the disk whose key is lost")
    return "home: invalid and locked; disk: valid, refused by name, and on without that disk"


async def _is(lab: Lab, vm: Vm, connection: VmConnectionState, when: str) -> None:
    """Locked, and valid or not, as vCenter and as its host see it."""
    shown, own = await lab.vm(vm.vm), await _on_host(lab, vm)
    for seen, who in ((shown, "vCenter"), (own, vm.host)):
        holds(seen.crypto is VmCryptoState.LOCKED, f"{vm.vm} is {seen.crypto} for {who} {when}")
        what = f"{vm.vm} is {seen.connection.value} for {who} {when}"
        holds(seen.connection is connection, f"{what}, and not {connection.value}")


async def _on_host(lab: Lab, vm: Vm) -> VmOnHost:
    return next(one for one in (await view(lab, vm.host)).vms if one.vm == vm.vm)


async def recrypt_vm(bench: Bench) -> str:
    """A17: once its keys are wrapped anew, nobody needs the old one; before, a host that lacks it
    does [REK-01, STD-19]."""
    async with bench.lab() as lab:
        recrypted, left = await lab.vms()
        new = (await lab.do(c.VmRecrypt(recrypted.vm))).key
        holds(new not in (None, recrypted.key), f"the key of {recrypted.vm} is as it was")
        for vm in (recrypted, left):
            await lab.do(c.KmsKeyDestroy(str(vm.key)))
        for vm in (recrypted, left):
            await works(lab, vm.vm, "while it runs, its old key destroyed")
        await lab.power_loss(*HOSTS)
        await lab.sleep(PASS_S)
        await all_run(
            lab, (recrypted,), "after a reboot, recrypted before its old key was destroyed"
        )
        now = await lab.vm(left.vm)
        holds(
            now.crypto is VmCryptoState.LOCKED and now.power is PowerState.OFF,
            f"{left.vm} is {now.crypto} and {now.power.value} after a reboot, not recrypted",
        )
        await lab.vm_off(recrypted.vm)
        await starts(lab, recrypted.vm, "under its new key")
    return "recrypted: runs after a reboot without its old key; not recrypted: locked"


async def deep_recrypt_refused(bench: Bench) -> str:
    """A18: new data keys want a VM that is off, and has no snapshots [REK-02]."""
    async with bench.lab() as lab:
        vm, _ = await lab.vms()
        await expect_refusal(
            lab, c.VmRecrypt(vm.vm, deep=True), "InvalidPowerState", "deep, while it runs"
        )
        now = await lab.vm(vm.vm)
        holds(now.key == vm.key, f"{vm.vm} was refused, and has another key")
        await works(lab, vm.vm, "after its deep recrypt was refused")
        await lab.vm_off(vm.vm)
        await lab.do(c.VmSnapshotCreate(vm.vm, "before"))
        deep = c.VmRecrypt(vm.vm, deep=True)
        await expect_refusal(lab, deep, "snapshot", "deep, while it has a snapshot")
        now = await lab.vm(vm.vm)
        holds(now.key == vm.key, f"{vm.vm} was refused, and has another key")
        await lab.do(c.VmSnapshotRemove(vm.vm, "before"))
        done = await lab.do(deep)
        holds(done.key != vm.key, f"{vm.vm} has its old key after a deep recrypt")
        await starts(lab, vm.vm, "after a deep recrypt")
    return "refused while it runs or has a snapshot, done after; a full datastore is not tried"


async def moves_to_safe_hosts(bench: Bench) -> str:
    """A26: an encrypted VM goes to no host that is not safe, or is about to stop being
    [MOB-05, MOB-06]."""
    source, target = HOSTS
    async with bench.lab() as lab:
        there = [vm for vm in await lab.vms() if str(vm.host) == target]
        for vm in there:
            await lab.do(c.VmMigrate(vm.vm, source))
        vm, *_ = await lab.vms()
        move, mover = c.VmMigrate(vm.vm, target), "mover"
        await lab.do(c.RoleCreate("no-host", like="Admin", without=(Privilege.REGISTER_HOST,)))
        await lab.do(c.UserSet(mover, "no-host"))
        await lab.do(c.HostDisableCrypto(target))
        pending = HostCryptoState.PENDING_INCAPABLE
        await stays(lab, (target,), pending, 10, "after its encryption mode was turned off")
        off = next(one for one in await lab.vms() if one.vm != vm.vm)
        await lab.vm_off(off.vm)
        clone = c.VmClone(off.vm, "copy", host=target)
        await expect_refusal(
            lab, clone, "until it reboots", f"a clone on a host that is {pending.value}"
        )
        await expect_refusal(
            lab, move, "until it reboots", f"{vm.vm} to a {pending.value} host", mover
        )
        await lab.reboot(target)
        incapable = HostCryptoState.INCAPABLE
        await stays(lab, (target,), incapable, 10, "after it was turned off and booted")
        await expect_refusal(
            lab, move, "NoPermission", f"{vm.vm} to a {incapable.value} host", mover
        )
        now = await lab.vm(vm.vm)
        holds(str(now.host) == source, f"{vm.vm} was refused, and is on {now.host}")
        await all_run(lab, (now,), "after its moves were refused")
        await lab.do(c.HostEnableCrypto(target))
        moved = (await lab.do(move, user=mover)).vm
        holds(str(moved.host) == target, f"{vm.vm} is on {moved.host} after its move")
        await all_run(lab, (moved,), "after its move to a host that is safe again")
        await lab.do(clone)
        await starts(lab, "copy", "cloned to a host that is safe again")
    return (
        "move and clone are refused for a host that is pendingIncapable, the move for one that is "
        "incapable; both are done when it is safe"
    )


CLUSTER, HOST = "cluster-a", "esxi-001"


async def mounted(lab: Lab) -> bool:
    """Whether every disk group of the host is mounted."""
    found = await lab.do(c.VsanDescribe(CLUSTER))
    return all(group.mounted for group in found.groups if group.host == HOST)


async def who_mounts_disks(bench: Bench) -> str:
    """A20: a host gets the keys of its disks itself, at the key server or in its store [VSAN-03,
    VSAN-07]."""
    for persistence, away, wanted in (
        (False, "vcenter", True),
        (False, "kms", False),
        (True, "kms", True),
    ):
        async with bench.lab("vsan", hosts=3, vms=0, key_persistence=persistence) as lab:
            holds(await mounted(lab), f"the disk groups of {HOST} are not mounted at first")
            await lab.cut(away, HOST)
            await lab.power_loss(HOST)
            await lab.sleep(90)
            if away == "vcenter":  # it tells again what the host has; the host has booted without
                audit = await lab.do(c.GetAudit())
                got = [row for row in audit.items if row.who == HOST and row.operation == "Get"]
                holds(len(got) > 0, f"{HOST} asked no key server")
                await lab.heal()
                await lab.sleep(10)
            store = "on" if persistence else "off"
            what = f"{HOST} with {away} cut and key persistence {store}"
            holds((await mounted(lab)) is wanted, f"{what}: mounted is {not wanted}")
    return "mounted with vCenter cut, or with stored keys; not with the key server cut and none"
