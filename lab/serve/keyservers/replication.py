"""How a key server stands with those that it replicates with, as people are told."""

from __future__ import annotations

from lab.serve.session import LabSession
from lab.serve.views import group_text, pair_text
from protocol.messages.kms import QueryGroup, QueryPair
from protocol.terms import NodeName


async def peers_text(session: LabSession, server: NodeName) -> str:
    """Empty for a server that replicates with nobody. It runs."""
    entries = session.lab.directory().nodes
    if any(entry.node == server and entry.replication for entry in entries):
        return group_text(await session.lab.ask(server, QueryGroup()))
    return pair_text(await session.lab.ask(server, QueryPair()))
