"""Descriptions: everything that is known of one object, and why it is as it is."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer, KeyRef, MachineState
from lab.schema.answers.hosts import Tpm
from lab.schema.answers.inventory import Host, HostView, Vm, VmOnHost
from lab.schema.answers.keys import Provider
from lab.schema.answers.lab import Node
from lab.schema.tables import ColumnTable, field
from protocol.events import EventTypeId
from protocol.terms import KeyManagement, KmipState, ManagementType, NodeName, ProviderId, VmName


class Reason(msgspec.Struct, frozen=True):
    """One sentence, the rule that it comes from, and what cures it (empty: nothing to cure)."""

    why: str
    rule: str
    cure: str = ""


class KeyOfVm(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a VM: its state at a key server, and whether its host has it stored.

    None: it is not there, or there was nobody to ask. ``kind``: of its provider; hosts themselves
    derive the keys of a native one, and have those of a trusted one unwrapped.
    """

    key: KeyRef
    state: KmipState | None = None
    stored: bool | None = None
    kind: ManagementType = ManagementType.VCENTER


class KeyOnHost(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a host has in its key cache, in its persisted store, or in both; or its host key.

    ``loaded``: what is cached came out of that store, in this life of the host. ``managed``: by
    itself or from outside, from 8.0 U1 on [HEM-08].
    """

    key: KeyRef
    cached: bool
    stored: bool
    loaded: bool | None = None
    managed: KeyManagement | None = None


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """An event in short; ``at`` in Unix seconds of the lab."""

    sequence: int
    at: float
    event: EventTypeId
    text: str


class VirtualTpm(msgspec.Struct, frozen=True, kw_only=True):
    """A VM's virtual TPM: SHA-256 of its endorsement key (hex), and what is to be said of that
    key's certificate; empty of one that VMCA has signed for this key."""

    ek: str
    certificate_flaw: str = ""


class VmDescription(Answer, frozen=True, kw_only=True):
    """A VM in every view; ``vcenter`` and ``host_view`` are None when these do not answer.

    ``reasons`` come with the headline first; ``events`` are the last ten about it. ``firmware`` is
    empty, and ``hardware`` 0, when its host cannot say.
    """

    vm: VmName
    host: NodeName
    vcenter: Vm | None
    host_view: VmOnHost | None
    keys: tuple[KeyOfVm, ...]
    reasons: tuple[Reason, ...]
    events: tuple[EventLine, ...]
    faults: tuple[str, ...]
    vtpm: VirtualTpm | None = None
    firmware: str = ""
    hardware: int = 0

    table = ColumnTable("vm", (field("vm"),))


class HostDescription(Answer, frozen=True, kw_only=True):
    """A host in every view; ``vcenter`` and ``host_view`` are None when these do not answer.

    ``keys`` by id; none when the host does not answer. ``host_key``: the one that is configured,
    in its cache or not [HEM-08].
    """

    host: NodeName
    machine: Node
    vcenter: Host | None
    host_view: HostView | None
    keys: tuple[KeyOnHost, ...]
    host_key: KeyOnHost | None
    tpm: Tpm
    reasons: tuple[Reason, ...]
    events: tuple[EventLine, ...]
    faults: tuple[str, ...]

    table = ColumnTable("host", (field("host"),))


class ProviderServer(msgspec.Struct, frozen=True, kw_only=True):
    """One key server of a provider.

    ``status`` (green, red, gray), ``last_contact`` (Unix seconds) and ``why`` are what vCenter
    found last [STD-09]; ``peer`` is what the server itself says of the other of its pair.
    ``machine``: None of one outside of the lab. ``timeout`` in seconds and ``user``: of its entry,
    where they are said there [STD-01].
    """

    server: str
    machine: MachineState | None
    status: str
    last_contact: float | None
    why: str
    peer: str
    timeout: int | None = None
    user: str = ""


class ProviderDescription(Answer, frozen=True, kw_only=True):
    """A key provider, None in ``vcenter`` when vCenter has none of that name."""

    provider: ProviderId
    vcenter: Provider | None
    servers: tuple[ProviderServer, ...]
    reasons: tuple[Reason, ...]
    faults: tuple[str, ...]

    table = ColumnTable("provider", (field("provider"),))
