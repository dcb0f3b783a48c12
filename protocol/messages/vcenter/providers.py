"""Key providers: registered, deleted, marked default, listed."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import (
    ClusterName,
    KeyId,
    KeyType,
    ManagementType,
    NodeName,
    ProviderHealth,
    ProviderId,
)

ROTATION_DAYS: Final = (30, 3650)
"""The shortest and the longest interval at which a wrapping key is replaced."""


class KmipServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server of a standard provider: its entry (STD-01).

    ``node``: which node of the lab it is; empty for a server outside. ``address``: how vCenter
    reaches it, ``bus:NODE`` or ``kmip://HOST:PORT``; empty: its node, over the bus. ``timeout``:
    seconds for each handshake and each answer, -1 or nothing: those of the knob
    ``request_timeout_s``. ``user_name``: what a KMIP server is told beside vCenter's certificate.
    ``proxy_address`` is not built.
    """

    name: str
    node: NodeName = NodeName("")
    address: str = ""
    timeout: int | msgspec.UnsetType = msgspec.UNSET
    user_name: str | msgspec.UnsetType = msgspec.UNSET
    proxy_address: str | msgspec.UnsetType = msgspec.UNSET


class KmipPasswords(msgspec.Struct, frozen=True, kw_only=True):
    """``passwords`` by the names of their servers, each sealed to the key of ``transfer`` for the
    purpose ``password`` (``protocol.crypto.transfer``)."""

    transfer: str
    passwords: dict[str, bytes]


class WrappingKeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A wrapping key of a standard provider (KEY-07); times in Unix seconds.

    ``by_id``: an administrator named it, and it is never replaced automatically. ``since``: when it
    was named or created; None: this vCenter does not know. ``until``: when another one took its
    place; None while it is in force, and where this vCenter does not know.
    """

    key_id: KeyId
    by_id: bool
    since: float | None = None
    until: float | None = None


class KeySpec(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 KmipServerSpec.defaultKeyType and keySpec, of a whole provider (KEY-07).

    ``wrapping_key``: the id of a key of its key servers, which is never replaced automatically.
    ``rotation_days``: without an id, vCenter creates the wrapping key, and another one after so
    many days (``ROTATION_DAYS``); None: after its default.
    """

    key_type: KeyType = KeyType.RAW
    wrapping_key: KeyId = KeyId("")
    rotation_days: int | None = None


class ProviderKeys(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 KmipClusterInfo.defaultKeyType and keyInfo: what ``spec`` came to.

    ``wrapping_key``: the one in force; None with raw keys, and before the first wrapped one.
    ``rotation_days``: the interval in force; None with a wrapping key by id.
    """

    key_type: KeyType
    wrapping_key: WrappingKeyInfo | None = None
    rotation_days: int | None = None
    rotated_at: float | None = None


class RegisterKmsCluster(Request["ProviderState"], frozen=True, kw_only=True):
    """Make a provider (or change its servers). The first becomes the default (STD-02).

    A native provider is made by ``CreateNativeProvider``. ``NotAvailable`` for management types
    this lab has not built yet, and for a server without any time-out, or behind a proxy. A server
    with a user name has a password: the one in ``passwords``, else that which is kept for this name
    at this address. ``keys``: what a new key of the provider is, left out: no change. A
    wrapping key that vCenter created stays in force under another interval. ``NotAvailable`` before
    9.0.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    management_type: ManagementType = ManagementType.VCENTER
    servers: tuple[KmipServer, ...] = ()
    make_default: bool = False
    passwords: KmipPasswords | msgspec.UnsetType = msgspec.UNSET
    keys: KeySpec | msgspec.UnsetType = msgspec.UNSET


class UnregisterKmsCluster(Request["KmsClusterUnregistered"], frozen=True, kw_only=True):
    """Delete a provider; use does not block it (DEL-01). Its keys stay on the key servers, and in
    the caches of hosts for ``provider_delete_grace_s`` (C4)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class KmsClusterUnregistered(Reply, frozen=True, kw_only=True):
    """``hosts`` have not confirmed within ``request_timeout_s`` that they dropped a native or
    trusted provider (NKP-02); each drops it when vCenter reaches it."""

    hosts: tuple[NodeName, ...] = ()


class MarkDefault(Request["ProviderState"], frozen=True, kw_only=True):
    """Make a provider the default of this vCenter (STD-02).

    ``InvalidArgument`` when there is none of that name.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class KmipServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How vCenter last found a server: green, red, or gray before the first contact.

    ``last_contact``: when it answered last, in Unix seconds of vCenter's clock; None: never, as
    far as this life of vCenter knows. ``why`` it did not answer last.
    """

    name: str
    status: str
    last_contact: float | None = None
    why: str = ""


class SetDefaultKmsCluster(Request[Done], frozen=True, kw_only=True):
    """Make a provider the default of one cluster; None: of vCenter again (STD-02, from 8.0.1).

    ``NotFound``: no such cluster. ``InvalidArgument``: no such provider.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    entity: ClusterName
    provider: ProviderId | None = None


class GetDefaultKmsCluster(Request["DefaultKmsCluster"], frozen=True, kw_only=True):
    """The default provider of a cluster, of vCenter without ``entity``.

    ``defaults_to_parent`` False: None for a cluster that has no default of its own.
    """

    entity: ClusterName | None = None
    defaults_to_parent: bool = True


class DefaultKmsCluster(Reply, frozen=True, kw_only=True):
    """None: there is no default, and tasks must name a provider."""

    provider: ProviderId | None


class ProviderInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as vCenter sees it; ``status`` is green, yellow or red (STD-03), or gray where
    its health does not come from key servers that vCenter asks.

    ``default``: of vCenter; ``default_of``: of these clusters (useAsEntityDefault). ``health`` with
    the ids of its ``details`` is that of a provider with presence on hosts; ``key_id`` names the
    KDK of a native one, which hosts without a TPM do not get if ``tpm_required``. ``keys``: of a
    standard one that was told what its keys are.
    """

    provider: ProviderId
    management_type: ManagementType
    servers: tuple[KmipServer, ...]
    default: bool
    status: str
    contacts: tuple[KmipServerStatus, ...] = ()  # of each server, in their order
    default_of: tuple[ClusterName, ...] = ()
    health: ProviderHealth = ProviderHealth.NONE
    details: tuple[str, ...] = ()
    key_id: str = ""
    tpm_required: bool = False
    keys: ProviderKeys | msgspec.UnsetType = msgspec.UNSET


class ProviderState(Reply, frozen=True, kw_only=True):
    """The provider after the change."""

    provider: ProviderInfo


class ListKmsClusters(Request["ProviderList"], frozen=True, kw_only=True):
    """Providers by name: those after ``after``, as many as fit into the answer."""

    after: ProviderId = ProviderId("")


class ProviderList(Reply, frozen=True, kw_only=True):
    """A page of providers, by name; ``more``: there are others after the last."""

    providers: tuple[ProviderInfo, ...]
    more: bool = False
