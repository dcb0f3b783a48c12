"""The facts behind the answer to one question, each of them observable.

A ``Situation`` is the facts of one question about one host and one key. Its defaults describe a
healthy lab with a standard provider; a test or a fold sets only what differs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from protocol.terms import ManagementType


class Question(StrEnum):
    """The operation or event in question."""

    RUN = "run"  # does a VM that runs go on?
    BOOT = "boot"  # what state has a host that booted?
    START = "start"  # power-on on the host where the VM is registered
    RESTART = "restart"  # HA starts it on this host
    MOVE = "move"  # vMotion to this host
    CREATE = "create"  # a new encrypted VM, a virtual TPM
    RECRYPT = "recrypt"  # shallow
    JOIN = "join"  # the host is added to the cluster
    MOUNT = "mount"  # encrypted disk groups of a host that booted


class KeyProviderKind(StrEnum):
    """The kind of key provider."""

    STANDARD = "standard"
    TRUSTED = "trusted"
    NATIVE = "native"


KIND_OF: Final[Mapping[str, KeyProviderKind]] = {
    ManagementType.VCENTER.value: KeyProviderKind.STANDARD,
    ManagementType.TRUST_AUTHORITY.value: KeyProviderKind.TRUSTED,
    ManagementType.NATIVE_PROVIDER.value: KeyProviderKind.NATIVE,
}
"""The oracle's own table of the management types that it knows."""


class Life(StrEnum):
    """The state of the host."""

    UP = "up"
    DOWN = "down"
    SCREEN = "screen"  # its boot ended at a purple screen


class Change(StrEnum):
    """What has changed since the configuration was sealed."""

    NOTHING = "nothing"
    IMAGE = "image"  # build, unenforced option, firmware: measured, not in the sealing policy
    POLICY = "policy"  # Secure Boot, an enforced option, the TPM disabled
    TPM = "tpm"  # cleared, replaced or dead


class KeyInMemory(StrEnum):
    """Whether the host has the key in memory, and its source."""

    NO = "no"
    CACHED = "cached"  # obtained in this life, by whatever way
    PUSHED = "pushed"  # by vCenter, after the boot that had emptied the cache
    LOADED = "loaded"  # from the persisted store, at boot


class Kdk(StrEnum):
    """A host's key derivation key of a native provider."""

    ABSENT = "absent"
    RIGHT = "right"  # the one that the keys in question were derived from
    OTHER = "other"  # of a provider that was made again under the same name


class AttestationVerdict(StrEnum):
    """The Attestation Service's verdict on a trusted host."""

    ATTESTED = "attested"  # with a token that is alive
    UNKNOWN = "unknown"  # not asked in this boot, or the token is over
    REFUSED = "refused"


class Overrides(StrEnum):
    """Whether a host that is not attested may use keys that it has (C6)."""

    UNREACHABLE_ONLY = "unreachable_only"
    ALWAYS = "always"
    NEVER = "never"


class KeyPlace(msgspec.Struct, frozen=True):
    """Where a host has one key: in memory, in its persisted store."""

    held: KeyInMemory = KeyInMemory.NO
    stored: bool = False

    def after_receipt(
        self, *, persistence: bool, how: KeyInMemory = KeyInMemory.CACHED
    ) -> KeyPlace:
        """A key that arrives is cached, and written while persistence is on (KP-09). A key that is
        already there changes nothing (KP-17)."""
        held = how if self.held is KeyInMemory.NO else self.held
        return KeyPlace(held, self.stored or persistence)

    def after_boot(self, *, persistence: bool) -> KeyPlace:
        """A boot empties the cache (STD-13) and loads what is stored, while persistence is on."""
        loaded = persistence and self.stored
        return KeyPlace(KeyInMemory.LOADED if loaded else KeyInMemory.NO, self.stored)

    def after_removal(self) -> KeyPlace:
        """A removed key leaves cache and store (C10)."""
        return KeyPlace()


