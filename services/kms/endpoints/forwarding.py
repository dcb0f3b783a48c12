"""Changes that a server forwards to the active server of its group (mode ``forward``): requests of
the data bus and messages of KMIP. Which server is active is a durable setting of every server
(``replication.oplog``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any, Final, TypeVar, cast

import msgspec

from protocol.codec import SIZE_LIMIT
from protocol.errors import (
    GeneralFailure,
    NotConnected,
    PermissionDenied,
    ProductError,
    ResponseTooLarge,
)
from protocol.messages.base import Sealed
from protocol.messages.kms import keys as key_messages
from protocol.messages.kms import replication as replication_messages
from protocol.messages.kms.keys import OnBehalf
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.endpoints.kmip.messages import Messages
from services.kms.objects.request_types import CoreOperation, CoreRequest
from services.kms.operations.batches import KeyDemand, list_demands
from services.kms.operations.core import KeyServerCore
from services.kms.replication.group import ReplicationGroup
from services.kms.settings.config import KmsConfig, KmsRole
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Bus, Clock
from services.runtime.service import Peer, Service, serves

H = TypeVar("H", bound=Callable[..., Awaitable[Any]])


class Forwards:
    """What a handler of changes needs of its service."""

    config: KmsConfig
    core: KeyServerCore
    node: KmsNode
    bus: Bus
    group: ReplicationGroup | None


def at_the_active(handler: H) -> H:
    """Let the active server execute this handler, if it is another server."""

    @wraps(handler)
    async def change(self: Forwards, message: Any, peer: Peer) -> Any:
        active = None if self.group is None else self.group.active
        if message.on_behalf is not msgspec.UNSET:
            who = _find_caller(self, message.on_behalf, peer)
            if active not in (None, self.node.name):
                # Forwarded once only: two servers that each take the other for active must not
                # loop.
                raise NotConnected(f"{self.node.name} takes no changes; {active} does")
            return await handler(self, message, who)
        if active is None or active == self.node.name:
            return await handler(self, message, peer)
        return await _forward(self, active, message, peer)

    return cast(H, change)


def _find_caller(service: Forwards, on_behalf: OnBehalf, peer: Peer) -> Peer:
    """The caller for whom a peer speaks; ``PermissionDenied`` when the sender is not a peer."""
    grant = service.config.identities.get(peer.node)
    if peer.local or grant is None or grant.role is not KmsRole.PEER:
        raise PermissionDenied(f"{peer.node} may not speak for {on_behalf.node}")
    return Peer(node=on_behalf.node, boot=peer.boot, local=on_behalf.at_console)


OPERATIONS: Final[dict[type[Any], CoreOperation]] = {
    key_messages.CreateKey: CoreOperation.CREATE,
    key_messages.RegisterKey: CoreOperation.REGISTER,
    key_messages.Activate: CoreOperation.ACTIVATE,
    key_messages.Revoke: CoreOperation.REVOKE,
    key_messages.Destroy: CoreOperation.DESTROY,
    key_messages.AddAttribute: CoreOperation.ADD_ATTRIBUTE,
    key_messages.ModifyAttribute: CoreOperation.MODIFY_ATTRIBUTE,
    key_messages.DeleteAttribute: CoreOperation.DELETE_ATTRIBUTE,
}
"""The operation of each message that can be forwarded."""


def _list_demands(message: Any) -> list[KeyDemand]:
    """The requests for the other server, operation by operation."""
    demands = [KeyDemand(OPERATIONS[type(message)], getattr(message, "key_id", None))]
    if isinstance(message, key_messages.CreateKey):
        demands += [KeyDemand(CoreOperation.ACTIVATE)] if message.activate else []
        demands += [KeyDemand(CoreOperation.GET)] if message.get else []
    return demands


async def _forward(service: Forwards, active: NodeName, message: Any, peer: Peer) -> Any:
    caller = caller_at(service.config, peer.node, local=peer.local)
    if caller.role is None or caller.role is KmsRole.PEER:
        raise PermissionDenied(f"{caller.who} may change no keys")
    await service.core.check_forwarded(caller, _list_demands(message))
    on_behalf = OnBehalf(node=peer.node, at_console=peer.local)
    handed = msgspec.structs.replace(message, on_behalf=on_behalf)
    return await service.bus.request(active, handed, within_s=service.node.knobs.pair_timeout_s)


LIMIT: Final = SIZE_LIMIT * 3 // 4
"""Largest message to forward, and largest answer, in bytes; the rest of the limit is for the
envelope."""

PATIENCE: Final = 0.8
"""The part of ``pair_timeout_s`` for which the active server is awaited. A client with a patience
of ``pair_timeout_s`` then still gets the reason."""


class HandingOn:
    """Forwards messages of a server that is not active."""

    def __init__(
        self, node: KmsNode, bus: Bus, clock: Clock, core: KeyServerCore, group: ReplicationGroup
    ) -> None:
        self._node, self._bus, self._clock = node, bus, clock
        self._core, self._group = core, group

    async def __call__(
        self, caller: KeyServerCaller, requests: Sequence[CoreRequest[Any]], data: bytes
    ) -> bytes | None:
        """The answer of the active server; None when this one is active, or none is.

        ``data``: the message of these ``requests``. ``PermissionDenied`` for an unregistered
        caller, the errors of this server's rejections, ``ResponseTooLarge`` for a message that does
        not fit, and ``GeneralFailure`` when the active server is not reached, or has not answered.
        """
        active = self._core.find_forward_target()
        if active is None:
            return None
        await self._core.check_forwarded(caller, list_demands(requests))
        if caller.role is None:
            raise PermissionDenied(f"{caller.who} is not registered at this key server")
        if len(data) > LIMIT:
            text = f"{active} takes the changes; {len(data)} bytes are more than are handed on"
            raise ResponseTooLarge(f"{text}: at most {LIMIT}")
        message = replication_messages.HandOnMessage(
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
    """Handlers of messages that other servers forward to this one. A subclass sets the fields."""

    config: KmsConfig
    core: KeyServerCore
    group: ReplicationGroup | None

    @serves(replication_messages.HandOnMessage)
    async def hand_on_message(
        self, message: replication_messages.HandOnMessage, peer: Peer
    ) -> replication_messages.MessageHandedOn:
        """See the message."""
        grant = self.config.identities.get(peer.node)
        if peer.local or grant is None or grant.role is not KmsRole.PEER:
            raise PermissionDenied(f"{peer.node} may not speak for {message.who}")
        active = self.core.find_forward_target()
        if self.group is None or active is not None:
            # Forwarded once only: two servers that each take the other for active must not loop.
            raise NotConnected(f"{self.node.name} takes no changes; {active or 'nobody'} does")
        [data] = message.message.keys
        caller = KeyServerCaller(message.who, _role(message.role), message.scope)
        messages = Messages(self.core, self.clock, limit=LIMIT)
        answer = await messages.answer(caller, data.reveal())
        return replication_messages.MessageHandedOn(
            answer=Sealed.of(KeyMaterial(answer)), until=await self.group.learning.until()
        )


def _role(name: str) -> KmsRole:
    role = KmsRole(name) if name in {*KmsRole} else KmsRole.PEER
    if role is KmsRole.PEER:
        raise PermissionDenied(f"nobody comes by KMIP as {name[:64]!r}")
    return role
