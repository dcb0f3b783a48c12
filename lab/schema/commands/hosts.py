"""Hosts (and other nodes): power in all its ways, esxcli at the console, the TPM, adding one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names
from protocol.errors import InvalidArgument
from protocol.releases import release_of

if TYPE_CHECKING:
    from lab.schema.answers import (
        EsxcliResult,
        Fault,
        Host,
        HostPauseList,
        HostPowerList,
        Pcrs,
        Tpm,
    )

A = TypeVar("A", covariant=True)


class _OfHosts(Command[A], Generic[A], frozen=True):
    """``hosts`` are names or selectors (``esxi-[001-003]``, ``site:edge``, ``vcenter``)."""

    hosts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.hosts:
            raise wrong("name at least one host")


class HostPowerOn(_OfHosts["HostPowerList"], frozen=True, tag="host.power-on"):
    """Press the power button of these nodes; returns when each has started or halted.

    Nodes of one role start together, a role after the one before it has started. ``options`` are
    typed at the boot loader: ``encryptionRecoveryKey`` of a host, ``kmsPassphrase`` of a key server
    whose keys that opens, ``acceptRollback`` of one that stops at an older database.
    """

    options: dict[str, str] = {}


class HostReboot(_OfHosts["HostPowerList"], frozen=True, tag="host.reboot"):
    """Reboot in order: archive saved, TPM2_Shutdown, then a fresh measured boot.

    Returns when vCenter has seen the hosts' VMs as the hosts do, where it can hear them.
    """


class HostUpgrade(_OfHosts["HostPowerList"], frozen=True, tag="host.upgrade"):
    """Install a later release on hosts, and boot it: a host that runs must be in maintenance mode.

    ``release`` is written ``8.0U3``. One host after another; one that was off stays off, and boots
    it next. The first boot from 7.0 U2 on encrypts the configuration [UPG-01]; what the release
    before booted from stays in the other boot bank (``HostRollback``).
    """

    release: str

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            release_of(self.release)
        except InvalidArgument as error:
            raise wrong(str(error)) from None


class HostRollback(_OfHosts["HostPowerList"], frozen=True, tag="host.rollback"):
    """Boot what is in the other boot bank: the release before the upgrade, with its configuration
    of then [UPG-02].

    A host that runs must be in maintenance mode; one that was off stays off, and boots it next. The
    later release is gone, and so is all that its configuration got since.
    """


class HostReinstall(_OfHosts["HostPowerList"], frozen=True, tag="host.reinstall"):
    """Install hosts anew, one after another: their disks are wiped, their TPMs stay as they were.

    Configuration, persisted keys and the list of VMs are gone; files of VMs lie on the datastore:
    register them again. ``leftover``: a key of the old installation stays in the TPM, which cannot
    seal then [CFG-01].
    """

    leftover: bool = False


class HostPowerOff(_OfHosts["HostPowerList"], frozen=True, tag="host.power-off"):
    """Shut these nodes down in order: what they hold is saved first."""


class HostCrash(_OfHosts["HostPowerList"], frozen=True, tag="host.crash"):
    """A kernel crash of all of them at once: what was written survives, nothing more is saved;
    they stay off."""


class HostPowerLoss(_OfHosts["HostPowerList"], frozen=True, tag="host.power-loss"):
    """Pull the power of all of them at once, and give it back unless ``stay_off``: only synced
    bytes survive."""

    stay_off: bool = False


class HostPause(_OfHosts["HostPauseList"], frozen=True, tag="host.pause"):
    """Let each node stand still, neither dead nor answering: SIGSTOP of a process of its own; one
    of several in a process is held alone."""


class HostResume(_OfHosts["HostPauseList"], frozen=True, tag="host.resume"):
    """Let paused nodes go on."""


class Esx(Command["EsxcliResult"], frozen=True, tag="esx"):
    """esxcli at a host's local console: works behind cut links, not on a host that is off.

    ``arguments`` are the words after ``esxcli``; a failed command is an answer, no error.
    """

    host: str
    arguments: tuple[str, ...]


class HostClearTpm(Command["Host"], frozen=True, tag="host.clear-tpm"):
    """Have vCenter forget the TPM it recorded of a host, and accept the one that is there now.

    For a replaced board, a cleared TPM, or a new build that is as it should be [ATT-09].
    """

    host: str


class TpmInspect(Command["Tpm"], frozen=True, tag="tpm.inspect"):
    """What a host's TPM tells of itself."""

    host: str


class TpmPcrs(Command["Pcrs"], frozen=True, tag="tpm.pcrs"):
    """PCR 0 to 13 of a host's TPM, in hexadecimal; none while it is off."""

    host: str


class TpmClear(Command["Fault"], frozen=True, tag="tpm.clear"):
    """Clear a host's TPM (a new storage seed): a fault without undo, listed with its cure."""

    host: str


class TpmSwap(Command["Fault"], frozen=True, tag="tpm.swap"):
    """Replace a host's TPM by a new one: a fault without undo, listed with its cure."""

    host: str


class TpmLockout(Command["Tpm"], frozen=True, tag="tpm.lockout"):
    """Fail authorizations until a host's TPM refuses more of them."""

    host: str
