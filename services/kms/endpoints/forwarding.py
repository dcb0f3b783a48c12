"""Changes that a server forwards to the active server of its group: mode ``forward``.

Which server is active is a durable setting of every server (``replication.oplog``); an operator
appoints another one with ``MakeActive``. A server that learns of a later appointment follows it. A
disconnected server does not learn of it and continues: two servers then take changes, which are
merged when they are connected again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, TypeVar, cast

import msgspec

from protocol.errors import NotConnected, PermissionDenied
from protocol.messages import kms as m
from protocol.messages.kms import OnBehalf
from protocol.terms import NodeName
from services.kms.access.authorization import caller_at
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.batches import KeyDemand
from services.kms.operations.core import KeyServerCore
from services.kms.replication.group import ReplicationGroup
from services.kms.settings.config import KmsConfig, KmsRole
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Bus
from services.runtime.service import Peer

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
    m.CreateKey: CoreOperation.CREATE,
    m.RegisterKey: CoreOperation.REGISTER,
    m.Activate: CoreOperation.ACTIVATE,
    m.Revoke: CoreOperation.REVOKE,
    m.Destroy: CoreOperation.DESTROY,
    m.AddAttribute: CoreOperation.ADD_ATTRIBUTE,
    m.ModifyAttribute: CoreOperation.MODIFY_ATTRIBUTE,
    m.DeleteAttribute: CoreOperation.DELETE_ATTRIBUTE,
}
"""The operation of each message that can be forwarded."""


def _list_demands(message: Any) -> list[KeyDemand]:
    """The requests for the other server, operation by operation."""
    demands = [KeyDemand(OPERATIONS[type(message)], getattr(message, "key_id", None))]
    if isinstance(message, m.CreateKey):
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
