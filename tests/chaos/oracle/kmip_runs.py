"""Runs of labs whose key servers are asked by KMIP: over connections, and over no broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.chaos.oracle.fold_runs import BROKER, made_after
from tests.chaos.oracle.histories import Story

BOTH: dict[str, Any] = {"a": ["vcenter"], "b": ["kms"], "dir": "both"}


def made_under(kind: str, by_kmip: tuple[str, ...] = ("kms",), **values: Any) -> Story:
    """A key is made while a fault holds."""
    story = Story(persistence=True, by_kmip=by_kmip).fault("one", kind, **values)
    return made_after(story.passes(30)).passes(10)


GOOD: dict[str, Callable[[], Story]] = {
    "a key that is made by KMIP without a broker": lambda: made_under(BROKER),
    "a key that is made over the bus where connections break": lambda: made_under(
        "link.reset", by_kmip=(), **BOTH
    ),
    "a key that is made where another's connections break": lambda: made_under(
        "link.stall", **BOTH | {"b": ["kms-2"]}
    ),
}
_MADE = ("", "R12", "made")
BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "a key that is made by KMIP though connections break": (
        lambda: made_under("link.reset", **BOTH),
        *_MADE,
    ),
    "a key that is made by KMIP though no handshake ends": (
        lambda: made_under("link.stall", **BOTH),
        *_MADE,
    ),
    "a key that is made by KMIP over a link that is cut": (
        lambda: made_under("link.cut", **BOTH),
        *_MADE,
    ),
    "a key that is made over the bus without a broker": (
        lambda: made_under(BROKER, by_kmip=("kms-2",)),
        *_MADE,
    ),
}
