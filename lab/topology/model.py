"""What a Lab file has in it: the schema of its sections, each value checked for itself."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from chaos.naming import name_validator
from lab.topology.bus_url import bus_url, gate_address
from lab.topology.service_times import ServiceTimesModel
from protocol import names
from protocol.errors import InvalidArgument
from protocol.messages.agent import TpmBackend
from protocol.releases import LATEST, format_release, release_of
from protocol.terms import DrsBehavior, RootKind

GROUPS_LIMIT = 64  # sites, vCenters, key servers, providers, machines: so many of each
CLUSTERS_LIMIT = 256  # of 50 hosts each more than five vCenters may have


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


LabName = Annotated[str, name_validator(names.LAB)]
NodeText = Annotated[str, name_validator(names.NODE)]
SiteName = Annotated[str, name_validator(names.SITE)]
ClusterText = Annotated[str, name_validator(names.CLUSTER)]
ProviderText = Annotated[str, name_validator(names.PROVIDER)]
Whole = Annotated[int, Field(strict=True)]
"""A number as it is written: ``true`` is no 1, and a text is none."""


def _as_text(value: object) -> object:
    """An unquoted ``7.0`` is a YAML number."""
    return f"{value:.1f}" if isinstance(value, float) else value


def _a_release(value: str) -> str:
    try:
        return format_release(release_of(value))
    except InvalidArgument as error:
        raise PydanticCustomError("version", "{text}", {"text": str(error)}) from None


Version = Annotated[str, BeforeValidator(_as_text), AfterValidator(_a_release)]


class _Named(_Model):
    name: NodeText
    """The name of the node, by which commands, links and faults call it."""
    site: SiteName = "main"
    """Where it stands: one of ``sites``. A site can be cut off as a whole."""


class VcenterModel(_Named):
    """A vCenter with its release."""

    version: Version = format_release(LATEST)
    """Its release, such as ``"8.0U3"``; older ones lack features (docs/versions.md)."""


class KmsModel(_Named):
    """A key server."""

    tpm: TpmBackend = TpmBackend.NONE
    """The TPM under the server, which can seal its keys (``root: tpm``)."""
    ids: Literal["random", "sequential"] = "random"
    """How it names new keys. Numbers are a flaw: servers that do not hear of each other give one to
    two keys."""
    root: RootKind = RootKind.KEYFILE
    """What seals the keys of a server that begins: a file on its disk, what an operator types at
    each start, or its TPM."""
    passphrase_file: str = ""
    """With the root ``passphrase``: an absolute path on the machine where the lab runs. Its first
    line is typed at each start of the server that the lab makes; without it the server halts."""
    transport: Literal["bus", "kmip"] = "bus"
    """How vCenter reaches it: over the lab's bus, or by KMIP under TLS, with certificates."""
    audit: Literal["durable", "buffered"] = "durable"
    """When the row of its audit trail for a key that was read is on its disk: before the key
    leaves, or a moment later (knob ``audit_buffer_s``), so that a crash loses that moment's. The
    anchor of a changed key is that late too."""


class ProviderModel(_Model):
    """A key provider of a vCenter, and the key servers behind it."""

    name: ProviderText
    """Its name in vCenter; it is part of the id of each of its keys."""
    type: Literal["standard", "trusted", "native"] = "standard"
    """Who brings a key to a host: vCenter (standard), the host itself after attestation (trusted),
    or nobody, since hosts derive keys (native)."""
    vcenter: str = "vcenter"
    """The vCenter that has it."""
    servers: tuple[str, ...] = ()
    """Its key servers, by name; a native provider has none."""
    replication: Literal["none", "sync-pair", "async", "forward"] | None = None
    """When its servers learn of each other's changes: never; before the answer (two servers); after
    it, where each takes changes or the active one does. Left out: before it, of two servers."""
    tpm_required: bool = False
    """Of a native provider: hosts without a TPM take no part in it."""
    default: bool | None = None
    """Left out: the first provider of a vCenter is its default when no other says that it is."""


