"""A host's TPM speaks for itself; a host without one, or with a broken one, says so."""

from __future__ import annotations

import pytest

from protocol.errors import InvalidArgument, InvalidState, NotAvailable
from protocol.messages.agent import FirmwareEvent, TpmBackend
from protocol.messages.host.crypto import (
    LOG_LIMIT,
    ActivateTpmCredential,
    QueryTpmAttestationReport,
)
from protocol.tpm.credential import make_credential
from protocol.tpm.event_log import parse_log, replay, secure_boot_on
from protocol.tpm.public import public_name
from protocol.tpm.quote import verify_quote
from protocol.tpm.structures import PCR_ATTESTED, EventType, PublicArea, TpmName
from tests.services.esxi.rig import A, B, Rig

NONCE = b"a fresh nonce"
ASK = QueryTpmAttestationReport(nonce=NONCE, selection=PCR_ATTESTED)
BACKENDS = [
    TpmBackend.MODEL,
    pytest.param(TpmBackend.LIBTPMS, marks=pytest.mark.tpm, id="libtpms"),
]


def credential(ek: PublicArea, name: TpmName) -> ActivateTpmCredential:
    return ActivateTpmCredential(credential=make_credential(ek, b"secret", name))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_report_of_a_boot_replays_to_what_is_quoted(rig: Rig, backend: TpmBackend) -> None:
    rig.up(tpm=backend)
    report = rig.console(ASK)
    quoted = verify_quote(report.ak, report.quote, NONCE, PCR_ATTESTED)
    events = parse_log(report.event_log)
    assert replay(events, PCR_ATTESTED) == quoted.pcrs
    assert report.log_reliable and secure_boot_on(events)
    rig.set_firmware(secure_boot=False)
    digits = _digits(rig)
    rig.power_off()
    rig.power_on(encryptionRecoveryKey=digits)
    assert not secure_boot_on(parse_log(rig.console(ASK).event_log))


def _digits(rig: Rig) -> str:
    recovery = rig.host().archive.now.recovery
    assert recovery is not None
    return recovery.text()


def test_only_the_tpm_that_holds_both_keys_opens_a_credential(rig: Rig) -> None:
    rig.up()
    rig.add_host(B)
    rig.power_on(B)
    mine, other = rig.console(ASK), rig.console(ASK, B)
    right = credential(mine.ek, public_name(mine.ak))
    assert rig.console(right).secret == b"secret"
    wrong_key = credential(mine.ek, public_name(other.ak))
    wrong_tpm = credential(other.ek, public_name(mine.ak))
    for wrong in (wrong_key, wrong_tpm):
        assert isinstance(rig.refused_door(wrong), InvalidState)


def test_a_log_without_room_is_no_log(rig: Rig) -> None:
    extra = tuple(FirmwareEvent(1, EventType.EFI_ACTION, b"%d" % n) for n in range(LOG_LIMIT))
    rig.up()
    rig.set_firmware(extra=extra)
    rig.reboot()
    report = rig.console(ASK)
    assert (report.log_reliable, report.event_log) == (False, b"")


def test_without_a_tpm_there_is_nothing_to_report(rig: Rig) -> None:
    rig.up(tpm=TpmBackend.NONE)
    assert isinstance(rig.refused_door(ASK), NotAvailable)


def test_a_broken_tpm_gives_no_quote(rig: Rig) -> None:
    rig.up()
    device = rig.world.device(A)
    assert device is not None
    device.fail_nv(True)
    assert isinstance(rig.refused_door(ASK), InvalidState)


def test_a_nonce_has_room_in_a_quote(rig: Rig) -> None:
    rig.up()
    long = QueryTpmAttestationReport(nonce=bytes(65), selection=PCR_ATTESTED)
    assert isinstance(rig.refused_door(long), InvalidArgument)
