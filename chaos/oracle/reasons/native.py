"""The native provider: a host derives its keys from the KDK in its own configuration."""

from __future__ import annotations

from chaos.oracle.facts import Change, Kdk, KeyProviderKind, Life, Question, Situation
from chaos.oracle.reasons.base import LetterReason, circumstance, lacks, reason, works
from chaos.oracle.terms import Letter

USES_A_KEY = (Question.BOOT, Question.START, Question.RESTART, Question.MOVE)


def _native(s: Situation, *asks: Question) -> bool:
    return s.kind is KeyProviderKind.NATIVE and s.ask in asks and s.goes_ahead and not s.excluded


@reason(55, "NKP-10", "NKP-11")
def the_kdk_is_in_the_configuration(s: Situation) -> Letter | None:
    """The host derives its host key and the keys of VMs."""
    return works(s) if _native(s, *USES_A_KEY) and s.kdk is Kdk.RIGHT else None


@reason(56, "NKP-15")
def a_host_without_kdk_cannot_derive(s: Situation) -> Letter | None:
    """vCenter pushes the KDK when it is up."""
    if s.kdk is not Kdk.ABSENT or not s.listed:
        return None
    if _native(s, Question.CREATE) and s.on_host:
        return Letter.NO
    if not _native(s, *USES_A_KEY, Question.MOUNT) or s.has_key:
        return None
    if s.kdk_at_hand is Kdk.RIGHT:
        return works(s)
    return lacks(s) if s.kdk_at_hand is Kdk.ABSENT and not s.host_key_renewed else None


@reason(57, "NKP-12")
def the_provider_wants_a_tpm(s: Situation) -> Letter | None:
    """A host without one takes no part, and locks nothing."""
    if (
        s.kind is not KeyProviderKind.NATIVE
        or not s.excluded
        or s.ask is Question.RUN
        or s.host_key_renewed
    ):
        return None
    if s.ask is Question.BOOT:
        return Letter.UNSAFE
    return Letter.PARTLY if s.ask is Question.JOIN and s.goes_ahead else Letter.NO


@reason(58, "NKP-05")
def the_provider_must_have_been_backed_up(s: Situation) -> Letter | None:
    """Once, before it makes its first key."""
    if not _native(s, Question.CREATE, Question.RECRYPT) or s.to_another:
        return None
    if not (s.default or s.on_host):
        return None
    if not s.backed_up:
        return Letter.NO
    return Letter.OK if s.kdk_at_hand is Kdk.RIGHT and not s.on_host else None


@reason(59, "NKP-02", "NKP-15")
def vcenter_pushes_native_providers(s: Situation) -> Letter | None:
    """A new host has their KDKs at once."""
    return Letter.OK if _native(s, Question.JOIN) and s.kdk_at_hand is Kdk.RIGHT else None


@reason(60, "VSAN-06")
def the_host_derives_the_vsan_key(s: Situation) -> Letter | None:
    """There is no loop."""
    return Letter.OK if _native(s, Question.MOUNT) and s.kdk is Kdk.RIGHT else None


@circumstance(61, "NKP-11")
def there_is_no_key_server(s: Situation) -> bool:
    """Those that are away are another provider's."""
    return s.kind is KeyProviderKind.NATIVE and not s.kms and s.vcenter and s.life is Life.UP


@reason(62, "NKP-13")
def the_host_could_derive_a_new_key(s: Situation) -> Letter | None:
    """Asked of the host itself it can; tasks come through vCenter."""
    able = s.on_host and s.life is Life.UP and not s.excluded and s.backed_up
    return Letter.OK if able and s.kdk is not Kdk.ABSENT else None


@circumstance(63, "NKP-19")
def after_a_reinstall_the_kdk_is_pushed_again(s: Situation) -> bool:
    """Nothing on the host was its only copy."""
    stands = s.ask is Question.BOOT and s.life is Life.SCREEN
    return stands and s.kind is KeyProviderKind.NATIVE and s.change is Change.TPM


@reason(64, "NKP-02", "NKP-17")
def the_deletion_is_pushed(s: Situation) -> Letter | None:
    """The KDK leaves the hosts; what was derived and cached lasts until power-off or reboot."""
    gone = not s.listed and s.kdk is Kdk.ABSENT and not s.has_key
    if not gone or s.host_key_renewed:
        return None
    if _native(s, Question.JOIN):
        return Letter.PARTLY
    return lacks(s) if _native(s, *USES_A_KEY, Question.MOUNT) else None


@reason(65, "NKP-18", instead_of=(1, 10))
def same_name_other_kdk(s: Situation) -> Letter | None:
    """Keys that are not cached cannot be derived any more."""
    if _native(s, Question.JOIN):
        return Letter.PARTLY if s.listed and s.vcenter_kdk is Kdk.OTHER else None
    if s.kind is not KeyProviderKind.NATIVE or s.kdk_at_hand is not Kdk.OTHER or s.host_key_renewed:
        return None
    if s.ask is Question.RUN:
        return Letter.OK
    recrypts = _native(s, Question.RECRYPT) and (s.to_another or (s.default and s.backed_up))
    if not recrypts and not _native(s, *USES_A_KEY, Question.MOUNT):
        return None
    return works(s) if s.has_key else lacks(s)


@reason(66, "NKP-18")
def new_objects_use_the_new_kdk(s: Situation) -> Letter | None:
    """It is as good as any."""
    able = _native(s, Question.CREATE) and s.default and s.backed_up and not s.on_host
    return Letter.OK if able and s.kdk_at_hand is Kdk.OTHER else None


REASONS: tuple[LetterReason, ...] = (
    the_kdk_is_in_the_configuration,
    a_host_without_kdk_cannot_derive,
    the_provider_wants_a_tpm,
    the_provider_must_have_been_backed_up,
    vcenter_pushes_native_providers,
    the_host_derives_the_vsan_key,
    there_is_no_key_server,
    the_host_could_derive_a_new_key,
    after_a_reinstall_the_kdk_is_pushed_again,
    the_deletion_is_pushed,
    same_name_other_kdk,
    new_objects_use_the_new_kdk,
)
