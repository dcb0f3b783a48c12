"""The directory of a lab, made from its topology."""

from __future__ import annotations

from collections.abc import Iterable

from chaos.lab import Directory, NodeEntry
from lab.topology.plan import Topology
from protocol.messages.agent import NodeSpec, TpmBackend
from protocol.terms import NodeName, Role


def directory_of(topology: Topology, specs: Iterable[NodeSpec] | None = None) -> Directory:
    """Who is there in a lab of this topology (and later ``specs``), for plans and selectors."""
    apart = {node for machine in topology.machines for node in machine.nodes}
    if topology.gates:
        apart = set()
    return Directory(
        nodes=tuple(
            NodeEntry(
                node=s.node,
                role=s.role,
                site=s.site,
                cluster=s.cluster,
                providers=tuple(p.provider for p in topology.providers if s.node in p.servers),
                replication=str(s.config.get("replication", "")),
                by_kmip=s.config.get("transport") == "kmip",
                tpm=s.tpm is not TpmBackend.NONE,
                vsan=any(s.cluster == one.cluster and one.provider for one in topology.vsan),
                drs=next((level for _, name, level in topology.drs if s.cluster == name), ""),
                ha=any(s.cluster == cluster for _, cluster in topology.ha),
                connects=(s.role is not Role.ESXI or "vsan" in s.config) and s.node not in apart,
                vcenter=NodeName(str(s.config["vcenter"])) if s.role is Role.ESXI else None,
            )
            for s in (topology.nodes if specs is None else specs)
        ),
        vms=tuple(v.vm for v in topology.vms),
        default_provider=next(
            (p.provider for p in topology.providers if p.default and p.vcenter == topology.vcenter),
            None,
        ),
        bus_servers=topology.bus.servers,
        knobs=topology.nodes[0].knobs if topology.nodes else {},
    )
