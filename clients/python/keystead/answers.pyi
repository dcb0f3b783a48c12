"""The types of answers.

Generated: `python -m tests.clients.methods` in a checkout of keystead renews it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from keystead.connection import Answer

class LoggedEvent(Answer):
    """An entry of vCenter's event log; ``at`` in Unix seconds of the lab."""

    apiVersion: str
    kind: str
    sequence: int
    at: float
    event: str
    text: str
    host: str | None
    vm: str | None
    provider: str | None
    keys: list[str]

class Host(Answer):
    """A host as vCenter sees it, and its machine as the lab sees it.

    ``seen_at`` is when it last answered vCenter (Unix seconds); ``stale``: vCenter does
    not hear it now, or cannot hear it as its machine does not run, and shows what it saw
    then. ``attestation`` is None of a host without a TPM, and until vCenter has looked at
    it."""

    apiVersion: str
    kind: str
    host: str
    cluster: str
    connection: Literal["connected", "disconnected", "notResponding"]
    crypto_state: Literal["incapable", "pendingIncapable", "prepared", "safe"] | None
    crypto_key_id: str | None
    version: str
    tpm_present: bool
    key_persistence: bool
    boot: int
    cached_keys: int
    seen_at: float
    attestation: AttestationState | None
    in_maintenance_mode: bool
    alarms: list[str]
    stale: bool
    machine: Literal["booting", "gone", "halted", "off", "paused", "running"]
    screen: str
    vcenter: str | None

class Verdict(Answer):
    """The result of a run; ``-o json`` prints it.

    ``checks``: hypotheses, then checks. ``left``: faults without an undo. ``began`` and
    ``ended`` in lab seconds. ``tpms``: the kinds of TPM under the hosts; a verdict on
    ``model`` is not one on a real TPM. ``tpm_hosts``: the hosts of each kind where they
    differ, else empty."""

    apiVersion: str
    kind: str
    verdict: str
    exit_code: int
    seed: int
    trace_hash: str
    run: str
    tpms: list[Literal["libtpms", "model", "none"]]
    tpm_hosts: Mapping[str, list[str]]
    checks: list[CheckResult]
    reasons: list[str]
    left: list[StillThere]
    began: float
    ended: float

class RunStopped(Answer):
    """The run was told to end; the answer to its ``ChaosPlay`` is its verdict."""

    apiVersion: str
    kind: str
    run: str

class Cluster(Answer):
    """A cluster: ``crypto_mode`` is which of its hosts are kept safe [HEM-05].

    ``host_key`` is that of its hosts without one of their own, ``policy`` the key or the
    provider that was named for it, empty without one [HEM-05]; ``default_provider``
    empty: vCenter's [STD-02]. ``ha``: its hosts restart the VMs of one that fails
    [HA-01]. ``drs``: what DRS does by itself, empty: it is disabled [HA-03]."""

    apiVersion: str
    kind: str
    cluster: str
    crypto_mode: Literal["forceEnable", "onDemand"]
    host_key: str | None
    policy: str
    default_provider: str | None
    ha: bool
    drs: str
    hosts: int
    vms: int
    vcenter: str | None

class HostDescription(Answer):
    """A host in every view; ``vcenter`` and ``host_view`` are None when these do not answer.

    ``keys`` by id; none when the host does not answer. ``host_key``: the one that is
    configured, in its cache or not [HEM-08]."""

    apiVersion: str
    kind: str
    host: str
    machine: Node
    vcenter: Host | None
    host_view: HostView | None
    keys: list[KeyOnHost]
    host_key: KeyOnHost | None
    tpm: Tpm
    reasons: list[Reason]
    events: list[EventLine]
    faults: list[str]

class ProviderDescription(Answer):
    """A key provider, None in ``vcenter`` when vCenter has none of that name."""

    apiVersion: str
    kind: str
    provider: str
    vcenter: Provider | None
    servers: list[ProviderServer]
    reasons: list[Reason]
    faults: list[str]

class VmDescription(Answer):
    """A VM in every view; ``vcenter`` and ``host_view`` are None when these do not answer.

    ``reasons`` come with the headline first; ``events`` are the last ten about it.
    ``firmware`` is empty, and ``hardware`` 0, when its host cannot say."""

    apiVersion: str
    kind: str
    vm: str
    host: str
    vcenter: Vm | None
    host_view: VmOnHost | None
    keys: list[KeyOfVm]
    reasons: list[Reason]
    events: list[EventLine]
    faults: list[str]
    vtpm: VirtualTpm | None
    firmware: str
    hardware: int

class EsxcliResult(Answer):
    """What the console printed; ``exit_code`` other than 0: the command failed."""

    apiVersion: str
    kind: str
    exit_code: int
    output: str

class Fault(Answer):
    """A fault that was begun and seen to bite."""

    apiVersion: str
    kind: str
    fault: ActiveFault

