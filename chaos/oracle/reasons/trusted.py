"""The trusted provider: an attested host gets its keys from a Key Provider Service by itself."""

from __future__ import annotations

from chaos.oracle.facts import Change, KeyInMemory, KeyProviderKind, Life, Question, Situation
from chaos.oracle.reasons.base import LetterReason, circumstance, lacks, reason, works
from chaos.oracle.terms import Letter


def _lacking(s: Situation) -> bool:
    """A trusted host needs a key that it has not, now."""
    if s.kind is not KeyProviderKind.TRUSTED or not s.goes_ahead:
        return False
    if s.ask in (Question.CREATE, Question.RECRYPT):
        return s.default and not s.to_another  # a new key is always one that nobody has
    return (
        s.ask in (Question.BOOT, Question.START, Question.RESTART, Question.MOVE) and not s.has_key
    )


def _served(s: Situation) -> bool:
    """The host has a token and finds a service that answers it."""
    return s.would_be_attested and s.key_provider_service


@reason(40, "KPS-02", "ATT-03")
def the_host_attests_and_asks_for_its_key(s: Situation) -> Letter | None:
    """It gets a token, and has the Key Provider Service unwrap or make the key."""
    if s.ask is Question.JOIN and s.kind is KeyProviderKind.TRUSTED and s.goes_ahead:
        ready = s.enrolled and s.image_known and s.host_can_unwrap
        return Letter.OK if ready else None
    if s.ask is Question.BOOT and s.kind is KeyProviderKind.TRUSTED and s.life is Life.UP:
        if s.held in (KeyInMemory.CACHED, KeyInMemory.PUSHED):
            return Letter.SAFE
    own = s.ask in (Question.BOOT, Question.START, Question.CREATE, Question.RECRYPT)
    return works(s) if own and _lacking(s) and s.host_can_unwrap else None


@reason(41, "KPS-02", "MOB-08")
def any_attested_host_unwraps_for_itself(s: Situation) -> Letter | None:
    """With the ciphertext that lies with the VM; keys are not pushed to a cluster."""
    other = s.ask in (Question.RESTART, Question.MOVE)
    return Letter.OK if other and _lacking(s) and s.host_can_unwrap else None


@reason(42, "ATT-07", "ATT-08", "HLT-03")
def image_and_endorsement_key_must_be_known(s: Situation) -> Letter | None:
    """And the cluster's configuration applied to the host."""
    joins = s.ask is Question.JOIN and s.kind is KeyProviderKind.TRUSTED and s.goes_ahead
    return Letter.PARTLY if joins and not (s.enrolled and s.image_known) else None


@reason(43, "TA-09")
def vsan_encryption_is_not_supported(s: Situation) -> Letter | None:
    """With a trusted provider."""
    return Letter.NONE if s.ask is Question.MOUNT and s.kind is KeyProviderKind.TRUSTED else None


@reason(44, "KPS-03", "C14")
def the_service_needs_the_primary_key(s: Situation) -> Letter | None:
    """It reaches no key server, and holds no primary key in memory."""
    unreached = s.listed and s.key_usable and not s.primary_key_works
    return lacks(s) if _lacking(s) and _served(s) and unreached else None


@reason(45, "HLT-03")
def the_host_joins_and_may_attest(s: Situation) -> Letter | None:
    """No key comes before the fault is over."""
    if s.ask is not Question.JOIN or s.kind is not KeyProviderKind.TRUSTED or not s.goes_ahead:
        return None
    services = s.attestation_service and s.key_provider_service
    strange = s.change is Change.IMAGE and not s.image_known
    wrong = strange or not services or not s.listed or not s.primary_key_works
    return Letter.PARTLY if wrong else None


@reason(46, "KPS-00", instead_of=(40,))
def the_host_talks_to_the_services_itself(s: Situation) -> Letter | None:
    """vCenter is down, and not needed."""
    own = s.ask in (Question.BOOT, Question.START) and _lacking(s)
    return works(s) if own and s.host_can_unwrap and not s.vcenter_here else None


@reason(47, "ATT-06")
def running_vms_of_an_unattested_host_stay(s: Situation) -> Letter | None:
    """It says so of hosts that were refused as of hosts that nobody attests."""
    out = s.refused_attestation or not (s.attestation_service and s.key_provider_service)
    return (
        Letter.OK if s.ask is Question.RUN and s.kind is KeyProviderKind.TRUSTED and out else None
    )


@reason(48, "ATT-04", "KPS-06")
def no_token_or_no_service(s: Situation) -> Letter | None:
    """Hence no key."""
    missing = not s.refused_attestation and not _served(s)
    return lacks(s) if _lacking(s) and missing else None


@reason(49, "C6", instead_of=(2, 10))
def from_the_cache_as_long_as_the_host_counts_as_attested(s: Situation) -> Letter | None:
    """When its token is over and nobody answers, the knob of C6 decides."""
    asked = s.kind is KeyProviderKind.TRUSTED and (s.starts or s.ask is Question.MOVE)
    if not asked or not s.goes_ahead or not s.has_key or s.refused_attestation:
        return None
    if s.attestation_blocks:
        return Letter.NO
    silent = not (s.attestation_service and s.key_provider_service)
    return Letter.OK if silent and s.held is not KeyInMemory.LOADED else None


@reason(50, "ATT-02", "ATT-06")
def the_measurements_match_no_image(s: Situation) -> Letter | None:
    """Attestation is refused: no token, no keys."""
    return lacks(s) if _lacking(s) and s.refused_attestation else None


@circumstance(51, "ATT-08")
def the_new_endorsement_key_must_be_known(s: Situation) -> bool:
    """The recovery key alone does not bring a trusted host back."""
    stands = s.ask is Question.BOOT and s.life is Life.SCREEN
    return stands and s.kind is KeyProviderKind.TRUSTED and s.change is Change.TPM


@reason(52, "KPS-00", "HLT-02")
def the_provider_is_not_there(s: Situation) -> Letter | None:
    """Its name left the hosts, or the service does not know it."""
    return lacks(s) if _lacking(s) and not s.listed else None


@reason(53, "KPS-04")
def every_key_under_the_primary_key_is_lost(s: Situation) -> Letter | None:
    """But what is cached, or persisted."""
    return lacks(s) if _lacking(s) and _served(s) and s.listed and not s.key_usable else None


@reason(54, "C6", "KP-16", "ATT-06")
def the_key_is_there_and_attestation_was_refused(s: Situation) -> Letter | None:
    """The host is safe by its key, and powers nothing on."""
    refused = (
        s.kind is KeyProviderKind.TRUSTED and s.refused_attestation and s.has_key and s.goes_ahead
    )
    if not refused:
        return None
    if s.ask is Question.BOOT:
        return Letter.SAFE if s.held is KeyInMemory.LOADED else None
    blocked = s.attestation_blocks and (s.starts or s.ask is Question.MOVE)
    return Letter.NO if blocked else None


REASONS: tuple[LetterReason, ...] = (
    the_host_attests_and_asks_for_its_key,
    any_attested_host_unwraps_for_itself,
    image_and_endorsement_key_must_be_known,
    vsan_encryption_is_not_supported,
    the_service_needs_the_primary_key,
    the_host_joins_and_may_attest,
    the_host_talks_to_the_services_itself,
    running_vms_of_an_unattested_host_stay,
    no_token_or_no_service,
    from_the_cache_as_long_as_the_host_counts_as_attested,
    the_measurements_match_no_image,
    the_new_endorsement_key_must_be_known,
    the_provider_is_not_there,
    every_key_under_the_primary_key_is_lost,
    the_key_is_there_and_attestation_was_refused,
)
