"""The HA agent of a host: it votes, sends heartbeats, follows a primary or is the primary, and
answers vCenter and other hosts' agents. A host that hears no primary for three heartbeats starts
an election, whose decisions are pure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol.errors import InvalidState, ProductError
from protocol.messages.host import session as m
from protocol.messages.host.session import HaConfiguration, HaElect, HaHeartbeat, HaState, HaVote
from protocol.terms import NodeName, PowerState, VmName
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.ha.primary import MISSES, HaReports, Primary, restart_vm
from services.esxi.host import EsxiHost
from services.esxi.vms import ownership, power
from services.esxi.vms.vm import queue_of
from services.runtime.each import for_each
from services.runtime.service import Peer, Service, serves


class Rank(msgspec.Struct, frozen=True, order=True):
    """The higher one becomes primary."""

    datastore: bool
    host: NodeName


def elect_primary(me: Rank, votes: Mapping[NodeName, HaVote]) -> NodeName | None:
    """The host that this host must follow, possibly itself; None: it waits for one that ranks
    higher."""
    ranks = {host: Rank(vote.datastore, host) for host, vote in votes.items()}
    primaries = [ranks[host] for host, vote in votes.items() if vote.primary == host]
    if primaries:
        return max(primaries).host
    followed = any(vote.primary is not None and vote.primary > me.host for vote in votes.values())
    return me.host if not followed and all(rank < me for rank in ranks.values()) else None


_TAKEN_EVERY: Final = 12
"""Beats between two checks for VMs that other hosts have taken over."""


class HaAgent:
    """The agent of one life of a host. It does nothing while HA is off there."""

    def __init__(self, host: EsxiHost) -> None:
        self._host, self._node, self._clock = host, host.node, host.clock
        self._period_s = host.node.knobs.fdm_period_s
        self._configured = asyncio.Event()
        self._reports = HaReports(host)
        self._since = self._clock.monotonic()
        self._datastore = False  # whether the datastore accepted the last write
        self._beats = 0
        self._let_go: tuple[VmName, ...] = ()  # powered off while isolated
        self._runs = False
        self._stand_down()

    def _stand_down(self) -> None:
        self._primary: Primary | None = None
        self._followed: NodeName | None = None
        self._last_contact_at = float("-inf")

    # ---- life -------------------------------------------------------------------------------

    async def configure(self, configuration: HaConfiguration | None) -> None:
        """Apply a configuration, which is saved before the reply; no change when it is in force
        already."""
        host, before = self._host, self._host.ha
        if configuration != before:
            host.archive.change(ha=configuration)
            await host.save(ConfigurationSection.HA)
            self._node.record("ha.configured", on=configuration is not None)
        host.uplink.set_peers(() if configuration is None else configuration.hosts)
        if before is None or configuration is None or configuration.epoch != before.epoch:
            self._stand_down()
            await host.protection.end(host.datastore)
        elif self._primary is not None:
            self._primary.configure(configuration)
        if configuration is not None:
            await self._update_list()
            self._start_loop()

    async def begin(self) -> None:
        """Step B9, before VMs are started: drop VMs that other hosts have taken over, and write to
        the datastore that this host is up."""
        configuration = self._host.ha
        if configuration is None:
            return
        self._host.uplink.set_peers(configuration.hosts)
        await ownership.drop_vms_of_others(self._host)
        await self._update_list()
        self._start_loop()

    def _start_loop(self) -> None:
        """Start the loop; a host without HA has none."""
        self._configured.set()
        if not self._runs:
            self._runs = True
            self._node.background("ha", self._run())
            self._node.background("ha.reports", self._reports.run())

    async def _run(self) -> None:
        """Run for the rest of this life."""
        choices = self._host.rng.stream("ha")
        while True:
            await self._configured.wait()
            configuration = self._host.ha
            if configuration is None or self._node.name not in configuration.hosts:
                self._configured.clear()
                continue
            await self._run_beat(configuration)
            await self._clock.sleep(self._period_s * choices.uniform(0.95, 1.0))

    async def end(self) -> None:
        """The host is shut down with its VMs: record that, so that no other host takes it for a
        failure."""
        if self._host.ha is not None:
            await self._update_list(orderly=True)

    # ---- requests of other agents -----------------------------------------------------------

    def vote(self, message: HaElect) -> HaVote:
        """Vote. ``InvalidState`` to an agent of another epoch."""
        self._check_epoch(message.epoch)
        return HaVote(datastore=self._datastore, primary=self._current_primary)

    def heartbeat(self, message: HaHeartbeat, sender: NodeName) -> HaState:
        """The sender is primary: follow it, unless this host follows one that ranks higher."""
        self._check_epoch(message.epoch)
        theirs, mine = Rank(message.datastore, sender), Rank(self._datastore, self._node.name)
        if self._primary is not None:
            if theirs > mine:
                self._follow(sender)
        elif self._current_primary is None or sender >= self._current_primary:
            self._follow(sender)
        host = self._host
        return HaState(
            primary=self._current_primary or sender,
            takes_vms=not host.archive.now.maintenance,
            vms=len(host.running()),
        )

    def _check_epoch(self, epoch: str) -> None:
        configuration = self._host.ha
        if configuration is None or configuration.epoch != epoch:
            raise InvalidState(f"{self._node.name} is not protected by HA, or by another one")

    @property
    def _current_primary(self) -> NodeName | None:
        """The primary that this host follows, itself when it is primary; None when it hears
        none."""
        if self._primary is not None:
            return self._node.name
        silent_s = self._clock.monotonic() - self._last_contact_at
        return self._followed if silent_s <= MISSES * self._period_s else None

    def _follow(self, primary: NodeName) -> None:
        if self._primary is not None or self._followed != primary:
            self._node.record("ha.follows", primary=primary)
        self._primary, self._followed = None, primary
        self._last_contact_at = self._clock.monotonic()

    @property
    def _is_isolated(self) -> bool:
        return self._primary is not None and self._primary.isolated

    # ---- each beat --------------------------------------------------------------------------

    async def _run_beat(self, configuration: HaConfiguration) -> None:
        self._beats += 1
        await self._update_list()
        if self._primary is None and self._current_primary is None:
            await self._elect(configuration)
        leading = self._primary
        if leading is not None:
            await leading.lead(datastore=self._datastore)
            if leading.met is not None and self._primary is leading:
                self._follow(leading.met)
            elif leading.isolated:
                await self._respond_to_isolation()
        if self._let_go and not self._is_isolated:
            names, self._let_go = self._let_go, ()
            self._node.background("ha.back", ownership.start_again(self._host, names))
        if self._beats % _TAKEN_EVERY == 0:
            try:
                await ownership.drop_taken_over_vms(self._host)
            except (ProductError, OSError) as error:
                self._node.record("ha.datastore", level="warning", reason=str(error))

    async def _update_list(self, *, orderly: bool = False) -> None:
        """Keep the heartbeat on the datastore, and the list of this host's VMs."""
        host = self._host

        def list_wanted() -> list[VmName]:
            return [vm.name for vm in host.vms.values() if vm.wanted is PowerState.ON]

        try:
            await host.protection.beat(host.datastore)
            await host.protection.write_list(
                host.datastore, list_wanted, isolated=self._is_isolated, orderly=orderly
            )
            self._datastore = True
        except ProductError as error:
            if self._datastore or self._beats <= 1:
                self._node.record("ha.datastore", level="warning", reason=str(error))
            self._datastore = False

    async def _elect(self, configuration: HaConfiguration) -> None:
        votes: dict[NodeName, HaVote] = {}
        message = HaElect(epoch=configuration.epoch)
        for other in configuration.hosts:
            if other != self._node.name:
                self._node.background("ha.elect", self._ask_for_vote(other, message, votes))
        await self._clock.sleep(self._period_s / 2)
        if self._current_primary is not None:
            return  # a primary was heard meanwhile
        chosen = elect_primary(Rank(self._datastore, self._node.name), dict(votes))
        if chosen == self._node.name:
            before = self._followed
            self._node.record("ha.primary", voters=sorted(votes))
            self._primary = Primary(self._host, configuration, self._reports, self._since, before)
        elif chosen is not None:
            self._follow(chosen)

    async def _ask_for_vote(
        self, other: NodeName, message: HaElect, votes: dict[NodeName, HaVote]
    ) -> None:
        try:
            vote = self._host.ports.bus.request(other, message, within_s=self._period_s)
            votes[other] = await vote
        except ProductError:
            pass  # an agent without a vote

    async def _respond_to_isolation(self) -> None:
        """Apply ``ClusterDasVmSettings.isolationResponse``: leave VMs on, or power them off. VMs
        that no host has taken by the end of the isolation are started here again."""
        names = [vm.name for vm in self._host.running() if vm.name not in self._let_go]
        if self._node.knobs.ha_isolation_response == "powerOff" and names:
            self._node.record("ha.isolation_response", level="warning", response="powerOff")
            await self._update_list()
            self._let_go += tuple(names)
            self._node.background("ha.isolation", self._stop_vms(names))

    async def _stop_vms(self, names: list[VmName]) -> None:
        """Stop each VM in its turn, if this host is still isolated."""

        async def stop(name: VmName) -> None:
            await power.stop(self._host, name, needed=lambda: self._is_isolated)

        await for_each(names, stop, name="ha.stop")


def _ha(_: Any) -> str:
    return "ha"


def _vm(message: Any) -> str:
    return queue_of(message.vm)


class HaHandlers(Service):
    """The HA handlers of a host's service."""

    host: EsxiHost
    ha: HaAgent

    @serves(m.SetHaConfiguration, turn=_ha)
    async def set_ha_configuration(self, message: m.SetHaConfiguration, peer: Peer) -> m.Done:
        """See ``HaAgent.configure``."""
        await self.ha.configure(message.configuration)
        return m.Done()

    @serves(m.HaElect)
    async def ha_elect(self, message: m.HaElect, peer: Peer) -> m.HaVote:
        """Another agent hears no primary: vote."""
        return self.ha.vote(message)

    @serves(m.HaHeartbeat)
    async def ha_heartbeat(self, message: m.HaHeartbeat, peer: Peer) -> m.HaState:
        """Answer the primary's heartbeat."""
        return self.ha.heartbeat(message, peer.node)

    @serves(m.HaRestartVm, turn=_vm)
    async def ha_restart_vm(self, message: m.HaRestartVm, peer: Peer) -> m.HaRestarted:
        """See ``primary.restart_vm``."""
        await restart_vm(self.host, message)
        return m.HaRestarted()
