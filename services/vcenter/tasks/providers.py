"""Key providers: created, changed, deleted, and chosen as default of vCenter and of clusters;
native ones also exported, downloaded and imported (NKP-01 to NKP-05). All run in one turn,
because there is one default for all. A provider is its name (KEY-01, LOCK-06).
"""

from __future__ import annotations

import uuid
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from protocol import names
from protocol.crypto.derive import KDK_SIZE
from protocol.crypto.provider_backup import BackupContent, read_backup, write_backup
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.errors import (
    AlreadyExists,
    CryptographicFailure,
    InvalidArgument,
    InvalidState,
    NotAvailable,
    NotFound,
    ResourceInUse,
)
from protocol.messages.host.session import Done
from protocol.messages.vcenter import providers as provider_messages
from protocol.releases import Feature
from protocol.secret import KeyMaterial
from protocol.terms import ManagementType, NodeName, ProviderId
from services.keyservers.address import Kmip
from services.vcenter import events
from services.vcenter.inventory import Edit, change_cluster, change_provider, drop, put
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.providers.native import is_backed_up
from services.vcenter.providers.standard import address_of
from services.vcenter.providers.wrapped_keys import apply_spec
from services.vcenter.tables import (
    ClientCertificate,
    DatabaseTable,
    DeletedRow,
    NativeConfig,
    ProviderRow,
    WrappingConfig,
)
from services.vcenter.tasks.keys import passes_over
from services.vcenter.tasks.kmip_servers import check_entry, passwords
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.host_configuration import users_of

_REVISION_SIZE: Final = 8


async def register(
    vc: VCenter, message: provider_messages.RegisterKmsCluster
) -> provider_messages.ProviderState:
    """Create or change a provider; ask its servers once; repair the hosts (STD-10)."""
    name = message.provider
    known = vc.inventory.providers.get(name)
    _check(message, known)
    if known is None:
        check_room(vc)
    first = not vc.inventory.providers
    default = message.make_default or first or (known is not None and known.default)
    row = ProviderRow(
        name=name,
        management_type=message.management_type,
        servers=message.servers,
        default=default,
        client=await _client(vc, message, known),
        trusted=() if known is None else known.trusted,
        ending=() if known is None else known.ending,
        passwords=await passwords(vc, message, known),
        keys=_keys(vc, message, known),
    )
    await vc.inventory.commit(
        *(others_no_default(vc, name) if default else ()),
        put(DatabaseTable.PROVIDER, name, row),
        drop(DatabaseTable.DELETED, name),
    )
    if known is not None and known.servers != row.servers:
        vc.contacts.forget(name)
        vc.vsan_ticker.tick_now()
    if CAPABILITIES[message.management_type].fetched:
        await vc.trust.providers_changed()
    else:
        await _greet(vc, name, post_event=known is None)
    vc.reconciliation.soon()
    return provider_messages.ProviderState(provider=vc.provider_info(name))


def _keys(
    vc: VCenter, message: provider_messages.RegisterKmsCluster, known: ProviderRow | None
) -> WrappingConfig | UnsetType:
    """What new keys of the provider are (KEY-07). ``NotAvailable`` before 9.0; ``InvalidArgument``
    for a specification that no provider can have."""
    before = UNSET if known is None else known.keys
    spec = message.keys
    if not isinstance(spec, provider_messages.KeySpec):
        return before
    vc.check_can(Feature.WRAPPED_KEYS)
    if message.management_type is not ManagementType.VCENTER:
        raise InvalidArgument("keys: only a standard provider has wrapped keys")
    least, most = provider_messages.ROTATION_DAYS
    if spec.rotation_days is not None and not least <= spec.rotation_days <= most:
        raise InvalidArgument(f"keys: a wrapping key is replaced after {least} to {most} days")
    if spec.wrapping_key and spec.rotation_days is not None:
        raise InvalidArgument("keys: a wrapping key given by its id is not replaced automatically")
    if spec.wrapping_key:
        names.WRAPPING_KEY.check(spec.wrapping_key)
    revision = vc.rng.token(_REVISION_SIZE).hex()
    return apply_spec(before, spec, revision, vc.clock.now())


async def _client(
    vc: VCenter, message: provider_messages.RegisterKmsCluster, known: ProviderRow | None
) -> ClientCertificate | None:
    """The certificate for KMIP servers: the present one, or a new one when the first server is
    added."""
    before = None if known is None else known.client
    if before is None and any(isinstance(address_of(s), Kmip) for s in message.servers):
        return await vc.providers.certificates.create_self_signed(message.provider)
    return before


