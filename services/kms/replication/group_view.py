"""What an operator is told of a server that replicates after the answer."""

from __future__ import annotations

import sqlite3
from typing import Final

from protocol.messages import kms as m
from protocol.terms import NodeName
from services.kms.replication import counters, oplog
from services.kms.replication.name_conflicts import LISTED, names_told
from services.kms.settings.config import KmsConfig

CONFLICTS: Final = "conflicts"
STALE_SERVES: Final = "stale serves"


def view(
    connection: sqlite3.Connection, me: NodeName, config: KmsConfig, now: float
) -> m.GroupStatus:
    """See ``QueryGroup``; ``now`` in Unix seconds of this server's clock."""
    active = oplog.active(connection)
    counted = counters.tallies(connection)
    names, names_shared = names_told(connection)
    keys_at_risk, at_risk = oplog.at_risk(connection, me, config.peers, LISTED)
    return m.GroupStatus(
        mode=config.replication.value,
        active=active.node,
        term=active.term,
        peers=_peers(connection, me, now),
        origins=tuple(m.GroupOrigin(**row._asdict()) for row in counters.origins(connection)),
        keys_at_risk=keys_at_risk,
        at_risk=at_risk,
        conflicts=counted.get(CONFLICTS, 0),
        stale_serves=counted.get(STALE_SERVES, 0),
        keys_breached=counters.count_breaches(connection),
        breaches=tuple(
            m.Breach(key_id=key_id, peer=peer, at=at)
            for key_id, peer, at in counters.breaches(connection, LISTED)
        ),
        names_shared=names_shared,
        shared_names=names,
    )


def _peers(connection: sqlite3.Connection, me: NodeName, now: float) -> tuple[m.GroupPeer, ...]:
    found = []
    for known in oplog.peers(connection):
        waiting, first = oplog.waiting(connection, me, known.node)
        found.append(
            m.GroupPeer(
                node=known.node,
                waiting=waiting,
                oldest_s=now - first if waiting else 0.0,
                down_since=known.down_since,
                why=known.why,
            )
        )
    return tuple(found)
