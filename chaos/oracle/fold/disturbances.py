"""The faults of a run, by its history: active, starting or ending.

A fault starts from its ``inject`` note to its ``fault`` record, and ends from its ``ending`` note
to its ``heal`` record; meanwhile its effects are open. They are also open after an ``unattended``
note: nobody renews its lease, and it may end by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from chaos.history import Record
from chaos.oracle.effects import AT_NEXT_BOOT, NOTHING, FaultEffect, Takes
from chaos.oracle.fold.known import NO, OPEN, YES, Known, both


class FaultPhase(StrEnum):
    """The progress of a fault."""

    COMING = "coming"
    ON = "on"
    ENDING = "ending"


@dataclass
class Disturbance:
    """A fault that may be active. ``values``: its fields. ``begun``: when its injection began.
    ``effect``: that of its kind."""

    id: str
    kind: str
    values: dict[str, Any]
    phase: FaultPhase
    begun: float
    effect: FaultEffect = NOTHING
    on_since: float = 0.0

    @property
    def holds(self) -> Known:
        """Whether its effect is present."""
        return YES if self.phase is FaultPhase.ON else OPEN

    def about(self, node: str) -> bool:
        """Whether it names this node."""
        return node in self.nodes

    @cached_property
    def nodes(self) -> frozenset[str]:
        """The nodes that it names."""
        one = self.values.get("node")
        return frozenset(self.values.get("nodes", ())) | (frozenset({one}) if one else frozenset())

    @cached_property
    def sides(self) -> tuple[frozenset[str], frozenset[str]]:
        """The two sides of the link that it affects; empty when it is on no link."""
        return frozenset(self.values.get("a", ())), frozenset(self.values.get("b", ()))


class Disturbances:
    """All faults that began and have not ended, by id. ``effects``: those of each kind."""

    def __init__(self, effects: Mapping[str, FaultEffect]) -> None:
        self._effects = effects
        self.there: dict[str, Disturbance] = {}
        self.by_kmip: frozenset[str] = frozenset()
        """Key servers that their clients ask over connections, of which no broker knows."""
        self.passwords: dict[str, Known] = {}
        """Whether vCenter has the passwords of its users at the servers of a provider."""
        self.version = 0
        """How many records have changed something of them."""
        self._unattended = False

    def take(self, record: Record) -> Disturbance | None:
        """Take a record; returns the fault that it is about, even if the record ends it."""
        found = self._take(record) if record.type in ("note", "fault", "heal") else None
        self.version += found is not None
        return found

    def _take(self, record: Record) -> Disturbance | None:
        id = str(record.data.get("id", ""))
        if record.type == "note" and record.op in ("unattended", "attended"):
            self._unattended = record.op == "unattended"
            self._end(iter(self.there.values()) if self._unattended else iter(()))
            self.version += 1
            return None
        if record.type == "note" and record.op == "inject":
            values = dict(record.data.get("values", {}))
            kind = str(values.get("kind", ""))
            effect = self._effects.get(kind, NOTHING)
            self.there[id] = Disturbance(id, kind, values, FaultPhase.COMING, record.t, effect)
            return self.there[id]
        found = self.there.get(id)
        if found is None:
            return None
        if record.type == "note" and record.op == "missed":
            return self.there.pop(id)
        if record.type == "fault":
            if "error" not in record.data:
                undone = any(rival.phase is FaultPhase.ENDING for rival in self._rivals(found))
                found.phase = FaultPhase.ENDING if undone or self._unattended else FaultPhase.ON
                found.on_since = record.t
            return found
        if record.type == "note" and record.op == "ending":
            found.phase = FaultPhase.ENDING
            self._end(self._rivals(found))
            return found
        if record.type != "heal":
            return None
        if record.data.get("verified"):
            self._end(self._rivals(found))
            del self.there[id]
        elif record.data.get("stays"):
            found.phase = FaultPhase.ON
        return found

    @staticmethod
    def _end(found: Iterator[Disturbance]) -> None:
        for one in found:
            one.phase = FaultPhase.ENDING

    def _rivals(self, found: Disturbance) -> Iterator[Disturbance]:
        """Others that its end takes back with it: the broker is started, nodes go on or are
        powered on, and a provider is added, for every fault that had wanted otherwise."""
        for other in self.there.values():
            if other is not found and _undone_together(other, found):
                yield other
        for other in self.taking(Takes.POWER) if Takes.POWER in found.effect.takes else ():
            if other is not found and other.nodes & found.nodes:
                yield other

    def taking(self, *what: Takes) -> Iterator[Disturbance]:
        """The faults that take one of these away."""
        return (
            found
            for found in self.there.values()
            if any(taken in what for taken in found.effect.takes)
        )

    # ---- what they leave of the ways ----------------------------------------------------------

    def passes(self, a: str, b: str) -> Known:
        """Whether requests between ``a`` and ``b`` are answered, in both directions."""
        if not self.there:
            return YES
        return both([self._link(a, b), self.stands(a), self.stands(b)])

    def _link(self, a: str, b: str) -> Known:
        connected = (a in self.by_kmip) is not (b in self.by_kmip)  # servers have the bus
        other = Takes.CONNECTIONS if connected else Takes.BUS
        ways = [
            _remains_under(found)
            for found in self.taking(Takes.LINKS, other)
            if Takes.BUS in found.effect.takes or _is_on(found, a, b)
        ]
        return both(ways)

    def trust_between(self, vcenter: str, provider: str, server: str) -> Known:
        """Whether that vCenter and that key server accept each other's certificates (STD-03)."""
        certificates = [
            _remains_under(found)
            for found in self.taking(Takes.CERTIFICATE)
            if (found.values.get("vcenter"), found.values.get("provider")) == (vcenter, provider)
            and server in found.values.get("servers", ())
        ]
        return both([*certificates, self.passwords.get(provider, YES)])

    def gives(self, server: str) -> Known:
        """Whether the key server makes and returns keys, instead of rejecting requests.

        A server that was restored to an older state has lost its rejections.
        """
        rejects = [found for found in self.taking(Takes.ANSWERS) if found.about(server)]
        if not rejects:
            return YES
        forgotten = any(self.taking(Takes.NEWER_KEYS))
        whole = any(_rejects_all_keys(found) for found in rejects)
        return NO if whole and not forgotten else OPEN

    def forget_rejections(self) -> None:
        """Key servers were restored to an older state."""
        self._end(self.taking(Takes.ANSWERS))
        self.version += 1

    def stands(self, node: str) -> Known:
        """Whether the node is neither paused nor stopped for a copy of its disk."""
        held = [_remains_under(found) for found in self.taking(Takes.STEPS) if found.about(node)]
        copied = [
            OPEN
            for found in self.taking(Takes.KEYS)
            if found.phase is not FaultPhase.ON and node in found.values.get("servers", ())
        ]
        return both(held + copied)

    def agree(self, nodes: Iterable[str]) -> Known:
        """Whether the clocks of these nodes are close enough to accept each other's tokens."""
        wrong = frozenset(node for found in self.taking(Takes.CLOCK) for node in found.nodes)
        return YES if wrong.isdisjoint(nodes) else OPEN

    def may_be_off(self, node: str) -> bool:
        """Whether a fault may have ended its power or its process, also through a shared one."""
        for found in self.taking(Takes.POWER, Takes.TPM, *AT_NEXT_BOOT):
            if found.effect.spreads or found.about(node):
                return True
        return False

    def held_down(self, node: str) -> bool:
        """Whether a fault surely keeps the node off."""
        power = self.taking(Takes.POWER)
        return any(found.about(node) and found.phase is FaultPhase.ON for found in power)

    def leaves_failure_open(self, node: str) -> bool:
        """Whether the node may have been shut down in order, which is not a failure."""
        changed = any(found.about(node) for found in self.taking(Takes.TPM, *AT_NEXT_BOOT))
        return changed or any(
            found.about(node) for found in self.there.values() if found.effect.failure_is_open
        )

    def deletions_of(self, provider: str, vcenter: object) -> list[Disturbance]:
        """Those that delete it there."""
        which = (provider, vcenter)
        return [
            found
            for found in self.taking(Takes.PROVIDER)
            if (found.values.get("provider"), found.values.get("vcenter")) == which
        ]

    def usable(self, key: str, vms: frozenset[str]) -> Known:
        """Whether the key (``provider/id``, of these VMs) is Active at its source."""
        return both(
            _remains_under(found)
            for found in self.taking(Takes.KEYS)
            if id_at_source(key) in found.values.get("keys", ())
            or vms & set(found.values.get("vms", ()))
        )

    def tells(self) -> str:
        """A text with the active faults."""
        return ", ".join(f"{found.id} ({found.kind})" for found in self.there.values())