def check_room(vc: VCenter) -> None:
    """``InvalidState`` when the number of providers is at its limit (NKP-02)."""
    limit = vc.node.knobs.max_key_providers
    if len(vc.inventory.providers) >= limit:
        raise InvalidState(f"there are {limit} key providers already, which is the limit")


def _check(message: provider_messages.RegisterKmsCluster, known: ProviderRow | None) -> None:
    names.PROVIDER.check(message.provider)
    can, kind = CAPABILITIES[message.management_type], message.management_type.value
    if can.created_by is None:
        raise NotAvailable(f"vCenter creates no key providers of management type {kind}")
    if can.created_by is not provider_messages.RegisterKmsCluster:
        raise InvalidArgument(f"management_type: use {can.created_by.__name__} for {kind}")
    if known is not None and known.management_type is not message.management_type:
        raise InvalidArgument(f"management_type: {known.name} is {known.management_type.value}")
    if not can.has_key_servers:
        if message.servers:
            raise InvalidArgument(
                "servers: vCenter has no key servers of a trusted provider (TA-06)"
            )
        return
    servers = [server.name for server in message.servers]
    if not servers or len(set(servers)) != len(servers) or not all(servers):
        raise InvalidArgument("servers: a standard provider has servers, each with its own name")
    for server in message.servers:
        check_entry(server)


async def _greet(vc: VCenter, name: ProviderId, *, post_event: bool) -> None:
    """The first contact: status from the start, and the vendor event for a new provider."""
    answered = await vc.providers.require_provider(name).health()
    if post_event and answered:
        server, versions = next(iter(answered.items()))
        await vc.inventory.commit(events=[events.vendor(name, server, versions)])


async def unregister(
    vc: VCenter, message: provider_messages.UnregisterKmsCluster
) -> provider_messages.KmsClusterUnregistered:
    """DEL-01: VMs do not block it. The default goes with it (STD-02); keys stay at the KMS.

    A provider that hosts know (NKP-09) has left those that are connected when this ends.
    """
    name = message.provider
    if (before := vc.inventory.deleted.get(name)) is not None:
        return await _wait_for_removal(vc, before)
    kind = vc.provider(name).management_type
    _check_vsan(vc, name, kind)
    gone = DeletedRow(name=name, at=vc.clock.monotonic(), management_type=kind)
    without = [
        change_cluster(row.name, default_provider=None)
        for row in vc.inventory.clusters.values()
        if row.default_provider == name
    ]
    await vc.inventory.commit(
        drop(DatabaseTable.PROVIDER, name), put(DatabaseTable.DELETED, name, gone), *without
    )
    vc.contacts.forget(name)
    vc.providers.forget(name)
    vc.sharing.withdraw_all_of(name)
    if CAPABILITIES[kind].fetched:
        await vc.trust.providers_changed()
    return await _wait_for_removal(vc, gone)


async def _wait_for_removal(
    vc: VCenter, gone: DeletedRow
) -> provider_messages.KmsClusterUnregistered:
    """NKP-02: wait until hosts have dropped the provider; a standard provider is not on hosts."""
    if CAPABILITIES[gone.management_type].pushed:
        return provider_messages.KmsClusterUnregistered()
    await passes_over(vc, tuple(vc.inventory.hosts))
    if gone.name in vc.inventory.providers:  # it was created again meanwhile
        return provider_messages.KmsClusterUnregistered()
    left = tuple(host for host in vc.inventory.hosts if not _has_dropped(vc, host, gone.name))
    return provider_messages.KmsClusterUnregistered(hosts=left)


def _has_dropped(vc: VCenter, host: NodeName, provider: ProviderId) -> bool:
    """Whether the provider is missing in a connected host's last view."""
    session = vc.sessions.find_connected(host)
    view = None if session is None else session.summary
    if view is None:
        return False
    return provider not in view.kdks and all(r.provider_id != provider for r in view.providers)


def _check_vsan(vc: VCenter, name: ProviderId, kind: ManagementType) -> None:
    """C26: ``ResourceInUse`` while vSAN has a KMS profile of it, unless the knob removes that."""
    if not CAPABILITIES[kind].pushed:
        return
    users = users_of({c.name: c.vsan for c in vc.inventory.clusters.values()}, name)
    if users and vc.node.knobs.vsan_provider_delete == "refuse":
        raise ResourceInUse(f"vSAN of {', '.join(users)} is encrypted with keys of {name}")


