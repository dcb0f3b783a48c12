"""Lists cut into pages by their encoded size, not by their number of entries.

A message and its answer may each be 256 KiB at most (``codec.SIZE_LIMIT``), and an id may be 300
characters long: a thousand short ids fit where a thousand long ones do not. A sender cuts its list
with ``pages``. A handler that answers with a list returns the first page (``first_page``) and takes
a cursor in the request, or refuses with ``ResponseTooLarge``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from protocol.codec import SIZE_LIMIT, size_on_wire

T = TypeVar("T")

PAGE_BUDGET: Final = SIZE_LIMIT * 3 // 4
"""The encoded size of one page's items in bytes, at most; the rest is for the envelope and other
fields."""

KEY_BYTES: Final = 34
"""What a 256-bit key adds to a sealed field in bytes: 32 and their header. Use it as ``extra``."""


def pages(
    items: Iterable[T], *, budget: int = PAGE_BUDGET, extra: int = 0, at_most: int | None = None
) -> Iterator[tuple[T, ...]]:
    """Cut ``items`` into pages, in order. Every item is in a page, and no page is empty.

    ``budget``: the size in bytes of a page's items, at most. ``extra``: bytes that each item adds
    beyond its own encoding, in the message or in its answer, whichever is more (a sealed key:
    ``KEY_BYTES``). ``at_most``: how many items a page may have, whatever their size. An item that
    is larger than the budget has a page of its own. ``ValueError`` when ``at_most`` is below 1.
    """
    if at_most is not None and at_most < 1:
        raise ValueError(f"a page of at most {at_most} items holds none")
    left = tuple(items)
    while left:
        page = first_page(left[:at_most], budget=budget, extra=extra)
        yield page
        left = left[len(page) :]


def first_page(
    items: Iterable[T], *, budget: int = PAGE_BUDGET, extra: int = 0, at_most: int | None = None
) -> tuple[T, ...]:
    """The first of ``pages(items, ...)``; empty only when ``items`` is.

    It takes no more of ``items`` than fit the page, and one more to see that the page is full.
    """
    if at_most is not None and at_most < 1:
        raise ValueError(f"a page of at most {at_most} items holds none")
    if isinstance(items, tuple | list) and (at_most is None or len(items) <= at_most):
        whole = tuple(items)
        if _fit(whole, budget, extra):
            return whole
    page: list[T] = []
    weight = 0
    for item in items:
        weight += size_on_wire(item) + extra
        if page and (weight > budget or len(page) == at_most):
            break
        page.append(item)
    return tuple(page)


def _fit(page: tuple[object, ...], budget: int, extra: int) -> bool:
    """Whether they fit ``budget`` for certain: their size as one list, with its header."""
    return size_on_wire(page) + extra * len(page) <= budget


def fits(items: Iterable[object], *, budget: int = PAGE_BUDGET, extra: int = 0) -> bool:
    """Whether ``items`` fit ``budget`` bytes together, each with its ``extra``."""
    whole = tuple(items)
    return (
        _fit(whole, budget, extra) or sum([size_on_wire(item) + extra for item in whole]) <= budget
    )