def id_at_source(key: str) -> str:
    """The id at the key server of the key that opens this key (``provider/id``): for a wrapped key
    (``wrapped:<wrapping key>:<box>``) that of its wrapping key (KEY-07, KEY-09)."""
    id = key.partition("/")[2]
    word, _, rest = id.partition(":")
    return rest.rpartition(":")[0] if word == "wrapped" and ":" in rest else id


def _undone_together(a: Disturbance, b: Disturbance) -> bool:
    """Whether the end of either takes back both."""
    fields = a.effect.undone_with
    if a.kind != b.kind or fields is None:
        return False
    return all(
        bool(a.nodes & b.nodes) if name == "nodes" else a.values.get(name) == b.values.get(name)
        for name in fields
    )


def _remains_under(found: Disturbance) -> Known:
    """What is left of a thing that this fault takes away whole, or in part."""
    if found.effect.passes_by and found.phase is FaultPhase.ON:
        return YES
    partly = found.effect.partly or _share_of(found) < 1.0
    return OPEN if partly or found.phase is not FaultPhase.ON else NO


def _share_of(found: Disturbance) -> float:
    """The share of what it takes that it befalls."""
    return float(found.values.get(found.effect.share, 1.0))


def _rejects_all_keys(found: Disturbance) -> bool:
    values = found.values
    some = values.get("keys") or values.get("vms") or _share_of(found) < 1.0
    rejected = {"Create", "Get"} <= {*values.get("operations", ())}
    return found.phase is FaultPhase.ON and not some and rejected


def _is_on(found: Disturbance, a: str, b: str) -> bool:
    one, other = found.sides
    return (a in one and b in other) or (b in one and a in other)
