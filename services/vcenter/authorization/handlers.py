"""vCenter's handlers for roles, and for who has them; in one turn of their own."""

from __future__ import annotations

from typing import Any

from protocol.messages.host import Done
from protocol.messages.vcenter import (
    AddAuthorizationRole,
    AuthorizationState,
    QueryAuthorization,
    RemoveAuthorizationRole,
    RemoveEntityPermission,
    SetEntityPermissions,
    UpdateAuthorizationRole,
)
from services.runtime.service import Peer, serves
from services.vcenter.authorization import tasks
from services.vcenter.provider_handlers import ProviderHandlers


def _roles(message: Any) -> str:
    return "roles"


class AuthorizationHandlers(ProviderHandlers):
    """See the module's text."""

    @serves(AddAuthorizationRole, turn=_roles)
    async def add_role(self, message: AddAuthorizationRole, peer: Peer) -> Done:
        work = tasks.add_role(self.vcenter, message)
        return await self.task(peer, message.role, message, work)

    @serves(UpdateAuthorizationRole, turn=_roles)
    async def update_role(self, message: UpdateAuthorizationRole, peer: Peer) -> Done:
        work = tasks.update_role(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.role, message, work)

    @serves(RemoveAuthorizationRole, turn=_roles)
    async def remove_role(self, message: RemoveAuthorizationRole, peer: Peer) -> Done:
        work = tasks.remove_role(self.vcenter, message)
        return await self.task(peer, message.role, message, work)

    @serves(SetEntityPermissions, turn=_roles)
    async def set_permission(self, message: SetEntityPermissions, peer: Peer) -> Done:
        work = tasks.set_permission(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.principal, message, work)

    @serves(RemoveEntityPermission, turn=_roles)
    async def remove_permission(self, message: RemoveEntityPermission, peer: Peer) -> Done:
        work = tasks.remove_permission(self.vcenter, message)
        return await self.task(peer, message.principal, message, work)

    @serves(QueryAuthorization)
    async def query_authorization(
        self, message: QueryAuthorization, peer: Peer
    ) -> AuthorizationState:
        return tasks.state(self.vcenter)