class AlarmList(Answer):
    """Alarms of hosts, of VMs, of key providers, of clusters; each stands as long as its
    cause."""

    apiVersion: str
    kind: str
    items: list[Alarm]

class AuditList(Answer):
    """A key server's audit rows, oldest first."""

    apiVersion: str
    kind: str
    items: list[AuditRow]

class LabClock(Answer):
    """``time``: Unix seconds on the lab's clock; ``pace``: lab seconds in one real second."""

    apiVersion: str
    kind: str
    time: float
    pace: float

class ClusterList(Answer):
    """Clusters by name."""

    apiVersion: str
    kind: str
    items: list[Cluster]

class Directory(Answer):
    """Who is there, by name in order of the topology file (hosts added later come last).

    ``knobs`` are those that the lab's file sets. ``bus_servers`` is how many servers its
    bus has; 0: somebody else runs them."""

    apiVersion: str
    kind: str
    nodes: list[NodeEntry]
    vms: list[str]
    default_provider: str | None
    bus_servers: int
    knobs: Mapping[str, Any]

class EventList(Answer):
    """Events, oldest first."""

    apiVersion: str
    kind: str
    items: list[LoggedEvent]

class FaultList(Answer):
    """Faults in force, oldest first."""

    apiVersion: str
    kind: str
    items: list[ActiveFault]

class HostView(Answer):
    """A host's own view of itself.

    ``crypto_key_id`` is the host key that is configured, present or not; ``session`` is
    empty when vCenter has none in force."""

    apiVersion: str
    kind: str
    host: str
    boot: int
    version: str
    crypto_state: Literal["incapable", "pendingIncapable", "prepared", "safe"]
    crypto_key_id: str | None
    tpm_present: bool
    protection_mode: Literal["NONE", "TPM"]
    key_persistence: bool
    cached_keys: int
    stored_keys: int
    providers: list[KnownProvider]
    vms: list[VmOnHost]
    session: str
    recovery_id: str

class HostList(Answer):
    """Hosts by name."""

    apiVersion: str
    kind: str
    items: list[Host]

class KeyList(Answer):
    """Every key that the inventory knows of."""

    apiVersion: str
    kind: str
    items: list[KeyStatus]

class KeyServerList(Answer):
    """Key servers in order of the topology."""

    apiVersion: str
    kind: str
    items: list[KeyServer]

class LinkList(Answer):
    """Each link twice: once in each direction."""

    apiVersion: str
    kind: str
    items: list[RuledLink]

class MachineList(Answer):
    """The machines of a lab, the supervisor's own first; ``listens`` is where others join."""

    apiVersion: str
    kind: str
    listens: str
    items: list[LabMachine]

class MessageList(Answer):
    """Messages, oldest first. ``last`` is the number of the newest that was heard, shown or
    not; ``began``: the lab listens only from now on."""

    apiVersion: str
    kind: str
    items: list[TravellingMessage]
    last: int
    began: bool

class NodeList(Answer):
    """All nodes in order of the topology, also those whose process does not answer."""

    apiVersion: str
    kind: str
    items: list[Node]

class ProviderList(Answer):
    """Providers by name."""

    apiVersion: str
    kind: str
    items: list[Provider]

class RoleList(Answer):
    """Roles, those that vCenter came with first."""

    apiVersion: str
    kind: str
    items: list[PermissionRole]

class LabStatus(Answer):
    """The lab in short.

    ``lab_time`` in lab seconds since it began; ``pace``: lab seconds in one real second.
    ``tpms``: hosts by what lies under them. ``vcenter`` is its machine's state, ``vms``
    None while it does not answer. ``folder``, ``supervisor`` (a pid) and ``pids`` are
    those of a lab of real processes. ``missing`` tells of each node that does not run,
    and how it is instead; ``warnings`` are the last things that went wrong with the lab
    itself, ``stood`` the processes whose event loop has stood still."""

    apiVersion: str
    kind: str
    name: str
    mode: str
    pace: float
    lab_time: float
    nodes: Mapping[str, int]
    tpms: Mapping[str, int]
    faults: list[str]
    vcenter: Literal["booting", "gone", "halted", "off", "paused", "running"]
    vms: VmCounts | None
    folder: str
    supervisor: int
    pids: list[Process]
    missing: list[str]
    warnings: list[str]
    stood: list[LoopStood]

class TaskList(Answer):
    """Tasks in the order in which they began, those of vCenter's present life."""

    apiVersion: str
    kind: str
    items: list[Task]

class TpmList(Answer):
    """The TPM under each host."""

    apiVersion: str
    kind: str
    items: list[Tpm]

class TrustAuthority(Answer):
    """A Trust Authority; ``group`` is empty when it is not enabled. ``silent`` services have
    not taken, or do not tell, what is configured."""

    apiVersion: str
    kind: str
    cluster: str
    group: str
    require_endorsement_keys: bool
    require_certificate_validation: bool
    warnings: list[str]
    silent: list[str]
    items: list[TrustItemHealth]

