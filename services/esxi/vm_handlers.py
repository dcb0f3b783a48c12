"""Handlers for virtual TPMs, clones, templates and snapshots, and VMs that may move to this host.

One per message; the flows are in ``vms`` and ``migration``.
"""

from __future__ import annotations

from typing import Any

from protocol.errors import InvalidArgument, InvalidPowerState, NotFound
from protocol.guest_tpm import secret_of
from protocol.messages import host as m
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

    @serves(m.HostAddVtpm, turn=vm_turn)
    async def add_vtpm(self, message: m.HostAddVtpm, peer: Peer) -> m.VmState:
        """See ``reconfigure.add_vtpm``."""
        vm = await reconfigure.add_vtpm(self.host, message.vm, message.key, message.provider)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostSetVtpmCertificate, turn=vm_turn)
    async def set_vtpm_certificate(self, message: m.HostSetVtpmCertificate, peer: Peer) -> m.Done:
        """See ``reconfigure.store_vtpm_certificate``."""
        await reconfigure.store_vtpm_certificate(self.host, message.vm, message.certificate)
        return m.Done()

    @serves(m.HostRemoveVtpm, turn=vm_turn)
    async def remove_vtpm(self, message: m.HostRemoveVtpm, peer: Peer) -> m.VmState:
        """See ``reconfigure.remove_vtpm``."""
        vm = await reconfigure.remove_vtpm(self.host, message.vm)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.QueryVmConfig)
    async def query_vm_config(self, message: m.QueryVmConfig, peer: Peer) -> m.VmConfigState:
        """The content of the VM's configuration files."""
        self.host.require_vm(message.vm)
        config = await read_config(self.host.datastore, message.vm)
        vtpm = config.vtpm
        return m.VmConfigState(
            firmware=config.firmware,
            hardware=config.hardware,
            home_encrypted=config.home is not None,
            disks=summarize_disks(config),
            vtpm=vtpm is not None,
            ek=b"" if vtpm is None else vtpm.ek,
            certificate=b"" if vtpm is None else vtpm.certificate,
        )

    @serves(m.GuestTpmSeal, turn=vm_turn)
    async def guest_tpm_seal(self, message: m.GuestTpmSeal, peer: Peer) -> m.GuestTpmSealed:
        """The guest seals in its vTPM, in place of what it had sealed before."""
        vtpm = self._vtpm(message.vm)
        ak, counter = await vtpm.seal(secret_of(message.marker))
        device = vtpm.device
        return m.GuestTpmSealed(
            ak=ak.raw, ek=device.ek, certificate=device.certificate, counter=counter
        )

    @serves(m.GuestTpmChallenge, turn=vm_turn)
    async def guest_tpm_challenge(
        self, message: m.GuestTpmChallenge, peer: Peer
    ) -> m.GuestTpmAnswered:
        """The guest proves that its vTPM works and is the same as before."""
        if not 0 < len(message.nonce) <= NONCE_LIMIT:
            raise InvalidArgument(f"nonce: 1 to {NONCE_LIMIT} bytes")
        return m.GuestTpmAnswered(answer=await self._vtpm(message.vm).challenge(message.nonce))

    @serves(m.HostCloneVm, turn=_clones)
    async def clone_vm(self, message: m.HostCloneVm, peer: Peer) -> m.VmState:
        """See ``clone.clone``, which waits for the source's turn itself. Clones are made one after
        another, because each waits for the turns of two VMs."""
        if message.source == message.vm:
            raise InvalidArgument("vm: a clone has another name than its source")
        async with self.node.turn(queue_of(message.vm)):
            vm = await clone.clone(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostMarkTemplate, turn=vm_turn)
    async def mark_template(self, message: m.HostMarkTemplate, peer: Peer) -> m.VmState:
        """See ``clone.mark_template``."""
        vm = await clone.mark_template(self.host, message.vm, template=message.template)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostCreateSnapshot, turn=vm_turn)
    async def create_snapshot(self, message: m.HostCreateSnapshot, peer: Peer) -> m.VmState:
        """See ``snapshots.create_snapshot``."""
        vm = await snapshots.create_snapshot(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostRemoveSnapshot, turn=vm_turn)
    async def remove_snapshot(self, message: m.HostRemoveSnapshot, peer: Peer) -> m.VmState:
        """See ``snapshots.remove_snapshot``."""
        vm = await snapshots.remove_snapshot(self.host, message.vm, message.snapshot)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostRevertToSnapshot, turn=vm_turn)
    async def revert_to_snapshot(self, message: m.HostRevertToSnapshot, peer: Peer) -> m.VmState:
        """See ``snapshots.revert_vm``."""
        vm = await snapshots.revert_vm(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.CheckRelocate)
    async def check_relocate(self, message: m.CheckRelocate, peer: Peer) -> m.RelocateChecked:
        """See ``vmotion.check_relocation`` and ``vmotion.check_source``."""
        if message.datastore:
            await vmotion.check_relocation(self.host, message)
        else:
            await vmotion.check_source(self.host, message.vm)
        return m.RelocateChecked(datastore=self.host.config.datastore)

    def _vtpm(self, name: VmName) -> Vtpm:
        vm = self.host.require_vm(name)
        if vm.guest is None:
            raise InvalidPowerState(f"{name} is not running")
        if vm.guest.vtpm is None:
            raise NotFound(f"{name} has no virtual TPM")
        return vm.guest.vtpm
