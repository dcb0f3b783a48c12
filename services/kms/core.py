"""What each operation of the key server does, whoever asks and through whichever door.

Each method takes the caller that the door proved and the request, and returns the reply after
the commit. What is decided inside a transaction is returned from it, errors too: raising there
would undo the audit row of the refusal.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from protocol.errors import (
    CryptographicFailure,
    GeneralFailure,
    InvalidField,
    ProductError,
    WrongKeyLifecycleState,
)
from protocol.messages.base import Sealed
from protocol.messages.kms import (
    Activate,
    AttributeList,
    AuditRows,
    CreateKey,
    Destroy,
    DiscoverVersions,
    GetAttributes,
    GetKeys,
    KeyCreated,
    KeyState,
    KeyValue,
    KeyValues,
    Locate,
    Located,
    QueryAudit,
    Revoke,
    ServerVersions,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState
from services.kms import access, audit, states, store
from services.kms.access import Caller, Operation
from services.kms.audit import Entry, Result
from services.kms.master import Vault
from services.kms.states import Step
from services.kms.store import KeyRow
from services.runtime.ports import Clock, Database, Rng

T = TypeVar("T")

VERSIONS: Final = ("1.4", "1.3", "1.2", "1.1", "1.0")
GET_LIMIT: Final = 256
LIST_LIMIT: Final = 1000
OPERATION_ID_LIMIT: Final = 128

_ALGORITHM, _LENGTH, _USAGE = "AES", 256, 12


class Core:
    """One key server; its state is the database and the vault."""

    def __init__(self, database: Database, vault: Vault, clock: Clock, rng: Rng) -> None:
        self._database, self._vault = database, vault
        self._clock, self._rng = clock, rng

    async def discover_versions(self, caller: Caller, message: DiscoverVersions) -> ServerVersions:
        """Does not touch the store, unless to write down a refusal (STD-09)."""
        await self._admit(caller, Operation.DISCOVER_VERSIONS)
        return ServerVersions(versions=VERSIONS)

    async def create_key(self, caller: Caller, message: CreateKey) -> KeyCreated:
        """Create, and Activate and Get if asked, in one transaction.

        A repeat of the operation makes nothing: its reply tells the key as it is now, without
        material once that is destroyed.
        """
        _check_template(message)
        asked = [Operation.CREATE]
        asked += [Operation.ACTIVATE] if message.activate else []
        asked += [Operation.GET] if message.get else []
        await self._admit(caller, *asked)
        fresh = self._fresh(caller, message)
        return await self._commit(lambda c: self._created(c, caller, message, fresh, asked))

    async def get_keys(self, caller: Caller, message: GetKeys) -> KeyValues:
        """Material leaves only after the commit of the rows that say so."""
        _check_count(len(message.key_ids), GET_LIMIT)
        await self._admit(caller, Operation.GET)
        at = self._clock.now()
        return await self._commit(lambda c: self._values(c, caller, message, at))

    async def get_attributes(self, caller: Caller, message: GetAttributes) -> AttributeList:
        _check_count(len(message.key_ids), LIST_LIMIT)
        await self._admit(caller, Operation.GET_ATTRIBUTES)

        def read(connection: sqlite3.Connection) -> AttributeList:
            rows = [store.find(connection, self._vault, key_id) for key_id in message.key_ids]
            seen = [row for row in rows if row is not None and caller.sees(row.scope)]
            return AttributeList(keys=tuple(store.attributes(row) for row in seen))

        return await self._read(read)

    async def activate(self, caller: Caller, message: Activate) -> KeyState:
        return await self._move(caller, Operation.ACTIVATE, Step.ACTIVATE, message.key_id)

    async def revoke(self, caller: Caller, message: Revoke) -> KeyState:
        step = states.revocation(message.reason)
        return await self._move(caller, Operation.REVOKE, step, message.key_id)

    async def destroy(self, caller: Caller, message: Destroy) -> KeyState:
        return await self._move(caller, Operation.DESTROY, Step.DESTROY, message.key_id)

    async def locate(self, caller: Caller, message: Locate) -> Located:
        """``ItemNotFound`` when ``after`` is no key that this caller sees."""
        _check_limit(message.limit)
        await self._admit(caller, Operation.LOCATE)
        scope = None if caller.every_scope else caller.scope

        def read(connection: sqlite3.Connection) -> Located | ProductError:
            start: int | None = 0
            if message.after:
                start = store.ordinal(connection, message.after, scope)
            if start is None:
                return access.absent(caller)
            found, total = store.locate(connection, scope, message.state, start, message.limit)
            return Located(key_ids=found, total=total)

        return await self._read(read)

    async def query_audit(self, caller: Caller, message: QueryAudit) -> AuditRows:
        """Rows of the caller's scope; of all scopes at the server's own door."""
        _check_limit(message.limit)
        if not 0 <= message.after < 2**63:
            raise InvalidField("after: a row number is meant")
        await self._admit(caller, Operation.QUERY_AUDIT)
        scope = None if caller.every_scope else caller.scope
        rows = await self._read(lambda c: audit.read(c, message.after, message.limit, scope))
        return AuditRows(rows=rows)

    # ---- inside a transaction -------------------------------------------------------------

    def _created(
        self,
        connection: sqlite3.Connection,
        caller: Caller,
        message: CreateKey,
        fresh: KeyRow,
        asked: list[Operation],
    ) -> KeyCreated | ProductError:
        try:
            row = store.find_created(connection, self._vault, fresh.scope, fresh.operation_id)
            material = store.material(self._vault, row or fresh) if message.get else None
        except CryptographicFailure as error:
            entry = Entry(caller.who, caller.scope, Operation.CREATE, "", audit.result_of(error))
            self._note(connection, fresh.initial_date, entry)
            return error
        if row is None:
            entries = [Entry(caller.who, fresh.scope, op, fresh.key_id) for op in asked]
            first = self._note(connection, fresh.initial_date, *entries)
            changes = sum(op in audit.CHANGING for op in asked)
            row = msgspec.structs.replace(fresh, changed=first + changes - 1)
            store.insert(connection, self._vault, row)
        elif message.get:
            result = Result.SUCCESS if material is not None else Result.ITEM_NOT_FOUND
            entry = Entry(caller.who, row.scope, Operation.GET, row.key_id, result)
            self._note(connection, fresh.initial_date, entry)
        return KeyCreated(
            key_id=row.key_id,
            state=row.state,
            material=None if material is None else Sealed.of(material),
        )

    def _values(
        self, connection: sqlite3.Connection, caller: Caller, message: GetKeys, at: float
    ) -> KeyValues | ProductError:
        values: list[KeyValue] = []
        keys: list[KeyMaterial] = []
        entries: list[Entry] = []
        failed: ProductError | None = None
        for key_id in message.key_ids:
            state: KmipState | None = None
            index: int | None = None
            scope, result = caller.scope, Result.ITEM_NOT_FOUND
            try:
                row = store.find(connection, self._vault, key_id)
                if row is not None and caller.sees(row.scope):
                    state, scope = row.state, row.scope
                    material = store.material(self._vault, row)
                    if material is not None:
                        index, result = len(keys), Result.SUCCESS
                        keys.append(material)
            except CryptographicFailure as error:
                failed, result = error, audit.result_of(error)
            entries.append(Entry(caller.who, scope, Operation.GET, key_id, result))
            values.append(KeyValue(key_id=key_id, state=state, index=index))
        if failed is not None:  # nothing of this request leaves: say so of every key
            result = audit.result_of(failed)
            entries = [msgspec.structs.replace(entry, result=result) for entry in entries]
        self._note(connection, at, *entries)
        return failed or KeyValues(values=tuple(values), material=Sealed.of(*keys))

    def _moved(
        self,
        connection: sqlite3.Connection,
        caller: Caller,
        operation: Operation,
        step: Step,
        key_id: KeyId,
        at: float,
    ) -> KeyState | ProductError:
        scope, outcome = caller.scope, access.absent(caller)
        try:
            row = store.find(connection, self._vault, key_id)
        except CryptographicFailure as error:
            row, outcome = None, error
        if row is not None:
            moved = _judged(caller, operation, step, row, at)
            if not isinstance(moved, ProductError):
                entry = Entry(caller.who, row.scope, operation, key_id)
                changed = self._note(connection, at, entry)
                moved = msgspec.structs.replace(moved, changed=changed)
                store.update(connection, self._vault, moved)
                return KeyState(key_id=key_id, state=moved.state)
            outcome = moved
            scope = row.scope if caller.sees(row.scope) else scope
        entry = Entry(caller.who, scope, operation, key_id, audit.result_of(outcome))
        self._note(connection, at, entry)
        return outcome

    def _note(self, connection: sqlite3.Connection, at: float, *entries: Entry) -> int:
        return audit.append(connection, self._vault, at, entries)

    # ---- around a transaction -------------------------------------------------------------

    async def _move(
        self, caller: Caller, operation: Operation, step: Step, key_id: KeyId
    ) -> KeyState:
        at = self._clock.now()
        return await self._commit(lambda c: self._moved(c, caller, operation, step, key_id, at))

    async def _admit(self, caller: Caller, *operations: Operation) -> None:
        """Raise the refusal of a role, after the trail has it."""
        refused = access.refuse(caller, *operations)
        if refused is None:
            return
        at, result = self._clock.now(), audit.result_of(refused)
        entry = Entry(caller.who, caller.scope, operations[0], "", result)
        await self._commit(lambda c: self._note(c, at, entry))
        raise refused

    async def _commit(self, fn: Callable[[sqlite3.Connection], T | ProductError]) -> T:
        with _storage():
            outcome = await self._database.transact(fn)
        return _reply(outcome)

    async def _read(self, fn: Callable[[sqlite3.Connection], T | ProductError]) -> T:
        with _storage():
            outcome = await self._database.query(fn)
        return _reply(outcome)

    def _fresh(self, caller: Caller, message: CreateKey) -> KeyRow:
        """A new key, drawn before the transaction; thrown away when the request is a repeat."""
        key_id = KeyId(str(uuid.UUID(bytes=self._rng.token(16), version=4)))
        secret = KeyMaterial(self._rng.token(_LENGTH // 8))
        aad = store.binding(key_id, caller.scope, _ALGORITHM, _LENGTH, _USAGE)
        at = self._clock.now()
        return KeyRow(
            key_id=key_id,
            scope=caller.scope,
            operation_id=message.operation_id,
            algorithm=_ALGORITHM,
            length=_LENGTH,
            usage_mask=_USAGE,
            state=KmipState.ACTIVE if message.activate else KmipState.PRE_ACTIVE,
            initial_date=at,
            activation_date=at if message.activate else None,
            deactivation_date=None,
            compromise_date=None,
            destroy_date=None,
            last_change_date=at,
            wrapped=self._vault.close(secret, aad, self._rng.token(12)),
            changed=0,
        )


@contextmanager
def _storage() -> Iterator[None]:
    """A full or failing disk is an answer of the server, not a fault in its program."""
    try:
        yield
    except OSError as error:
        raise GeneralFailure(f"the key server's storage refused: {error.strerror}") from error


def _judged(
    caller: Caller, operation: Operation, step: Step, row: KeyRow, at: float
) -> KeyRow | ProductError:
    """The row after ``step``, the same row for no change, or why not."""
    refused = access.refuse_key(caller, operation, row.scope)
    if refused is not None:
        return refused
    state = states.after(row.state, step)
    if state is None:
        return WrongKeyLifecycleState(f"{operation} of a key that is {row.state}")
    if state is row.state:
        return row
    replace = msgspec.structs.replace
    match step:
        case Step.ACTIVATE:
            row = replace(row, activation_date=at)
        case Step.DEACTIVATE:
            row = replace(row, deactivation_date=at)
        case Step.COMPROMISE:
            row = replace(row, compromise_date=at)
        case Step.DESTROY:
            row = replace(row, destroy_date=at, wrapped=None)
    return replace(row, state=state, last_change_date=at)


def _check_template(message: CreateKey) -> None:
    if not 0 < len(message.operation_id) <= OPERATION_ID_LIMIT:
        raise InvalidField(f"operation_id: 1 to {OPERATION_ID_LIMIT} characters")
    given = (message.algorithm, message.length, message.usage_mask)
    if given != (_ALGORITHM, _LENGTH, _USAGE):
        raise InvalidField(f"only AES-256 keys to encrypt and decrypt are made here, not {given}")


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise InvalidField(f"{count} key ids in one request; {most} at most")


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= LIST_LIMIT:
        raise InvalidField(f"limit {limit}: 1 to {LIST_LIMIT}")


def _reply(outcome: T | ProductError) -> T:
    if isinstance(outcome, ProductError):
        raise outcome
    return outcome