class TrustedHostList(Answer):
    """Hosts by name. ``stale_principal``: what the Trust Authority knows of this vCenter is
    old."""

    apiVersion: str
    kind: str
    clusters: list[str]
    stale_principal: bool
    items: list[TrustedHostState]

class UserList(Answer):
    """Users by name."""

    apiVersion: str
    kind: str
    items: list[User]

class VmList(Answer):
    """VMs by name."""

    apiVersion: str
    kind: str
    items: list[Vm]

class HealReport(Answer):
    """Ids of the faults that were seen gone, in order, and those that are still listed.

    ``with_cure``: those that have no undo were to be cured."""

    apiVersion: str
    kind: str
    healed: list[str]
    left: list[FaultLeft]
    with_cure: bool

class HostPowerList(Answer):
    """Every node that was meant, after the command."""

    apiVersion: str
    kind: str
    items: list[HostPower]

class DumpContent(Answer):
    """What is in a core dump: lines of text about the host, and the marker of who had it
    written.

    ``key`` is the host key that it is under, None: it lies there in clear."""

    apiVersion: str
    kind: str
    host: str
    dump: str
    key: str | None
    content: str

class DumpList(Answer):
    """The core dumps of a host, by name."""

    apiVersion: str
    kind: str
    items: list[Dump]

class Dump(Answer):
    """A core dump on a host's disk; ``key`` is the host key that it is under, None: in
    clear.

    ``boot`` and ``at`` (Unix seconds of the host's clock) say which life of the host
    wrote it. ``readable``: its key is in the host's memory now. ``problem``: its file is
    damaged."""

    apiVersion: str
    kind: str
    host: str
    dump: str
    boot: int
    at: float
    key: str | None
    readable: bool
    problem: str

class HostPauseList(Answer):
    """Every node that was meant, after the command."""

    apiVersion: str
    kind: str
    items: list[HostPaused]

class HostRemovalList(Answer):
    """Every host that was meant."""

    apiVersion: str
    kind: str
    items: list[HostRemoval]

class RemovedKeyList(Answer):
    """Every key that was meant, in the order given."""

    apiVersion: str
    kind: str
    host: str
    items: list[RemovedKey]

class KnownKey(Answer):
    """A key, and whether vCenter knows it now.

    ``not_confirmed_by``: hosts that were to drop it, and have not said that they did."""

    apiVersion: str
    kind: str
    key: str
    known: bool
    not_confirmed_by: list[str]

class KnownKeyList(Answer):
    """Every key that vCenter knows; nobody was asked whether it can be had."""

    apiVersion: str
    kind: str
    items: list[KnownKey]

class KeyBackup(Answer):
    """A backup that was taken of these key servers, or restored to them; all of them run."""

    apiVersion: str
    kind: str
    backup: str
    kms: list[str]

class KmsIdentityList(Answer):
    """Clients of the key server ``kms``, which shows the certificate of this SHA-256, good
    until ``end`` (Unix seconds); ``digest`` is the SHA-256 of its public key."""

    apiVersion: str
    kind: str
    kms: str
    fingerprint: str
    digest: str
    end: float
    items: list[KmsIdentity]

class Key(Answer):
    """A key's KMIP attributes at key server ``kms``; dates in Unix seconds of its clock.

    ``names`` by which people know it. ``attributes`` are the others that have no field
    here."""

    apiVersion: str
    kind: str
    kms: str
    key_id: str
    state: Literal[
        "Active", "Compromised", "Deactivated", "Destroyed", "Destroyed Compromised", "Pre-Active"
    ]
    algorithm: str
    length: int
    usage_mask: int
    initial_date: float
    activation_date: float | None
    deactivation_date: float | None
    compromise_date: float | None
    destroy_date: float | None
    last_change_date: float
    names: list[str]
    attributes: list[KeyAttribute]

class KeyServer(Answer):
    """A key server; ``keys``, their ``states`` and ``peer`` only while it runs.

    ``peer``: how it stands with the other of its pair, empty when it is in none [STD-01].
    ``rejects``: what it refuses clients because its administrator says so, and how often
    it has. ``root`` seals its keys, ``kek`` is the number of the KEK under which they are
    wrapped, and ``rewrapping`` of them still are under an older one, None when no
    rotation goes on."""

    apiVersion: str
    kind: str
    kms: str
    machine: Literal["booting", "gone", "halted", "off", "paused", "running"]
    keys: int | None
    states: Mapping[str, int]
    peer: str
    rejects: str
    root: Literal["keyfile", "passphrase", "tpm"] | None
    kek: int | None
    rewrapping: int | None

