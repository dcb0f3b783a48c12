"""Event logs that lead to the quoted registers, and tell of another boot than there was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from protocol.messages.agent import Firmware, TpmBackend
from protocol.tpm.event_log import encode_log, parse_log
from protocol.tpm.structures import EventType, MeasuredEvent
from protocol.trust import FindingCode as Code
from tests.services.trust import prover
from tests.services.trust.rig import BACKENDS, TrustRig

Events = tuple[MeasuredEvent, ...]
NAME = "SecureBoot".encode("utf-16-le")


def _on(events: Events) -> MeasuredEvent:
    """The event that a boot with Secure Boot would have measured."""
    off = next(event for event in events if NAME in event.body)
    return replace(off, body=off.body[:-1] + b"\x01", digest=b"")


def _hidden(events: Events, kind: EventType) -> Events:
    """What was measured of Secure Boot, passed off as another kind of event."""
    return tuple(replace(e, type=kind, body=b"") if NAME in e.body else e for e in events)


def elsewhere(events: Events) -> Events:
    """Hidden, and told in a register that nobody quotes."""
    return (*_hidden(events, EventType.IPL), replace(_on(events), pcr=10))


def under_another_kind(events: Events) -> Events:
    """With its body, as an action; and told in a register that nobody quotes."""
    shown = tuple(replace(e, type=EventType.EFI_ACTION) if NAME in e.body else e for e in events)
    return (*shown, replace(_on(events), pcr=10))


@pytest.mark.parametrize("lie", [elsewhere, under_another_kind])
@pytest.mark.parametrize("tpm", BACKENDS)
def test_secure_boot_is_what_its_register_says(
    rig: TrustRig, lie: Callable[[Events], Events], tpm: TpmBackend
) -> None:
    rig.authority()
    rig.trusted_host(firmware=Firmware(secure_boot=False), tpm=tpm)
    events = parse_log(rig.host().event_log)
    report = prover.attest(rig, event_log=encode_log(lie(events)))
    assert Code.SECURE_BOOT in prover.codes(report)
