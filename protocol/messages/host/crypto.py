"""The crypto manager of a host: its mode, its host key, its key cache, its key providers."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Reply, Request, Sealed
from protocol.messages.host.session import Command, Done, ProviderRef
from protocol.terms import CryptoKeyId, KeyKind, KeyManagement, ProviderId


class CryptoManagerHostPrepare(Command[Done], frozen=True, kw_only=True):
    """incapable -> prepared; ``InvalidState`` from every other state."""


class CryptoManagerHostEnable(Command[Done], frozen=True, kw_only=True):
    """prepared -> safe with this host key, also from pendingIncapable.

    Without ``material`` the host derives the key, and ``check`` is the check value that it must
    have: the key of a native provider. Of a trusted one it is a ciphertext, which a Key Provider
    Service opens for the host; an empty ``key_id``: the service makes the key, unless the host has
    one of that provider already (KEY-02), and the host's view says which. ``InvalidState`` when
    incapable, or when it cannot have that key; ``AlreadyExists`` when safe with another host key.
    """

    seeks_keys: ClassVar[bool] = True
    key: CryptoKeyId
    material: Sealed | None = None
    check: str = ""


class ChangeHostKey(Command[Done], frozen=True, kw_only=True):
    """ChangeKey_Task: safe -> safe with a new host key; ``InvalidState`` when not safe.

    ``material`` and ``check`` as in ``CryptoManagerHostEnable``.
    """

    seeks_keys: ClassVar[bool] = True
    key: CryptoKeyId
    material: Sealed | None = None
    check: str = ""


class CryptoManagerHostDisable(Command[Done], frozen=True, kw_only=True):
    """safe -> pendingIncapable until the reboot; prepared -> incapable.

    ``ResourceInUse`` while encrypted VMs are there, ``InvalidState`` when pendingIncapable.
    """


class AddKeys(Command["KeysAdded"], frozen=True, kw_only=True):
    """Put keys into the cache (and the store when persistence is on: saved before the reply).

    ``keys`` and ``material`` correspond by position; as many as the answer has room for
    (``RESULT_BYTES`` each beyond their ids), else ``ResponseTooLarge`` and no change.
    ``kind`` is what all of them are for; a key that the host has already keeps its own.
    """

    keys: tuple[CryptoKeyId, ...]
    material: Sealed
    kind: KeyKind = KeyKind.VM


RESULT_BYTES: Final = 128
"""What one key weighs in an answer beyond its id: flags, a reason, a fault; or a sealed value."""


class CryptoKeyResult(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 CryptoKeyResult: ``fault`` is ``AlreadyExists`` for a key it had (no change)."""

    key: CryptoKeyId
    success: bool
    reason: str = ""
    fault: str = ""


class KeysAdded(Reply, frozen=True, kw_only=True):
    """One result per key, in the order of ``AddKeys.keys``."""

    results: tuple[CryptoKeyResult, ...]


class RemoveKeys(Command["KeysRemoved"], frozen=True, kw_only=True):
    """Drop keys from the cache and, by ``store_follows_cache``, from the store.

    ``withhold``: those that this host can derive count as missing until its next boot, or until it
    has another KDK; else they are derived again when they are needed.

    As many as the answer has room for (``RESULT_BYTES`` each beyond their ids), else
    ``ResponseTooLarge`` and no change.
    """

    keys: tuple[CryptoKeyId, ...]
    withhold: bool = False


class KeysRemoved(Reply, frozen=True, kw_only=True):
    """One result per key, in the order of ``RemoveKeys.keys``.

    A key that was not cached is no success: ``fault`` is ``InvalidArgument``, ``reason`` says why.
    """

    results: tuple[CryptoKeyResult, ...]


class EvictKeys(Command["KeysEvicted"], frozen=True, kw_only=True):
    """Every key of a provider that was deleted leaves the cache and, by ``store_follows_cache``,
    the store, used or not: the host key's entries too (DEL-02).

    The host key in memory stays until the next boot, and running VMs keep their DEKs.
    """

    provider: ProviderId


class KeysEvicted(Reply, frozen=True, kw_only=True):
    """How many keys left the cache, and how many entries the store; durably."""

    cached: int
    stored: int


class GetCryptoKeyStatus(Request["KeyStatusList"], frozen=True, kw_only=True):
    """Whether keys are in key cache and store; all that are in either, by id, when none are named.

    ``after``: of all keys, those after this id. Named keys are as many as the answer has
    room for (``STATUS_BYTES`` each beyond their ids, ``MANAGED_STATUS_BYTES`` with ``managed``),
    else ``ResponseTooLarge``. ``managed``: say where they are managed and came from, too.
    """

    keys: tuple[CryptoKeyId, ...] = ()
    after: CryptoKeyId | None = None
    managed: bool = False


STATUS_BYTES: Final = 32
"""What one key weighs in ``KeyStatusList`` beyond its id."""
MANAGED_STATUS_BYTES: Final = 80
"""The same where it says who manages it, and whence it came."""


class KeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 KeyStatus; ``present`` means *in the host key cache*. ``management_type``: UNSET when
    nobody asked, and of hosts before 8.0 U1 (HEM-08). ``loaded`` (the lab's addition): what is in
    the cache came out of the store in this life of the host; UNSET when nobody asked."""

    key: CryptoKeyId
    present: bool
    stored: bool = False  # in the persisted store on its disk (the lab's addition)
    loaded: bool | msgspec.UnsetType = msgspec.UNSET
    management_type: KeyManagement | msgspec.UnsetType = msgspec.UNSET


class KeyStatusList(Reply, frozen=True, kw_only=True):
    """Named keys in the order asked; ``more`` of all keys are after the last one."""

    keys: tuple[KeyStatus, ...]
    more: bool = False


class SetProviders(Command[Done], frozen=True, kw_only=True):
    """The whole list of key providers of this host; saved before the reply.

    ``kdks``: native providers of the list whose key derivation keys are in ``material``, by
    position. The host keeps the KDK that it has of one that is not among them, if it is of the
    same revision; what it has of a provider that is not in the list leaves it.
    """

    providers: tuple[ProviderRef, ...]
    kdks: tuple[ProviderId, ...] = ()
    material: Sealed | None = None


class RemoveProvider(Command[Done], frozen=True, kw_only=True):
    """A provider leaves this host's list, its KDK with it; vCenter brings it again (NKP-15).

    Keys that the host derived stay in its cache. Saved before the reply.
    """

    provider: ProviderId
