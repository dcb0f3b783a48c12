"""Silent faults of a device in the pages of a database.

Caches have the correct page until the machine loses power; after that the page on the device is
read. Pages are those of SQLite's file format, counted from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

_PAGE_SIZE_AT = slice(16, 18)

Draw = Callable[[int], int]
"""Draws a number from 0 up to, but not including, the given one."""


class PageFlaw(NamedTuple):
    """A page as it should be, and the content of the device in its place."""

    should_be: bytes
    on_device: bytes


def pages(image: bytes) -> list[bytes]:
    """The pages of a database, in order."""
    size = int.from_bytes(image[_PAGE_SIZE_AT]) if image else 0
    size = 65536 if size == 1 else size
    return [image[at : at + size] for at in range(0, len(image), size)] if size else []


def draw_lost_write(before: bytes, after: bytes, draw: Draw) -> dict[int, PageFlaw]:
    """One of the written pages keeps its old content on the device."""
    page = _draw_written_page(before, after, draw)
    if page is None:
        return {}
    return {page: PageFlaw(pages(after)[page], _old_content(before, after, page))}


def draw_misdirected_write(before: bytes, after: bytes, draw: Draw) -> dict[int, PageFlaw]:
    """One of the written pages overwrites another page; its own place keeps its old content."""
    page, now = _draw_written_page(before, after, draw), pages(after)
    others = [other for other in range(1, len(now)) if other != page]
    if page is None or not others:
        return {}
    victim = others[draw(len(others))]
    return {
        page: PageFlaw(now[page], _old_content(before, after, page)),
        victim: PageFlaw(now[victim], now[page]),
    }


def draw_bit_rot(before: bytes, after: bytes, draw: Draw) -> dict[int, PageFlaw]:
    """One bit of any page is flipped."""
    now = pages(after)
    page = draw(len(now))
    rotten = bytearray(now[page])
    rotten[draw(len(rotten))] ^= 1 << draw(8)
    return {page: PageFlaw(now[page], bytes(rotten))}


def _draw_written_page(before: bytes, after: bytes, draw: Draw) -> int | None:
    """Draw a page that a commit has written, other than the first, whose counters change each
    time."""
    old, new = pages(before), pages(after)
    changed = [n for n in range(1, len(new)) if n >= len(old) or old[n] != new[n]]
    return changed[draw(len(changed))] if changed else None


def _old_content(before: bytes, after: bytes, page: int) -> bytes:
    """The old content of the page; zeros where the commit extended the file."""
    old = pages(before)
    return old[page] if page < len(old) else bytes(len(pages(after)[page]))


def apply_flaws(image: bytes, flaws: Mapping[int, PageFlaw]) -> bytes:
    """The database as it is read after a power loss. A page that was written again has no flaw."""
    found = pages(image)
    for page, flaw in flaws.items():
        if page < len(found) and found[page] == flaw.should_be:
            found[page] = flaw.on_device
    return b"".join(found)
