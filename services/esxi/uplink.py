"""A host's way to its vCenter: it rings at boot and when the session is lost (step B8).

vCenter opens the session and asks for the host's view as its heartbeat; three missed
heartbeats mean, for the host, that the session is lost, and it rings again. What has changed
is in the view that vCenter asks for; the ring itself says only that it should look.
"""

from __future__ import annotations

from typing import Any

from protocol.errors import NoPermission, ProductError
from protocol.messages.base import Request
from protocol.messages.host import (
    Command,
    GetCryptoKeyStatus,
    OpenSession,
    QueryHost,
)
from protocol.messages.vcenter import HostChanged
from protocol.terms import NodeName
from services.esxi.knobs import EsxiNode
from services.runtime.ports import Ports
from services.runtime.service import Peer
from services.runtime.session import SessionGuard

_FIRST_RETRY = 1.0  # lab seconds
_LAST_RETRY = 30.0
_MISSES = 3


class Uplink:
    """Who may command, whether vCenter is connected, and what the host tells it."""

    def __init__(self, node: EsxiNode, ports: Ports, vcenter: NodeName) -> None:
        self._node, self._bus, self._clock = node, ports.bus, ports.clock
        self._choices = ports.rng.stream("uplink")
        self._vcenter = vcenter
        self._guard = SessionGuard()
        self._heard = 0.0

    @property
    def session(self) -> str:
        return self._guard.session

    @property
    def connected(self) -> bool:
        """A session is in force and vCenter was heard within three heartbeats."""
        limit = _MISSES * self._node.knobs.heartbeat_s
        return bool(self.session) and self._clock.monotonic() - self._heard <= limit

    def admit(self, message: Request[Any], peer: Peer) -> None:
        """In order of arrival: ``NoPermission`` for strangers, ``NotConnected`` for old ones.

        The administrator at the host's own door needs no session.
        """
        if peer.local:
            return
        if not self._vcenter or peer.node != self._vcenter:
            raise NoPermission(f"{peer.node} is not the vCenter of this host")
        match message:
            case OpenSession():
                self._guard.open(message, peer.node)
            case Command():
                self._guard.admit(message, peer.node)
            case QueryHost() | GetCryptoKeyStatus():
                pass
            case _:
                raise NoPermission(f"{type(message).__name__} is for the host's own console")
        self._heard = self._clock.monotonic()

    async def announce(self) -> None:
        """For the rest of this life: while not connected, ask vCenter to connect."""
        if not self._vcenter:
            return
        pause = _FIRST_RETRY
        while True:
            if self.connected:
                pause = _FIRST_RETRY
                await self._clock.sleep(self._node.knobs.heartbeat_s)
                continue
            await self.ring()
            await self._clock.sleep(pause * (0.5 + self._choices.random()))
            pause = min(pause * 2, _LAST_RETRY)

    async def ring(self) -> bool:
        """Have vCenter look at this host soon; whether it heard.

        Lost: its heartbeat sees the same a little later.
        """
        message = HostChanged(boot=self._node.boot)
        try:
            await self._bus.request(
                self._vcenter, message, within=self._node.knobs.request_timeout_s
            )
        except ProductError as error:
            self._node.record(
                "uplink.failed",
                level="warning",
                request=type(message).__name__,
                error=type(error).__name__,
            )
            return False
        return True
