"""The methods of ``AsyncLab``, made of those of ``Lab``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def awaited(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The same method with the same arguments, help and answer, done in a thread by the lab
    ``sync`` of the object that has it."""

    @wraps(method)
    async def call(lab: Any, /, *words: P.args, **values: P.kwargs) -> T:
        return await asyncio.to_thread(method, lab.sync, *words, **values)

    return call
