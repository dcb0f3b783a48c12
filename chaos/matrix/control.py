"""Controls: what must be so for the letters of a block to mean anything, and is no cell.

What is spoilt must be noticed: a ciphertext bit is flipped, a wrapped DEK is replaced by another
VM's, and the questions of every cell must fail. A new key must reach the whole cluster at once, and
a vCenter that returns and can supply a key must mark nobody for its lack. What is known of key
persistence beside the cells is in ``stored``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from chaos.administration import take_backup
from chaos.matrix import clock, provider_setup, vsan
from chaos.matrix.looks import Looks, plain
from chaos.matrix.scene import StagingScene, build_encrypted_vm, vm_of
from chaos.matrix.setup import hosts_settle
from chaos.matrix.stored import verify_refused_without_tpm, verify_removed_is_gone
from chaos.matrix.terms import Actor, Boot
from chaos.oracle.terms import Block, TableEvent
from protocol.crypto.provider_backup import read_backup
from protocol.messages.host.vms import HostPowerOnVm
from protocol.messages.vcenter.providers import CreateNativeProvider
from protocol.messages.vcenter.vms import PowerOnVm
from protocol.terms import CryptoKeyId, NodeName, ProviderId, VmName

EVENTS: Final = (TableEvent.E1, TableEvent.E3, TableEvent.E5)
"""Whose hosts and VMs are used: one VM that runs, one that is off, a cluster of two hosts."""
NEEDS_TPM: Final = "a host without a TPM refuses to persist keys"
REMOVED: Final = "stored keys that are removed are gone"
VSAN_BIT: Final = "a flipped bit of a vSAN disk's ciphertext is noticed"
VSAN_DEK: Final = "a wrapped DEK of another vSAN disk is noticed"
NEW: Final = ProviderId("new")
AT_ONCE_S: Final = 10.0
"""A new key is on every host of its cluster by then (STD-12)."""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried, whether it was as it must be, and what was seen."""

    block: Block
    what: str
    held: bool
    seen: str


async def controls(scene: StagingScene) -> tuple[Control, ...]:
    """One after another, in a lab that was staged for ``EVENTS``, or for E12; damage comes last."""
    looks = Looks(scene, scene.book.trail("control"))
    if scene.vsan_hosts:
        return _record_controls(scene, await _of_vsan(scene))
    if scene.native:
        found = [await _kdk_at_once(scene)]
    elif scene.trusted:
        found = [await _not_pushed(scene, looks)]
    else:
        found = [await _try_key_push(scene, looks)]
    if not scene.persistent:
        found.append(await _marks_nobody(scene, looks))
    found += await _of_persistence(scene, looks)
    found += [await _try_flipped_bit(scene), await _other_dek(scene, looks)]
    return _record_controls(scene, found)


def _record_controls(scene: StagingScene, found: list[Control]) -> tuple[Control, ...]:
    for control in found:
        scene.book.write("probe", "", "control", **plain(control))
    return tuple(found)


async def _of_vsan(scene: StagingScene) -> list[Control]:
    """What lies on an encrypted vSAN, spoilt on the disks of two of its hosts."""
    each = {VSAN_BIT: await vsan.try_flipped_bit(scene), VSAN_DEK: await vsan.other_dek(scene)}
    return [
        Control(block=scene.block, what=what, held=held, seen=seen)
        for what, (held, seen) in each.items()
    ]


async def _of_persistence(scene: StagingScene, looks: Looks) -> list[Control]:
    """Where nothing protects what would be stored, and where something is stored."""
    if scene.persistent:
        what, found = REMOVED, await verify_removed_is_gone(scene, looks)
    elif scene.block is Block.S00:
        what, found = NEEDS_TPM, await verify_refused_without_tpm(scene)
    else:
        return []
    return [Control(block=scene.block, what=what, held=found[0], seen=found[1])]


async def _try_key_push(scene: StagingScene, looks: Looks) -> Control:
    """A VM is encrypted just after a reconcile pass: its key is everywhere before the next one."""
    vm, hosts = vm_of(TableEvent.E5, "new"), tuple(scene.casts[TableEvent.E5].values())
    key = await _new_vm(scene, vm, hosts[0])
    await scene.give(AT_ONCE_S)
    keys = () if key is None else (key,)
    found = {host: await looks.keys_at(host, keys) for host in hosts}
    lack = [host for host, there in found.items() if not there or not there[0].present]
    seen = f"lacking at {', '.join(lack)}" if lack else f"on all {len(hosts)} hosts"
    what = f"a new key is on every host of its cluster within {AT_ONCE_S:.0f} s"
    return Control(block=scene.block, what=what, held=bool(keys) and not lack, seen=seen)