class HostsModel(_Model):
    """The hosts of a cluster, which are all alike."""

    count: Whole = Field(default=3, ge=0, le=2000)
    """How many; they are called esxi-001, esxi-002 and so on, through all clusters."""
    version: Version | None = None
    """Of all hosts. Left out: the latest release, unless ``versions`` says otherwise."""
    versions: tuple[Version, ...] = Field(default=(), max_length=2000)
    """Of the first host, the second, and so on; the last one is that of all that follow."""
    tpm: TpmBackend = TpmBackend.LIBTPMS
    """Of each host. In the simulation ``model`` plays ``libtpms``; a host with ``none`` has no TPM
    in either mode."""
    without_tpm: Whole = Field(default=0, ge=0, le=2000)
    """So many hosts, the last ones, have no TPM, which a provider can require (NKP-12): no VM of
    the lab begins there, and key persistence stays off."""
    secure_boot: bool = True
    """Whether UEFI Secure Boot is on, to whose measurements a TPM seals."""
    key_persistence: bool = False
    """Whether key persistence is on from the start: hosts keep their keys over a reboot. It needs
    a TPM."""
    pack: Whole = Field(default=1, ge=1, le=500)
    """Hosts in one process: more of them save memory, one each can be killed alone."""
    aesni: bool = True
    """Whether their processors have AES instructions, of which vSAN health speaks."""

    def version_of(self, place: int) -> str:
        """The version of the host at that place of the cluster, from 0 on."""
        if self.versions:
            return self.versions[min(place, len(self.versions) - 1)]
        return self.version or format_release(LATEST)


class VmsModel(_Model):
    """The VMs of a cluster, which are all alike."""

    count: Whole = Field(default=0, ge=0, le=10000)
    """How many; they are called vm-01, vm-02 and so on, through all clusters."""
    encrypted: bool = True
    """Whether their homes and disks are encrypted."""
    provider: str | None = None
    """The key provider of their keys; needed for encrypted VMs and for a virtual TPM."""
    power: Literal["on", "off"] = "on"
    """Whether they run when the lab is ready."""
    vtpm: Annotated[bool, Field(strict=True)] = False
    """Whether each has a virtual TPM, which encrypts its home."""

    @field_validator("power", mode="before")
    @classmethod
    def _yaml_says_true(cls, value: object) -> object:
        """An unquoted ``on`` is a YAML boolean."""
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class VsanModel(_Model):
    """A vSAN datastore of the cluster's hosts: each has ``groups`` disk groups of ``disks``."""

    groups: Whole = Field(default=1, ge=1, le=5)
    """Disk groups of each host."""
    disks: Whole = Field(default=2, ge=1, le=7)
    """Disks of each group."""
    encrypted: bool = True
    """Whether data at rest is encrypted."""
    provider: str | None = None
    """The key provider, which is always named; needed for an encrypted one."""
    objects: Whole = Field(default=1, ge=0, le=20)
    """Objects that lie on it, each with a component on three hosts."""
    erase_disks_before_use: bool = False
    """Not available here: disks are not overwritten."""


