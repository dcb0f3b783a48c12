"""Synchronous replication between two servers: mode ``sync-pair``.

A change is answered when both servers have it durably, or when the peer is durably marked as down.
Changes that the peer does not have wait for it (``pair_state``) and are sent when it answers again;
both servers then agree, whatever each did meanwhile (``key_merge``).

A server that starts asks its peer first, for at most as long as a call may last, and only then
answers: a key that was made while it was off is not missing on it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from protocol.errors import ProductError
from protocol.messages.kms import replication as m
from protocol.terms import KeyId, NodeName
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import TrailEnd
from services.kms.commit.unit_of_work import KeyChange, Written
from services.kms.operations.core import KeyServerCore
from services.kms.replication import pair_state, replicas
from services.kms.replication.key_merge import Replicated, Taken
from services.kms.replication.pair_state import PeerView
from services.kms.replication.replicas import record_names
from services.kms.sealing.vault import Vault
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Bus, Clock, Database
from services.runtime.service import Peer

KEYS_AT_ONCE: Final = 256  # keys in one message at most; their weight bounds it too


class ReplicationPair:
    """Sends changes to the peer; a ``CommitWitness`` of the commits.

    ``start`` begins, once the core may be asked. The peer is marked as down when it has not
    answered for half of the time that a call may last: clients of this server can wait that long.
    """

    def __init__(
        self,
        node: KmsNode,
        bus: Bus,
        clock: Clock,
        database: Database,
        vault: Vault,
        core: KeyServerCore,
        peer: NodeName,
    ) -> None:
        self._node, self._bus, self._clock = node, bus, clock
        self._database, self._vault, self._core, self._peer = database, vault, core, peer
        self._within_s = node.knobs.pair_timeout_s
        self._patience_s = clock.limit(self._within_s) / 2
        self._wake = asyncio.Event()
        self._promises = Promises()
        self._met = self._lost = self._down = self._watching = False
        self._reports = 0  # how often the peer has sent its standing unasked
        self._contact_began_at: float | None = None
        self._contacts = 0
        self._failed = False
        self._over = asyncio.Event()

    async def start(self) -> None:
        """Begin to send to the peer, for the rest of this life."""

        def begin(connection: sqlite3.Connection) -> bool:
            pair_state.begin(connection, self._peer)
            return pair_state.is_down(connection)

        self._down = await self._database.transact(begin)
        self._node.background("pair", self._run())
        self._node.background("pair.begin", self._serve_at_last())

    async def view(self) -> PeerView:
        """The state of the peer."""
        return await self._database.query(pair_state.view)

    # ---- a witness of the commits --------------------------------------------------------------

    def handle_commit(self, written: Written) -> None:
        """See ``CommitWitness``."""
        self._promises.give(written.changes)
        if written.changes:
            self._wake.set()

    async def confirm(self, written: Written) -> None:
        """See ``CommitWitness``."""
        await self._promises.wait_for(written.changes)

    # ---- sending to the peer ----------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            waiting = await self._database.query(
                lambda connection: pair_state.first(connection, KEYS_AT_ONCE + 1)
            )
            if self._met and waiting:
                await self._contact(partial(self._push, waiting))
            elif self._down or not self._met:
                await self._contact(self._meet)
            elif not self._wake.is_set():  # nothing came since, so the peer has everything
                self._promises.keep_all()
                await self._wake.wait()

    async def _contact(self, contact: Callable[[], Awaitable[None]]) -> None:
        """Contact the peer once; after a failure, wait for a while.

        It returns early when the peer makes contact: it has a new life, which will not answer
        requests to its earlier life.
        """
        self._contact_began_at = self._clock.monotonic()
        self._contacts += 1
        self._over.clear()
        self._failed = False
        if not self._watching:
            self._watching = True
            self._node.background("pair.patience", self._watch())
        self._node.background("pair.contact", self._reach(self._contacts, contact))
        await self._over.wait()
        self._contact_began_at = None
        if self._failed:
            self._wake.clear()
            self._node.background("pair.retry", self._ring_later(self._node.knobs.pair_retry_s))
            await self._wake.wait()

    async def _reach(self, number: int, contact: Callable[[], Awaitable[None]]) -> None:
        error: ProductError | OSError | None = None
        try:
            await contact()
        except (ProductError, OSError) as failure:
            error = failure
        if number != self._contacts or self._over.is_set():
            return  # the peer made contact meanwhile
        if isinstance(error, ProductError):
            await self._mark(str(error))
        elif error is not None:
            self._promises.keep_all(error)
        self._failed = error is not None
        self._over.set()

    async def _watch(self) -> None:
        """Mark the peer as down when a contact takes too long; the contact itself continues."""
        marked: float | None = None  # the contact for which it was marked
        while self._contact_began_at not in (None, marked):
            left = self._contact_began_at + self._patience_s - self._clock.monotonic()
            if left <= 0:
                marked = self._contact_began_at
                await self._mark("it has not answered in time")
            else:
                await self._clock.sleep(left)
        self._watching = False

    async def _ring_later(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._wake.set()

    async def _serve_at_last(self) -> None:
        """A silent peer delays no client for longer than a call may last."""
        await self._clock.sleep(self._clock.limit(self._within_s))
        self._core.caught_up.set()

    async def _mark(self, why: str) -> None:
        """Mark the peer as down, durably; then waiting changes may be answered."""
        at = self._clock.now()

        def apply_mark(newly: bool) -> None:
            self._down = True
            if newly:
                self._log_state(in_step=False, why=why)

        try:
            await self._database.transact(
                lambda connection: pair_state.mark_down(connection, at, why), apply_mark
            )
        except OSError as error:
            self._promises.keep_all(error)
            return
        self._wake.set()  # begin contact again: nothing waits for the peer any more
        if not self._met:
            self._core.caught_up.set()
        self._promises.keep_all()

    def _handle_cleared_mark(self, was_down: bool) -> None:
        """Called in the order of the commits, so that records of marks are in order."""
        if was_down:
            self._down = False
            self._log_state(in_step=True, why="")

    def _log_state(self, *, in_step: bool, why: str) -> None:
        level = "info" if in_step else "warning"
        self._node.record("kms.pair", level=level, peer=self._peer, in_step=in_step, why=why)

    async def _push(self, waiting: tuple[KeyChange, ...]) -> None:
        """Send the peer the oldest changes, as many as one message holds.

        A peer that was restored to an older state reports that, whichever of the two makes contact
        first.
        """
        found = await replicas.read_replicas(self._core, waiting[:KEYS_AT_ONCE])
        sent = replicas.as_many_as_fit(found)
        seen, end = await self._database.query(
            lambda connection: (
                pair_state.view(connection).seen,
                audit_trail.head(connection, self._vault),
            )
        )
        message = replicas.message(sent, seen, end, last=len(sent) == len(waiting))
        reply = await self._bus.request(self._peer, message, within_s=self._within_s)
        if reply.everything:
            await self._database.transact(pair_state.queue_everything)
            return
        confirmed, end = waiting[: len(sent)], TrailEnd(reply.sequence, reply.digest)
        await self._database.transact(
            lambda connection: pair_state.confirm(connection, confirmed, end),
            self._handle_cleared_mark,
        )
        for key_id in reply.refused:
            self._node.record("kms.replica_refused", level="error", key_id=key_id, peer=self._peer)
        self._promises.keep(confirmed)

    # ---- standings ---------------------------------------------------------------------------

    async def _meet(self) -> None:
        """Tell the peer that this server is there, and learn what waits for it.

        An answer that arrives after the peer's own request may be from the peer's earlier life. The
        request then counts.
        """
        reports = self._reports
        view = await self.view()
        reply = await self._bus.request(
            self._peer,
            m.JoinPair(
                sequence=view.seen.sequence,
                digest=view.seen.digest,
                waiting=view.waiting,
                everything=self._lost,
            ),
            within_s=self._within_s,
        )

        def record_peer(connection: sqlite3.Connection) -> tuple[bool, bool]:
            if reply.everything:
                pair_state.queue_everything(connection)
            seen = TrailEnd(reply.sequence, reply.digest)
            return pair_state.clear(connection), audit_trail.has(connection, seen)

        _, intact = await self._database.transact(
            record_peer, lambda told: self._handle_cleared_mark(told[0])
        )
        if not intact:
            # The trail does not contain what the peer saw of it: an older state was restored.
            self._node.record("kms.behind_peer", level="warning", peer=self._peer)
        if reports != self._reports:
            return
        self._lost, self._met = not intact, intact
        if intact and not reply.waiting:
            self._core.caught_up.set()

    async def accept_join(self, message: m.JoinPair) -> m.PairJoined:
        """The peer makes contact: the other side of ``_meet``."""

        def record_peer(connection: sqlite3.Connection) -> tuple[bool, bool, PeerView]:
            if message.everything:
                pair_state.queue_everything(connection)
            was_down = pair_state.clear(connection)
            seen = TrailEnd(message.sequence, message.digest)
            return was_down, audit_trail.has(connection, seen), pair_state.view(connection)

        _, intact, view = await self._database.transact(
            record_peer, lambda told: self._handle_cleared_mark(told[0])
        )
        self._reports += 1
        self._met, self._lost = intact, False  # the answer may be lost: then this server asks
        self._wake.set()
        self._over.set()
        if intact and not message.waiting:
            self._core.caught_up.set()
        return m.PairJoined(
            sequence=view.seen.sequence,
            digest=view.seen.digest,
            waiting=view.waiting,
            everything=not intact,
        )

    async def take(
        self, message: m.ReplicateKeys, peer: Peer, caller: KeyServerCaller
    ) -> Replicated:
        """Store the peer's keys, and how far its own trail has come."""
        end = TrailEnd(message.end_sequence, message.end_digest)

        def also(connection: sqlite3.Connection, _: Sequence[Taken]) -> None:
            pair_state.saw(connection, end)

        seen = TrailEnd(message.sequence, message.digest)
        done = await replicas.store_replicas(
            self._core, caller, replicas.keys_of_message(message), seen, also
        )
        if not done.intact:
            self._node.record("kms.behind_peer", level="warning", peer=peer.node)
            self._reports += 1
            # Nothing is sent before the peer knows that it must send everything again.
            self._met = False
        elif message.last:
            self._core.caught_up.set()
        for key_id in done.refused:
            self._node.record("kms.replica_refused", level="error", key_id=key_id, peer=peer.node)
        record_names(self._node, done.shared)
        return done


