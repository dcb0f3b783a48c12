"""The key servers' audit trails, followed, and their calls found by key and by client."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.look import WITHIN_S, nodes_of
from protocol.messages.kms.keys import AuditRow, AuditRows, QueryAudit
from protocol.terms import NodeName, Role

_BY_KMIP: Final = "kmip/"
_ANOTHER: Final = re.compile(r" [0-9a-f]{16}\Z")


def came_by_kmip(row: AuditRow) -> bool:
    """Whether the request of an audit row came over KMIP, and not over the bus."""
    return row.who.startswith(_BY_KMIP)


def asker(row: AuditRow) -> str:
    """The client of an audit row: the node that the bus authenticated, or the name in the
    certificate of the KMIP endpoint. After a change of certificate a part of its digest follows the
    name; it is the same node."""
    if not came_by_kmip(row):
        return row.who
    return _ANOTHER.sub("", row.who.removeprefix(_BY_KMIP))


class AuditTail:
    """New rows of the key servers' audit trails since the last call, each row once.

    ``of`` has the server of each row in ``rows``. ``blind``: a server did not answer at some time,
    so rows may be missing at a mark. ``unread``: servers whose rows may be missing even at the end:
    one that did not answer and was not read to its end since, or whose trail began anew (an older
    database is in use).
    """

    def __init__(self, lab: LabUnderTest, *, within_s: float = WITHIN_S) -> None:
        self._lab, self._within_s = lab, within_s
        self._lock = asyncio.Lock()
        self._last: dict[NodeName, AuditRow] = {}
        self._known: dict[NodeName, set[str]] = {}  # digests of its rows
        self.rows: list[AuditRow] = []
        self.of: list[NodeName] = []
        self.blind = False
        self.unread: dict[NodeName, None] = {}

    async def position(self) -> int:
        """Read new rows; return the number of rows read so far, as a mark in ``rows``."""
        async with self._lock:
            for server in nodes_of(self._lab, Role.KMS):
                await self._read_on(server)
            return len(self.rows)

    async def _read_on(self, server: NodeName) -> None:
        """From the last row that was seen of it, which must be there still: else from the first."""
        last = self._last.get(server)
        after = 0 if last is None else last.sequence - 1
        try:
            page = (await self._page(server, after)).rows
            whole = last is None or (bool(page) and page[0].digest == last.digest)
            if not whole:
                page = (await self._page(server, 0)).rows
            while page and (last is None or page[-1].digest != last.digest):
                self._take(server, page)
                page = (await self._page(server, page[-1].sequence)).rows
        except REFUSALS:
            self.blind = True
            self.unread[server] = None
            return
        if whole:
            self.unread.pop(server, None)

    async def _page(self, server: NodeName, after: int) -> AuditRows:
        return await self._lab.ask(server, QueryAudit(after=after), within_s=self._within_s)

    def _take(self, server: NodeName, page: tuple[AuditRow, ...]) -> None:
        known = self._known.setdefault(server, set())
        new = [row for row in page if row.digest not in known]
        known.update(row.digest for row in new)
        self.rows += new
        self.of += [server] * len(new)
        self._last[server] = page[-1]


GET: Final = "Get"


class Calls:
    """Indexes of rows, in ascending order: those that returned a key, and those of each client."""

    def __init__(self) -> None:
        self._given: dict[str, list[int]] = {}
        self._asked: dict[str, list[int]] = {}
        self._read = 0

    def count(
        self, rows: Sequence[AuditRow], who: str, keys: Iterable[str], begin: int, end: int
    ) -> int:
        """How many of ``rows[begin:end]`` returned one of ``keys`` or were requested by ``who``."""
        for place, row in enumerate(islice(rows, self._read, None), self._read):
            self._asked.setdefault(asker(row), []).append(place)
            if row.operation == GET:
                self._given.setdefault(row.key_id, []).append(place)
        self._read = len(rows)
        found = {place for key in keys for place in _between(self._given.get(key), begin, end)}
        return len(found.union(_between(self._asked.get(who), begin, end)))


def _between(places: Sequence[int] | None, begin: int, end: int) -> Sequence[int]:
    if places is None:
        return ()
    return places[bisect_left(places, begin) : bisect_left(places, end)]
