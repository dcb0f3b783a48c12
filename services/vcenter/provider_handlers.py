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
from protocol.messages.host import Done
from protocol.messages.vcenter import (
    AddKey,
    CreateNativeProvider,
    CryptoKeyStatusList,
    DefaultKmsCluster,
    DownloadExport,
    ExportDownloaded,
    ExportLocation,
    ExportProvider,
    GenerateKey,
    GetDefaultKmsCluster,
    ImportProvider,
    KeyGenerated,
    KeyIdList,
    KeyRemoved,
    KmsClusterUnregistered,
    ListKeys,
    ListKmsClusters,
    MarkDefault,
    OpenTransfer,
    ProviderImported,
    ProviderList,
    ProviderState,
    QueryCryptoKeyStatus,
    RegisterKmsCluster,
    RemoveKey,
    SetDefaultKmsCluster,
    TransferOpened,
    UnregisterKmsCluster,
    UpdateNativeProvider,
)
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

    @serves(RegisterKmsCluster, turn=_providers)
    async def register(self, message: RegisterKmsCluster, peer: Peer) -> ProviderState:
        work = providers.register(self.vcenter, message)
        done = await self.task(peer, message.provider, message, work)
        self.vcenter.providers_changed()
        return done

    @serves(UnregisterKmsCluster, turn=_providers)
    async def unregister(self, message: UnregisterKmsCluster, peer: Peer) -> KmsClusterUnregistered:
        work = providers.unregister(self.vcenter, message)
        done = await self.task(peer, message.provider, message, work)
        self.vcenter.providers_changed()
        return done

    @serves(MarkDefault, turn=_providers)
    async def mark_default(self, message: MarkDefault, peer: Peer) -> ProviderState:
        work = providers.mark_default(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(SetDefaultKmsCluster, turn=_providers)
    async def set_default(self, message: SetDefaultKmsCluster, peer: Peer) -> Done:
        work = providers.set_default(self.vcenter, message)
        return await self.task(peer, message.entity, message, work)

    @serves(GetDefaultKmsCluster)
    async def get_default(self, message: GetDefaultKmsCluster, peer: Peer) -> DefaultKmsCluster:
        self.check(peer, message)
        return providers.get_default(self.vcenter, message)

    @serves(ListKmsClusters)
    async def list_providers(self, message: ListKmsClusters, peer: Peer) -> ProviderList:
        self.check(peer, message)
        left = self.vcenter.inventory.index.providers.after(message.after)
        page = first_page(self.vcenter.provider_info(name) for name in left)
        return ProviderList(providers=page, more=len(page) < len(left))

    @serves(GenerateKey, turn=_operation)
    async def generate_key(self, message: GenerateKey, peer: Peer) -> KeyGenerated:
        work = keys.generate_key(self.vcenter, message)
        return await self.task(peer, message.provider or "", message, work)

    @serves(AddKey, turn=_key)
    async def add_key(self, message: AddKey, peer: Peer) -> Done:
        work = keys.add_key(self.vcenter, message)
        return await self.task(peer, str(message.key), message, work)

    @serves(RemoveKey, turn=_key)
    async def remove_key(self, message: RemoveKey, peer: Peer) -> KeyRemoved:
        work = keys.remove_key(self.vcenter, message)
        return await self.task(peer, str(message.key), message, work)

    @serves(ListKeys)
    async def list_keys(self, message: ListKeys, peer: Peer) -> KeyIdList:
        self.check(peer, message)
        return keys.list_keys(self.vcenter, message)

    @serves(QueryCryptoKeyStatus)
    async def query_key_status(
        self, message: QueryCryptoKeyStatus, peer: Peer
    ) -> CryptoKeyStatusList:
        self.check(peer, message)
        return await query_key_status(self.vcenter, message)

    # ---- native providers -------------------------------------------------------------------

    @serves(OpenTransfer)
    async def open_transfer(self, message: OpenTransfer, peer: Peer) -> TransferOpened:
        self.check(peer, message)
        return providers.open_transfer(self.vcenter)

    @serves(CreateNativeProvider, turn=_providers)
    async def create_native(self, message: CreateNativeProvider, peer: Peer) -> ProviderState:
        work = providers.create(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(UpdateNativeProvider, turn=_providers)
    async def update_native(self, message: UpdateNativeProvider, peer: Peer) -> ProviderState:
        work = providers.update(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(ExportProvider, turn=_providers)
    async def export_provider(self, message: ExportProvider, peer: Peer) -> ExportLocation:
        self.check(peer, message)
        return providers.export(self.vcenter, message)

    @serves(DownloadExport, turn=_providers)
    async def download_export(self, message: DownloadExport, peer: Peer) -> ExportDownloaded:
        work = providers.download(self.vcenter, message)
        return await self.task(peer, "", message, work)

    @serves(ImportProvider, turn=_providers)
    async def import_provider(self, message: ImportProvider, peer: Peer) -> ProviderImported:
        work = providers.import_(self.vcenter, message)
        return await self.task(peer, "", message, work)
