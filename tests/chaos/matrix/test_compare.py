"""Letters meet the table only at the end: agree, disagree, void, and the parts of a cell."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.matrix.compare import CellRow, Part, letter_of, row_of
from chaos.matrix.grid import (
    BLOCKS,
    Staging,
    cells_of,
    controls_of,
    events_of_staging,
    stagings_of,
)
from chaos.matrix.judging.account import Witness
from chaos.matrix.play import PlayedEvent
from chaos.matrix.terms import Agreement, Boot
from chaos.oracle.table import cell
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from tests.chaos.matrix.cells import PLAYED

ALL = cells_of(BLOCKS, tuple(TableFault), tuple(TableEvent))


def staging(fault: TableFault = TableFault.F1, boot: Boot = Boot.ORDERLY, **more: Any) -> Staging:
    return Staging(block=Block.S10, fault=fault, boot=boot, events=(), **more)


def row(
    event: TableEvent, *letters: str, fault: TableFault = TableFault.F1, **more: Any
) -> CellRow:
    plays = [
        (staging(fault, boot), PlayedEvent(event=event, letter=letter, records=(number,), **more))
        for number, (boot, letter) in enumerate(zip(Boot, letters, strict=False), 1)
    ]
    return row_of(cell(Block.S10, fault, event), "matrix-sim-1", plays)


def test_a_letter_agrees_with_the_table_or_does_not() -> None:
    agrees = row(TableEvent.E4, "LK", "LK")
    assert (agrees.verdict, agrees.expected, agrees.observed) == ("agree", "LK", "LK")
    assert agrees.reasons == (6,) and agrees.tag == "d"
    assert [(e.staging, e.records) for e in agrees.evidence] == [
        ("S10-F1-orderly", (1,)),
        ("S10-F1-power_loss", (2,)),
    ]
    differs = row(TableEvent.E4, "OK", "OK", why="it runs")
    assert differs.verdict is Agreement.DISAGREE and "it runs" in differs.why
    assert row(TableEvent.E4, "??", "??").verdict is Agreement.DISAGREE


def test_the_way_a_host_goes_down_must_not_matter() -> None:
    differs = row(TableEvent.E4, "LK", "OK")
    assert (differs.observed, differs.verdict) == ("??", "disagree")
    assert "how it is played: orderly LK, power_loss OK" in differs.why


def test_the_way_in_which_a_fault_is_made_must_not_matter_either() -> None:
    ways = stagings_of([cell(Block.S10, TableFault.F8, TableEvent.E11)], variants=True)
    assert [one.variant for one in ways] == ["", "deactivated", "compromised"]
    assert [one.name for one in ways[:2]] == ["S10-F8-orderly", "S10-F8-deactivated-orderly"]

    def found(*letters: str, keys: tuple[int, ...] = (0, 0, 0)) -> tuple[str, str, Any]:
        return letter_of(
            [
                (way, PlayedEvent(event=TableEvent.E11, letter=letter, parts={"vm_keys": number}))
                for way, letter, number in zip(ways, letters, keys, strict=True)
            ]
        )

    assert found("PT", "PT", "PT")[::2] == ("PT", {"vm_keys": 0})
    letter, why, _ = found("PT", "PT", "OK")
    assert letter == "??" and "compromised orderly OK" in why
    assert found("PT", "PT", "PT", keys=(0, 1, 0))[2] == {"vm_keys": "0 or 1"}


def test_a_fault_has_the_variants_that_its_block_allows() -> None:
    sealed = stagings_of([cell(Block.S10, TableFault.F5A, TableEvent.E3)], variants=True)
    assert [one.variant for one in sealed] == ["", "exec-option", "tpm-disabled"]
    bare = stagings_of([cell(Block.S00, TableFault.F5A, TableEvent.E3)], variants=True)
    assert [one.variant for one in bare] == ["", "exec-option"]
    names = [one.name for one in stagings_of(ALL, variants=True)]
    assert len(set(names)) == len(names) > len(stagings_of(ALL))


def test_a_play_that_failed_is_void_and_one_that_leaves_a_trace_disagrees() -> None:
    assert row(TableEvent.E4, "LK", "LK", void="it does not bite").verdict is Agreement.VOID
    disturbed = row(TableEvent.E4, "LK", "LK", disturbed="it does not start")
    assert disturbed.verdict is Agreement.DISAGREE and "after the fault" in disturbed.why


def test_a_letter_that_was_wrong_stays_so_when_nothing_can_be_healed() -> None:
    """It was fixed before: what comes after may make it worse, and never void."""
    void = row(TableEvent.E4, "LK", "LK", unhealed="it is not over")
    assert (void.verdict, void.why) == ("void", "it is not over")
    assert row(TableEvent.E4, "OK", "OK", unhealed="it is not over").verdict is Agreement.DISAGREE
    bare = row(TableEvent.E4, "LK", "LK", unhealed="it is not over", exposed="e4-off in k1/x")
    assert bare.verdict is Agreement.DISAGREE


def test_a_letter_without_its_witness_disagrees() -> None:
    held, lacking = (Witness(reason=6, held=held, seen="seen") for held in (True, False))
    assert row(TableEvent.E4, "LK", "LK", witnesses=(held,)).witness == (held,)
    found = row(TableEvent.E4, "LK", "LK", witnesses=(held, lacking))
    assert found.verdict is Agreement.DISAGREE and "no witness of reason 6" in found.why


WHOLE: dict[str, Part] = {
    "host_in_inventory": True,
    "host_crypto_state": "prepared",
    "host_key": "absent",
    "vm_keys": 0,
    "move_to_new_host": "refused",
    "unencrypted_move": "ok",
    "after_fault_ends": "safe, all keys, move ok",
}


def test_every_part_that_can_be_shown_must_be() -> None:
    shown = row(TableEvent.E11, "PT", parts=WHOLE)
    assert shown.verdict is Agreement.AGREE and shown.parts == WHOLE
    for name in WHOLE:
        lacks = {key: value for key, value in WHOLE.items() if key != name}
        assert row(TableEvent.E11, "PT", parts=lacks).verdict is Agreement.DISAGREE
    assert row(TableEvent.E11, "PT", parts={**WHOLE, "vm_keys": 1}).verdict is Agreement.DISAGREE


@pytest.mark.parametrize(
    ("first", "late", "letter", "verdict"),
    [
        ("OK", "LK", "PT", "agree"),
        ("OK", "OK", "OK", "disagree"),
        ("LK", "LK", "LK", "disagree"),
        ("OK", "NO", "PT", "disagree"),
        ("OK", "??", "??", "disagree"),
    ],
)
def test_before_and_after_an_eviction_are_parts_of_one_cell(
    first: str, late: str, letter: str, verdict: str
) -> None:
    over: dict[str, Part] = {"after_fault_ends": "unlocked, power-on ok"}
    plays = [
        (staging(TableFault.F7), PlayedEvent(event=TableEvent.E3, letter=first)),
        (
            staging(TableFault.F7, evicted=True),
            PlayedEvent(event=TableEvent.E3, letter=late, parts=over),
        ),
    ]
    found = row_of(cell(Block.S10, TableFault.F7, TableEvent.E3), "run", plays)
    assert (found.observed, found.verdict) == (letter, verdict)
    assert found.parts == {"in_grace": first, "evicted": late, **over}


def test_every_cell_that_applies_is_played_and_no_other() -> None:
    applies = [c for c in ALL if c.letter is not Letter.NONE]
    assert len(ALL) == len(applies) == PLAYED
    for isolate in (False, True):
        stagings = stagings_of(ALL, isolate=isolate)
        assert len({one.name for one in stagings}) == len(stagings)
        played = {(s.block, s.fault, event) for s in stagings for event in s.events}
        assert played == {(c.block, c.fault, c.event) for c in ALL}
    batched = stagings_of(ALL)
    lost = {s.events for s in batched if s.boot is Boot.POWER_LOSS}
    assert lost == {(TableEvent.E2, TableEvent.E4), (TableEvent.E12,)}
    late = [s for s in batched if s.evicted]
    assert {(s.fault, s.events) for s in late} == {
        (TableFault.F7, (TableEvent.E3, TableEvent.E5, TableEvent.E7))
    }


def test_what_is_about_a_vsan_has_labs_of_its_own_and_both_answers_to_a_deletion() -> None:
    batched = stagings_of(ALL)
    assert all(s.events == (TableEvent.E12,) for s in batched if TableEvent.E12 in s.events)
    answers = {(s.block, s.fault, s.events) for s in batched if s.knobs and not s.expired}
    standard = (Block.S00, Block.S10, Block.S11)
    assert answers == {(block, TableFault.F7, (TableEvent.E12,)) for block in standard}
    names = [one.name for one in stagings_of([cell(Block.S10, TableFault.F7, TableEvent.E12)])]
    assert names == [
        "S10-F7-orderly-E12",
        "S10-F7-power_loss-E12",
        "S10-F7-orderly-remove-E12",
        "S10-F7-power_loss-remove-E12",
    ]


def test_tokens_expire_under_both_values_of_the_knob_in_one_kind_of_lab() -> None:
    late = [s for s in stagings_of(ALL) if s.expired]
    assert {s.block for s in late} == {Block.T10, Block.T11} and len(late) == 8
    assert {events_of_staging(s) for s in late} == {(TableEvent.E3, TableEvent.E5, TableEvent.E7)}
    ways = stagings_of([cell(Block.T10, TableFault.F4, TableEvent.E3)])
    plays = [
        (way, PlayedEvent(event=TableEvent.E3, letter=one))
        for way, one in zip(ways, ("OK", "OK", "NO"), strict=True)
    ]
    found, _, parts = letter_of(plays)
    assert (found, parts) == (
        "PT",
        {"token_alive": "OK", "token_expired_unreachable_only": "OK", "token_expired_never": "NO"},
    )


@pytest.mark.parametrize(
    ("refuse", "remove", "letter"),
    [
        (("OK", "OK"), ("NO", "NO"), "PT"),
        (("OK", "OK"), ("OK", "OK"), "OK"),
        (("OK", "NO"), ("NO", "NO"), "??"),
        (("OK", "OK"), ("NO", "OK"), "??"),
        (("OK", "OK"), ("??", "??"), "??"),
    ],
)
def test_settings_of_a_knob_are_cases_of_one_cell(
    refuse: tuple[str, str], remove: tuple[str, str], letter: str
) -> None:
    ways = stagings_of([cell(Block.S10, TableFault.F7, TableEvent.E12)])
    plays = [
        (way, PlayedEvent(event=TableEvent.E12, letter=one))
        for way, one in zip(ways, (*refuse, *remove), strict=True)
    ]
    found, why, parts = letter_of(plays)
    assert found == letter and "evicted" not in parts
    assert (found != "??") or "vsan_provider_delete=remove" in why or "??" in (*refuse, *remove)


def test_an_event_that_waits_for_a_boot_has_the_host_that_boots() -> None:
    def events(fault: TableFault, *played: TableEvent) -> tuple[TableEvent, ...]:
        one = Staging(block=Block.S10, fault=fault, boot=Boot.ORDERLY, events=played)
        return events_of_staging(one)

    assert events(TableFault.F5A, TableEvent.E9) == (TableEvent.E2, TableEvent.E9)
    assert events(TableFault.F1, TableEvent.E9) == (TableEvent.E9,)
    assert events(TableFault.F5A, TableEvent.E3) == (TableEvent.E3,)


def test_what_is_encrypted_and_lies_in_clear_spoils_every_letter() -> None:
    found = row(TableEvent.E4, "LK", "LK", exposed="e4-off in vms/e4-off/disk-1.vmdk")
    assert found.verdict is Agreement.DISAGREE and found.why.startswith("in clear: e4-off")


def test_each_block_has_its_controls() -> None:
    controls = controls_of(ALL)
    usual = [one for one in controls if one.events == (TableEvent.E1, TableEvent.E3, TableEvent.E5)]
    of_vsan = [one for one in controls if one.events == (TableEvent.E12,)]
    assert [one.block for one in usual] == list(BLOCKS)
    assert [str(one.block) for one in of_vsan] == ["S00", "S10", "S11", "N0x", "N1x"]
    assert len(controls) == len(usual) + len(of_vsan) and all(one.control for one in controls)
    assert {one.name for one in controls}.isdisjoint(one.name for one in stagings_of(ALL))


def test_what_is_odd_of_a_play_disagrees_and_is_told_before_the_letter() -> None:
    odd = row(TableEvent.E4, "LK", "LK", odd="a stranger was let in")
    assert (odd.verdict, odd.why) == (Agreement.DISAGREE, "a stranger was let in")
    both = row(TableEvent.E4, "OK", "OK", odd="a stranger was let in", why="it runs")
    assert both.why == "a stranger was let in; OK, and the table says LK: it runs"


def test_an_order_of_events_disagrees_where_the_letter_agrees() -> None:
    found = row(TableEvent.E4, "LK", "LK", order="too late", disturbed="it does not start")
    assert (found.verdict, found.why) == (Agreement.DISAGREE, "events of vCenter: too late")
    wrong = row(TableEvent.E4, "OK", "OK", order="too late", why="it runs")
    assert wrong.why == "OK, and the table says LK: it runs"
    bare = row(TableEvent.E4, "LK", "LK", order="too late", exposed="k in the bus")
    assert bare.why == "in clear: k in the bus"


def test_what_made_a_play_void_is_told_before_what_could_not_be_healed() -> None:
    found = row(TableEvent.E4, "LK", "LK", void="it does not bite", unhealed="it is not over")
    assert (found.verdict, found.why) == (Agreement.VOID, "it does not bite")


def test_what_nobody_played_has_no_letter() -> None:
    assert letter_of([])[0] == "??"
