"""What a key server promises of its KEK: a rotation that was answered is so, and stays so.

Each server of a group has KEKs of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.linear import acts
from tests.linear.acts import Act

Apply = Callable[[int], int | None]


def at_the_server(act: Act) -> Apply | None:
    """What ``act`` does to the number of the KEK, which is 1 at first; None when nothing is known
    of it."""
    if act.op == acts.CUSTODY and act.how == "ok":
        return lambda kek: kek if kek == act.answer["kek"] else None
    if act.op == acts.ROTATE and act.how != "fail":
        return lambda kek: _rotate(act, kek)
    return None


def _rotate(act: Act, kek: int) -> int | None:
    """Above ``after``; a KEK that is so already was made by the same rotation, or a later one."""
    now = kek if kek > int(act.asked["after"]) else kek + 1
    return now if act.how != "ok" or now == act.answer["kek"] else None
