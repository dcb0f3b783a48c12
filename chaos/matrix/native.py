"""What a staging with native providers needs before its fault: KDKs kept, keys used and not used.

A host has a key of a native provider when it has used it since its boot; else it derives it from
the KDK. So a host *without the key* has lost the KDK too, by its own administrator (NKP-15), and a
VM is *cold* whose key its host has the KDK for and has not used.
"""

from __future__ import annotations

from typing import Any

from chaos.matrix.scene import P, Q, StagingScene, Void, cluster_of
from chaos.native_backups import take_backup
from chaos.observe.listing import all_vms
from chaos.oracle.terms import TableEvent, TableFault
from protocol.crypto.provider_backup import read_backup
from protocol.messages.base import Request
from protocol.messages.fingerprints import FingerprintKeys
from protocol.messages.host import (
    GetCryptoKeyStatus,
    QueryHost,
    RemoveKeys,
    RemoveProvider,
)
from protocol.messages.vcenter import MigrateVm, PowerOffVm, PowerOnVm, RegisterVm, UnregisterVm
from protocol.terms import HostCryptoState, KeyId, NodeName, ProviderId, VmName

USE_TRIES = 4
PRESENT, ABSENT, OTHER = "present", "absent", "the new one"
"""What a host has of the KDK of before the fault."""


async def keep_kdks(scene: StagingScene) -> None:
    """The backups of P and Q: what derives every key that the judged VMs were made with."""
    for provider in (P, Q):
        file = await take_backup(scene.lab, scene.vcenter, provider)
        scene.kdks[provider] = read_backup(file.reveal(), "")


async def use_key_on(
    scene: StagingScene, event: TableEvent, vm: VmName, host: NodeName, home: NodeName
) -> None:
    """``host`` uses the key of a VM that is off on ``home``: the VM is on there for a moment.

    A pass of the reconciliation that falls just between takes the key away again, as one that no VM
    uses (STD-17): then once more.
    """
    for _ in range(USE_TRIES):
        await _there_and_back(scene, event, vm, host, home)
        if not await lacks_a_key(scene, vm, host):
            break
    scene.book.write("note", host, "key used", vm=vm)


async def _there_and_back(
    scene: StagingScene, event: TableEvent, vm: VmName, host: NodeName, home: NodeName
) -> None:
    there = RegisterVm(vm=vm, cluster=cluster_of(event), host=host)
    back = RegisterVm(vm=vm, cluster=cluster_of(event), host=home)
    used = (PowerOnVm(vm=vm), PowerOffVm(vm=vm))
    steps: tuple[Request[Any], ...] = (UnregisterVm(vm=vm), there, *used, UnregisterVm(vm=vm), back)
    if scene.patience:  # its tasks take real time: it stays in the inventory, or a pass is sure to
        steps = (MigrateVm(vm=vm, host=host), *used, MigrateVm(vm=vm, host=home))  # fall between
    for step in steps:
        await scene.ask_vcenter(step)


async def lacks_a_key(scene: StagingScene, vm: VmName, host: NodeName) -> bool:
    """Whether the host lacks the key of the VM now."""
    info = next(one for one in await all_vms(scene.lab, scene.vcenter) if one.vm == vm)
    keys = () if info.key is None else (info.key,)
    found = await scene.lab.ask(host, GetCryptoKeyStatus(keys=keys))
    return not all(key.present for key in found.keys)


async def chill(scene: StagingScene) -> None:
    """Hosts forget the keys of cold VMs, as a boot makes them; they have the KDK still."""
    for vm, host in scene.cold.items():
        await scene.lab.ask(host, RemoveKeys(keys=scene.keys[vm]))
        scene.book.write("note", host, "key unused", vm=vm)


async def check_cold(scene: StagingScene) -> None:
    """``Void`` when a host has the key of a cold VM in its cache."""
    for vm, host in scene.cold.items():
        found = await scene.lab.ask(host, GetCryptoKeyStatus(keys=scene.keys[vm]))
        if any(key.present for key in found.keys):
            raise Void(f"{host} has used the key of {vm}")


async def take_provider(scene: StagingScene, host: NodeName) -> None:
    """By the host's own administrator; vCenter is not told. The host stays safe until its boot."""
    await scene.lab.ask(host, RemoveProvider(provider=P))
    scene.book.write("note", host, "provider removed", provider=P)


async def check_lacks_provider(scene: StagingScene, host: NodeName) -> None:
    """``Void`` when the host has a KDK of P: but for one that was made anew, which has come to
    it."""
    view = (await scene.lab.ask(host, QueryHost())).summary
    if view.crypto_state is not HostCryptoState.SAFE:
        raise Void(f"{host}, which lost its provider, is {view.crypto_state}")
    if P in view.kdks and scene.fault is not TableFault.F8:
        raise Void(f"{host} has the key derivation key of {P} again")


async def check_has_kdks(scene: StagingScene, host: NodeName) -> None:
    """``Void`` when a host lacks a KDK before the fault, or has another one."""
    for provider in (P, Q):
        if (shown := await kdk_at(scene, host, provider)) != PRESENT:
            raise Void(f"the key derivation key of {provider} on {host}: {shown}")


async def kdk_at(scene: StagingScene, host: NodeName, provider: ProviderId) -> str:
    """Whether the host has the KDK of before the fault, or another one, or none: by its fingerprint
    under a fresh secret, whatever its view says."""
    secret = scene.draws.token(32)
    answer = await scene.lab.ask(host, FingerprintKeys(secret=secret, kdks=True))
    view = (await scene.lab.ask(host, QueryHost())).summary
    found = {key.key_id: key.fingerprint for key in answer.keys if key.place == "kdk"}
    ids = [ref.key_id for ref in view.providers if ref.provider_id == provider]
    mine = [found[KeyId(id)] for id in ids if id in found]
    if not mine:
        return ABSENT
    kept = scene.kdks[provider].kdk.fingerprint(secret)
    return PRESENT if mine == [kept] else OTHER
