"""Replication after the answer: modes ``async`` and ``forward``.

A change is answered when this server has it durably. The other servers get it in the background,
each at its own pace, and store the log of every server (``oplog``). At intervals all servers
compare what they have, and then also send what they have of a third server's log: changes that
reached one server reach the others even when their origin is gone.

States are merged as in a pair (``key_merge``). An id that two servers gave to two materials cannot
be repaired: both record and report it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Final

from protocol.errors import NotAvailable, NotConnected, ProductError
from protocol.messages.kms import replication as m
from protocol.messages.kms.replication import Mark
from protocol.terms import KeyId, NodeName
from services.kms.access.authorization import caller_at
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import TrailEnd
from services.kms.commit.unit_of_work import KeyChange, Written
from services.kms.operations.core import KeyServerCore
from services.kms.replication import checksums, oplog, replicas, standing
from services.kms.replication.key_merge import Taken
from services.kms.replication.oplog import Active, LogPlace, LogRow
from services.kms.replication.replicas import LISTED, list_shared_names, record_names
from services.kms.replication.standing import HeardStanding
from services.kms.sealing.vault import Vault
from services.kms.settings.config import KmsConfig
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Bus, Clock, Database, Rng
from services.runtime.service import Peer

KEYS_AT_ONCE: Final = 256  # keys in one message at most; their weight bounds it too
PAUSE: Final = 10  # exchanges before all keys that differ are sent again


class ReplicationGroup:
    """Sends committed changes to the other servers; a ``CommitWitness`` that delays no answer."""

    def __init__(
        self,
        node: KmsNode,
        bus: Bus,
        clock: Clock,
        rng: Rng,
        database: Database,
        vault: Vault,
        core: KeyServerCore,
        config: KmsConfig,
    ) -> None:
        self._node, self._bus, self._clock, self._rng = node, bus, clock, rng
        self._database, self._vault, self._core, self._config = database, vault, core, config
        self._me = node.name
        self._lines = {peer: PeerLine() for peer in config.peers}
        self._appointed = Active(None, 0, 0.0)
        self.learning = Learning(node.name, clock, database)

    @property
    def active(self) -> NodeName | None:
        """The server that takes changes; None: all do."""
        return self._appointed.node

    async def start(self) -> None:
        """Begin to send to the others, for the rest of this life."""
        drawn = self._draw()

        def begin(connection: sqlite3.Connection) -> Active:
            oplog.begin(
                connection,
                self._me,
                self._config.peers,
                self._config.active,
                at=self._clock.now(),
                drawn=drawn,
            )
            return oplog.active(connection)

        self._appointed = await self._database.transact(begin)
        self._core.find_forward_target = self._elsewhere
        self._core.caught_up.set()
        for peer, line in self._lines.items():
            self._node.background(f"group.{peer}", self._run(peer, line))
        self._node.background("group.exchange", self._exchange())

    def _elsewhere(self) -> NodeName | None:
        return None if self.active == self._me else self.active

    # ---- a witness of the commits --------------------------------------------------------------

    def handle_commit(self, written: Written) -> None:
        """See ``CommitWitness``."""
        if written.changed or written.served:
            self._wake_all()

    async def confirm(self, written: Written) -> None:
        """See ``CommitWitness``."""

    def _wake_all(self) -> None:
        for line in self._lines.values():
            line.wake.set()

    # ---- sending to the others -------------------------------------------------------------------

    async def _exchange(self) -> None:
        while True:
            await self._clock.sleep(self._node.knobs.group_exchange_s)
            await self._add_up()
            self._compare()

    async def _add_up(self) -> None:
        """Update the total over all keys, so that it can be sent to the others."""
        try:
            while not await self._database.transact(partial(checksums.add_up, vault=self._vault)):
                pass
        except OSError as error:
            self._node.record("kms.group_failed", level="error", peer="", why=str(error))

    def _compare(self) -> None:
        for line in self._lines.values():
            line.due = True
        self._wake_all()

    async def _run(self, peer: NodeName, line: PeerLine) -> None:
        """Send one peer everything that it lacks, for ever."""
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
            self._node.background(
                "group.contact", self._reach(peer, line, line.contacts, rows, total=due)
            )
            await line.over.wait()
            line.failures = line.failures + 1 if line.failed else 0
            if line.failed:
                line.due = True
                line.back.clear()
                self._node.background("group.retry", self._retry_later(line))
                await line.back.wait()

    async def _reach(
        self, peer: NodeName, line: PeerLine, number: int, rows: Sequence[LogRow], *, total: bool
    ) -> None:
        """Contact the peer once. If the peer begins a new life meanwhile, which will not answer
        requests to its last life, this returns early."""
        failed = False
        try:
            await self._send_rows(peer, rows, total=total)
        except ProductError as error:
            failed = True
            if number == line.contacts and not line.over.is_set():
                await self._mark_unreachable(peer, str(error))
        except OSError as error:
            failed = True
            self._node.record("kms.group_failed", level="error", peer=peer, why=str(error))
        if number == line.contacts and not line.over.is_set():
            line.failed = failed
            line.over.set()

    async def _retry_later(self, line: PeerLine) -> None:
        await self._clock.sleep(self._node.knobs.pair_retry_s)
        line.back.set()

    def _next(self, peer: NodeName, connection: sqlite3.Connection, *, relay: bool) -> list[LogRow]:
        return oplog.next_for(connection, self._me, peer, KEYS_AT_ONCE, relay=relay)

    async def _send_rows(self, peer: NodeName, rows: Sequence[LogRow], *, total: bool) -> None:
        """Send as many rows as one message holds; the answer is the peer's standing."""
        wanted = dict.fromkeys(row.key_id for row in rows)
        found = await replicas.read_replicas(
            self._core, [KeyChange(key_id, 0) for key_id in wanted]
        )
        sent = replicas.as_many_as_fit(found)
        keys, material = replicas.keys_of(sent)
        index = {key.key_id: place for place, key in enumerate(keys)}
        own_standing, after = await self._database.query(
            partial(self._describe_standing, peer, total=total)
        )
        entries = []
        for row in rows:  # in order, so that no row follows a gap
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
            entries=tuple(entries), keys=keys, material=material, after=after, standing=own_standing
        )
        reply = await self._bus.request(peer, message, within_s=self._node.knobs.pair_timeout_s)
        refused = reply.refused

        def record(connection: sqlite3.Connection) -> tuple[HeardStanding, list[KeyId]]:
            at = self._clock.now()
            if own_standing.everything:
                oplog.confirm_everything(connection, peer)
            news = [key for key in refused if oplog.breach(connection, key, peer, at)]
            return self._record_standing(connection, peer, reply.standing, trusted=True), news

        recorded, news = await self._database.transact(record)
        self._apply_standing(peer, reply.standing, recorded, news)

    async def _mark_unreachable(self, peer: NodeName, why: str) -> None:
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

    # ---- standings ------------------------------------------------------------------------------

    def _record_standing(
        self, connection: sqlite3.Connection, peer: NodeName, reported: m.Standing, *, trusted: bool
    ) -> HeardStanding:
        """Record the peer's standing. Sending everything without effect is not repeated for a
        while."""
        last, now = self._lines[peer].differed_at, self._clock.monotonic()
        pause_s = PAUSE * self._node.knobs.group_exchange_s
        return standing.record_standing(
            connection,
            self._vault,
            self._me,
            peer,
            reported,
            self._clock.now(),
            drawn=self._draw(),
            trusted=trusted,
            compare=last is None or now - last > pause_s,
        )

    def _describe_standing(
        self, peer: NodeName, connection: sqlite3.Connection, *, total: bool
    ) -> tuple[m.Standing, tuple[m.Mark, ...]]:
        checked = self._lines[peer].checked
        return standing.describe_standing(
            connection, self._vault, self._me, peer, checked, total=total
        )

    def _draw(self) -> int:
        return self._rng.stream("kms.epoch").randrange(0, oplog.DRAWN)

    def _apply_standing(
        self,
        peer: NodeName,
        reported: m.Standing,
        recorded: HeardStanding,
        breaches: Sequence[KeyId],
    ) -> None:
        self._lines[peer].checked = TrailEnd(reported.seen_sequence, reported.seen_digest)
        if recorded.appointed is not None:
            self._appoint(recorded.appointed)
        if recorded.back:
            self._node.record("kms.group", peer=peer, reached=True, why="")
        if recorded.differs:
            self._lines[peer].differed_at = self._clock.monotonic()
            self._node.record("kms.differs", level="warning", peer=peer)
        if not recorded.intact:
            self._node.record("kms.behind_peer", level="warning", peer=peer)
        if recorded.differs or not recorded.intact:
            self._compare()
        for key_id in breaches:
            self._node.record("kms.breach", level="error", key_id=key_id, peer=peer)

    # ---- receiving -------------------------------------------------------------------------------

    async def take(self, message: m.TellChanges, peer: Peer) -> m.ChangesTaken:
        """Store changes of the peer, or only its standing."""
        reported, line = message.standing, self._lines[peer.node]
        outcome: list[tuple[HeardStanding, bool]] = []
        if peer.boot < line.boot:
            raise NotConnected(f"the message is from an earlier life of {peer.node}")
        line.speaks(peer.boot)
        rows = [
            LogRow(e.node, message.keys[e.index].key_id, LogPlace(e.epoch, e.sequence), e.at)
            for e in message.entries
        ]
        after = {mark.node: LogPlace(mark.epoch, mark.sequence) for mark in message.after}
        news: list[KeyId] = []

        def also(connection: sqlite3.Connection, taken: Sequence[Taken]) -> None:
            now = self._clock.now()
            refused = [one.theirs.key_id for one in taken if one.refused]
            news[:] = [key for key in refused if oplog.breach(connection, key, peer.node, now)]
            oplog.count_event(connection, CONFLICTS, sum(one.conflict for one in taken))
            withdrawn = [(one.theirs.key_id, one.withdrawn(now)) for one in taken]
            stale = sum(
                audit_trail.count_gets_since(connection, key, at)
                for key, at in withdrawn
                if at is not None
            )
            oplog.count_event(connection, STALE_SERVES, stale)
            changed = [one.theirs.key_id for one in taken if one.changed]
            checksums.mark_unsummed(connection, changed)
            trusted = line.looked == peer.boot or standing.looked(connection, peer.node, reported)
            if trusted:
                oplog.take(connection, self._me, rows, after, now)
            recorded = self._record_standing(connection, peer.node, reported, trusted=trusted)
            outcome[:] = [(recorded, trusted)]

        caller = caller_at(self._config, peer.node, local=peer.local)
        keys = replicas.keys_received(message.keys, message.material)
        seen = TrailEnd(reported.seen_sequence, reported.seen_digest)
        done = await replicas.store_replicas(self._core, caller, keys, seen, also)
        [(recorded, trusted)] = outcome
        if trusted:
            line.looked = peer.boot
        self.learning.news()
        self._apply_standing(peer.node, reported, recorded, news)
        record_names(self._node, done.shared)
        own_standing, _ = await self._database.query(
            partial(self._describe_standing, peer.node, total=bool(reported.total))
        )
        return m.ChangesTaken(refused=done.refused, standing=own_standing)

    # ---- for operators --------------------------------------------------------------------------

    async def status(self) -> m.GroupStatus:
        """See ``QueryGroup``."""
        now = self._clock.now()
        return await self._database.query(
            lambda connection: view(connection, self._me, self._config, now)
        )

    async def make_active(self) -> None:
        """Make this server take the changes from now on, durably; only in mode ``forward``."""
        if self.active is None:
            raise NotAvailable(f"{self._me} takes changes as all servers of its group do")

        now = self._clock.now()
        made = await self._database.transact(
            lambda connection: oplog.appoint(connection, self._me, now)
        )
        self._appoint(made)
        self._compare()

    def _appoint(self, one: Active) -> None:
        """That server takes changes from now on, unless a later appointment is known by now: two
        durable appointments may be reported out of order."""
        if oplog.counts(one, self._appointed):
            self._appointed = one
            self._node.record("kms.active", level="warning", active=one.node, term=one.term)


