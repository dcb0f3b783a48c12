"""Inject faults by hand, list the active ones, heal them; play and stop experiments on a running
lab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from lab.schema.commands.base import Command, Lease, Look, NodeName, check_names, doc, wrong
from protocol import names

if TYPE_CHECKING:
    from chaos.lab import Directory
    from chaos.verdict import Verdict
    from lab.schema.answers import Fault, FaultList, HealReport, LinkList, RunStopped


LONGEST_S = 30 * 24 * 3600.0  # lab seconds; limit of a fault's lease and of a delay
LEAST_DELAY_S = 0.001  # lab seconds; a smaller delay has no effect that can be observed
DEPTH_LIMIT = 40
"""Limit of nested maps and lists in the values of a fault, as in an experiment file."""


def _ends(a: str, b: str) -> None:
    if a == b:
        raise wrong(f"{a} {b}: a link connects two different nodes")


def _lease(lease_s: float | None) -> None:
    if lease_s is not None and not 0 < lease_s <= LONGEST_S:
        raise wrong(f"a fault for {lease_s:g}s: a time above 0s, at most 30 days")


def _flat(values: dict[str, Any]) -> None:
    """Limit the nesting of a fault's values: decoders of different Pythons have other limits."""
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


OneWay = Annotated[bool, doc("Only the direction from A to B.")]
Share = Annotated[float, doc("Share of messages, such as 20% or 0.2.", reads="share")]


class _Interval(Command["Fault"], frozen=True, kw_only=True):
    one_way: OneWay = False
    lease_s: Lease = None


class LinkFault(_Interval, frozen=True):
    """A fault of the link between two nodes; its tag is the kind of fault."""

    a: NodeName
    b: NodeName

    def __post_init__(self) -> None:
        _ends(self.a, self.b)
        _lease(self.lease_s)

    def values(self) -> dict[str, Any]:
        """The fault's parameters, as in an experiment file."""
        return {"between": [self.a, self.b], "dir": "to" if self.one_way else "both"}


class LinkCut(LinkFault, frozen=True, tag="link.cut"):
    """Cut a link: messages are lost and senders time out.

    keystead link cut vcenter kms
    keystead link cut vcenter esxi-001 --one-way --for 5m
    keystead link cut client vcenter

    ``client`` stands for the clients of the vSphere APIs, at a vCenter or a host: their connections
    hang until the link is healed.
    """


class LinkReset(LinkFault, frozen=True, tag="link.reset"):
    """Reset the KMIP connections of a link between vCenters and key servers, or those of clients.

    keystead link reset vcenter kms
    keystead link reset vcenter kms --one-way --for 5m

    Neither end may be a host, except for ``client``. Messages of the bus are not affected. With
    ``one_way`` only connections that send data from A to B are reset.
    """


class LinkStall(LinkFault, frozen=True, tag="link.stall"):
    """Stall the TLS handshakes of KMIP connections of a link.

    keystead link stall vcenter kms
    keystead link stall kms vcenter --one-way --for 2m

    Neither end may be a host, except for ``client``.
    """


