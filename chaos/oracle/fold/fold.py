"""The facts of a run, folded from its history, and what the rules allow under them.

Faults, operations and observations come as records. What is being made or taken back, and what
ended ``info``, leaves facts open: more is allowed then. What was seen closes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from chaos.history import Record
from chaos.oracle.facts import Ask, Change
from chaos.oracle.fold.disturbances import (
    FIRMWARE,
    LATENT,
    TPM,
    Disturbance,
    Disturbances,
    Phase,
)
from chaos.oracle.fold.hosts import HostFacts
from chaos.oracle.fold.known import NO, OPEN, YES, Known, either
from chaos.oracle.fold.possible import WORKS, Outcomes, lock_states, of_key, of_vm
from chaos.oracle.fold.settings import Settings
from chaos.oracle.fold.vms import FOLLOWED, POWERS, TAKEN, VmFacts, keys_by_host
from chaos.oracle.fold.ways import RUNNING, Node, Way, Ways
from chaos.oracle.judgement import Outcome
from chaos.oracle.terms import Letter

OFF, BOOTING, SCREEN = "off", "booting", "halted"
CHANGED_S = 3.0
"""So long after a change of firmware it is open whether a boot had it: nodes are seen each second.
"""


@dataclass(frozen=True)
class Allowed:
    """What a host or a VM may be now, and what the reasons say of each possibility."""

    states: frozenset[str]
    outcomes: Outcomes = frozenset()

    @property
    def because(self) -> str:
        """The reasons, as ``R5, R7``."""
        numbers = sorted({number for found in self.outcomes for number in found.reasons})
        return ", ".join(f"R{number}" for number in numbers)


class Fold:
    """Takes the records of one run in their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.settings = Settings()
        self.hosts: dict[str, HostFacts] = {}
        self.vms: dict[str, VmFacts] = {}
        self.marked: frozenset[str] = frozenset()
        """VMs that vCenter has as locked."""
        self.marked_at = 0
        self.nodes: dict[str, Node] = {}
        self.faults = Disturbances()
        self.ways = Ways(self.faults, self.nodes)
        self._changed: dict[str, float] = {}  # when the firmware of a host was last changed
        self.lost = ""  # the first action after which nobody knows what is allowed
        self._looked = False
        self._told: dict[str, Allowed] = {}  # since the last record, as the two below
        self._vms_told: dict[str, frozenset[str]] = {}
        self._asked: dict[tuple[Ask, str, str], Outcomes] = {}
        self._keys: dict[str, dict[str, tuple[str, ...]]] = {}  # by host and provider
        self._flowed: dict[tuple[str, str], tuple[object, ...]] = {}

    # ---- records ----------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        """Follow one record. What was seen in a look narrows with the record after it: until then
        ``allowed_host`` and ``allowed_vm`` say what the look is to be held against."""
        if self._looked:
            self._narrow()
        self._told.clear()
        self._vms_told.clear()
        self._asked.clear()
        self.now = record.t
        found = self.faults.take(record)
        if found is not None:
            self._fault(found, record)
        elif record.op in POWERS and record.type in ("invoke", "ok", "fail", "info"):
            self._operation(record)
        elif record.op in TAKEN and record.type == "ok":
            self.vms.pop(record.node, None)
            self._keys.clear()
        elif record.type in ("ok", "info") and "action" in record.data:
            self.lost = self.lost or ("" if record.op in FOLLOWED else record.op)
        elif record.type == "state":
            match record.op:
                case "staging":
                    self._staging(record.data)
                case "node":
                    self._node(record)
                case "host" if record.node in self.hosts:
                    self.hosts[record.node].saw(record.data, record.seq)
                    self._keys.clear()
                case "vm":
                    self.vms.setdefault(record.node, VmFacts()).saw(record.data, record.seq)
                    self._keys.clear()
                case "marks":
                    self.marked, self.marked_at = frozenset(record.data["locked"]), record.seq
                case "look":
                    self._look()

    def _staging(self, data: dict[str, Any]) -> None:
        self.settings = Settings.of(data.get("knobs", {}))
        for host, cluster in data["clusters"].items():
            self.hosts[host] = HostFacts(
                cluster=cluster,
                secure_boot=data["secure_boot"].get(host),
                writes=self.settings.writes_at_once,
            )
        self.ways.vcenter = str(next(iter(data["vcenters"]), ""))
        self.ways.servers = {
            found["name"]: tuple(found["servers"])
            for found in data["providers"]
            if found["type"] == "vCenter"
        }

    def _fault(self, found: Disturbance, record: Record) -> None:
        for name, host in self.hosts.items():
            if not found.about(name):
                continue
            if found.kind in LATENT:
                self._changed[name] = record.t
            elif found.kind in TPM:
                self._tpm(host, found, record)
            sealed_anew = any(other.about(name) for other in self.faults.of(*TPM))
            changed = any(other.about(name) for other in self.faults.of(*FIRMWARE))
            host.unsure |= sealed_anew and changed
        self.ways.look(record.t)
        self._keys_on_their_way()

    def _tpm(self, host: HostFacts, found: Disturbance, record: Record) -> None:
        """It is done with the power off; a host that was on has booted when it is there, and
        after its cure it has booted twice."""
        if record.type == "fault" and found.phase is Phase.ON and host.sealed:
            host.stops, host.change = YES, Change.TPM
        elif record.type == "heal" and record.data.get("verified"):
            host.stops, host.change = NO, Change.NOTHING
        elif found.phase is not Phase.ON:
            host.stops = OPEN

    def _operation(self, record: Record) -> None:
        vm, number = self.vms.setdefault(record.node, VmFacts()), int(record.data.get("n", 0))
        if record.type == "invoke":
            vm.began(number)
        else:
            host, node = self.hosts.get(vm.host), self.nodes.get(vm.host)
            works = host is not None and any(
                found.letter is Letter.OK for found in self.outcomes(Ask.START, vm, host)
            )
            boot = node.boot if node and works else -1
            vm.ended(number, record.type, record.t, boot, on=record.op != "vm.off")

    def _node(self, record: Record) -> None:
        state, boot = str(record.data["state"]), int(record.data["boot"])
        before = self.nodes.get(record.node)
        self.nodes[record.node] = Node(state, boot, record.t, record.seq)
        host = self.hosts.get(record.node)
        if host is not None and (before is None or before.boot != boot):
            if before is not None:
                host.booted(boot)
                host.stops = self._stop_of(record.node, host)
                for vm in self.vms.values():
                    if vm.host == record.node:
                        vm.tries.clear()
            host.boot = boot
            self.ways.booted(record.node)
        self.ways.look(record.t)
        self._keys_on_their_way()

    def _stop_of(self, name: str, host: HostFacts) -> Known:
        """Whether the boot that has just begun had to end at the screen (R18)."""
        host.change, stops = Change.NOTHING, NO
        for found in self.faults.of(*TPM, *LATENT):
            if not found.about(name):
                continue
            change = self.settings.change_by(found.kind, found.values, host.secure_boot)
            if change in (Change.POLICY, Change.TPM) and host.sealed:
                known = found.kind != "host.exec_option_removed"  # whether it is required
                host.change, stops = change, either((stops, found.holds if known else OPEN))
        recent = self.now - self._changed.get(name, -CHANGED_S) < CHANGED_S
        return OPEN if recent and host.sealed else stops

    def _narrow(self) -> None:
        """Learn from what was seen, where it was allowed: another thing is a breach, no lesson."""
        self._looked = False
        for name, host in self.hosts.items():
            seen = self.seen_host(name)
            if host.key and seen in ("safe", "prepared") and seen in self.allowed_host(name).states:
                host.seen(host.key, held=seen == "safe")
        for name, vm in self.vms.items():
            seen = self.seen_vm(name)
            if not seen or seen not in self.vm_may_be(name):
                continue
            if vm.running:
                vm.ran_boot = self.nodes[vm.host].boot
            for key in vm.keys:
                # One that runs goes on when its key is taken away (LOCK-04): it tells nothing then.
                if not vm.running or not self._may_be_evicted(key.partition("/")[0]):
                    self.hosts[vm.host].seen(key, held=key not in vm.missing)

    def _look(self) -> None:
        self._looked = True
        self._keys_on_their_way()
        for vm in self.vms.values():
            vm.settle(self.now)
            host = self.hosts.get(vm.host)
            if host is not None and self._tries_to_start(vm, host):
                vm.tries |= self.outcomes(Ask.START, vm, host)

    # ---- keys -------------------------------------------------------------------------------

    def _keys_on_their_way(self) -> None:
        """What vCenter may have brought to hosts, or taken away, until now."""
        if not self._keys:
            self._keys = keys_by_host(self.hosts, self.vms)
            self._flowed.clear()
        source = self.faults.version if any(self.faults.of("kms.key_state")) else 0
        evicted = {provider: self._may_be_evicted(provider) for provider in self.ways.servers}
        for name, host in self.hosts.items():
            for provider, keys in self._keys[name].items():
                way = self.ways.to(name, provider)
                taken = evicted.get(provider, False)
                if not (way.could or taken):
                    continue
                settled = way.could and self._settled(way)
                now = (host.moved, way.could, settled, taken, source)
                if self._flowed.get((name, provider)) != now:  # else all of it is known already
                    self._flowed[name, provider] = now
                    self._move(host, keys, way, settled=settled, taken=taken)

    def _move(
        self, host: HostFacts, keys: tuple[str, ...], way: Way, *, settled: bool, taken: bool
    ) -> None:
        for key in keys:
            usable = self.usable(key)
            if way.could and usable != NO:
                host.brought(key, surely=usable == YES and settled)
            if taken:
                host.taken_away(key, memory=key != host.key)

    def usable(self, key: str) -> Known:
        """Whether the key is Active at its source."""
        if not any(self.faults.of("kms.key_state")):
            return YES
        users = frozenset(name for name, vm in self.vms.items() if key in vm.keys)
        return self.faults.usable(key, users)

    def _settled(self, way: Way) -> bool:
        """Whether the way has been there long enough that its keys have come."""
        late = way.open_since > self.settings.begin_s
        opened = way.open_since + (self.settings.repair_s if late else 0.0)
        return self.now >= max(opened, way.host_since + self.settings.connect_s)

    def _may_be_evicted(self, provider: str) -> bool:
        """Whether the repair after the grace may have taken the provider's keys away (C4)."""
        gone = [f for f in self.faults.of("provider.delete") if f.values["provider"] == provider]
        return any(self.now - found.begun >= self.settings.grace_s for found in gone)

    # ---- what is allowed --------------------------------------------------------------------

    def outcomes(self, ask: Ask, vm: VmFacts, host: HostFacts) -> Outcomes:
        """What an operation on a VM can come to on this host, by all that is known."""
        if not vm.keys:
            return WORKS
        of_keys = tuple(self._outcomes_of(ask, key, host, vm.host) for key in vm.keys)
        return of_vm(of_keys, self.host_outcomes(vm.host, host))

    def _outcomes_of(self, ask: Ask, key: str, host: HostFacts, name: str) -> Outcomes:
        found = self._asked.get((ask, key, name))
        if found is None:
            found = self._asked[ask, key, name] = self._answer(ask, key, host, name)
        return found

    def _answer(self, ask: Ask, key: str, host: HostFacts, name: str) -> Outcomes:
        way = self.ways.to(name, key.partition("/")[0])
        parts = way.parts
        if parts.kms == YES and not self._settled(way):
            parts = parts._replace(kms=OPEN)  # it has not been there long enough to be used
        renewable = OPEN if len(self.ways.servers) > 1 else NO
        return of_key(ask, host.places_of(key), parts, self.usable(key), renewable, host.sealed)

    def host_outcomes(self, name: str, host: HostFacts) -> Outcomes:
        """What state the rules give a host that is up."""
        return self._outcomes_of(Ask.BOOT, host.key, host, name)

    def _tries_to_start(self, vm: VmFacts, host: HostFacts) -> bool:
        """Whether the host may be trying to start what ran before its boot (B9)."""
        node = self.nodes.get(vm.host)
        if node is None or vm.ran_boot == node.boot or node.state != RUNNING:
            return False
        return self.now <= node.since + self.settings.tries_s

    def allowed_host(self, name: str) -> Allowed:
        """What the host may be: ``safe``, ``prepared``, ``halted``, ``booting``, ``off``."""
        found = self._told.get(name)
        if found is None:
            found = self._told[name] = self._host_may_be(name)
        return found

    def _host_may_be(self, name: str) -> Allowed:
        host, node = self.hosts[name], self.nodes.get(name)
        states: set[str] = set()
        outcomes: set[Outcome] = set()
        if True in host.stops or host.unsure:
            states.add(SCREEN)
            outcomes.add(host.screen())
        if False in host.stops or host.unsure:
            found = self.host_outcomes(name, host) if host.key else frozenset()
            outcomes |= found
            states |= {_STATE[state.letter] for state in found}
            if not found or host.crypto not in ("safe", "prepared"):
                states |= {"safe", "prepared", "incapable", "pendingIncapable"}
        if self.faults.may_be_off(name):
            states |= {OFF, BOOTING}
        if node is not None and node.state == BOOTING:
            if self.now - node.since <= self.settings.boot_s:
                states.add(BOOTING)
        return Allowed(frozenset(states), frozenset(outcomes))

    def seen_host(self, name: str) -> str:
        """What the host is seen to be; empty when nobody can tell."""
        host, node = self.hosts[name], self.nodes.get(name)
        if node is None:
            return ""
        if node.state != RUNNING:
            return node.state
        fresh = not host.silent and host.seen_boot == node.boot
        return host.crypto if fresh else ""

    def seen_at(self, name: str) -> int:
        """The ``seq`` of the record by which ``seen_host`` says what it does."""
        node = self.nodes[name]
        return self.hosts[name].seq if node.state == RUNNING else node.seq

    def vm_may_be(self, name: str) -> frozenset[str]:
        """What the VM may be on a host that is up: ``running``, ``off``, ``locked``."""
        found = self._vms_told.get(name)
        if found is None:
            vm = self.vms[name]
            found = self._vms_told[name] = self._vm_states(vm, self._runs(vm))
        return found

    def _vm_states(self, vm: VmFacts, runs: Known) -> frozenset[str]:
        if runs == YES:
            return RUNS
        stopped = lock_states(self.outcomes(Ask.START, vm, self.hosts[vm.host]))
        return stopped if runs == NO else stopped | RUNS

    def allowed_vm(self, name: str) -> Allowed:
        """The same with the reasons."""
        vm = self.vms[name]
        host, node = self.hosts[vm.host], self.nodes[vm.host]
        goes_on = vm.ran_boot == node.boot and self._runs(vm) == YES
        outcomes = self.outcomes(Ask.RUN if goes_on else Ask.START, vm, host)
        return Allowed(self.vm_may_be(name), outcomes | vm.tries)

    def _runs(self, vm: VmFacts) -> Known:
        if vm.to_run != YES or vm.ran_boot == self.nodes[vm.host].boot:
            return vm.to_run  # nothing but a command ends what runs (LOCK-04)
        if self.hosts[vm.host].maintenance:
            return OPEN
        return vm.may_have_started()

    def seen_vm(self, name: str) -> str:
        """What the VM is seen to be; empty when nobody can tell."""
        vm = self.vms[name]
        if vm.host not in self.hosts or vm.host not in self.nodes:
            return ""
        host = self.hosts[vm.host]
        up = self.nodes[vm.host].state == RUNNING and not host.silent
        return vm.label if up and host.seen_boot == self.nodes[vm.host].boot else ""


RUNS: Final = frozenset({"running"})
_STATE = {Letter.SAFE: "safe", Letter.UNSAFE: "prepared"}
