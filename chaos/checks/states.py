"""The observed states of hosts and VMs, compared with what the oracle allows, over a whole run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos.faults import EFFECTS
from chaos.history import Record
from chaos.oracle.fold.answers import RUNS, Allowed, Outcomes, lock_states
from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.vms import POWERS
from chaos.oracle.judgement import Outcome
from chaos.oracle.terms import Letter

GRACE_S = 30.0
"""Lab seconds after a change of what is allowed in which a host or VM may still be otherwise."""


RUNNING: Final = "running"
_NOTHING: Final[frozenset[str]] = frozenset()
NO_KEY = Allowed(frozenset({"no new key"}), frozenset({Outcome(Letter.NO, (12, 13))}))
UNUSABLE = Allowed(frozenset({"no new key"}), frozenset({Outcome(Letter.NO, (26, 58))}))
SILENT, ANSWERS = "said to run, and no guest does,", "answering"
NOT_RUNNING = "InvalidPowerState"
LOCKED, REFUSED, MADE = "locked", "refused for lack of a key", "made"
STARTED, LOST = "started", "down with its host"
NOT_PLACED = "refused for lack of a host"
LACKS_KEY = "EncryptionKeyRequired"


@dataclass(frozen=True)
class StateBreach:
    """A host or VM in a state that no rule allows.

    ``seq``: the first record that shows it. ``before``: its state until then.
    """

    seq: int
    t: float
    name: str
    vm: bool
    seen: str
    before: str
    allowed: Allowed
    faults: str

    @property
    def outage(self) -> bool:
        """Whether a VM that should run, or could run, is kept from running."""
        kept = self.seen in (LOCKED, REFUSED) or RUNNING in self.allowed.states
        return self.vm and self.seen != RUNNING and kept

    def __str__(self) -> str:
        allowed = " or ".join(sorted(self.allowed.states)) or "nothing that is known"
        why = f" by {self.allowed.because}" if self.allowed.because else ""
        under = f"; faults: {self.faults}" if self.faults else "; no fault"
        return f"{self.name} is {self.seen} at {self.t:g} s, and {allowed} is allowed{why}{under}"


@dataclass
class _Watched:
    """One host or VM, as the looks of the run find it."""

    seen: str = ""
    before: str = ""
    since: float = 0.0  # seen so
    seq: int = 0
    states: frozenset[str] = frozenset()
    allowed_since: float = 0.0
    told: bool = False
    lost_since: float = -1.0

    def look(self, seen: str, states: frozenset[str], seq: int, now: float) -> bool:
        """Whether it is a breach, told once for each state. A host that booted, or could not be
        asked, has its grace anew."""
        if not seen:
            self.states = frozenset()
        elif states != self.states:
            self.states, self.allowed_since = states, now
        if seen != self.seen:
            self.before, self.seen = self.seen or self.before, seen
            self.since, self.seq, self.told = now, seq, False
        if not seen or seen in states or self.told:
            return False
        overdue = now - max(self.since, self.allowed_since) >= GRACE_S
        # What nothing explains a look later either needs no grace.
        sudden = now > self.since and self.since - self.allowed_since >= GRACE_S
        self.told = overdue or sudden
        return self.told

    def lost(self, since: float, owed: Outcomes) -> bool:
        """Whether nobody has restarted it that had to, told once for each loss."""
        new = bool(owed) and since != self.lost_since
        if new:
            self.lost_since = since
        return new


@dataclass
class _Mark:
    """vCenter's mark on one VM. It is no breach that an old one stays for a while; one is to set
    a mark on a VM whose host lacks no key of it, and has lacked none for the grace (LOCK-01)."""

    marked: bool = False
    free_since: float | None = None  # its host has its keys, or it runs
    wrong: int = 0  # the record that set a mark which nothing explains yet

    def look(self, marked: bool, free: bool, now: float, seq: int) -> int:
        """The ``seq`` of a record that set a mark which a look later nothing explains either;
        0 for none."""
        if not free:
            self.free_since = None
        elif self.free_since is None:
            self.free_since = now
        told = self.wrong if marked and free else 0
        self.wrong = 0
        if marked and not self.marked and self.free_since is not None:
            self.wrong = seq if now - self.free_since >= GRACE_S else 0
        self.marked = marked
        return told


@dataclass
class JudgedRun:
    """All breaches of a run, and how many looks were compared."""

    breaches: list[StateBreach] = field(default_factory=list)
    looks: int = 0
    faults: int = 0
    acts: int = 0  # of administrators
    vms: int = 0
    at_end: dict[str, frozenset[str]] = field(default_factory=dict)
    """What each VM might be at the last look; empty when the oracle was lost before."""
    lost: str = ""
    """The action after which nobody knows what is allowed: nothing was held against it since."""


_last: tuple[Sequence[Record], int, JudgedRun] | None = None
"""The history that was judged last: several checks ask for the same one."""


def judge_states(records: Sequence[Record]) -> JudgedRun:
    """Compare the run of these records with the oracle, look by look."""
    global _last
    if _last is None or _last[0] is not records or _last[1] != len(records):
        _last = records, len(records), _judge_records(records)
    return _last[2]


def last_look(records: Sequence[Record]) -> int:
    """The ``seq`` of the last look that queried all hosts; 0 when there was none."""
    return next((r.seq for r in reversed(records) if r.op == "look" and r.type == "state"), 0)


def _judge_records(records: Sequence[Record]) -> JudgedRun:
    found, fold = JudgedRun(), Fold(EFFECTS)
    watched: dict[str, _Watched] = {}
    marks: dict[str, _Mark] = {}
    began: dict[int, float] = {}  # operations under way
    answers: dict[str, Record] = {}  # of guests since the last look
    last = last_look(records)
    for record in records:
        fold.take(record)
        if fold.lost:
            break
        if record.type == "invoke":
            began[int(record.data.get("n", 0))] = record.t
        elif record.type in ("ok", "info"):
            since = began.pop(int(record.data.get("n", 0)), record.t)
            found.breaches += _operation(fold, marks, record, since)
        if fold.misplaced:
            found.breaches.append(_misplacement(fold, record))
        if record.op == "guest.challenge" and record.node in fold.vms and record.node in watched:
            found.breaches += _guest(fold, answers, record)
        if record.type == "fault":
            found.faults += 1
        if record.type != "state" or record.op != "look":
            continue
        found.looks += 1
        found.breaches += _look(fold, watched, marks)
        found.breaches += _check_answers(fold, watched, answers)
        if record.seq == last:
            found.at_end = {name: fold.vm_may_be(name) for name, vm in fold.vms.items() if vm.host}
    found.vms, found.lost, found.acts = len(fold.vms), fold.lost, fold.acts
    return found


def _look(
    fold: Fold, watched: dict[str, _Watched], marks: dict[str, _Mark]
) -> Iterator[StateBreach]:
    now = fold.now
    for name in fold.hosts:
        if name not in fold.nodes:
            continue
        seen, allowed = fold.observe_host(name), fold.host_allowance(name)
        one = watched.get(name) or watched.setdefault(name, _Watched())
        if one.look(seen, allowed.states, fold.record_of_host(name), now):
            yield _breach(fold, name, one, seen, allowed)
    marked: list[StateBreach] = []
    for name, vm in fold.vms.items():
        seen = fold.observe_vm(name)
        states = fold.vm_may_be(name) if seen else _NOTHING
        one = watched.get(name) or watched.setdefault(name, _Watched())
        if one.look(seen, states, vm.seq, now):
            yield _breach(fold, name, one, seen, fold.vm_allowance(name), vm=True)
        if one.lost(vm.lost_since, owed := fold.restart_due(name)):
            seq, allowed = fold.nodes[vm.host].seq, Allowed(RUNS, owed)
            yield StateBreach(
                seq, vm.lost_since, name, True, LOST, RUNNING, allowed, fold.faults.tells()
            )
        free = bool(seen) and LOCKED not in states
        mark = marks.get(name) or marks.setdefault(name, _Mark())
        seq = mark.look(name in fold.marked, free, now, fold.marked_at)
        if seq:
            allowed, told = fold.vm_allowance(name), fold.faults.tells()
            marked.append(StateBreach(seq, now, name, True, LOCKED, seen, allowed, told))
    yield from marked


def _breach(
    fold: Fold, name: str, one: _Watched, seen: str, allowed: Allowed, *, vm: bool = False
) -> StateBreach:
    told = fold.faults.tells()
    return StateBreach(one.seq, one.since, name, vm, seen, one.before, allowed, told)


def _guest(fold: Fold, answers: dict[str, Record], record: Record) -> Iterator[StateBreach]:
    """What a guest does is seen by its own answers, whatever its host says of it. One that has to
    run, and is said to, is there; that one answers which cannot run is for the next look. One that
    was asked for at another host than its own says nothing."""
    name = record.node
    if record.data.get("host", fold.vms[name].host) != fold.vms[name].host:
        return
    if record.type == "ok" and "wrong" not in record.data:
        answers[name] = record
    elif record.type == "fail" and NOT_RUNNING in str(record.data.get("error")):
        if fold.observe_vm(name) == RUNNING and fold.vm_may_be(name) == {RUNNING}:
            yield _of_guest(fold, record, SILENT)


def _check_answers(
    fold: Fold, watched: dict[str, _Watched], answers: dict[str, Record]
) -> Iterator[StateBreach]:
    """Guests that answered since the last look, and could not have run for the grace."""
    for name, record in answers.items():
        one, seen = watched[name], fold.observe_vm(name)
        shut = bool(seen) and RUNNING not in fold.vm_may_be(name)
        if shut and record.t - one.allowed_since >= GRACE_S:
            yield _of_guest(fold, record, ANSWERS)
    answers.clear()


def _of_guest(fold: Fold, record: Record, odd: str) -> StateBreach:
    allowed, told = fold.vm_allowance(record.node), fold.faults.tells()
    seen = fold.observe_vm(record.node)
    return StateBreach(record.seq, record.t, record.node, True, odd, seen, allowed, told)


def _misplacement(fold: Fold, record: Record) -> StateBreach:
    """A power-on: DRS chose a host that takes no VM, or none though one took it (HA-03)."""
    odd = f"{STARTED} on {record.data['host']}" if record.type == "ok" else NOT_PLACED
    allowed = Allowed(frozenset({fold.misplaced}))
    return StateBreach(
        record.seq, record.t, record.node, True, odd, "", allowed, fold.faults.tells()
    )


def _operation(
    fold: Fold, marks: dict[str, _Mark], record: Record, since: float
) -> Iterator[StateBreach]:
    """A power-on that lacked a key which the host had for the grace before it began, or one that
    worked though no key could be there; a key that was made though nobody could be asked for one
    since then (R12, R13)."""
    name, told = record.node, fold.faults.tells()
    lacked = record.op in POWERS and record.data.get("error") == LACKS_KEY
    if lacked and name in fold.vms and name in marks and fold.vms[name].host not in fold.placed:
        free_since = marks[name].free_since
        free = free_since is not None and since - free_since >= GRACE_S
        if free and LOCKED not in fold.vm_may_be(name):
            allowed = fold.vm_allowance(name)
            yield StateBreach(record.seq, record.t, name, True, REFUSED, "", allowed, told)
    if fold.impossible:
        allowed = Allowed(lock_states(fold.impossible), fold.impossible)
        yield StateBreach(record.seq, record.t, name, True, STARTED, "", allowed, told)
    provider, key = str(record.data.get("provider", "")), str(record.data.get("key", ""))
    if record.type != "ok" or not key:
        return
    realms = fold.realms.all  # which vCenter it was that made it is not told
    if not any(realm.ways.could_make(provider, since) for realm in realms):
        yield StateBreach(record.seq, record.t, key, False, MADE, "", NO_KEY, told)
    elif not any(realm.could_use(provider, since) for realm in realms):
        yield StateBreach(record.seq, record.t, key, False, MADE, "", UNUSABLE, told)
