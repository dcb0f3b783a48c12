"""Bugs of the chaos engine: faults, keeper, probes, checks and history."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import math
from collections.abc import Iterator
from typing import Any

import msgspec

import chaos.history as history
import chaos.playing.schedule as intervals
import chaos.workload as workload
from chaos.faults import FAULTS
from chaos.faults.links import LinkRulesFault
from chaos.faults.nodes import ProcKill
from chaos.hypotheses.probes import Measured, Tolerance
from chaos.keeper import FaultKeeper, FaultState
from chaos.observe.guests import Guests
from chaos.playing.measure import Hypotheses
from protocol.errors import InvalidState, ProductError
from services.runtime.link_rules import RuleTable
from tests.mutations.bugs.planting import plant, replaces


def bites_believed() -> None:
    """Faults broken: no bite check looks; each says that its fault is there."""

    async def _there(self: Any, lab: Any, notes: Any) -> str:
        return ""

    for owner in {cls for fault in FAULTS for cls in fault.__mro__ if "bites" in vars(cls)}:
        plant(owner, "bites", lambda original: _there)


def blind_probe_holds() -> None:
    """Hypotheses broken: what could not be measured counts as what held."""

    @replaces(Hypotheses, "judge")
    def judged(original: Any, self: Hypotheses, probe: Any, found: Measured) -> Any:
        if math.isnan(found.value):
            found = Measured(probe.is_.limit, found.detail)
        return original(self, probe, found)


def bound_the_wrong_way() -> None:
    """Tolerances broken: "less than" holds for more, and "more than" for less."""

    _OTHER = {"<": ">", ">": "<"}

    @replaces(Tolerance, "holds")
    def holds(original: Any, self: Tolerance, value: float) -> Any:
        compare = _OTHER.get(self.compare, self.compare)
        return original(msgspec.structs.replace(self, compare=compare), value)


def chain_uncompared() -> None:
    """Histories broken: a record need not carry the digest of the one before."""

    class _Any(str):
        """A digest that is equal to every other."""

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = str.__hash__

    class _Agreeable:
        """A digest of some bytes that agrees with everything."""

        def __init__(self, data: bytes = b"") -> None:
            pass

        def update(self, data: bytes) -> None:
            pass

        def hexdigest(self) -> str:
            return _Any()

    class _Hashes:
        sha256 = _Agreeable

    @replaces(history, "records_of")
    def records_of(original: Any, lines: Any) -> Iterator[history.Record]:
        vars(history)["hashlib"] = _Hashes
        try:
            yield from original(lines)
        finally:
            vars(history)["hashlib"] = hashlib


def cut_stays() -> None:
    """Faults broken: links that were cut stay so when that is taken back, and nobody looks."""

    async def _nothing(self: Any, lab: Any, notes: Any) -> None:
        """The rules stay where they are."""

    async def _gone(self: Any, lab: Any, notes: Any) -> str:
        return ""

    plant(LinkRulesFault, "heal", lambda original: _nothing)
    plant(LinkRulesFault, "verify_heal", lambda original: _gone)


def failed_heal_unsaved() -> None:
    """The keeper broken: that a heal was not seen is known to this controller only."""

    @replaces(FaultKeeper, "_keep")
    async def keep(original: Any, self: Any) -> None:
        if all(kept.state is not FaultState.NOT_HEALED for kept in self._kept.values()):
            await original(self)


def fault_saved_late() -> None:
    """The keeper broken: a fault is written down only when it is seen to bite."""

    @replaces(FaultKeeper, "_keep")
    async def keep(original: Any, self: Any) -> None:
        if all(kept.state is not FaultState.BEGINNING for kept in self._kept.values()):
            await original(self)


def guests_unread_at_the_end() -> None:
    """The engine broken: guests are not asked to read their disks when the run ends."""

    plant(Guests, "list_planted", lambda original: lambda self: ())


def heal_unverified() -> None:
    """Faults broken: what was told to heal leaves the list without a look."""

    async def _trusting(self: Any, *looks: Any) -> str:
        return ""

    plant(FaultKeeper, "_until_empty", lambda original: _trusting)


def heals_believed() -> None:
    """Faults broken: no heal check looks; each says that its fault is gone."""

    async def _gone(self: Any, lab: Any, notes: Any) -> str:
        return ""

    for owner in {cls for fault in FAULTS for cls in fault.__mro__ if "verify_heal" in vars(cls)}:
        plant(owner, "verify_heal", lambda original: _gone)


def kill_powers_on_others() -> None:
    """Faults broken as they once were: the end of a kill powers on whatever has gone down since."""

    @replaces(ProcKill, "_fell")
    async def fell(original: Any, self: Any, lab: Any, notes: Any) -> list[str]:
        return list(notes.get("all", {}))


def lease_never_lapses() -> None:
    """Leases broken: a fault whose lease is over stays in force, at the keeper and at the nodes."""

    def _none_over(self: Any) -> list[str]:
        return []

    def _alive(self: Any, link: Any) -> Any:
        return self._chains.get(link, ())

    plant(FaultKeeper, "_over", lambda original: _none_over)
    plant(RuleTable, "_alive", lambda original: _alive)


def may_have_happened_is_failed() -> None:
    """Workloads broken: an operation whose answer was lost is written down as one that failed."""

    class _Hasty(dict[str, Any]):
        """Operations whose every error says that nothing happened."""

        def __getitem__(self, name: str) -> Any:
            operation = super().__getitem__(name)

            async def run(means: Any, arrival: Any) -> Any:
                try:
                    return await operation.run(means, arrival)
                except ProductError as error:
                    raise InvalidState(str(error)) from None

            return dataclasses.replace(operation, run=run)

    plant(workload, "OPERATIONS", _Hasty)


def second_try_gone() -> None:
    """The end of a run broken: what could not be healed at first is not tried once more."""

    @replaces(intervals.Intervals, "_heal_begun")
    async def heal_begun(original: Any, *given: Any) -> Any:
        vars(intervals)["range"] = lambda tries: builtins.range(min(tries, 1))
        try:
            return await original(*given)
        finally:
            del vars(intervals)["range"]


def silent_guest_works() -> None:
    """Probes broken: a guest that does not answer is taken for one that works."""

    @replaces(Guests, "challenge")
    async def challenge(original: Any, self: Guests, vm: Any, host: Any) -> Any:
        asked = await original(self, vm, host)
        return asked if asked.right is not None else dataclasses.replace(asked, right=True)
