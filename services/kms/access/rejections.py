"""Requests that a key server refuses because its administrator has set a rejection.

A rejection plays a server whose hardware module releases no key, whose clients exceed their quota,
or that a policy restricts: the server runs, its store is sound, and the request is refused. A
rejection names operations, optionally keys, and a Result Reason. With a ``probability`` below 1 the
server draws for each item concerned. Rejections apply to clients at every endpoint, but neither to
the console nor to servers that replicate with this one.

Rejections are rows of the database with a tag of the vault, and each change of them is in the
trail, which the check at start compares with the rows: an editor can neither remove nor restore
one. An older database or a backup that is accepted begins without rejections.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from protocol.errors import (
    AuthenticationNotSuccessful,
    CryptographicFailure,
    GeneralFailure,
    InvalidArgument,
    ItemNotFound,
    OperationNotSupported,
    PermissionDenied,
    ProductError,
)
from protocol.messages.kms.administration import REJECTABLE
from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller
from services.kms.objects.request_types import CoreOperation, CoreRequest, Get, GetObjectAttributes
from services.kms.sealing.vault import Vault
from services.runtime.ports import Rng

T = TypeVar("T")

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS rejections (
        name TEXT PRIMARY KEY,
        row BLOB NOT NULL,
        tag BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
)
_KIND: Final = b"rejection"
_STREAM: Final = "kms.rejections"
NAME_LIMIT: Final = 128
MOST: Final = 32
"""Rejections of one server at most."""
KEYS_LIMIT: Final = 1000
"""Keys of one rejection at most."""

REASONS: Final[dict[str, type[ProductError]]] = {
    cls.reason.value: cls
    for cls in (
        GeneralFailure,
        AuthenticationNotSuccessful,
        PermissionDenied,
        ItemNotFound,
        CryptographicFailure,
        OperationNotSupported,
    )
}
"""The error for each Result Reason that can be chosen."""


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """``operations`` and ``keys`` that are rejected; no keys: any key. ``changed``: the row of the
    trail of its last change."""

    name: str
    reason: str
    operations: tuple[str, ...]
    keys: tuple[KeyId, ...] = ()
    probability: float = 1.0
    changed: int = 0

    def about(self, operation: CoreOperation, key_id: KeyId | None) -> bool:
        """Whether it concerns this operation on this key; None: a new key."""
        return operation in self.operations and (not self.keys or key_id in self.keys)


class Judging:
    """The present rejections for the items of one message.

    ``chances`` are drawn before the transaction, in [0, 1), enough for all its items.
    """

    def __init__(self, all_of: Sequence[Rejection], chances: Sequence[float]) -> None:
        self._all, self._chances = all_of, chances
        self.struck: list[str] = []
        self.of_some = False  # whether the last refusal concerns single keys only
        self._left: Iterator[float] = iter(chances)

    def anew(self) -> Judging:
        """Start again: the message is executed from the start."""
        self.struck = []
        self._left = iter(self._chances)
        return self

    def of(self, operation: CoreOperation, key_id: KeyId | None = None) -> ProductError | None:
        """The refusal of one item; None: it is executed."""
        for one in self._all:
            if one.about(operation, key_id) and next(self._left) < one.probability:
                self.struck.append(one.name)
                self.of_some = bool(one.keys) or one.probability < 1.0
                return REASONS[one.reason](f"this key server rejects {operation}")
        return None


class Drafts(Protocol):
    """The message that changes rejections (``services.kms.commit.unit_of_work``)."""

    caller: KeyServerCaller
    connection: sqlite3.Connection
    vault: Vault

    def note(self, operation: CoreOperation, key_id: str, scope: str) -> int:
        """Draft an entry of the trail; returns its number."""
        ...


class RejectionWriter(Protocol):
    """Executes a change of the rejections."""

    async def administer(
        self,
        caller: KeyServerCaller,
        operation: CoreOperation,
        subject: str,
        act: Callable[[Drafts, int], T],
    ) -> T:
        """See ``services.kms.operations.core``."""
        ...


class RejectionTable:
    """The rejections in one life of a server, ``stored`` at its start; used on the loop only."""

    def __init__(self, stored: Sequence[Rejection], rng: Rng) -> None:
        self._by_name = {one.name: one for one in stored}
        self._counts: Counter[str] = Counter()
        self._rng = rng

    def all(self) -> tuple[tuple[Rejection, int], ...]:
        """Each rejection with the number of items that it has refused in this life, in order of
        names."""
        return tuple((self._by_name[name], self._counts[name]) for name in sorted(self._by_name))

    def judges(self, caller: KeyServerCaller) -> bool:
        """Whether messages of the caller are checked against rejections."""
        return bool(self._by_name) and not caller.every_scope

    def judging(
        self, caller: KeyServerCaller, requests: Sequence[CoreRequest[Any]]
    ) -> Judging | None:
        """The ``Judging`` for a message of the caller; None when nothing is rejected."""
        if not self.judges(caller):
            return None
        return self._judging(sum(map(_items, requests)))

    def judging_items(self, caller: KeyServerCaller, items: int) -> Judging | None:
        """As ``judging``, for so many items."""
        return self._judging(items) if self.judges(caller) else None

    def _judging(self, items: int) -> Judging:
        found = tuple(self._by_name[name] for name in sorted(self._by_name))
        drawn = any(one.probability < 1.0 for one in found)
        count = len(found) * items
        if not drawn:
            return Judging(found, [0.0] * count)
        choose = self._rng.stream(_STREAM).random
        return Judging(found, [choose() for _ in range(count)])

    def check(self, caller: KeyServerCaller, operation: CoreOperation) -> None:
        """Raise the refusal of an operation that does not use the store."""
        if not self.judges(caller):
            return
        judging = self._judging(1)
        refused = judging.of(operation)
        self.count(judging)
        if refused is not None:
            raise refused

    def count(self, judging: Judging | None) -> None:
        """Count the refusals of a message."""
        if judging is not None:
            self._counts.update(judging.struck)

    async def begin(self, core: RejectionWriter, by: KeyServerCaller, new: Rejection) -> None:
        """Put a rejection in force, in place of one with the same name; ``InvalidArgument``. No
        change and no row when it is in force already."""
        flaw = flaw_of(new)
        if not flaw and new.name not in self._by_name and len(self._by_name) >= MOST:
            flaw = f"there are {MOST} rejections: end one of them first"
        if flaw:
            raise InvalidArgument(flaw)
        known = self._by_name.get(new.name)
        if known is not None and msgspec.structs.replace(new, changed=known.changed) == known:
            return

        def act(work: Drafts, number: int) -> Rejection:
            made = msgspec.structs.replace(new, changed=number)
            put(work.connection, work.vault, made)
            return made

        self._by_name[new.name] = await core.administer(by, CoreOperation.REJECT, new.name, act)
        self._counts[new.name] = 0

    async def end(self, core: RejectionWriter, by: KeyServerCaller, name: str) -> None:
        """End a rejection; no change and no row when there is none of that name."""
        if name not in self._by_name:
            return
        await core.administer(
            by, CoreOperation.END_REJECTION, name, lambda work, _: remove(work.connection, name)
        )
        del self._by_name[name]

    async def begin_anew(
        self, core: RejectionWriter, by: KeyServerCaller, operation: CoreOperation
    ) -> None:
        """Record that an administrator accepts an older database or a backup. Its rejections are
        not meant now: they end with that row."""

        def act(work: Drafts, _: int) -> None:
            for name in remove_all(work.connection):
                work.note(CoreOperation.END_REJECTION, name, work.caller.scope)

        await core.administer(by, operation, "", act)
        self._by_name.clear()


def _items(request: CoreRequest[Any]) -> int:
    """How often a request is judged: a key that leaves wrapped is judged together with the key that
    wraps it."""
    ids = isinstance(request, Get | GetObjectAttributes) and request.unique_identifiers
    each = 2 if isinstance(request, Get) and request.wrapping is not None else 1
    return each * (len(ids) if ids else 1)


def flaw_of(new: Rejection) -> str:
    """What is wrong with a rejection; empty when it is valid."""
    if not 0 < len(new.name) <= NAME_LIMIT:
        return f"name: 1 to {NAME_LIMIT} characters"
    if new.reason not in REASONS:
        return f"reason: one of {', '.join(REASONS)}; not {new.reason[:64]!r}"
    strange = [one for one in new.operations if one not in REJECTABLE]
    if strange or not new.operations:
        detail = f"; not {strange[0][:64]!r}" if strange else ""
        return f"operations: some of {', '.join(REJECTABLE)}{detail}"
    if not 0.0 < new.probability <= 1.0:
        return "probability: above 0, and 1 at most"
    if len(new.keys) > KEYS_LIMIT:
        return f"keys: {KEYS_LIMIT} at most"
    return ""


# ---- rows --------------------------------------------------------------------------------------

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Rejection).decode


def put(connection: sqlite3.Connection, vault: Vault, one: Rejection) -> None:
    """Write a rejection, in place of one with the same name."""
    row = _encode(one)
    connection.execute(
        "INSERT OR REPLACE INTO rejections VALUES (?, ?, ?)",
        (one.name, row, vault.tag(_KIND, row)),
    )


def remove(connection: sqlite3.Connection, name: str) -> None:
    """Remove a rejection; no change when there is none."""
    connection.execute("DELETE FROM rejections WHERE name = ?", (name,))


def remove_all(connection: sqlite3.Connection) -> list[str]:
    """Remove all rejections; returns their names."""
    found = connection.execute("SELECT name FROM rejections ORDER BY name").fetchall()
    connection.execute("DELETE FROM rejections")
    return [name for (name,) in found]


def list_rejections(connection: sqlite3.Connection, vault: Vault) -> tuple[Rejection, ...]:
    """All rejections, in order of their names; ``CryptographicFailure`` for an altered row."""
    found: list[Rejection] = []
    for name, row, tag in connection.execute("SELECT * FROM rejections ORDER BY name"):
        vault.verify(_KIND, row, tag, f"the row of rejection {name}")
        one = _decode(row)
        if one.name != name:
            raise CryptographicFailure(f"the row of rejection {name} is another's")
        found.append(one)
    return tuple(found)
