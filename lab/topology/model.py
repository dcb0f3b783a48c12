"""The schema of a Lab file.

Each value is checked by itself; ``references`` checks what does not fit together. Also the nodes
of a Trust Authority cluster.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv6Address
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from chaos.fields import name_validator
from lab.topology.service_times import ServiceTimesModel
from protocol import names
from protocol.errors import InvalidArgument
from protocol.messages.agent import NodeSpec, TpmBackend
from protocol.messages.vcenter.providers import ROTATION_DAYS
from protocol.releases import LATEST, format_release, release_of
from protocol.terms import DrsBehavior, NodeName, Role, RootKind

GROUPS_LIMIT = 64  # sites, vCenters, key servers, providers, machines: so many of each
CLUSTERS_LIMIT = 256  # of 50 hosts each more than five vCenters may have


BUS_ADDRESS_LIMIT: Final = 16
_LARGEST_PORT: Final = 65_535
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_FORM: Final = "nats://HOST:PORT or tls://HOST:PORT, several with commas between them"


def bus_url(value: str) -> str:
    """Each address with its scheme, with commas between them; empty stays empty.

    ``PydanticCustomError`` for what is none. Who may log in goes by keys, so a name or a password
    in an address is refused.
    """
    if not value:
        return ""
    scheme, _, rest = value.partition("://")
    if scheme not in ("nats", "tls"):
        raise _wrong(f"{value!r} is no address of a bus: {_FORM}")
    found: list[str] = []
    for part in rest.split(","):
        address = part.strip()
        other, between, bare = address.partition("://")
        if between and other != scheme:
            raise _wrong(f"{address}: all servers of a bus are reached by {scheme}://")
        found.append(f"{scheme}://{_host_and_port(bare if between else address)}")
    if len(set(found)) != len(found) or len(found) > BUS_ADDRESS_LIMIT:
        raise _wrong(f"each address once, at most {BUS_ADDRESS_LIMIT}")
    return ",".join(found)


def gate_address(value: str) -> str:
    """HOST or HOST:PORT, the port 0 when there is none; empty stays empty, and so does what this
    function has returned: a lab's folder keeps it in that form."""
    if not value:
        return ""
    value = value.removesuffix(":0")
    alone = _NAME.fullmatch(value) or (value.startswith("[") and value.endswith("]"))
    host = _host_and_port(f"{value}:1" if alone else value, "HOST or HOST:PORT")
    return f"{host.rpartition(':')[0]}:0" if alone else host


def _host_and_port(text: str, form: str = _FORM) -> str:
    host, _, port = text.rpartition(":")
    if "@" in text:
        raise _wrong("an address has no user and no password: nodes log in with their keys")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not (_NAME.fullmatch(host) if bare == host else _is_ipv6(bare))
        or not port.isascii()
        or not port.isdecimal()
        or not 0 < int(port[:6]) <= _LARGEST_PORT
    ):
        raise _wrong(f"{text!r} is no HOST:PORT: {form}")
    return f"{host.lower() if bare == host else host}:{int(port)}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return text.isascii() and text.isprintable() and not set(text) & set("/?# ")


def _wrong(text: str) -> PydanticCustomError:
    return PydanticCustomError("bus", "{text}", {"text": text})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


LabName = Annotated[str, name_validator(names.LAB)]
NodeText = Annotated[str, name_validator(names.NODE)]
SiteName = Annotated[str, name_validator(names.SITE)]
ClusterText = Annotated[str, name_validator(names.CLUSTER)]
ProviderText = Annotated[str, name_validator(names.PROVIDER)]
Whole = Annotated[int, Field(strict=True)]
"""An integer as written: neither ``true`` nor a text is accepted."""


def _as_text(value: object) -> object:
    """An unquoted ``7.0`` is a YAML number."""
    return f"{value:.1f}" if isinstance(value, float) else value


def _a_release(value: str) -> str:
    try:
        return format_release(release_of(value))
    except InvalidArgument as error:
        raise PydanticCustomError("version", "{text}", {"text": str(error)}) from None


Version = Annotated[str, BeforeValidator(_as_text), AfterValidator(_a_release)]


def _days(value: object) -> object:
    """``90d`` as a number of days."""
    least, most = ROTATION_DAYS
    days = value.removesuffix("d") if isinstance(value, str) and value.endswith("d") else ""
    if days.isdecimal() and len(days) <= 4 and least <= int(days) <= most:
        return int(days)
    text = f"{value!r} is no interval of {least} to {most} days, such as 90d"
    raise PydanticCustomError("rotation_interval", "{text}", {"text": text})


