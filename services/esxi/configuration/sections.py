"""The configuration of a host: what its encrypted archive holds, in sections.

A save carries chosen sections to disk and leaves the others as they were last saved: so that
``config_save = hourly`` loses keys, and only keys, made since the last full save (DUR-02).
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

import msgspec

from protocol.messages.host import ProviderRef
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, KeyKind, VmName
from services.esxi.configuration.recovery import RecoveryKey


class StoredKey(msgspec.Struct, frozen=True):
    """A key with its value, as the persisted store keeps it; the cache holds it in this form too.

    ``kind`` is what the key is for.
    """

    key: CryptoKeyId
    material: KeyMaterial
    kind: KeyKind = KeyKind.VM


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """``host_key`` is the id configured last, at hand or not; ``store`` is in order of arrival."""

    crypto_state: HostCryptoState = HostCryptoState.INCAPABLE
    host_key: CryptoKeyId | None = None
    persistence: bool = False
    store: tuple[StoredKey, ...] = ()
    providers: tuple[ProviderRef, ...] = ()
    vms: tuple[VmName, ...] = ()
    recovery: RecoveryKey | None = None
    maintenance: bool = False


def with_kinds(config: Configuration) -> Configuration:
    """A configuration as read: entries written before keys had a kind get the one they were of.

    Without a kind an entry reads as a VM's key; the host key is told by its id.
    """
    store = tuple(
        msgspec.structs.replace(entry, kind=KeyKind.HOST)
        if entry.key == config.host_key and entry.kind is KeyKind.VM
        else entry
        for entry in config.store
    )
    return msgspec.structs.replace(config, store=store)


class Section(IntFlag):
    """Which fields of the configuration are saved together."""

    NOTHING = 0
    KEYS = 1
    PERSISTENCE = 2
    CRYPTO = 4
    PROVIDERS = 8
    VMS = 16
    RECOVERY = 32
    MAINTENANCE = 64
    ALL = 127


_FIELDS: Final[tuple[tuple[Section, tuple[str, ...]], ...]] = (
    (Section.KEYS, ("store",)),
    (Section.PERSISTENCE, ("persistence",)),
    (Section.CRYPTO, ("crypto_state", "host_key")),
    (Section.PROVIDERS, ("providers",)),
    (Section.VMS, ("vms",)),
    (Section.RECOVERY, ("recovery",)),
    (Section.MAINTENANCE, ("maintenance",)),
)


def merged(saved: Configuration, now: Configuration, sections: Section) -> Configuration:
    """``saved`` with these sections of ``now``; ``saved`` itself when nothing differs."""
    changes = {
        field: getattr(now, field)
        for section, fields in _FIELDS
        if section in sections
        for field in fields
        if getattr(now, field) is not getattr(saved, field)
    }
    return msgspec.structs.replace(saved, **changes) if changes else saved
