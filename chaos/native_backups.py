"""Backups of native providers, as vCenter's administrator takes and imports them (NKP-03, NKP-04).

The file passes vCenter's console sealed to a key that serves once (``protocol.crypto.transfer``),
and is in clear in the caller's memory.
"""

from __future__ import annotations

import uuid

from msgspec import UNSET

from chaos.lab import LabUnderTest
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.messages.vcenter import (
    DownloadExport,
    ExportProvider,
    ImportProvider,
    OpenTransfer,
    ProviderImported,
    UpdateNativeProvider,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, ProviderId


async def take_backup(
    lab: LabUnderTest,
    vcenter: NodeName,
    provider: ProviderId,
    password: str = "",
    *,
    authority: str | None = None,
) -> KeyMaterial:
    """The PKCS#12 file of a native provider, which counts as backed up then.

    ``authority``: by what vCenter is reached; by its name when it is None. ``InvalidArgument`` for
    anything else, and for another kind of provider, ``NotFound`` when there is none.
    """
    transfer, box = "", b""
    if password:
        opened = await lab.ask(vcenter, OpenTransfer())
        transfer = opened.transfer
        box = seal_secret(opened.public_key, KeyMaterial(password.encode()), "password")
    export = ExportProvider(
        provider=provider,
        transfer=transfer,
        password=box,
        authority=UNSET if authority is None else authority,
    )
    location = await lab.ask(vcenter, export)
    mine = OneTimeKey()
    found = await lab.ask(vcenter, DownloadExport(token=location.token, recipient=mine.public))
    return mine.open_box(found.config, "backup")


async def import_backup(
    lab: LabUnderTest,
    vcenter: NodeName,
    backup: KeyMaterial,
    password: str = "",
    *,
    make_default: bool = False,
    dry_run: bool = False,
) -> ProviderImported:
    """Make a provider of a backup. ``AlreadyExists`` for a name that is taken, ``InvalidArgument``
    for a wrong password or file."""
    opened = await lab.ask(vcenter, OpenTransfer())
    secret = KeyMaterial(password.encode())
    message = ImportProvider(
        transfer=opened.transfer,
        config=seal_secret(opened.public_key, backup, "backup"),
        password=seal_secret(opened.public_key, secret, "password") if password else b"",
        make_default=make_default,
        dry_run=dry_run,
    )
    return await lab.ask(vcenter, message)


def updating(provider: str, key_id: str, name: str) -> UpdateNativeProvider:
    """Give the KDK of a native provider another id (NKP-01), which its next backup is to have.

    ``key_id`` empty: one that is made of ``name``, a name that nothing else has.
    """
    fresh = str(uuid.uuid5(uuid.NAMESPACE_URL, f"keystead:{name}"))
    return UpdateNativeProvider(provider=ProviderId(provider), key_id=key_id or fresh)
