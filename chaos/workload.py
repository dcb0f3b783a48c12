"""Operations of the workload: arrivals drawn up front, executed without waiting for answers.

An operation ends ``ok``, ``fail`` (it certainly had no effect) or ``info`` (nobody knows).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from chaos.draws import Draws
from chaos.history import History
from chaos.hypotheses.probes import Operations
from chaos.lab import Lab
from chaos.observe.guests import Guests
from chaos.observe.look import Look, nodes_of
from chaos.observe.remains import Remains
from protocol.errors import InvalidState, NotFound, ProductError
from protocol.messages.host import Esxcli
from protocol.messages.vcenter import (
    CreateVm,
    EncryptVm,
    GenerateKey,
    PowerOffVm,
    PowerOnVm,
    VmPowered,
)
from protocol.terms import ClusterName, NodeName, PowerState, Role, VmName
from services.runtime.each import try_each

WITHIN_S = 60.0
BARE_S = 15.0  # lab seconds that a host is without stored keys
PAIR_GAP_S = 0.001  # lab seconds: enough that the first is accepted first, and is not done yet
ARRIVALS_LIMIT = 100_000
"""So many operations of a run are planned, on average over seeds."""


def load_name(lab: Lab, run: str) -> str:
    """What the run's own VMs and operation ids begin with: unique in a lab that lives on,
    the same in every replay of a simulation."""
    if lab.mode == "sim":
        return "load"
    return f"load-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: ``at`` seconds after the begin of the fault phase, on ``target``.

    ``number`` is unique in the run and names what the operation makes.
    """

    at: float
    op: str
    target: str
    number: int


def draw_arrivals(
    rate: float,
    span: tuple[float, float],
    targets: tuple[str, ...],
    draws: Draws,
) -> list[tuple[float, str]]:
    """Times (to the millisecond) and targets of one stream: exponential gaps, mean 1/rate."""
    found: list[tuple[float, str]] = []
    at = span[0]
    while True:
        at += draws.exponential(1.0 / rate)
        if at >= span[1]:
            return found
        target = targets[draws.below(len(targets))] if targets else ""
        found.append((round(at, 3), target))


@dataclass(frozen=True)
class Outcome:
    """How an operation ended: ``ok``, ``fail`` or ``info``, with plain values for the history."""

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Means:
    """What operations act with; ``name`` begins the names of what they make."""

    lab: Lab
    guests: Guests
    name: str = "load"
    clusters: dict[VmName, ClusterName] = field(default_factory=dict)
    """Of VMs that vCenter was asked about: a VM stays in its cluster."""
    remains: Remains | None = None
    """Where it can be seen what lies on a host's disk."""
    look: Callable[[], Awaitable[None]] | None = None
    """Has what hosts are written down at once, after something was changed about them."""

    @property
    def vcenter(self) -> NodeName:
        """The lab's first vCenter; ``NotFound`` when it has none."""
        found = nodes_of(self.lab, Role.VCENTER)
        if not found:
            raise NotFound("the lab has no vCenter")
        return found[0]

    def operation_id(self, arrival: Arrival) -> str:
        """The id under which a repeat of this arrival is the same operation."""
        return f"{self.name}-{arrival.number:06d}"


async def _power_cycle(means: Means, arrival: Arrival) -> Outcome:
    vm = VmName(arrival.target)
    await means.lab.ask(means.vcenter, PowerOffVm(vm=vm), within_s=WITHIN_S)
    try:
        await means.lab.ask(means.vcenter, PowerOnVm(vm=vm), within_s=WITHIN_S)
    except ProductError as error:
        # The first half had its effect, so this is no clean failure.
        return Outcome("info", {"off": True, "error": type(error).__name__})
    return Outcome("ok", {})


async def _off_on(means: Means, arrival: Arrival) -> Outcome:
    """Both commands are accepted before the first is done: the second one has the last word."""
    vm = VmName(arrival.target)

    async def give(place: int) -> VmPowered:
        await means.lab.sleep(place * PAIR_GAP_S)
        command = PowerOnVm(vm=vm) if place else PowerOffVm(vm=vm)
        return await means.lab.ask(means.vcenter, command, within_s=WITHIN_S)

    ends = await try_each(range(2), give, name="pair")
    errors = [end for end in ends if isinstance(end, ProductError)]
    powered = [end for end in ends if isinstance(end, VmPowered)]
    if errors:
        neither = len(errors) == 2 and all(error.definite for error in errors)
        return Outcome("fail" if neither else "info", {"error": type(errors[0]).__name__})
    seen = await Look(means.lab).vm(vm, powered[-1].vm.host)
    if seen is None:
        return Outcome("info", {"error": "no host answers for it"})
    return Outcome("ok", {"wanted": PowerState.ON.value, "left": seen[1].power.value})


async def _key_create(means: Means, arrival: Arrival) -> Outcome:
    message = GenerateKey(operation_id=means.operation_id(arrival))
    made = await means.lab.ask(means.vcenter, message, within_s=WITHIN_S)
    if made.success and made.key is not None:
        return Outcome("ok", {"key": str(made.key.key_id), "provider": str(made.key.provider_id)})
    # vCenter's answer does not say whether the key server had made the key already.
    return Outcome("info", {"error": made.reason})


