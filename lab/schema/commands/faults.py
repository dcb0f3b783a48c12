"""Faults by hand: links, every other kind, what is in force, healing.

``lease_s`` is lab seconds until a fault heals by itself; None: it stays until ``Heal``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Fault, FaultList, HealReport

LONGEST_S = 30 * 24 * 3600.0  # lab seconds that a fault or a delay may take
LEAST_DELAY_S = 0.001  # lab seconds; less cannot be told from a link without a fault
DEPTH_LIMIT = 40
"""Maps and lists inside of each other in the values of a fault, as in an experiment's file."""


def _ends(a: str, b: str) -> None:
    if a == b:
        raise wrong(f"{a} {b}: a link has two different ends")


def _lease(lease_s: float | None) -> None:
    if lease_s is not None and not 0 < lease_s <= LONGEST_S:
        raise wrong(f"a fault for {lease_s:g}s: a time above 0s, at most 30 days")


def _flat(values: dict[str, Any]) -> None:
    """Values of a fault have a few levels; how many a decoder takes differs between Pythons."""
    below: list[object] = [values]
    for _ in range(DEPTH_LIMIT):
        below = [
            item
            for value in below
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not below:
            return
    raise wrong(f"values of a fault go more than {DEPTH_LIMIT} levels deep")


class _OfLink(Command["Fault"], frozen=True):
    """A fault of a link. ``one_way``: only of what ``a`` sends to ``b``."""

    a: str
    b: str
    one_way: bool = False
    lease_s: float | None = None

    def __post_init__(self) -> None:
        _ends(self.a, self.b)
        _lease(self.lease_s)


class LinkCut(_OfLink, frozen=True, tag="link.cut"):
    """Cut the link between two nodes: senders see silence until their deadline.

    ``one_way``: only what ``a`` sends to ``b`` is lost.
    """


class LinkReset(_OfLink, frozen=True, tag="link.reset"):
    """Reset connections between two nodes, neither of them a host; messages pass.

    ``one_way``: only those that send something from ``a`` to ``b``.
    """


class LinkStall(_OfLink, frozen=True, tag="link.stall"):
    """Let handshakes of connections between two nodes, neither of them a host, get no further.

    ``one_way``: only what ``a`` sends to ``b`` is held.
    """


class LinkDelay(Command["Fault"], frozen=True, tag="link.delay"):
    """Let messages of a link come ``delay_s`` lab seconds later, and up to ``jitter_s`` more."""

    a: str
    b: str
    delay_s: float
    jitter_s: float = 0.0
    one_way: bool = False
    lease_s: float | None = None

    def __post_init__(self) -> None:
        _ends(self.a, self.b)
        _lease(self.lease_s)
        if not (LEAST_DELAY_S <= self.delay_s <= LONGEST_S and 0 <= self.jitter_s <= LONGEST_S):
            raise wrong(
                f"a delay of {self.delay_s:g}s and {self.jitter_s:g}s more: above 0s, that is "
                "at least 1ms, at most 30 days"
            )


class _OfShare(Command["Fault"], frozen=True):
    """A fault of a ``share`` (above 0, at most 1) of a link's messages."""

    a: str
    b: str
    share: float
    one_way: bool = False
    lease_s: float | None = None

    def __post_init__(self) -> None:
        _ends(self.a, self.b)
        _lease(self.lease_s)
        if not 0 <= self.share <= 1:
            raise wrong(f"a share of {self.share:g}: it lies between 0 and 1 (0% and 100%)")
        if self.share == 0:
            raise wrong("a share of 0 changes nothing")


class LinkLoss(_OfShare, frozen=True, tag="link.loss"):
    """Lose a ``share`` (above 0, at most 1) of a link's messages."""


class LinkDup(_OfShare, frozen=True, tag="link.dup"):
    """Send a ``share`` (above 0, at most 1) of a link's messages twice."""


class LinkHeal(Command["HealReport"], frozen=True, tag="link.heal"):
    """Take back every fault of the link between two nodes; KS-USE-002 when there is none."""

    a: str
    b: str

    def __post_init__(self) -> None:
        _ends(self.a, self.b)


class FaultInject(Command["Fault"], frozen=True, tag="fault.inject"):
    """Begin a fault of any kind and see it bite.

    ``kind`` and ``values`` are as in experiment files (``link.cut``, ``{"between": [...]}``).
    ``id`` empty: made from the kind. ``seed`` is for selectors that draw (``25% of role:esxi``).
    """

    kind: str
    values: dict[str, Any] = {}
    id: str = ""
    lease_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_names(names.FAULT, self.id)
        _lease(self.lease_s)
        _flat(self.values)


class GetFaults(Command["FaultList"], frozen=True, tag="get.faults"):
    """Faults in force, oldest first."""


class Heal(Command["HealReport"], frozen=True, tag="heal"):
    """Take faults back and see them gone: those of ``ids``, or ``all``.

    What has no undo stays listed with its cure, unless ``with_cure``: then that is performed.
    """

    ids: tuple[str, ...] = ()
    all: bool = False
    with_cure: bool = False

    def __post_init__(self) -> None:
        if bool(self.ids) == self.all:
            raise wrong("name faults (`keystead get faults` lists them), or --all")
