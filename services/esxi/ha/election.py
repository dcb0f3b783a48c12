"""The election of a primary among hosts that hear each other. Pure.

| votes                                              | the asking host                     |
|---|---|
| one host is primary                                | follows it; of several the highest  |
| one host follows a primary that ranks higher       | waits until it hears that primary   |
| no primary; a host that answered ranks higher      | waits for that host                 |
| no primary; no host that answered ranks higher     | becomes primary                     |

A host that reaches the datastore ranks before one that does not. Then the higher name decides, as
text: ``esxi-9`` is higher than ``esxi-10``. When two primaries meet, the lower one steps down.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocol.messages.host import HaVote
from protocol.terms import NodeName


class Rank(msgspec.Struct, frozen=True, order=True):
    """The higher one becomes primary."""

    datastore: bool
    host: NodeName


def elect_primary(me: Rank, votes: Mapping[NodeName, HaVote]) -> NodeName | None:
    """The host that this host must follow, possibly itself; None: it waits for one that ranks
    higher."""
    ranks = {host: Rank(vote.datastore, host) for host, vote in votes.items()}
    primaries = [ranks[host] for host, vote in votes.items() if vote.primary == host]
    if primaries:
        return max(primaries).host
    followed = any(vote.primary is not None and vote.primary > me.host for vote in votes.values())
    return me.host if not followed and all(rank < me for rank in ranks.values()) else None
