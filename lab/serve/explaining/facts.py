"""What was observed of a VM, its host and its keys; the reasons are made of these facts.

None stands for what nobody could be asked of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chaos.providers import kind_of
from protocol.releases import Feature
from protocol.terms import ManagementType

ADD_TPM: Final = "add a TPM"


@dataclass(frozen=True)
class KeyFacts:
    """A key of a VM, or of a host for itself. ``state`` is KMIP's at the key server, None = not
    there.

    ``kind``: of its provider, as vCenter, the host or else the lab file says. ``loaded``: the host
    took it from its persisted store in this life. ``not_granted``: the VM whose key it is, when
    vCenter knows that from its host alone (C28). ``not_served_to``: the vCenter that key servers
    which have the key do not give it to.
    """

    key: str
    provider: str
    provider_listed: bool | None
    servers_up: bool
    link_cut: bool  # vCenter -> every server, either way
    state: str | None = None
    asked_server: bool = False
    stored_on_host: bool | None = None
    loaded: bool | None = None
    kind: ManagementType = ManagementType.VCENTER
    not_granted: str = ""
    not_served_to: str = ""

    @property
    def native(self) -> bool:
        """Hosts derive it."""
        return kind_of(self.kind).derived

    @property
    def trusted(self) -> bool:
        """Hosts ask a Trust Authority for it."""
        return kind_of(self.kind).attested


@dataclass(frozen=True)
class LostMachine:
    """The other machine of the lab that a node stands on, while nothing is heard of it.

    ``silent``: not yet for its lease, so that its nodes may run on. ``pool``: its nodes boot when
    it joins; those of others are powered on.
    """

    machine: str
    lease_s: float
    silent: bool
    pool: bool

    def why(self, node: str) -> str:
        """Where the node stands, and what that means for it."""
        where = f"{node} stands on machine {self.machine}, which"
        if self.silent:
            return (
                f"{where} has not answered the last beats: what runs there ends when nothing is "
                f"heard for its lease of {self.lease_s:g} s."
            )
        return f"{where} is away: nothing of the lab runs there, and {node} is off."

    def cure(self, node: str) -> str:
        """What brings the node back."""
        again = "let its network through again: keystead get machines"
        if self.silent:
            return again
        again += "; or start its agent there again: keystead agent join FILE"
        return again if self.pool else f"{again}; then keystead host power-on {node}"


@dataclass(frozen=True)
class HostStatus:
    """A host as its machine, itself and vCenter show it."""

    host: str
    machine: str  # off, booting, running, halted, paused, gone
    screen: str = ""
    vcenter: str = "vcenter"  # the one that it is of
    cluster: str = ""
    connected: bool | None = None  # None: vCenter cannot be asked
    crypto_state: str | None = None
    host_key: KeyFacts | None = None
    persistence: bool | None = None
    saves_hourly: bool = False  # its keys, by ``config_save``
    ended_before: str = ""  # how the life before this one ended; empty if nobody saw it
    tpm: bool | None = None
    mode: str | None = None  # what protects its configuration: TPM or NONE
    attestation: str = ""  # why vCenter does not accept its TPM
    stored: int = 0
    cached: int = 0
    boot: int = 0
    link_cut: bool = False  # between vCenter and this host, either way
    removed: bool = False  # from vCenter's inventory
    disconnected: bool = False  # from vCenter, by an administrator
    maintenance: bool = False
    derives: tuple[str, ...] = ()  # native providers in its own list
    only_native: bool = False  # its list has no other providers
    trusted: bool = False  # it asks a Trust Authority for its keys
    unattested: str = ""  # why no Attestation Service has attested it
    too_old: bool = False  # its release has no key persistence
    upgrade: str = ""  # to one that has, if its vCenter manages such hosts
    unmounted: tuple[tuple[str, str], ...] = ()  # disk groups of its vSAN, and why each
    kept_off: str = ""  # why the broker refuses it, as a sentence without its end
    lost: LostMachine | None = None
    vcenter_lost: LostMachine | None = None
    vcenter_fault: bool = False  # a fault in force keeps vCenter down or paused

    @property
    def stores_keys(self) -> bool | None:
        """Whether it stores keys that it is given: by key persistence, under the seal of a TPM
        (KP-01)."""
        return None if self.persistence is None else self.persistence and not self.unsealed

    @property
    def unsealed(self) -> bool:
        """Whether no TPM seals its configuration."""
        return self.mode == "NONE"

    @property
    def lost_unsaved_keys(self) -> bool:
        """Whether its last boot may have come without keys that it had stored (DUR-02)."""
        unsaved = self.saves_hourly and self.ended_before != "stop"
        return self.boot > 1 and bool(self.stores_keys) and unsaved

    @property
    def without_persistence(self) -> str:
        """Why it stores no keys, as the beginning of a sentence."""
        if self.too_old:
            return f"Its release has no {Feature.KEY_PERSISTENCE}"
        if self.persistence:
            return "Key persistence is on, but no TPM seals the configuration to store keys in"
        return "Key persistence is off"

    @property
    def persisting(self) -> str:
        """What makes it store keys, or comes before that."""
        if self.too_old:
            return self.upgrade
        enable = f"keystead esx {self.host} system security keypersistence enable"
        if not self.unsealed:
            return enable
        seal = f"keystead esx {self.host} system settings encryption set --mode=TPM"
        if not self.tpm:
            return ADD_TPM
        return seal if self.persistence else f"{seal}; then {enable}"


@dataclass(frozen=True)
class VmStatus:
    """What is known of a VM. ``wanted_on``: its last accepted power command, None = unknown;
    ``vcenter`` is the state of vCenter's machine; ``orphaned``: vCenter lists it on its host, which
    answers and does not. ``recorded``: the key that vCenter has for its home, when its host names
    another one."""

    vm: str
    power: str | None
    crypto: str | None  # unlocked, locked, None = not encrypted
    vcenter: str
    wanted_on: bool | None = None
    orphaned: bool = False
    recorded: str = ""
