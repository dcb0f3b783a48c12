"""Keys of providers: made, and asked about."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import CryptoKeyId, KeyUnavailableReason, NodeName, ProviderId, VmName


class GenerateKey(Request["KeyGenerated"], frozen=True, kw_only=True):
    """A new key of the provider (the default when None); failure comes in the reply."""

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    provider: ProviderId | None = None


class KeyGenerated(Reply, frozen=True, kw_only=True):
    """vim25 CryptoKeyResult: the key that was made, or ``success`` False and why there is none."""

    success: bool
    key: CryptoKeyId | None = None
    reason: str = ""


class QueryCryptoKeyStatus(Request["CryptoKeyStatusList"], frozen=True, kw_only=True):
    """Really asks the provider, and lists which VMs and hosts use each key (STD-20).

    Of the keys named, in that order; of all keys known to the inventory, by provider and id, when
    none are named. Those after ``after``, as many as fit into the answer.
    """

    keys: tuple[CryptoKeyId, ...] = ()
    after: CryptoKeyId | None = None


class CryptoKeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 CryptoKeyStatus: whether a key can be had of its provider, and who uses it.

    ``reason`` says why it is not ``available`` (STD-20).
    """

    key: CryptoKeyId
    available: bool
    reason: KeyUnavailableReason | None = None
    encrypted_vms: tuple[VmName, ...] = ()
    affected_hosts: tuple[NodeName, ...] = ()


class CryptoKeyStatusList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last key as ``after`` (``listing.all_key_status``)."""

    keys: tuple[CryptoKeyStatus, ...]
    more: bool = False
