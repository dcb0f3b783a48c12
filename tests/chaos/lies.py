"""Labs that lie: other answers to messages of one kind, for operations that compare answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from protocol.terms import NodeName
from tests.chaos.bad_labs import Bad
from tests.chaos.worlds import World

Lie = Callable[[Any], Any]
"""Another answer in the place of one."""


def lying(world: World, kind: type[Any], lie: Lie) -> Any:
    """A lab of which the answers to these messages are others."""
    bad: Any = Bad(world)
    real = bad.ask

    async def ask(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        if isinstance(message, kind):
            return lie(lambda: real(node, message, within_s=within_s))
        return await real(node, message, within_s=within_s)

    async def asked(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        found = await ask(node, message, within_s=within_s)
        return await found if hasattr(found, "__await__") else found

    bad.ask = asked
    return bad


def changed(**fields: Any) -> Lie:
    """The answer with other fields; of its VM those that begin with ``vm_``."""

    async def answered(real: Any) -> Any:
        answer = await real()
        about = {name[3:]: value for name, value in fields.items() if name.startswith("vm_")}
        rest = {name: value for name, value in fields.items() if not name.startswith("vm_")}
        if about:
            rest["vm"] = msgspec.structs.replace(answer.vm, **about)
        return msgspec.structs.replace(answer, **rest)

    return answered


def refusing(error: Exception) -> Lie:
    async def refused(real: Any) -> Any:
        raise error

    return refused


def answering(answer: Any) -> Lie:
    async def answered(real: Any) -> Any:
        return answer

    return answered


def nth(number: int, lie: Lie) -> Lie:
    """The lie about this one of the messages, counted from 1; the others get the truth."""
    seen = 0

    async def answered(real: Any) -> Any:
        nonlocal seen
        seen += 1
        return await (lie(real) if seen == number else real())

    return answered


def each(field: str, when: Callable[[Any], bool] = lambda item: True, **fields: Any) -> Lie:
    """The items of a list in the answer have other fields: those for which ``when`` is true."""

    async def answered(real: Any) -> Any:
        answer = await real()
        items = (
            msgspec.structs.replace(item, **fields) if when(item) else item
            for item in getattr(answer, field)
        )
        return msgspec.structs.replace(answer, **{field: tuple(items)})

    return answered
