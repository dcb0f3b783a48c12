"""Native providers: created, changed, exported, downloaded, imported (NKP-01 to NKP-05).

All run in the turn of the list of providers. Hosts get the changes by passes of the reconciliation,
which is requested at once.
"""

from __future__ import annotations

import uuid

import msgspec

from protocol import names
from protocol.crypto.native import KDK_SIZE
from protocol.crypto.provider_backup import BackupContent, read_backup, write_backup
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.errors import AlreadyExists, CryptographicFailure, InvalidArgument
from protocol.messages.vcenter import (
    CreateNativeProvider,
    DownloadExport,
    ExportDownloaded,
    ExportLocation,
    ExportProvider,
    ImportProvider,
    ProviderImported,
    ProviderState,
    TransferOpened,
    UpdateNativeProvider,
)
from protocol.releases import Feature
from protocol.secret import KeyMaterial
from protocol.terms import ManagementType, ProviderId
from services.vcenter import events
from services.vcenter.inventory import change_provider, drop, put
from services.vcenter.keys.wrapped import NativeConfig
from services.vcenter.providers.native import is_backed_up
from services.vcenter.tables import DatabaseTable, ProviderRow
from services.vcenter.tasks.provider import check_room, others_no_default
from services.vcenter.vcenter import VCenter

_NO_SECRET = KeyMaterial(b"")


def open_transfer(vc: VCenter) -> TransferOpened:
    """See ``OpenTransfer``."""
    name, public = vc.exports.open_transfer()
    return TransferOpened(transfer=name, public_key=public)


async def create(vc: VCenter, message: CreateNativeProvider) -> ProviderState:
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
    return ProviderState(provider=vc.provider_info(message.provider))


async def update(vc: VCenter, message: UpdateNativeProvider) -> ProviderState:
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
    return ProviderState(provider=vc.provider_info(row.name))


def export(vc: VCenter, message: ExportProvider) -> ExportLocation:
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
    return ExportLocation(url=url, token=token, expiry=expiry)


def _by_name(vc: VCenter, authority: str) -> None:
    """``InvalidArgument`` when vCenter was reached by another name: the address of the download
    contains its name, and a session is valid for the name that opened it (NKP-03)."""
    if authority != vc.node.name:
        text = f"authority: a backup is exported in a session by the name {vc.node.name}"
        raise InvalidArgument(f"{text}, not by {authority!r}")


async def download(vc: VCenter, message: DownloadExport) -> ExportDownloaded:
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
    return ExportDownloaded(config=config)


async def import_(vc: VCenter, message: ImportProvider) -> ProviderImported:
    """See ``ImportProvider``; under the name of a deleted provider it replaces that (LOCK-06)."""
    key = vc.exports.transfer(message.transfer)
    config = _open_box(key, message.config, "backup")
    password = _open_box(key, message.password, "password") if message.password else _NO_SECRET
    backup = read_backup(config.reveal(), _text(password))
    names.PROVIDER.check(backup.provider)
    _check_new(vc, backup.provider)
    required = backup.tpm_required if message.tpm_required is None else message.tpm_required
    found = ProviderImported(
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