# ---- the state of each peer ---------------------------------------------------------------------


class PeerLine:
    """One peer: what has to be done for it, and when."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()  # set when something has changed here
        self.back = asyncio.Event()  # set to try again
        self.over = asyncio.Event()  # set when the present contact is over
        self.due = True  # whether the two must compare
        self.failed = False
        self.failures = 0  # consecutive failed contacts
        self.contacts = 0
        self.boot = 0
        self.checked: TrailEnd | None = None  # the end of our trail that the peer sent last
        self.differed_at: float | None = None  # when everything was sent because the two differ
        self.looked = 0  # the life of the peer that has looked for its trail's end as stored here

    def speaks(self, boot: int) -> None:
        """The peer is there, in this life: contacts with an earlier life need not be awaited."""
        if boot != self.boot:
            self.boot, self.due, self.failures = boot, True, 0
            self.over.set()
            self.wake.set()
        if self.failures < 2:  # two servers that fail each other must not wake each other for ever
            self.back.set()


# ---- waiting for a change of another server ------------------------------------------------------


class Learning:
    """Waits for changes of other servers to arrive at the server ``me``."""

    def __init__(self, me: NodeName, clock: Clock, database: Database) -> None:
        self._me, self._clock, self._database = me, clock, database
        self._news = asyncio.Event()  # set, and replaced, when something was learnt

    def news(self) -> None:
        """Something of another server's log was stored, durably."""
        self._news.set()
        self._news = asyncio.Event()

    async def until(self) -> Mark:
        """The end of this server's own log; its start when the disk fails."""
        try:
            place = await self._has(self._me)
        except OSError:
            place = oplog.START
        return Mark(node=self._me, epoch=place.epoch, sequence=place.sequence)

    async def learned(self, until: Mark, within_s: float) -> bool:
        """Whether this server gets that much of another's log, durably, within so many lab
        seconds."""
        wanted = LogPlace(until.epoch, until.sequence)
        try:
            async with self._clock.timeout(within_s):
                while True:
                    news = self._news
                    if await self._has(until.node) >= wanted:
                        return True
                    await news.wait()
        except (TimeoutError, OSError):
            return False

    async def _has(self, node: NodeName) -> LogPlace:
        marks = await self._database.query(lambda connection: oplog.marks(connection, self._me))
        return marks.get(node, oplog.START)


# ---- for operators -------------------------------------------------------------------------------

CONFLICTS: Final = "conflicts"
STALE_SERVES: Final = "stale serves"


def view(
    connection: sqlite3.Connection, me: NodeName, config: KmsConfig, now: float
) -> m.GroupStatus:
    """See ``QueryGroup``; ``now`` in Unix seconds of this server's clock."""
    active = oplog.active(connection)
    counted = oplog.tallies(connection)
    names, names_shared = list_shared_names(connection)
    keys_at_risk, at_risk = oplog.at_risk(connection, me, config.peers, LISTED)
    return m.GroupStatus(
        mode=config.replication.value,
        active=active.node,
        term=active.term,
        peers=_peers(connection, me, now),
        origins=tuple(m.GroupOrigin(**row._asdict()) for row in oplog.origins(connection)),
        keys_at_risk=keys_at_risk,
        at_risk=at_risk,
        conflicts=counted.get(CONFLICTS, 0),
        stale_serves=counted.get(STALE_SERVES, 0),
        keys_breached=oplog.count_breaches(connection),
        breaches=tuple(
            m.Breach(key_id=key_id, peer=peer, at=at)
            for key_id, peer, at in oplog.breaches(connection, LISTED)
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
