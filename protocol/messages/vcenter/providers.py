"""Key providers: registered, deleted, marked default, listed; native ones also changed, exported
and imported, as in the product's REST interface; their keys; and trust between vCenter and the
KMIP servers of a provider, each way by itself (STD-03, STD-04).
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.session import Done
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    KeyId,
    KeyType,
    KeyUnavailableReason,
    ManagementType,
    NodeName,
    ProviderHealth,
    ProviderId,
    VmName,
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
    """``more``: ask again with the last key as ``after`` (``look.all_key_status``)."""

    keys: tuple[CryptoKeyStatus, ...]
    more: bool = False


class OpenTransfer(Request["TransferOpened"], frozen=True, kw_only=True):
    """A key of vCenter to which the secrets of one request can be sealed."""


class TransferOpened(Reply, frozen=True, kw_only=True):
    """Name the transfer in the request. It ends with that request, and with vCenter's life."""

    transfer: str
    public_key: bytes


class CreateNativeProvider(Request[ProviderState], frozen=True, kw_only=True):
    """Make a native provider; the first provider becomes the default (NKP-01, STD-02).

    ``key_id`` (a UUID) and ``key_derivation_key`` (32 bytes, sealed) are drawn when they are not
    given. ``tpm_required``: hosts without a TPM take no part (NKP-12). ``AlreadyExists`` for a name
    that is taken. It must be backed up once before it is used (NKP-05).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    key_id: str = ""
    transfer: str = ""
    key_derivation_key: bytes = b""
    tpm_required: bool = False
    make_default: bool = False


class UpdateNativeProvider(Request[ProviderState], frozen=True, kw_only=True):
    """Give the KDK another id; a new backup is advised afterwards (NKP-01)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    key_id: str


class ExportProvider(Request["ExportLocation"], frozen=True, kw_only=True):
    """Prepare a backup (NKP-03). ``password`` is sealed; without one the file is in clear.

    ``authority``: by which name or address the client has reached vCenter, as it stands in the
    request; left out, by vCenter's name. ``InvalidArgument`` for another one than its name, and for
    a provider that is not native: what is exported is a KDK.
    """

    provider: ProviderId
    transfer: str = ""
    password: bytes = b""
    authority: str | msgspec.UnsetType = msgspec.UNSET


class ExportLocation(Reply, frozen=True, kw_only=True):
    """Where the backup is: ``token`` opens it once, before ``expiry`` (Unix s at vCenter)."""

    url: str
    token: str
    expiry: float


class DownloadExport(Request["ExportDownloaded"], frozen=True, kw_only=True):
    """The backup of a location, sealed to ``recipient``; the provider counts as backed up then.

    ``NoPermission`` for a token that is unknown, used or too old.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    token: str
    recipient: bytes


class ExportDownloaded(Reply, frozen=True, kw_only=True):
    """The PKCS#12 file, sealed."""

    config: bytes


class ImportProvider(Request["ProviderImported"], frozen=True, kw_only=True):
    """Make a provider of a backup (NKP-04); it counts as backed up.

    ``config`` and ``password`` are sealed. ``tpm_required``: None: as when it was exported.
    ``dry_run``: say what is in it and change nothing. ``AlreadyExists`` for a name that is taken,
    ``InvalidArgument`` for a wrong file or password.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    transfer: str
    config: bytes
    password: bytes = b""
    tpm_required: bool | None = None
    make_default: bool = False
    dry_run: bool = False


class ProviderImported(Reply, frozen=True, kw_only=True):
    """What the backup is of. ``state``: the provider that was made; None after a dry run."""

    provider: ProviderId
    key_id: str
    export_time: float
    tpm_required: bool
    state: ProviderInfo | None = None


class CertificateInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, and what people are told of it.

    ``fingerprint``: SHA-256 of it, in hex; ``start`` and ``end`` of its validity: Unix seconds.
    """

    certificate: bytes
    subject: str
    issuer: str
    fingerprint: str
    start: float
    end: float


class RetrieveClientCert(Request["ClientCert"], frozen=True, kw_only=True):
    """What vCenter shows the servers of a standard provider; ``NotFound``: no such provider."""

    provider: ProviderId


class GenerateSelfSignedClientCert(Request["ClientCert"], frozen=True, kw_only=True):
    """Show another certificate from now on, which vCenter has signed itself: the servers refuse it
    until they trust that one. A repeat makes another one again. It is good for ``good_for_s``
    seconds; None: for as long as they usually are. ``InvalidArgument`` for a time that is none."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    good_for_s: float | None = None


class UploadClientCert(Request["ClientCert"], frozen=True, kw_only=True):
    """Show this chain from now on, own certificate first, with ``private_key`` (PKCS#8 DER), which
    is sealed to the key of ``transfer`` for the purpose ``private key``.

    ``InvalidArgument`` when they do not belong together.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    chain: tuple[bytes, ...]
    transfer: str
    private_key: bytes


class GenerateClientCsr(Request["ClientCsr"], frozen=True, kw_only=True):
    """Make another key and a request for a certificate of it, which takes the place of the earlier
    identity at once: until a certificate comes, vCenter shows one that it has signed itself. A
    repeat makes another key again."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class RetrieveClientCsr(Request["ClientCsr"], frozen=True, kw_only=True):
    """The request of the key that is shown; ``NotFound`` when none was made of it."""

    provider: ProviderId


class ClientCsr(Reply, frozen=True, kw_only=True):
    """``request``: PKCS#10 (RFC 2986), DER."""

    request: bytes


class UpdateKmsSignedCsrClientCert(Request["ClientCert"], frozen=True, kw_only=True):
    """Show this chain from now on: a certificate that was issued for the request, then those above
    it. ``NotFound`` when no request was made; ``InvalidArgument`` for a certificate of another key.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    chain: tuple[bytes, ...]


class LoseClientKey(Request["ClientCert"], frozen=True, kw_only=True):
    """Forget the private key of what is shown, as when the password of vCenter's certificate store
    is gone (SC-07): the certificate stays, and no server is reached until there is another one.
    ``InvalidState``: none is shown."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class LoseKmipPasswords(Request[Done], frozen=True, kw_only=True):
    """Forget the passwords of vCenter's users at the provider's servers, as a vCenter that was
    restored without them. User names stay; no such server is asked until a password is entered
    again (``RegisterKmsCluster``). ``InvalidState``: no server has a user name."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class ClientCert(Reply, frozen=True, kw_only=True):
    """The certificate that is shown; None: there is none yet.

    ``key_lost``: vCenter has no private key for it any more.
    """

    certificate: CertificateInfo | None = None
    key_lost: bool = False


class RetrieveKmipServerCert(Request["ServerCert"], frozen=True, kw_only=True):
    """What a server of the provider shows now, whether it is trusted or not.

    ``NotFound``: no such provider or server. ``NotAvailable``: it is not asked by KMIP.
    """

    provider: ProviderId
    server: str


class ServerCert(Reply, frozen=True, kw_only=True):
    """``client_trust_server``: whether it leads to what vCenter trusts, and is good now.

    ``server_trust_client``: whether the server takes vCenter's certificate; None: not known, for
    vCenter does not talk to a server that it does not trust.
    """

    certificate: CertificateInfo
    client_trust_server: bool
    server_trust_client: bool | None = None


class UploadKmipServerCert(Request[Done], frozen=True, kw_only=True):
    """Trust servers of the provider whose certificate is this one, or leads to it."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    certificate: bytes
