"""Bugs of key servers that replicate."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from services.kms.endpoints.bus import BusEndpoint
from services.kms.objects import key_row
from services.kms.replication import checksums, key_merge, oplog, pair_state, standing
from services.kms.replication.group import Learning, ReplicationGroup
from services.kms.replication.pair import ReplicationPair
from tests.mutations.bugs.planting import plant, replaces


def appointment_unheard() -> None:
    """Replication broken: a server writes down who takes the changes when a peer tells it, and goes
    on as before until it begins anew."""

    @replaces(ReplicationGroup, "_apply_standing")
    def say(original: Any, self: Any, *given: Any) -> None:
        before = self._appointed
        original(self, *given)
        self._appointed = before


def epochs_of_the_disk() -> None:
    """Replication broken: the number of an epoch is not drawn, so two lives that begin from copies
    of one disk number their changes alike; and nobody sees that two servers differ."""

    def _always_the_same(original: Any) -> Any:
        return lambda self: 7

    def _blind(original: Any) -> Any:
        return lambda connection, vault: b""

    plant(ReplicationGroup, "_draw", _always_the_same)
    plant(checksums, "total", _blind)


def handed_on_unread() -> None:
    """Replication broken: who has a change handed on is answered before this server knows of it."""

    @replaces(Learning, "learned")
    async def learned(original: Any, learning: Any, *of: Any) -> bool:
        return True


def last_state_wins() -> None:
    """Merging broken: of two states of a key the one that comes last is taken, upwards or not."""

    plant(key_row, "join_states", lambda original: lambda mine, theirs: theirs)


def lost_keys_unasked() -> None:
    """Replication broken: a server that finds itself put back tells what it has, and does not ask
    for what it has lost; and nobody sees that two servers differ."""

    @replaces(oplog, "begin_epoch")
    def begin_epoch(original: Any, connection: Any, *rest: Any) -> None:
        original(connection, *rest)
        connection.execute("UPDATE peers SET everything = 0")

    def _blind(original: Any) -> Any:
        return lambda connection, vault: b""

    plant(checksums, "total", _blind)


def mark_in_memory() -> None:
    """Replication broken: that the peer is down is known in memory only, and nothing waits for
    it."""

    plant(pair_state, "put", lambda original: lambda connection, changes: True)


def other_material_taken() -> None:
    """Merging broken: a key whose material differs from the one that is here passes as the same."""

    plant(key_merge, "_same_key", lambda original: lambda work, mine, replica: True)


def own_end_untold() -> None:
    """Replication broken: who is told of keys of a pair does not remember how far the teller's
    trail had come, so a teller that is put back is not noticed."""

    def _forgets(original: Any) -> Any:
        return lambda connection, end: None

    plant(pair_state, "saw", _forgets)


def pair_answers_early() -> None:
    """Replication broken: a key server answers before the other of its pair has the key."""

    @replaces(ReplicationPair, "confirm")
    async def settled(original: Any, self: Any, written: Any) -> None:
        return None


def reads_first_answer() -> None:
    """A key's state is the one that it has now, broken (STD-18): a key server answers Get from
    memory as it did the first time. A stale read."""

    def _from_memory(get_keys: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(get_keys)
        async def get(self: BusEndpoint, message: Any, peer: Any) -> Any:
            answers = self.__dict__.setdefault("first_answers", {})
            if message.key_ids not in answers:
                answers[message.key_ids] = await get_keys(self, message, peer)
            return answers[message.key_ids]

        return get

    plant(BusEndpoint, "get_keys", _from_memory)


def totals_uncompared() -> None:
    """Replication broken: two servers that have heard of the same changes are not compared."""

    def _never(original: Any) -> Any:
        return lambda *given: False

    plant(standing, "_differs", _never)


def untold_in_memory() -> None:
    """Replication broken: what the other servers were not told is known in memory only, so a server
    that begins anew tells nothing of it."""

    @replaces(oplog, "begin")
    def begin(original: Any, connection: Any, me: Any, *rest: Any, **more: Any) -> None:
        original(connection, me, *rest, **more)
        connection.execute("DELETE FROM oplog WHERE node = ?", (me,))
