"""What a host is told and asked of virtual TPMs; flows lie in ``vms``."""

from __future__ import annotations

from typing import Any

from protocol.errors import InvalidArgument, InvalidPowerState, NotFound
from protocol.guest_tpm import secret_of
from protocol.messages import host as m
from protocol.terms import VmName
from services.esxi.host import Host
from services.esxi.vms import vtpm_device
from services.esxi.vms.files import read_config
from services.esxi.vms.vm import disks_of, queue_of
from services.esxi.vms.vtpm import Vtpm
from services.runtime.service import Peer, Service, serves

NONCE_LIMIT = 64


def _vm(message: Any) -> str:
    return queue_of(message.vm)


class VtpmDoor(Service):
    """Handlers of ``protocol.messages.host.vtpm``. Who inherits from it sets up ``host``."""

    host: Host

    @serves(m.HostAddVtpm, turn=_vm)
    async def add_vtpm(self, message: m.HostAddVtpm, peer: Peer) -> m.VmState:
        """See ``vtpm_device.add``."""
        vm = await vtpm_device.add(self.host, message.vm, message.key, message.provider)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostSetVtpmCertificate, turn=_vm)
    async def set_vtpm_certificate(self, message: m.HostSetVtpmCertificate, peer: Peer) -> m.Done:
        """See ``vtpm_device.certify``."""
        await vtpm_device.certify(self.host, message.vm, message.certificate)
        return m.Done()

    @serves(m.HostRemoveVtpm, turn=_vm)
    async def remove_vtpm(self, message: m.HostRemoveVtpm, peer: Peer) -> m.VmState:
        """See ``vtpm_device.remove``."""
        vm = await vtpm_device.remove(self.host, message.vm)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.QueryVmConfig)
    async def query_vm_config(self, message: m.QueryVmConfig, peer: Peer) -> m.VmConfigState:
        """What its files say."""
        self.host.registered(message.vm)
        config = await read_config(self.host.datastore, message.vm)
        vtpm = config.vtpm
        return m.VmConfigState(
            firmware=config.firmware,
            hardware=config.hardware,
            home_encrypted=config.home is not None,
            disks=disks_of(config),
            vtpm=vtpm is not None,
            ek=b"" if vtpm is None else vtpm.ek,
            certificate=b"" if vtpm is None else vtpm.certificate,
        )

    @serves(m.GuestTpmSeal, turn=_vm)
    async def guest_tpm_seal(self, message: m.GuestTpmSeal, peer: Peer) -> m.GuestTpmSealed:
        """The guest seals in its vTPM; what it was before is gone with that."""
        vtpm = self._vtpm(message.vm)
        ak, counter = await vtpm.seal(secret_of(message.marker))
        device = vtpm.device
        return m.GuestTpmSealed(
            ak=ak.raw, ek=device.ek, certificate=device.certificate, counter=counter
        )

    @serves(m.GuestTpmChallenge, turn=_vm)
    async def guest_tpm_challenge(
        self, message: m.GuestTpmChallenge, peer: Peer
    ) -> m.GuestTpmAnswered:
        """The guest proves that its vTPM works, and is the one that it was."""
        if not 0 < len(message.nonce) <= NONCE_LIMIT:
            raise InvalidArgument(f"nonce: 1 to {NONCE_LIMIT} bytes")
        return m.GuestTpmAnswered(answer=await self._vtpm(message.vm).challenge(message.nonce))

    def _vtpm(self, name: VmName) -> Vtpm:
        vm = self.host.registered(name)
        if vm.guest is None:
            raise InvalidPowerState(f"{name} is not running")
        if vm.guest.vtpm is None:
            raise NotFound(f"{name} has no virtual TPM")
        return vm.guest.vtpm
