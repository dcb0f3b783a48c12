"""Why a VM or a host has its state, and why a host lacks a key: observed facts -> sentences with
rule and cure, the first cause in the way.
"""

from __future__ import annotations

from typing import Final

from chaos.providers import kind_of
from lab.schema.answers import Reason
from lab.serve.explaining.facts import ADD_TPM, HostStatus, KeyFacts, VmStatus
from protocol.messages.vcenter.providers import ProviderInfo
from protocol.terms import ProviderHealth

RESTORE = "keystead heal --all, or start what is down: keystead get nodes"


def of_keys(keys: tuple[KeyFacts, ...], vcenter_up: bool, host: HostStatus) -> list[Reason]:
    """Why the keys of a locked VM are not in its host's cache: how they went, why none came."""
    found: list[Reason] = []
    if not all(key.native or key.stored_on_host for key in keys):
        found.append(_why_gone(host))
    for key in keys:
        found += of_key(key, vcenter_up, host)
    return list(dict.fromkeys(found))


def of_key(key: KeyFacts, vcenter_up: bool, host: HostStatus) -> list[Reason]:
    """Why vCenter has not sent this key to the host."""
    if key.native:
        return [_why_not_derived(key, host)]
    if key.trusted:
        return [_why_not_fetched(key, vcenter_up, host)]
    return _why_not_supplied(key, vcenter_up, host)


def _why_gone(host: HostStatus) -> Reason:
    if host.lost_unsaved_keys:
        return Reason(
            "The key is neither in the host's key cache nor in its sealed store. Keys are saved "
            f"hourly (config_save), and {host.host} went down without saving: later changes "
            "are lost.",
            "DUR-02",
        )
    if host.stores_keys or host.boot == 1:
        return Reason(
            "The key is neither in the host's key cache nor in its sealed store: this host never "
            "had it, or it was removed.",
            "KP-15",
        )
    return Reason(
        f"The key cache of {host.host} ended with its reboot (boot {host.boot}). "
        f"{host.without_persistence}.",
        "STD-13",
    )


def _why_not_derived(key: KeyFacts, host: HostStatus) -> Reason:
    """Of a native provider: it was deleted, its KDK is not on the host, or is another one."""
    if key.provider_listed is False and key.provider not in host.derives:
        return Reason(
            f"The native key provider {key.provider} was deleted, and its key derivation key "
            f"is no longer on {host.host}: keys that were derived earlier end with a reboot.",
            "NKP-17",
            f"keystead provider import FILE, with the backup of {key.provider} and no other",
        )
    if key.provider in host.derives:
        return Reason(
            f"{host.host} has another key derivation key under the name {key.provider}: it "
            f"does not derive the earlier {key.key}.",
            "NKP-18",
            "delete that provider, and import the backup of the right one",
        )
    return Reason(
        f"The key derivation key of {key.provider} is not on {host.host}.",
        "NKP-15",
        "vCenter sends it when it reaches the host, unless the provider requires a TPM and "
        "the host has none",
    )


def _why_not_fetched(key: KeyFacts, vcenter_up: bool, host: HostStatus) -> Reason:
    """Of a trusted provider: the host needs neither vCenter nor a key server for it."""
    if not host.trusted:
        remediate = f"keystead trust remediate {host.cluster or 'CLUSTER'}"
        return Reason(
            f"{host.host} is not configured for the Trust Authority of {key.provider}: it has "
            "no service that it could ask for a key.",
            "KPS-00",
            remediate if vcenter_up else f"keystead host power-on {host.vcenter}; {remediate}",
        )
    if host.unattested and key.stored_on_host:
        return Reason(
            f"{host.host} has the key in its sealed store, but may not use it: {host.unattested}.",
            "KP-16",
            cure_for_unattested(host),
        )
    if host.unattested:
        return Reason(
            f"{host.host} asks a Key Provider Service for its keys itself, but none serves it: "
            f"{host.unattested}.",
            "ATT-03",
            cure_for_unattested(host),
        )
    return Reason(
        f"No Key Provider Service has given {host.host} the key: the host, or the services with "
        "their key server, cannot be reached, or the primary key cannot be used.",
        "KPS-06",
        f"keystead get trusted-hosts; keystead get trust-authority; keystead get links; {RESTORE}",
    )