class Provider(Answer):
    """A key provider of vCenter with the names of its servers.

    ``status`` is green, yellow or red [STD-03]; ``unreachable`` servers did not answer
    last. ``addresses``: the node that each of ``servers`` is, or HOST:PORT of one outside
    of the lab. ``default`` of vCenter, ``default_of`` these clusters [STD-02]. Of a
    native one [NKP-01]: ``health`` with the ids of ``details``, ``key_id`` of its key
    derivation key, and whether hosts without a TPM are left out. Of a standard one that
    was told what its new keys are [KEY-07]: ``key_type``, the ``wrapping_key`` in force,
    and ``rotation_days``."""

    apiVersion: str
    kind: str
    provider: str
    management_type: Literal["nativeProvider", "trustAuthority", "unknown", "vCenter"]
    servers: list[str]
    default: bool
    status: str
    unreachable: list[str]
    addresses: list[str]
    default_of: list[str]
    health: Literal["ERROR", "NONE", "OK", "WARNING"]
    details: list[str]
    key_id: str
    tpm_required: bool
    vcenter: str | None
    key_type: Literal["rawKey", "wrappedKey"] | None
    wrapping_key: WrappingKey | None
    rotation_days: int | None
    rotated_at: float | None

class ProviderBackup(Answer):
    """A backup file of a native provider [NKP-03]: what it is of, and when it was made (Unix
    s).

    ``imported``: a provider was made of it now."""

    apiVersion: str
    kind: str
    provider: str
    file: str
    key_id: str
    exported_at: float
    tpm_required: bool
    imported: bool

class ProviderTrustList(Answer):
    """The KMIP servers of a provider; vCenter shows them ``certificate`` (PEM), of this
    SHA-256, good until ``end`` (Unix seconds), but for one whose private key it has lost
    (``key_lost``). ``digest``: SHA-256 of its public key, by which key servers know
    vCenter."""

    apiVersion: str
    kind: str
    provider: str
    fingerprint: str
    digest: str
    end: float
    certificate: str
    key_lost: bool
    items: list[ServerTrust]

class SigningRequest(Answer):
    """A ``request`` (PKCS#10 in PEM) for a certificate that vCenter shows the servers of a
    provider."""

    apiVersion: str
    kind: str
    provider: str
    request: str

class Tpm(Answer):
    """The TPM under a host, as it tells itself; what it does not tell is None.

    ``reset_count`` counts power cycles since the last clear, ``restart_count`` resumes
    since the last reset, ``clock`` is milliseconds of powered time, None of a real TPM in
    a simulation, which counts real time. ``safe`` is False after a power cycle without
    TPM2_Shutdown. ``lockout``: after ``max_tries`` failed authorizations it refuses more.
    ``ek`` is the SHA-256 of the endorsement key: another one is another TPM. ``pcrs`` are
    PCR 0 to 13, in hexadecimal."""

    apiVersion: str
    kind: str
    host: str
    backend: Literal["libtpms", "model", "none"]
    failed: bool | None
    reset_count: int | None
    restart_count: int | None
    clock: int | None
    safe: bool | None
    lockout_counter: int | None
    max_tries: int | None
    lockout: bool | None
    state: Literal["failed", "none", "off", "on", "unknown"]
    ek: str
    pcrs: Mapping[str, str]

class Pcrs(Answer):
    """PCR 0 to 13 of a host's TPM, in hexadecimal; empty while it is off."""

    apiVersion: str
    kind: str
    host: str
    pcrs: Mapping[str, str]

class TrustAdminList(Answer):
    """Of each vCenter that was asked."""

    apiVersion: str
    kind: str
    items: list[TrustAdmins]

class TrustFile(Answer):
    """A file that was written or read: what is in it, and of whom."""

    apiVersion: str
    kind: str
    item: str
    of: str
    file: str

class VcenterCopy(Answer):
    """A backup that was taken of a vCenter, or restored to it; ``machine`` is its state now.

    ``gone``: key providers that it does not know any more, by what was restored."""

    apiVersion: str
    kind: str
    vcenter: str
    backup: str
    machine: Literal["booting", "gone", "halted", "off", "paused", "running"]
    gone: list[str]

class VmDisks(Answer):
    """The disks of ``vm`` in their order; ``added``: the number of the one that is new."""

    apiVersion: str
    kind: str
    vm: str
    items: list[VmDisk]
    added: int | None

class Vm(Answer):
    """A VM as vCenter sees it, or as a host does that was asked itself.

    ``crypto`` is None when it is not encrypted, and of an orphaned one, whose host does
    not have it; ``missing`` keys are why it is locked, and ``lock_event`` is the event
    that said so; ``stale``: its host does not answer vCenter now. ``vtpm``: it has a
    virtual TPM. ``snapshots``: their names, oldest first; ``with_memory``: of those that
    have the guest's memory, from which it runs when it reverts to one [VTPM-08]."""

    apiVersion: str
    kind: str
    vm: str
    cluster: str
    host: str
    power: Literal["poweredOff", "poweredOn"]
    connection: Literal["connected", "disconnected", "invalid", "orphaned"]
    crypto: Literal["locked", "unlocked"] | None
    key: str | None
    missing: list[str]
    lock_event: str | None
    alarms: list[str]
    stale: bool
    vcenter: str | None
    vtpm: bool
    snapshots: list[str]
    template: bool
    migrate_encryption: Literal["disabled", "opportunistic", "required"] | None
    with_memory: list[str]

