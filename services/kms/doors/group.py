"""The door between servers that replicate after the answer: modes ``async`` and ``forward``.

A change is answered when this server has it durably. It is told to the others in the background,
each at its own pace; what a server has of everybody's log is durable at all others (``oplog``).
Now and then all of them compare where they stand, and then tell too what they have of a third
one's log: so what one server was told before it went away reaches the others without it.

States are merged as in a pair (``merging``). An id that two servers gave to two materials cannot be
mended: it is written down on both, and told.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Final

from protocol.errors import NotAvailable, ProductError
from protocol.messages import kms as m
from protocol.terms import KeyId, NodeName
from services.kms import audit, oplog
from services.kms.access import caller_at
from services.kms.audit import EMPTY, TrailEnd
from services.kms.config import KmsConfig
from services.kms.core import Core
from services.kms.doors import replicas
from services.kms.doors.group_view import CONFLICTS, STALE_SERVES, view
from services.kms.knobs import KmsNode
from services.kms.master import Vault
from services.kms.merging import Taken
from services.kms.operations import Operation
from services.kms.oplog import Place, Row
from services.kms.replication import Change
from services.kms.work import Written
from services.runtime.ports import Bus, Clock, Database
from services.runtime.service import Peer, Service, serves

KEYS_AT_ONCE: Final = 256  # keys in one message at most; their weight bounds it too


class _Line:
    """One peer: what is to be done about it, and when."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()  # something has changed here
        self.back = asyncio.Event()  # try again
        self.over = asyncio.Event()  # the contact that was begun last
        self.due = True  # compare where the two stand
        self.failed = False
        self.failures = 0  # contacts that failed one after another
        self.contacts = 0
        self.boot = 0
        self.checked = EMPTY  # the end of our trail that the peer told, and we have looked for
        self.looked = 0  # the peer's life that has looked for the end that we have of its trail

    def speaks(self, boot: int) -> None:
        """The peer is there, in this life: what waited for an earlier one need not wait longer."""
        if boot != self.boot:
            self.boot, self.due, self.failures = boot, True, 0
            self.over.set()
            self.wake.set()
        if self.failures < 2:  # two that fail each other would wake each other for ever
            self.back.set()


