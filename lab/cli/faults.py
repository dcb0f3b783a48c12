"""``get links|faults``, ``link ...``, ``fault KIND ...``, ``heal``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.listing import PLAIN, Listing, View
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import document, field, is_document, say, show
from lab.cli.values import assignments, duration, share
from lab.schema.commands import (
    FaultInject,
    GetFaults,
    GetLinks,
    Heal,
    LinkCut,
    LinkDelay,
    LinkDup,
    LinkHeal,
    LinkLoss,
    LinkReset,
    LinkStall,
)

if TYPE_CHECKING:
    from lab.schema.answers import Fault, FaultLeft, HealReport

FAULTS = (
    field("id"),
    field("kind"),
    field("state"),
    ("SINCE", lambda r: f"{r.since:.1f}s"),
    ("UNTIL", lambda r: f"{r.until:.1f}s" if r.until else None),
    field("summary"),
    field("cure"),
)
SHOWN = 8


def _words(value: object) -> str:
    """What was found, in one line: its names, the first of them when they are many, or numbers."""
    if isinstance(value, dict):
        return _words([f"{name} {n}" for name, n in value.items()])
    if not isinstance(value, list | tuple):
        return str(value)
    more = len(value) - SHOWN
    return ", ".join(map(str, value[:SHOWN])) + (f" and {more} more" if more > 0 else "")


FOUND = (("FOUND", lambda r: "; ".join(f"{k}: {_words(v)}" for k, v in r.found.items())),)
OneWay = Annotated[bool, Parameter(name="--one-way", negative="", help="Only what A sends to B.")]
For = Annotated[
    str, Parameter(name="--for", help="Lab time until it heals by itself; else until `heal`.")
]


def began(answer: Fault, options: Options) -> None:
    """Tell of a fault that was seen to bite."""
    fault = answer.fault
    if is_document(options.output):
        document(answer, options.output)
        return
    show({"items": [fault]}, options.output, (field("id"), field("summary")), key="id")
    for name, value in fault.found.items():
        say(f"{name.replace('_', ' ')}: {_words(value)}")
    if fault.cure:
        say(f"it has no undo; its cure: {fault.cure}")


def _lease(lasting: str) -> float | None:
    return duration("--for", lasting) if lasting else None


def cut(
    a: str, b: str, *, one_way: OneWay = False, for_: For = "", options: Options = DEFAULTS
) -> None:
    """Cut a link: senders see silence until their deadline.

    keystead link cut vcenter kms
    keystead link cut vcenter esxi-001 --one-way --for 5m
    """
    began(call(options, LinkCut(a, b, one_way, _lease(for_))), options)


def delay(
    a: str,
    b: str,
    by: Annotated[str, Parameter(help="Lab time by which each message comes later.")],
    *,
    jitter: Annotated[str, Parameter(help="Up to that much more, drawn for each message.")] = "",
    one_way: OneWay = False,
    for_: For = "",
    options: Options = DEFAULTS,
) -> None:
    """Let messages of a link come later.

    keystead link delay vcenter kms 2s
    keystead link delay vcenter esxi-001 500ms --jitter 200ms --for 5m
    """
    late, more = duration("delay", by), duration("--jitter", jitter)
    began(call(options, LinkDelay(a, b, late, more, one_way, _lease(for_))), options)


def loss(
    a: str,
    b: str,
    p: Annotated[str, Parameter(help="Share of messages: 20%, 0.2.")],
    *,
    one_way: OneWay = False,
    for_: For = "",
    options: Options = DEFAULTS,
) -> None:
    """Lose a share of a link's messages.

    keystead link loss vcenter kms 20%
    keystead link loss vcenter esxi-001 0.5 --one-way --for 2m
    """
    began(call(options, LinkLoss(a, b, share("share", p), one_way, _lease(for_))), options)


def dup(
    a: str,
    b: str,
    p: Annotated[str, Parameter(help="Share of messages: 20%, 0.2.")],
    *,
    one_way: OneWay = False,
    for_: For = "",
    options: Options = DEFAULTS,
) -> None:
    """Send a share of a link's messages twice.

    keystead link dup vcenter kms 50%
    keystead link dup vcenter esxi-001 100% --for 2m
    """
    began(call(options, LinkDup(a, b, share("share", p), one_way, _lease(for_))), options)


def reset(
    a: str, b: str, *, one_way: OneWay = False, for_: For = "", options: Options = DEFAULTS
) -> None:
    """Reset connections (KMIP) of a link; messages pass.

    keystead link reset vcenter kms
    keystead link reset vcenter kms --one-way --for 5m
    """
    began(call(options, LinkReset(a, b, one_way, _lease(for_))), options)


def stall(
    a: str, b: str, *, one_way: OneWay = False, for_: For = "", options: Options = DEFAULTS
) -> None:
    """Stall handshakes of connections (KMIP) of a link.

    keystead link stall vcenter kms
    keystead link stall kms vcenter --one-way --for 2m
    """
    began(call(options, LinkStall(a, b, one_way, _lease(for_))), options)


def link_heal(a: str, b: str, *, options: Options = DEFAULTS) -> int:
    """Take back every fault of the link between two nodes.

    keystead link heal vcenter kms
    keystead link heal vcenter esxi-001 -o json
    """
    return _report_heal(call(options, LinkHeal(a, b)), options)


def get_links(*links: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Links in each direction, with the rules on them.

    keystead get links
    keystead get links -o json
    """
    columns = (field("src", "FROM"), field("dst", "TO"), field("state"), field("rules"))
    Listing(columns, key="link").get(GetLinks(), links, view, options)