class VmRemovalList(Answer):
    """Every VM that was asked for, in order of the inventory."""

    apiVersion: str
    kind: str
    items: list[VmRemoval]

class GuestAnswer(Answer):
    """What a guest answered: SHA-256 of the nonce and each block that was asked for, in
    order.

    ``rewritten`` is the block that it wrote anew, now of ``generation``. ``run``: 8 bytes
    that stay the same as long as the guest runs, and go along with it to another host."""

    apiVersion: str
    kind: str
    digest: str
    rewritten: int
    generation: int
    run: str

class Migration(Answer):
    """The VM on its new host. ``gap_s``: lab seconds in which its guest stood still;
    ``size``: bytes of memory that went from host to host; ``encrypted``: whether the
    stream was. None when it was off, or there already."""

    apiVersion: str
    kind: str
    vm: Vm
    gap_s: float | None
    size: int | None
    encrypted: bool | None

class VmPowerList(Answer):
    """Every VM that was asked, in order of the inventory, and the state that was wanted."""

    apiVersion: str
    kind: str
    wanted: Literal["poweredOff", "poweredOn"]
    items: list[VmPower]

class Vsan(Answer):
    """``silent``: hosts that do not answer vCenter, so that their groups are not known."""

    apiVersion: str
    kind: str
    cluster: str
    encryption_enabled: bool
    provider: str | None
    kek: str | None
    host_key: str | None
    dek_generation: int
    erase_disks_before_use: bool
    transition_state: Literal["prepared", "preparing", "settled"]
    change: Literal["change of provider", "deep rekey", "disable", "enable", "shallow rekey"] | None
    groups: list[VsanGroupLine]
    objects: list[VsanObjectLine]
    silent: list[str]

class VsanHealthReport(Answer):
    """The encryption health of a cluster's vSAN."""

    apiVersion: str
    kind: str
    cluster: str
    health: Literal["green", "red", "unknown", "yellow"]
    tests: list[VsanTestLine]
    hosts: list[VsanHostHealthLine]

class VsanObjectContent(Answer):
    """SHA-256 over the nonce and the blocks asked for, in hexadecimal."""

    apiVersion: str
    kind: str
    host: str
    object: str
    digest: str

class AttestationState(Answer):
    """What vCenter makes of a host's TPM; ``time`` in Unix s, ``message``: why not accepted."""

    time: float
    status: Literal["accepted", "notAccepted"]
    message: str

class CheckResult(Answer):
    """A finding under the name of its check or hypothesis, as the verdict lists it."""

    name: str
    result: Literal["fail", "pass", "unknown"]
    text: str
    records: list[int]
    data: Mapping[str, Any]

class StillThere(Answer):
    """A fault that a heal left in the list; ``reversible`` ones are a failure of the heal."""

    id: str
    kind: str
    reversible: bool
    seen: str
    cure: str

class Node(Answer):
    """A node and its machine.

    While it is paused or gone, everything but ``state`` is what it said last. ``tpm``
    names what lies under a host: ``model`` is a stand-in for the speed of the simulation.
    ``ended``: how the last life ended, and ``ended_before`` the one before this life, as
    far as that was seen. ``screen``: why it halted; ``rules``: link rules on what it
    sends; ``version``: of a vCenter, its release. ``service``: how long it works on what;
    ``slowdown``: what the fault ``kms.slow`` adds to it."""

    node: str
    role: Literal["attestation", "esxi", "keyprovider", "kms", "vcenter"]
    site: str
    cluster: str
    state: Literal["booting", "gone", "halted", "off", "paused", "running"]
    boot: int
    screen: str
    ended: str
    ended_before: str
    tpm: Literal["libtpms", "model", "none"]
    counters: Mapping[str, int]
    rules: list[RuleCount]
    version: str
    service: ServiceTimes | None
    slowdown: Slowdown | None

class KeyOnHost(Answer):
    """A key that a host has in its key cache, in its persisted store, or in both; or its
    host key.

    ``loaded``: what is cached came out of that store, in this life of the host.
    ``managed``: by itself or from outside, from 8.0 U1 on [HEM-08]."""

    key: str
    cached: bool
    stored: bool
    loaded: bool | None
    managed: Literal["external", "internal", "unknown"] | None

class Reason(Answer):
    """One sentence, the rule that it comes from, and what cures it (empty: nothing to cure)."""

    why: str
    rule: str
    cure: str

class EventLine(Answer):
    """An event in short; ``at`` in Unix seconds of the lab."""

    sequence: int
    at: float
    event: str
    text: str

