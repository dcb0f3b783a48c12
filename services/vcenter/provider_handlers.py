"""vCenter's handlers for key providers and their keys, and the common part of all task handlers.

Work on the list of providers has one turn of its own. ``service`` has the handlers for hosts, VMs
and events, and decides which nodes may send which messages.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from protocol.authorization import ADMINISTRATOR
from protocol.errors import ProductError
from protocol.messages.base import Request
from protocol.messages.host.session import Done
from protocol.messages.vcenter import providers as provider_messages
from protocol.pages import first_page
from services.runtime.service import Peer, Service, serves
from services.vcenter.authorization.privileges import (
    NEEDS,
    TaskCaller,
    caller,
    privileges_for,
    vm_of,
)
from services.vcenter.knobs import VcenterNode
from services.vcenter.tasks import keys, providers
from services.vcenter.tasks.keys import query_key_status
from services.vcenter.tasks.power import check_valid
from services.vcenter.vcenter import VCenter

T = TypeVar("T")


def _key(message: Any) -> str:
    return f"key:{message.key}"


def _providers(message: Any) -> str:
    return "providers"


def _operation(message: Any) -> str:
    return f"operation:{message.operation_id}"


class ProviderHandlers(Service):
    """Handlers for key providers. ``vcenter`` is set by ``start``."""

    node: VcenterNode
    vcenter: VCenter

    def caller(self, peer: Peer) -> TaskCaller:
        """The sender, with its present privileges."""
        inventory, trust = self.vcenter.inventory, self.vcenter.trust
        return caller(peer.user, inventory.roles, inventory.permissions, trust.row.admins)

    def check(self, peer: Peer, message: Request[Any]) -> None:
        """``NoPermission`` unless the sender has the privileges in the table for this message."""
        privileges = privileges_for(message, self.vcenter.inventory.vms)
        self.caller(peer).check(privileges, type(message).__name__)

    async def task(
        self, peer: Peer, subject: str, message: Request[Any], work: Coroutine[Any, Any, T]
    ) -> T:
        """Run a task, with a record at its begin and its end.

        A task that its user may not start, or that is not allowed on an invalid VM (LOCK-02), ends
        at once: nothing of ``work`` is executed.
        """
        name = type(message).__name__
        self.node.record("task.begin", task=name, subject=subject)
        outcome = "failed"
        try:
            with self.vcenter.tasks.task(name, subject, peer.user or ADMINISTRATOR):
                try:
                    self.check(peer, message)
                    await self._check_vm(message)
                except ProductError:
                    work.close()
                    raise
                done = await work
            outcome = "ok"
        except ProductError as error:
            outcome = type(error).__name__
            raise
        finally:
            self.node.record("task.end", task=name, subject=subject, outcome=outcome)
        return done

    async def _check_vm(self, message: Request[Any]) -> None:
        """``InvalidVmState``: see ``tasks.validity``."""
        vm = None if NEEDS[type(message)].on_invalid_vm else vm_of(message)
        if vm is not None:
            operation = getattr(message, "operation_id", "")
            await check_valid(self.vcenter, vm, operation=operation)

    # ---- key providers ----------------------------------------------------------------------

    @serves(provider_messages.RegisterKmsCluster, turn=_providers)
    async def register(
        self, message: provider_messages.RegisterKmsCluster, peer: Peer
    ) -> provider_messages.ProviderState:
        work = providers.register(self.vcenter, message)
        done = await self.task(peer, message.provider, message, work)
        self.vcenter.providers_changed()
        return done

    @serves(provider_messages.UnregisterKmsCluster, turn=_providers)
    async def unregister(
        self, message: provider_messages.UnregisterKmsCluster, peer: Peer
    ) -> provider_messages.KmsClusterUnregistered:
        work = providers.unregister(self.vcenter, message)
        done = await self.task(peer, message.provider, message, work)
        self.vcenter.providers_changed()
        return done

    @serves(provider_messages.MarkDefault, turn=_providers)
    async def mark_default(
        self, message: provider_messages.MarkDefault, peer: Peer
    ) -> provider_messages.ProviderState:
        work = providers.mark_default(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.SetDefaultKmsCluster, turn=_providers)
    async def set_default(
        self, message: provider_messages.SetDefaultKmsCluster, peer: Peer
    ) -> Done:
        work = providers.set_default(self.vcenter, message)
        return await self.task(peer, message.entity, message, work)

    @serves(provider_messages.GetDefaultKmsCluster)
    async def get_default(
        self, message: provider_messages.GetDefaultKmsCluster, peer: Peer
    ) -> provider_messages.DefaultKmsCluster:
        self.check(peer, message)
        return providers.get_default(self.vcenter, message)

    @serves(provider_messages.ListKmsClusters)
    async def list_providers(
        self, message: provider_messages.ListKmsClusters, peer: Peer
    ) -> provider_messages.ProviderList:
        self.check(peer, message)
        left = self.vcenter.inventory.index.providers.after(message.after)
        page = first_page(self.vcenter.provider_info(name) for name in left)
        return provider_messages.ProviderList(providers=page, more=len(page) < len(left))

    @serves(provider_messages.GenerateKey, turn=_operation)
    async def generate_key(
        self, message: provider_messages.GenerateKey, peer: Peer
    ) -> provider_messages.KeyGenerated:
        work = keys.generate_key(self.vcenter, message)
        return await self.task(peer, message.provider or "", message, work)

    @serves(provider_messages.AddKey, turn=_key)
    async def add_key(self, message: provider_messages.AddKey, peer: Peer) -> Done:
        work = keys.add_key(self.vcenter, message)
        return await self.task(peer, str(message.key), message, work)

    @serves(provider_messages.RemoveKey, turn=_key)
    async def remove_key(
        self, message: provider_messages.RemoveKey, peer: Peer
    ) -> provider_messages.KeyRemoved:
        work = keys.remove_key(self.vcenter, message)
        return await self.task(peer, str(message.key), message, work)

    @serves(provider_messages.ListKeys)
    async def list_keys(
        self, message: provider_messages.ListKeys, peer: Peer
    ) -> provider_messages.KeyIdList:
        self.check(peer, message)
        return keys.list_keys(self.vcenter, message)

    @serves(provider_messages.QueryCryptoKeyStatus)
    async def query_key_status(
        self, message: provider_messages.QueryCryptoKeyStatus, peer: Peer
    ) -> provider_messages.CryptoKeyStatusList:
        self.check(peer, message)
        return await query_key_status(self.vcenter, message)

    # ---- native providers -------------------------------------------------------------------

    @serves(provider_messages.OpenTransfer)
    async def open_transfer(
        self, message: provider_messages.OpenTransfer, peer: Peer
    ) -> provider_messages.TransferOpened:
        self.check(peer, message)
        return providers.open_transfer(self.vcenter)

    @serves(provider_messages.CreateNativeProvider, turn=_providers)
    async def create_native(
        self, message: provider_messages.CreateNativeProvider, peer: Peer
    ) -> provider_messages.ProviderState:
        work = providers.create(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.UpdateNativeProvider, turn=_providers)
    async def update_native(
        self, message: provider_messages.UpdateNativeProvider, peer: Peer
    ) -> provider_messages.ProviderState:
        work = providers.update(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.ExportProvider, turn=_providers)
    async def export_provider(
        self, message: provider_messages.ExportProvider, peer: Peer
    ) -> provider_messages.ExportLocation:
        self.check(peer, message)
        return providers.export(self.vcenter, message)

    @serves(provider_messages.DownloadExport, turn=_providers)
    async def download_export(
        self, message: provider_messages.DownloadExport, peer: Peer
    ) -> provider_messages.ExportDownloaded:
        work = providers.download(self.vcenter, message)
        return await self.task(peer, "", message, work)

    @serves(provider_messages.ImportProvider, turn=_providers)
    async def import_provider(
        self, message: provider_messages.ImportProvider, peer: Peer
    ) -> provider_messages.ProviderImported:
        work = providers.import_(self.vcenter, message)
        return await self.task(peer, "", message, work)
