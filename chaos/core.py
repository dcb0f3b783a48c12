"""The core of a lab: healed first, and what it suffices for demanded while the rest stays faulted.

Faults that always end hide what never recovers beside a part that stays broken. What is demanded
are the live hypotheses of ``after``, for the hosts of the core and the VMs that are on them; one
about all providers only when the core has every key server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.experiment.plan import Plan, PlannedProbe
from chaos.faults.base import Fault
from chaos.hypotheses.measure import Hypotheses
from chaos.hypotheses.probes import PROBES
from chaos.intervals import Intervals
from chaos.lab import Lab
from chaos.observe.look import Look, nodes_of
from chaos.progress import Phases
from chaos.watch import Watch
from protocol.terms import NodeName, Role, VmName


def hurts(fault: Fault, core: frozenset[NodeName]) -> bool:
    """Whether the core lacks something because of it: a node, or a link between two of its own."""
    edges = fault.between()
    if edges is not None:
        return any(a in core and b in core for a, b in edges)
    touched = fault.touches()
    return not touched or not core.isdisjoint(touched)


@dataclass
class Core:
    """The phase of the core of one plan."""

    plan: Plan
    lab: Lab
    intervals: Intervals
    hypotheses: Hypotheses
    watch: Watch
    phases: Phases

    async def hold(self) -> tuple[list[CheckResult], list[str]]:
        """Heal the core and wait until it works; what was measured, and what was not seen to be
        gone of its faults."""
        core = frozenset(self.plan.core)
        text = f"{len(core)} nodes are healed, the rest stays as it is"
        self.phases.begin("core", text, self.plan.core_s)
        async with asyncio.TaskGroup() as group:
            renew = group.create_task(self.intervals.renew(), name="renew")
            problems = await self.watch.during(
                self.intervals.heal(lambda fault: hurts(fault, core))
            )
            left = self.intervals.there()
            results = [] if problems else await self._demanded(core)
            renew.cancel()
        if not left:
            text = "no fault was left outside of it, so that nothing is shown"
            results.append(CheckResult(name="core", result=CheckOutcome.UNKNOWN, text=text))
        elif not results and not problems:
            text = "no hypothesis of `after` is about it"
            results.append(CheckResult(name="core", result=CheckOutcome.UNKNOWN, text=text))
        return results, problems

    async def _demanded(self, core: frozenset[NodeName]) -> list[CheckResult]:
        """The hypotheses about the core, until they hold or their time is over."""
        vms = await self._vms(core)
        probes = [
            found
            for probe in self.hypotheses.of("after")
            if (found := self._of_core(probe, core, vms)) is not None
        ]
        self.phases.tell(f"{len(probes)} hypotheses of {len(vms)} VMs on its hosts")
        return await self.watch.during(self.hypotheses.until_hold(probes, self.plan.core_s))

    def _of_core(
        self, probe: PlannedProbe, core: frozenset[NodeName], vms: Sequence[VmName]
    ) -> PlannedProbe | None:
        """The probe, asked about the core alone; None when it is not about it."""
        kind = PROBES[probe.probe]
        if not kind.live:
            return None
        of_core = msgspec.structs.replace(
            probe,
            when="core",
            vms=tuple(vm for vm in probe.vms if vm in vms),
            hosts=tuple(host for host in probe.hosts if host in core),
        )
        match kind.about:
            case "vms":
                return of_core if of_core.vms else None
            case "hosts":
                return of_core if of_core.hosts else None
            case _:
                whole = core.issuperset(nodes_of(self.lab, Role.KMS))
                return of_core if whole or probe.probe != "provider.green" else None

    async def _vms(self, core: frozenset[NodeName]) -> tuple[VmName, ...]:
        """The VMs on hosts of the core, as vCenter or their host has them."""
        look = Look(self.lab)
        places = {vm: info.host for vm, info in (await look.vcenter_vms()).items()}
        places |= {vm: host for vm, (host, _) in (await look.vms()).items()}
        return tuple(vm for vm in self.lab.directory().vms if places.get(vm) in core)
