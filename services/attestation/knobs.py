"""The knobs of an Attestation Service."""

from __future__ import annotations

from typing import Annotated, Protocol

from services.runtime.knobs import LONGEST_S, SECONDS, Knobs, knob
from services.runtime.service import ServiceNode


class AttestationKnobs(Knobs, frozen=True, kw_only=True):
    """Knobs of an Attestation Service."""

    token_lifetime_s: Annotated[
        float,
        knob(
            "A token of an attested host is good that long, by the clock of who issued it.",
            unit=SECONDS,
            least=1,
            most=LONGEST_S,
            rule="C12",
            instead="Shorter: an outage of the Attestation Services is felt sooner.",
        ),
    ] = 28_800.0
    attestation_within_s: Annotated[
        float,
        knob(
            "A host has that long to answer the challenge of an attestation.",
            unit=SECONDS,
            least=1,
            most=3600,
            rule="ATT-01",
        ),
    ] = 60.0


class AttestationNode(ServiceNode, Protocol):
    """The node that drives an Attestation Service."""

    @property
    def knobs(self) -> AttestationKnobs: ...
