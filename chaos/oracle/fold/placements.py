"""Where DRS starts VMs that people power on (HA-03): on a host that takes them, whatever keys it
has.

What is held against a run: a host that surely took no VM, or none that is encrypted, from before
the power-on to its end is not chosen; and a VM is not refused for want of a host while one surely
took it all that time. How VMs are spread over hosts that take them is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaos.history import Record
from chaos.oracle.effects import FaultEffect
from chaos.oracle.fold.answers import FoldAnswers
from chaos.oracle.fold.settings import SLACK_S
from chaos.oracle.fold.vms import FoldedVm
from chaos.oracle.fold.ways import RUNNING

NO_HOST = "InvalidState"
"""The answer to a power-on for which there is no host, or whose host is in maintenance mode."""
INCAPABLE = ("incapable", "pendingIncapable")


@dataclass
class Choice:
    """A power-on under way: the hosts that took the VM, and those that did not, ever since; for
    sure. ``could``: those that could have started it by now."""

    vm: str
    fit: set[str]
    unfit: set[str]
    could: set[str] = field(default_factory=set)


class Placements(FoldAnswers):
    """``placed``: hosts of clusters in which DRS chooses. ``misplaced``: what the record's power-on
    ought to have come to, where it came to something else."""

    def __init__(self, effects: Mapping[str, FaultEffect]) -> None:
        super().__init__(effects)
        self.placed: frozenset[str] = frozenset()
        self.misplaced = ""
        self._choices: dict[int, Choice] = {}

    def _chooses(self, number: int, name: str, vm: FoldedVm) -> None:
        """A power-on begins."""
        if vm.host in self.placed:
            there = self._cluster_of(vm)
            fit = {host for host in there if self._takes(host, vm)}
            unfit = {host for host in there if self._takes_none(host, vm)}
            self._choices[number] = Choice(name, fit, unfit)

    def _watch_choices(self) -> None:
        """What was so at the beginning may be otherwise by now."""
        for choice in self._choices.values():
            vm = self.vms.get(choice.vm)
            if vm is not None:
                choice.fit = {host for host in choice.fit if self._takes(host, vm)}
                choice.unfit = {host for host in choice.unfit if self._takes_none(host, vm)}

    def _hold_choice(self, choice: Choice, record: Record) -> None:
        """It ended, on this host or refused."""
        host = str(record.data.get("host", ""))
        if record.type == "ok" and host in choice.unfit:
            self.misplaced = "started on another host"
        elif record.type == "fail" and record.data.get("error") == NO_HOST and choice.fit:
            self.misplaced = f"started on {' or '.join(sorted(choice.fit))}"

    def _cluster_of(self, vm: FoldedVm) -> list[str]:
        cluster = self.hosts[vm.host].cluster
        return [name for name, host in self.hosts.items() if host.cluster == cluster]

    def _takes(self, name: str, vm: FoldedVm) -> bool:
        """Whether vCenter surely may choose it: it reaches it, and the host takes VMs."""
        host, node = self.hosts[name], self.nodes.get(name)
        if node is None or node.state != RUNNING or host.silent or host.seen_boot != node.boot:
            return False
        if host.maintained or host.maintains or host.disabled or host.crypto in INCAPABLE:
            return False
        providers = {key.partition("/")[0] for key in (*vm.keys, host.key) if key}
        reached = [self.way_to(name, provider).led_since for provider in sorted(providers)]
        return bool(reached) and self.now >= max(reached) + SLACK_S and not vm.unsure(self.now)

    def _takes_none(self, name: str, vm: FoldedVm) -> bool:
        """Whether it surely takes no such VM: by its own word, which nothing has changed since."""
        host, node = self.hosts[name], self.nodes.get(name)
        if node is None or host.silent or host.seen_boot != node.boot:
            return False
        off = host.disabled and host.crypto == "pendingIncapable" and bool(vm.keys)
        return (host.maintains and host.said_maintenance) or off
