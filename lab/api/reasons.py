"""Why a VM or a host is as it is: facts that were observed -> sentences with rule and cure.

Pure. The rule ids are those of the behaviour model in the glossary; the first reason of a list
is the headline. What is not observed (None) gives no reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.api.answers import Reason
from protocol.releases import Feature


@dataclass(frozen=True)
class HostFacts:
    """A host as its machine, itself and vCenter show it."""

    host: str
    machine: str  # off, booting, running, halted, paused, gone
    screen: str = ""
    connected: bool | None = None  # None: vCenter cannot be asked
    crypto_state: str | None = None
    persistence: bool | None = None
    tpm: bool | None = None
    mode: str | None = None
    attestation: str = ""  # why vCenter does not accept its TPM
    stored: int = 0
    cached: int = 0
    boot: int = 0
    link_cut: bool = False  # between vCenter and this host, either way
    removed: bool = False  # from vCenter's inventory
    disconnected: bool = False  # from vCenter, by an administrator
    maintenance: bool = False
    derives: tuple[str, ...] = ()  # native providers in its own list
    trusted: bool = False  # it asks a Trust Authority for its keys
    unattested: str = ""  # why no Attestation Service has attested it
    too_old: bool = False  # its release has no key persistence
    upgrade: str = ""  # to one that has, if its vCenter manages such hosts

    @property
    def without_persistence(self) -> str:
        """Why it is off, as the beginning of a sentence."""
        no = f"Its release has no {Feature.KEY_PERSISTENCE}"
        return no if self.too_old else "Key persistence is off"

    @property
    def persisting(self) -> str:
        """What turns key persistence on, or comes before that."""
        enable = f"keystead esx {self.host} system security keypersistence enable"
        return self.upgrade if self.too_old else enable


@dataclass(frozen=True)
class KeyFacts:
    """One missing (or used) key. ``state`` is KMIP's at the key server, None = not there.
    ``native``: hosts derive it."""

    key: str
    provider: str
    provider_listed: bool | None
    servers_up: bool
    link_cut: bool  # vCenter -> every server, either way
    state: str | None = None
    asked_server: bool = False
    stored_on_host: bool | None = None
    native: bool = False


@dataclass(frozen=True)
class VmFacts:
    """What is known of a VM. ``wanted_on``: its last accepted power command, None = unknown;
    ``vcenter`` is the state of vCenter's machine."""

    vm: str
    power: str | None
    crypto: str | None  # unlocked, locked, None = not encrypted
    vcenter: str
    wanted_on: bool | None = None


def of_vm(vm: VmFacts, host: HostFacts, keys: tuple[KeyFacts, ...]) -> list[Reason]:
    """Reasons for the state of a VM, headline first."""
    found: list[Reason] = []
    if host.machine != "running":
        return [_machine(host), *_vcenter(vm.vcenter)]
    if vm.crypto == "locked":
        if not all(key.native for key in keys):
            found.append(_why_gone(host))
        for key in keys:
            if key.native:
                found.append(_why_not_derived(key, host))
            else:
                found += _why_not_supplied(key, vm.vcenter == "running", host)
    elif vm.crypto == "unlocked" and vm.power == "poweredOn":
        found.append(
            Reason(
                "It runs: its key is in the host's key cache, and a running VM keeps its data "
                "keys whatever happens to key server or vCenter.",
                "LOCK-04",
            )
        )
        if keys and all(key.native for key in keys):
            found.append(
                Reason(
                    "Its host derives the key from the key derivation key in its own "
                    "configuration: after a reboot too, without vCenter or key server.",
                    "NKP-11",
                )
            )
        elif host.persistence and any(k.stored_on_host for k in keys):
            found.append(
                Reason(
                    "Its key is also in the host's sealed store: it will come back after a "
                    "reboot without vCenter or key server.",
                    "KP-07",
                )
            )
        elif host.persistence is False:
            found.append(
                Reason(
                    f"{host.without_persistence}: a reboot of this host needs vCenter and the key "
                    "server to bring the key again.",
                    "STD-13",
                    host.persisting,
                )
            )
    elif vm.crypto == "unlocked":
        text = "It is unlocked and powered off."
        if vm.wanted_on:
            text += " It ran before; unlocking powers nothing on."
        found.append(Reason(text, "LOCK-05", f"keystead vm on {vm.vm}"))
    elif vm.crypto is None:
        found.append(Reason("It is not encrypted: it needs no key.", "BOOT-01"))
    return [*found, *_vcenter(vm.vcenter)]


