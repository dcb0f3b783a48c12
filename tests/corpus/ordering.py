"""Which tests run before the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def first_those_of(folder: str, items: Sequence[T], id_of: Callable[[T], str]) -> list[T]:
    """The items whose id begins with ``folder``, then the others; each group in its order."""
    return sorted(items, key=lambda item: not id_of(item).startswith(folder))
