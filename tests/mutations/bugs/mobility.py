"""Bugs of migrations between hosts and between vCenters."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from protocol.errors import EncryptionKeyRequired, ProductError
from protocol.events import EventTypeId
from protocol.messages.host.vms import CheckRelocate
from services.esxi.migration import vmotion
from services.esxi.vms.files import read_config, take_lock
from services.vcenter.events import EventDraft
from services.vcenter.hosts import sessions
from services.vcenter.hosts.plan import by_provider
from services.vcenter.hosts.remediation import Remediation
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import change_vm
from services.vcenter.tables import RelocationRow
from services.vcenter.tasks import migrate, relocate, relocate_outcome
from tests.mutations.bugs.planting import plant, replaces


def arrival_taken_for_news() -> None:
    """MOB-07 broken: a VM that only waits for its memory on a host is taken into the inventory."""

    plant(
        sessions,
        "of_relocations",
        lambda original: lambda rows, known, hosts, host, vms: (vms, [], []),
    )


def arrivals_unjudged() -> None:
    """MOB-07 broken: a VM whose keys the other vCenter does not have may come to it all the
    same."""

    def _whatever_lacks(original: Any) -> Any:
        async def judged(*given: Any, **more: Any) -> Any:
            try:
                return await original(*given, **more)
            except EncryptionKeyRequired:
                return None

        return judged

    def _unasked(original: Any) -> Any:
        judged = _whatever_lacks(original)

        async def ask(self: Any, message: Any, **limits: Any) -> Any:
            asked = judged if isinstance(message, CheckRelocate) else original
            return await asked(self, message, **limits)

        return ask

    plant(relocate, "_check_providers", _whatever_lacks)
    plant(relocate, "bring_keys", _whatever_lacks)
    plant(HostSession, "ask", _unasked)


def left_vm_comes_back() -> None:
    """MOB-07 broken: a host that was away brings a VM back that has left its vCenter."""

    plant(
        RelocationRow, "is_past", lambda original: lambda row, host: row.state.value == "expected"
    )


def migration_begun_again() -> None:
    """MOB-01 broken: a migration that failed is begun again, from the first nonce of its key."""

    @replaces(vmotion, "migrate_vm")
    async def migrate(original: Any, host: Any, message: Any) -> Any:
        host.migrations.left.pop(message.vm, None)
        return await original(host, message)


def move_pulls_again() -> None:
    """MOB-04 broken: a key that the target of a move has already is fetched again all the same."""

    @replaces(Remediation, "provide")
    async def provide(original: Any, self: Any, session: Any, keys: Any) -> Any:
        denied = await original(self, session, keys)
        for provider, some in by_provider(keys).items():
            denied.update(await self._delivery.supply(session, provider, some, fresh=True))
        return denied


def moves_to_any_host() -> None:
    """MOB-05 broken: an encrypted VM moves to a host whatever its encryption mode is."""

    @replaces(migrate, "make_host_safe")
    async def make_host_safe(original: Any, *args: Any, **rights: Any) -> None:
        return None


def offer_left() -> None:
    """A source that goes on leaves its offer in the VM's files, where a late target finds it."""

    @replaces(vmotion, "write_config")
    async def write_config(original: Any, datastore: Any, config: Any) -> None:
        if config.offer is not None:
            await original(datastore, config)


def offer_unread() -> None:
    """A target goes on with what was frozen whenever it gets the lock, offered to it or not."""

    @replaces(vmotion, "_read_offered_config")
    async def offered(original: Any, host: Any, expected: Any) -> Any:
        return expected.config


def offered_as_it_was() -> None:
    """A target goes on with the VM as it has opened it, whatever has become of its files since."""

    @replaces(vmotion, "_read_offered_config")
    async def offered(original: Any, host: Any, expected: Any) -> Any:
        found = await read_config(host.datastore, expected.config.vm)
        seen = msgspec.structs.replace(found, offer=None)
        ours = dataclasses.replace(expected, config=seen)
        return await original(host, ours)


def old_word_of_a_departure() -> None:
    """MOB-07 broken: what a host said before it fell tells whether a VM has left it."""

    @replaces(relocate_outcome, "_query_source")
    async def word_of(original: Any, vc: Any, session: Any, leaving: Any) -> Any:
        if not vc.sessions.lists(session.host, leaving.name) or session.summary is None:
            return None
        vms = session.summary.vms
        return next((one for one in vms if one.vm == leaving.name), None)


def refused_move_locks() -> None:
    """MOB-05 broken: a VM whose move is refused for lack of a key is marked as locked."""

    @replaces(migrate, "bring_keys")
    async def bring_keys(original: Any, vc: Any, session: Any, row: Any, *, caller: Any) -> None:
        try:
            await original(vc, session, row, caller=caller)
        except EncryptionKeyRequired as error:
            event = EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR
            edit = change_vm(row.name, lock_event=event, missing=error.keys)
            told = EventDraft(
                event=event,
                text=f"Virtual machine {row.name} is locked",
                host=session.host,
                vm=row.name,
                provider=error.keys[0].provider_id,
                keys=error.keys,
            )
            await vc.inventory.commit(edit, events=[told])
            raise


def source_goes_on_anyway() -> None:
    """A source that has its lock back goes on, without a look at who had the VM meanwhile."""

    @replaces(vmotion, "_take_back_vm")
    async def goes_on_here(original: Any, host: Any, vm: Any, message: Any) -> bool:
        try:
            await take_lock(host.datastore, vm.name)
        except ProductError:
            return False
        return True
