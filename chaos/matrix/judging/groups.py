"""From evidence to the letter of E12: disk groups of a host that has booted. Pure."""

from __future__ import annotations

from typing import Final

from chaos.matrix.evidence import GroupsSeen, JudgedLetter, Works
from chaos.matrix.judging.letters import of_stopped, unclear
from chaos.oracle.terms import Letter
from protocol.vsan import ComponentState, VsanEncryptionIssue

_LACKS: Final = frozenset(
    {VsanEncryptionIssue.KEK_NOT_AVAILABLE, VsanEncryptionIssue.HOST_KEY_NOT_AVAILABLE}
)


def of_groups(
    now: GroupsSeen, later: GroupsSeen, clear: Works, *, clear_runs: bool
) -> JudgedLetter:
    """E12: a minute after the boot, and still when things had time to settle. ``clear``: a VM
    without encryption, powered on at that host.

    OK: mounted, and the component reads right. NO: the host stands at its screen, or it is up
    without its groups and says which key it lacks; others serve the object.
    """
    for seen in (now, later):
        if seen.handed:
            return unclear("vCenter has handed out the key of the disk groups")
        if seen.neighbour.right is not True:
            return unclear(f"another host does not read its replica: {seen.neighbour.detail}")
        if seen.accessible is False:
            return unclear("vCenter shows the object as not accessible")
        if seen.host.answers and seen.host.screen:
            return unclear(f"it answers, and stands at {seen.host.screen!r}")
    if not now.host.answers:
        return _judge_stopped(now, later, clear_runs=clear_runs)
    if now.mounted is not later.mounted:
        return unclear(f"mounted is {now.mounted} at first, and {later.mounted} later")
    return _judge_mounted(now, later) if now.mounted else _judge_unmounted(now, later, clear)


def _judge_mounted(now: GroupsSeen, later: GroupsSeen) -> JudgedLetter:
    for seen in (now, later):
        if seen.read.right is not True:
            return unclear(f"mounted, and its component does not read right: {seen.read.detail}")
        if seen.shown not in (None, ComponentState.ACTIVE):
            return unclear(f"mounted, and vCenter shows its component as {seen.shown}")
    why = "its disk groups are mounted, and its component reads right"
    return JudgedLetter(letter=Letter.OK, why=why)


def _judge_unmounted(now: GroupsSeen, later: GroupsSeen, clear: Works) -> JudgedLetter:
    for seen in (now, later):
        if seen.read.right is not None:
            return unclear(f"not mounted, and its component is read: {seen.read.detail or 'right'}")
        if seen.shown not in (None, ComponentState.ABSENT):
            return unclear(f"not mounted, and vCenter shows its component as {seen.shown}")
        if _LACKS.isdisjoint(seen.issues):
            return unclear(f"not mounted, and it tells of {_names(seen)}")
    if clear.right is not True:
        return unclear(f"not mounted, and a VM without encryption does not run: {clear.detail}")
    why = f"up, its disk groups are not mounted ({_names(now)}); others serve the object"
    return JudgedLetter(letter=Letter.NO, why=why)


def _judge_stopped(now: GroupsSeen, later: GroupsSeen, *, clear_runs: bool) -> JudgedLetter:
    judged = of_stopped(now.host, later.host, clear_runs=clear_runs)
    if judged.letter != Letter.PURPLE_SCREEN:
        return judged
    for seen in (now, later):
        if seen.shown not in (None, ComponentState.ABSENT):
            return unclear(f"it stands at its screen, and its component is {seen.shown}")
    return JudgedLetter(letter=Letter.NO, why=f"{judged.why}; others serve the object")


def _names(seen: GroupsSeen) -> str:
    return ", ".join(seen.issues) or "nothing"
