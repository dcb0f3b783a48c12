"""The knobs of a key server."""

from __future__ import annotations

from typing import Annotated, Protocol

from services.runtime.knobs import LONGEST_S, SECONDS, CertificateKnobs, knob
from services.runtime.service import ServiceNode


class KmsKnobs(CertificateKnobs, frozen=True, kw_only=True):
    """Settings of a key server that the product's documents leave open."""

    pair_timeout_s: Annotated[
        float,
        knob(
            "A call to the other key server of a pair gives up after it; after half of it the "
            "other is marked as down.",
            unit=SECONDS,
            least=0.1,
            most=3600,
            rule="STD-01",
        ),
    ] = 10.0

    pair_retry_s: Annotated[
        float,
        knob(
            "A key server tries that often to reach the other of its pair, when it is down.",
            unit=SECONDS,
            least=0.1,
            most=LONGEST_S,
            rule="STD-01",
        ),
    ] = 5.0

    group_exchange_s: Annotated[
        float,
        knob(
            "Key servers that replicate after the answer compare that often what each of them has, "
            "and tell what another lacks, also of a third one's keys.",
            unit=SECONDS,
            least=0.1,
            most=LONGEST_S,
            rule="STD-01",
        ),
    ] = 30.0

    rewrap_keys: Annotated[
        int,
        knob(
            "So many keys are looked at in one transaction when a rotation brings them under the "
            "current KEK; requests go between two of them.",
            unit="keys",
            least=1,
            most=10_000,
        ),
    ] = 64

    rewrap_pause_s: Annotated[
        float,
        knob(
            "A rotation waits so long from one transaction to the next, and ten times as long "
            "after the disk has refused one.",
            unit=SECONDS,
            least=0.0,
            most=3600,
        ),
    ] = 0.1

    audit_buffer_s: Annotated[
        float,
        knob(
            "A key server whose audit is `buffered` writes the rows of messages that only read, "
            "and the anchor of changes, at most that late; a crash loses those of that time.",
            unit=SECONDS,
            least=0.001,
            most=60,
        ),
    ] = 0.05


class KmsNode(ServiceNode, Protocol):
    """The node that drives a key server."""

    @property
    def knobs(self) -> KmsKnobs: ...
