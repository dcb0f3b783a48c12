"""The lab of a staging: one cluster for each of its events, so that none touches another's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from chaos.matrix import clock
from chaos.matrix.events import EVENTS
from chaos.matrix.grid import Staging, events_of_staging
from chaos.matrix.scene import BESIDE, SERVERS_OF_P, SERVERS_OF_Q, TA_VCENTER, P, Q, cluster_of
from chaos.matrix.terms import Actor, is_native, is_sealed, is_trusted
from chaos.matrix.twists import TWISTS
from chaos.oracle.terms import Block, TableEvent
from lab.topology.lab_file import load
from lab.topology.plan import Topology, plan
from protocol.messages.agent import TpmBackend
from protocol.terms import ClusterName, NodeName, Role
from services.kms.settings.config import KmsTransport

LEAST_HOSTS = 2
"""Two clients must miss vCenter, and hosts reach each other, where one host plays alone too."""
HOSTS_IN_ONE = 5
"""Hosts that share a process, where there are processes: an agent that waits costs little, and each
of them costs that."""


def file_of(
    staging: Staging,
    tpm: TpmBackend,
    knobs: Mapping[str, Any] | None = None,
    transport: KmsTransport = KmsTransport.BUS,
) -> dict[str, Any]:
    """The Lab file: P with two key servers is the default, Q has one of its own. Where both are
    native, these two are of a standard provider beside them. ``knobs``: over those of the staging.
    ``transport``: that of every key server.
    """
    block, events = staging.block, events_of_staging(staging)
    twist = TWISTS[staging.twist]
    counts = {event: len(_initial_hosts(event)) + twist.spare for event in events}
    if sum(counts.values()) < LEAST_HOSTS:
        counts[events[0]] = LEAST_HOSTS
    sealed, persistent = is_sealed(block), block.value[2] == "1"
    hosts = {
        "tpm": (tpm if sealed else TpmBackend.NONE).value,
        "secure_boot": True,
        "key_persistence": persistent,
        **twist.hosts,
    }
    servers, providers = _providers(block, tpm_required=twist.tpm_required)
    return {
        **_trust_authority(block, events),
        "knobs": {**_knobs(block), **dict(staging.knobs), **twist.knobs, **(knobs or {})},
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": f"matrix-{block.value.lower()}",
        "vcenters": [{"name": name} for name in _vcenters(block)],
        "kms": [{"name": server, "transport": transport.value} for server in servers],
        "providers": providers,
        "clusters": [
            {
                "name": cluster_of(event),
                "hosts": {**hosts, "count": count},
                "ha": EVENTS[event].by_ha(staging.fault),
                **_vsan(event),
            }
            for event, count in counts.items()
        ],
    }


def _providers(
    block: Block, *, tpm_required: bool
) -> tuple[tuple[NodeName, ...], list[dict[str, Any]]]:
    """Key servers, and key providers, of the block's lab."""
    if is_native(block):
        return SERVERS_OF_P, [
            {"name": P, "type": "native", "default": True, "tpm_required": tpm_required},
            {"name": Q, "type": "native"},
            {"name": BESIDE, "servers": list(SERVERS_OF_P)},
        ]
    kind = {"type": "trusted"} if is_trusted(block) else {}
    return SERVERS_OF_P + SERVERS_OF_Q, [
        {"name": P, **kind, "servers": list(SERVERS_OF_P), "default": True},
        {"name": Q, **kind, "servers": list(SERVERS_OF_Q)},
    ]


def _vcenters(block: Block) -> tuple[str, ...]:
    """The first is the one whose hosts these are."""
    return ("vcenter", str(TA_VCENTER)) if is_trusted(block) else ("vcenter",)


def _trust_authority(block: Block, events: Iterable[TableEvent]) -> dict[str, Any]:
    """Two hosts of it, each with both services; they know endorsement keys by a list."""
    if not is_trusted(block):
        return {}
    authority = {
        "vcenter": str(TA_VCENTER),
        "cluster": "trust-authority",
        "hosts": 2,
        "clusters": [str(cluster_of(event)) for event in events],
    }
    return {"trust_authority": authority}


def _knobs(block: Block) -> dict[str, Any]:
    return {"token_lifetime_s": clock.TOKEN_S} if is_trusted(block) else {}


def _vsan(event: TableEvent) -> dict[str, Any]:
    """One disk group on each host, and one object, whose first replica is B's."""
    if not EVENTS[event].vsan:
        return {}
    return {"vsan": {"groups": 1, "disks": 2, "provider": P, "objects": 1}}


def topology_of(
    staging: Staging,
    tpm: TpmBackend,
    knobs: Mapping[str, Any] | None = None,
    transport: KmsTransport = KmsTransport.BUS,
) -> Topology:
    """Nodes by name; hosts that are added later are not among them."""
    return plan(load(file_of(staging, tpm, knobs, transport)))


def pack_processes(topology: Topology) -> Topology:
    """The same with fewer processes: hosts of different clusters share one, hosts of one cluster
    never do, so that whatever two hosts have to do with each other is between processes."""
    places: dict[int, list[NodeName]] = {}
    seen: dict[ClusterName, int] = {}
    for spec in topology.nodes:
        if spec.role is Role.ESXI:
            place = seen[spec.cluster] = seen.get(spec.cluster, 0) + 1
            places.setdefault(place, []).append(spec.node)
    hosts = {node for nodes in places.values() for node in nodes}
    others = tuple(group for group in topology.groups if hosts.isdisjoint(group))
    made = (
        tuple(nodes[i : i + HOSTS_IN_ONE])
        for nodes in places.values()
        for i in range(0, len(nodes), HOSTS_IN_ONE)
    )
    return msgspec.structs.replace(topology, groups=(*others, *made))


def casts_of(
    topology: Topology, events: Iterable[TableEvent]
) -> dict[TableEvent, dict[Actor, NodeName]]:
    """Who plays what: the first hosts of an event's cluster, in their order."""
    return {
        event: dict(
            zip(
                _initial_hosts(event),
                (s.node for s in topology.nodes if s.cluster == cluster_of(event)),
                strict=False,
            )
        )
        for event in events
    }


def _initial_hosts(event: TableEvent) -> tuple[Actor, ...]:
    """Its hosts that are there from the beginning."""
    return tuple(actor for actor in EVENTS[event].cast if actor is not Actor.N)
