"""Compares the content of replicating key servers, key by key, for any number of keys.

Each server is read page by page, from the same id on. Only keys that differ are kept in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos.lab import LabUnderTest
from protocol.messages.kms import KeyDigests, QueryDigests
from protocol.terms import KeyId, NodeName

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