def cure_for_unattested(host: HostStatus) -> str:
    """Commands that show and repair why a host is not attested."""
    return (
        f"keystead get trusted-hosts; then import its measurements: keystead trust export "
        f"base-image image.json --host {host.host}, keystead trust import image.json"
    )


def _why_not_supplied(key: KeyFacts, vcenter_up: bool, host: HostStatus) -> list[Reason]:
    """LOCK-01 (b): why vCenter cannot bring this key; the first cause that stands in the way."""
    if not vcenter_up:
        return []
    if host.link_cut:
        text = f"{host.vcenter} cannot reach {host.host}: the link is cut."
        return [Reason(text, "B8", "keystead heal --all")]
    if key.provider_listed is False:
        return [
            Reason(
                f"vCenter has no key provider {key.provider}: a key is identified by the "
                "provider's name and an id, so another name does not help.",
                "LOCK-06",
                f"keystead provider add {key.provider} --server KMS",
            )
        ]
    if key.not_granted:
        return [not_granted(key)]
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
                f"keystead get kms; {RESTORE}",
            )
        ]
    return [_why_not_from_the_server(key)]


def not_granted(key: KeyFacts) -> Reason:
    """The reason for a key that no task granted to the VM's cluster."""
    return Reason(
        f"Only a host says that {key.not_granted} needs {key.key}: vCenter sends no key on the "
        "word of a host.",
        "C28",
        f"keystead vm unlock {key.not_granted}",
    )


def _why_not_from_the_server(key: KeyFacts) -> Reason:
    """The server is up and reachable: what it says about the key decides."""
    if key.asked_server and key.state is None:
        return Reason(
            f"The key server does not know {key.key}.",
            "LOCK-01",
            "restore the key server's data that has this key",
        )
    if key.state == "Active" and key.not_served_to:
        key_id = key.key.rpartition("/")[2]
        return Reason(
            f"The key server refuses {key.key} to {key.not_served_to}: the key belongs to "
            "another client.",
            "C28",
            f"at the key server: keystead kms key grant {key_id} {key.not_served_to}",
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
        f"Nothing prevents {key.key} now: vCenter sends it at the next health check or reconcile.",
        "STD-10",
        "wait (keystead wait --for vm.locked=none), or unlock now: keystead vm unlock",
    )


def of_vm(vm: VmStatus, host: HostStatus, keys: tuple[KeyFacts, ...]) -> list[Reason]:
    """Reasons for the state of a VM, headline first."""
    if host.machine != "running":
        return [_machine(host), *_vcenter(vm.vcenter, host)]
    found: list[Reason] = []
    if vm.orphaned:
        text = f"It is orphaned: {host.host} does not have it registered, as after an installation."
        found.append(Reason(text, "REG-01", f"keystead vm register {vm.vm} --host {host.host}"))
    elif vm.recorded:
        found.append(_other_key(vm, host))
    elif vm.crypto == "locked":
        found += of_keys(keys, vm.vcenter == "running", host)
    elif vm.crypto == "unlocked" and vm.power == "poweredOn":
        found += _runs(host, keys)
    elif vm.crypto == "unlocked":
        text = "It is unlocked and powered off."
        if vm.wanted_on:
            text += " It ran before; unlocking powers nothing on."
        found.append(Reason(text, "LOCK-05", f"keystead vm on {vm.vm}"))
        found += [not_granted(key) for key in keys if key.not_granted]
    elif vm.crypto is None:
        found.append(Reason("It is not encrypted: it needs no key.", "BOOT-01"))
    return [*found, *_vcenter(vm.vcenter, host)]


