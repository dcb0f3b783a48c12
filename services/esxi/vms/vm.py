"""A VM as the host knows it that has it registered, and what that host tells of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.messages.host import VmSummary
from protocol.terms import CryptoKeyId, PowerState, VmConnectionState, VmCryptoState, VmName
from services.esxi.vms.guest import Guest
from services.esxi.vms.vmx import VmConfig


@dataclass
class RegisteredVm:
    """A registered VM. ``config`` is None when its files cannot be read (``problem`` says why).

    ``wanted`` is its last accepted power command; ``guest`` is there while it runs.
    """

    vm: VmName
    config: VmConfig | None = None
    wanted: PowerState = PowerState.OFF
    guest: Guest | None = None
    problem: str = ""

    @property
    def power(self) -> PowerState:
        return PowerState.ON if self.guest is not None else PowerState.OFF


def summary(vm: RegisteredVm, missing: tuple[CryptoKeyId, ...]) -> VmSummary:
    """The VM as told to vCenter; ``missing`` are needed keys this host cannot use by itself.

    A running VM is never locked (LOCK-04). Without the home's key it is invalid too (LOCK-02),
    without a disk's only it is not (LOCK-03).
    """
    config, running = vm.config, vm.guest is not None
    if config is None:
        return VmSummary(
            vm=vm.vm,
            power=vm.power,
            connection=VmConnectionState.INVALID,
            wanted=vm.wanted,
        )
    gone = () if running else missing
    crypto = None
    if config.home is not None:
        crypto = VmCryptoState.LOCKED if gone else VmCryptoState.UNLOCKED
    invalid = config.home is not None and config.home.key in gone
    return VmSummary(
        vm=vm.vm,
        power=vm.power,
        crypto=crypto,
        connection=VmConnectionState.INVALID if invalid else VmConnectionState.CONNECTED,
        keys=config.keys,
        missing=gone,
        wanted=vm.wanted,
    )
