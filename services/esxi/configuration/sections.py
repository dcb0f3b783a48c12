"""The configuration of a host: what its encrypted archive holds, in sections.

A save writes chosen sections and leaves the others as they were last saved. With ``config_save =
hourly`` a crash therefore loses keys, and only keys, added since the last full save (DUR-02).
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

import msgspec

from protocol.messages.host import HaConfiguration, ProviderRef
from protocol.terms import CryptoKeyId, HostCryptoState, KeyKind, VmName
from protocol.trust import TrustedConfiguration
from protocol.vsan import VsanEncryption
from services.esxi.configuration.recovery import RecoveryKey
from services.esxi.configuration.stored_keys import StoredKey, StoredKeys
from services.runtime.own_certificate import OwnCertificate


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """``host_key`` is the id configured last, whether the key is available or not;
    ``host_key_check`` the check value of a derived one. ``kdks`` are key derivation keys of native
    providers (NKP-10) by id. ``cloning``: the clones that this host is making. ``trusted`` is the
    applied configuration of a trusted host (KPS-00). ``vsan``: vCenter's configuration of the
    encryption of the cluster's vSAN; ``vsan_next``: a change of it that has begun. ``kmip``: the
    certificate for key servers, with its key. ``release``: the release that booted from it last, as
    ``8.0U3`` (UPG-01)."""

    crypto_state: HostCryptoState = HostCryptoState.INCAPABLE
    host_key: CryptoKeyId | None = None
    host_key_check: str = ""
    persistence: bool = False
    store: StoredKeys = msgspec.field(default_factory=StoredKeys)
    providers: tuple[ProviderRef, ...] = ()
    kdks: tuple[StoredKey, ...] = ()
    vms: tuple[VmName, ...] = ()
    cloning: tuple[VmName, ...] = ()
    recovery: RecoveryKey | None = None
    maintenance: bool = False
    trusted: TrustedConfiguration | None = None
    ha: HaConfiguration | None = None
    vsan: VsanEncryption | None = None
    vsan_next: VsanEncryption | None = None
    kmip: OwnCertificate | None = None
    release: str = ""


def with_kinds(config: Configuration) -> Configuration:
    """A configuration as read. Entries written before keys had a kind get their kind.

    An entry without a kind reads as a VM's key; the host key is recognised by its id.
    """
    entry = None if config.host_key is None else config.store.get(config.host_key)
    if entry is None or entry.kind is not KeyKind.VM:
        return config
    host_key = msgspec.structs.replace(entry, kind=KeyKind.HOST)
    return msgspec.structs.replace(config, store=config.store.adding((host_key,)))


class ConfigurationSection(IntFlag):
    """Groups of fields that are saved together."""

    NOTHING = 0
    KEYS = 1
    PERSISTENCE = 2
    CRYPTO = 4
    PROVIDERS = 8
    VMS = 16
    RECOVERY = 32
    MAINTENANCE = 64
    TRUST = 128
    HA = 256
    VSAN = 512
    KMIP = 1024
    ALL = 2047


_FIELDS: Final[tuple[tuple[ConfigurationSection, tuple[str, ...]], ...]] = (
    (ConfigurationSection.KEYS, ("store",)),
    (ConfigurationSection.PERSISTENCE, ("persistence",)),
    (ConfigurationSection.CRYPTO, ("crypto_state", "host_key", "host_key_check")),
    (ConfigurationSection.PROVIDERS, ("providers", "kdks")),
    (ConfigurationSection.VMS, ("vms", "cloning")),
    (ConfigurationSection.RECOVERY, ("recovery", "release")),
    (ConfigurationSection.MAINTENANCE, ("maintenance",)),
    (ConfigurationSection.TRUST, ("trusted",)),
    (ConfigurationSection.HA, ("ha",)),
    (ConfigurationSection.VSAN, ("vsan", "vsan_next")),
    (ConfigurationSection.KMIP, ("kmip",)),
)


def merge_sections(
    saved: Configuration, now: Configuration, sections: ConfigurationSection
) -> Configuration:
    """``saved`` with these sections of ``now``; ``saved`` itself when nothing differs."""
    changes = {
        field: getattr(now, field)
        for section, fields in _FIELDS
        if section in sections
        for field in fields
        if getattr(now, field) is not getattr(saved, field)
    }
    return msgspec.structs.replace(saved, **changes) if changes else saved


class Addition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was added to an earlier configuration: new keys, and its VMs if they differ.

    ``count`` is the number of the write that carries it, by the TPM's counter (``rollback``).
    """

    count: int = 0
    keys: tuple[StoredKey, ...] = ()
    vms: tuple[VmName, ...] | msgspec.UnsetType = msgspec.UNSET


_NOT_ADDED: Final = frozenset(Configuration.__struct_fields__) - {"store", "vms"}


def find_addition(earlier: Configuration, later: Configuration, count: int) -> Addition | None:
    """The difference from ``earlier`` to ``later``; None when more than keys and VMs was added.

    A removed or replaced key must leave the disk, and so must a recovery key. Modes are not added
    either: an attacker who truncates additions can remove keys and VMs, but undo nothing else.
    """
    keys = later.store.since(earlier.store)
    if keys is None or any(getattr(later, f) is not getattr(earlier, f) for f in _NOT_ADDED):
        return None
    vms = msgspec.UNSET if later.vms is earlier.vms else later.vms
    return Addition(count=count, keys=keys, vms=vms)


def apply_addition(earlier: Configuration, more: Addition) -> Configuration:
    """The later configuration."""
    store = earlier.store.adding(more.keys)
    vms = earlier.vms if more.vms is msgspec.UNSET else more.vms
    return msgspec.structs.replace(earlier, store=store, vms=vms)
