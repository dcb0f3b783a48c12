"""Reading vCenter's event log to its end, and on, through any way in to a lab."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from lab.schema.answers import LoggedEvent
from lab.schema.commands import Command, GetEvents
from lab.schema.errors import KeysteadError

A = TypeVar("A")

# The product's refusals while vCenter is down; everything else ends the following.
_VCENTER_AWAY = ("KS-PRODUCT-001", "KS-USE-002")


class Do(Protocol):
    """Does a command on some lab."""

    async def __call__(self, command: Command[A]) -> A: ...


async def all_events(do: Do, after: int = 0) -> tuple[LoggedEvent, ...]:
    """Every event with a number above ``after``, oldest first, however many there are."""
    found: list[LoggedEvent] = []
    while True:
        page = (await do(GetEvents(after=after))).items
        if not page:
            return tuple(found)
        found += page
        after = page[-1].sequence


async def follow_events(
    do: Do,
    pause: Callable[[], Awaitable[None]],
    away: Callable[[KeysteadError], None],
    after: int = 0,
) -> AsyncIterator[tuple[LoggedEvent, ...]]:
    """Events above ``after``, then those that come, without end; ``pause`` is between two looks.

    The first look raises what is wrong with the lab. Later, while vCenter does not answer,
    ``away`` is called once with its refusal; it is waited for.
    """
    first, away_said = True, False
    while True:
        try:
            found = await all_events(do, after)
        except KeysteadError as error:
            if first or error.id not in _VCENTER_AWAY:
                raise
            if not away_said:
                away(error)
            away_said = True
        else:
            away_said = False
            after = found[-1].sequence if found else after
            if found or first:
                yield found
        first = False
        await pause()
