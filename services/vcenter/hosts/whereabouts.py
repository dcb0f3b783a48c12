"""On which host a VM is, from what hosts say of it. Pure.

A VM may be registered on several hosts: one restarted it while another, which had it before, was
away and came back. Only the words of connected hosts count, the latest of each.

| what they say                                    | the VM is on |
|---|---|
| a host runs it                                   | that host: who runs it holds its lock |
| several say that they run it                     | the one with the later word, see below |
| nobody, but its lock is held by a host that is away | that host, which runs it out of sight |
| nobody runs it                                   | where it was, if that host lists it |
| nor does that host list it                       | the host with the newest session |
| nobody lists it                                  | where it was |

The lock on the datastore has one holder, so of two hosts that say they run the VM one speaks of
the past. A word is later than another if vCenter asked for it after it had heard the other. Where
the two overlap, because an answer came late, the newer session decides, until the next look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from protocol.terms import NodeName, PowerState


class Word(msgspec.Struct, frozen=True):
    """What one host last said of one VM that it lists.

    ``locked_by``: another host that holds the VM's lock, as this one sees it. ``session``,
    ``asked`` and ``heard`` are moments of one counter: when its session came into force, when
    vCenter asked, when the answer came.
    """

    host: NodeName
    running: bool
    locked_by: NodeName | None
    session: int
    asked: int
    heard: int


class VmPlace(msgspec.Struct, frozen=True):
    """Where a VM is, and its power there."""

    host: NodeName
    power: PowerState


def place_of(
    words: Sequence[Word], away: Collection[NodeName], was: NodeName | None
) -> VmPlace | None:
    """Where a VM with these words is, by the table; None: nobody lists it.

    ``away``: hosts of the inventory that are not connected. ``was``: where the inventory has it; a
    host that comes back with a registration of the past gets no VM that is off.
    """
    running = [word for word in words if word.running]
    if running:
        return VmPlace(_latest(running).host, PowerState.ON)
    witnesses = [word for word in words if word.locked_by in away]
    if witnesses:
        holder = _latest(witnesses).locked_by
        if holder is not None:
            return VmPlace(holder, PowerState.ON)
    if not words:
        return None
    newest = max(words, key=lambda word: (word.host == was, word.session))
    return VmPlace(newest.host, PowerState.OFF)


def _latest(words: Sequence[Word]) -> Word:
    """The word that no other one is later than; of several, that of the newest session."""
    if len(words) == 1:
        return words[0]
    last_asked = max(word.asked for word in words)
    unsurpassed = [word for word in words if word.heard >= last_asked]
    return max(unsurpassed, key=lambda word: word.session)