class LinkDelay(LinkFault, frozen=True, tag="link.delay"):
    """Delay the messages of a link.

    keystead link delay vcenter kms 2s
    keystead link delay vcenter esxi-001 500ms --jitter 200ms --for 5m
    """

    delay_s: Annotated[
        float, doc("Delay of each message, in lab time.", name="delay", reads="duration")
    ]
    jitter_s: Annotated[
        float,
        doc("Maximum of a random delay on top, per message.", name="--jitter", reads="duration"),
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (LEAST_DELAY_S <= self.delay_s <= LONGEST_S and 0 <= self.jitter_s <= LONGEST_S):
            raise wrong(
                f"a delay of {self.delay_s:g}s with a jitter of {self.jitter_s:g}s: a delay is "
                "between 1ms and 30 days, a jitter at most 30 days"
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
            raise wrong(f"a share of {self.share:g}: it must be between 0 and 1 (0% and 100%)")
        if self.share == 0:
            raise wrong("a share of 0 has no effect")

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
    """Heal all faults of the link between two nodes.

    keystead link heal vcenter kms
    keystead link heal vcenter esxi-001 -o json

    KS-USE-002 when there is none.
    """

    a: NodeName
    b: NodeName

    def __post_init__(self) -> None:
        _ends(self.a, self.b)


class GetLinks(Look["LinkList"], frozen=True, tag="get.links"):
    """Links in each direction, with their active link rules.

    keystead get links
    keystead get links -o json

    Shows the links of vCenter to key servers and hosts, and all other links that have a rule.
    """


class FaultInject(Command["Fault"], frozen=True, tag="fault.inject"):
    """Inject a fault by hand: any kind of fault that experiment files can name.

    keystead fault proc.kill on=esxi-002
    keystead fault site.power_loss site=main stagger=30s

    `keystead explain faults` lists the kinds. Their names may be written with hyphens instead of
    underscores.
    """

    words = "fault"
    kind: Annotated[
        str,
        doc("Kind of fault, as in experiment files: link.cut.", reads="kind", completes="fault"),
    ]
    values: Annotated[
        dict[str, Any],
        doc("Parameters as NAME=VALUE, as in an experiment file.", word=True, reads="assignments"),
    ] = {}
    id: Annotated[str, doc("Id of the fault. Default: derived from its kind.")] = ""
    lease_s: Lease = None
    seed: Annotated[int, doc("Seed for random selectors, such as 25% of role:esxi.")] = 0

    def __post_init__(self) -> None:
        check_names(names.FAULT, self.id)
        _lease(self.lease_s)
        _flat(self.values)


class GetFaults(Look["FaultList"], frozen=True, tag="get.faults"):
    """Active faults, oldest first; times are lab seconds since the start of the lab.

    keystead get faults
    keystead get faults -o name
    """


class Heal(Command["HealReport"], frozen=True, tag="heal"):
    """Heal faults and verify that their effects have ended.

    keystead heal --all
    keystead heal tpm-clear-1 --with-cure

    A fault without undo stays listed with its cure, which ``with_cure`` performs. Exit code 0: all
    faults that can be undone, and with ``with_cure`` all faults, were verified as healed.
    """

    ids: Annotated[tuple[str, ...], doc(word=True)] = ()
    all: Annotated[bool, doc("All faults.")] = False
    with_cure: Annotated[bool, doc("Also perform the cures of faults without undo.")] = False

    def __post_init__(self) -> None:
        if bool(self.ids) == self.all:
            raise wrong("name faults (`keystead get faults` lists them), or --all")


def _run(name: str) -> None:
    """Check the name of a run, which is also the name of its folder."""
    if not name:
        raise wrong("the name of the run is empty")
    check_names(names.RUN, name)


class GetDirectory(Look["Directory"], frozen=True, tag="get.directory"):
    """The nodes and VMs of this lab, which the selectors of experiments are resolved against."""

    words = ""


class ChaosPlay(Command["Verdict"], frozen=True, tag="chaos.play"):
    """Play the plan of a prepared run folder of this machine; one run at a time.

    KS-CHAOS-102 while another one is being played.
    """

    words = ""  # `chaos run --on`
    run: str

    def __post_init__(self) -> None:
        _run(self.run)


class ChaosStop(Command["RunStopped"], frozen=True, tag="chaos.stop"):
    """Stop a run or a load on a running lab, and heal the faults that it injected.

    keystead chaos stop -n edge
    keystead chaos stop load-lab-1 -n edge

    Use it for a run whose terminal was closed: the lab continues such a run. Its verdict is
    interrupted, exit code 130. KS-RUN-001 when no run of that name is active here.
    """

    run: Annotated[str, doc("Name of the run. Default: the active run.", word=True)] = ""

    def __post_init__(self) -> None:
        if self.run:
            _run(self.run)
