"""What a trusted host has of its Trust Authority: its attestation, and the services that it asks.

A host attests when it first needs a key, and has a token until its next boot (B7, ATT-04); with
that any Key Provider Service gives it its keys, if one reaches a key server (KPS-02, KPS-03). No
vCenter is on the way (TA-06).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from chaos.oracle.facts import AttestationVerdict
from chaos.oracle.fold.known import NO, OPEN, YES, Known, both

Case = tuple[bool, AttestationVerdict]
"""Whether the services know what the host has booted, and what they have said of it."""


class Services(NamedTuple):
    """Who serves a trusted provider, by node name."""

    attestation: tuple[str, ...]
    keys: tuple[str, ...]
    kms: tuple[str, ...]

    @classmethod
    def of(cls, provider: Mapping[str, Any], services: Mapping[str, Any]) -> Self:
        """Of a ``provider`` of the staging, and the ``services`` of its lab."""
        return cls(
            tuple(services.get("attestation", ())),
            tuple(services.get("keys", ())),
            tuple(services.get("kms", {}).get(provider["name"], ())),
        )

    @property
    def nodes(self) -> frozenset[str]:
        """All of them."""
        return frozenset((*self.attestation, *self.keys, *self.kms))


class TrustParts(NamedTuple):
    """The parts of the way to a trusted host's keys, for the reasons to tell which is missing."""

    attestation: Known
    service: Known
    kms: Known
    listed: Known

    @property
    def whole(self) -> Known:
        """Whether a host without a token gets its keys."""
        return both(self)

    def with_token(self, token: Known) -> Known:
        """Whether a host gets its keys that may have one."""
        rest = both(self[1:])
        return rest if token == YES else both((rest, self.attestation | token - NO))


@dataclass
class FoldedTrust:
    """One trusted host in its present boot, with the trusted ``providers``.

    ``token``: whether it was attested in it; ``known``: whether the services know what it has
    booted, and on which TPM; ``sealed_anew``: its TPM was another one once, so that nobody knows.
    ``untold``: a certificate in its Trust Authority is another one, which not all were told.
    """

    providers: frozenset[str] = frozenset()
    token: Known = OPEN
    known: Known = YES
    sealed_anew: bool = False
    untold: bool = False

    def boot(self, *, changed: bool) -> None:
        """A token is not kept over a boot; ``changed``: what it measures may be otherwise."""
        self.token = NO
        self.known = OPEN if changed or self.sealed_anew or self.untold else YES

    def asks_for(self, key: str) -> bool:
        """Whether this host has the key unwrapped when it needs it, and says nothing before."""
        return key.partition("/")[0] in self.providers

    def may_attest(self, service: Known) -> None:
        """An Attestation Service can be asked, perhaps; a host asks when it needs a key."""
        if service != NO and self.token == NO:
            self.token = OPEN

    def cases(self) -> Iterator[Case]:
        """What may be so of its attestation."""
        for known in self.known:
            for token in self.token:
                yield known, AttestationVerdict.ATTESTED if token else AttestationVerdict.UNKNOWN
            if not known:
                yield known, AttestationVerdict.REFUSED
