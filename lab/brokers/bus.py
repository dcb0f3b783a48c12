"""Which servers carry the messages of a lab: its own, or such as somebody else runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.brokers.bus_servers import BusServers
from lab.brokers.data_bus import DataBus
from lab.brokers.foreign_servers import ForeignServers, ensure_keys
from lab.brokers.identities import Identities
from lab.topology.plan import Topology
from protocol.terms import Role


def bus_of(
    folder: Path, topology: Topology, notice: Callable[[str], None]
) -> tuple[Identities, DataBus]:
    """The identities of the lab in ``folder``, made where they are missing, and its data bus;
    ``notice`` hears of what it goes on with."""
    nodes = [spec.node for spec in topology.nodes]
    if not topology.bus.urls:
        identities = Identities.create(folder, nodes)
        others = {spec.node for spec in topology.nodes if spec.role is not Role.ESXI}
        servers = topology.bus.servers
        return identities, BusServers(folder, identities, servers, others=others, notice=notice)
    kept = ensure_keys(topology.name, nodes)
    identities = Identities.create(folder)
    identities.adopt(kept, nodes)
    return identities, ForeignServers(topology, identities, kept, notice)
