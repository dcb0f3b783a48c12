"""What a host tells of itself: core dumps and a TPM that fails, numbered in each boot."""

from __future__ import annotations

import msgspec
import pytest

from protocol.events import EventTypeId as E
from protocol.messages.agent import TpmBackend
from protocol.messages.host.crypto import WriteDump
from protocol.messages.host.session import HostProblem, HostSummary
from protocol.tpm.errors import RC_ATTRIBUTES_H1, RC_FAILURE, RC_NV_SPACE, tpm_error
from services.esxi.vcenter_connection import KEPT, ReportedProblems
from services.runtime.tpm.device import TpmDevice
from tests.services.esxi.rig import HOST_KEY, VM, A, Rig


def problems(summary: HostSummary) -> tuple[HostProblem, ...]:
    return () if summary.problems is msgspec.UNSET else summary.problems


def device(rig: Rig) -> TpmDevice:
    found = rig.world.device(A)
    assert found is not None
    return found


def test_a_dump_is_told_with_key_and_file_until_the_next_boot(rig: Rig) -> None:
    """DUMP-02."""
    rig.up()
    rig.console(WriteDump(dump="clear"))
    assert problems(rig.summary()) == (), "one in clear is no encrypted core file"
    rig.make_safe()
    rig.console(WriteDump(dump="first"))
    rig.console(WriteDump(dump="first"))
    rig.console(WriteDump(dump="second"))
    first, second = problems(rig.summary())
    assert (first.number, first.event, first.key) == (1, E.HOSTD_CORE_DUMPED, HOST_KEY)
    assert "core/first.zdump" in first.text and str(HOST_KEY) in first.text
    assert "1 time(s)" in first.text and "2 time(s)" in second.text
    rig.reboot()
    assert problems(rig.summary()) == ()


def test_the_dump_of_a_vm_is_of_an_application(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.console(WriteDump(dump="vmx", vm=VM))
    (told,) = problems(rig.summary())
    assert (told.event, told.vm) == (E.APPLICATION_CORE_DUMPED, VM)
    assert told.key in rig.vm().keys


def test_a_tpm_that_does_not_answer_is_told_at_each_boot(rig: Rig) -> None:
    rig.add_host(tpm=TpmBackend.MODEL)
    device(rig).fail_nv(True)
    rig.power_on()
    (told,) = problems(rig.summary())
    assert told.event is E.TPM2_CONNECTION and "cannot be established" in told.text


def test_an_earlier_owner_in_the_tpm_is_told(rig: Rig) -> None:
    rig.add_host(tpm=TpmBackend.MODEL)
    device(rig).occupy()
    rig.power_on()
    assert [told.event for told in problems(rig.summary())] == [E.TPM2_OWNERSHIP]


@pytest.mark.parametrize(
    ("rc", "event"),
    [
        (RC_FAILURE, E.TPM2_CONNECTION),
        (RC_ATTRIBUTES_H1, E.TPM2_OWNERSHIP),
        (RC_NV_SPACE, E.TPM2_PROVISIONING),
    ],
)
def test_which_problem_a_refusal_is(rc: int, event: E) -> None:
    some = ReportedProblems()
    some.record_unusable_tpm(tpm_error(rc))
    assert [told.event for told in some.latest] == [event]


def test_only_the_latest_are_kept_under_their_numbers() -> None:
    some = ReportedProblems()
    for _ in range(KEPT + 5):
        some.add(E.TPM2_CONNECTION, "again")
    assert [told.number for told in some.latest] == list(range(6, KEPT + 6))


def test_crashes_are_counted_beyond_those_that_are_kept() -> None:
    some = ReportedProblems()
    for _ in range(KEPT + 5):
        some.record_dump("core/one.zdump", HOST_KEY, None)
        some.record_dump("core/two.zdump", HOST_KEY, VM)
    assert [f"crashed ({KEPT + 5} time(s)" in told.text for told in some.latest[-2:]] == [True] * 2
