"""The configuration of a host: what its encrypted archive holds, in sections.

Two of its values have types of their own: the persisted keys, a value that grows cheaply, and the
recovery key, 96 decimal digits that open the configuration without the TPM (REC-01). With
``config_save = hourly`` a crash loses keys, and only keys, added since the last full save
(DUR-02).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Iterator
from enum import IntFlag
from typing import Final

import msgspec

from protocol.crypto.derive import derive_key
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.messages.host.session import HaConfiguration, ProviderRef
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, KeyKind, VmName
from protocol.trust import TrustedConfiguration
from protocol.vsan import VsanEncryption
from services.runtime.node_certificates import OwnCertificate
from services.runtime.ports import Rng


class StoredKey(msgspec.Struct, frozen=True):
    """A key with its value, as the persisted store keeps it; the cache holds it in this form too.

    ``kind`` is what the key is for.
    """

    key: CryptoKeyId
    material: KeyMaterial
    kind: KeyKind = KeyKind.VM


class StoredKeys:
    """The first ``_size`` entries of a list that a line of values shares, and their positions.

    Only the latest value of a line extends the list; any other change begins a new line.
    """

    __slots__ = ("_entries", "_places", "_size")

    def __init__(self, entries: Iterable[StoredKey] = ()) -> None:
        """These entries; of several under one id the last, at the position of the first."""
        by_id = {entry.key: entry for entry in entries}
        self._entries = list(by_id.values())
        self._places = {key: place for place, key in enumerate(by_id)}
        self._size = len(by_id)

    def get(self, key: CryptoKeyId) -> StoredKey | None:
        """The entry under that id; None when there is none."""
        place = self._places.get(key)
        return None if place is None or place >= self._size else self._entries[place]

    def adding(self, new: Iterable[StoredKey]) -> StoredKeys:
        """These entries added; an entry under a known id replaces it in its position. Returns
        ``self`` when that changes nothing."""
        changed = {entry.key: entry for entry in new if self.get(entry.key) != entry}
        if not changed:
            return self
        if self._size < len(self._entries) or any(self.get(key) is not None for key in changed):
            return StoredKeys((*self, *changed.values()))
        for key, entry in changed.items():
            self._places[key] = len(self._entries)
            self._entries.append(entry)
        grown = StoredKeys()
        grown._entries, grown._places = self._entries, self._places
        grown._size = len(self._entries)
        return grown

    def without(self, keys: Collection[CryptoKeyId]) -> StoredKeys:
        """Without the entries under these ids; ``self`` when there are none of them."""
        gone = {key for key in keys if self.get(key) is not None}
        if not gone:
            return self
        return StoredKeys(entry for entry in self if entry.key not in gone)

    def since(self, earlier: StoredKeys) -> tuple[StoredKey, ...] | None:
        """The entries added since ``earlier``; None when an entry of it may be gone or changed."""
        if earlier._entries is not self._entries or earlier._size > self._size:
            return None
        return tuple(self._entries[earlier._size : self._size])

    def __iter__(self) -> Iterator[StoredKey]:
        return iter(self._entries[: self._size])

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: CryptoKeyId) -> bool:
        return self.get(key) is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredKeys):
            return NotImplemented
        return self is other or list(self) == list(other)

    def __repr__(self) -> str:
        return f"StoredKeys({list(self)!r})"


GROUPS: Final = 16
_FORM: Final = re.compile(rf"^\d{{6}}(-\d{{6}}){{{GROUPS - 1}}}$", re.ASCII)
_ID: Final = re.compile(r"^\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}$")


class RecoveryKey(msgspec.Struct, frozen=True):
    """``recovery_id`` is a UUID in braces; ``digits`` the text of 16 groups (REC-01)."""

    recovery_id: str
    digits: KeyMaterial

    def text(self) -> str:
        """The digits for the console: shown to an administrator, never logged."""
        return self.digits.reveal().decode("ascii")


def new_recovery_key(rng: Rng, recovery_id: str = "") -> RecoveryKey:
    """A fresh key; ``recovery_id`` (braces, upper case) is drawn when not given."""
    if not recovery_id:
        recovery_id = "{" + str(uuid.UUID(bytes=rng.token(16), version=4)).upper() + "}"
    groups = []
    for _ in range(GROUPS):
        # A number below a million from 64 bits: the bias is below 2**-44.
        groups.append(f"{int.from_bytes(rng.token(8), 'big') % 1_000_000:06d}")
    return RecoveryKey(recovery_id, KeyMaterial("-".join(groups).encode("ascii")))


def parse_digits(text: str) -> KeyMaterial | None:
    """The digits as typed at the boot loader, or None when they are malformed."""
    return KeyMaterial(text.encode("ascii")) if _FORM.match(text) else None


def canonical_id(text: str) -> str | None:
    """``text`` as a recovery id (braces optional, any case), or None when it is no UUID."""
    bare = text.strip("{}").upper()
    return "{" + bare + "}" if _ID.match("{" + bare + "}") else None


def wrap_config_key(key: RecoveryKey, config_key: KeyMaterial, rng: Rng) -> bytes:
    """The config key under the digits, bound to the recovery id. It is stored in clear on disk."""
    return wrap(
        _derive_kek(key.digits, key.recovery_id),
        config_key,
        key.recovery_id.encode(),
        rng.token(NONCE_SIZE),
    )


def unwrap_config_key(digits: KeyMaterial, recovery_id: str, wrapped: bytes) -> KeyMaterial:
    """The config key; ``CryptographicFailure`` for digits that are not in force."""
    return unwrap(_derive_kek(digits, recovery_id), wrapped, recovery_id.encode())


def _derive_kek(digits: KeyMaterial, recovery_id: str) -> KeyMaterial:
    return derive_key(digits, salt=recovery_id.encode(), info=b"keystead recovery key")


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
