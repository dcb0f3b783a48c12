"""What vCenters ask of a key server under load, each operation in sessions as vCenter has them.

``create``    Create; the key stays Pre-Active
``get``       Get, and Get Attributes of its State, of a key that is Active
``activate``  Get Attributes of the State of a Pre-Active key, and Activate
``locate``    Locate of ten AES keys that are Active
``destroy``   Destroy of a Pre-Active key

vCenter never sends the last two; who owns its keys does. They are said as it would say them: KMIP
1.1, items numbered ``QLKC``, Discover Versions first on each connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from chaos.load.arrivals import Arrivals
from lab.schema.errors import KeysteadError
from protocol.errors import NotSent, ProductError
from protocol.kmip import dialect
from protocol.kmip.algorithms import CryptographicAlgorithm
from protocol.kmip.enums import State
from protocol.kmip.objects import Attribute
from protocol.kmip.payloads import (
    DestroyRequest,
    DestroyResponse,
    LocateRequest,
    LocateResponse,
)
from services.keyservers.client import error_of
from services.keyservers.kmip_sessions import Dialogue
from services.runtime.each import for_each

OPERATIONS: Final = ("get", "create", "activate", "locate", "destroy")
DEFAULT_MIX: Final[Mapping[str, int]] = {
    "get": 70,
    "create": 10,
    "activate": 10,
    "locate": 5,
    "destroy": 5,
}
CHANGING: Final = ("activate", "destroy")
"""Operations that need a Pre-Active key each, which nobody else has."""
STANDING_KEYS: Final = 200
"""Active keys that are fetched under load, made before it."""
AT_ONCE: Final = 16
_LOCATED: Final = 10
_LOCATE: Final = LocateRequest(
    maximum_items=_LOCATED,
    attribute=(
        Attribute(
            attribute_name="Cryptographic Algorithm",
            attribute_value=CryptographicAlgorithm.AES,
        ),
        Attribute(attribute_name="State", attribute_value=State.ACTIVE),
    ),
)


class Vcenters:
    """``dialogues``: one each. ``act`` does the operation of an arrival."""

    def __init__(self, dialogues: Sequence[Dialogue], arrivals: Arrivals) -> None:
        self._dialogues, self._arrivals = dialogues, arrivals
        self._standing: list[str] = []
        self._fresh: deque[str] = deque()
        self._used = 0
        self._more, self._stocking = asyncio.Event(), 0
        self.made = self.destroyed = 0
        acts: Mapping[str, Callable[[Dialogue, int], Awaitable[None]]] = {
            "get": self._get,
            "create": self._create,
            "activate": self._activate,
            "locate": self._locate,
            "destroy": self._destroy,
        }
        self._acts = [acts[name] for name in arrivals.operations]

    async def prepare(self, tell: Callable[[int, int], None]) -> None:
        """Make the keys that the operations are about: active ones to be fetched or located, and
        one Pre-Active key for each arrival that changes or destroys one.

        KS-LOAD-002 when the server does not do it: there is nothing to measure then.
        """
        standing = STANDING_KEYS if {"get", "locate"} & set(self._arrivals.operations) else 0
        await self._make(
            standing, self._count_changing(self._arrivals), "before the load began", tell
        )

    def missing(self, rest: Arrivals, due: int) -> int:
        """How many keys are not there that ``rest`` needs, when it is offered after the first
        ``due`` of those before it."""
        owed = self._count_changing(self._arrivals, due) - self._used
        return max(self._count_changing(rest) + owed - len(self._fresh), 0)

    async def stock(self, count: int) -> None:
        """Make so many keys more that an operation may change or destroy; KS-LOAD-002."""
        self._stocking += 1
        try:
            await self._make(0, count, "for another rate", lambda done, of: None)
        finally:
            self._stocking -= 1
            self._more.set()

    def _count_changing(self, arrivals: Arrivals, until: int | None = None) -> int:
        """How many of the first of them change or destroy a key."""
        kinds = [n for n, name in enumerate(arrivals.operations) if name in CHANGING]
        found = arrivals.operation[:until]
        return sum(found.count(kind) for kind in kinds)

    async def _make(
        self, standing: int, fresh: int, why: str, tell: Callable[[int, int], None]
    ) -> None:
        done = 0

        async def one(number: int) -> None:
            nonlocal done
            server = self._dialogues[number % len(self._dialogues)]
            uid = await server.create()
            self.made += 1
            if number < standing:
                await server.activate(uid)
                self._standing.append(uid)
            else:
                self._fresh.append(uid)
                self._more.set()
            done += 1
            tell(done, standing + fresh)

        try:
            await for_each(range(standing + fresh), one, at_once=AT_ONCE, name="prepare")
        except (ProductError, dialect.OperationFailed) as error:
            text = f"{type(error).__name__}: {error}, after {self.made} keys were made"
            raise KeysteadError("KS-LOAD-002", f"{why}: {text}") from None

    async def act(self, number: int) -> str:
        """The id of the error that ended it, by the names of this lab; empty when it went well."""
        kind, who = self._arrivals.operation[number], self._arrivals.who[number]
        try:
            await self._acts[kind](self._dialogues[who], number)
        except dialect.OperationFailed as refused:
            return type(error_of(refused)).__name__
        except ProductError as error:
            return type(error).__name__
        return ""

    async def _next(self) -> str:
        """A Pre-Active key that nobody else has. Under another rate than it began with, keys may be
        made more slowly than they are used: who wants one waits then, and its wait is latency."""
        self._used += 1
        while not self._fresh and self._stocking:
            self._more.clear()
            await self._more.wait()
        if not self._fresh:
            raise NotSent("no key could be made for it")
        return self._fresh.popleft()

    # ---- operations -------------------------------------------------------------------------

    async def _get(self, server: Dialogue, number: int) -> None:
        await server.use(self._standing[number % len(self._standing)], activate=False)

    async def _create(self, server: Dialogue, _: int) -> None:
        await server.create()
        self.made += 1

    async def _activate(self, server: Dialogue, _: int) -> None:
        await server.activate(await self._next())

    async def _locate(self, server: Dialogue, _: int) -> None:
        await server.run_operation("Locate", _LOCATE, LocateResponse)

    async def _destroy(self, server: Dialogue, _: int) -> None:
        asked = DestroyRequest(unique_identifier=await self._next())
        await server.run_operation("Destroy", asked, DestroyResponse)
        self.destroyed += 1
