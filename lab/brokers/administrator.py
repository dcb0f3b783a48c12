"""What the administrator of somebody's servers has to load for a lab: accounts, nkeys, permissions.

Public keys only. It is the list of users that the lab's own data broker has (``configuration``).
"""

from __future__ import annotations

from lab.brokers.configuration import account, node_user, tap_user
from lab.brokers.foreign_servers import ensure_keys
from lab.brokers.identities import TAP
from lab.topology.plan import Topology
from protocol.envelope import SIZE_LIMIT


def broker_config(topology: Topology) -> str:
    """The text of the file; the lab's nkeys are made when it has none yet."""
    kept = ensure_keys(topology.name, [spec.node for spec in topology.nodes])
    name = topology.bus.account or f"KEYSTEAD-{topology.name}"
    users = (tap_user(kept.control(TAP).public), *(node_user(*n) for n in kept.node_nkeys()))
    file = f"keystead-{topology.name}.conf"
    head = (
        f"nats-server configuration for the lab {topology.name} of keystead: one account, "
        f"{len(users)} users.",
        "It has public keys only. Every server of the bus (2.10 or newer) needs it:",
        "",
        f"  1. save it as {file} beside the server's configuration",
        f'  2. there, within accounts {{ }}, beside what is there:   include "{file}"',
        "  3. nats-server --signal reload",
        "",
        f"max_payload is at least {SIZE_LIMIT} (a server's default is more). Servers of a cluster",
        "have routes to each other. Nobody else belongs into this account, and no other lab.",
        "No stream and no file is needed. When the lab is given up, take the include away, reload.",
    )
    return "".join(f"# {line}".rstrip() + "\n" for line in head) + account(name, users)
