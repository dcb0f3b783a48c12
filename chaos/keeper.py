"""The list of active faults: injected, renewed, healed and never lost before a verified heal.

The keeper is a supervisor's memory. Its state is saved (``save``) before a fault begins and
after each change, so that another controller can go on: a fault leaves the list only when its
own check has seen it gone. Healing never depends on how an experiment went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from chaos.errors import ChaosError
from chaos.faults import from_plain, to_plain
from chaos.faults.base import Fault, Notes, names
from chaos.lab import REFUSALS, LabUnderTest
from protocol.terms import NodeName

# ---- kept ----------------------------------------------------------------------------------------
# A fault as a keeper lists it, with its notes, and the list as bytes for the next keeper.


class FaultState(StrEnum):
    """How far a listed fault has come."""

    BEGINNING = "beginning"  # begun or about to; not seen to bite yet
    ACTIVE = "active"
    STAYS = "stays"  # irreversible: only its cure takes it away
    NOT_HEALED = "not healed"  # taken back, but not seen gone


class ListedFault(msgspec.Struct):
    """A listed fault. ``since`` it was done; ``until`` 0 = no lease; ``seen``: why it is not
    healed. ``ending``: it is taken back, and a lease that is carried on would bring it back."""

    fault: Fault
    since: float
    until: float
    state: FaultState
    notes: Notes
    seen: str = ""
    ending: bool = False


def dump_faults(listed: Iterable[ListedFault]) -> bytes:
    """The list with all notes, as JSON.

    Notes of a TPM fault hold the hosts' recovery keys, as an administrator's safe would:
    keep these bytes where the lab keeps its secrets, with mode 0600.
    """
    faults = [
        {
            "fault": to_plain(kept.fault),
            "since": kept.since,
            "until": kept.until,
            "state": kept.state.value,
            "notes": kept.notes,
            "seen": kept.seen,
            "ending": kept.ending,
        }
        for kept in listed
    ]
    return msgspec.json.encode({"version": 1, "faults": faults})


def load_faults(data: bytes) -> list[ListedFault]:
    """The list that ``dumped`` wrote; KS-CHAOS-109 when it is none."""
    try:
        state: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        if state["version"] != 1:
            raise ValueError(f"version {state['version']}")
        return [_load_fault(entry) for entry in state["faults"]]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise ChaosError("KS-CHAOS-109", str(error)) from None


def _load_fault(entry: dict[str, Any]) -> ListedFault:
    return ListedFault(
        fault=from_plain(entry["fault"]),
        since=float(entry["since"]),
        until=float(entry["until"]),
        state=FaultState(entry["state"]),
        notes=dict(entry["notes"]),
        seen=str(entry["seen"]),
        ending=bool(entry.get("ending", False)),
    )


BITE_TRIES = 3
HEAL_TRIES = 6
LOOKS_IN_FLOOR = 50
HEAL_FLOOR_S = 10.0  # real seconds: connections come again in these, whatever the pace (decision 6)
PAUSE_S = 1.0
PASSES = 3


class FaultInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of the list, without its notes. Times in lab seconds: ``since`` it was done, which is
    before it was seen to bite; ``until`` 0 = no lease.
    ``ending``: it is being taken back."""

    fault: Fault
    kind: str
    summary: str
    since: float
    until: float
    state: FaultState
    seen: str = ""  # why it is not healed
    cure: str = ""
    found: dict[str, Any] = {}  # what it acts on, of what its survey saw
    ending: bool = False


