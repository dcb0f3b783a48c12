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

    Without ``material`` the host derives the key (native provider), and ``check`` is its expected
    check value. With a trusted provider the key id is a ciphertext, which a Key Provider Service
    unwraps for the host; with an empty ``key_id`` the service makes the key, unless the host has
    one of that provider already (KEY-02), and the host's view names it. ``InvalidState`` when
    incapable, or when the host cannot get that key; ``AlreadyExists`` when safe with another host
    key.
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
    """Add keys to the cache, and to the store when persistence is on (saved before the reply).

    ``keys`` and ``material`` correspond by position. They are limited by the room in the answer
    (``RESULT_BYTES`` each beyond their ids), else ``ResponseTooLarge`` and no change. ``kind``
    applies to all of them; a key that the host has already keeps its own.
    """

    keys: tuple[CryptoKeyId, ...]
    material: Sealed
    kind: KeyKind = KeyKind.VM


RESULT_BYTES: Final = 128
"""The size of one key in an answer beyond its id: flags, a reason, a fault, or a sealed value."""


class CryptoKeyResult(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 CryptoKeyResult: ``fault`` is ``AlreadyExists`` for a key that the host had (no
    change)."""

    key: CryptoKeyId
    success: bool
    reason: str = ""
    fault: str = ""


class KeysAdded(Reply, frozen=True, kw_only=True):
    """One result per key, in the order of ``AddKeys.keys``."""

    results: tuple[CryptoKeyResult, ...]


class RemoveKeys(Command["KeysRemoved"], frozen=True, kw_only=True):
    """Remove keys from the cache and, by ``store_follows_cache``, from the store.

    ``withhold``: keys that this host can derive count as missing until its next boot, or until it
    gets another KDK; otherwise it derives them again at need. As many keys as the answer has room
    for (``RESULT_BYTES`` each beyond their ids), else ``ResponseTooLarge`` and no change.
    """

    keys: tuple[CryptoKeyId, ...]
    withhold: bool = False


class KeysRemoved(Reply, frozen=True, kw_only=True):
    """One result per key, in the order of ``RemoveKeys.keys``.

    A key that was not cached is no success: ``fault`` is ``InvalidArgument``, ``reason`` says why.
    """

    results: tuple[CryptoKeyResult, ...]


class EvictKeys(Command["KeysEvicted"], frozen=True, kw_only=True):
    """Remove every key of a deleted provider from the cache and, by ``store_follows_cache``, from
    the store, used or not, including the entries of the host key (DEL-02).

    The host key in memory stays until the next boot, and running VMs keep their DEKs.
    """

    provider: ProviderId


class KeysEvicted(Reply, frozen=True, kw_only=True):
    """How many keys were removed from the cache and from the store; durably."""

    cached: int
    stored: int


class GetCryptoKeyStatus(Request["KeyStatusList"], frozen=True, kw_only=True):
    """Whether keys are in key cache and store; without ``keys``, all keys in either, by id.

    ``after``: of all keys, those after this id. Named keys are as many as the answer has room for
    (``STATUS_BYTES`` each beyond their ids, ``MANAGED_STATUS_BYTES`` with ``managed``), else
    ``ResponseTooLarge``. ``managed``: also report who manages them and whether they were loaded
    from the store.
    """

    keys: tuple[CryptoKeyId, ...] = ()
    after: CryptoKeyId | None = None
    managed: bool = False


STATUS_BYTES: Final = 32
"""The size of one key in ``KeyStatusList`` beyond its id."""
MANAGED_STATUS_BYTES: Final = 80
"""The same with ``managed``."""


class KeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 KeyStatus; ``present`` means *in the host key cache*. ``management_type``: UNSET when
    it was not asked for, and of hosts before 8.0 U1 (HEM-08). ``loaded`` (the lab's addition): the
    cached key was loaded from the store in this life of the host; UNSET when it was not asked for.
    """

    key: CryptoKeyId
    present: bool
    stored: bool = False  # in the persisted store on its disk (the lab's addition)
    loaded: bool | msgspec.UnsetType = msgspec.UNSET
    management_type: KeyManagement | msgspec.UnsetType = msgspec.UNSET


class KeyStatusList(Reply, frozen=True, kw_only=True):
    """Named keys in the order of the request; ``more``: there are keys after the last one."""

    keys: tuple[KeyStatus, ...]
    more: bool = False


class SetProviders(Command[Done], frozen=True, kw_only=True):
    """Replace the list of key providers of this host; saved before the reply.

    ``kdks``: the native providers of the list whose key derivation keys are in ``material``, by
    position. For the other native providers the host keeps its KDK if it is of the same revision.
    It drops the KDKs of providers that are not in the list.
    """

    providers: tuple[ProviderRef, ...]
    kdks: tuple[ProviderId, ...] = ()
    material: Sealed | None = None


class RemoveProvider(Command[Done], frozen=True, kw_only=True):
    """Remove a provider and its KDK from this host's list; vCenter brings it again (NKP-15).

    Keys that the host derived stay in its cache. Saved before the reply.
    """

    provider: ProviderId
