"""What the tests of both backends share: a boot, a sealed secret, a refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.quote import policy_pcr_digest
from protocol.tpm.structures import (
    PCR_SECURE_BOOT,
    EventType,
    MeasuredEvent,
    PcrSelection,
    SealedBlob,
)
from services.runtime.tpm.device import TpmDevice

Maker = Callable[..., TpmDevice]

SECRET = bytes(range(1, 33))
EVENTS = (
    MeasuredEvent(0, EventType.NO_ACTION, b"startup locality"),
    MeasuredEvent(0, EventType.S_CRTM_VERSION, b"1.0"),
    MeasuredEvent(7, EventType.EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot on"),
    MeasuredEvent(7, EventType.SEPARATOR, bytes(4)),
    MeasuredEvent(4, EventType.EFI_BOOT_SERVICES_APPLICATION, b"loader", b"\xab" * 32),
    MeasuredEvent(13, EventType.IPL, b"option"),
    MeasuredEvent(23, EventType.IPL, b"application"),
)
ALL = PcrSelection.of(range(24))


def refused(call: Callable[[], object]) -> tuple[int, TpmErrorKind]:
    """Code and kind with which the call is refused."""
    with pytest.raises(TpmError) as caught:
        call()
    return caught.value.rc, caught.value.kind


def boot(tpm: TpmDevice, events: tuple[MeasuredEvent, ...] = EVENTS) -> bytes:
    tpm.power_on()
    log = tpm.extend_log(events)
    tpm.ensure_srk()
    return log


def sealed(tpm: TpmDevice, selection: PcrSelection = PCR_SECURE_BOOT) -> SealedBlob:
    return tpm.seal(SECRET, policy_pcr_digest(selection, tpm.pcrs(selection)))


def booted(tpm: TpmDevice) -> SealedBlob:
    """Boot and seal."""
    boot(tpm)
    return sealed(tpm)
