"""Bugs of key servers: operations, access, audit and durability."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState
from services.kms import service
from services.kms.access.authorization import KeyServerCaller
from services.kms.access.rejections import Judging, Rejection
from services.kms.audit.deferred_rows import Refusals
from services.kms.commit import store
from services.kms.commit.group_commit import Commits, DoneMessage, _NewKeys
from services.kms.commit.unit_of_work import Refusal, Written
from services.kms.custody import opening
from services.kms.endpoints.kmip_clients import IdentityAdmission
from services.kms.objects.identifiers import IdScheme
from services.kms.objects.request_types import CoreOperation
from services.kms.operations import execution
from services.kms.operations.core import KeyServerCore
from services.kms.replication import replicas
from tests.mutations.bugs.planting import plant, replaces


def batch_half_done() -> None:
    """Undo broken at the key server: what went before the operation that fails stays done."""

    @replaces(execution, "_move")
    def move(original: Any, work: Any, request: Any, transition: Any) -> Any:
        try:
            return original(work, request, transition)
        except Refusal:
            work.write()
            raise


def destroyed_key_given() -> None:
    """KMIP broken: a key server says that a key is destroyed, and gives it when it is asked."""

    _kept: dict[KeyId, KeyMaterial] = {}
    _DEAD = (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED)

    @replaces(execution, "_build_got")
    def got(original: Any, work: Any, key_id: Any, *wanted: Any, **how: Any) -> Any:
        given = original(work, key_id, *wanted, **how)
        if given.material is not None:
            _kept[key_id] = given.material
        if given.state in _DEAD and key_id in _kept:
            return msgspec.structs.replace(given, state=KmipState.ACTIVE, material=_kept[key_id])
        return given


def destroyed_key_served() -> None:
    """KMIP broken: a destroyed key keeps its material, and Get gives it as if it were active."""

    _DEAD = (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED)

    @replaces(execution, "_transition")
    def moved(original: Any, work: Any, request: Any, step: Any, row: Any) -> Any:
        after = original(work, request, step, row)
        if after.state in _DEAD:
            after = msgspec.structs.replace(after, wrapped=row.wrapped)
        return after

    @replaces(store, "find")
    def find(original: Any, connection: Any, vault: Any, key_id: Any) -> Any:
        row = original(connection, vault, key_id)
        if row is not None and row.state in _DEAD:
            return msgspec.structs.replace(row, state=KmipState.ACTIVE)
        return row


def destroyed_stays_in_pages() -> None:
    """Destroyed is gone, broken: what the database frees stays in its pages as it was."""

    plant(opening, "SCHEMA", lambda schema: ("PRAGMA secure_delete = OFF", *schema[1:]))


def hsm_not_asked() -> None:
    """STD-20 broken: a key server does what its hardware module refuses it."""

    @replaces(Judging, "of")
    def of(original: Any, judging: Judging, *about: Any) -> None:
        return None


def ids_in_order() -> None:
    """Key servers number their keys as they make them, each going on from the highest that it
    knows."""

    @replaces(service, "ids_of")
    async def ids_of(original: Any, _scheme: Any, database: Any) -> Any:
        return await original(IdScheme.SEQUENTIAL, database)


def kept_key_bound_to_nothing() -> None:
    """The key server broken: wrapped material is bound to no key, so that rows may swap it."""

    plant(store, "binding", lambda original: lambda *facts: b"")


def kms_answers_early() -> None:
    """Durable before acknowledged, broken: key servers commit without waiting for the disk."""

    plant(opening, "SCHEMA", lambda schema: ("PRAGMA synchronous = OFF", *schema))


def kms_refusal_unsaid() -> None:
    """Durable before acknowledged, broken: a key server answers although its disk refused."""

    @replaces(Commits, "_carry")
    async def carry(original: Any, self: Any, group: Any) -> Any:
        loads, ran = self.unwritten.loads(), list[DoneMessage[Any]]()
        for message in group:
            message.begin()

        def run(connection: Any) -> Any:
            ran[:] = self._run(loads, group, [], connection)
            return ran

        try:
            await self._database.transact(run, partial(self._finish_group, loads, group))
        except OSError:
            for message, done in zip(group, ran, strict=False):
                message.done = DoneMessage(done.value, Written())
        return self._answer(group)


def moved_at_next_start() -> None:
    """A client that was moved to another scope is there only when its key server starts again."""

    @replaces(IdentityAdmission, "_put")
    async def put(original: Any, admission: Any, by: Any, operation: Any, identity: Any) -> Any:
        before = dict(admission._by_digest)
        done = await original(admission, by, operation, identity)
        if operation is CoreOperation.MOVE_IDENTITY:
            admission._by_digest = before
        return done


def other_scope_seen() -> None:
    """Access broken: every caller of a key server sees the keys of every scope."""

    plant(KeyServerCaller, "sees", lambda original: lambda self, scope: True)


def peer_stores_nothing() -> None:
    """Durable before acknowledged, broken (STD-01): a key server confirms what its peer told it,
    and stores none of it. A lost write."""

    @replaces(replicas, "store_replicas")
    async def store_nothing(
        store_replicas: Any, core: KeyServerCore, caller: Any, keys: Any, *others: Any
    ) -> Any:
        return await store_replicas(core, caller, (), *others)


def plain_key_answered_early() -> None:
    """Durable before acknowledged, broken: a plain Create is answered while it waits for its
    commit."""

    @replaces(_NewKeys, "begin")
    def begin(original: Any, self: Any) -> None:
        original(self)
        for one, made in zip(self.wanted, self.made, strict=True):
            asyncio.get_running_loop().call_soon(one.over, made.row.key_id, None)
            one.over = lambda *_: None


def plain_keys_untold() -> None:
    """The trail left out: plain Creates that come together have one row of it, that of the
    first."""

    @replaces(store, "write_new_keys")
    def write(original: Any, connection: Any, trail: Any, vault: Any, made: Any) -> Any:
        append = trail.append_each
        trail.append_each = lambda dated: append(dated[:1])
        try:
            return original(connection, trail, vault, made)
        finally:
            trail.append_each = append


def refusal_not_audited() -> None:
    """Audit broken: an operation that is refused leaves no row in the key server's trail."""

    @replaces(KeyServerCore, "admit")
    async def admit(original: Any, self: Any, caller: Any, *operations: Any) -> None:
        from services.kms.access import authorization

        refused = authorization.refuse(caller, *operations)
        if refused is not None:
            raise refused


def refusals_uncounted() -> None:
    """Audit broken: refusals above the first ones of a minute are forgotten, not counted."""

    plant(Refusals, "put_back", lambda original: lambda self, entries: None)


def rejects_any_key() -> None:
    """What a key server rejects of some keys, it rejects of all."""

    @replaces(Rejection, "about")
    def about(original: Any, rejection: Any, operation: Any, key_id: Any) -> bool:
        return operation in rejection.operations
