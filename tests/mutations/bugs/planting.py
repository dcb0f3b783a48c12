"""Replacing a function or method from outside, and failing loudly when it is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

planted: Final[list[str]] = []
"""What was replaced in this process, in order: ``owner.name``."""


def plant(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(original)`` in the place of ``owner.name``.

    ``AttributeError`` when ``owner`` itself (a class or module) does not define ``name``: a
    mutation that hits nothing would pass for one that nobody noticed.
    """
    if name not in vars(owner):
        raise AttributeError(f"{owner!r} defines no {name}: the mutation hits nothing")
    setattr(owner, name, make(vars(owner)[name]))
    planted.append(f"{owner.__name__}.{name}")


def replaces(owner: Any, name: str) -> Callable[[F], F]:
    """Decorate the function that is called in the place of ``owner.name``; what it replaces is
    its first argument."""

    def apply(function: F) -> F:
        def make(original: Any) -> Any:
            def call(*given: Any, **named: Any) -> Any:
                return function(original, *given, **named)

            return call

        plant(owner, name, make)
        return function

    return apply
