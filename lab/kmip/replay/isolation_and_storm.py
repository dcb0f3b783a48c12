"""The phase *isolation*: a client does not see the keys of another one.

The phase *storm*: after a power failure all hosts need their keys at once. At the end the keys of
the replay are destroyed by their owner; vCenter destroys none.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Final

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import PlayPhase
from lab.kmip.replay.flow import Flow
from lab.kmip.replay.journal import FailedStep, Latency, MadeKey, ReplayJournal, failures
from lab.kmip.replay.servers import ReplayedServer, ReplayRole
from protocol.errors import ProductError
from protocol.kmip import dialect
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.enums import ResultReason, RevocationReasonCode
from protocol.kmip.objects import Attribute, RevocationReason
from protocol.kmip.payloads import (
    DestroyRequest,
    DestroyResponse,
    LocateRequest,
    LocateResponse,
    RevokeRequest,
    RevokeResponse,
)
from services.keyservers.kmip_sessions import Dialogue
from services.runtime.each import for_each

_NAME: Final = dialect.USE[-1]
_LOCATED: Final = 1000


class Isolation:
    """The other client has a certificate that the servers trust."""

    def __init__(self, journal: ReplayJournal, flow: Flow) -> None:
        self._journal, self._flow = journal, flow

    async def play(self, servers: Sequence[ReplayedServer]) -> None:
        """At each server, with one key of vCenter and one of the other client."""
        with self._journal.phase(PlayPhase.ISOLATION):
            for server in servers:
                await self._at(server)

    async def _at(self, server: ReplayedServer) -> None:
        journal, other = self._journal, server.talk(ReplayRole.OTHER)
        with failures() as failed:
            try:
                await other.health()
            except (ProductError, OperationFailed):
                why = f"the server refuses the other client: {failed[0].error}"
                journal.check(kinds.SEPARATE, server.name, skipped=why)
                return
        known = journal.keys_with_value()
        if not known:
            why = "no key was made that another client might see"
            journal.check(kinds.SEPARATE, server.name, skipped=why)
            return
        journal.check(kinds.SEPARATE, server.name)
        await self._look(server, other, next((key for key in known if key.tags), known[0]))
        await self._look_back(server, other)

    async def _look(self, server: ReplayedServer, other: Dialogue, key: MadeKey) -> None:
        """What the other client learns of a key of vCenter."""
        journal = self._journal
        with failures():
            try:
                await other.use(key.uid, activate=False)
                seen = f"the other client got key {key.uid}"
                journal.find(kinds.FOREIGN_KEY_SERVED, server.name, "Get", seen)
                return  # who has the key may as well know the rest
            except (ProductError, OperationFailed):
                pass
            try:
                state = await other.state(key.uid)
                named = "no State" if state is None else f"State {state.title}"
                seen = f"the other client was told of key {key.uid}: {named}"
                step = "Get Attributes (State)"
                journal.find(kinds.FOREIGN_KEY_DESCRIBED, server.name, step, seen)
            except (ProductError, OperationFailed):
                pass
            if await self._located(other, key):
                seen = f"the other client found key {key.uid} by its {_NAME}"
                journal.find(kinds.FOREIGN_KEY_LOCATED, server.name, "Locate", seen)

    async def _located(self, other: Dialogue, key: MadeKey) -> bool:
        """Whether Locate finds the key, which has to be tagged for that."""
        name = key.tags.get(_NAME)
        if name is None:
            return False
        attribute = Attribute(attribute_name=_NAME, attribute_value=name)
        asked = LocateRequest(maximum_items=_LOCATED, attribute=(attribute,))
        try:
            found = await other.run_operation("Locate", asked, LocateResponse)
        except (ProductError, OperationFailed):
            return False
        return key.uid in found.unique_identifier

    async def _look_back(self, server: ReplayedServer, other: Dialogue) -> None:
        """Whether vCenter gets a key of the other client, if that may make one."""
        journal = self._journal
        with failures():
            try:
                uid = await other.create()
            except (ProductError, OperationFailed):
                return
            key = journal.record_key(uid, server.name, "other client", by=ReplayRole.OTHER)
            try:
                await server.vcenter.use(key.uid, activate=False)
            except (ProductError, OperationFailed):
                return
            seen = f"vCenter got key {uid}, which the other client had made"
            journal.find(kinds.FOREIGN_KEY_SERVED, server.name, "Get", seen)


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


_WHY: Final = RevocationReason(
    revocation_reason_code=RevocationReasonCode.CESSATION_OF_OPERATION,
    revocation_message="made by keystead kmip replay",
)


async def cleanup(journal: ReplayJournal, servers: Sequence[ReplayedServer]) -> None:
    """Revoke and destroy each key at the server that made it, or at another one where that does
    not answer. What could not be destroyed stays in the journal, with the reason."""
    with journal.phase(PlayPhase.CLEANUP) as played:
        for key in journal.keys:
            key.left = await _try_destroy(key, servers)
        left = sum(bool(key.left) for key in journal.keys)
        played.measures.update(destroyed=len(journal.keys) - left, left=left)


async def _try_destroy(key: MadeKey, servers: Sequence[ReplayedServer]) -> str:
    """Why the key is still there; empty when it is not."""
    first = [server for server in servers if server.name == key.server]
    why = "no server answers"
    for server in (*first, *(server for server in servers if server not in first)):
        try:
            await _destroy(key, server)
        except OperationFailed as refused:
            gone = refused.reason == ResultReason.ITEM_NOT_FOUND
            return "" if gone else f"Destroy: {refused}"
        except ProductError as error:
            why = f"{server.name}: {error}"
        else:
            return ""
    return why


async def _destroy(key: MadeKey, server: ReplayedServer) -> None:
    """An Active key has to be revoked before; one that is Pre-Active need not be, and a server may
    refuse to."""
    talk = server.talk(key.by)
    with failures():
        revoke = RevokeRequest(unique_identifier=key.uid, revocation_reason=_WHY)
        try:
            await talk.run_operation("Revoke", revoke, RevokeResponse)
        except OperationFailed:
            pass
        destroy = DestroyRequest(unique_identifier=key.uid)
        await talk.run_operation("Destroy", destroy, DestroyResponse)
