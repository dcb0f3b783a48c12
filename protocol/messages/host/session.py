"""Commands in a session of vCenter, and the host's view of itself."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

import msgspec

from protocol.events import EventTypeId
from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    ManagementType,
    NodeName,
    PowerState,
    ProtectionMode,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from protocol.trust import HostTrustReport

R = TypeVar("R", covariant=True)


class Command(Request[R], Generic[R], frozen=True, kw_only=True):
    """A numbered command of a session; ``session`` is empty and the number 0 from the local
    administrator.

    ``seeks_keys``: a trusted host may have to attest, and have keys made or unwrapped, before it
    answers (KPS-06).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    seeks_keys: ClassVar[bool] = False
    session: str = ""
    number: int = 0


class ProviderRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a host knows of a key provider: its name and its management type.

    For a native provider also ``key_id``, which names its key derivation key; ``revision``, which
    changes each time that vCenter gets a KDK for it; and ``tpm_required``: hosts without a TPM take
    no part in it (NKP-12).
    """

    provider_id: ProviderId
    management_type: ManagementType
    key_id: str = ""
    revision: str = ""
    tpm_required: bool = False


class TrustView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trusted host in its own view: the applied configuration (``revision``, and its ``digest``,
    SHA-256 in hex), and the results of Attestation Services for this boot (ATT-05)."""

    revision: str
    digest: str
    reports: tuple[HostTrustReport, ...] = ()


class VirtualDisk(msgspec.Struct, frozen=True, kw_only=True):
    """ "Hard disk ``disk``" of a VM: its size in blocks of 4,096 bytes, and the key that encrypts
    it; None: in clear."""

    disk: int
    blocks: int
    key: CryptoKeyId | None = None


class VmSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A registered VM as its host sees it. ``missing``: the keys for want of which it is locked.

    ``locked_by``: another host, which holds the VM's lock on the datastore. ``disks``: set when it
    has several. ``vtpm``: True for a VM with a virtual TPM. ``snapshots``: their names, oldest
    first; ``with_memory``: those with the guest's memory. ``template``: True for a template.
    """

    vm: VmName
    power: PowerState
    crypto: VmCryptoState | None = None
    connection: VmConnectionState = VmConnectionState.CONNECTED
    keys: tuple[CryptoKeyId, ...] = ()
    missing: tuple[CryptoKeyId, ...] = ()
    wanted: PowerState = PowerState.OFF  # last accepted power command
    locked_by: NodeName | None = None
    disks: tuple[VirtualDisk, ...] | msgspec.UnsetType = msgspec.UNSET
    vtpm: bool | msgspec.UnsetType = msgspec.UNSET  # only of a VM that has one
    snapshots: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # only of one that has some
    template: bool | msgspec.UnsetType = msgspec.UNSET  # only of one that is
    with_memory: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # only if some have it


class HostProblem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event that a host reports of itself (``esx.problem.*``); ``number`` counts those of its
    boot.

    ``text`` is the text of vCenter's event; ``vm`` and ``key``: what it concerns, if anything.
    """

    number: int
    event: EventTypeId
    text: str
    vm: VmName | None = None
    key: CryptoKeyId | None = None


class HostSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A host's own view of itself.

    ``vms`` are by name; ``more_vms``: there are VMs after the last one, which
    ``QueryHost(after=...)`` returns. ``problems``: the latest of this boot, in order.
    """

    host: NodeName
    boot: int
    version: str
    crypto_state: HostCryptoState
    crypto_key_id: CryptoKeyId | None = None  # configured host key, present or not
    crypto_key_check: str = ""  # check value of a derived one
    tpm_present: bool = False
    protection_mode: ProtectionMode = ProtectionMode.NONE
    key_persistence: bool = False
    cached_keys: int = 0
    stored_keys: int = 0
    providers: tuple[ProviderRef, ...] = ()
    kdks: tuple[ProviderId, ...] = ()  # native providers whose KDK it has
    vms: tuple[VmSummary, ...] = ()
    more_vms: bool = False
    session: str = ""  # in force, empty when vCenter has none
    recovery_id: str = ""
    in_maintenance_mode: bool = False
    trusted: TrustView | msgspec.UnsetType = msgspec.UNSET  # only of a trusted host
    problems: tuple[HostProblem, ...] | msgspec.UnsetType = msgspec.UNSET  # only if there are some


class OpenSession(Request["SessionOpened"], frozen=True, kw_only=True):
    """vCenter takes command: every earlier session of this host has ended when the host answers."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    session: str
    vcenter_boot: int


class SessionOpened(Reply, frozen=True, kw_only=True):
    """The session is in force; with the host's view, or its first page."""

    summary: HostSummary


class CheckForUpdates(Request["UpdateSet"], frozen=True, kw_only=True):
    """vCenter's heartbeat: the host's view of itself, unless it is still that of ``version``.

    ``version``: of the view that vCenter has, from an ``UpdateSet``; empty when it has none. (vim25
    PropertyCollector.CheckForUpdates)
    """

    version: str = ""


class UpdateSet(Reply, frozen=True, kw_only=True):
    """The version of the host's present view; it is unique over all lives of the host.

    ``summary``: the view, or its first page; None when it has not changed since ``version``.
    """

    version: str
    summary: HostSummary | None = None


class QueryHost(Request["HostState"], frozen=True, kw_only=True):
    """The host's view of itself, with its VMs after ``after``.

    ``vms`` False: without VMs.
    """

    after: VmName = VmName("")
    vms: bool = True


class HostState(Reply, frozen=True, kw_only=True):
    """The host's present view, with as many VMs as fit the answer."""

    summary: HostSummary


class Done(Reply, frozen=True, kw_only=True):
    """The change is made, durably where the message says so."""
