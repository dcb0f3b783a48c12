"""The VMs that a cluster with vSphere HA must have restarted: their host has failed, every other
host can start them, and nothing separates the agents (HA-01)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from chaos.oracle.effects import FaultEffect
from chaos.oracle.facts import Question
from chaos.oracle.fold.known import YES
from chaos.oracle.fold.operations import FoldedOperations
from chaos.oracle.fold.possible import Outcomes
from chaos.oracle.fold.vms import FoldedVm
from chaos.oracle.fold.ways import RUNNING
from chaos.oracle.terms import Letter


class Availability(FoldedOperations):
    """``available``: hosts of clusters with vSphere HA."""

    def __init__(self, effects: Mapping[str, FaultEffect]) -> None:
        super().__init__(effects)
        self.available: frozenset[str] = frozenset()

    def restart_due(self, name: str) -> Outcomes:
        """The outcomes of a restart that must have happened by now; empty if none must."""
        vm = self.vms[name]
        if self.now < vm.lost_since + self.settings.restart_s:
            return frozenset()
        return self._restarts(vm)

    def _look_for_lost(self) -> None:
        """Since when each VM is without its host, for sure, and could be restarted."""
        for vm in self.vms.values():
            lost = vm.host in self.available and self._is_lost(vm) and bool(self._restarts(vm))
            vm.lost_since = min(vm.lost_since, self.now) if lost else math.inf

    def _is_lost(self, vm: FoldedVm) -> bool:
        """Whether it surely ran in the life of its host that has surely ended by a failure."""
        node = self.nodes[vm.host]
        ran = vm.to_run == YES and vm.ran_boot == node.boot and not vm.unsure(self.now)
        alone = self.faults.leaves_failure_open(vm.host)
        return ran and node.state == "off" and self.faults.held_down(vm.host) and not alone

    def _restarts(self, vm: FoldedVm) -> Outcomes:
        """What it comes to on the other hosts, if it works on each of them, and each has heard the
        others for long enough; else nothing."""
        cluster = self.hosts[vm.host].cluster
        others = [name for name, host in self.hosts.items() if host.cluster == cluster]
        others.remove(vm.host)
        found: list[Outcomes] = []
        for name in others:
            host, node = self.hosts[name], self.nodes.get(name)
            up = node is not None and node.state == RUNNING and not host.silent
            long = node is not None and self.now >= node.since + self.settings.judges_s
            if not (up and long) or host.maintained or host.maintains:
                return frozenset()
            if any(self.faults.passes(name, other) != YES for other in others):
                return frozenset()
            found.append(self.outcomes(Question.RESTART, vm, host, name))
        together = frozenset(one for outcomes in found for one in outcomes)
        return together if all(one.letter is Letter.OK for one in together) else frozenset()
