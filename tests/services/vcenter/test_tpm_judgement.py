"""What a TPM's report proves, and what vCenter makes of it, row by row of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

from protocol.events import EventTypeId
from protocol.messages.agent import Firmware
from protocol.messages.host.crypto import TpmAttestationReport
from protocol.terms import AttestationStatus
from protocol.tpm.event_log import encode_log, parse_log
from protocol.tpm.structures import PcrSelection
from services.vcenter.hosts.attestation import (
    TpmEvidence,
    attestation_of,
    examine,
    failure_judgement,
    is_news,
    judge,
)
from services.vcenter.tables import AttestationRow, TpmRecord
from tests.services.vcenter.bench import NONCE, Bench

FAILED = EventTypeId.HOST_TPM_ATTESTATION_FAILED
MISMATCH = EventTypeId.HOST_TPM_ENDORSEMENT_KEY_MISMATCH


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.boot()
    yield made
    made.tpm.close()


def recorded(bench: Bench) -> TpmRecord:
    made = judge(None, bench.seen()).record
    assert made is not None
    return made


def test_the_first_report_is_accepted_and_recorded(bench: Bench) -> None:
    seen = bench.seen()
    first = judge(None, seen)
    assert (first.flaw, first.event) == ("", None)
    assert first.record == TpmRecord(
        ek=seen.ek, ak=seen.ak, pcrs=seen.pcrs, reset_count=seen.reset_count, clock=seen.clock
    )
    bench.boot()
    again = judge(first.record, bench.seen())
    assert again.flaw == ""
    assert again.record is not None and again.record.reset_count == seen.reset_count + 1
    assert attestation_of(again, 5.0).status is AttestationStatus.ACCEPTED


def _other_log(report: TpmAttestationReport) -> bytes:
    return encode_log(parse_log(report.event_log)[:-1])


def _other_words(report: TpmAttestationReport) -> bytes:
    """The digests lead where they should, one body says something else."""
    events = list(parse_log(report.event_log))
    events[0] = msgspec.structs.replace(events[0], body=b"another firmware")
    return encode_log(events)


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (lambda r: {"event_log": _other_log(r)}, "the event log does not lead to PCR 13 as quoted"),
        (
            lambda r: {"event_log": _other_words(r)},
            "the event log has entries that differ from what was measured",
        ),
        (lambda r: {"event_log": r.event_log[:-1]}, "the event log is malformed: "),
        (
            lambda r: {"event_log": b"", "log_reliable": False},
            "the event log had no room for all entries",
        ),
        (lambda r: {"ak": r.ek}, "the quote is refused: key"),
    ],
)
def test_a_report_that_proves_nothing(
    bench: Bench, lie: Callable[[TpmAttestationReport], dict[str, object]], why: str
) -> None:
    report = bench.report()
    found = examine(msgspec.structs.replace(report, **lie(report)), NONCE)
    assert isinstance(found, str) and found.startswith(why)
    known = recorded(bench)
    made = failure_judgement(known, found)
    assert (made.event, made.record) == (FAILED, known)


def test_a_report_for_another_nonce_or_other_registers_proves_nothing(bench: Bench) -> None:
    assert "nonce" in str(examine(bench.report(b"old"), NONCE))
    few = msgspec.structs.replace(
        bench.report(), quote=bench.tpm.quote(PcrSelection((0, 7)), NONCE)
    )
    assert "selection" in str(examine(few, NONCE))


def test_another_endorsement_key_is_a_mismatch_and_leaves_the_record(bench: Bench) -> None:
    known = recorded(bench)
    other = msgspec.structs.replace(known, ek="00" * 32)
    made = judge(other, bench.seen())
    assert (made.event, made.record) == (MISMATCH, other)
    assert made.flaw == (
        "its TPM has another endorsement key than the one recorded: the board was replaced"
    )


def test_counters_that_went_back_are_not_forgotten(bench: Bench) -> None:
    bench.boot()
    bench.boot()
    known = recorded(bench)
    bench.tpm.clear()
    bench.boot()
    made = judge(known, bench.seen())
    assert made.event is FAILED
    assert made.flaw == (
        "the counters of its TPM went back: it was cleared, or an older state was put back"
    )
    for _ in range(6):
        bench.boot()
    assert bench.seen().reset_count > known.reset_count
    later = judge(made.record, bench.seen())
    assert later.flaw == made.flaw
    assert judge(None, bench.seen()).flaw == ""  # the record was cleared


@pytest.mark.parametrize(
    ("resets", "clock", "safe", "back"),
    [
        (8, 100, True, False),
        (8, 2000, True, False),
        (7, 1000, True, False),
        (7, 999, True, True),
        (7, 999, False, False),  # a power cut sets the clock back by itself
        (6, 5000, True, True),
        (6, 5000, False, True),
    ],
)
def test_when_counters_went_back(
    bench: Bench, resets: int, clock: int, safe: bool, back: bool
) -> None:
    known = msgspec.structs.replace(recorded(bench), reset_count=7, clock=1000)
    base = bench.seen()
    seen = TpmEvidence(
        ek=base.ek,
        ak=base.ak,
        pcrs=base.pcrs,
        reset_count=resets,
        clock=clock,
        safe=safe,
        secure_boot=True,
    )
    made = judge(known, seen)
    assert (made.flaw != "") is back
    assert made.record is not None and made.record.set_back is back


def test_another_build_is_a_flaw_as_long_as_it_runs(bench: Bench) -> None:
    known = recorded(bench)
    bench.boot(build="2")
    made = judge(known, bench.seen())
    what = "it measured something else than when its TPM was recorded, in PCR"
    assert made.event is FAILED and made.flaw == f"{what} 8"
    assert made.record is not None and made.record.pcrs == known.pcrs
    bench.boot()
    assert judge(made.record, bench.seen()).flaw == ""
    both = msgspec.structs.replace(known, pcrs=known.pcrs | {0: "", 7: ""})
    assert judge(both, bench.seen()).flaw == f"{what} 0, 7"


def test_without_secure_boot_no_host_is_accepted(bench: Bench) -> None:
    bench.boot(Firmware(secure_boot=False))
    made = judge(None, bench.seen())
    assert (made.flaw, made.event) == ("it booted without Secure Boot", FAILED)
    assert made.record is not None


def test_a_flaw_is_told_once_until_it_is_gone_or_another(bench: Bench) -> None:
    known = recorded(bench)
    one, other, good = (
        failure_judgement(known, "one"),
        failure_judgement(known, "other"),
        judge(known, bench.seen()),
    )
    assert attestation_of(one, 1.0) == AttestationRow(
        at=1.0, status=AttestationStatus.NOT_ACCEPTED, message="one", event=FAILED
    )
    assert is_news(None, one)
    assert not is_news(attestation_of(one, 1.0), one)
    assert is_news(attestation_of(one, 1.0), other)
    assert is_news(attestation_of(good, 1.0), one)
    assert not is_news(attestation_of(one, 1.0), good)
    assert not is_news(None, good)
