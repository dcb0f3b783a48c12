"""The power of a VM changes once for each command, and otherwise only at a boot of its host, which
starts the VMs that should run (B9), at an orderly shutdown of its host, which stops all VMs, and
after the loss of its host in a cluster with HA, where others restart it (HA-01). A migration does
not change the power of a VM.

Reads the ``power`` state: what the hosts have logged. A command is one of the run's operations;
one that ended ``info`` may have its effect at any later time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record
from chaos.oracle.fold.vms import MIGRATE

ON: Final = "poweredOn"
_COMMANDS: Final = {
    "vm.power_cycle": (True, False),
    "vm.off_on": (True, False),
    "vm.recrypt_deep": (True, False),
    "vm.move": (True, False),
    "vm.restart": (True,),
    "vm.on": (True,),
    "vm.off": (False,),
    "vm.revert": (False, True),
}
"""Operation -> the changes that one command of it makes, or may make; True: on."""
Life = tuple[str, int]
"""A host, and which boot of it."""
LATE_S: Final = 3.0
"""A host that is looked at has said by then what it is."""
SLACK_S: Final = 1.0
"""Lab seconds by which a log line may lie outside of its command: both are stamped when written."""


@dataclass
class _Command:
    """One change that somebody asked for, to be made between two moments."""

    on: bool
    began: float
    ended: float


@dataclass
class _Vm:
    """``commands`` that nothing was done for yet; when, and in which record, each was ``asked``;
    ``runs`` is the life (host, boot) in which it does, ``started`` those in which it has; ``moves``
    where it was seen to run since, or may have come by a migration (None: nobody knows)."""

    commands: list[_Command] = field(default_factory=list)
    asked: list[tuple[float, int]] = field(default_factory=list)
    runs: Life | None = None
    started: set[Life] = field(default_factory=set)
    moves: list[tuple[float, Life | None, bool]] = field(default_factory=list)
    adrift: bool = False
    changed_at: float = -math.inf

    def come_to(self, t: float) -> None:
        """Where it is by then. What was seen just after a change may be older than that."""
        while self.moves and self.moves[0][0] <= t:
            at, there, seen = self.moves.pop(0)
            if seen and at - self.changed_at < LATE_S:
                continue
            self.runs = there
            self.adrift = self.runs is None
            if self.runs is not None:
                self.started.add(self.runs)


@dataclass
class _Hosts:
    """``lives``: the boot up to which each host came, one more when that has ended. ``available``:
    hosts of clusters with HA; ``ended``: when a life of one was first seen to be over."""

    lives: dict[str, int] = field(default_factory=dict)
    available: frozenset[str] = frozenset()
    ended: dict[Life, float] = field(default_factory=dict)

    def saw(self, host: str, boot: int, t: float, *, over: bool) -> None:
        """A host in this boot, or at its end."""
        last = self.lives.get(host, 0)
        self.lives[host] = max(last, boot + over)
        for gone in range(max(last, 1), self.lives[host]):
            self.ended.setdefault((host, gone), t)

    def restart(self, vm: _Vm, to: str, t: float) -> bool:
        """Whether HA may have powered the VM on there: the host that ran it is gone."""
        if vm.adrift and to in self.available:
            return True
        ran_there = vm.runs is not None and {vm.runs[0], to} <= self.available
        return ran_there and vm.runs in self.ended and self.ended[vm.runs] <= t + SLACK_S


def power_as_commanded(records: Sequence[Record]) -> Finding:
    """Pass when each change of a VM's power has a command, a boot or an orderly shutdown of its
    own.

    Unknown when the logs were not read, or no command and no boot changed anything. A failure shows
    the last command under way, and the record with the changes.
    """
    vms, hosts = _collect_commands(records)
    end = next((r for r in reversed(records) if r.type == "state" and r.op == "power"), None)
    if end is None:
        return Finding(CheckOutcome.UNKNOWN, "the hosts' logs were not read")
    changes = end.data["changes"]
    last = {(one["vm"], one["host"], one["boot"]): place for place, one in enumerate(changes)}
    bad: list[str] = []
    where: list[int] = []
    for place, change in enumerate(changes):
        vm = vms.setdefault(change["vm"], _Vm())
        vm.come_to(change["t"])
        final = last[change["vm"], change["host"], change["boot"]] == place
        if wrong := _judge_change(vm, change, hosts, final=final):
            life = f"{change['host']} (boot {change['boot']})"
            bad.append(f"{change['vm']} {wrong} at {change['t']:g} s on {life}")
            where += [seq for t, seq in vm.asked if t <= change["t"] + SLACK_S][-1:]
    if bad:
        return Finding(CheckOutcome.FAIL, "; ".join(bad[:5]), (*where, end.seq))
    if not changes:
        return Finding(CheckOutcome.UNKNOWN, "no VM's power changed")
    return Finding(CheckOutcome.PASS, f"{len(changes)} changes, each for a reason of its own")


def _judge_change(
    vm: _Vm,
    change: Mapping[str, Any],
    hosts: _Hosts,
    *,
    final: bool,
) -> str:
    """What is wrong with a change, the ``final`` one of its life or not; empty: nothing is."""
    life, on = (change["host"], change["boot"]), change["power"] == ON
    if on and vm.runs == life:
        return "was powered on while it ran"
    by_itself = on and (life not in vm.started or hosts.restart(vm, life[0], change["t"]))
    paid = by_itself or _pay(vm.commands, on, change["t"])
    vm.adrift, vm.changed_at = False, change["t"]
    if on:
        vm.runs = life
        vm.started.add(life)
        return "" if paid else "was powered on, and nobody asked"
    vm.runs = None
    stopped = final and hosts.lives.get(change["host"], 0) > change["boot"]
    return "" if paid or stopped else "was powered off, and nobody asked"


def _pay(commands: list[_Command], on: bool, t: float) -> bool:
    """Take the command for it that ends first, if there is one under way."""
    open_ = [c for c in commands if c.on is on and c.began - SLACK_S <= t <= c.ended + SLACK_S]
    if open_:
        commands.remove(min(open_, key=lambda command: command.ended))
    return bool(open_)


def _collect_commands(records: Sequence[Record]) -> tuple[dict[str, _Vm], _Hosts]:
    """Each VM as it was at first, with its commands; and the lives of the hosts."""
    vms: dict[str, _Vm] = {}
    hosts = _Hosts()
    open_: dict[int, list[_Command]] = {}
    looked = False
    for record in records:
        data = record.data
        if record.op in _COMMANDS and record.type == "invoke":
            made = [_Command(on, record.t, math.inf) for on in _COMMANDS[record.op]]
            vm = vms.setdefault(record.node, _Vm())
            vm.commands += made
            vm.asked.append((record.t, record.seq))
            open_[data.get("n", 0)] = made
        elif record.op in _COMMANDS and record.type in ("ok", "fail"):
            for command in open_.pop(data.get("n", 0), ()):
                command.ended = record.t
        elif record.op == MIGRATE and record.type in ("ok", "info"):
            if record.type == "info":
                vms.setdefault(record.node, _Vm()).moves.append((record.t, None, False))
            elif data["ran"]:
                there = (str(data["host"]), hosts.lives.get(data["host"], 0))
                vms.setdefault(record.node, _Vm()).moves.append((record.t, there, False))
        elif record.type == "state" and record.op == "node":
            over = data["state"] in ("off", "halted")
            hosts.saw(record.node, int(data["boot"]), record.t, over=over)
        elif record.type == "state" and record.op == "staging":
            hosts.available = frozenset(data.get("ha", ()))
        elif record.type == "state" and record.op == "look":
            looked = True
        elif record.type == "state" and record.op == "vm" and not looked and data["power"] == ON:
            vm = vms.setdefault(record.node, _Vm())
            vm.runs = (data["host"], int(data["boot"]))
            vm.started.add(vm.runs)
        elif record.type == "state" and record.op == "vm" and data["power"] == ON:
            there = (str(data["host"]), int(data["boot"]))
            vms.setdefault(record.node, _Vm()).moves.append((record.t, there, True))
    return vms, hosts
