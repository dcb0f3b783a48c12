"""One fold says which faults are there at each moment of a history."""

from __future__ import annotations

from typing import Any

from chaos.history import ActiveFaults, Record


def record(seq: int, type: str, op: str = "heal", **data: Any) -> Record:
    return Record(seq=seq, t=float(seq), node="", type=type, op=op, data=data)


CUT = record(1, "fault", "link.cut", id="wan")
BAD = record(2, "fault", "proc.kill", id="bad", error="KS-CHAOS-101")
CLEAR = record(3, "fault", "tpm.clear", id="clear")


def after(*records: Record) -> ActiveFaults:
    made = ActiveFaults()
    for one in records:
        made.take(one)
    return made


def test_a_fault_is_there_from_its_begin_until_it_was_seen_gone() -> None:
    active = after(CUT, BAD, CLEAR)
    assert [id for id, _ in active.bite()] == ["wan", "clear"]  # a failed one bites nobody
    assert active.ids_to_heal() == ("wan", "bad", "clear")  # and has to be seen gone all the same
    assert active.take(record(4, "heal", id="wan", verified=False)) is None
    assert "wan" in active.began
    assert active.take(record(5, "heal", id="wan", verified=True)) == CUT
    assert active.take(record(6, "heal", id="wan", verified=True)) is None  # gone already
    assert active.ids_to_heal() == ("bad", "clear")


def test_what_has_no_undo_bites_on_and_is_owed_no_more() -> None:
    active = after(CLEAR, record(4, "heal", id="clear", verified=False, stays=True))
    assert [id for id, _ in active.bite()] == ["clear"]
    assert (active.ids_to_heal(), active.stays) == ((), {"clear"})
    assert active.take(record(5, "heal", id="clear", verified=True)) == CLEAR  # its cure
    assert (active.began, active.stays) == ({}, set())


def test_heals_of_nothing_and_other_records_change_nothing() -> None:
    active = after(
        CUT,
        record(2, "heal", id="other", verified=True),
        record(3, "heal", id="other", verified=False, stays=True),
        record(4, "note", "ending", id="wan"),
    )
    assert (active.began, active.stays) == ({"wan": CUT}, set())
