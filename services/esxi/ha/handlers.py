"""Handlers of requests of vCenter and of other hosts' agents to this host's HA agent."""

from __future__ import annotations

from typing import Any

from protocol.messages import host as m
from services.esxi.ha.agent import HaAgent
from services.esxi.ha.restart import restart_vm
from services.esxi.host import EsxiHost
from services.esxi.vms.vm import queue_of
from services.runtime.service import Peer, Service, serves


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
        """See ``restart.restart_vm``."""
        await restart_vm(self.host, message)
        return m.HaRestarted()