def of_host(host: HostFacts, vcenter: str) -> list[Reason]:
    """Reasons for the state of a host, headline first; ``vcenter`` as in ``VmFacts``."""
    if host.machine != "running":
        return [_machine(host), *_vcenter(vcenter)]
    found: list[Reason] = []
    found += _mode(host)
    if host.persistence:
        found.append(
            Reason(
                f"Key persistence is on; {host.stored} keys lie in the configuration that the "
                "TPM's policy seals.",
                "KP-10",
            )
        )
    elif host.tpm is False:
        found.append(
            Reason("It has no TPM, so key persistence cannot be enabled.", "KP-01", "add a TPM")
        )
    elif host.persistence is False and not host.derives:
        found.append(
            Reason(
                f"{host.without_persistence}: its keys end with the next reboot.",
                "KP-01",
                host.persisting,
            )
        )
    if host.derives:
        found.append(
            Reason(
                f"It derives keys of {', '.join(host.derives)} by itself, after a reboot too: "
                "the key derivation key lies in its configuration.",
                "NKP-11",
            )
        )
    if host.attestation:
        found.append(
            Reason(
                f"vCenter does not accept its TPM: {host.attestation}. Nothing else depends on it.",
                "ATT-09",
                f"if the TPM and what it measured are as they should be: keystead host clear-tpm "
                f"{host.host}",
            )
        )
    return [*found, *_in_vcenter(host), *_vcenter(vcenter)]


def _in_vcenter(host: HostFacts) -> list[Reason]:
    """What vCenter has of a host that runs: let alone, not heard, or no place for VMs."""
    found: list[Reason] = []
    if host.maintenance:
        text = "It is in maintenance mode: no VM comes here, and none starts."
        found.append(Reason(text, "B9", f"keystead host exit-maintenance {host.host}"))
    if host.removed:
        text = "It is not in vCenter's inventory: vCenter brings it nothing."
        found.append(Reason(text, "B8", f"keystead host add {host.host}"))
    elif host.disconnected:
        text = "An administrator disconnected it: vCenter lets it alone."
        found.append(Reason(text, "B8", f"keystead host reconnect {host.host}"))
    elif host.connected is False:
        why = "the link to vCenter is cut" if host.link_cut else "it does not answer vCenter"
        found.append(Reason(f"vCenter shows it as not responding: {why}.", "B8", "heal the link"))
    return found


def _mode(host: HostFacts) -> list[Reason]:
    """Its encryption mode; nothing of a host that was not asked."""
    match host.crypto_state:
        case "safe":
            return [Reason("It has its host key: encrypted VMs may run here.", "HEM-01")]
        case "prepared" if host.trusted:
            text = (
                "It is prepared but not safe: a trusted host asks for its host key itself, and "
                f"{host.unattested or 'no Key Provider Service has given it'}."
            )
            cure = "keystead get trusted-hosts; then keystead trust import what the host measures"
            return [Reason(text, "ATT-02", cure if host.unattested else "keystead heal --all")]
        case "prepared":
            text = (
                "It is prepared but not safe: it rebooted without own means to get its host key, "
                "and vCenter has not brought it."
            )
            cure = "give vCenter its way to the key server back (keystead heal --all)"
            return [Reason(text, "B5", cure)]
        case "incapable":
            text = "Its encryption mode is off: no encrypted VM came here yet, or it was disabled."
            return [Reason(text, "HEM-01", f"keystead host enable-crypto {host.host}")]
        case "pendingIncapable":
            text = (
                "Its encryption mode was disabled: it takes no encrypted VM, and is incapable from "
                "its next boot on."
            )
            cure = f"keystead host reboot {host.host}, or keystead host enable-crypto {host.host}"
            return [Reason(text, "HEM-03", cure)]
        case _:
            return []


def _vcenter(state: str) -> list[Reason]:
    if state == "running":
        return []
    cures = {"paused": "keystead host resume vcenter", "gone": "wait until its process is back"}
    return [
        Reason(
            f"vCenter is {'paused' if state == 'paused' else 'down'}: what it knows is old, and "
            "with a standard provider nobody can bring a missing key.",
            "R7",
            cures.get(state, "keystead host power-on vcenter"),
        )
    ]


