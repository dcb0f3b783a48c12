"""The knobs of a Key Provider Service."""

from __future__ import annotations

from typing import Annotated, Protocol

from services.runtime.knobs import SECONDS, CertificateKnobs, knob
from services.runtime.service import ServiceNode


class KeyProviderKnobs(CertificateKnobs, frozen=True, kw_only=True):
    """Knobs of a Key Provider Service."""

    kps_primary_key_cache: Annotated[
        bool,
        knob(
            "A Key Provider Service keeps a primary key in memory once it has fetched it, so that "
            "an outage of the key servers does not stop it.",
            rule="C14",
            instead="true: an outage of the key servers behind it changes nothing for hosts.",
        ),
    ] = False
    token_leeway_s: Annotated[
        float,
        knob(
            "The clocks of who issued a token and of who takes it may differ by that much.",
            unit=SECONDS,
            least=0,
            most=3600,
            rule="ATT-04",
        ),
    ] = 60.0
    primary_key_timeout_s: Annotated[
        float,
        knob(
            "A Key Provider Service gives up on one key server after it, and asks the next.",
            unit=SECONDS,
            least=0.1,
            most=3600,
            rule="KPS-03",
        ),
    ] = 1.5


class KeyProviderNode(ServiceNode, Protocol):
    """The node that drives a Key Provider Service."""

    @property
    def knobs(self) -> KeyProviderKnobs: ...
