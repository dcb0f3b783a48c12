"""A VM as the host knows it on which it is registered, and its summary. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from protocol.messages.host.session import VirtualDisk, VmSummary
from protocol.terms import (
    CryptoKeyId,
    NodeName,
    PowerState,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from services.esxi.vms.file_formats import VmConfig
from services.esxi.vms.guest import RunningGuest


@dataclass
class RegisteredVm:
    """A registered VM. ``config`` is None when its files cannot be read (``problem`` has the
    reason).

    ``wanted`` is its last accepted power command. ``guest`` is set while it runs. ``locked_by`` is
    another host that held its lock on the datastore at the latest check.
    """

    name: VmName
    config: VmConfig | None = None
    wanted: PowerState = PowerState.OFF
    guest: RunningGuest | None = None
    problem: str = ""
    locked_by: NodeName | None = None
    _cached: tuple[tuple[object, ...], VmSummary] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @property
    def power(self) -> PowerState:
        """On if and only if its guest runs here."""
        return PowerState.ON if self.guest is not None else PowerState.OFF

    def summary(self, missing: tuple[CryptoKeyId, ...]) -> VmSummary:
        """The VM as vCenter sees it; ``missing`` are needed keys that the host cannot use by
        itself.

        A running VM is never locked (LOCK-04). Without the home's key it is also invalid (LOCK-02),
        without only a disk's key it is not (LOCK-03).
        """
        # Every view of the host needs it; it is built again when one of its inputs changed.
        now = (self.config, self.guest is None, missing, self.wanted, self.locked_by)
        if self._cached is None or self._cached[0] != now:
            self._cached = now, self._summary(missing)
        return self._cached[1]

    def _summary(self, missing: tuple[CryptoKeyId, ...]) -> VmSummary:
        config = self.config
        locked_by = None if self.guest is not None else self.locked_by
        if config is None:
            return VmSummary(
                vm=self.name,
                power=self.power,
                connection=VmConnectionState.INVALID,
                wanted=self.wanted,
                locked_by=locked_by,
            )
        gone = () if self.guest is not None else missing
        crypto = None
        if config.home is not None:
            crypto = VmCryptoState.LOCKED if gone else VmCryptoState.UNLOCKED
        invalid = config.home is not None and config.home.key in gone
        return VmSummary(
            vm=self.name,
            power=self.power,
            crypto=crypto,
            connection=VmConnectionState.INVALID if invalid else VmConnectionState.CONNECTED,
            keys=config.keys,
            missing=gone,
            wanted=self.wanted,
            locked_by=locked_by,
            disks=summarize_disks(config) if len(config.disks) > 1 else msgspec.UNSET,
            vtpm=msgspec.UNSET if config.vtpm is None else True,
            snapshots=tuple(one.name for one in config.snapshots) or msgspec.UNSET,
            template=config.template or msgspec.UNSET,
            with_memory=tuple(one.name for one in config.snapshots if one.memory) or msgspec.UNSET,
        )


def summarize_disks(config: VmConfig) -> tuple[VirtualDisk, ...]:
    """All disks of a VM for its summary."""
    return tuple(
        VirtualDisk(
            disk=disk.number, blocks=disk.blocks, key=None if disk.dek is None else disk.dek.key
        )
        for disk in config.disks
    )


def queue_of(vm: VmName) -> str:
    """The name of the queue in which work on this VM keeps its order (``ServiceNode.turn``)."""
    return f"vm/{vm}"
