"""The same call for each of many items: hosts, servers, links, VMs.

The function decides what a failure means. ``for_each`` cancels the others at the first failure.
``try_each`` runs all and returns failures as outcomes. ``until_enough`` stops when enough have
answered. All start items in order and return outcomes in that order; ``for_each`` and ``try_each``
run at most ``at_once`` together. In the simulation the seed decides how the calls interleave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from protocol.errors import ProductError

T = TypeVar("T")
R = TypeVar("R")


async def for_each(
    items: Iterable[T],
    act: Callable[[T], Awaitable[R]],
    *,
    at_once: int | None = None,
    name: str = "each",
) -> list[R]:
    """The results of ``act`` for each of ``items``, in their order.

    ``at_once``: how many run together, None for all. The first failure cancels the running calls,
    skips those not begun, and is raised unchanged. Tasks are named ``<name>-<n>``.
    """
    order = tuple(items)
    if not order:
        return []
    outcomes: dict[int, R] = {}
    left = iter(enumerate(order))

    async def take_the_next() -> None:
        for place, item in left:
            outcomes[place] = await act(item)

    count = len(order) if at_once is None else min(at_once, len(order))
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(take_the_next(), name=f"{name}-{number + 1}")
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [outcomes[place] for place in range(len(order))]


async def try_each(
    items: Iterable[T],
    act: Callable[[T], Awaitable[R]],
    *,
    at_once: int | None = None,
    name: str = "each",
    failures: tuple[type[Exception], ...] = (ProductError,),
) -> list[R | Exception]:
    """As ``for_each``, but an exception of ``failures`` becomes the outcome of its item."""

    async def try_item(item: T) -> R | Exception:
        try:
            return await act(item)
        except failures as error:
            return error

    return await for_each(items, try_item, at_once=at_once, name=name)


async def until_enough(
    items: Iterable[T],
    act: Callable[[T], Awaitable[R]],
    enough: Callable[[Mapping[T, R]], bool],
    *,
    name: str = "each",
) -> dict[T, R]:
    """The results of ``act`` by item, in the order of ``items``, as soon as they are ``enough``.

    Calls that still run are cancelled then. Items that ended with a ``ProductError`` are left
    out. Returns all results if every call has ended and they are not enough.
    """
    order, found, left = tuple(items), dict[T, R](), 0
    done = asyncio.Event()

    async def try_item(item: T) -> None:
        nonlocal left
        try:
            found[item] = await act(item)
        except ProductError:
            pass
        left -= 1
        if left == 0 or enough(found):
            done.set()

    if order and not enough(found):
        left = len(order)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(try_item(item), name=f"{name}-{number}")
                    for number, item in enumerate(order, 1)
                ]
                await done.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as failures_of_others:
            raise failures_of_others.exceptions[0] from None
    return {item: found[item] for item in order if item in found}
