"""The work of the HA primary: it asks all other hosts for a sign of life, judges silent ones by the
datastore, has the VMs of failed hosts restarted (HA-01, HA-02, C23), and reports incidents to
vCenter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from protocol.errors import DatastoreFault, InvalidState, NotFound, ProductError
from protocol.messages.host.session import HaConfiguration, HaHeartbeat, HaRestartVm, HaState
from protocol.messages.vcenter.inventory import HaIncident, HaIncidentKind, HaReport
from protocol.terms import NodeName, PowerState, VmName
from services.esxi.ha.folder import PoweronList, is_heartbeat_held, read_list
from services.esxi.host import EsxiHost
from services.esxi.vms import power, registration
from services.esxi.vms.files import lock_and_keep, read_power
from services.esxi.vms.ownership import owner_in, owner_of
from services.esxi.vms.vm import queue_of
from services.runtime.each import for_each


class HostCondition(StrEnum):
    """Conditions, spelled as in ClusterDasFdmHostState where it has them."""

    LIVE = "connectedToMaster"
    UNKNOWN = "unknown"
    PARTITIONED = "networkPartitionedFromMaster"
    ISOLATED = "networkIsolated"
    SHUT_DOWN = "hostDown orderly"
    FAILED = "hostDown"


class SignsOfLife(msgspec.Struct, frozen=True):
    """What is seen of a host. ``lives`` is its datastore heartbeat, None when the datastore does
    not answer; ``listed`` its list, None when it has written none."""

    answers: bool
    lives: bool | None
    listed: PoweronList | None


def judge_condition(signs: SignsOfLife) -> HostCondition:
    """The condition by the table."""
    listed = signs.listed
    if signs.answers:
        return HostCondition.LIVE
    if signs.lives is None:
        return HostCondition.UNKNOWN
    if signs.lives:
        isolated = listed is not None and listed.isolated
        return HostCondition.ISOLATED if isolated else HostCondition.PARTITIONED
    if listed is not None and listed.orderly:
        return HostCondition.SHUT_DOWN
    return HostCondition.FAILED


class WaitingVm(msgspec.Struct, frozen=True, kw_only=True):
    """A VM to be restarted. ``tried`` are the hosts that refused it, in order; ``due`` is in lab
    seconds of the monotonic clock."""

    vm: VmName
    of: NodeName
    due: float
    tried: tuple[NodeName, ...] = ()


def choose_host(waiting: WaitingVm, loads: Mapping[NodeName, int]) -> NodeName | None:
    """The host of the next try. ``loads`` are the hosts that accept VMs, with their number of VMs.
    None when there is none."""
    if not loads:
        return None
    return min(loads, key=lambda host: (waiting.tried.count(host), loads[host], host))


def after_refusal(
    waiting: WaitingVm, host: NodeName, now: float, *, tries: int, again_s: float
) -> WaitingVm | None:
    """The VM after a refused try; None: that was the last try."""
    tried = (*waiting.tried, host)
    if len(tried) >= tries:
        return None
    return msgspec.structs.replace(waiting, tried=tried, due=now + again_s)


def defer_to_own_host(waiting: WaitingVm, now: float, wait_s: float) -> WaitingVm:
    """The VM after its own host has come back: that host starts it first, if it can."""
    return msgspec.structs.replace(waiting, due=max(waiting.due, now + wait_s))


KEPT: Final = 256
"""Incidents that wait for vCenter; the oldest are dropped first."""
_PER_REPORT: Final = 32
_AGAIN_S: Final = 10.0


class HaReports:
    """The incidents that were not reported yet."""

    def __init__(self, host: EsxiHost) -> None:
        self._host = host
        self._waiting: deque[HaIncident] = deque(maxlen=KEPT)
        self._some = asyncio.Event()

    def report(self, incident: HaIncident) -> None:
        """Report ``incident`` soon, or when vCenter is back."""
        self._waiting.append(incident)
        self._some.set()

    async def run(self) -> None:
        """Run for the rest of this life."""
        while True:
            await self._some.wait()
            if not self._host.uplink.connected:
                await self._host.clock.sleep(_AGAIN_S)
                continue
            reported = [
                self._waiting.popleft() for _ in range(min(_PER_REPORT, len(self._waiting)))
            ]
            if not self._waiting:
                self._some.clear()
            try:
                await self._host.uplink.send(HaReport(incidents=tuple(reported)))
            except ProductError as error:
                # VCenter did not accept it; if that is unknown, it is not reported twice.
                if error.definite:
                    self._waiting.extendleft(reversed(reported))
                    self._some.set()
                    await self._host.clock.sleep(_AGAIN_S)


async def restart_vm(host: EsxiHost, message: HaRestartVm) -> None:
    """Restart the VM. ``NotFound``: it has another owner by now, or is not to run.
    ``DatastoreFault``: its lock is held. ``InvalidState``: HA is off here, or no VM may arrive.
    Otherwise the errors of a power-on; the VM then stays registered here, and locked if keys are
    missing."""
    if host.ha is None or host.ha.epoch != message.epoch:
        raise InvalidState(f"{host.node.name} is not protected by HA, or by another one")
    known = host.vms.get(message.vm)
    if known is not None and known.guest is not None:
        return
    host.check_takes_vms()
    async with lock_and_keep(host.datastore, message.vm):
        await _check_owner(host, message.vm, message.of, message.epoch)
        await registration.register_vm(host, message.vm)
        await power.power_on(host, message.vm, ask=True)


async def _check_owner(host: EsxiHost, vm: VmName, of: NodeName, epoch: str) -> None:
    record = await read_power(host.datastore, vm)
    if record is None or record.wanted is PowerState.OFF:
        raise NotFound(f"{vm} is not to run")
    if owner_in(record, epoch) not in (None, of):
        raise NotFound(f"{vm} is the VM of {record.owner}, not of {of}")


MISSES: Final = 3
"""Missed heartbeats after which a host is judged, or a primary counts as lost. This is not a time
limit that a slow machine lengthens: the datastore shows whether a silent host lives."""
BOOT_GRACE_S: Final = 120.0
"""Lab seconds after its own boot in which a primary waits for hosts that it has not heard yet: all
may be booting."""
AT_ONCE: Final = 8
RESTART_S: Final = 60.0
"""Lab seconds of a restart, in addition to the time in which its host waits for keys from
vCenter."""


class Primary:
    """One term as primary. ``silent``: the primary before, which was not heard for long enough.

    ``isolated``: no other host is heard, the datastore shows that one of them lives, and no vCenter
    is heard either. (The product pings an address outside of the cluster; here that is vCenter.)
    """

    def __init__(
        self,
        host: EsxiHost,
        configuration: HaConfiguration,
        reports: HaReports,
        up_since: float,
        silent: NodeName | None,
    ) -> None:
        self._host, self._node, self._clock = host, host.node, host.clock
        self._configuration, self._reports = configuration, reports
        self._may_judge_all_at = up_since + BOOT_GRACE_S
        self._began_at = self._clock.monotonic()
        self._last_contact_at = {} if silent is None else {silent: float("-inf")}
        self._outstanding: set[NodeName] = set()  # hosts whose answer is outstanding
        self.met: NodeName | None = None
        self._states: dict[NodeName, HaState] = {}
        self._conditions: dict[NodeName, HostCondition] = {}
        self._waiting: dict[VmName, WaitingVm] = {}
        self._trying: set[WaitingVm] = set()  # VMs whose host has not answered yet
        self.isolated = False

    def configure(self, configuration: HaConfiguration) -> None:
        """Hosts joined the cluster, or left it."""
        self._configuration = configuration
        for known in (self._last_contact_at, self._states, self._conditions):
            for name in [name for name in known if name not in configuration.hosts]:
                known.pop(name, None)
        self._waiting = {
            vm: one for vm, one in self._waiting.items() if one.of in configuration.hosts
        }

    @property
    def _other_hosts(self) -> list[NodeName]:
        return [name for name in self._configuration.hosts if name != self._node.name]

    # ---- each beat --------------------------------------------------------------------------

    async def lead(self, *, datastore: bool) -> None:
        """One beat. It waits for no answer, so that a silent host does not delay the others.
        ``met`` is another primary that ranks higher, once one was met."""
        message = HaHeartbeat(epoch=self._configuration.epoch, datastore=datastore)
        for other in self._other_hosts:
            if other not in self._outstanding:
                self._outstanding.add(other)
                self._node.background("ha.heartbeat", self._ask_for_life(other, message))
        for other in self._other_hosts:
            if self._is_silent(other) and self._may_judge(other):
                await self._judge(other)
        await self._check_isolation()
        self._begin_restarts()

    async def _ask_for_life(self, other: NodeName, message: HaHeartbeat) -> None:
        within_s = self._node.knobs.fdm_period_s
        try:
            state = await self._host.ports.bus.request(other, message, within_s=within_s)
        except ProductError:
            pass  # its silence is counted from the last answer
        else:
            self._record_answer(other, state)
        self._outstanding.discard(other)

    def _is_silent(self, other: NodeName) -> bool:
        last_contact_at = self._last_contact_at.get(other, self._began_at)
        return self._clock.monotonic() - last_contact_at > MISSES * self._node.knobs.fdm_period_s

    def _record_answer(self, other: NodeName, state: HaState) -> None:
        self._last_contact_at[other] = self._clock.monotonic()
        self._states[other] = state
        if state.primary == other and other > self._node.name:
            self.met = other
        if self._conditions.get(other, HostCondition.LIVE) is not HostCondition.LIVE:
            self._record_condition(other, HostCondition.LIVE)
            now, wait_s = self._clock.monotonic(), self._node.knobs.autostart_window_s
            for vm, one in self._waiting.items():
                if one.of == other:
                    self._waiting[vm] = defer_to_own_host(one, now, wait_s)

    def _may_judge(self, other: NodeName) -> bool:
        return other in self._last_contact_at or self._clock.monotonic() >= self._may_judge_all_at

    async def _judge(self, other: NodeName) -> None:
        datastore, epoch = self._host.datastore, self._configuration.epoch
        failed = self._conditions.get(other) is HostCondition.FAILED
        try:
            alive = await is_heartbeat_held(datastore, other)
            if failed and not alive:
                return  # its VMs wait already, or have other owners, or no host could start them
            listed = await read_list(datastore, other, epoch)
            found = judge_condition(SignsOfLife(False, alive, listed))
            vms = () if listed is None else listed.vms
            if found is HostCondition.FAILED:
                await self._take_over(other, vms)
            elif found is HostCondition.ISOLATED:
                held = await datastore.holders(vms)
                await self._take_over(other, tuple(vm for vm in vms if vm not in held))
        except (DatastoreFault, OSError) as error:
            self._node.record("ha.datastore", level="warning", reason=str(error))
            found = HostCondition.UNKNOWN
        self._record_condition(other, found)

    def _record_condition(self, other: NodeName, found: HostCondition) -> None:
        if self._conditions.get(other) is found:
            return
        self._conditions[other] = found
        self._node.record("ha.host", host=other, condition=found.value)
        kinds = {
            HostCondition.FAILED: HaIncidentKind.HOST_FAILED,
            HostCondition.ISOLATED: HaIncidentKind.HOST_ISOLATED,
        }
        if found in kinds:
            self._reports.report(HaIncident(kind=kinds[found], host=other))

    async def _take_over(self, other: NodeName, vms: tuple[VmName, ...]) -> None:
        """Queue for restart those of these VMs that are to run and are still that host's. This
        includes a VM whose restart that host was asked for before it failed."""
        for vm in vms:
            record = await read_power(self._host.datastore, vm)
            if record is None or record.wanted is PowerState.OFF:
                continue
            if vm in self._waiting and self._waiting[vm].of == other:
                continue
            if vm in self._waiting and owner_in(record, self._configuration.epoch) is None:
                continue
            if owner_in(record, self._configuration.epoch) in (None, other):
                self._waiting[vm] = WaitingVm(vm=vm, of=other, due=self._clock.monotonic())

    async def _check_isolation(self) -> None:
        others = self._other_hosts
        alone = bool(others) and all(self._is_silent(other) for other in others)
        alive = False
        if alone and not self._host.uplink.connected:
            found = [await is_heartbeat_held(self._host.datastore, other) for other in others]
            alive = any(found)
        if alive != self.isolated:
            self.isolated = alive
            self._node.record("ha.isolated", level="warning", isolated=alive)

    # ---- restarts ---------------------------------------------------------------------------

    def _begin_restarts(self) -> None:
        now = self._clock.monotonic()
        waiting = [one for one in self._waiting.values() if one not in self._trying]
        due = [one for one in waiting if one.due <= now]
        if due:
            self._trying.update(due)
            self._node.background("ha.restarts", self._restart_all(due))

    async def _restart_all(self, due: list[WaitingVm]) -> None:
        """Many VMs take long: a host that falls silent meanwhile, or accepts no more, gets no
        further request."""
        loads = {name: state.vms for name, state in self._states.items()}
        loads[self._node.name] = len(self._host.running())

        async def restart_one(waiting: WaitingVm) -> None:
            there = {name: load for name, load in loads.items() if self._accepts_vms(name)}
            host = choose_host(waiting, there)
            if host is not None and self._waiting.get(waiting.vm) is waiting:
                if await self._find_lock_holder(waiting.vm) == waiting.of:
                    self._defer_to_own_host(waiting)
                else:
                    loads[host] += 1
                    await self._try_restart(waiting, host)
            self._trying.discard(waiting)

        await for_each(due, restart_one, at_once=AT_ONCE, name="ha.restart")

    def _defer_to_own_host(self, waiting: WaitingVm) -> None:
        """The VM's own host holds its lock. A host that answers again has started the VM. If it
        does not answer, the lock may be released later than the heartbeat: the VM is tried again
        soon."""
        if self._conditions.get(waiting.of) is HostCondition.LIVE:
            self._remove_waiting(waiting)
            self._node.record("ha.left", vm=waiting.vm, reason="its host has its lock")
        elif self._waiting.get(waiting.vm) is waiting:
            soon = self._clock.monotonic() + self._node.knobs.fdm_period_s
            self._waiting[waiting.vm] = msgspec.structs.replace(waiting, due=soon)

    def _accepts_vms(self, name: NodeName) -> bool:
        if name == self._node.name:
            return not self._host.archive.now.maintenance
        state = self._states.get(name)
        return state is not None and state.takes_vms and not self._is_silent(name)

    async def _try_restart(self, waiting: WaitingVm, host: NodeName) -> None:
        vm = waiting.vm
        try:
            await self._request_restart(waiting, host)
        except NotFound as error:  # another host has it by now, or it is not to run
            self._remove_waiting(waiting)
            self._node.record("ha.left", vm=vm, reason=str(error))
        except ProductError as error:
            await self._handle_refusal(waiting, host, error)
        else:
            self._remove_waiting(waiting)
            self._node.record("ha.restarted", vm=vm, host=host, of=waiting.of)
            self._reports.report(
                HaIncident(kind=HaIncidentKind.VM_RESTARTED, host=host, vm=vm, of=waiting.of)
            )

    def _remove_waiting(self, waiting: WaitingVm) -> None:
        """The VM is done, unless the host that took it has failed meanwhile."""
        if self._waiting.get(waiting.vm) is waiting:
            del self._waiting[waiting.vm]

    async def _request_restart(self, waiting: WaitingVm, host: NodeName) -> None:
        message = HaRestartVm(epoch=self._configuration.epoch, vm=waiting.vm, of=waiting.of)
        if host == self._node.name:
            async with self._node.turn(queue_of(waiting.vm)):
                await restart_vm(self._host, message)
        else:
            within_s = self._node.knobs.request_timeout_s + RESTART_S
            await self._host.ports.bus.request(host, message, within_s=within_s)

    async def _handle_refusal(
        self, waiting: WaitingVm, host: NodeName, error: ProductError
    ) -> None:
        knobs, now, vm = self._node.knobs, self._clock.monotonic(), waiting.vm
        holder = await self._find_lock_holder(vm)
        settled = holder is not None and await self._runs_at_holder(holder, waiting)
        if self._waiting.get(vm) is not waiting:
            return
        if settled:
            del self._waiting[vm]
            self._node.record("ha.left", vm=vm, reason=str(error))
            return
        if holder is not None or not error.definite:  # it is still being tried, or that is unknown
            soon = now + knobs.fdm_period_s
            tried = (*waiting.tried, host) if holder == host else waiting.tried
            self._waiting[vm] = msgspec.structs.replace(waiting, due=soon, tried=tried)
            return
        again_s = knobs.ha_retry_interval_s
        left = after_refusal(waiting, host, now, tries=knobs.ha_retry, again_s=again_s)
        if left is None:
            del self._waiting[vm]
        else:
            self._waiting[vm] = left
        self._node.record(
            "ha.refused",
            level="warning",
            vm=vm,
            host=host,
            tries=len(waiting.tried) + 1,
            last=left is None,
            error=type(error).__name__,
        )
        self._reports.report(
            HaIncident(
                kind=HaIncidentKind.VM_NOT_RESTARTED,
                host=host,
                vm=vm,
                of=waiting.of,
                reason=str(error),
                last=left is None,
            )
        )

    async def _find_lock_holder(self, vm: VmName) -> NodeName | None:
        """The holder of its lock, as far as the datastore answers."""
        try:
            return (await self._host.datastore.holders([vm])).get(vm)
        except OSError:
            return None

    async def _runs_at_holder(self, holder: NodeName, waiting: WaitingVm) -> bool:
        """Whether the VM runs at the holder of its lock. A host that tries to start it, and waits
        for its keys, holds the lock too, but is not its owner before it runs. The lock of its own
        host is not enough while that host does not answer: it may be about to fall."""
        if holder == waiting.of:
            return self._conditions.get(holder) is HostCondition.LIVE
        try:
            return await owner_of(self._host, waiting.vm) == holder
        except ProductError:
            return False