class Group:
    """What this server tells the others; a ``Witness`` of the commits that keeps nobody waiting."""

    def __init__(
        self,
        node: KmsNode,
        bus: Bus,
        clock: Clock,
        database: Database,
        vault: Vault,
        core: Core,
        config: KmsConfig,
    ) -> None:
        self._node, self._bus, self._clock = node, bus, clock
        self._database, self._vault, self._core, self._config = database, vault, core, config
        self._me = node.name
        self._lines = {peer: _Line() for peer in config.peers}
        self.active: NodeName | None = None

    async def start(self) -> None:
        """Begin to tell the others, now and for the rest of this life."""

        def begin(connection: sqlite3.Connection) -> NodeName | None:
            oplog.begin(connection, self._me, self._config.peers, self._config.active)
            return oplog.active(connection)[0]

        self.active = await self._database.transact(begin)
        self._core.handed_on_to = self._elsewhere
        self._core.caught_up.set()
        for peer, line in self._lines.items():
            self._node.background(f"group.{peer}", self._run(peer, line))
        self._node.background("group.exchange", self._exchange())

    def _elsewhere(self) -> NodeName | None:
        return None if self.active == self._me else self.active

    # ---- a witness of the commits --------------------------------------------------------------

    def noted(self, written: Written) -> None:
        """See ``Witness``."""
        if written.changed or written.served:
            self._wake_all()

    async def settled(self, written: Written) -> None:
        """See ``Witness``."""

    def _wake_all(self) -> None:
        for line in self._lines.values():
            line.wake.set()

    # ---- telling the others ----------------------------------------------------------------------

    async def _exchange(self) -> None:
        while True:
            await self._clock.sleep(self._node.knobs.group_exchange_s)
            self._compare()

    def _compare(self) -> None:
        for line in self._lines.values():
            line.due = True
        self._wake_all()

    async def _run(self, peer: NodeName, line: _Line) -> None:
        """Tell one peer of all that it lacks, for ever."""
        while True:
            line.wake.clear()
            due = line.due
            rows = await self._database.query(partial(self._next, peer, relay=due))
            if not rows and not due:
                await line.wake.wait()
                continue
            line.due, line.failed = due and bool(rows), False
            line.contacts += 1
            line.over.clear()
            self._node.background("group.contact", self._reach(peer, line, line.contacts, rows))
            await line.over.wait()
            line.failures = line.failures + 1 if line.failed else 0
            if line.failed:
                line.due = True
                line.back.clear()
                self._node.background("group.retry", self._retry_later(line))
                await line.back.wait()

    async def _reach(self, peer: NodeName, line: _Line, number: int, rows: Sequence[Row]) -> None:
        """Tell the peer once. It may begin a new life meanwhile, which answers nothing that its
        last one was asked: then this is over before it ends."""
        failed = False
        try:
            await self._tell(peer, rows)
        except ProductError as error:
            failed = True
            if number == line.contacts and not line.over.is_set():
                await self._unreached(peer, str(error))
        except OSError as error:
            failed = True
            self._node.record("kms.group_failed", level="error", peer=peer, why=str(error))
        if number == line.contacts and not line.over.is_set():
            line.failed = failed
            line.over.set()

    async def _retry_later(self, line: _Line) -> None:
        await self._clock.sleep(self._node.knobs.pair_retry_s)
        line.back.set()

    def _next(self, peer: NodeName, connection: sqlite3.Connection, *, relay: bool) -> list[Row]:
        return oplog.next_for(connection, self._me, peer, KEYS_AT_ONCE, relay=relay)

    async def _tell(self, peer: NodeName, rows: Sequence[Row]) -> None:
        """Tell as many as one message holds, and hear where the peer stands."""
        wanted = dict.fromkeys(row.key_id for row in rows)
        found = await self._core.replicas([Change(key_id, 0) for key_id in wanted])
        sent = replicas.as_many_as_fit(found)
        keys, material = replicas.keys_of(sent)
        index = {key.key_id: place for place, key in enumerate(keys)}
        standing, after = await self._database.query(partial(self._standing, peer))
        entries = []
        for row in rows:  # in order, so none stands behind a gap
            if row.key_id not in index:
                break
            entries.append(
                m.LogEntry(
                    node=row.node,
                    epoch=row.place.epoch,
                    sequence=row.place.sequence,
                    at=row.at,
                    index=index[row.key_id],
                )
            )
        message = m.TellChanges(
            entries=tuple(entries), keys=keys, material=material, after=after, standing=standing
        )
        reply = await self._bus.request(peer, message, within_s=self._node.knobs.pair_timeout_s)
        refused = reply.refused

        def hear(connection: sqlite3.Connection) -> tuple[bool, bool, list[KeyId]]:
            at = self._clock.now()
            if standing.everything:
                oplog.told_everything(connection, peer)
            news = [key for key in refused if oplog.breach(connection, key, peer, at)]
            return *self._heard(connection, peer, reply.standing, trusted=True), news

        back, intact, news = await self._database.transact(hear)
        self._say(peer, back=back, intact=intact, breaches=news)

    async def _unreached(self, peer: NodeName, why: str) -> None:
        at = self._clock.now()
        try:
            newly = await self._database.transact(
                lambda connection: oplog.mark_down(connection, peer, at, why)
            )
        except OSError as error:
            self._node.record("kms.group_failed", level="error", peer=peer, why=str(error))
            return
        if newly:
            self._node.record("kms.group", level="warning", peer=peer, reached=False, why=why)

    # ---- where each of them stands -------------------------------------------------------------

    def _standing(
        self, peer: NodeName, connection: sqlite3.Connection
    ) -> tuple[m.Standing, tuple[m.Mark, ...]]:
        """What is said of this server to a peer, and what that one is taken to have."""
        known = next(one for one in oplog.peers(connection) if one.node == peer)
        end = audit.head(connection, self._vault)
        active, term = oplog.active(connection)
        standing = m.Standing(
            marks=_marks(oplog.marks(connection, self._me)),
            seen_sequence=known.seen.sequence,
            seen_digest=known.seen.digest,
            end_sequence=end.sequence,
            end_digest=end.digest,
            checked_sequence=self._lines[peer].checked.sequence,
            checked_digest=self._lines[peer].checked.digest,
            everything=known.everything,
            active=active,
            term=term,
        )
        return standing, _marks(oplog.marks(connection, peer))

    def _heard(
        self, connection: sqlite3.Connection, peer: NodeName, said: m.Standing, *, trusted: bool
    ) -> tuple[bool, bool]:
        """Take note of where the peer stands. Whether it was marked as down, and whether this
        server has all that the peer has seen of it: else it was put back to an older state.

        ``trusted``: the peer knows by now whether that has befallen itself. Until it does, the end
        by which it would find out is kept.
        """
        at = self._clock.now()
        theirs = {mark.node: Place(mark.epoch, mark.sequence) for mark in said.marks}
        seen = self._lines[peer].checked = TrailEnd(said.seen_sequence, said.seen_digest)
        mine = oplog.marks(connection, self._me).get(self._me, oplog.START)
        told = theirs.get(self._me, oplog.START)
        intact = audit.has(connection, seen) and told <= mine
        end = TrailEnd(said.end_sequence, said.end_digest) if trusted else None
        back = oplog.heard(connection, peer, theirs, end)
        if not intact:
            oplog.begin_epoch(connection, self._me, told, at)
        if said.everything:
            oplog.tell_everything(connection, self._me, at)
        if said.active is not None and oplog.appoint(connection, said.active, said.term):
            self.active = said.active
        return back, intact

    def _say(
        self, peer: NodeName, *, back: bool, intact: bool, breaches: Sequence[KeyId] = ()
    ) -> None:
        if back:
            self._node.record("kms.group", peer=peer, reached=True, why="")
        if not intact:
            self._node.record("kms.behind_peer", level="warning", peer=peer)
            self._compare()
        for key_id in breaches:
            self._node.record("kms.breach", level="error", key_id=key_id, peer=peer)

    # ---- being told ------------------------------------------------------------------------------

    async def take(self, message: m.TellChanges, peer: Peer) -> m.ChangesTaken:
        """The peer tells of changes, or only where it stands."""
        said, outcome, line = message.standing, [False, True, False], self._lines[peer.node]
        line.speaks(peer.boot)
        rows = [
            Row(e.node, message.keys[e.index].key_id, Place(e.epoch, e.sequence), e.at)
            for e in message.entries
        ]
        stamps = {row.key_id: row.at for row in rows}
        after = {mark.node: Place(mark.epoch, mark.sequence) for mark in message.after}
        news: list[KeyId] = []

        def also(connection: sqlite3.Connection, taken: Sequence[Taken]) -> None:
            now = self._clock.now()
            refused = [one.theirs.key_id for one in taken if one.refused]
            news[:] = [key for key in refused if oplog.breach(connection, key, peer.node, now)]
            oplog.count(connection, CONFLICTS, sum(one.conflict for one in taken))
            withdrawn = [one.theirs.key_id for one in taken if one.withdrawn]
            stale = sum(audit.given_since(connection, key, stamps[key]) for key in withdrawn)
            oplog.count(connection, STALE_SERVES, stale)
            known = next(one for one in oplog.peers(connection) if one.node == peer.node)
            checked = TrailEnd(said.checked_sequence, said.checked_digest)
            trusted = line.looked == peer.boot or checked == known.seen
            outcome[:] = [*self._heard(connection, peer.node, said, trusted=trusted), trusted]
            if trusted:
                oplog.take(connection, self._me, rows, after, now)

        caller = caller_at(self._config, peer.node, local=peer.local)
        keys = replicas.keys_received(message.keys, message.material)
        seen = TrailEnd(said.seen_sequence, said.seen_digest)
        done = await self._core.replicate(caller, keys, seen, also)
        back, intact, trusted = outcome
        if trusted:
            line.looked = peer.boot
        self._say(peer.node, back=back, intact=intact, breaches=news)
        standing, _ = await self._database.query(partial(self._standing, peer.node))
        return m.ChangesTaken(refused=done.refused, standing=standing)

    # ---- what an operator is told ----------------------------------------------------------------

    async def status(self, *, digests: bool) -> m.GroupStatus:
        """See ``QueryGroup``."""
        now = self._clock.now()
        return await self._database.query(
            lambda connection: view(
                connection, self._vault, self._me, self._config, now, digests=digests
            )
        )

    async def make_active(self) -> None:
        """This server takes the changes from now on, durably; only in mode ``forward``."""
        if self.active is None:
            raise NotAvailable(f"{self._me} takes changes as all servers of its group do")

        def appoint(connection: sqlite3.Connection) -> int:
            now, term = oplog.active(connection)
            if now != self._me:
                term += 1
                oplog.appoint(connection, self._me, term)
            return term

        term = await self._database.transact(appoint)
        self.active = self._me
        self._node.record("kms.active", level="warning", term=term)
        self._compare()