class ProviderServer(Answer):
    """One key server of a provider.

    ``status`` (green, red, gray), ``last_contact`` (Unix seconds) and ``why`` are what
    vCenter found last [STD-09]; ``peer`` is what the server itself says of the other of
    its pair. ``machine``: None of one outside of the lab. ``timeout`` in seconds and
    ``user``: of its entry, where they are said there [STD-01]."""

    server: str
    machine: Literal["booting", "gone", "halted", "off", "paused", "running"] | None
    status: str
    last_contact: float | None
    why: str
    peer: str
    timeout: int | None
    user: str

class VmOnHost(Answer):
    """A VM as its host sees it; ``wanted`` is the last power command that it accepted.

    ``disks`` of a VM that has several."""

    vm: str
    power: Literal["poweredOff", "poweredOn"]
    crypto: Literal["locked", "unlocked"] | None
    connection: Literal["connected", "disconnected", "invalid", "orphaned"]
    keys: list[str]
    missing: list[str]
    wanted: Literal["poweredOff", "poweredOn"]
    disks: list[VmDisk]
    vtpm: bool

class KeyOfVm(Answer):
    """A key of a VM: its state at a key server, and whether its host has it stored.

    None: it is not there, or there was nobody to ask. ``kind``: of its provider; hosts
    themselves derive the keys of a native one, and have those of a trusted one unwrapped."""

    key: str
    state: (
        Literal[
            "Active",
            "Compromised",
            "Deactivated",
            "Destroyed",
            "Destroyed Compromised",
            "Pre-Active",
        ]
        | None
    )
    stored: bool | None
    kind: Literal["nativeProvider", "trustAuthority", "unknown", "vCenter"]

class VirtualTpm(Answer):
    """A VM's virtual TPM: SHA-256 of its endorsement key (hex), and what is to be said of
    that key's certificate; empty of one that VMCA has signed for this key."""

    ek: str
    certificate_flaw: str

class ActiveFault(Answer):
    """A fault in force.

    ``kind`` is its name in experiment files; ``since`` and ``until`` in lab seconds since
    the lab began, ``until`` 0: no lease. ``seen`` says why it is not healed, ``cure``
    what takes away one that has no undo; ``found`` what was seen of what it hit, that its
    fields do not say."""

    id: str
    kind: str
    summary: str
    since: float
    until: float
    state: str
    seen: str
    cure: str
    found: Mapping[str, Any]

class Alarm(Answer):
    """An alarm that stands now; ``of`` is the host, VM, key provider or cluster it is about."""

    of: str
    alarm: str
    why: str
    vcenter: str | None

class AuditRow(Answer):
    """One operation: who did what to which key, how it ended; chained by ``digest``.

    ``times``: how many refusals of this kind it stands for; above 1 it names no key."""

    sequence: int
    at: float
    who: str
    operation: str
    key_id: str
    result: str
    times: int
    digest: str

class NodeEntry(Answer):
    """A node of the topology, for selectors such as ``site:edge`` or ``role:esxi``.

    ``providers`` are the key providers of the Lab file that a key server serves,
    ``replication`` the mode in which it replicates when that is after the answer,
    ``by_kmip``: whether it is asked by KMIP; of a host, ``tpm``: whether it has one,
    ``ha``: whether the lab's file turns vSphere HA on for its cluster, ``drs``: what the
    file has DRS do there by itself, empty: it is disabled, ``vsan``: whether its cluster
    has an encrypted vSAN, and ``vcenter``: that of its cluster. ``connects``: whether it
    has connections of TLS; a host has some for its vSAN alone."""

    node: str
    role: Literal["attestation", "esxi", "keyprovider", "kms", "vcenter"]
    site: str
    cluster: str
    providers: list[str]
    replication: str
    by_kmip: bool
    tpm: bool
    ha: bool
    drs: str
    vsan: bool
    vcenter: str | None
    connects: bool

class KnownProvider(Answer):
    """What a host knows of a key provider."""

    provider_id: str
    management_type: Literal["nativeProvider", "trustAuthority", "unknown", "vCenter"]

class KeyStatus(Answer):
    """Whether a key's provider can give it [STD-20], and who uses it."""

    key: str
    available: bool
    reason: (
        Literal[
            "KeyStateClusterInvalid",
            "KeyStateClusterUnreachable",
            "KeyStateManagedByNKP",
            "KeyStateManagedByTrustAuthority",
            "KeyStateMissingInCache",
            "KeyStateMissingInKMS",
            "KeyStateNotActiveOrEnabled",
            "WrappingKeyMissingInKMS",
            "WrappingKeyNotActiveOrEnabled",
        ]
        | None
    )
    encrypted_vms: list[str]
    affected_hosts: list[str]
    vcenter: str | None
    wrapping_key: WrappingKey | None

class RuledLink(Answer):
    """An ordered pair of nodes, and the rules on what ``src`` sends to ``dst``."""

    src: str
    dst: str
    state: Literal["cut", "faulty", "up"]
    rules: list[RuleOnLink]
    link: str

