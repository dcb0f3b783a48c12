"""Messages of KMIP that a server hands on, because another one takes changes: mode ``forward``.

The whole message goes over the bus as it came, and the answer comes back as it is: items see what
those before them have made, and a client is answered as if it were there. Its identity and its
scope are those that it has at this server's endpoint. Where the message has only questions, this
server answers for itself.

Before the client is answered, this server has what the message has changed, if that comes in time:
who makes a key here and asks for it next would be told otherwise that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from protocol.envelope import SIZE_LIMIT
from protocol.errors import (
    GeneralFailure,
    NotConnected,
    PermissionDenied,
    ProductError,
    ResponseTooLarge,
)
from protocol.messages import kms as m
from protocol.messages.base import Sealed
from protocol.secret import KeyMaterial
from services.kms.access.authorization import KeyServerCaller
from services.kms.endpoints.kmip.messages import Messages
from services.kms.objects.request_types import CoreRequest
from services.kms.operations.batches import list_asked
from services.kms.operations.core import KeyServerCore
from services.kms.replication.group import ReplicationGroup
from services.kms.settings.config import KmsConfig, KmsRole
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Bus, Clock
from services.runtime.service import Peer, Service, serves

LIMIT: Final = SIZE_LIMIT * 3 // 4
"""Bytes of a message that is handed on, and of the answer: the rest is for what carries them."""

PATIENCE: Final = 0.8
"""For how much of ``pair_timeout_s`` the active server is waited for: a client that is as patient
as one server is with another is told why nothing was done, before it gives up."""


class HandingOn:
    """Of a server that is not active."""

    def __init__(
        self, node: KmsNode, bus: Bus, clock: Clock, core: KeyServerCore, group: ReplicationGroup
    ) -> None:
        self._node, self._bus, self._clock = node, bus, clock
        self._core, self._group = core, group

    async def __call__(
        self, caller: KeyServerCaller, requests: Sequence[CoreRequest[Any]], data: bytes
    ) -> bytes | None:
        """The answer of the active server; None when this one is active, or nobody is.

        ``data``: the message of these ``requests``. ``PermissionDenied`` for who is not registered
        here, what this server rejects, ``ResponseTooLarge`` for a message that does not fit, and
        ``GeneralFailure`` when the active server is not reached, or has not answered.
        """
        active = self._core.handed_on_to()
        if active is None:
            return None
        await self._core.hands_on(caller, list_asked(requests))
        if caller.role is None:
            raise PermissionDenied(f"{caller.who} is not registered at this key server")
        if len(data) > LIMIT:
            text = f"{active} takes the changes; {len(data)} bytes are more than are handed on"
            raise ResponseTooLarge(f"{text}: at most {LIMIT}")
        message = m.HandOnMessage(
            who=caller.who,
            role=caller.role.value,
            scope=caller.scope,
            message=Sealed.of(KeyMaterial(data)),
        )
        within_s = PATIENCE * self._node.knobs.pair_timeout_s
        until = self._clock.monotonic() + within_s
        try:
            reply = await self._bus.request(active, message, within_s=within_s)
        except ProductError as error:
            failed = "is not reached" if error.definite else "may or may not have done this"
            raise GeneralFailure(f"{active} takes the changes, and {failed}: {error}") from None
        left_s = until - self._clock.monotonic()
        if left_s > 0:
            await self._group.learning.learned(reply.until, left_s)
        [answer] = reply.answer.keys
        return answer.reveal()


class ForwardedMessages(Service):
    """What other servers hand on to this one. Who inherits from it sets up the fields."""

    config: KmsConfig
    core: KeyServerCore
    group: ReplicationGroup | None

    @serves(m.HandOnMessage)
    async def hand_on_message(self, message: m.HandOnMessage, peer: Peer) -> m.MessageHandedOn:
        """See the message."""
        grant = self.config.identities.get(peer.node)
        if peer.local or grant is None or grant.role is not KmsRole.PEER:
            raise PermissionDenied(f"{peer.node} may not speak for {message.who}")
        active = self.core.handed_on_to()
        if self.group is None or active is not None:
            # Handed on once: two that take each other for active must not go on for ever.
            raise NotConnected(f"{self.node.name} takes no changes; {active or 'nobody'} does")
        [data] = message.message.keys
        caller = KeyServerCaller(message.who, _role(message.role), message.scope)
        messages = Messages(self.core, self.clock, limit=LIMIT)
        answer = await messages.answer(caller, data.reveal())
        return m.MessageHandedOn(
            answer=Sealed.of(KeyMaterial(answer)), until=await self.group.learning.until()
        )


def _role(name: str) -> KmsRole:
    role = KmsRole(name) if name in {*KmsRole} else KmsRole.PEER
    if role is KmsRole.PEER:
        raise PermissionDenied(f"nobody comes by KMIP as {name[:64]!r}")
    return role