class StillThere(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that a heal left in the list; ``reversible`` ones are a failure of the heal."""

    id: str
    kind: str
    reversible: bool
    seen: str
    cure: str


class HealOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was healed (ids, in order) and what is still listed."""

    healed: tuple[str, ...] = ()
    left: tuple[StillThere, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether all that can be taken back was seen gone."""
        return not any(fault.reversible for fault in self.left)


class Keeping(Protocol):
    """What the engine needs of a keeper; a supervisor may serve it over its own channel."""

    async def inject(self, fault: Fault, lease_s: float | None = None) -> FaultInForce:
        """Make it so and see it bite; ``lease_s`` lab seconds until it heals itself.

        Raises ``ChaosError``: 105 the id is taken, 106 it cannot act here (nothing was done), 102
        it could not be made, 101 it does not bite.
        """
        ...

    async def renew(self, id: str, lease_s: float) -> FaultInForce:
        """Let its lease last ``lease_s`` lab seconds from now; KS-CHAOS-104 when it is gone."""
        ...

    async def heal(self, id: str, *, with_cure: bool = False) -> HealOutcome:
        """Take one fault back, with its cure if asked; KS-CHAOS-104 when there is none."""
        ...

    async def heal_all(self, *, with_cure: bool = False) -> HealOutcome:
        """Take everything back, newest first."""
        ...

    def active(self) -> tuple[FaultInForce, ...]:
        """All that is listed, oldest first."""
        ...


class FaultKeeper:
    """Holds the faults of one lab, from before they begin until they were seen gone.

    Calls may overlap; those about one fault wait for each other. ``save`` gets the list as bytes
    (``dump``) before a fault begins and after each change.
    """

    def __init__(
        self, lab: LabUnderTest, *, save: Callable[[bytes], Awaitable[None]] | None = None
    ) -> None:
        self._lab = lab
        self._save = save
        self._kept: dict[str, ListedFault] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def active(self) -> tuple[FaultInForce, ...]:
        """All that is listed, oldest first."""
        return tuple(self._describe_fault(kept) for kept in self._kept.values())

    def _describe_fault(self, kept: ListedFault) -> FaultInForce:
        return FaultInForce(
            fault=kept.fault,
            kind=kept.fault.kind,
            summary=kept.fault.summary(),
            since=kept.since,
            until=kept.until,
            state=kept.state,
            seen=kept.seen,
            cure="" if kept.fault.reversible else kept.fault.cure_text(),
            found=kept.fault.history_fields(kept.notes),
            ending=kept.ending,
        )

    async def inject(self, fault: Fault, lease_s: float | None = None) -> FaultInForce:
        """Make it so and see it bite; ``lease_s`` lab seconds until it heals itself.

        Raises ``ChaosError``: 105 the id is taken, 106 it cannot act here (nothing was done),
        102 it could not be made, 101 it does not bite. After 101 and 102 it has been taken
        back; if that could not be verified, it stays listed and the text says so.
        """
        if fault.id in self._kept:
            raise ChaosError("KS-CHAOS-105", f"there is a fault {fault.id!r}")
        for kept in self._kept.values():
            shared = [held for held in fault.holds() if held in kept.fault.holds()]
            if shared:
                raise ChaosError("KS-CHAOS-106", f"{kept.fault.id} holds the {shared[0]} already")
            if at_work := self._at_power(kept.fault, fault):
                text = f"{kept.fault.id} is at work on the power of {names(at_work)}"
                raise ChaosError("KS-CHAOS-106", text)
            if node := _same_switch(fault, kept.fault):
                text = f"{kept.fault.id} holds the power of {node} already"
                raise ChaosError("KS-CHAOS-106", text)
        now = self._lab.monotonic()
        until = now + lease_s if lease_s else 0.0
        kept = ListedFault(fault, now, until, FaultState.BEGINNING, {})
        self._kept[fault.id] = kept
        async with self._lock(fault.id):
            try:
                kept.notes.update(await fault.survey(self._lab))
                kept.since = self._lab.monotonic()
                await self._keep()
            except REFUSALS as error:
                del self._kept[fault.id]
                raise ChaosError("KS-CHAOS-106", _one_line(error)) from error
            except BaseException:
                del self._kept[fault.id]  # nothing was changed yet
                raise
            try:
                await fault.begin(self._lab, until, kept.notes)
            except REFUSALS as error:
                raise await self._undo(kept, "KS-CHAOS-102", _one_line(error)) from error
            await self._keep()
            seen = await self._until_empty(BITE_TRIES, lambda: fault.bites(self._lab, kept.notes))
            if seen:
                raise await self._undo(kept, "KS-CHAOS-101", seen)
            kept.state = FaultState.ACTIVE if fault.reversible else FaultState.STAYS
            await self._keep()
            return self._describe_fault(kept)

    def _at_power(self, other: Fault, fault: Fault) -> tuple[NodeName, ...]:
        """Nodes that ``other``, which has no undo, boots now in its begin or its cure: ``fault``
        would hold their power too, and neither would come to what it looks for."""
        if other.reversible or not (other.holds_power and fault.holds_power):
            return ()
        if not self._lock(other.id).locked():
            return ()
        return tuple(node for node in fault.touches() if node in other.touches())

    async def _undo(self, kept: ListedFault, id: str, seen: str) -> ChaosError:
        """Undo a fault that did not come to be; an irreversible one leaves the list only if
        nothing of it is seen, since its cure may be worse (a reboot) than what was begun."""
        if kept.fault.reversible:
            await self._heal(kept)
        elif await self._until_empty(1, lambda: kept.fault.verify_heal(self._lab, kept.notes)):
            kept.state, kept.seen = FaultState.STAYS, seen
            await self._keep()
        else:
            del self._kept[kept.fault.id]
            await self._keep()
        left = f"; still listed: {kept.seen}" if kept.fault.id in self._kept else ""
        return ChaosError(id, f"{kept.fault.id} ({kept.fault.kind}): {seen}{left}")

    async def renew(self, id: str, lease_s: float) -> FaultInForce:
        """Carry its lease on; KS-CHAOS-104 when it is gone. No change of one that is being taken
        back, or could not be."""
        kept = self._of(id)
        if kept.ending:
            return self._describe_fault(kept)
        until = self._lab.monotonic() + lease_s
        try:
            await kept.fault.renew(self._lab, until)
            kept.until = until
        except REFUSALS as error:  # the lease stays as it is; the next renewal may pass
            kept.seen = _one_line(error)
        await self._keep()
        return self._describe_fault(kept)

    async def heal(self, id: str, *, with_cure: bool = False) -> HealOutcome:
        """Take one fault back (with its cure, if asked); KS-CHAOS-104 when there is none."""
        self._of(id)
        async with self._lock(id):
            kept = self._kept.get(id)
            if kept is not None:
                await self._heal(kept, with_cure=with_cure)
        return self._report([id])

    async def heal_all(self, *, with_cure: bool = False) -> HealOutcome:
        """Take everything back, newest first; a second pass for what waited for another."""
        before = list(self._kept)
        for later in range(PASSES):
            for id in reversed(list(self._kept)):
                async with self._lock(id):
                    kept = self._kept.get(id)
                    if kept is None or (kept.state is FaultState.STAYS and later and not with_cure):
                        continue
                    await self._heal(kept, with_cure=with_cure)
            if not any(kept.fault.reversible or with_cure for kept in self._kept.values()):
                break
        return self._report(before)

    async def lapse(self) -> HealOutcome:
        """Heal what has outlived its lease, each fault beside the others: none waits for the slow
        end of another one.

        An irreversible fault has nothing to lapse: it only loses its lease.
        """
        over = self._over()
        async with asyncio.TaskGroup() as healing:
            for id in over:
                healing.create_task(self._lapse(id))
        return self._report(over)

    def _over(self) -> list[str]:
        now = self._lab.monotonic()
        return [id for id, kept in self._kept.items() if 0 < kept.until <= now]

    async def _lapse(self, id: str) -> None:
        async with self._lock(id):
            kept = self._kept.get(id)
            if kept is not None and 0 < kept.until <= self._lab.monotonic():
                await self._heal(kept)
                if not kept.fault.reversible:
                    kept.until = 0.0

    async def keep_leases(self, every_s: float) -> None:
        """Look each ``every_s`` lab seconds which leases are over, and heal those faults (as
        ``lapse``), for as long as the task that runs this lives."""
        async with asyncio.TaskGroup() as healing:
            while True:
                await self._lab.sleep(every_s)
                for id in self._over():
                    if not self._lock(id).locked():
                        healing.create_task(self._lapse(id))

    async def _heal(self, kept: ListedFault, *, with_cure: bool = False) -> None:
        """Heal (or cure), look, and take it out of the list only when it is seen gone."""
        lab, fault, notes = self._lab, kept.fault, kept.notes
        if not fault.reversible and not with_cure:
            kept.state, kept.seen = FaultState.STAYS, "it has no undo; see its cure"
            await self._keep()
            return
        kept.ending = fault.reversible
        try:
            await fault.heal(lab, notes)
            if not fault.reversible:
                await fault.cure(lab, notes)
            floor_s = lab.in_lab_s(HEAL_FLOOR_S)
            seen = await self._until_empty(
                HEAL_TRIES, lambda: fault.verify_heal(lab, notes), floor_s
            )
        except (*REFUSALS, ChaosError) as error:
            seen = _one_line(error)
        if not seen:
            self._kept.pop(fault.id, None)
        else:
            reversible = fault.reversible
            kept.state = FaultState.NOT_HEALED if reversible else FaultState.STAYS
            kept.seen = seen
        await self._keep()

    async def _until_empty(
        self, tries: int, look: Callable[[], Awaitable[str]], floor_s: float = 0.0
    ) -> str:
        """The last thing seen by ``look``, which is asked again until it sees nothing wrong:
        ``tries`` times, and for ``floor_s`` lab seconds at least."""
        until, pause_s = self._lab.monotonic() + floor_s, max(PAUSE_S, floor_s / LOOKS_IN_FLOOR)
        while True:
            try:
                seen = await look()
            except REFUSALS as error:
                seen = _one_line(error)
            tries -= 1
            if not seen or (tries <= 0 and self._lab.monotonic() >= until):
                return seen
            await self._lab.sleep(pause_s)

    def _report(self, ids: list[str]) -> HealOutcome:
        left = [
            StillThere(
                id=id,
                kind=kept.fault.kind,
                reversible=kept.fault.reversible,
                seen=kept.seen,
                cure="" if kept.fault.reversible else kept.fault.cure_text(),
            )
            for id, kept in self._kept.items()
            if id in ids
        ]
        healed = tuple(id for id in ids if id not in self._kept)
        return HealOutcome(healed=healed, left=tuple(left))

    def _of(self, id: str) -> ListedFault:
        kept = self._kept.get(id)
        if kept is None:
            raise ChaosError("KS-CHAOS-104", f"no fault {id!r}")
        return kept

    def _lock(self, id: str) -> asyncio.Lock:
        return self._locks.setdefault(id, asyncio.Lock())

    async def _keep(self) -> None:
        if self._save is not None:
            await self._save(self.dump())

    def dump(self) -> bytes:
        """The list with all notes, as JSON; see ``chaos.keeper`` for what they hold."""
        return dump_faults(self._kept.values())

    def load(self, data: bytes) -> None:
        """Take over a list that ``dump`` wrote; KS-CHAOS-109 when it is none."""
        self._kept.update((kept.fault.id, kept) for kept in load_faults(data))


def _same_switch(one: Fault, other: Fault) -> str:
    """The node whose power both would hold, so that the end of one is the end of the other; empty
    when there is none, or for one that has no undo and holds it for no longer than its begin."""
    if not (one.holds_power and other.holds_power and one.reversible and other.reversible):
        return ""
    return next((str(node) for node in one.touches() if node in other.touches()), "")


def _one_line(error: Exception) -> str:
    """An error as one line."""
    return str(error) if isinstance(error, ChaosError) else f"{type(error).__name__}: {error}"