def _other_key(vm: VmStatus, host: HostStatus) -> Reason:
    """vCenter takes over what a host says of a VM's keys, unless they belong to others."""
    return Reason(
        f"{host.host} names another key for it than vCenter has on record, {vm.recorded}. "
        "vCenter adopts the host's key at its next look, unless the key belongs to others: "
        "then it ignores the host's view, and an event reports it.",
        "C28",
        f"keystead vm unlock {vm.vm}, which looks now and reports what is wrong",
    )


def _runs(host: HostStatus, keys: tuple[KeyFacts, ...]) -> list[Reason]:
    """Why it runs, how the host got its keys after its boot, and what the next boot needs."""
    found = [
        Reason(
            "It runs: its key is in the host's key cache, and a running VM keeps its data "
            "keys, with or without key server and vCenter.",
            "LOCK-04",
        )
    ]
    if keys and all(key.native for key in keys):
        return [*found, _explain_derived_keys(host, keys)]
    if host.boot > 1 and keys and not any(key.native for key in keys):
        found += _came(host, keys)
    found += _without_provider(keys)
    found += [not_granted(key) for key in keys if key.not_granted]
    if host.stores_keys and any(key.stored_on_host for key in keys):
        text = (
            "Its key is in the host's sealed store: it will come back after a reboot "
            "without vCenter or key server."
        )
        return [*found, Reason(text, "KP-07")]
    if host.stores_keys is False and any(key.trusted for key in keys):
        text = (
            f"{host.without_persistence}: after a reboot this host must be attested and asks a "
            "Key Provider Service for the key again, without vCenter."
        )
        return [*found, Reason(text, "KPS-02", host.persisting)]
    if host.stores_keys is False:
        text = (
            f"{host.without_persistence}: a reboot of this host needs vCenter and the key "
            "server to bring the key again."
        )
        return [*found, Reason(text, "STD-13", host.persisting)]
    return found


def _without_provider(keys: tuple[KeyFacts, ...]) -> list[Reason]:
    """Keys of a standard provider that was deleted: the VM runs, and does not come back."""
    gone = sorted({k.provider for k in keys if k.provider_listed is False and not k.trusted})
    return [
        Reason(
            f"vCenter has no key provider {provider} any more: it runs on, and once it is off it "
            "does not start without a key that its host still has.",
            "DEL-01",
            f"keystead provider add {provider} --server KMS",
        )
        for provider in gone
    ]


def _came(host: HostStatus, keys: tuple[KeyFacts, ...]) -> list[Reason]:
    """How the keys came to a host that has booted since it began with an empty cache."""
    if all(key.loaded for key in keys):
        text = f"Boot {host.boot} of {host.host} took the key from its own sealed store: no server"
        return [Reason(f"{text} was asked for it.", "KP-07")]
    if all(key.trusted for key in keys):
        text = f"After boot {host.boot} {host.host} asked a Key Provider Service for it by itself."
        return [Reason(text, "KPS-02")]
    if any(key.trusted for key in keys) or any(key.loaded for key in keys):
        return []
    return [Reason(f"After boot {host.boot} of {host.host} vCenter brought the key.", "STD-14")]


def _explain_derived_keys(host: HostStatus, keys: tuple[KeyFacts, ...]) -> Reason:
    """What a boot does to the keys of native providers."""
    gone = sorted({key.provider for key in keys} - {*host.derives})
    if gone:
        return Reason(
            f"{host.host} has no key derivation key of {', '.join(gone)} any more: once the VM is "
            "off, or its host reboots, it does not start.",
            "NKP-17",
            "keystead provider import FILE, with the backup of that provider",
        )
    return Reason(
        "Its host derives the key from the key derivation key in its own configuration: after a "
        "reboot too, without vCenter or key server.",
        "NKP-11",
    )


