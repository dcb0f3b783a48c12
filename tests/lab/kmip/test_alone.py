"""The node of a key server without a lab keeps turns as any node does."""

from __future__ import annotations

import asyncio

from lab.kmip.alone import AloneNode


async def test_turns_are_in_the_order_of_their_tickets() -> None:
    node = AloneNode(1, {}, lambda kind, fields: None)
    seen: list[int] = []

    async def one(number: int, ticket: object) -> None:
        async with ticket:  # type: ignore[attr-defined]
            seen.append(number)
            await asyncio.sleep(0)
            seen.append(number)

    tickets = [node.turn("one") for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        for number in (2, 1, 0):  # begun in another order
            group.create_task(one(number, tickets[number]))
    assert seen == [0, 0, 1, 1, 2, 2]
    async with node.turn("one"), node.turn("another"):
        node.end_turn()