def _marks(places: dict[NodeName, Place]) -> tuple[m.Mark, ...]:
    return tuple(
        m.Mark(node=node, epoch=place.epoch, sequence=place.sequence)
        for node, place in places.items()
    )


class GroupDoor(Service):
    """Handlers of what the peers send. Who inherits from it sets up the fields."""

    config: KmsConfig
    core: Core
    group: Group | None

    @serves(m.TellChanges)
    async def tell_changes(self, message: m.TellChanges, peer: Peer) -> m.ChangesTaken:
        """Keys as a peer has them, and where it stands."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, Operation.REPLICATE)
        if self.group is None:
            raise NotAvailable(f"{self.node.name} replicates with nobody after the answer")
        return await self.group.take(message, peer)

    @serves(m.QueryGroup)
    async def query_group(self, message: m.QueryGroup, peer: Peer) -> m.GroupStatus:
        """How the server stands with the others."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, Operation.QUERY_AUDIT)
        if self.group is None:
            return m.GroupStatus()
        return await self.group.status(digests=message.digests)

    @serves(m.MakeActive)
    async def make_active(self, message: m.MakeActive, peer: Peer) -> m.GroupStatus:
        """The operator fails over to this server."""
        caller = caller_at(self.config, peer.node, local=peer.local)
        await self.core.admit(caller, Operation.QUERY_AUDIT)
        if self.group is None:
            raise NotAvailable(f"{self.node.name} replicates with nobody after the answer")
        await self.group.make_active()
        return await self.group.status(digests=False)