async def mark_default(
    vc: VCenter, message: provider_messages.MarkDefault
) -> provider_messages.ProviderState:
    """STD-02: tasks that name no provider use this one from now on."""
    name = message.provider
    if name not in vc.inventory.providers:
        raise InvalidArgument(f"provider: there is no key provider {name}")
    await vc.inventory.commit(*others_no_default(vc, name), change_provider(name, default=True))
    return provider_messages.ProviderState(provider=vc.provider_info(name))


def others_no_default(vc: VCenter, name: ProviderId) -> list[Edit]:
    """Edits that make no other provider than this one the default."""
    return [
        change_provider(row.name, default=False)
        for row in vc.inventory.providers.values()
        if row.default and row.name != name
    ]


async def set_default(vc: VCenter, message: provider_messages.SetDefaultKmsCluster) -> Done:
    """STD-02: tasks in this cluster that name no provider use this one from now on."""
    vc.check_can(Feature.DEFAULT_PER_CLUSTER)
    if message.entity not in vc.inventory.clusters:
        raise NotFound(f"there is no cluster {message.entity}")
    if message.provider is not None and message.provider not in vc.inventory.providers:
        raise InvalidArgument(f"provider: there is no key provider {message.provider}")
    await vc.inventory.commit(change_cluster(message.entity, default_provider=message.provider))
    return Done()


def get_default(
    vc: VCenter, message: provider_messages.GetDefaultKmsCluster
) -> provider_messages.DefaultKmsCluster:
    """The default in force, or only the cluster's own."""
    cluster = vc.inventory.clusters.get(message.entity) if message.entity is not None else None
    if message.entity is not None and cluster is None:
        raise NotFound(f"there is no cluster {message.entity}")
    if cluster is not None and not message.defaults_to_parent:
        return provider_messages.DefaultKmsCluster(provider=cluster.default_provider)
    found = vc.inventory.default_provider(message.entity)
    return provider_messages.DefaultKmsCluster(provider=None if found is None else found.name)


_NO_SECRET = KeyMaterial(b"")


def open_transfer(vc: VCenter) -> provider_messages.TransferOpened:
    """See ``OpenTransfer``."""
    name, public = vc.exports.open_transfer()
    return provider_messages.TransferOpened(transfer=name, public_key=public)


async def create(
    vc: VCenter, message: provider_messages.CreateNativeProvider
) -> provider_messages.ProviderState:
    """See ``CreateNativeProvider``. The provider is unusable before its first backup."""
    names.PROVIDER.check(message.provider)
    _check_new(vc, message.provider)
    key_id, kdk = vc.providers.native.new_kdk()
    if message.key_id:
        key_id = _uuid(message.key_id)
    if message.key_derivation_key:
        key = vc.exports.transfer(message.transfer)
        kdk = _open_box(key, message.key_derivation_key, "key derivation key")
        if len(kdk) != KDK_SIZE:
            raise InvalidArgument(f"key_derivation_key: it has {KDK_SIZE} bytes, not {len(kdk)}")
    native = await vc.providers.native.wrap_kdk(
        message.provider, key_id, kdk, tpm_required=message.tpm_required
    )
    native = msgspec.structs.replace(native, told_at=vc.clock.now())
    await _add(vc, message.provider, native, make_default=message.make_default)
    return provider_messages.ProviderState(provider=vc.provider_info(message.provider))


async def update(
    vc: VCenter, message: provider_messages.UpdateNativeProvider
) -> provider_messages.ProviderState:
    """See ``UpdateNativeProvider``."""
    row, native = _native(vc, message.provider)
    key_id = _uuid(message.key_id)
    if key_id != native.key_id:
        changed = msgspec.structs.replace(native, key_id=key_id, updated=native.backed_up)
        if native.backed_up:
            changed = msgspec.structs.replace(changed, told_at=vc.clock.now())
        drafts = [events.not_backed_up(row.name, after_update=True)] if native.backed_up else []
        await vc.inventory.commit(change_provider(row.name, native=changed), events=drafts)
        vc.reconciliation.soon()
    return provider_messages.ProviderState(provider=vc.provider_info(row.name))


def export(
    vc: VCenter, message: provider_messages.ExportProvider
) -> provider_messages.ExportLocation:
    """See ``ExportProvider``; ``InvalidState`` when the KDK cannot be opened."""
    row, _ = _native(vc, message.provider)
    if message.authority is not msgspec.UNSET:
        _by_name(vc, message.authority)
    vc.providers.native.kdk(row)
    password = _NO_SECRET
    if message.password:
        password = _open_box(vc.exports.transfer(message.transfer), message.password, "password")
        _text(password)
    token, expiry = vc.exports.prepare(row.name, password)
    url = f"https://{vc.node.name}/cryptomanager/kms/{row.name}"
    return provider_messages.ExportLocation(url=url, token=token, expiry=expiry)


