"""Commands in a session of vCenter, the host's view of itself, maintenance mode, the local console
of a host (with the VMs that a compromised host lists, fault ``host.hostile``), and vSphere HA:
what vCenter gives to the agents on its hosts and what the agents exchange.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

import msgspec

from protocol.events import EventTypeId
from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import (
    ClusterName,
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


class HostEnterMaintenanceMode(Command[Done], frozen=True, kw_only=True):
    """From now on no VM is created, registered or started here; saved before the reply.

    ``InvalidState`` names the VMs that run here: power them off first.
    """


class HostExitMaintenanceMode(Command[Done], frozen=True, kw_only=True):
    """Leave maintenance mode; no VM is started because of it."""


class Esxcli(Request["EsxcliResult"], frozen=True, kw_only=True):
    """A command at the local console: its arguments, without the word ``esxcli``."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    arguments: tuple[str, ...]


class EsxcliResult(Reply, frozen=True, kw_only=True):
    """What the console prints; ``exit_code`` 0 for success."""

    exit_code: int
    output: str


class SaveConfiguration(Request[Done], frozen=True, kw_only=True):
    """The auto-backup script: save the configuration archive now."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE


class ClaimedVm(msgspec.Struct, frozen=True, kw_only=True):
    """A VM that is off, and the keys that it claims to need."""

    vm: VmName
    keys: tuple[CryptoKeyId, ...]


class HostClaim(Request["HostClaims"], frozen=True, kw_only=True):
    """List these VMs to vCenter beside the registered ones, replacing those of the same names.

    They replace earlier claims; without ``vms`` the host lists only its own VMs. Claims are in
    memory: a boot ends them. ``again``: no change on a host that claims nothing now.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vms: tuple[ClaimedVm, ...] = ()
    again: bool = False


class QueryHostClaims(Request["HostClaims"], frozen=True, kw_only=True):
    """The VMs that the host claims now."""

    repeat: ClassVar[Repeat] = Repeat.READ


class HostClaims(Reply, frozen=True, kw_only=True):
    """The VMs that the host claims."""

    vms: tuple[ClaimedVm, ...]


class HaConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent knows of its cluster: the hosts that protect each other, by name.

    ``epoch`` changes each time that HA is turned on; records of another epoch are out of date.
    """

    cluster: ClusterName
    epoch: str
    hosts: tuple[NodeName, ...]


class SetHaConfiguration(Command[Done], frozen=True, kw_only=True):
    """Set the configuration of the agent, saved before the reply; None: it stops."""

    configuration: HaConfiguration | None = None


class HaElect(Request["HaVote"], frozen=True, kw_only=True):
    """Which host is primary, as this host knows it? Sent by a host that hears no primary."""

    epoch: str


class HaVote(Reply, frozen=True, kw_only=True):
    """``datastore``: the host reaches the cluster's datastore, which ranks before its name.

    ``primary``: the host that it follows, possibly itself; None when it hears none.
    """

    datastore: bool
    primary: NodeName | None = None


class HaHeartbeat(Request["HaState"], frozen=True, kw_only=True):
    """The primary's heartbeat: a host that answers is alive, and follows it."""

    epoch: str
    datastore: bool


class HaState(Reply, frozen=True, kw_only=True):
    """A host's answer to a heartbeat. ``takes_vms``: it is not in maintenance mode; ``vms`` run
    there.

    ``primary``: the host that it follows; not the sender if that ranks lower.
    """

    primary: NodeName
    takes_vms: bool
    vms: int


class HaRestartVm(Request["HaRestarted"], frozen=True, kw_only=True):
    """Register and start a VM of the host ``of``, which has failed (HA-01).

    ``InvalidState`` when the VM is not that host's any more, or is not to run; ``DatastoreFault``
    while any host holds its lock; otherwise as a power-on.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    epoch: str
    vm: VmName
    of: NodeName


class HaRestarted(Reply, frozen=True, kw_only=True):
    """The VM runs on the answering host, and is registered there."""
