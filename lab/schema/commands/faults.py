"""Faults by hand: links, every other kind, what is in force, healing.

``lease_s`` is lab seconds until a fault heals by itself; None: it stays until ``Heal``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from lab.schema.commands.arguments import Lease, doc
from lab.schema.commands.base import Command, Look, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Fault, FaultList, HealReport, LinkList

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


OneWay = Annotated[bool, doc("Only what A sends to B.")]
Share = Annotated[float, doc("Share of messages: 20%, 0.2.", reads="share")]


class _Interval(Command["Fault"], frozen=True, kw_only=True):
    one_way: OneWay = False
    lease_s: Lease = None


class LinkFault(_Interval, frozen=True):
    """A fault of the link between two nodes; its tag is the fault's kind."""

    a: str
    b: str

    def __post_init__(self) -> None:
        _ends(self.a, self.b)
        _lease(self.lease_s)

    def values(self) -> dict[str, Any]:
        """The fault's parameters, as an experiment's file has them."""
        return {"between": [self.a, self.b], "dir": "to" if self.one_way else "both"}


class LinkCut(LinkFault, frozen=True, tag="link.cut"):
    """Cut a link: senders see silence until their deadline.

    keystead link cut vcenter kms
    keystead link cut vcenter esxi-001 --one-way --for 5m
    """


class LinkReset(LinkFault, frozen=True, tag="link.reset"):
    """Reset connections (KMIP) of a link, neither end a host; messages pass.

    keystead link reset vcenter kms
    keystead link reset vcenter kms --one-way --for 5m

    With ``one_way`` only those that send something from A to B.
    """


class LinkStall(LinkFault, frozen=True, tag="link.stall"):
    """Stall handshakes of connections (KMIP) of a link, neither end a host.

    keystead link stall vcenter kms
    keystead link stall kms vcenter --one-way --for 2m
    """


class LinkDelay(LinkFault, frozen=True, tag="link.delay"):
    """Let messages of a link come later.

    keystead link delay vcenter kms 2s
    keystead link delay vcenter esxi-001 500ms --jitter 200ms --for 5m
    """

    delay_s: Annotated[
        float, doc("Lab time by which each message comes later.", name="delay", reads="duration")
    ]
    jitter_s: Annotated[
        float,
        doc("Up to that much more, drawn for each message.", name="--jitter", reads="duration"),
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (LEAST_DELAY_S <= self.delay_s <= LONGEST_S and 0 <= self.jitter_s <= LONGEST_S):
            raise wrong(
                f"a delay of {self.delay_s:g}s and {self.jitter_s:g}s more: above 0s, that is "
                "at least 1ms, at most 30 days"
            )

    def values(self) -> dict[str, Any]:
        times = {"base": self.delay_s, "jitter": self.jitter_s}
        return super().values() | {name: _milliseconds(value) for name, value in times.items()}


def _milliseconds(seconds: float) -> str:
    """A time as experiment files write it."""
    return f"{seconds * 1000:.6f}ms"


class _OfShare(LinkFault, frozen=True):
    share: Share

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise wrong(f"a share of {self.share:g}: it lies between 0 and 1 (0% and 100%)")
        if self.share == 0:
            raise wrong("a share of 0 changes nothing")

    def values(self) -> dict[str, Any]:
        return super().values() | {"p": self.share}


class LinkLoss(_OfShare, frozen=True, tag="link.loss"):
    """Lose a share of a link's messages.

    keystead link loss vcenter kms 20%
    keystead link loss vcenter esxi-001 0.5 --one-way --for 2m
    """


class LinkDup(_OfShare, frozen=True, tag="link.dup"):
    """Send a share of a link's messages twice.

    keystead link dup vcenter kms 50%
    keystead link dup vcenter esxi-001 100% --for 2m
    """


class LinkHeal(Command["HealReport"], frozen=True, tag="link.heal"):
    """Take back every fault of the link between two nodes.

    keystead link heal vcenter kms
    keystead link heal vcenter esxi-001 -o json

    KS-USE-002 when there is none.
    """

    a: str
    b: str

    def __post_init__(self) -> None:
        _ends(self.a, self.b)


class GetLinks(Look["LinkList"], frozen=True, tag="get.links"):
    """Links in each direction, with the rules on them.

    keystead get links
    keystead get links -o json

    Those of vCenter to key servers and hosts, and every other link with a rule.
    """


class FaultInject(Command["Fault"], frozen=True, tag="fault.inject"):
    """Begin any fault of experiment files by hand; a hyphen in its name is as good as its
    underscore.

    keystead fault proc.kill on=esxi-002
    keystead fault site.power_loss site=main stagger=30s
    """

    words = "fault"
    kind: Annotated[str, doc("As in experiment files: link.cut.", reads="kind")]
    values: Annotated[
        dict[str, Any],
        doc("NAME=VALUE, as in an experiment file.", word=True, reads="assignments"),
    ] = {}
    id: Annotated[str, doc("Its id; made from the kind if left out.")] = ""
    lease_s: Lease = None
    seed: Annotated[int, doc("For selectors that draw, such as 25% of role:esxi.")] = 0

    def __post_init__(self) -> None:
        check_names(names.FAULT, self.id)
        _lease(self.lease_s)
        _flat(self.values)


class GetFaults(Look["FaultList"], frozen=True, tag="get.faults"):
    """Faults in force, oldest first; times are lab seconds since the lab began.

    keystead get faults
    keystead get faults -o name
    """


class Heal(Command["HealReport"], frozen=True, tag="heal"):
    """Take faults back and see them gone; what has no undo stays listed with its cure.

    keystead heal --all
    keystead heal tpm-clear-1 --with-cure

    Exit code 0: all that can be taken back, and with --with-cure all, was seen gone.
    """

    ids: Annotated[tuple[str, ...], doc(word=True)] = ()
    all: Annotated[bool, doc("All faults.")] = False
    with_cure: Annotated[bool, doc("Perform the cure of what has no undo.")] = False

    def __post_init__(self) -> None:
        if bool(self.ids) == self.all:
            raise wrong("name faults (`keystead get faults` lists them), or --all")