class ClusterModel(_Model):
    """Hosts with a datastore and a host key of their own, and the VMs on them."""

    name: ClusterText
    """Its name in vCenter."""
    vcenter: str = "vcenter"
    """The vCenter that manages it."""
    site: SiteName = "main"
    """Where it stands: one of ``sites``."""
    datastore: Annotated[str, name_validator(names.DATASTORE)] | None = None
    """Where the files of its VMs lie. Clusters that name the same one share it, so that VMs
    can move between their vCenters. Left out: one of its own."""
    ha: bool = False
    """Its hosts restart the VMs of one that fails (vSphere HA)."""
    drs: DrsBehavior | None = None
    """What DRS does by itself, from when the lab is built; left out: it is disabled."""
    hosts: HostsModel = HostsModel()
    vms: VmsModel = VmsModel()
    vsan: VsanModel | None = None

    @field_validator("drs", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        """``off``, which is a YAML boolean without its quotes, disables it."""
        return None if value is False or value == "off" else value


def array_of(cluster: ClusterModel) -> str:
    """The name of the datastore of a cluster."""
    return cluster.datastore or f"datastore-{cluster.name}"


class MachineModel(_Model):
    """Another machine than the one where `keystead up` runs, and what stands on it.

    Its agent is started there, with a file from here: `keystead lab bundle`, `keystead agent join`.
    """

    name: Annotated[str, name_validator(names.MACHINE)]
    """Its name, as `keystead lab bundle` takes it."""
    clusters: tuple[str, ...] = ()
    """Whole clusters, with the files of their VMs, or that of a Trust Authority; a lab in the
    simulation has all in one place."""
    nodes: tuple[str, ...] = ()
    """Key servers, vCenters, hosts of clusters whose datastore lies in a shared folder, and hosts
    of a Trust Authority, each by both of its services: ``attestation-1`` and ``keyprovider-1``."""
    pool: Annotated[bool, Field(strict=True)] = False
    """Whether it is as many machines as ask for a place when they join, each with one host of the
    one cluster, which begins without hosts. ``vms`` of that cluster are those of each host, and
    the files of VMs lie in a folder that all these machines share."""
    address: Annotated[str, AfterValidator(gate_address)] = ""
    """HOST or HOST:PORT at which other machines reach connections to nodes of this one, in a lab
    whose key servers have ``transport: kmip``. Left out: where it reaches the lab from, any
    port."""
    lease_s: float = Field(default=15, ge=2, le=600, strict=True)
    """Real seconds: an agent that has not heard of its supervisor for so long ends its nodes."""


class DatastoreModel(_Model):
    """A datastore of clusters on several machines, in a folder that these machines mount.

    Each lies below that folder under its own name. A lab in the simulation has all in one place.
    """

    name: Annotated[str, name_validator(names.DATASTORE)]
    """As clusters name it: ``datastore``."""
    folder: str
    """An absolute path, the same on all machines; ``agent join --arrays`` names another one."""

    @field_validator("folder")
    @classmethod
    def _is_absolute(cls, value: str) -> str:
        if not value.startswith("/"):
            raise PydanticCustomError("path", "an absolute path to a folder")
        return value


class BusModel(_Model):
    """The lab's bus: nats-servers of its own on loopback, or such as somebody else runs.

    The control plane has a server of its own in either case. A lab in the simulation has its bus in
    memory, of as many servers.
    """

    servers: Whole = Field(default=1, ge=1, le=5)
    """Of its own; several are a cluster, and a node whose server is lost goes to another."""
    url: str = ""
    """Servers that somebody else runs: `nats://HOST:PORT`, `tls://HOST:PORT`, several with commas.
    What they have to know of the lab is printed by `keystead lab broker-config`."""
    authority: str = ""
    """With `tls://`: an absolute path to the certificate authority (PEM) of their certificates,
    which is read at each start of the lab; empty: those that this machine trusts."""
    account: str = ""
    """The account of this lab alone there; empty: `KEYSTEAD-` and the lab's name."""

    @field_validator("url")
    @classmethod
    def _addresses(cls, value: str) -> str:
        return bus_url(value)

    @field_validator("authority")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise PydanticCustomError("path", "an absolute path to a file")
        return value

    @field_validator("account")
    @classmethod
    def _account(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", value):
            text = "an account is letters, digits, - and _, at most 64, and begins with a letter"
            raise PydanticCustomError("account", "{text}", {"text": text})
        return value


class TrustAuthorityModel(_Model):
    """A Trust Authority cluster with its own vCenter, and the clusters that trust it (TA-01).

    Each of its ``hosts`` runs an Attestation Service and a Key Provider Service.
    """

    vcenter: str = "ta-vcenter"
    """The name of its vCenter."""
    cluster: ClusterText = "ta-cluster"
    """The name of its cluster."""
    site: SiteName = "main"
    """Where it stands: one of ``sites``."""
    hosts: Whole = Field(default=2, ge=1, le=16)
    """How many hosts, each with both services."""
    clusters: tuple[str, ...] = ()
    """Trusted clusters: of the workload vCenter."""
    settings: Literal["endorsement-keys", "certificates"] = "endorsement-keys"
    """Whose endorsement keys are trusted: of a list, or with a certificate of an imported CA."""
    setup: bool = True
    """Whether the build takes the thirteen steps; else they are left to you: ``trust setup``."""


def _bus_in_short(value: object) -> object:
    """``nats://...`` alone is the address of servers that somebody else runs."""
    return {"url": value} if isinstance(value, str) else value


class ServeModel(_Model):
    """The APIs of vSphere in front of the lab, served for as long as it is up (docs/vsphere.md)."""

    listen: str = "127.0.0.1:8989"
    """HOST:PORT of vCenter's; port 0 is any that is free. ESXi hosts have the ports after it."""
    hosts: bool = True
    """Serve ESXi hosts too."""

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdecimal() and int(port[:6]) < 65_536):
            raise PydanticCustomError("listen", "HOST:PORT is wanted")
        return value


def _serve_in_short(value: object) -> object:
    """``serve: true`` is at the usual address, and ``serve: HOST:PORT`` at another one."""
    match value:
        case True:
            return {}
        case False:
            return None
        case str():
            return {"listen": value}
    return value


class LabFields(_Model):
    """Everything in a Lab file, each value checked for itself."""

    apiVersion: Literal["keystead/v1"]
    """The version of this format."""
    kind: Literal["Lab"]
    """What the file is."""
    name: LabName = "default"
    """What the lab is called: `keystead up FILE` gives it this name, and other commands find it by
    `--name`."""
    pace: float = Field(default=30, gt=0, le=1000, strict=True)
    """Lab seconds that pass in one real second."""
    sites: tuple[SiteName, ...] = Field(default=("main",), max_length=GROUPS_LIMIT)
    """Places that have a network each; the links between two of them can be cut."""
    vcenters: tuple[VcenterModel, ...] = Field(min_length=1, max_length=GROUPS_LIMIT)
    """The first one is that which commands go to that name none."""
    kms: tuple[KmsModel, ...] = Field(default=(), max_length=GROUPS_LIMIT)
    """Key servers."""
    providers: tuple[ProviderModel, ...] = Field(default=(), max_length=GROUPS_LIMIT)
    """Key providers of the vCenters."""
    clusters: tuple[ClusterModel, ...] = Field(default=(), max_length=CLUSTERS_LIMIT)
    """Clusters of hosts, with their VMs."""
    trust_authority: TrustAuthorityModel | None = None
    """A Trust Authority cluster with its own vCenter, and the clusters that trust it."""
    machines: tuple[MachineModel, ...] = Field(default=(), max_length=GROUPS_LIMIT)
    """Other machines; what none of them names stands where `keystead up` runs."""
    datastores: tuple[DatastoreModel, ...] = Field(default=(), max_length=GROUPS_LIMIT)
    """Those that lie in a folder which machines share; any other is where its clusters stand."""
    bus: Annotated[BusModel, BeforeValidator(_bus_in_short)] = BusModel()
    """What carries the messages of its nodes."""
    serve: Annotated[ServeModel | None, BeforeValidator(_serve_in_short)] = None
    """The APIs of vSphere, by `keystead serve`: true, HOST:PORT, or both of its settings."""
    service_times: ServiceTimesModel | None = None
    knobs: dict[str, Any] = {}
    """How services behave: `keystead explain knob` lists all, `up --set NAME=VALUE` sets one."""