class LabMachine(Answer):
    """A machine of a lab; what nobody has measured is None.

    ``nodes`` stand there, ``processes`` run there. ``delay_ms``: what a beat takes there
    and back; ``clock_offset_s``: how far its monotonic clock is ahead, known within
    ``clock_error_ms`` (``worst_error_ms``: the largest since it joined, ``jumps``: how
    often the clock was found elsewhere); ``wall_offset_s`` the same of its time of day,
    which nothing of a lab goes by. ``load``: processes that wanted a core, averaged over
    a minute. ``lease_s`` in real seconds. ``pool``: which asked for a place for it;
    ``shared``: its datastores in a shared folder."""

    machine: str
    standing: Literal["away", "here", "joined", "silent"]
    nodes: int
    processes: int
    node_names: list[str]
    pool: str
    shared: list[str]
    lease_s: float | None
    heard_s_ago: float | None
    delay_ms: float | None
    clock_offset_s: float | None
    clock_error_ms: float | None
    worst_error_ms: float | None
    jumps: int
    wall_offset_s: float | None
    load: float | None

class TravellingMessage(Answer):
    """A message; ``at`` in lab seconds, of KMIP on the clock of the key server. ``dst`` is
    empty for an event. ``boxes`` are fingerprints of sealed key material, ``cause`` is
    the message that led to it. In ``body`` binary data are fingerprints."""

    number: int
    at: float
    src: str
    dst: str
    kind: Literal["error", "event", "kmip", "reply", "request", "wrong"]
    name: str
    body: str
    boxes: list[str]
    cause: str

class PermissionRole(Answer):
    """A role; ``system``: vCenter came with it. ``without``: the privileges that it lacks."""

    role: str
    system: bool
    privileges: list[str]
    without: list[str]

class VmCounts(Answer):
    """VMs by state, as vCenter sees them."""

    on: int
    off: int
    locked: int

class Process(Answer):
    """A process of the lab."""

    pid: int
    name: str

class LoopStood(Answer):
    """The event loop of a process has stood still for over a second, ``times`` times since
    it was started. ``process`` is ``supervisor``, or the first node of an agent;
    ``longest_s`` in real seconds, ``where`` in its code, as far as that is known."""

    process: str
    times: int
    longest_s: float
    where: str

class Task(Answer):
    """A task of vCenter (vim25 TaskInfo); times in Unix seconds of the lab.

    ``user`` gave it. ``error`` is the product's fault that it ended with, ``reason`` its
    text."""

    task: str
    name: str
    entity: str
    user: str
    state: Literal["error", "running", "success"]
    start_time: float
    complete_time: float | None
    error: str
    reason: str

class TrustItemHealth(Answer):
    """OK: the same on all services; ERROR: not; WARNING: not all of them answer; NONE: none
    does (HLT-01)."""

    kind: str
    name: str
    health: Literal["ERROR", "NONE", "OK", "WARNING"]
    details: list[str]

class TrustedHostState(Answer):
    """A host: its applied configuration against the desired one, and its attestation."""

    host: str
    cluster: str
    health: Literal["ERROR", "NONE", "OK", "WARNING"]
    attestation: str
    details: list[str]
    reports: list[HostTrustReport]

class User(Answer):
    """A user, and its role (empty: none). ``trusted_admin``: a member of TrustedAdmins too."""

    user: str
    role: str
    trusted_admin: bool

class FaultLeft(Answer):
    """A fault that a heal left; one that is ``reversible`` is a failure of the heal."""

    id: str
    kind: str
    reversible: bool
    seen: str
    cure: str

class HostPower(Answer):
    """A node's machine now: ``ended`` says how its last life ended, ``screen`` why it halted
    and ``cure`` what to do about that."""

    host: str
    machine: Literal["booting", "gone", "halted", "off", "paused", "running"]
    boot: int
    screen: str
    ended: str
    cure: str

class HostPaused(Answer):
    """Whether a node stands still."""

    host: str
    paused: bool

class HostRemoval(Answer):
    """A host that left the inventory, with the VMs that left it too."""

    host: str
    vms: list[str]

class RemovedKey(Answer):
    """Whether a key left the host's cache, and if not why; ``stored``: it is in the store
    still."""

    key: str
    removed: bool
    reason: str
    stored: bool

class KmsIdentity(Answer):
    """A client of a key server's KMIP endpoint; ``digest`` is the SHA-256 of its public key,
    ``end`` when its certificate expires (Unix seconds)."""

    client: str
    role: str
    scope: str
    revoked: bool
    end: float
    digest: str

class KeyAttribute(Answer):
    """One instance of an attribute that a client has set, its value as text."""

    name: str
    index: int
    value: str

class WrappingKey(Answer):
    """A wrapping key [KEY-07]: whether it was named ``by_id``, since and until when it was
    in force (Unix seconds; None: not known, or until now)."""

    key_id: str
    by_id: bool
    since: float | None
    until: float | None