async def _not_pushed(scene: StagingScene, looks: Looks) -> Control:
    """A new key of a Trust Authority: the host that asked has it, and nobody brings it to another,
    also in the next pass (KPS-02)."""
    vm, hosts = vm_of(TableEvent.E5, "new"), tuple(scene.casts[TableEvent.E5].values())
    key = await _new_vm(scene, vm, hosts[0])
    await scene.give(clock.SETTLED_S)
    keys = () if key is None else (key,)
    found = {host: await looks.keys_at(host, keys) for host in hosts}
    have = [host for host, there in found.items() if there and there[0].present]
    what = "a new key is on the host that asked for it, and on no other"
    held = bool(keys) and have == [hosts[0]]
    return Control(block=scene.block, what=what, held=held, seen=f"on {', '.join(have) or 'none'}")


async def _kdk_at_once(scene: StagingScene) -> Control:
    """A native provider is made just after a reconcile pass: its KDK is everywhere before the next
    one (NKP-02)."""
    await scene.lab.ask(scene.vcenter, CreateNativeProvider(provider=NEW))
    scene.kdks[NEW] = read_backup((await take_backup(scene.lab, scene.vcenter, NEW)).reveal(), "")
    await scene.give(AT_ONCE_S)
    shown = {host: await provider_setup.kdk_at(scene, host, NEW) for host in scene.hosts()}
    lack = [host for host, found in shown.items() if found != provider_setup.PRESENT]
    seen = f"lacking at {', '.join(lack)}" if lack else f"on all {len(shown)} hosts"
    what = f"the KDK of a new provider is on every host within {AT_ONCE_S:.0f} s"
    return Control(block=scene.block, what=what, held=not lack, seen=seen)


async def _marks_nobody(scene: StagingScene, looks: Looks) -> Control:
    """vCenter down, a host reboots and refuses; vCenter returns, its way to the keys open. A host
    that derives keys refuses when its administrator took the provider from it, and one that has
    them unwrapped when no service of the Trust Authority is up."""
    vm, host = vm_of(TableEvent.E3, "off"), scene.host(TableEvent.E3, Actor.A)
    services = (*scene.attesters, *scene.key_services)
    scene.t0 = scene.lab.monotonic()
    await scene.lab.power_off(scene.vcenter, "crash")
    for service in services:
        await scene.lab.power_off(service, "crash")
    if scene.native:
        await provider_setup.take_provider(scene, host)
    await scene.lab.power_off(host, Boot.ORDERLY.way)
    await scene.give(2.0)
    await scene.lab.power_on(host)
    refused = await looks.ask(host, HostPowerOnVm(vm=vm))
    for service in services:
        await scene.lab.power_on(service)
    if services:
        await scene.give(clock.RETRIED_S)
    await scene.lab.power_on(scene.vcenter)
    await hosts_settle(scene, (host,), clock.SETTLED_S)
    asked = await looks.ask_vcenter(PowerOnVm(vm=vm))
    after = await looks.vm(vm, host)
    held = refused.key_required and asked.done and after.works.right is True and not after.locks
    told = ", ".join(event.event for event in after.locks) or "nothing told of a lock"
    seen = f"{refused.error or 'not refused'}; then {asked.outcome.value}; {told}"
    what = "a vCenter that returns and can supply a key marks nobody"
    return Control(block=scene.block, what=what, held=held, seen=seen)


async def _new_vm(scene: StagingScene, vm: VmName, host: NodeName) -> CryptoKeyId | None:
    """An encrypted VM, and its key."""
    message = build_encrypted_vm(TableEvent.E5, vm, host)
    return (await scene.lab.ask(scene.vcenter, message, within_s=clock.CREATE_S)).vm.key


async def _try_flipped_bit(scene: StagingScene) -> Control:
    vm, host = vm_of(TableEvent.E1, "run"), scene.host(TableEvent.E1, Actor.A)
    await scene.bench.flip_bit(TableEvent.E1, vm)
    asked = await scene.guests.read_back(vm, host)
    seen = asked.detail or "every block was read back right"
    what = "a flipped bit of a disk's ciphertext is noticed"
    return Control(block=scene.block, what=what, held=asked.right is not True, seen=seen)


async def _other_dek(scene: StagingScene, looks: Looks) -> Control:
    """Of a VM that was never started: nothing of it is in memory."""
    vm = vm_of(TableEvent.E5, "new")
    host = scene.host(TableEvent.E5, Actor.SOURCE)
    if scene.native:
        await _new_vm(scene, vm, host)
    await scene.bench.replace_dek(
        TableEvent.E5, vm, of=(TableEvent.E1, vm_of(TableEvent.E1, "run"))
    )
    asked = await looks.ask_vcenter(PowerOnVm(vm=vm))
    after = await looks.vm(vm, host)
    runs = after.own is not None and after.own.on
    seen = "it runs" if runs else f"{asked.error}: {asked.text}"
    what = "a wrapped DEK of another VM is noticed"
    return Control(block=scene.block, what=what, held=not asked.done and not runs, seen=seen)
