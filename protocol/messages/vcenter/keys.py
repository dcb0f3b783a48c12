"""Keys of providers: made, and asked about."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.messages.vcenter.providers import WrappingKeyInfo
from protocol.terms import (
    CryptoKeyId,
    KeyType,
    KeyUnavailableReason,
    NodeName,
    ProviderId,
    VmName,
)


class GenerateKey(Request["KeyGenerated"], frozen=True, kw_only=True):
    """A new key of the provider (the default when None); failure comes in the reply.

    It is Pre-Active until it is first used (STD-18). ``key_type``: left out, what the provider
    makes by default; a wrapped key is at no key server, and so has no state (KEY-07).
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    provider: ProviderId | None = None
    key_type: KeyType | msgspec.UnsetType = msgspec.UNSET


class KeyGenerated(Reply, frozen=True, kw_only=True):
    """vim25 CryptoKeyResult: the key that was made, or ``success`` False and why there is none."""

    success: bool
    key: CryptoKeyId | None = None
    reason: str = ""


class AddKey(Request[Done], frozen=True, kw_only=True):
    """CryptoManager.AddKey: vCenter knows a key of one of its providers, and brings it to hosts.

    By its id alone: vCenter keeps no values (STD-15), the key server has the key. It also undoes
    ``RemoveKey``. ``AlreadyExists``: vCenter knows it. ``InvalidArgument``: there is no such
    provider, or it has no such key. ``KeyProviderUnreachable``: nobody could be asked.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    key: CryptoKeyId


class RemoveKey(Request["KeyRemoved"], frozen=True, kw_only=True):
    """CryptoManager.RemoveKey: vCenter forgets a key; the key server keeps it (KEY-03).

    ``ResourceInUse`` while VMs or hosts use it, unless ``force``: then it leaves the hosts too, and
    who uses it is locked at the next need (SC-16), until ``AddKey``. ``InvalidArgument``: vCenter
    knows no such key.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    key: CryptoKeyId
    force: bool = False


class KeyRemoved(Reply, frozen=True, kw_only=True):
    """``hosts`` have not confirmed within ``request_timeout_s`` that they dropped the key; each
    drops it when vCenter reaches it."""

    hosts: tuple[NodeName, ...] = ()


class ListKeys(Request["KeyIdList"], frozen=True, kw_only=True):
    """CryptoManager.ListKeys: ids that vCenter knows, those after ``after``; asks nobody."""

    after: CryptoKeyId | None = None


class KeyIdList(Reply, frozen=True, kw_only=True):
    """Ids by provider and id, as many as fit; ``more``: ask again with the last one."""

    keys: tuple[CryptoKeyId, ...]
    more: bool = False


class QueryCryptoKeyStatus(Request["CryptoKeyStatusList"], frozen=True, kw_only=True):
    """Really asks the provider, and lists which VMs and hosts use each key (STD-20).

    Of the keys named, in that order; of all keys known to the inventory, by provider and id, when
    none are named. Those after ``after``, as many as fit into the answer.
    """

    keys: tuple[CryptoKeyId, ...] = ()
    after: CryptoKeyId | None = None


class CryptoKeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 CryptoKeyStatus: whether a key can be had of its provider, and who uses it.

    ``reason`` says why it is not ``available`` (STD-20). ``affected_hosts``: whose host key it is.
    ``wrapping_key``: of a wrapped key (vim25 keyInfo, 9.0).
    """

    key: CryptoKeyId
    available: bool
    reason: KeyUnavailableReason | None = None
    encrypted_vms: tuple[VmName, ...] = ()
    affected_hosts: tuple[NodeName, ...] = ()
    wrapping_key: WrappingKeyInfo | msgspec.UnsetType = msgspec.UNSET


class CryptoKeyStatusList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last key as ``after`` (``listing.all_key_status``)."""

    keys: tuple[CryptoKeyStatus, ...]
    more: bool = False