def of_host(host: HostStatus, vcenter: str) -> list[Reason]:
    """Reasons for the state of a host, headline first; ``vcenter`` as in ``VmStatus``."""
    if host.machine != "running":
        return [_machine(host), *_vcenter(vcenter, host)]
    found: list[Reason] = []
    if host.kept_off:
        cure = "keystead explain KS-BROKER-012"
        found.append(Reason(f"{host.kept_off}.", "KS-BROKER-012", cure))
    found += _mode(host, vcenter == "running")
    found += _persistence(host)
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
                f"if the TPM and its measurements are right: keystead host clear-tpm {host.host}",
            )
        )
    return [*found, *_explain_unmounted_groups(host), *_in_vcenter(host), *_vcenter(vcenter, host)]


def _persistence(host: HostStatus) -> list[Reason]:
    """What key persistence does for a host, or why nothing."""
    if host.stores_keys:
        text = (
            f"Key persistence is on; {host.stored} keys lie in the configuration that the TPM's "
            "policy seals."
        )
        return [Reason(text, "KP-10")]
    if host.persistence:
        text = (
            f"{host.without_persistence}: keys of standard and trusted providers end with the "
            "next reboot."
        )
        return [Reason(text, "KP-06", host.persisting)]
    if host.tpm is False and not host.only_native:
        return [Reason("It has no TPM, so key persistence cannot be enabled.", "KP-01", ADD_TPM)]
    if host.persistence is False and not _derives(host):
        text = f"{host.without_persistence}: its keys end with the next reboot."
        return [Reason(text, "KP-01", host.persisting)]
    return []


def _explain_unmounted_groups(host: HostStatus) -> list[Reason]:
    """Disk groups that stayed behind; what lies on them is absent for the whole cluster."""
    return [
        Reason(
            f"The disk group {group} of its vSAN is not mounted: {why}. Its components are absent.",
            "VSAN-04",
            f"keystead heal --all, keystead get kms; then keystead vsan mount {host.host}",
        )
        for group, why in host.unmounted
    ]


def _in_vcenter(host: HostStatus) -> list[Reason]:
    """What vCenter has of a host that runs: let alone, not heard, or no place for VMs."""
    found: list[Reason] = []
    if host.maintenance:
        text = "It is in maintenance mode: no VM moves here, and none starts."
        found.append(Reason(text, "B9", f"keystead host exit-maintenance {host.host}"))
    if host.removed:
        text = "It is not in vCenter's inventory: vCenter sends it no keys."
        found.append(Reason(text, "B8", f"keystead host add {host.host}"))
    elif host.disconnected:
        text = "An administrator disconnected it: vCenter does not connect to it."
        found.append(Reason(text, "B8", f"keystead host reconnect {host.host}"))
    elif host.connected is False:
        why = "the link to vCenter is cut" if host.link_cut else "it does not answer vCenter"
        cure = "keystead heal --all" if host.link_cut else "keystead get nodes; keystead get links"
        found.append(Reason(f"vCenter shows it as not responding: {why}.", "B8", cure))
    return found


_DETAILS: Final = (
    (
        "keyProviderNotBackedUpAfterUpdate",
        "It was updated after its last backup, which restores the previous key.",
        "NKP-03",
        "keystead provider export {}",
    ),
    (
        "keyProviderNotBackedUp",
        "It has no backup, and makes no key before its first backup.",
        "NKP-05",
        "keystead provider export {}",
    ),
    (
        "keyProviderNotAvailable",
        "vCenter cannot read its derivation key.",
        "NKP-04",
        "keystead provider import FILE, with its backup",
    ),
    (
        "keyProviderNotOnAllHosts",
        "Not all connected hosts have its derivation key.",
        "NKP-02",
        "keystead get hosts; a host gets it when it is connected",
    ),
)
"""Ends of the ids of what is wrong with a native provider, with sentence, rule and cure."""


def of_provider(provider: ProviderInfo) -> list[Reason]:
    """What its health says, of a provider that has one on hosts or services."""
    if provider.health not in (ProviderHealth.WARNING, ProviderHealth.ERROR):
        return []
    if kind_of(provider.management_type).attested:
        text = "Not every Key Provider Service gives it"
        what = f": {', '.join(provider.details)}" if provider.details else ""
        cure = "keystead get trust-authority; keystead get trusted-hosts"
        return [Reason(f"{text}{what}.", "HLT-06", cure)]
    return [
        Reason(text, rule, cure.format(provider.provider))
        for detail in provider.details
        for end, text, rule, cure in _DETAILS
        if detail.endswith(end)
    ]