def get_faults(*ids: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Faults in force; times are lab seconds since the lab began.

    keystead get faults
    keystead get faults -o name
    """
    Listing(FAULTS, (field("seen"),), key="id", rare=FOUND).get(GetFaults(), ids, view, options)


def fault(
    kind: str,
    *values: Annotated[str, Parameter(help="NAME=VALUE, as in an experiment file.")],
    id: Annotated[str, Parameter(help="Its id; made from the kind if left out.")] = "",
    seed: Annotated[int, Parameter(help="For selectors that draw, such as 25% of role:esxi.")] = 0,
    for_: For = "",
    options: Options = DEFAULTS,
) -> None:
    """Begin any fault of experiment files by hand; a hyphen in its name is as good as its
    underscore.

    keystead fault proc.kill on=esxi-002
    keystead fault site.power_loss site=main stagger=30s
    """
    made = assignments("value", values)
    began(call(options, FaultInject(kind.replace("-", "_"), made, id, _lease(for_), seed)), options)


def heal(
    *ids: str,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="All faults.")] = False,
    with_cure: Annotated[
        bool, Parameter(negative="", help="Perform the cure of what has no undo.")
    ] = False,
    options: Options = DEFAULTS,
) -> int:
    """Take faults back and see them gone; what has no undo stays listed with its cure.

        keystead heal --all
        keystead heal tpm-clear-1 --with-cure

    Exit code 0: all that can be taken back, and with --with-cure all, was seen gone.
    """
    return _report_heal(call(options, Heal(ids, all_, with_cure)), options)


def _report_heal(report: HealReport, options: Options) -> int:
    if is_document(options.output):
        document(report, options.output)
    else:
        rows = [{"id": i, "outcome": "healed"} for i in report.healed]
        rows += [{"id": r.id, "outcome": _outcome(r, report.with_cure)} for r in report.left]
        if rows:
            show({"items": rows}, options.output, (field("id"), field("outcome")), key="id")
        else:
            say("no fault is in force")
    for row in report.left:
        if row in report.stuck:
            say(f"keystead: error KS-CHAOS-103: {row.id}: {row.seen}")
        if not row.reversible:
            say(f"{row.id}: cure: {row.cure}")
    if report.left and not report.stuck:
        say("`keystead heal --all --with-cure` performs the cures")
    return 1 if report.stuck else 0


def _outcome(left: FaultLeft, with_cure: bool) -> str:
    if left.reversible:
        return "NOT HEALED"
    return "NOT CURED" if with_cure else "stays: it has no undo"
