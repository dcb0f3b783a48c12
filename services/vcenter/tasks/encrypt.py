"""Encrypting a VM with a standard provider: 4 requests, 4 replies, no hop twice.

1. the client's ``EncryptVm``
2. the host is made safe, if it is not (2.4, HEM-01); then the provider makes a new KEK, of
   which vCenter records only key id and provider
3. the KEK goes to the host in charge, and to every other host of its cluster meanwhile
4. the host makes DEKs, wraps them, and writes them with the object

A repeat of the operation after a crash finds the recorded key, or has the provider find it by
the operation id derived here, and goes on from there; a finished one is only told again.
"""

from __future__ import annotations

from protocol.errors import (
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    KeyProviderUnreachable,
    NotFound,
    ProductError,
)
from protocol.messages.base import Sealed
from protocol.messages.host import AddKeys, ReconfigureVm
from protocol.messages.vcenter import EncryptVm, VmEncrypted
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyUnavailableReason,
    PowerState,
    ProviderId,
)
from services.vcenter import events
from services.vcenter.connection import HostLink
from services.vcenter.inventory import change_vm, put
from services.vcenter.parts import Parts
from services.vcenter.rows import OperationKind, OperationRow, Table, VmRow


async def encrypt_vm(vc: Parts, message: EncryptVm) -> VmEncrypted:
    """See the module's text. Runs in the VM's turn."""
    before = await recorded(vc, message.operation_id, OperationKind.ENCRYPT_VM, message.vm)
    row = vc.vm(message.vm)
    if row.keys:
        if before is not None and before.key in row.keys:
            return VmEncrypted(vm=vc.vm_view(row.name), key=row.keys[0])
        raise InvalidState(f"{row.name} is encrypted with {row.keys[0]} already")
    if row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off to encrypt it")
    link = vc.hosts.usable(row.host)
    known = None if before is None else before.key
    provider = known.provider_id if known else vc.provider_name(message.provider)
    await make_host_safe(vc, link, provider)
    if known is None:
        key, material = await _new_key(vc, message, provider)
    else:
        key, material = known, await _value_of(vc, known)
    later = await _give_key(vc, link, row, key, material)
    state = await link.command(ReconfigureVm(vm=row.name, key=key))
    await vc.inventory.commit(
        change_vm(row.name, keys=state.summary.keys or (key,)),
        events=[events.vm_encrypted(row.name, link.host, key)],
    )
    for other in later:
        other.want_pass()  # HEM-02: with this VM all hosts of the cluster are made safe
    return VmEncrypted(vm=vc.vm_view(row.name), key=key)


async def recorded(
    vc: Parts, operation_id: str, kind: OperationKind, subject: str
) -> OperationRow | None:
    """The operation of that id, if it came before; ``InvalidArgument`` if it was another one."""
    if not operation_id:
        raise InvalidArgument("operation_id: it is empty")
    before = await vc.inventory.operation(operation_id)
    if before is not None and (before.kind is not kind or before.subject != subject):
        raise InvalidArgument(
            f"operation_id: {operation_id} was {before.kind.value} of {before.subject or 'a key'}"
        )
    return before


async def make_host_safe(vc: Parts, link: HostLink, provider: ProviderId) -> None:
    """HEM-01: the first encryption task on a host turns its encryption mode on."""
    state = link.summary.crypto_state if link.summary is not None else None
    if state is HostCryptoState.PENDING_INCAPABLE:
        await vc.inventory.commit(events=[events.host_refused(link.host)])
        raise InvalidState(f"{link.host} has encryption disabled until it reboots")
    if state is HostCryptoState.SAFE:
        return
    async with link.turn:
        reason = await vc.hostkeys.make_safe(link, needed=True, fresh=True, fallback=provider)
    if reason is KeyUnavailableReason.CLUSTER_UNREACHABLE:
        raise KeyProviderUnreachable(f"{link.host} cannot be made safe: {reason.value}")
    if reason is not None:
        raise InvalidState(f"{link.host} cannot be made safe: {reason.value}")


async def _new_key(
    vc: Parts, message: EncryptVm, provider: ProviderId
) -> tuple[CryptoKeyId, KeyMaterial]:
    """Step 2: made at the provider, recorded by id before any host hears of it."""
    found = vc.providers.find(provider)
    if found is None:
        raise NotFound(f"there is no key provider {provider}")
    try:
        made = await found.create_key(f"{vc.node.name}/encrypt/{message.operation_id}")
    except ProductError as error:
        await vc.inventory.commit(events=[events.generate_failed(provider, str(error))])
        raise
    key = CryptoKeyId(made.key_id, provider)
    row = OperationRow(
        name=message.operation_id, kind=OperationKind.ENCRYPT_VM, subject=message.vm, key=key
    )
    await vc.inventory.commit(put(Table.OPERATION, row.name, row))
    return key, made.material


async def _value_of(vc: Parts, key: CryptoKeyId) -> KeyMaterial:
    """The value of a key that an earlier try made."""
    bundle = await vc.providers.fetch(key.provider_id, (key,), fresh=True)
    if bundle.values:
        return bundle.values[0][1]
    reason = bundle.denied[key]
    if reason is KeyUnavailableReason.CLUSTER_UNREACHABLE:
        raise KeyProviderUnreachable(f"the key of this operation cannot be had: {reason.value}")
    raise InvalidState(f"the key {key} of this operation cannot be had: {reason.value}")


async def _give_key(
    vc: Parts, link: HostLink, row: VmRow, key: CryptoKeyId, material: KeyMaterial
) -> list[HostLink]:
    """Step 3: the host in charge, and the others in the background (STD-12).

    Returns those that are not safe yet: they get host key and keys by a pass of their own.
    """
    later: list[HostLink] = []
    for other in vc.inventory.hosts_of(row.cluster):
        line = vc.hosts.get(other.name)
        if other.name != link.host and line is not None and line.session is not None:
            if line.summary is not None and line.summary.crypto_state is HostCryptoState.SAFE:
                vc.node.background(f"{other.name}:share", vc.push.share(line, key, material))
            else:
                later.append(line)
    added = await link.command(AddKeys(keys=(key,), material=Sealed.of(material)))
    for result in added.results:
        if not result.success and result.fault != "AlreadyExists":
            why = result.reason or result.fault
            await vc.inventory.commit(events=[events.host_send_error(link.host, (key,), why)])
            raise InvalidState(f"{link.host} does not take the key {key}: {why}")
    return later