def _derives(host: HostStatus) -> bool:
    """Whether key persistence would add nothing to its keys (KP-05)."""
    return bool(host.derives) or (host.host_key is not None and host.host_key.native)


def _mode(host: HostStatus, vcenter_up: bool) -> list[Reason]:
    """Its encryption mode; nothing of a host that was not asked."""
    match host.crypto_state:
        case "safe":
            return [Reason("It has its host key: encrypted VMs may run here.", "HEM-01")]
        case "prepared" if host.trusted:
            text = (
                "It is prepared but not safe: a trusted host asks for its host key itself, and "
                f"{host.unattested or 'no Key Provider Service has given it'}."
            )
            cure = cure_for_unattested(host) if host.unattested else "keystead heal --all"
            return [Reason(text, "ATT-02", cure)]
        case "prepared":
            text = "It is prepared but not safe: it rebooted and cannot get its host key by itself"
            if host.host_key is None:
                return [Reason(f"{text}, and vCenter has not brought it.", "B5")]
            return [Reason(f"{text}.", "B5"), *of_key(host.host_key, vcenter_up, host)]
        case "incapable":
            text = "Its encryption mode is off: no encrypted VM was here yet, or it was disabled."
            return [Reason(text, "HEM-01", f"keystead host enable-crypto {host.host}")]
        case "pendingIncapable":
            text = (
                "Its encryption mode was disabled: it accepts no encrypted VM, and is "
                "incapable from its next boot on."
            )
            cure = f"keystead host reboot {host.host}, or keystead host enable-crypto {host.host}"
            return [Reason(text, "HEM-03", cure)]
        case _:
            return []


def _vcenter(state: str, host: HostStatus) -> list[Reason]:
    if state == "running":
        return []
    if state == "gone" and (lost := host.vcenter_lost) is not None:
        text = (
            f"{lost.why(host.vcenter)} No one else can bring a missing key of a standard provider."
        )
        return [Reason(text, "KS-AGENT-008", lost.cure(host.vcenter))]
    cures = {
        "paused": f"keystead host resume {host.vcenter}",
        "gone": "wait until its process is back",
    }
    cure = cures.get(state, f"keystead host power-on {host.vcenter}")
    if host.vcenter_fault:
        cure = "keystead heal --all"
    old = f"vCenter is {'paused' if state == 'paused' else 'down'}: its view is old"
    if host.trusted:
        text = f"{old}. A trusted host attests and asks for its keys itself, without it."
        return [Reason(text, "R46", cure)]
    text = f"{old}, and with a standard provider no one else can bring a missing key."
    return [Reason(text, "R7", cure)]


def _machine(host: HostStatus) -> Reason:
    if host.machine == "halted" and "security violation" in host.screen:
        return Reason(
            f"{host.host} shows: {host.screen} The TPM did not release the configuration key.",
            "B2",
            "undo the change of TPM or Secure Boot; or start it with the recovery key (keystead "
            f"host power-on {host.host} --boot-option encryptionRecoveryKey=-), bind it to its "
            f"present TPM (keystead esx {host.host} system settings encryption set "
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
            f"{host.host} is paused: it does not run and does not answer, and does not notice "
            "the time that passes.",
            "proc.pause",
            f"keystead host resume {host.host}",
        )
    if host.machine == "gone" and host.lost is not None:
        return Reason(host.lost.why(host.host), "KS-AGENT-008", host.lost.cure(host.host))
    if host.machine == "gone":
        return Reason(
            f"The process of {host.host} does not answer; when it has ended, it is restarted "
            "with the host off.",
            "proc.kill",
            "wait, and look again: keystead get nodes",
        )
    return Reason(f"{host.host} is off.", "BOOT-01", f"keystead host power-on {host.host}")
