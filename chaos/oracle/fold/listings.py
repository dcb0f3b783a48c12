"""What vCenter lists of its key providers, and which key derivation key a native one has.

Objects find their provider by its name (KEY-01), and the name proves nothing: a native provider
that was deleted and made again derives other keys (NKP-18). So each KDK of a name has a number
here, and each key the number of the one that it was derived from. A standard or trusted provider
has one number only: its keys are somewhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

from chaos.history import Record
from chaos.oracle.effects import Takes
from chaos.oracle.facts import Kdk
from chaos.oracle.fold.disturbances import Disturbance, Disturbances, FaultPhase
from chaos.oracle.fold.known import NO, OPEN, YES, Known
from chaos.oracle.fold.settings import SLACK_S

Kdks = frozenset[int | None]
"""What may be so: the number of a KDK, or None where there is none."""
FIRST: Kdks = frozenset({0})
NONE: Kdks = frozenset({None})
MADE, DELETED, EXPORTED, IMPORTED = (
    *("provider.add-native", "provider.delete", "provider.export", "provider.import"),
)
PROVIDERS = (MADE, DELETED, EXPORTED, IMPORTED)
"""Operations that change what vCenter lists, or keep what it lists."""


def of_kdk(theirs: int | None, mine: int | None) -> Kdk:
    """A KDK for a key that was derived from ``mine``."""
    if theirs is None:
        return Kdk.ABSENT
    return Kdk.RIGHT if theirs == mine else Kdk.OTHER


def as_listed(theirs: Kdks, mine: Kdks) -> frozenset[Kdk]:
    """The KDKs that vCenter may have under the name of a key's provider, as they are for the key;
    absent where it does not list the provider."""
    return frozenset(of_kdk(a, b) for a, b in product(theirs, mine))


@dataclass
class ProviderListing:
    """One provider. ``now``: what vCenter may have under the name; ``kept``: what it had last when
    it had one. ``gone_since``: it may not be listed since then, with no moment in which it surely
    was; ``surely_gone_since``: it surely is not. ``forgot``: vCenter does not
    know that it was ever there. ``unbacked_since``: nobody surely has a backup since then."""

    now: Kdks = FIRST
    kept: Kdks = FIRST
    ever: Kdks = FIRST
    gone_since: float = math.inf
    surely_gone_since: float = math.inf
    changes: int = 0
    forgot: bool = False
    unbacked_since: float = math.inf
    _until: dict[int | None, float] = field(default_factory=dict)

    @property
    def listed(self) -> Known:
        """Whether vCenter lists it."""
        if None not in self.now:
            return YES
        return NO if self.now == NONE else OPEN

    def could_make(self, since: float) -> bool:
        """Whether a key of it could be made at some time since then: it was listed, and backed up
        once (R26, R58)."""
        return since < min(self.surely_gone_since, self.unbacked_since)

    def lately(self, now: float) -> Kdks:
        """What hosts may still be given: what is listed, or was a while ago."""
        late = frozenset(kdk for kdk, until in self._until.items() if now - until < SLACK_S)
        return (self.now | late) - NONE

    def may_be(self, kdks: Kdks, now: float) -> None:
        """It may be one of these from now on, or what it is."""
        self._is(self.now | kdks, now)

    def becomes(self, kdks: Kdks, now: float) -> None:
        """It surely is one of these from now on."""
        self._is(kdks, now)

    def _is(self, kdks: Kdks, now: float) -> None:
        if kdks == self.now:
            return
        self._until |= dict.fromkeys(self.now - NONE, now)
        self.now, self.changes = kdks, self.changes + 1
        self.kept = (kdks - NONE) or self.kept
        self.ever |= kdks - NONE
        since = (self.gone_since, self.surely_gone_since)
        self.forgot &= None in kdks
        self.gone_since = min(since[0], now) if None in kdks else math.inf
        self.surely_gone_since = min(since[1], now) if kdks == NONE else math.inf


class _Begun(NamedTuple):
    """An operation under way. ``before``: what was listed then; ``kdks``: what shall be;
    ``changes``: how often something had changed then."""

    provider: str
    backup: str
    before: Kdks
    kdks: Kdks
    changes: int


class Listings:
    """All providers of one vCenter, by name. ``version``: how often something changed."""

    def __init__(self) -> None:
        self.there: dict[str, ProviderListing] = {}
        self.origins: dict[str, Kdks] = {}
        """From which KDKs a key may be derived, where that is not the first one."""
        self._backups: dict[str, tuple[str, Kdks]] = {}
        self._vcenters: dict[str, dict[str, Kdks]] = {}  # by backup of vCenter
        self._deleted_by: dict[str, Kdks] = {}  # what each fault has deleted
        self._begun: dict[int, _Begun] = {}  # by operation under way

    def of(self, provider: str) -> ProviderListing:
        """One of that name; there is none yet, when it is not known."""
        return self.there.setdefault(provider, ProviderListing(NONE, frozenset(), frozenset()))

    @property
    def version(self) -> int:
        """How often something changed."""
        return sum(found.changes for found in self.there.values())

    def origin(self, key: str) -> Kdks:
        """From which of its provider's KDKs the key may be derived."""
        return self.origins.get(key, FIRST)

    def register_key(self, key: str, now: float, *, old: bool = False) -> None:
        """A key is seen for the first time; ``old``: it may have been made at any time."""
        found = self.of(key.partition("/")[0])
        origin = found.ever if old else found.lately(now) or found.ever
        if key not in self.origins and origin:
            self.origins[key] = origin

    # ---- faults -----------------------------------------------------------------------------

    def fault(self, found: Disturbance, record: Record, faults: Disturbances) -> None:
        """A deletion begins, is there, is being taken back, or is over."""
        entry, now = self.of(str(found.values.get("provider"))), record.t
        if record.op == "inject":
            self._deleted_by[found.id] = entry.kept
        before = self._deleted_by.get(found.id, entry.kept)
        others = faults.deletions_of(str(found.values.get("provider")), found.values.get("vcenter"))
        if found.id not in faults.there:
            entry.becomes(before | NONE if others else before, now)
        elif found.phase is FaultPhase.ON:
            entry.becomes(NONE, now)
        else:
            entry.may_be(NONE if found.phase is FaultPhase.COMING else before | NONE, now)

    def open_deletions(self, faults: Disturbances, now: float) -> None:
        """Every deletion may be taken back by itself."""
        for found in faults.taking(Takes.PROVIDER):
            if found.id in self._deleted_by:
                entry = self.of(str(found.values.get("provider")))
                entry.may_be(self._deleted_by[found.id] | NONE, now)

    # ---- vCenter itself ---------------------------------------------------------------------

    def keep(self, backup: str) -> None:
        """A backup of vCenter has what it lists now."""
        self._vcenters[backup] = {name: found.now for name, found in self.there.items()}

    def put_back(self, backup: str, now: float, *, surely: bool) -> None:
        """vCenter lists what the backup has, perhaps or ``surely``."""
        kept = self._vcenters.get(backup, {})
        for name, found in self.there.items():
            then = kept.get(name, NONE)
            if surely:
                found.becomes(then, now)
            else:
                found.may_be(then, now)
            if name not in kept:
                found.gone_since, found.forgot = -math.inf, True

    def forget(self, now: float, *, surely: bool) -> None:
        """vCenter lists nothing, perhaps or ``surely``."""
        self.put_back("", now, surely=surely)

    # ---- operations -------------------------------------------------------------------------

    def operation(self, record: Record, default: str) -> str:
        """One of an administrator; the provider that it is about, empty for none. ``default``: the
        one that is meant where none is named."""
        number, now = int(record.data.get("n", 0)), record.t
        if record.type == "invoke":
            name, kdks = self._about(record.op, record.data, default)
            if name:
                entry, backup = self.of(name), str(record.data.get("backup", ""))
                before = entry.now
                entry.may_be(kdks, now)
                self._begun[number] = _Begun(name, backup, before, kdks, entry.changes)
            return name
        begun = self._begun.pop(number, None)
        if begun is None:
            return ""
        entry = self.of(begun.provider)
        if record.op == EXPORTED:
            if record.type == "ok":
                self._backups[begun.backup] = begun.provider, entry.now - NONE
            if record.type != "fail":
                entry.unbacked_since = math.inf
        elif entry.changes == begun.changes and record.type != "info":
            entry.becomes(begun.kdks if record.type == "ok" else begun.before, now)
            if (record.type, record.op) == ("ok", MADE):
                entry.unbacked_since = now
            elif record.type == "ok":
                entry.unbacked_since = math.inf
        return begun.provider

    def _about(self, op: str, asked: dict[str, object], default: str) -> tuple[str, Kdks]:
        """The provider's name, and what is to become of it."""
        if op == IMPORTED:
            return self._backups.get(str(asked.get("backup")), ("", NONE))
        name = str(asked.get("provider") or default)
        if op == MADE:
            return name, frozenset({len(self.of(name).ever)})
        return name, NONE if op == DELETED else frozenset()
