"""A lab in miniature, made of facts only: hosts, one provider, and what happens to them.

What its steps do to keys is what the model says of places (``KeyPlace``); what comes of a question
is what the reasons say. The truth table is not seen from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chaos.oracle.facts import (
    AttestationVerdict,
    Change,
    Kdk,
    KeyInMemory,
    KeyPlace,
    KeyProviderKind,
    Life,
    Overrides,
    Question,
    Situation,
)
from chaos.oracle.judgement import Outcome, outcome

HOST, VM, VSAN = "host key", "key of the VM", "keys of the disk groups"


@dataclass
class Host:
    """One host: what it is, what was changed, and where it has which key."""

    places: dict[str, KeyPlace] = field(default_factory=dict)
    life: Life = Life.UP
    change: Change = Change.NOTHING
    booted: bool = False
    evicted: bool = False
    kdk: Kdk = Kdk.ABSENT
    attestation: AttestationVerdict = AttestationVerdict.ATTESTED
    enrolled: bool = True
    image_known: bool = True


class Staging:
    """Hosts A, B, C, D of one cluster, and N that is not in it yet; all that works, works."""

    def __init__(self, kind: KeyProviderKind, *, tpm: bool, persistence: bool) -> None:
        self.kind, self.tpm, self.persistence = kind, tpm, persistence
        self.vcenter = self.kms = self.kms_from_host = self.listed = self.default = True
        self.services = self.key_usable = self.vm_key_usable = self.vsan_key_usable = True
        self.vcenter_kdk = Kdk.RIGHT if kind is KeyProviderKind.NATIVE else Kdk.ABSENT
        self.overrides = Overrides.UNREACHABLE_ONLY
        self.deletion_refused = True
        self.cut_from_vcenter: set[str] = set()
        self.hosts = {name: self._host() for name in "ABC"}
        self.hosts["D"] = self._host(without=VM)
        if kind is KeyProviderKind.NATIVE:
            self.hosts["D"].kdk = Kdk.ABSENT
        self.hosts["N"] = Host(attestation=AttestationVerdict.UNKNOWN, booted=True)

    def _host(self, without: str = "") -> Host:
        place = KeyPlace().after_receipt(persistence=self.persistence)
        keys = {key: place for key in (HOST, VM, VSAN) if key != without}
        return Host(keys, kdk=self.vcenter_kdk)

    # ---- what happens -----------------------------------------------------------------------

    def boot(self, name: str) -> None:
        """B0 to B5: the screen, or a host with what it has stored."""
        host = self.hosts[name]
        broken = host.change in (Change.POLICY, Change.TPM)
        host.life = Life.SCREEN if broken and self.tpm else Life.UP
        host.booted, host.attestation = True, AttestationVerdict.UNKNOWN
        host.places = {
            key: place.after_boot(persistence=self.persistence)
            for key, place in host.places.items()
        }

    def reconnect(self, name: str) -> None:
        """B8: vCenter pushes what it can: KDK, host key, keys of VMs."""
        host = self.hosts[name]
        for key in (HOST, VM):
            if (
                self.ask(Question.BOOT, name, key=key).vcenter_can_bring
                and self.kind is KeyProviderKind.STANDARD
            ):
                self._put(host, key, KeyInMemory.PUSHED)
        if self.kind is KeyProviderKind.NATIVE and self.vcenter and self.listed:
            host.kdk = self.vcenter_kdk

    def resolve(self, name: str) -> None:
        """The host starts a VM, so that its key is in the cache."""
        self._put(self.hosts[name], VM, KeyInMemory.CACHED)

    def _put(self, host: Host, key: str, how: KeyInMemory) -> None:
        place = host.places.get(key, KeyPlace())
        host.places[key] = place.after_receipt(persistence=self.persistence, how=how)

    def delete_provider(self) -> None:
        """F7; the KDK of a native one leaves the hosts at once."""
        self.listed = self.default = False
        for host in self.hosts.values():
            host.kdk = Kdk.ABSENT
        self.vcenter_kdk = Kdk.ABSENT

    def evict(self) -> None:
        """The repair after the grace: what is of the deleted provider leaves caches and stores,
        but for a host key in memory, which stays until the boot."""
        for host in self.hosts.values():
            for key, place in host.places.items():
                host.places[key] = replace_stored(place) if key == HOST else place.after_removal()
            host.evicted = True

    # ---- what is asked ----------------------------------------------------------------------

    def ask(self, ask: Question, name: str, *, key: str = "", **more: Any) -> Situation:
        """The situation of a question about a host and a key; ``more`` of its fields."""
        host = self.hosts[name]
        key = key or {Question.BOOT: HOST, Question.MOUNT: VSAN}.get(ask, VM)
        usable = {VM: self.vm_key_usable, VSAN: self.vsan_key_usable}.get(key, True)
        others = [other for other in self.hosts if other not in (name, "N")]
        facts: dict[str, Any] = {
            "kind": self.kind,
            "life": host.life,
            "sealed": self.tpm,
            "change": host.change,
            "booted": host.booted,
            "held": host.places.get(key, KeyPlace()).held,
            "evicted": host.evicted,
            "another_stopped": any(self._stopped(other) for other in others),
            "vcenter": self.vcenter,
            "vcenter_reaches_host": name not in self.cut_from_vcenter,
            "kms": self.kms,
            "kms_from_host": self.kms_from_host,
            "listed": self.listed,
            "default": self.default,
            "key_usable": usable and self.key_usable,
            "other_key_gone": self.kind is KeyProviderKind.STANDARD and not self.vm_key_usable,
            "attestation_service": self.services,
            "key_provider_service": self.services,
            "attestation": host.attestation,
            "enrolled": host.enrolled,
            "image_known": host.image_known,
            "overrides": self.overrides,
            "kdk": host.kdk,
            "vcenter_kdk": self.vcenter_kdk,
        }
        return Situation(ask=ask, **(facts | more))

    def _stopped(self, name: str) -> bool:
        host = self.hosts[name]
        return host.life is Life.SCREEN or (host.booted and not host.image_known)

    def answer(self, ask: Question, name: str, *, key: str = "", **more: Any) -> Outcome:
        """What comes of it."""
        return outcome(self.ask(ask, name, key=key, **more))


def replace_stored(place: KeyPlace) -> KeyPlace:
    """A host key whose entry left the store, and which stays in memory."""
    return KeyPlace(place.held, stored=False)
