"""Handlers for virtual TPMs, clones, templates and snapshots, and VMs that may move to this host.

One per message; the flows are in ``vms`` and ``migration``.
"""

from __future__ import annotations

from typing import Any

from protocol.errors import InvalidArgument, InvalidPowerState, NotFound
from protocol.guest_tpm import secret_of
from protocol.messages.host import session as session_messages
from protocol.messages.host import vms as vm_messages
from protocol.terms import VmName
from services.esxi.host import EsxiHost
from services.esxi.migration import vmotion
from services.esxi.vms import clone, reconfigure, snapshots
from services.esxi.vms.files import read_config
from services.esxi.vms.vm import queue_of, summarize_disks
from services.esxi.vms.vtpm import Vtpm
from services.runtime.service import Peer, Service, serves

NONCE_LIMIT = 64  # bytes, of a quote's qualifying data


def vm_turn(message: Any) -> str:
    """The queue of the VM that ``message`` names."""
    return queue_of(message.vm)


def _clones(message: Any) -> str:
    return "clones"


class EsxiVmHandlers(Service):
    """Handlers of virtual TPMs, copies and moves of VMs; a subclass sets ``host``."""

    host: EsxiHost

    @serves(vm_messages.HostAddVtpm, turn=vm_turn)
    async def add_vtpm(self, message: vm_messages.HostAddVtpm, peer: Peer) -> vm_messages.VmState:
        """See ``reconfigure.add_vtpm``."""
        vm = await reconfigure.add_vtpm(self.host, message.vm, message.key, message.provider)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostSetVtpmCertificate, turn=vm_turn)
    async def set_vtpm_certificate(
        self, message: vm_messages.HostSetVtpmCertificate, peer: Peer
    ) -> session_messages.Done:
        """See ``reconfigure.store_vtpm_certificate``."""
        await reconfigure.store_vtpm_certificate(self.host, message.vm, message.certificate)
        return session_messages.Done()

    @serves(vm_messages.HostRemoveVtpm, turn=vm_turn)
    async def remove_vtpm(
        self, message: vm_messages.HostRemoveVtpm, peer: Peer
    ) -> vm_messages.VmState:
        """See ``reconfigure.remove_vtpm``."""
        vm = await reconfigure.remove_vtpm(self.host, message.vm)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.QueryVmConfig)
    async def query_vm_config(
        self, message: vm_messages.QueryVmConfig, peer: Peer
    ) -> vm_messages.VmConfigState:
        """The content of the VM's configuration files."""
        self.host.require_vm(message.vm)
        config = await read_config(self.host.datastore, message.vm)
        vtpm = config.vtpm
        return vm_messages.VmConfigState(
            firmware=config.firmware,
            hardware=config.hardware,
            home_encrypted=config.home is not None,
            disks=summarize_disks(config),
            vtpm=vtpm is not None,
            ek=b"" if vtpm is None else vtpm.ek,
            certificate=b"" if vtpm is None else vtpm.certificate,
        )

    @serves(vm_messages.GuestTpmSeal, turn=vm_turn)
    async def guest_tpm_seal(
        self, message: vm_messages.GuestTpmSeal, peer: Peer
    ) -> vm_messages.GuestTpmSealed:
        """The guest seals in its vTPM, in place of what it had sealed before."""
        vtpm = self._vtpm(message.vm)
        ak, counter = await vtpm.seal(secret_of(message.marker))
        device = vtpm.device
        return vm_messages.GuestTpmSealed(
            ak=ak.raw, ek=device.ek, certificate=device.certificate, counter=counter
        )

    @serves(vm_messages.GuestTpmChallenge, turn=vm_turn)
    async def guest_tpm_challenge(
        self, message: vm_messages.GuestTpmChallenge, peer: Peer
    ) -> vm_messages.GuestTpmAnswered:
        """The guest proves that its vTPM works and is the same as before."""
        if not 0 < len(message.nonce) <= NONCE_LIMIT:
            raise InvalidArgument(f"nonce: 1 to {NONCE_LIMIT} bytes")
        return vm_messages.GuestTpmAnswered(
            answer=await self._vtpm(message.vm).challenge(message.nonce)
        )

    @serves(vm_messages.HostCloneVm, turn=_clones)
    async def clone_vm(self, message: vm_messages.HostCloneVm, peer: Peer) -> vm_messages.VmState:
        """See ``clone.clone``, which waits for the source's turn itself. Clones are made one after
        another, because each waits for the turns of two VMs."""
        if message.source == message.vm:
            raise InvalidArgument("vm: a clone has another name than its source")
        async with self.node.turn(queue_of(message.vm)):
            vm = await clone.clone(self.host, message)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostMarkTemplate, turn=vm_turn)
    async def mark_template(
        self, message: vm_messages.HostMarkTemplate, peer: Peer
    ) -> vm_messages.VmState:
        """See ``clone.mark_template``."""
        vm = await clone.mark_template(self.host, message.vm, template=message.template)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostCreateSnapshot, turn=vm_turn)
    async def create_snapshot(
        self, message: vm_messages.HostCreateSnapshot, peer: Peer
    ) -> vm_messages.VmState:
        """See ``snapshots.create_snapshot``."""
        vm = await snapshots.create_snapshot(self.host, message)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostRemoveSnapshot, turn=vm_turn)
    async def remove_snapshot(
        self, message: vm_messages.HostRemoveSnapshot, peer: Peer
    ) -> vm_messages.VmState:
        """See ``snapshots.remove_snapshot``."""
        vm = await snapshots.remove_snapshot(self.host, message.vm, message.snapshot)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostRevertToSnapshot, turn=vm_turn)
    async def revert_to_snapshot(
        self, message: vm_messages.HostRevertToSnapshot, peer: Peer
    ) -> vm_messages.VmState:
        """See ``snapshots.revert_vm``."""
        vm = await snapshots.revert_vm(self.host, message)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.CheckRelocate)
    async def check_relocate(
        self, message: vm_messages.CheckRelocate, peer: Peer
    ) -> vm_messages.RelocateChecked:
        """See ``vmotion.check_relocation`` and ``vmotion.check_source``."""
        if message.datastore:
            await vmotion.check_relocation(self.host, message)
        else:
            await vmotion.check_source(self.host, message.vm)
        return vm_messages.RelocateChecked(datastore=self.host.config.datastore)

    def _vtpm(self, name: VmName) -> Vtpm:
        vm = self.host.require_vm(name)
        if vm.guest is None:
            raise InvalidPowerState(f"{name} is not running")
        if vm.guest.vtpm is None:
            raise NotFound(f"{name} has no virtual TPM")
        return vm.guest.vtpm
