"""Why a host lacks a key, and who could bring it: facts -> reasons, the first cause in the way.

Who brings a key is its provider's kind: vCenter from a key server (standard), the host itself from
its key derivation key (native), the host itself from a Trust Authority (trusted). Pure.
"""

from __future__ import annotations

from lab.schema.answers import Reason
from lab.serve.explaining.facts import HostStatus, KeyFacts

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
    """Why nobody has brought this key."""
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
