"""Key servers that replicate: what they have, compared key by key; how they stand after an answer,
and whether they agree at the end.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.history import History
from chaos.lab import LabUnderTest, NodeEntry
from protocol.messages.kms.replication import (
    GroupStatus,
    KeyDigests,
    PairStatus,
    QueryDigests,
    QueryGroup,
    QueryPair,
)
from protocol.terms import KeyId, NodeName, Role

WITHIN_S: Final = 10.0
LISTED: Final = 100
"""Keys that are not the same everywhere and are kept one by one; of more there is the number."""


@dataclass
class ServerContents:
    """One server's content: its number of ``keys``, SHA-256 over all of them, and its digests of
    the keys in ``ComparedServers.differ``."""

    keys: int = 0
    whole: bytes = bytes(32)
    differ: dict[KeyId, bytes] = field(default_factory=dict)

    def add(self, key_id: KeyId, digest: bytes) -> None:
        """Add one key; ids arrive in ascending order."""
        self.keys += 1
        self.whole = hashlib.sha256(self.whole + digest + key_id.encode()).digest()


@dataclass
class ComparedServers:
    """The result of a comparison: the servers that answered to the end, the number of ids on any of
    them, how many differ, and the first that differ."""

    servers: dict[NodeName, ServerContents]
    ids: int = 0
    differing: int = 0
    differ: list[KeyId] = field(default_factory=list)

    def take(self, key_id: KeyId, digests: dict[NodeName, bytes]) -> None:
        """Compare one key, as those servers have it that have it; ids arrive in ascending order."""
        self.ids += 1
        for server, digest in digests.items():
            self.servers[server].add(key_id, digest)
        if len(digests) == len(self.servers) and len(set(digests.values())) == 1:
            return
        self.differing += 1
        if len(self.differ) < LISTED:
            self.differ.append(key_id)
            for server, digest in digests.items():
                self.servers[server].differ[key_id] = digest


async def compare(
    lab: LabUnderTest, servers: Sequence[NodeName], *, to_the_end: bool = True
) -> ComparedServers:
    """Compare the servers; without ``to_the_end`` only up to the first page that differs.

    A server that stops answering is not in ``ComparedServers.servers``; the others are then
    compared from the start.
    """
    while True:
        done = await _compare(lab, servers, to_the_end=to_the_end)
        if isinstance(done, ComparedServers):
            return done
        servers = done


async def _compare(
    lab: LabUnderTest, servers: Sequence[NodeName], *, to_the_end: bool
) -> ComparedServers | Sequence[NodeName]:
    """As ``compare``; those that answered, when one of them has not."""
    found = ComparedServers({server: ServerContents() for server in servers})
    after, more = KeyId(""), bool(servers)
    while more and (to_the_end or not found.differing):
        answers = await lab.ask_each(servers, QueryDigests(after=after), within_s=WITHIN_S)
        pages = {node: told for node, told in answers.items() if isinstance(told, KeyDigests)}
        if len(pages) < len(servers):
            return [server for server in servers if server in pages]
        ends = [page.keys[-1].key_id for page in pages.values() if page.more]
        more, last = bool(ends), min(ends, default=None)
        has: dict[KeyId, dict[NodeName, bytes]] = {}
        for server in servers:
            for key in pages[server].keys:
                if last is None or key.key_id <= last:
                    has.setdefault(key.key_id, {})[server] = key.digest
        for key_id in sorted(has):
            found.take(key_id, has[key_id])
        after = after if last is None else last
    return found


OP: Final = "group"
"""Of the ``state`` record of a key server when it stands otherwise than before: ``waiting`` keys by
peer, peers that are ``down``, the first of the keys ``at_risk``, which only it has, and the number
of all, the first ids with two materials (``breaches``), the number of ``conflicts`` and
``stale_serves``, the longest lag in seconds by origin (``worst_lag_s``), and in mode ``forward``
who is ``active`` by which ``term``."""
AGREE: Final = "replicas"
"""Of the ``state`` record of each key server at the end: the ``group`` of those that it replicates
with, how many ``keys`` it has and how many ``ids`` there are in the group, a number for the
``contents`` of all its keys, and ``differing``, how many ids are not the same on all. The first of
those stand in ``differ`` by id with a number, if this server has them. A number is the same for
what is the same. A server that could not be asked has no record."""
SETTLE_S: Final = 120.0
"""How long servers may take at the end to agree, after all faults are gone; real processes have
``SETTLE_REAL_S`` seconds of the machine at least."""
SETTLE_REAL_S: Final = 10.0
POLL_S: Final = 10.0


class Groups:
    """The replicating servers of one run; call ``look`` at each look at the lab."""

    def __init__(self, lab: LabUnderTest, history: History) -> None:
        self._lab, self._history = lab, history
        self._last: dict[NodeName, dict[str, Any]] = {}
        self._numbers: dict[bytes, int] = {}

    async def look(self) -> dict[NodeName, GroupStatus]:
        """Record the standing of each server that answers, when it has changed."""
        nodes = [entry.node for entry in self._lab.directory().nodes if entry.replication]
        if not nodes:
            return {}
        answers = await self._lab.ask_each(nodes, QueryGroup(), within_s=WITHIN_S)
        found = {node: told for node, told in answers.items() if isinstance(told, GroupStatus)}
        for node, status in found.items():
            told = _status_fields(status)
            if self._last.get(node) != told:
                self._last[node] = told
                self._history.add("state", node, op=OP, **told)
        return found

    async def end(self) -> None:
        """Wait until the servers agree, up to the limit, and record what each has."""
        settle_s = max(SETTLE_S, self._lab.in_lab_s(SETTLE_REAL_S))
        until = self._lab.monotonic() + settle_s
        for group, servers in (await self._groups()).items():
            found = await compare(self._lab, servers, to_the_end=False)
            while found.differing and self._lab.monotonic() < until:
                await self._lab.sleep(POLL_S)
                servers = (await self._groups()).get(group, [])
                found = await compare(self._lab, servers, to_the_end=False)
            if found.differing:
                found = await compare(self._lab, servers)
            self._write(group, found)

    def _write(self, group: tuple[NodeName, ...], found: ComparedServers) -> None:
        for server, has in found.servers.items():
            self._history.add(
                "state",
                server,
                op=AGREE,
                group=list(map(str, group)),
                keys=has.keys,
                ids=found.ids,
                contents=self._number(has.whole),
                differing=found.differing,
                differ={str(key): self._number(digest) for key, digest in has.differ.items()},
            )

    async def _groups(self) -> dict[tuple[NodeName, ...], list[NodeName]]:
        """Those servers that answer by the names of all that shall have the same."""
        found: dict[tuple[NodeName, ...], list[NodeName]] = {}
        for node, status in (await self.look()).items():
            if status.peers:
                peers = [peer.node for peer in status.peers]
                found.setdefault(_together(node, *peers), []).append(node)
        paired = _list_paired(self._lab.directory().nodes)
        if not paired:
            return found
        answers = await self._lab.ask_each(paired, QueryPair(), within_s=WITHIN_S)
        for node, told in answers.items():
            if isinstance(told, PairStatus) and told.peer is not None:
                found.setdefault(_together(node, told.peer), []).append(node)
        return found

    def _number(self, digest: bytes) -> int:
        """A digest is of random bytes: the history has the number under which it was first seen."""
        return self._numbers.setdefault(digest, len(self._numbers) + 1)


def _together(*servers: NodeName) -> tuple[NodeName, ...]:
    return tuple(sorted(servers))


def _list_paired(nodes: Iterable[NodeEntry]) -> list[NodeName]:
    """Key servers that have a provider with another one and do not replicate after the answer."""
    servers = [entry for entry in nodes if entry.role is Role.KMS and not entry.replication]
    serving = Counter(provider for entry in servers for provider in entry.providers)
    return [entry.node for entry in servers if any(serving[it] > 1 for it in entry.providers)]


def _status_fields(status: GroupStatus) -> dict[str, Any]:
    active = {} if status.active is None else {"active": str(status.active), "term": status.term}
    return {
        "waiting": {str(peer.node): peer.waiting for peer in status.peers if peer.waiting},
        "down": [str(peer.node) for peer in status.peers if peer.down_since is not None],
        "at_risk": list(map(str, status.at_risk[:LISTED])),
        "keys_at_risk": status.keys_at_risk,
        "breaches": [[str(one.key_id), str(one.peer)] for one in status.breaches[:LISTED]],
        "conflicts": status.conflicts,
        "stale_serves": status.stale_serves,
        "worst_lag_s": {str(one.node): round(one.worst_lag_s, 3) for one in status.origins},
        **active,
    }