def may_persist(*, sealed: bool, kinds: Collection[KeyProviderKind]) -> bool:
    """Whether key persistence can be enabled: it needs a TPM that seals the configuration (KP-01),
    but for hosts that know native providers only (KP-06)."""
    return sealed or (bool(kinds) and all(kind is KeyProviderKind.NATIVE for kind in kinds))


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one question.

    The key is that of the VM; for ``BOOT`` the host key, for ``MOUNT`` the keys of the disk groups;
    for ``CREATE`` and ``JOIN`` no key exists yet.
    """

    ask: Question
    kind: KeyProviderKind = KeyProviderKind.STANDARD
    encrypted: bool = True

    # The host in question: where the VM is or would be, which booted, or joins.
    life: Life = Life.UP
    sealed: bool = True  # mode TPM: the configuration opens under the sealing policy only
    change: Change = Change.NOTHING
    booted: bool = False  # since the change, or at all when nothing changed
    held: KeyInMemory = KeyInMemory.NO
    evicted: bool = False  # taken away after its provider was deleted
    another_stopped: bool = False  # another host stands at its screen, or is refused attestation

    # vCenter and its ways
    vcenter: bool = True
    vcenter_reaches_host: bool = True
    kms: bool = True  # whoever needs a key server reaches one: vCenter, or the KPS
    kms_from_host: bool = True

    # The provider
    listed: bool = True
    default: bool = True  # the operation's provider is there: the default one, or the one it names
    key_usable: bool = True  # Active at its source; for a trusted provider its primary key
    other_key_gone: bool = False  # another key than the one in question is gone at its source
    renewable: bool = False  # a default provider other than this could make a new host key (HEM-07)
    to_another: bool = False  # RECRYPT: to a key of another provider, which works

    # Trust Authority
    attestation_service: bool = True
    key_provider_service: bool = True
    attestation: AttestationVerdict = AttestationVerdict.UNKNOWN
    enrolled: bool = True  # endorsement key known, configuration applied
    image_known: bool = True
    primary_key_cached: bool = False  # by the KPS (C14)
    overrides: Overrides = Overrides.UNREACHABLE_ONLY

    # Native
    kdk: Kdk = Kdk.RIGHT
    vcenter_kdk: Kdk = Kdk.RIGHT
    excluded: bool = False  # a provider for hosts with TPM only, and the host has none
    backed_up: bool = True
    on_host: bool = False  # asked of the host itself, not through vCenter

    # vSAN
    vsan_persists: bool = True  # 7.0 U3 and later

    @property
    def starts(self) -> bool:
        """A VM is to be started; without its key it is locked then (LOCK-01)."""
        return self.ask in (Question.START, Question.RESTART)

    @property
    def goes_ahead(self) -> bool:
        """The host is up, and so is vCenter if it leads the operation: only keys decide."""
        led = (
            self.ask in (Question.MOVE, Question.CREATE, Question.RECRYPT, Question.JOIN)
            and not self.on_host
        )
        return self.life is Life.UP and (self.vcenter_here or not led)

    @property
    def mounts_from_store(self) -> bool:
        """The keys of the disk groups were loaded from the store, by a version that does so
        (VSAN-07)."""
        return self.held is KeyInMemory.LOADED and self.vsan_persists

    @property
    def has_key(self) -> bool:
        """The host has the key in memory."""
        return self.held is not KeyInMemory.NO

    @property
    def vcenter_here(self) -> bool:
        """vCenter is up and reaches the host."""
        return self.vcenter and self.vcenter_reaches_host

    @property
    def vcenter_can_fetch(self) -> bool:
        """vCenter could get the value of this key from its standard provider."""
        return self.vcenter and self.kms and self.listed and self.key_usable

    @property
    def vcenter_can_bring(self) -> bool:
        """vCenter could bring this key of a standard provider to the host (STD-14)."""
        return self.vcenter_here and self.vcenter_can_fetch

    @property
    def primary_key_works(self) -> bool:
        """The KPS can use the primary key of the trusted provider (KPS-03)."""
        return self.key_usable and (self.kms or self.primary_key_cached)

    @property
    def would_be_attested(self) -> bool:
        """The host has a token, or would get one now (ATT-02)."""
        if self.attestation is AttestationVerdict.ATTESTED:
            return True
        return (
            self.attestation is not AttestationVerdict.REFUSED
            and self.attestation_service
            and self.enrolled
            and self.image_known
        )

    @property
    def refused_attestation(self) -> bool:
        """The Attestation Service has refused the host, or would now."""
        if self.attestation is AttestationVerdict.REFUSED:
            return True
        asked = self.attestation is AttestationVerdict.UNKNOWN and self.attestation_service
        return asked and not self.image_known

    @property
    def host_can_unwrap(self) -> bool:
        """A trusted host could get this key from a KPS by itself (KPS-02)."""
        ways = self.would_be_attested and self.key_provider_service
        return ways and self.listed and self.primary_key_works

    @property
    def kdk_at_hand(self) -> Kdk:
        """The native provider's KDK on the host, after vCenter has pushed it if it can (NKP-15)."""
        pushes = self.vcenter_here and self.listed and not self.excluded
        return self.vcenter_kdk if self.kdk is Kdk.ABSENT and pushes else self.kdk

    @property
    def host_key_renewed(self) -> bool:
        """vCenter replaces a host key that is not available (HEM-07)."""
        return self.ask is Question.BOOT and self.renewable and self.vcenter_here

    @property
    def attestation_blocks(self) -> bool:
        """A trusted host has the key but must not use it (C6)."""
        if self.kind is not KeyProviderKind.TRUSTED or self.overrides is Overrides.ALWAYS:
            return False
        if self.refused_attestation:
            return True
        return self.overrides is Overrides.NEVER and not self.would_be_attested