# ---- changes that wait for the peer --------------------------------------------------------------


class _Promise:
    """One change for which a caller waits."""

    def __init__(self) -> None:
        self._done = asyncio.Event()
        self._error: OSError | None = None

    def keep(self, error: OSError | None = None) -> None:
        """The promise is kept, or broken with ``error``."""
        self._error = error
        self._done.set()

    async def wait(self) -> None:
        """Return when the promise is kept; raises the error otherwise."""
        await self._done.wait()
        if self._error is not None:
            raise self._error


class Promises:
    """The open promises, by key and by the number of its change."""

    def __init__(self) -> None:
        self._open: dict[KeyId, dict[int, _Promise]] = {}

    def give(self, changes: Sequence[KeyChange]) -> None:
        """Promise that the peer gets these changes, or is marked as down.

        A change may be sent again while a caller waits for it: it is one promise.
        """
        for key_id, changed in changes:
            self._open.setdefault(key_id, {}).setdefault(changed, _Promise())

    async def wait_for(self, changes: Sequence[KeyChange]) -> None:
        """Return when the promises for all of these are kept; ``OSError`` when one is broken."""
        for key_id, changed in changes:
            promise = self._open.get(key_id, {}).get(changed)
            if promise is not None:
                await promise.wait()

    def keep(self, changes: Sequence[KeyChange]) -> None:
        """The peer has these changes, and so every earlier one of the same keys."""
        for key_id, confirmed in changes:
            promises = self._open.get(key_id, {})
            for changed in [changed for changed in promises if changed <= confirmed]:
                promises.pop(changed).keep()
            if not promises:
                self._open.pop(key_id, None)

    def keep_all(self, error: OSError | None = None) -> None:
        """End all promises: the peer has everything, or is marked, or neither, for ``error``."""
        given, self._open = self._open, {}
        for promises in given.values():
            for promise in promises.values():
                promise.keep(error)
