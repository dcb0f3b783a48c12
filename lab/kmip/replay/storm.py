"""The phase *storm*: after a power failure all hosts need their keys at once."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Final

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import PlayPhase
from lab.kmip.replay.journal import FailedStep, Latency, ReplayJournal, failures
from lab.kmip.replay.servers import ReplayedServer
from protocol.errors import ProductError
from protocol.kmip.dialect import OperationFailed
from services.runtime.each import for_each

MOST_HOSTS: Final = 4000
MOST_KEYS: Final = 10
"""A host fetches so many keys at most, however many were made."""
_FILES: Final = 256
"""Open files of this process beside the connections of hosts."""


async def storm(
    journal: ReplayJournal, servers: Sequence[ReplayedServer], hosts: int, *, apart: bool
) -> None:
    """So many hosts at once fetch keys that can be had, one after the other: a session each, as
    vCenter has it for a host, at the servers in turn. ``apart``: servers do not have the keys of
    each other, so that each key is fetched where it was made."""
    keys = [key for key in journal.keys_with_value() if not key.lost][:MOST_KEYS]
    made_at = {server.name: server for server in servers}
    fetches = Latency()
    failed: dict[str, list[FailedStep]] = {}

    async def host(number: int) -> None:
        for key in keys:
            at = servers[number % len(servers)]
            server = made_at.get(key.server, at) if apart else at
            begun = journal.now()
            with failures() as steps:
                try:
                    await server.vcenter.use(key.uid, activate=False)
                except (ProductError, OperationFailed):
                    failed.setdefault(server.name, []).extend(steps[:1])
            fetches.seconds.append(journal.now() - begun)

    with journal.phase(PlayPhase.STORM) as played:
        for server in servers:
            journal.check(kinds.STORM, server.name)
        begun = journal.now()
        await for_each(range(hosts), host, name="storm")
        took = journal.now() - begun
        for name, steps in failed.items():
            journal.fail(kinds.STORM_FAILED, name, steps)
        played.measures.update(
            hosts=hosts,
            fetches=len(fetches.seconds),
            failed=sum(map(len, failed.values())),
            total_s=took,
            fetch_p50_s=fetches.percentile_s(50),
            fetch_p99_s=fetches.percentile_s(99),
        )


def room_for(hosts: int) -> bool:
    """Have this process open a connection for each host at once; whether it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hosts + _FILES
    if soft != resource.RLIM_INFINITY and wanted > soft:
        if hard != resource.RLIM_INFINITY and wanted > hard:
            return False
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True
