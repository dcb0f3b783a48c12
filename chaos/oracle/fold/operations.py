"""What operations on VMs and hosts lead to: each is under way, had its effect, had none, or nobody
knows. Where DRS starts VMs that people power on (HA-03), and which VMs vSphere HA must have
restarted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from chaos.history import Record
from chaos.oracle.effects import FaultEffect
from chaos.oracle.facts import Question
from chaos.oracle.fold.answers import FoldAnswers, Outcomes
from chaos.oracle.fold.known import NO, OPEN, YES
from chaos.oracle.fold.settings import SLACK_S
from chaos.oracle.fold.vms import MIGRATE, OFF, ON, REVERT, FoldedVm
from chaos.oracle.fold.ways import RUNNING
from chaos.oracle.terms import Letter

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


PERSISTENCE = "esx.persistence."
ASKED = {MIGRATE: Question.MOVE}
"""What is asked of the host that a VM comes to; any other move ends with a start there."""


class FoldedOperations(Placements):
    """The records of operations, taken one by one.

    ``beyond``: VMs that are not followed any more. ``impossible``: what the start of the record's
    VM could have come to, where it succeeded all the same.
    """

    def __init__(self, effects: Mapping[str, FaultEffect]) -> None:
        super().__init__(effects)
        self.beyond: set[str] = set()
        self.impossible: Outcomes = frozenset()
        self._moving: dict[int, tuple[str, Question, set[str]]] = {}
        """Of each move under way its VM, what is asked of the host that it comes to, and the hosts
        that could have done that by now."""
        self._starting: dict[int, str] = {}  # the VM of each power operation under way
        self._keys: dict[str, dict[str, tuple[str, ...]]] = {}  # by host and provider

    def _watch_starts(self) -> None:
        """What is under way may have worked by what is known now."""
        for number, name in self._starting.items():
            vm = self.vms.get(name)
            if vm is not None and not vm.under_way.get(number, True):
                vm.under_way[number] = self._may_start(vm)
        self._watch_choices()
        for choice in self._choices.values():
            if (vm := self.vms.get(choice.vm)) is not None:
                self._watch_move(vm, Question.START, choice.could)
        for name, ask, could in self._moving.values():
            vm = self.vms.get(name)
            if vm is not None:
                self._watch_move(vm, ask, could)

    def _watch_move(self, vm: FoldedVm, ask: Question, could: set[str]) -> None:
        """Which hosts of its cluster could take it over now."""
        own = self.hosts.get(vm.host)
        for name, host in self.hosts.items():
            if name in could or not self._reaches(vm, ask, name):
                continue
            found = self.elsewhere(ask, vm, host, name)
            if own is None or any(one.letter is Letter.OK for one in found):
                could.add(name)

    def _reaches(self, vm: FoldedVm, ask: Question, name: str) -> bool:
        """Whether a VM may come to that host: of its cluster, or of another vCenter (MOB-07)."""
        own, host = self.hosts.get(vm.host), self.hosts[name]
        other = self.realms.at(name) is not self.realms.at(vm.host)
        return own is None or host.cluster == own.cluster or (ask is Question.MOVE and other)

    def _may_start(self, vm: FoldedVm) -> bool:
        host = self.hosts.get(vm.host)
        return (
            host is None
            or vm.unsure(self.now)
            or any(found.letter is Letter.OK for found in self.outcomes(Question.START, vm, host))
        )

    def _give_up(self, name: str) -> None:
        """Follow this VM no longer."""
        self.beyond.add(name)
        if self.vms.pop(name, None) is not None:
            self._keys.clear()

    def _take_move(self, record: Record) -> None:
        """One that was moved in order is on; any other may be listed by two hosts, or by none."""
        vm, number = self.vms.setdefault(record.node, FoldedVm()), int(record.data.get("n", 0))
        if record.type == "invoke":
            vm.began(number)
            self._moving[number] = record.node, ASKED.get(record.op, Question.START), set()
            return
        if number in self._moving:
            self._hold_move(vm, *self._moving.pop(number)[1:], record)
        if record.op == MIGRATE:
            vm.end_migration(number, record.type, record.t)
            if record.type == "ok":
                self._came(vm, str(record.data["host"]), ran=bool(record.data["ran"]))
        elif record.type == "fail" or (record.type, record.op) == ("ok", "vm.move"):
            vm.end(number, record.type, record.t, -1)
            self._came(vm, str(record.data.get("host", vm.host)), ran=True)
        else:
            self._give_up(record.node)

    def _hold_move(self, vm: FoldedVm, ask: Question, could: set[str], record: Record) -> None:
        """A VM that goes on where it can have had no key since it was asked for (MOB-04)."""
        target = str(record.data.get("host", ""))
        if record.type != "ok" or not record.data.get("ran", True) or target not in self.hosts:
            return
        self._watch_move(vm, ask, could)
        if target not in could:
            self.impossible = self.elsewhere(ask, vm, self.hosts[target], target)

    def _came(self, vm: FoldedVm, host: str, *, ran: bool) -> None:
        """It is on this host now, and runs there if it ``ran``, so that its keys are there."""
        if host == vm.host or host not in self.nodes:
            return
        self._forget_keys(vm, host)
        if ran:
            vm.came_to(host, self.nodes[host].boot)
            for key in vm.keys:
                self.hosts[host].observe(key, held=True)
        else:
            vm.note_restart_elsewhere()
            vm.host, vm.boot = host, -1
        self._keys.clear()

    def _forget_keys(self, vm: FoldedVm, name: str) -> None:
        """What is known of its keys on a host that it was on before is old (``keys_by_host``)."""
        others = {key for other in self.vms.values() if other.host == name for key in other.keys}
        host = self.hosts[name]
        for key in vm.keys:
            if key != host.key and key not in others:
                host.places.pop(key, None)

    def _take_recrypt(self, record: Record) -> None:
        vm, number = self.vms.setdefault(record.node, FoldedVm()), int(record.data.get("n", 0))
        if record.type == "invoke":
            vm.rekeyed.add(number)
            return
        vm.end_recrypt(number, record.type, record.t)
        if record.type == "ok" and vm.host in self.hosts:
            key = f"{record.data['provider']}/{record.data['key']}"
            self.hosts[vm.host].observe(key, held=True)

    def _operation(self, record: Record) -> None:
        vm, number = self.vms.setdefault(record.node, FoldedVm()), int(record.data.get("n", 0))
        if record.type == "invoke":
            vm.began(number)
            self._starting[number] = record.node
            if record.op not in (OFF, REVERT):
                self._chooses(number, record.node, vm)
        else:
            self._starting.pop(number, None)
            if (choice := self._choices.pop(number, None)) is not None:
                self._take_placement(vm, choice, record)
                return
            host, node, works = (
                self.hosts.get(vm.host),
                self.nodes.get(vm.host),
                self._may_start(vm),
            )
            on = record.op != OFF and record.data.get("power", ON) == ON
            could = works or vm.under_way.get(number, True) or not on
            if record.type == "ok" and not could and host is not None:
                self.impossible = self.outcomes(Question.START, vm, host)
            boot = node.boot if node and works else -1
            vm.end(number, record.type, record.t, boot, on=on)

    def _take_placement(self, vm: FoldedVm, choice: Choice, record: Record) -> None:
        """The end of a power-on in a cluster in which DRS chooses the host. It is known where the
        record says so, else when a host tells of the VM; one that was refused may have moved."""
        self._hold_choice(choice, record)
        host = str(record.data.get("host", ""))
        if record.type != "ok" or host not in self.hosts:
            vm.end(int(record.data.get("n", 0)), record.type, record.t, -1)
            return
        self._hold_move(vm, Question.START, choice.could, record)
        self._came(vm, host, ran=True)
        vm.end(int(record.data.get("n", 0)), record.type, record.t, self.nodes[host].boot)

    def _persistence(self, record: Record) -> None:
        """Of a host that is named, or the host of a VM that is: it is being turned on or off."""
        vm = self.vms.get(record.node)
        host = self.hosts.get(record.node if vm is None else vm.host)
        if host is None:
            return
        host.toggles += 1 if record.type == "invoke" else -1
        known = {PERSISTENCE + "enable": YES, PERSISTENCE + "disable": NO}.get(record.op)
        if record.type == "info" or (record.type == "invoke" and known is not None):
            host.has_persistence(OPEN)
        elif record.type == "ok" and known is not None:
            host.has_persistence(known, turned=True)


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
