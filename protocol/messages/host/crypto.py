"""The crypto manager of a host (mode, host key, key cache, key providers), its core dumps (DUMP-01
to DUMP-04), how vCenter attests it (ATT-09), and a trusted host: its applied configuration, its
attestation, its exports.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.host.session import Command, Done, ProviderRef
from protocol.terms import (
    CryptoKeyId,
    KeyKind,
    KeyManagement,
    NodeName,
    ProviderHealth,
    ProviderId,
    VmName,
)
from protocol.tpm.structures import PcrSelection, PublicArea, Quote, TpmCredential
from protocol.trust import BaseImage, HostTrustReport, TrustedConfiguration


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


MARKER_LIMIT: Final = 4096  # bytes
DUMPS_LIMIT: Final = 16
"""Dumps that a host can keep."""


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """A dump on the host's disk, by name.

    ``boot`` and ``at`` (Unix seconds of the host's clock) identify the life that wrote it. ``key``
    is the key that encrypts it, the host's or a VM's; None: it is in clear. ``readable``: that key
    is in the host's memory now. ``problem``: the file is damaged, and the other fields are unknown.
    """

    dump: str
    boot: int = 0
    at: float = 0.0
    key: CryptoKeyId | None = None
    readable: bool = False
    problem: str = ""


class WriteDump(Request["DumpWritten"], frozen=True, kw_only=True):
    """Dump the host's agent; durable on return. A safe host encrypts the dump under a key of its
    own, which the host key wraps. With ``vm``: dump the process of that running VM, under the VM's
    key if it is encrypted (DUMP-01).

    ``marker`` (at most ``MARKER_LIMIT`` bytes) goes into the dump, so that its reader can recognise
    it. A repeat finds the dump of that name and changes nothing. ``ResourceInUse`` when there are
    ``DUMPS_LIMIT`` dumps; ``EncryptionKeyRequired`` when the VM's key is not in the cache.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    dump: str
    marker: bytes = b""
    vm: VmName | None = None


class DumpWritten(Reply, frozen=True, kw_only=True):
    """The dump is on the disk."""

    dump: Dump


class ListDumps(Request["DumpList"], frozen=True, kw_only=True):
    """All dumps on the host's disk."""


class DumpList(Reply, frozen=True, kw_only=True):
    """Dumps by name."""

    dumps: tuple[Dump, ...]


class DecryptDump(Request["DumpDecrypted"], frozen=True, kw_only=True):
    """Read a dump in clear; the file stays as it is.

    ``EncryptionKeyRequired`` names the host key that is not in memory, ``NotFound`` when there is
    no such dump, ``InvalidState`` when it is damaged.
    """

    dump: str


class DumpDecrypted(Reply, frozen=True, kw_only=True):
    """The content of the dump: lines of text about the host, and the marker, without keys."""

    dump: Dump
    content: bytes


class RemoveDump(Request[Done], frozen=True, kw_only=True):
    """Remove a dump from the disk; no change when it is not there."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    dump: str


LOG_LIMIT: Final = 1000
"""Entries that the event log of a TPM holds (ATT-10)."""


class QueryTpmAttestationReport(Request["TpmAttestationReport"], frozen=True, kw_only=True):
    """vim25 QueryTpmAttestationReport: a quote over ``selection`` and ``nonce``, with the log.

    ``NotAvailable`` from a host without a TPM, ``InvalidState`` when its TPM gives no quote.
    ``nonce`` has at most 64 bytes.
    """

    nonce: bytes
    selection: PcrSelection


class TpmAttestationReport(Reply, frozen=True, kw_only=True):
    """The TPM's quote of this boot.

    ``ek`` and ``ak`` are the public areas of endorsement key and attestation key; ``event_log`` is
    in the TCG's crypto-agile format. ``log_reliable`` False: the log was full (``LOG_LIMIT``) and
    is left out.
    """

    ek: PublicArea
    ak: PublicArea
    quote: Quote
    event_log: bytes
    log_reliable: bool = True


class ActivateTpmCredential(Request["TpmCredentialActivated"], frozen=True, kw_only=True):
    """Have the TPM open a credential made for its endorsement key and attestation key.

    ``InvalidState`` when it was made for other keys.
    """

    credential: TpmCredential


class TpmCredentialActivated(Reply, frozen=True, kw_only=True):
    """The secret in the credential: only the TPM with both keys can open it."""

    secret: bytes


class SetTrustedConfiguration(Command[Done], frozen=True, kw_only=True):
    """Replace the applied configuration (KPS-00).

    Saved in the encrypted configuration before the answer, so that it outlives reboots while
    vCenter is down. Tokens of services that are not in it are dropped. ``NotAvailable`` on a host
    without a TPM (TA-03), ``InvalidArgument`` for an invalid configuration.
    """

    configuration: TrustedConfiguration


class DeleteTrustedConfiguration(Command[Done], frozen=True, kw_only=True):
    """The host is no longer a trusted host; saved before the answer. No change when it is none.

    Keys in cache and store stay; ``EvictKeys`` and ``RemoveKeys`` remove them.
    """


class QueryTrustedConfiguration(Request["TrustedConfigurationState"], frozen=True, kw_only=True):
    """The configuration applied on the host, and the results of services in this boot."""


class TrustedConfigurationState(Reply, frozen=True, kw_only=True):
    """``configuration`` None: not a trusted host. ``reports``: one for each of its services."""

    configuration: TrustedConfiguration | None
    reports: tuple[HostTrustReport, ...] = ()


class QueryTrustedServices(Request["TrustedServices"], frozen=True, kw_only=True):
    """Whether the Key Provider Services of the applied configuration serve this host now (HLT-06).

    Each is asked about each provider with the token at hand; the host does not attest for it.
    """


class TrustedServiceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service's answer about a provider. ``answers``: whether the service serves it. ``health``:
    that of its key servers (NONE: unknown without a token). ``reason``: what is wrong."""

    service: NodeName
    provider: ProviderId
    answers: bool
    health: ProviderHealth = ProviderHealth.NONE
    reason: str = ""


class TrustedServices(Reply, frozen=True, kw_only=True):
    """One per service and provider; none on a host that is not a trusted host."""

    services: tuple[TrustedServiceState, ...]


class AttestHost(Command["HostAttested"], frozen=True, kw_only=True):
    """Attest now with a service of the applied configuration, whether there is a token or not.

    For the administrator and vCenter; hosts attest by themselves at the first need (B7).
    ``InvalidState`` on a host that is not a trusted host.
    """


class HostAttested(Reply, frozen=True, kw_only=True):
    """The result of each service; ``unknown`` for those that were not asked."""

    reports: tuple[HostTrustReport, ...]


class ExportTpmEndorsement(Request["TpmEndorsement"], frozen=True, kw_only=True):
    """Export-Tpm2EndorsementKey and Export-Tpm2CACertificate: the endorsement key of this host.

    ``NotAvailable`` without a TPM, ``InvalidState`` when it does not answer.
    """


class TpmEndorsement(Reply, frozen=True, kw_only=True):
    """``certificate``: DER, empty when the key has none. ``ca_chain``: of its manufacturer, root to
    leaf, empty when the TPM has none."""

    public_area: PublicArea
    certificate: bytes = b""
    ca_chain: tuple[bytes, ...] = ()


class ExportBaseImage(Request["BaseImageExported"], frozen=True, kw_only=True):
    """Export-VMHostImageDb: the measurements of this host's signed image at boot."""


class BaseImageExported(Reply, frozen=True, kw_only=True):
    """The image of the build that this life has booted."""

    image: BaseImage
