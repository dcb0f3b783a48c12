"""Encrypting a VM. With a standard provider: 5 requests, 5 replies.

1. the client's ``EncryptVm``
2. the host is asked for its mode and made safe, if it is not (HEM-01); then the provider makes a
   new KEK, of which vCenter records only key id and provider
3. the KEK goes to the host in charge, and soon to every other host of its cluster
4. the host makes DEKs, wraps them, and writes them with the object

With a provider whose keys are born on hosts (trusted, native) steps 2 and 3 make no key: the host
gets the provider's name alone and answers with the key that it made (KEY-02).

A repeat of the operation after a crash finds the recorded key, or has the provider find it by
the operation id derived here, and goes on from there; a finished one is only told again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import msgspec

from protocol.authorization import Privilege
from protocol.errors import (
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    KeyProviderUnreachable,
    NoPermission,
    NotFound,
    ProductError,
)
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import AddKeys
from protocol.messages.host.session import VmSummary
from protocol.messages.host.vms import QueryVmConfig, ReconfigureVm
from protocol.messages.vcenter.vms import EncryptVm, VmEncrypted
from protocol.releases import Feature, check, release_of
from protocol.secret import KeyMaterial
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    HostCryptoState,
    KeyUnavailableReason,
    PowerState,
    ProviderId,
    VmName,
)
from services.vcenter import events
from services.vcenter.authorization.privileges import TaskCaller
from services.vcenter.hosts.key_delivery import refusal_of
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_host, change_vm, put
from services.vcenter.key_use import (
    cancel_releases,
    end_grants,
    grant_keys,
    not_wanted_there,
    release_keys,
)
from services.vcenter.providers.capabilities import KeyMaker, keys_not_available
from services.vcenter.providers.native import check_backed_up
from services.vcenter.providers.provider import VIRTUAL_MACHINE, KeyUse
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow, VmRow
from services.vcenter.tasks.snapshots import check_no_snapshots
from services.vcenter.vcenter import VCenter


async def encrypt_vm(vc: VCenter, message: EncryptVm, caller: TaskCaller) -> VmEncrypted:
    """See the module. Runs in the VM's turn.

    ``NotAvailable`` when the provider's type needs something that is not built.
    """
    before = await find_operation(vc, message.operation_id, OperationKind.ENCRYPT_VM, message.vm)
    row = vc.vm(message.vm)
    if row.keys:
        return await _encrypt_disks(vc, row, message, before)
    if row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off to encrypt it")
    check_no_snapshots(row, "encrypt it")
    session = vc.sessions.usable(row.host)
    operation = before or OperationRow(
        name=message.operation_id,
        kind=OperationKind.ENCRYPT_VM,
        subject=message.vm,
        provider=vc.provider_for(message.provider, row.cluster),
    )
    given = await give_key(vc, session, operation, caller=caller)
    command = ReconfigureVm(vm=row.name, key=given.key, provider=given.maker)
    vm = await session.command_vm(command)
    keys = given.keys_of(vm)
    if row.name not in vc.inventory.vms:  # its host was removed, and the VM with it
        await give_up(vc, row.cluster, keys, vm=None)
    await vc.inventory.commit(
        change_vm(row.name, keys=keys),
        *modes_afterwards(vc, session, caller=caller),
        events=[events.vm_encrypted(row.name, session.host, keys[0])],
    )
    given.look_after_the_others(vc, session)
    return VmEncrypted(vm=vc.vm_info(row.name), key=keys[0])


async def _encrypt_disks(
    vc: VCenter, row: VmRow, message: EncryptVm, before: OperationRow | None
) -> VmEncrypted:
    """For a VM whose home is encrypted for its virtual TPM: encrypt the disks under the same
    key."""
    session, key = vc.sessions.usable(row.host), row.keys[0]
    config = await session.ask(QueryVmConfig(vm=row.name)) if row.vtpm else None
    if config is None or not config.disks_in_clear:
        if before is not None and _is_of(before, row.keys):
            return VmEncrypted(vm=vc.vm_info(row.name), key=key)
        raise InvalidState(f"{row.name} is encrypted with {key} already")
    if row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off to encrypt it")
    if message.provider not in (None, key.provider_id):
        raise InvalidState(
            f"the home of {row.name} is under {key}: its disks come under that, and a recrypt "
            f"brings them to {message.provider}"
        )
    check_no_snapshots(row, "encrypt its disks")
    operation = OperationRow(
        name=message.operation_id, kind=OperationKind.ENCRYPT_VM, subject=row.name, key=key
    )
    await vc.inventory.commit(put(DatabaseTable.OPERATION, operation.name, operation))
    await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
    vm = await session.command_vm(ReconfigureVm(vm=row.name, key=key))
    draft = events.vm_encrypted(row.name, session.host, key)
    await vc.inventory.commit(change_vm(row.name, keys=vm.keys), events=[draft])
    return VmEncrypted(vm=vc.vm_info(row.name), key=key)


def _is_of(before: OperationRow, keys: tuple[CryptoKeyId, ...]) -> bool:
    """Whether these keys are the result of that operation."""
    if before.key is not None:
        return before.key in keys
    return keys[0].provider_id == before.provider


async def find_operation(
    vc: VCenter, operation_id: str, kind: OperationKind, subject: str
) -> OperationRow | None:
    """The earlier operation of that id; ``InvalidArgument`` if it was another kind of operation."""
    if not operation_id:
        raise InvalidArgument("operation_id: it is empty")
    before = await vc.inventory.operation(operation_id)
    if before is not None and (before.kind is not kind or before.subject != subject):
        raise InvalidArgument(
            f"operation_id: {operation_id} was {before.kind.value} of {before.subject or 'a key'}"
        )
    return before


async def make_host_safe(
    vc: VCenter, session: HostSession, provider: ProviderId, *, caller: TaskCaller
) -> None:
    """HEM-01: the first encryption task on a host enables its encryption mode.

    The host itself is asked: vCenter's view may be old, and no key is created for a host that
    cannot use it. ``NotAvailable`` for keys that no host of its release has.
    """
    if session.summary is not None and vc.providers.derives(provider) is not None:
        check(session.host, release_of(session.summary.version), Feature.NATIVE_ON_HOST)
    state = await session.mode_now()
    if state is HostCryptoState.PENDING_INCAPABLE:
        await vc.inventory.commit(events=[events.host_refused(session.host)])
        raise InvalidState(f"{session.host} has encryption disabled until it reboots")
    if state is HostCryptoState.SAFE:
        return
    if not caller.may(Privilege.REGISTER_HOST):
        raise NoPermission(
            f"{caller.name} lacks {Privilege.REGISTER_HOST}, which turning the encryption mode of "
            f"{session.host} on needs: it is {state.value}"
        )
    reason = await vc.remediation.make_safe(session, fallback=provider)
    if reason is KeyUnavailableReason.CLUSTER_UNREACHABLE:
        raise KeyProviderUnreachable(f"{session.host} cannot be made safe: {reason.value}")
    if reason is not None:
        raise InvalidState(f"{session.host} cannot be made safe: {reason.value}")


@dataclass(frozen=True)
class GivenKey:
    """The key for encrypting a VM: ``key`` is on its host now.

    ``maker``: instead, the provider with which the host makes the key itself (KEY-02). ``later``:
    hosts of the cluster that are to be made safe afterwards. ``at``: the moment of the choice; a
    host that was connected later has its own pass.
    """

    key: CryptoKeyId | None
    maker: ProviderId | None
    later: tuple[HostSession, ...]
    at: int

    def keys_of(self, vm: VmSummary) -> tuple[CryptoKeyId, ...]:
        """The keys of the encrypted VM: the given one, else those that its host made.

        ``InvalidState`` when the host names none that it made.
        """
        if self.key is not None:
            return (self.key,)
        if not vm.keys:
            raise InvalidState(f"the host of {vm.vm} names no key of it")
        return vm.keys

    def look_after_the_others(self, vc: VCenter, session: HostSession) -> None:
        """HEM-02, STD-12: with an encrypted VM all hosts of the cluster are made safe and get its
        key. ``session``: that of its own host."""
        for other in _others(vc, session):
            if other in self.later or other.opened_at > self.at:
                vc.gathered.want(other.host)


def modes_afterwards(vc: VCenter, session: HostSession, *, caller: TaskCaller) -> list[Edit]:
    """HEM-02: an encrypted VM in the cluster makes its other hosts safe too.

    Unless the user may not register hosts: then hosts whose mode is off stay so, and get no key.
    """
    cluster = vc.host(session.host).cluster
    if caller.may(Privilege.REGISTER_HOST):
        kept_off = vc.inventory.index.kept_off_in.names(cluster)
        return [change_host(name, kept_off=False) for name in kept_off]
    edits: list[Edit] = []
    for row in vc.inventory.hosts_of(cluster):
        known = vc.sessions.get(row.name)
        summary = None if known is None else known.summary
        off = summary is None or summary.crypto_state is HostCryptoState.INCAPABLE
        if off and not row.kept_off:
            edits.append(change_host(row.name, kept_off=True))
    return edits


async def give_key_of_new_vm(
    vc: VCenter, session: HostSession, operation: OperationRow, *, caller: TaskCaller
) -> GivenKey:
    """As ``give_key``; none for an operation without a provider. The key of an earlier try is used
    again."""
    if operation.key is not None:
        await vc.inventory.commit(*cancel_releases((operation.key,)))
    if operation.provider is None:
        return GivenKey(None, None, (), 0)
    return await give_key(vc, session, operation, caller=caller)


async def give_key(
    vc: VCenter, session: HostSession, operation: OperationRow, *, caller: TaskCaller
) -> GivenKey:
    """Steps 2 and 3 for the operation, which names its provider: the host is safe and has the key.

    If the operation has a key, an earlier try has created it. ``NotAvailable`` when the provider's
    type needs something that is not built.
    """
    provider = operation.provider
    if provider is None:
        raise ValueError(f"operation {operation.name} names no provider")
    maker = vc.providers.capability(provider).key_made_by
    match maker:
        case KeyMaker.VCENTER:
            await make_host_safe(vc, session, provider, caller=caller)
            cluster = vc.host(session.host).cluster
            if operation.key is None:
                key, material = await _new_key(vc, operation, provider, cluster)
            else:
                key, material = operation.key, await _value_of(vc, operation.key)
                await vc.inventory.commit(*grant_keys(_vm_of(operation), cluster, (key,)))
            later = await _give(vc, session, key, material)
            return GivenKey(key, None, later, vc.sessions.moment())
        case KeyMaker.KEY_PROVIDER_SERVICE | KeyMaker.DERIVATION:
            if maker is KeyMaker.DERIVATION:
                check_backed_up(vc.provider(provider))
                await vc.remediation.hand_out_providers(session)
            await make_host_safe(vc, session, provider, caller=caller)
            await vc.inventory.commit(put(DatabaseTable.OPERATION, operation.name, operation))
            return GivenKey(None, provider, tuple(_others(vc, session)), vc.sessions.moment())
        case KeyMaker.NOBODY:
            raise keys_not_available(provider, vc.provider(provider).management_type)
        case _:
            assert_never(maker)


def _vm_of(operation: OperationRow) -> VmName:
    """The VM that the operation creates or changes."""
    return VmName(operation.subject)


async def _new_key(
    vc: VCenter, operation: OperationRow, provider: ProviderId, cluster: ClusterName
) -> tuple[CryptoKeyId, KeyMaterial]:
    """Step 2: create the key at the provider, record its id before any host gets it, and grant it
    to the cluster of its VM (C28)."""
    vc.providers.require_provider(provider)  # raises unless it makes keys for vCenter
    try:
        made = await vc.providers.create_key(
            provider,
            f"{vc.node.name}/encrypt/{operation.name}",
            KeyUse(VIRTUAL_MACHINE, operation.subject),
        )
    except ProductError as error:
        await vc.inventory.commit(events=[events.generate_failed(provider, str(error))])
        raise
    key = CryptoKeyId(made.key_id, provider)
    row = msgspec.structs.replace(operation, key=key)
    await vc.inventory.commit(
        put(DatabaseTable.OPERATION, row.name, row), *grant_keys(_vm_of(operation), cluster, (key,))
    )
    return key, made.material


async def _value_of(vc: VCenter, key: CryptoKeyId) -> KeyMaterial:
    """The value of a key that an earlier try created."""
    bundle = await vc.providers.fetch(key.provider_id, (key,), fresh=True)
    if bundle.values:
        return bundle.values[0][1]
    reason = bundle.denied[key]
    if reason is KeyUnavailableReason.CLUSTER_UNREACHABLE:
        raise KeyProviderUnreachable(f"the key of this operation cannot be had: {reason.value}")
    raise InvalidState(f"the key {key} of this operation cannot be had: {reason.value}")


async def _give(
    vc: VCenter, session: HostSession, key: CryptoKeyId, material: KeyMaterial
) -> tuple[HostSession, ...]:
    """Step 3: deliver the key to the host in charge, and to the others soon afterwards (STD-12).

    Returns the hosts that are not safe yet: they get host key and keys by a pass of their own.
    """
    try:
        added = await session.command(AddKeys(keys=(key,), material=Sealed.of(material)))
    except InvalidState:  # it accepted keys when it was asked, but does not any more
        await vc.inventory.commit(events=[events.host_refused(session.host)])
        raise
    for result in added.results:
        if why := refusal_of(result):
            await vc.inventory.commit(events=[events.host_send_error(session.host, (key,), why)])
            raise InvalidState(f"{session.host} does not take the key {key}: {why}")
    if key.provider_id not in vc.inventory.providers:
        await vc.inventory.commit(*not_wanted_there((key,), session.host, vc.inventory.deleted))
        vc.passes.want(session.host, removing=True)
        raise NotFound(f"key provider {key.provider_id} was deleted meanwhile")
    later: list[HostSession] = []
    for other in _others(vc, session):
        summary = other.summary
        safe = summary is not None and summary.crypto_state is HostCryptoState.SAFE
        vc.sharing.give(other, key, material, takes_keys=safe)
        if not safe:
            later.append(other)
            vc.gathered.want(other.host)
    return tuple(later)


async def give_up(
    vc: VCenter, cluster: ClusterName, keys: tuple[CryptoKeyId, ...], *, vm: VmName | None
) -> None:
    """There is no VM under these keys: the cluster's hosts need not keep them (STD-17).

    ``vm``: the VM for which they were made, whose grant ends (C28); None: it has left the inventory
    with its host, and may come back with it.
    """
    vc.sharing.withdraw(keys)
    hosts = [other.name for other in vc.inventory.hosts_of(cluster)]
    over = () if vm is None else end_grants(vm, keys)
    await vc.inventory.commit(*release_keys(keys, hosts), *over)


def _others(vc: VCenter, session: HostSession) -> list[HostSession]:
    """The other hosts of the host's cluster that are connected."""
    cluster = vc.host(session.host).cluster
    found = (vc.sessions.find_connected(host.name) for host in vc.inventory.hosts_of(cluster))
    return [other for other in found if other is not None and other.host != session.host]
