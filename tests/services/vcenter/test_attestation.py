"""When vCenter looks at the TPM of a host, and what becomes of a look that something overtakes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from protocol.errors import Busy
from protocol.events import EventTypeId
from protocol.messages.host.crypto import TpmAttestationReport
from protocol.messages.vcenter.inventory import ClearTpmRecord, RemoveHost
from protocol.terms import AttestationStatus, Role
from protocol.tpm.structures import PublicArea
from tests.services.vcenter.bench import NONCE, Bench
from tests.services.vcenter.rig import A, Rig

ACCEPTED, NOT_ACCEPTED = AttestationStatus.ACCEPTED, AttestationStatus.NOT_ACCEPTED
OF_TPM = (
    EventTypeId.HOST_TPM_ATTESTATION_FAILED,
    EventTypeId.HOST_TPM_ENDORSEMENT_KEY_MISMATCH,
)


@pytest.fixture
def bench(rig: Rig) -> Iterator[Bench]:
    """Of host A, which is not in the inventory yet."""
    made = Bench()
    made.boot()
    rig.add(A, Role.ESXI)
    rig.hosts[A].bench = made
    yield made
    made.tpm.close()


def status(rig: Rig) -> AttestationStatus | None:
    seen = rig.host_info(A).attestation
    return None if seen is None else seen.status


def looks(rig: Rig) -> int:
    return rig.hosts[A].seen.count("QueryTpmAttestationReport")


def told(rig: Rig) -> list[EventTypeId]:
    return [event for event in rig.ids() if event in OF_TPM]


def test_a_host_is_looked_at_once_in_a_session_and_again_when_its_record_is_cleared(
    rig: Rig, bench: Bench
) -> None:
    rig.up(A)
    rig.sleep(60)
    assert (status(rig), looks(rig)) == (ACCEPTED, 1)
    rig.do(ClearTpmRecord(host=A))
    assert status(rig) is None
    rig.sleep(1)
    assert (status(rig), looks(rig)) == (ACCEPTED, 2)


def test_a_look_that_a_cleared_record_overtakes_says_nothing_of_it(rig: Rig, bench: Bench) -> None:
    """The board was replaced, and its administrator clears the record while it is looked at."""
    rig.up(A)
    rig.sleep(5)
    assert status(rig) is ACCEPTED
    other = Bench(number=1)
    other.boot()
    rig.hosts[A].bench, rig.hosts[A].attests_in_s = other, 3.0
    rig.reboot(A)
    while looks(rig) < 2:
        rig.sleep(0.1)
    rig.do(ClearTpmRecord(host=A))
    rig.sleep(20)
    assert (status(rig), told(rig)) == (ACCEPTED, [])
    other.tpm.close()


def test_a_look_in_an_earlier_session_says_nothing_of_this_one(rig: Rig, bench: Bench) -> None:
    rig.up(A)
    rig.sleep(5)
    bench.boot(build="2")
    rig.hosts[A].attests_in_s = 3.0
    rig.reboot(A)
    while looks(rig) < 2:
        rig.sleep(0.1)
    bench.boot()
    session = rig.vcenter.sessions.usable(A)
    session.rang(session.boot + 1)  # it is connected anew before the answer comes
    rig.sleep(20)
    assert (status(rig), told(rig)) == (ACCEPTED, [])


def test_a_host_that_did_not_answer_is_looked_at_at_its_next_heartbeat(
    rig: Rig, bench: Bench
) -> None:
    rig.hosts[A].errors["QueryTpmAttestationReport"] = Busy()
    rig.up(A)
    rig.sleep(5)
    assert (status(rig), looks(rig)) == (None, 1)
    rig.hosts[A].errors.clear()
    rig.sleep(15)
    assert status(rig) is ACCEPTED


def test_a_key_for_which_no_credential_can_be_made_is_not_accepted(rig: Rig, bench: Bench) -> None:
    """It is no public area at all; vCenter outlives it."""
    whole = bench.report

    def report(nonce: bytes = NONCE) -> TpmAttestationReport:
        return msgspec.structs.replace(whole(nonce), ek=PublicArea(b"?"))

    bench.report = report  # type: ignore[method-assign]
    rig.up(A)
    rig.sleep(5)
    seen = rig.host_info(A).attestation
    assert seen is not None and seen.status is NOT_ACCEPTED
    assert "endorsement key" in seen.message


def test_nothing_of_a_removed_host_waits_to_be_looked_at(rig: Rig, bench: Bench) -> None:
    rig.hosts[A].errors["QueryTpmAttestationReport"] = Busy()
    rig.up(A)
    rig.sleep(5)
    assert rig.vcenter.attestations.unfinished(A)
    rig.do(RemoveHost(host=A))
    assert not rig.vcenter.attestations.unfinished(A)