def _by_name(vc: VCenter, authority: str) -> None:
    """``InvalidArgument`` when vCenter was reached by another name: the address of the download
    contains its name, and a session is valid for the name that opened it (NKP-03)."""
    if authority != vc.node.name:
        text = f"authority: a backup is exported in a session by the name {vc.node.name}"
        raise InvalidArgument(f"{text}, not by {authority!r}")


async def download(
    vc: VCenter, message: provider_messages.DownloadExport
) -> provider_messages.ExportDownloaded:
    """See ``DownloadExport``: durably backed up before it is answered."""
    prepared = vc.exports.take(message.token)
    row, native = _native(vc, prepared.provider)
    backup = BackupContent(
        provider=row.name,
        key_id=native.key_id,
        kdk=vc.providers.native.kdk(row),
        tpm_required=native.tpm_required,
        exported_at=vc.clock.now(),
    )
    file = KeyMaterial(write_backup(backup, _text(prepared.password)))
    config = seal_secret(message.recipient, file, "backup")
    if not is_backed_up(native):
        done = msgspec.structs.replace(native, backed_up=True, updated=False)
        rest = [r for r in vc.inventory.providers.values() if r.name != row.name]
        all_done = all(r.native is None or is_backed_up(r.native) for r in rest)
        drafts = [events.all_backed_up(row.name)] if all_done else []
        await vc.inventory.commit(change_provider(row.name, native=done), events=drafts)
    return provider_messages.ExportDownloaded(config=config)


async def import_(
    vc: VCenter, message: provider_messages.ImportProvider
) -> provider_messages.ProviderImported:
    """See ``ImportProvider``; under the name of a deleted provider it replaces that (LOCK-06)."""
    key = vc.exports.transfer(message.transfer)
    config = _open_box(key, message.config, "backup")
    password = _open_box(key, message.password, "password") if message.password else _NO_SECRET
    backup = read_backup(config.reveal(), _text(password))
    names.PROVIDER.check(backup.provider)
    _check_new(vc, backup.provider)
    required = backup.tpm_required if message.tpm_required is None else message.tpm_required
    found = provider_messages.ProviderImported(
        provider=backup.provider,
        key_id=backup.key_id,
        export_time=backup.exported_at,
        tpm_required=required,
    )
    if message.dry_run:
        return found
    native = await vc.providers.native.wrap_kdk(
        backup.provider, backup.key_id, backup.kdk, tpm_required=required
    )
    native = msgspec.structs.replace(native, backed_up=True)
    await _add(vc, backup.provider, native, make_default=message.make_default)
    return msgspec.structs.replace(found, state=vc.provider_info(backup.provider))


async def _add(vc: VCenter, name: ProviderId, native: NativeConfig, *, make_default: bool) -> None:
    default = make_default or not vc.inventory.providers
    row = ProviderRow(
        name=name,
        management_type=ManagementType.NATIVE_PROVIDER,
        default=default,
        native=native,
    )
    drafts = [] if native.backed_up else [events.not_backed_up(name, after_update=False)]
    await vc.inventory.commit(
        *(others_no_default(vc, name) if default else ()),
        put(DatabaseTable.PROVIDER, name, row),
        drop(DatabaseTable.DELETED, name),
        events=drafts,
    )
    vc.reconciliation.soon()


def _check_new(vc: VCenter, name: ProviderId) -> None:
    vc.check_can(Feature.NATIVE_PROVIDER)
    if name in vc.inventory.providers:
        raise AlreadyExists(f"there is a key provider {name} already")
    check_room(vc)


def _native(vc: VCenter, name: ProviderId) -> tuple[ProviderRow, NativeConfig]:
    row = vc.provider(name)
    if row.native is None:
        raise InvalidArgument(f"provider: {name} is no native key provider")
    return row, row.native


def _uuid(text: str) -> str:
    try:
        found = uuid.UUID(text)
    except ValueError:
        found = uuid.UUID(int=0)
    if not found.int:
        raise InvalidArgument(f"key_id: {text} is no UUID")
    return str(found)


def _open_box(key: OneTimeKey, box: bytes, purpose: str) -> KeyMaterial:
    try:
        return key.open_box(box, purpose)
    except CryptographicFailure as error:
        raise InvalidArgument(str(error)) from None


def _text(password: KeyMaterial) -> str:
    try:
        return password.reveal().decode()
    except UnicodeDecodeError:
        raise InvalidArgument("password: it is no UTF-8") from None
