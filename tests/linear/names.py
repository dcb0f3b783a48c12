"""What a key server promises of one Name: at most one key that is not destroyed has it, unless two
servers gave it to two keys while they were apart. A destroyed key keeps the Name, and Locate over
the bus finds it too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.linear import acts
from tests.linear.acts import Act

TAKEN: Final = "InvalidField"
Holders = frozenset[tuple[str, bool]]
"""Keys that have the Name; whether each is destroyed."""
Apply = Callable[[Holders], Holders | None]
NOBODY: Final[Holders] = frozenset()


def at_the_server(act: Act) -> Apply | None:
    """What ``act`` does where it was asked; None when it says nothing of the Name."""
    if act.op == acts.REGISTER and act.error == TAKEN:
        return lambda holders: holders if _living(holders) else None
    if act.op == acts.LOCATE and act.how == "ok":
        found = frozenset(map(str, act.answer["uids"]))
        return lambda holders: holders if found == {uid for uid, _ in holders} else None
    if act.op == acts.REGISTER and act.how == "ok":
        return lambda holders: _give(holders, act.uid)
    if act.op == acts.DESTROY and act.how != "fail":
        return lambda holders: _destroy(holders, act.uid)
    return None


def elsewhere(act: Act) -> Apply | None:
    """What ``act`` does at a server that is told of it."""
    if act.op == acts.REGISTER and act.how == "ok":
        return lambda holders: (
            holders if (act.uid, True) in holders else holders | {(act.uid, False)}
        )
    if act.op == acts.DESTROY and act.how != "fail":
        return lambda holders: _destroy(holders, act.uid)
    return None


def maybe(uid: str) -> Apply:
    """A registration that nobody knows to have been made, which would have made ``uid``."""
    return lambda holders: holders | {(uid, False)}


def _living(holders: Holders) -> frozenset[str]:
    return frozenset(uid for uid, destroyed in holders if not destroyed)


def _give(holders: Holders, uid: str) -> Holders | None:
    """One that has it already was registered by the same operation."""
    if (uid, False) in holders or (uid, True) in holders:
        return holders
    return None if _living(holders) else holders | {(uid, False)}


def _destroy(holders: Holders, uid: str) -> Holders:
    return (holders - {(uid, False)}) | {(uid, True)}