async def _vm_encrypt(means: Means, arrival: Arrival) -> Outcome:
    """A new VM beside ``target``'s, encrypted under a new key of the default provider."""
    name = VmName(means.operation_id(arrival))
    cluster = await _cluster_of(means, VmName(arrival.target))
    operation_id = means.operation_id(arrival)
    made = CreateVm(operation_id=f"{operation_id}-vm", vm=name, cluster=cluster)
    await means.lab.ask(means.vcenter, made, within_s=WITHIN_S)
    try:
        message = EncryptVm(operation_id=operation_id, vm=name)
        done = await means.lab.ask(means.vcenter, message, within_s=WITHIN_S)
    except ProductError as error:
        return Outcome("info", {"vm": str(name), "error": type(error).__name__})
    key = done.key
    data = {"vm": str(name), "key": str(key.key_id), "provider": str(key.provider_id)}
    return Outcome("ok", data)


async def _cluster_of(means: Means, vm: VmName) -> ClusterName:
    if vm not in means.clusters:
        listed = await Look(means.lab).vcenter_vms()
        means.clusters.update({name: info.cluster for name, info in listed.items()})
    if vm not in means.clusters:
        raise NotFound(f"vCenter has no {vm}")
    return means.clusters[vm]


async def _challenge(means: Means, arrival: Arrival) -> Outcome:
    asked = await means.guests.challenge_found(VmName(arrival.target))
    if asked is None:
        return Outcome("fail", {"error": "no host answers for it"})
    if asked.right is None:
        return Outcome("fail" if asked.definite else "info", {"error": asked.detail})
    return Outcome("ok", {}) if asked.right else Outcome("ok", {"wrong": asked.detail})


async def _persistence_off_on(means: Means, arrival: Arrival) -> Outcome:
    """At the console of the VM's host; the host has no stored keys for a while."""
    seen = await Look(means.lab).vms()
    if arrival.target not in seen:
        return Outcome("fail", {"error": "no host answers for it"})
    host, remains = seen[VmName(arrival.target)][0], means.remains
    if remains is None or host in remains.bare:
        return Outcome("fail", {"error": "the host has no stored keys already"})
    await remains.look(host, "before")
    remains.bare[host] = None
    try:
        await _persistence(means, host, "disable", "--remove-all-stored-keys")
    except ProductError as error:
        del remains.bare[host]
        kind = "fail" if error.definite else "info"
        return Outcome(kind, {"host": str(host), "error": type(error).__name__})
    await remains.look(host, "answered")
    await means.lab.sleep(BARE_S)
    await remains.look(host, "held")
    del remains.bare[host]
    try:
        await _persistence(means, host, "enable")
    except ProductError as error:
        return Outcome("info", {"host": str(host), "error": type(error).__name__})
    return Outcome("ok", {"host": str(host)})


async def _persistence(means: Means, host: NodeName, *words: str) -> None:
    """One command of esxcli; ``InvalidState`` with what the console shows when it is refused."""
    command = Esxcli(arguments=("system", "security", "keypersistence", *words))
    done = await means.lab.ask(host, command, within_s=WITHIN_S)
    if done.exit_code:
        raise InvalidState(done.output)
    if means.look is not None:
        await means.look()


@dataclass(frozen=True)
class Operation:
    """Something that the workload does; ``about`` says what it aims at: VMs, or nothing."""

    name: str
    about: str
    doc: str
    run: Callable[[Means, Arrival], Awaitable[Outcome]]


_ALL = (
    Operation("vm.power_cycle", "vms", "power a VM off and on through vCenter", _power_cycle),
    Operation("vm.off_on", "vms", "power a VM off and on, sent back to back", _off_on),
    Operation("key.create", "", "a new key of the default provider", _key_create),
    Operation("vm.encrypt", "vms", "create a VM and encrypt it", _vm_encrypt),
    Operation(
        "esx.persistence.off_on",
        "vms",
        "remove all stored keys at the console of a VM's host, and enable persistence again",
        _persistence_off_on,
    ),
    Operation("guest.challenge", "vms", "have a guest prove that it reads its disk", _challenge),
)
OPERATIONS: Final[dict[str, Operation]] = {operation.name: operation for operation in _ALL}


async def perform(means: Means, arrival: Arrival, history: History, operations: Operations) -> None:
    """Do what one arrival says; write it and its outcome down, and count for the probes."""
    began = means.lab.monotonic()
    history.add("invoke", arrival.target, op=arrival.op, n=arrival.number)
    try:
        outcome = await OPERATIONS[arrival.op].run(means, arrival)
    except ProductError as error:
        kind = "fail" if error.definite else "info"
        outcome = Outcome(kind, {"error": type(error).__name__})
    history.add(outcome.kind, arrival.target, op=arrival.op, n=arrival.number, **outcome.data)
    if outcome.kind == "ok":
        operations.ok[arrival.op] = operations.ok.get(arrival.op, 0) + 1
        taken = means.lab.monotonic() - began
        operations.seconds.setdefault(arrival.op, []).append(taken)
    else:
        operations.other[arrival.op] = operations.other.get(arrival.op, 0) + 1
