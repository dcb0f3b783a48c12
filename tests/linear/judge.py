"""Judges a history in parts: each key, each Name and the KEK at each server, by itself.

Linearizability is local: a history has an order exactly if each object has one. A server is the
object here, not a group, since no mode promises that a group behaves as one server. What a mode
promises is by when a change that was answered at one server has taken effect at another one:

- ``none``: never.
- ``sync-pair``: when it is answered; where the two were apart meanwhile, ``settle_s`` after they no
  longer are.
- ``async``: ``settle_s`` later, or when all servers have said since that they have what the others
  have changed. The change is in force at once where it was asked for.
- ``forward``: as ``async`` from the active server, whoever was asked. Where nobody knows which one
  is active, a change takes effect at each of them some time.

From its begin on a change may be seen at any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from chaos.history import Record
from tests.linear import acts, keks, keys, names
from tests.linear.acts import Act, Acts, Group, acts_of
from tests.linear.search import MOST_STEPS, Effect, Ordered, search

_FORWARD: Final = "forward"
_BEFORE_THE_ANSWER: Final = "sync-pair"
_ALONE: Final = "none"
Apply = Callable[[Any], Any]


@dataclass(frozen=True)
class Part:
    """One object at one server, and the operations about it, wherever they were asked for."""

    what: str
    server: str
    acts: tuple[Act, ...]
    start: Hashable
    at_the_server: Callable[[Act], Apply | None]
    elsewhere: Callable[[Act], Apply | None]
    maybe: tuple[tuple[Act, Apply], ...] = ()
    """Operations that nobody knows to be about this object, and what they would have done."""


@dataclass(frozen=True)
class Violation:
    """A part that no order explains, in words, with the records of what is left of its history."""

    text: str
    records: tuple[int, ...]


@dataclass(frozen=True)
class Judged:
    """``acts`` operations in ``parts`` parts; ``undecided`` names those whose search came to its
    bound; ``reads`` is how many of the operations told a client something."""

    acts: int
    reads: int
    parts: int
    violations: tuple[Violation, ...]
    undecided: tuple[str, ...]


def judge(records: Sequence[Record], most: int = MOST_STEPS) -> Judged:
    """Look for an order of every part of the history, each search within ``most`` steps."""
    found = acts_of(records)
    parts = list(_parts(found))
    violations, undecided = [], []
    for part in parts:
        ordered = search(_effects(found, part), part.start, most).ordered
        if ordered is Ordered.NO:
            violations.append(_explain_violation(found, part, most))
        elif ordered is Ordered.UNKNOWN:
            undecided.append(f"{part.what} at {part.server}")
    return Judged(
        acts=len(found.acts),
        reads=sum(act.how == "ok" for act in found.acts),
        parts=len(parts),
        violations=tuple(violations),
        undecided=tuple(undecided),
    )


# ---- parts -------------------------------------------------------------------------------------


def _parts(found: Acts) -> Iterator[Part]:
    grouped = {server for group in found.groups for server in group.servers}
    single = sorted({act.server for act in found.acts} - grouped)
    for group in (*found.groups, *(Group((server,), _ALONE, 0.0) for server in single)):
        of_group = [act for act in found.acts if act.server in group.servers]
        for server in group.servers:
            here = of_group
            if group.mode == _ALONE:
                here = [act for act in of_group if act.server == server]
            yield from _of_keys(server, here)
            yield from _of_names(server, here)
            rotations = tuple(a for a in here if a.server == server and _about_kek(a))
            if rotations:
                yield Part("the KEK", server, rotations, 1, keks.at_the_server, _nothing)


def _about_kek(act: Act) -> bool:
    return act.op in (acts.ROTATE, acts.CUSTODY)


def _nothing(act: Act) -> None:
    return None


def _of_keys(server: str, here: Sequence[Act]) -> Iterator[Part]:
    by_uid: dict[str, list[Act]] = {}
    for act in here:
        if act.uid:
            by_uid.setdefault(act.uid, []).append(act)
    lost = [act for act in here if not act.uid and act.how == "info" and keys.facts_of(act)]
    for uid, some in by_uid.items():
        made = any(act.op in (acts.CREATE, acts.REGISTER) for act in some)
        told = () if made else tuple((act, keys.elsewhere(act)) for act in lost)
        maybe = tuple((act, apply) for act, apply in told if apply is not None)
        yield Part(
            *(f"key {uid}", server, tuple(some), keys.Key()),
            *(keys.at_the_server, keys.elsewhere, maybe),
        )


def _of_names(server: str, here: Sequence[Act]) -> Iterator[Part]:
    by_name: dict[str, list[Act]] = {}
    for act in here:
        if act.asked.get("name"):
            by_name.setdefault(str(act.asked["name"]), []).append(act)
    for name, some in by_name.items():
        uids = {act.uid for act in some if act.uid}
        seen = {str(uid) for act in some for uid in act.answer.get("uids", ())}
        lost = [act for act in some if act.op == acts.REGISTER and act.how == "info"]
        maybe = tuple(
            (act, names.maybe(uid)) for act in lost for uid in (*sorted(seen - uids), f"?{act.n}")
        )
        destroyed = [a for a in here if a.op == acts.DESTROY and a.uid in uids | seen]
        about = tuple(act for act in (*some, *destroyed) if act not in lost)
        yield Part(
            *(f"Name {name}", server, about, names.NOBODY),
            *(names.at_the_server, names.elsewhere, maybe),
        )


# ---- effects -----------------------------------------------------------------------------------


def _effects(found: Acts, part: Part) -> list[Effect[Any]]:
    """What may have happened to the part, and when."""
    effects = []
    group = _group_of(found, part.server)
    for act in part.acts:
        here = _home(group, act) == part.server
        apply = part.at_the_server(act) if here else part.elsewhere(act)
        if apply is None:
            continue
        end = act.end if here else _due(found, group, act, part.server)
        surely = act.how != "info" and end < math.inf
        effects.append(Effect(act.begin, end, apply, surely, act.n))
    for act, apply in part.maybe:
        effects.append(Effect(act.begin, math.inf, apply, False, act.n))
    return effects


_READS: Final = frozenset({acts.GET, acts.ATTRIBUTES, acts.LOCATE, acts.CUSTODY, acts.ROTATE})
"""Answered by the server that is asked, in every mode."""


def _group_of(found: Acts, server: str) -> Group:
    there = (group for group in found.groups if server in group.servers)
    return next(there, Group((server,), _ALONE, 0.0))


def _home(group: Group, act: Act) -> str:
    """Where ``act`` takes effect first; empty when nobody knows, as of what was asked ``through``
    somebody who chooses one of the servers."""
    if "through" in act.asked and len(group.servers) > 1:
        return ""
    handed_on = group.mode == _FORWARD and act.op not in _READS
    return group.active if handed_on else act.server


def _due(found: Acts, group: Group, act: Act, server: str) -> float:
    """By when ``act`` has taken effect at ``server``, which is not where it did so first."""
    due = act.end if group.mode == _BEFORE_THE_ANSWER else act.end + group.settle_s
    others = (home,) if (home := _home(group, act)) else group.servers
    spans = {span for other in others for span in found.times_apart(other, server)}
    for begin, end in sorted((b, e + group.settle_s) for b, e in spans):
        if begin <= due and act.begin <= end:
            due = max(due, end)
    return min(due, found.known_by(group.servers, act.end))


# ---- words -------------------------------------------------------------------------------------


def _explain_violation(found: Acts, part: Part, most: int) -> Violation:
    """The shortest beginning of the part's history that has no order, without the reads that it
    can do without."""

    def fails(some: Iterable[Act]) -> bool:
        less = replace(part, acts=tuple(some))
        return search(_effects(found, less), part.start, most).ordered is Ordered.NO

    ends = sorted({act.end for act in part.acts if act.end < math.inf})
    cut = next((moment for moment in ends if fails(_until(part.acts, moment))), math.inf)
    left = list(_until(part.acts, cut))
    for act in tuple(left):
        if act.op in _READS or act.how == "fail":
            fewer = [other for other in left if other is not act]
            left = fewer if fails(fewer) else left
    longest = search(_effects(found, replace(part, acts=tuple(left))), part.start, most).longest
    stuck = [act for act in left if act.n not in longest and act.how != "info"]
    explain = partial(_words, found, part)
    told = "; ".join(explain(act) for act in left)
    what = f"{part.what} at {part.server}: no order explains what clients saw: {told}"
    if stuck:
        what += f". With all before it in order, this does not fit: {explain(stuck[-1])}"
    return Violation(what, tuple(sorted({seq for act in left for seq in act.records})))


def _until(some: Sequence[Act], moment: float) -> Iterator[Act]:
    """What had begun by then; of what had not ended nobody knows yet."""
    for act in some:
        if act.begin <= moment:
            open_ = act.end > moment
            yield replace(act, end=math.inf, how="info") if open_ and act.how != "info" else act


def _words(found: Acts, part: Part, act: Act) -> str:
    name = act.op.partition(".")[2]
    when = f"{act.begin:.6f} s"
    if act.end < math.inf:
        when += f" to {act.end:.6f} s"
    saw = {
        "info": "nobody knows",
        "fail": f"refused: {act.error}",
        "ok": ", ".join(f"{key} {value}" for key, value in act.answer.items() if key != "n"),
    }[act.how]
    text = f"{name} at {act.server}, {when}: {saw}"
    group = _group_of(found, part.server)
    if _home(group, act) != part.server and act.end < math.inf:
        due = _due(found, group, act, part.server)
        text += f" (at {part.server} by {due:.6f} s)"
    return text
