"""A long message of items, done in portions: each is a transaction, and others come between them.

KMIP lets what an item has done stand whatever becomes of the next one, unless the Batch Error
Continuation Option is *Undo* (KMIP 1.4 section 6.13): such a message alone is one whole. What
means the ID Placeholder stays with the item before it, as far as that goes; the placeholder is
handed on to the next portion.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

from protocol.errors import ProductError
from services.kms.objects.request_types import CoreRequest
from services.kms.operations.batches import Continuation, Handed, Item, Ran

ITEMS: Final = 100
"""Of a portion: one holds others for about ten milliseconds."""

Do = Callable[[Sequence[CoreRequest[Any]], Handed], Awaitable[Ran]]
"""Does some items of a message, with what those before them have handed on; durable on return."""


async def do_in_portions(
    option: Continuation, requests: Sequence[CoreRequest[Any]], do: Do
) -> tuple[Item, ...]:
    """An outcome for each item that was begun.

    Raises what keeps the first portion from being done: nothing has happened then. Later ones are
    told item by item, for what stands before them has happened.
    """
    items: list[Item] = []
    handed = Handed(alone=len(requests) == 1)
    for portion in [requests] if option is Continuation.UNDO else _cut(requests):
        try:
            ran = await do(portion, handed)
        except ProductError as error:
            if not items:
                raise
            items += [Item(error=error)] * (len(portion) if option is Continuation.CONTINUE else 1)
        else:
            items += ran.items
            handed = ran.handed
        if option is Continuation.STOP and items[-1].error is not None:
            break
    return tuple(items)


def _cut(requests: Sequence[CoreRequest[Any]]) -> Iterator[Sequence[CoreRequest[Any]]]:
    begin = 0
    while begin < len(requests):
        end = begin + ITEMS
        while end - begin < 2 * ITEMS and end < len(requests) and requests[end].needs_placeholder:
            end += 1
        yield requests[begin:end]
        begin = end