class ServerTrust(Answer):
    """Trust between vCenter and a server; None: not known. ``certificate`` (PEM) is what the
    server shows, of this SHA-256 (``fingerprint``), good until ``end`` (Unix seconds),
    and ``digest`` that of its public key; empty when it does not answer, for ``reason``."""

    server: str
    client_trust_server: bool | None
    server_trust_client: bool | None
    fingerprint: str
    digest: str
    end: float | None
    reason: str
    certificate: str

class TrustAdmins(Answer):
    """The members of TrustedAdmins at one vCenter."""

    vcenter: str
    members: list[str]

class VmDisk(Answer):
    """A disk of a VM: ``blocks`` of 4,096 bytes, and the key that it is encrypted under."""

    disk: int
    label: str
    blocks: int
    key: str | None

class VmRemoval(Answer):
    """One VM that was to leave the inventory; refused: it is there still, and the error says
    why.

    ``host`` is the one that had it; None when it was not in the inventory."""

    vm: str
    host: str | None
    error_id: str | None
    error: str | None
    fault: str
    keys: list[str]

class VmPower(Answer):
    """One VM after a power command; refused: ``power`` is None, and the error says why, with
    the vim25 ``fault`` and the ``keys`` concerned."""

    vm: str
    host: str
    power: Literal["poweredOff", "poweredOn"] | None
    error_id: str | None
    error: str | None
    fault: str
    keys: list[str]

class VsanGroupLine(Answer):
    """A disk group; ``why`` it is not mounted."""

    host: str
    group: str
    mounted: bool
    why: str
    disks: list[VsanDiskLine]
    components: int

class VsanObjectLine(Answer):
    """An object with its components."""

    object: str
    accessible: bool
    components: list[VsanComponentLine]

class VsanTestLine(Answer):
    """One test and what it found."""

    test: str
    health: Literal["green", "red", "unknown", "yellow"]
    details: list[str]

class VsanHostHealthLine(Answer):
    """A host: whether it reaches a key server, None without one; its encryption issues."""

    host: str
    health: Literal["green", "red", "unknown", "yellow"]
    kms_connected: bool | None
    issues: list[
        Literal[
            "clientcertificateinconsistent",
            "clientkeyinconsistent",
            "dataencryptionkeyinconsistent",
            "disabledwhenclusterenabled",
            "enabledwhenclusterdisabled",
            "erasedisksbeforeuseinconsistent",
            "hostkeyinconsistent",
            "hostkeynotavailable",
            "keknotavailable",
            "keyencryptionkeyinconsistent",
            "kmsinfoinconsistent",
            "servercertificatesinconsistent",
        ]
    ]

class RuleCount(Answer):
    """How many messages to ``dst`` the link rule ``rule`` dropped, delayed or duplicated."""

    rule: str
    dst: str
    struck: int

class ServiceTimes(Answer):
    """The service times of a node, by class of work; what has none takes no time.

    Classes: a request that the node serves (``CreateKey``), the reply to a request that
    it sent (``CreateKey.reply``), ``*`` and ``*.reply`` for those without an entry, and
    in the simulation calls of storage (``disk.sync``, ``db.transact``) and TPM
    (``tpm.unseal``), and in the simulation ``wakeup`` and ``cold``. ``cores``: so many
    pieces of work at a time."""

    cores: int
    times: Mapping[str, ServiceTime]

class Slowdown(Answer):
    """A slower node: a ``share`` of its requests takes ``factor`` times its service time,
    and ``extra`` on top."""

    factor: float
    extra: ServiceTime | None
    share: float

class RuleOnLink(Answer):
    """A rule on a link: ``id`` is its fault's, ``kind`` is cut, loss, delay, duplicate,
    reset or stall.

    ``share`` of the messages is lost or sent twice; each is held for ``base_s`` lab
    seconds and up to ``jitter_s`` more. What its kind does not have is left out."""

    kind: str
    id: str
    share: float
    base_s: float
    jitter_s: float

class HostTrustReport(Answer):
    """HostTrustAuthorityAttestationInfo: the result of one Attestation Service for a host
    (ATT-05).

    Times in Unix seconds of the service's clock; ``messages`` are the findings' texts."""

    service: str
    status: Literal["attested", "notAttested", "unknown"]
    attested_at: float | None
    attested_until: float | None
    messages: list[str]

class VsanDiskLine(Answer):
    """A disk as its label says; ``key``: the KEK that wraps its data key."""

    disk: str
    encrypted: bool
    key: str | None
    dek_generation: int

class VsanComponentLine(Answer):
    """A component of an object."""

    host: str
    kind: str
    state: Literal["absent", "active", "stale"]

class ServiceTime(Answer):
    """The time that one piece of work takes, in lab seconds.

    ``each_s`` is added for every entry of the longest list of the message, such as each
    key of a ``GetKeys``. ``spread`` is the coefficient of variation of ``lognormal``:
    standard deviation divided by mean."""

    mean_s: float
    distribution: Literal["constant", "exponential", "lognormal"]
    each_s: float
    spread: float