def _machine(host: HostFacts) -> Reason:
    if host.machine == "halted" and "security violation" in host.screen:
        return Reason(
            f"{host.host} shows: {host.screen} The TPM did not release the configuration key.",
            "B2",
            "undo the change of TPM or Secure Boot; or start it with the recovery key (keystead "
            f"host power-on {host.host} --boot-option encryptionRecoveryKey=-), bind it to the "
            f"TPM that it has (keystead esx {host.host} system settings encryption set "
            f"--mode=TPM), and save the configuration (keystead esx {host.host} "
            "/sbin/auto-backup.sh)",
        )
    if host.machine == "halted":
        return Reason(
            f"{host.host} shows: {host.screen}",
            "B3",
            f"keystead host power-on {host.host} --boot-option encryptionRecoveryKey=-",
        )
    if host.machine == "booting":
        return Reason(f"{host.host} boots.", "BOOT-02")
    if host.machine == "paused":
        return Reason(
            f"{host.host} is paused: it stands still, neither dead nor answering, and knows "
            "nothing of the time that passes.",
            "proc.pause",
            f"keystead host resume {host.host}",
        )
    if host.machine == "gone":
        return Reason(
            f"The process of {host.host} does not answer; when it has ended it is started again, "
            "with the host off.",
            "proc.kill",
            "wait, and look again: keystead get nodes",
        )
    return Reason(f"{host.host} is off.", "BOOT-01", f"keystead host power-on {host.host}")


def _why_gone(host: HostFacts) -> Reason:
    if host.persistence:
        return Reason(
            "The key is neither in the host's key cache nor in its sealed store: this host never "
            "had it, or it was removed.",
            "KP-15",
        )
    return Reason(
        f"The key cache of {host.host} ended with its reboot (boot {host.boot}), and key "
        "persistence is off.",
        "STD-13",
    )


def _why_not_derived(key: KeyFacts, host: HostFacts) -> Reason:
    """Of a native provider that is there: its KDK is not on the host, or is another one."""
    if key.provider in host.derives:
        return Reason(
            f"{host.host} has another key derivation key under the name {key.provider}: what it "
            f"derives as {key.key} does not open the VM.",
            "NKP-18",
            "delete that provider, and import the backup of the right one",
        )
    return Reason(
        f"The key derivation key of {key.provider} is not on {host.host}.",
        "NKP-15",
        "vCenter brings it when it reaches the host, unless the provider requires a TPM that the "
        "host does not have",
    )


def _why_not_supplied(key: KeyFacts, vcenter_up: bool, host: HostFacts) -> list[Reason]:
    """LOCK-01 (b): why vCenter cannot bring this key; the first cause that stands in the way."""
    if not vcenter_up:
        return []
    if host.link_cut:
        return [Reason(f"vCenter cannot reach {host.host}: the link is cut.", "B8", "heal --all")]
    if key.provider_listed is False:
        return [
            Reason(
                f"vCenter has no key provider {key.provider}: a key is a provider's name plus an "
                "id, so another name does not help.",
                "LOCK-06",
                f"keystead provider add {key.provider} --server KMS; of a native one: keystead "
                "provider import FILE",
            )
        ]
    if key.link_cut:
        return [
            Reason(
                f"vCenter cannot supply {key.key}: the link to the key server is cut.",
                "LOCK-01",
                "keystead heal --all; it unlocks at the next health check or reconcile (STD-10)",
            )
        ]
    if not key.servers_up:
        return [
            Reason(
                f"vCenter cannot supply {key.key}: no key server of {key.provider} is up.",
                "LOCK-01",
                "power the key server on, or heal the fault",
            )
        ]
    return [_why_not_from_the_server(key)]


def _why_not_from_the_server(key: KeyFacts) -> Reason:
    """The server is up and reachable: what it says about the key decides."""
    if key.asked_server and key.state is None:
        return Reason(
            f"The key server does not know {key.key}.",
            "LOCK-01",
            "restore the key server's data that has this key",
        )
    if key.state in ("Destroyed", "Destroyed Compromised"):
        return Reason(
            f"{key.key} was destroyed at the key server.",
            "STD-18",
            "restore the key server (keystead heal --with-cure), or recover the VM from backup",
        )
    if key.state not in (None, "Active"):
        return Reason(
            f"{key.key} is {key.state}: vCenter does not bring keys that are not Active.",
            "STD-19",
            "activate it, or recrypt while some host still has it",
        )
    return Reason(
        f"Nothing stands in the way of {key.key} now: vCenter brings it at the next health "
        "check or reconcile.",
        "STD-10",
        f"wait, or: keystead vm unlock VM (provider {key.provider})",
    )