RotationInterval = Annotated[
    int,
    BeforeValidator(_days),
    PlainSerializer(lambda days: f"{days}d", return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{2,4}d$"}),
]


class _Named(_Model):
    name: NodeText
    """The name of the node in commands, links and faults."""
    site: SiteName = "main"
    """Its site, one of ``sites``. A fault can cut off a whole site."""


class VcenterModel(_Named):
    """A vCenter with its release."""

    version: Version = format_release(LATEST)
    """Its release, such as ``"8.0U3"``; older ones lack features (docs/versions.md)."""


class KmsModel(_Named):
    """A key server."""

    tpm: TpmBackend = TpmBackend.NONE
    """The TPM under the server, which can seal its keys (``root: tpm``)."""
    ids: Literal["random", "sequential"] = "random"
    """How it chooses the ids of new keys. ``sequential`` is a flaw: servers that do not replicate
    give the same id to two keys."""
    root: RootKind = RootKind.KEYFILE
    """What seals the keys of a new server: a file on its disk, a passphrase that an operator types
    at each start, or its TPM."""
    passphrase_file: str = ""
    """With ``root: passphrase``: an absolute path on the machine where the lab runs. The lab types
    the first line of the file at each start of the server; without it the server halts."""
    transport: Literal["bus", "kmip"] = "bus"
    """How clients reach it: over the lab's bus, or by KMIP over TLS with client certificates."""
    audit: Literal["durable", "buffered"] = "durable"
    """When the audit record of a key that is read reaches its disk: before the key is sent
    (``durable``), or up to ``audit_buffer_s`` later (``buffered``), so that a crash loses the last
    records. The anchor of a changed key is delayed as well."""


class ProviderModel(_Model):
    """A key provider of a vCenter, and the key servers behind it."""

    name: ProviderText
    """Its name in vCenter; it is part of the id of each of its keys."""
    type: Literal["standard", "trusted", "native"] = "standard"
    """How a host gets a key: vCenter sends it (standard), the host fetches it after attestation
    (trusted), or the host derives it (native)."""
    vcenter: str = "vcenter"
    """Its vCenter."""
    servers: tuple[str, ...] = ()
    """The names of its key servers; a native provider has none."""
    replication: Literal["none", "sync-pair", "async", "forward"] | None = None
    """How its servers replicate changes: not at all (``none``), before the answer (``sync-pair``,
    two servers), after the answer (``async``), or after it with one active server to which the
    others forward changes (``forward``). Default: ``sync-pair`` for two servers."""
    tpm_required: bool = False
    """For a native provider: whether hosts without a TPM are excluded (NKP-12)."""
    default_key_type: Literal["rawKey", "wrappedKey"] | None = None
    """For a standard provider of a vCenter 9.0: what a new key is, the key at the key server
    (``rawKey``, the default), or one that vCenter wraps under a key of the key server
    (``wrappedKey``, KEY-07)."""
    wrapping_key: Annotated[str, name_validator(names.PROVIDER)] | None = None
    """With wrapped keys: the lab makes a wrapping key at the first key server when it is built and
    names its id to vCenter, which never replaces it. This text tells such keys apart."""
    rotation_interval: RotationInterval | None = None
    """With wrapped keys, in place of ``wrapping_key``: vCenter makes the wrapping key, and another
    one after so many days, such as ``90d``: 30 to 3,650."""
    default: bool | None = None
    """Whether it is the default of its vCenter. If no provider says so, the first one is."""


class HostsModel(_Model):
    """The hosts of a cluster, which are all alike."""

    count: Whole = Field(default=3, ge=0, le=2000)
    """Number of hosts. They are named esxi-001, esxi-002, ... across all clusters."""
    version: Version | None = None
    """The release of all hosts. Default: the latest one, unless ``versions`` is given."""
    versions: tuple[Version, ...] = Field(default=(), max_length=2000)
    """The releases of the first host, the second, and so on; the last one is that of all others."""
    tpm: TpmBackend = TpmBackend.LIBTPMS
    """The TPM under each host. The simulation uses ``model`` in place of ``libtpms``; a host with
    ``none`` has no TPM in either mode."""
    without_tpm: Whole = Field(default=0, ge=0, le=2000)
    """Number of hosts, counted from the last one, without a TPM. Key persistence stays off there,
    and the lab places no VM on them at the start (NKP-12)."""
    secure_boot: bool = True
    """Whether UEFI Secure Boot is on. TPMs seal to its measurements."""
    key_persistence: bool = False
    """Whether key persistence is on from the start, so that hosts keep keys across a reboot. It
    needs a TPM."""
    pack: Whole = Field(default=1, ge=1, le=500)
    """Hosts in one process. More hosts in a process save memory; a host in a process of its own can
    be killed alone."""
    aesni: bool = True
    """Whether their processors have AES instructions (AES-NI), which vSAN health checks."""

    def version_of(self, place: int) -> str:
        """The version of the host at that place of the cluster, from 0 on."""
        if self.versions:
            return self.versions[min(place, len(self.versions) - 1)]
        return self.version or format_release(LATEST)


class VmsModel(_Model):
    """The VMs of a cluster, which are all alike."""

    count: Whole = Field(default=0, ge=0, le=10000)
    """Number of VMs. They are named vm-01, vm-02, ... across all clusters."""
    encrypted: bool = True
    """Whether VM home and disks are encrypted."""
    provider: str | None = None
    """The key provider of their keys. Encrypted VMs and virtual TPMs need one."""
    power: Literal["on", "off"] = "on"
    """Whether they are powered on when the lab is ready."""
    vtpm: Annotated[bool, Field(strict=True)] = False
    """Whether each VM has a virtual TPM, which encrypts its VM home."""

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
    """The key provider; an encrypted datastore needs one."""
    objects: Whole = Field(default=1, ge=0, le=20)
    """Objects on the datastore, each with components on three hosts."""
    erase_disks_before_use: bool = False
    """Not available: ``true`` is refused, since disks are not overwritten."""


class ClusterModel(_Model):
    """A cluster of hosts with a datastore and a host key, and its VMs."""

    name: ClusterText
    """Its name in vCenter."""
    vcenter: str = "vcenter"
    """The vCenter that manages it."""
    site: SiteName = "main"
    """Its site, one of ``sites``."""
    datastore: Annotated[str, name_validator(names.DATASTORE)] | None = None
    """The datastore of its VMs. Clusters with the same datastore share it, so that VMs can move
    between their vCenters. Default: a datastore of its own."""
    ha: bool = False
    """Whether vSphere HA is on: hosts restart the VMs of a failed host."""
    drs: DrsBehavior | None = None
    """The DRS automation level. Default: DRS is disabled."""
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
    """A machine other than the one where `keystead up` runs, and the nodes on it.

    `keystead lab bundle` writes a file for it; `keystead agent join` starts its agent with that
    file.
    """

    name: Annotated[str, name_validator(names.MACHINE)]
    """Its name for `keystead lab bundle`."""
    clusters: tuple[str, ...] = ()
    """Whole clusters on it, with the files of their VMs, or the cluster of a Trust Authority. The
    simulation ignores machines."""
    nodes: tuple[str, ...] = ()
    """Single nodes on it: key servers, vCenters, hosts of clusters whose datastore is in a shared
    folder, and hosts of a Trust Authority, each by both of its services (``attestation-1`` and
    ``keyprovider-1``)."""
    pool: Annotated[bool, Field(strict=True)] = False
    """Whether this entry is a pool: any number of machines may join, each with one host of the one
    cluster, which starts without hosts. ``vms`` of that cluster is the number for each host, and
    the files of VMs are in a folder that all these machines share."""
    address: Annotated[str, AfterValidator(gate_address)] = ""
    """HOST or HOST:PORT at which other machines connect to nodes of this one, in a lab whose key
    servers have ``transport: kmip``. Default: the address from which it reaches the lab, any
    port."""
    lease_s: float = Field(default=15, ge=2, le=600, strict=True)
    """Real seconds without contact to the supervisor after which an agent stops its nodes."""


class DatastoreModel(_Model):
    """A datastore of clusters on several machines, in a folder that these machines mount.

    Each datastore is a subfolder with its name. The simulation ignores this section.
    """

    name: Annotated[str, name_validator(names.DATASTORE)]
    """Its name, as in ``datastore`` of clusters."""
    folder: str
    """An absolute path, the same on all machines; `agent join --arrays` overrides it."""

    @field_validator("folder")
    @classmethod
    def _is_absolute(cls, value: str) -> str:
        if not value.startswith("/"):
            raise PydanticCustomError("path", "an absolute path to a folder")
        return value


class BusModel(_Model):
    """The lab's bus: its own nats-servers on loopback, or external ones.

    The control plane always has a server of its own. In the simulation the bus is in memory, with
    the same number of servers.
    """

    servers: Whole = Field(default=1, ge=1, le=5)
    """Number of its own servers. Several form a cluster; a node that loses its server connects to
    another one."""
    url: str = ""
    """External servers: `nats://HOST:PORT` or `tls://HOST:PORT`, separated by commas. `keystead lab
    broker-config` prints the configuration that they need."""
    authority: str = ""
    """With `tls://`: the absolute path of the certificate authority (PEM) of external servers, read
    at each start of the lab. Default: the authorities that this machine trusts."""
    account: str = ""
    """The account of this lab on external servers. Default: `KEYSTEAD-` and the lab's name."""

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
    """Its site, one of ``sites``."""
    hosts: Whole = Field(default=2, ge=1, le=16)
    """Number of hosts, each with both services."""
    clusters: tuple[str, ...] = ()
    """The trusted clusters, of the workload vCenter."""
    settings: Literal["endorsement-keys", "certificates"] = "endorsement-keys"
    """Which endorsement keys are trusted: listed ones, or those with a certificate of an imported
    CA."""
    setup: bool = True
    """Whether building the lab performs the thirteen set-up steps. If not, run `keystead trust
    setup`."""


def _bus_in_short(value: object) -> object:
    """``nats://...`` alone is the address of servers that somebody else runs."""
    return {"url": value} if isinstance(value, str) else value


class ServeModel(_Model):
    """The vSphere APIs of the lab, served while it is up (docs/vsphere.md)."""

    listen: str = "127.0.0.1:8989"
    """HOST:PORT of vCenter's API; port 0 picks a free one. ESXi hosts have the following ports."""
    hosts: bool = True
    """Whether ESXi hosts have an API too."""

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
    """The name of the lab that `keystead up FILE` starts; other commands take it as `--name`."""
    pace: float = Field(default=30, gt=0, le=1000, strict=True)
    """Lab seconds that pass in one real second."""
    sites: tuple[SiteName, ...] = Field(default=("main",), max_length=GROUPS_LIMIT)
    """Sites, each with its own network. The links between two sites can be cut."""
    vcenters: tuple[VcenterModel, ...] = Field(min_length=1, max_length=GROUPS_LIMIT)
    """vCenters. The first one is the default of commands."""
    kms: tuple[KmsModel, ...] = Field(default=(), max_length=GROUPS_LIMIT)
    """Key servers."""
    providers: tuple[ProviderModel, ...] = Field(default=(), max_length=GROUPS_LIMIT)
    """Key providers of the vCenters."""
    clusters: tuple[ClusterModel, ...] = Field(default=(), max_length=CLUSTERS_LIMIT)
    """Clusters of hosts, with their VMs."""
    trust_authority: TrustAuthorityModel | None = None
    """A Trust Authority cluster with its own vCenter, and the clusters that trust it."""
    machines: tuple[MachineModel, ...] = Field(default=(), max_length=GROUPS_LIMIT)
    """Other machines. Nodes that no machine lists run where `keystead up` runs."""
    datastores: tuple[DatastoreModel, ...] = Field(default=(), max_length=GROUPS_LIMIT)
    """Datastores in a folder that several machines share. Others are on the machine of their
    clusters."""
    bus: Annotated[BusModel, BeforeValidator(_bus_in_short)] = BusModel()
    """The message bus of the lab."""
    serve: Annotated[ServeModel | None, BeforeValidator(_serve_in_short)] = None
    """Whether to serve the vSphere APIs: true, HOST:PORT, or a map of settings."""
    service_times: ServiceTimesModel | None = None
    knobs: dict[str, Any] = {}
    """Settings of the services' behaviour. `keystead explain knob` lists them; `up --set
    NAME=VALUE` sets one."""


def pairs_of_services(file: LabFields) -> list[tuple[NodeName, NodeName]]:
    """The Attestation Service and the Key Provider Service of each host of it (TA-01)."""
    count = 0 if file.trust_authority is None else file.trust_authority.hosts
    numbers = range(1, count + 1)
    return [(NodeName(f"attestation-{n}"), NodeName(f"keyprovider-{n}")) for n in numbers]


def services_in(file: LabFields, clusters: Collection[str]) -> list[NodeName]:
    """All of them when their cluster is one of ``clusters``."""
    authority = file.trust_authority
    if authority is None or authority.cluster not in clusters:
        return []
    return [node for pair in pairs_of_services(file) for node in pair]


def trust_services(file: LabFields) -> list[NodeSpec]:
    """Their specs, pair by pair; only the vCenter of the Trust Authority configures them."""
    authority = file.trust_authority
    if authority is None:
        return []
    roles = (Role.ATTESTATION, Role.KEYPROVIDER)
    return [
        NodeSpec(
            node=node,
            role=role,
            site=authority.site,
            knobs=file.knobs,
            config={"vcenter": authority.vcenter},
        )
        for pair in pairs_of_services(file)
        for node, role in zip(pair, roles, strict=True)
    ]
