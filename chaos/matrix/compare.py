"""Letters against the table: read only when all of them are fixed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from chaos.matrix.grid import Staging
from chaos.matrix.judging.account import Witness
from chaos.matrix.play import PlayedEvent
from chaos.matrix.terms import UNCLEAR, Agreement
from chaos.oracle.table import Cell, parts
from chaos.oracle.terms import Letter

Part = bool | int | str

_OVERRIDES: Final = ("persist_overrides_attestation", "unreachable_only")
"""The knob that decides when tokens have expired, and its own value."""


class EvidencePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where it stands: the staging's history in the run's folder, and the ``seq`` of records."""

    run: str
    staging: str
    records: tuple[int, ...]


class CellRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cell as it was played and as the table has it, by its names there.

    ``witness``: of each reason that has one, whether the letter came from that cause.
    ``why``: what of the evidence decided. ``parts``: of a cell that holds partly, what was seen;
    ``finding``: what else must be known, such as a letter that other plays in the same lab had
    changed.
    """

    block: str
    fault: str
    event: str
    expected: str
    observed: str
    verdict: Agreement
    tag: str | None
    reasons: tuple[int, ...]
    parts: dict[str, Part] = {}
    witness: tuple[Witness, ...] = ()
    evidence: tuple[EvidencePlace, ...] = ()
    why: str = ""
    finding: str = ""


def row_of(cell: Cell, run: str, plays: Sequence[tuple[Staging, PlayedEvent]]) -> CellRow:
    """One cell from all of its plays."""
    observed, why, seen = letter_of(plays)
    void = "; ".join(dict.fromkeys(played.void for _, played in plays if played.void))
    wanted = parts(cell.block, cell.fault, cell.event)
    expected = {} if wanted is None else wanted.parts
    disturbed = next((played.disturbed for _, played in plays if played.disturbed), "")
    unheard = next((w for _, played in plays for w in played.witnesses if not w.held), None)
    order = next((played.order for _, played in plays if played.order), "")
    wrong = disagreement(cell, observed, why, seen, expected, unheard)
    if odd := next((played.odd for _, played in plays if played.odd), ""):
        wrong = "; ".join(filter(None, (odd, wrong)))
    bare = next((played.exposed for _, played in plays if played.exposed), "")
    if bare:
        wrong = "; ".join(filter(None, (wrong, f"in clear: {bare}")))
    elif not wrong and (order or disturbed):
        wrong = f"events of vCenter: {order}" if order else f"after the fault was over: {disturbed}"
    unhealed = next((played.unhealed for _, played in plays if played.unhealed), "")
    if unhealed and not bare and observed == cell.letter:
        void = void or unhealed  # its aftermath is not known, and might have been wrong
    verdict = Agreement.VOID if void else Agreement.DISAGREE if wrong else Agreement.AGREE
    return CellRow(
        block=cell.block,
        fault=cell.fault,
        event=cell.event,
        expected=cell.letter,
        observed=observed,
        verdict=verdict,
        tag=cell.tag,
        reasons=cell.reasons,
        parts=seen if wanted is not None else {},
        witness=tuple(dict.fromkeys(w for _, played in plays for w in played.witnesses)),
        evidence=tuple(
            EvidencePlace(run=run, staging=staging.name, records=played.records)
            for staging, played in plays
        ),
        why=void or wrong or why,
    )


def letter_of(plays: Sequence[tuple[Staging, PlayedEvent]]) -> tuple[str, str, dict[str, Part]]:
    """The letter of a cell that was played in several ways, why, and its parts.

    Kinds of boot must not differ, nor the ways in which a fault is made. Cases may
    (``Staging.case``): before and after an eviction or the end of tokens, or under another setting
    of a knob. They are parts of one cell.
    """
    seen = _parts(plays)
    cases: dict[tuple[object, ...], list[str]] = {}
    for staging, played in plays:
        cases.setdefault(staging.case, []).append(played.letter)
    why = "; ".join(dict.fromkeys(played.why for _, played in plays if played.why))
    if any(len(set(letters)) != 1 for letters in cases.values()) or not cases:
        return UNCLEAR, f"it depends on how it is played: {_each(plays)}", seen
    seen = {**_late(plays), **seen}
    whole = list(dict.fromkeys(letters[0] for letters in cases.values()))
    if len(whole) == 1:
        return whole[0], why, seen
    return UNCLEAR if UNCLEAR in whole else Letter.PARTLY, why, seen


def _late(plays: Sequence[tuple[Staging, PlayedEvent]]) -> dict[str, Part]:
    """Where a cell is played at several times, its letter at each."""
    names = {"evicted": "in_grace", "expired": "token_alive"}
    times = [time for time in names if any(getattr(staging, time) for staging, _ in plays)]
    found: dict[str, Part] = {}
    for staging, played in plays:
        for time in times:
            if not getattr(staging, time):
                found.setdefault(names[time], played.letter)
            elif time == "evicted":
                found[time] = played.letter
            else:
                knob = dict(staging.knobs).get(*_OVERRIDES)
                found[f"token_expired_{knob}"] = played.letter
    return found


def _parts(plays: Sequence[tuple[Staging, PlayedEvent]]) -> dict[str, Part]:
    """Each part as every play showed it; where they differ, all that was shown."""
    shown: dict[str, list[Part]] = {}
    for _, played in plays:
        for name, value in played.parts.items():
            if value not in shown.setdefault(name, []):
                shown[name].append(value)
    return {
        name: values[0] if len(values) == 1 else " or ".join(map(str, values))
        for name, values in shown.items()
    }


def _each(plays: Sequence[tuple[Staging, PlayedEvent]]) -> str:
    """What each play came to."""
    return ", ".join(f"{staging.way} {played.letter}" for staging, played in plays)


def disagreement(
    cell: Cell,
    observed: str,
    why: str,
    seen: Mapping[str, Part],
    expected: Mapping[str, Part],
    unheard: Witness | None,
) -> str:
    """Empty when the cell agrees; else what does not."""
    if observed != cell.letter:
        return f"{observed}, and the table says {cell.letter}: {why}"
    for name, value in expected.items():
        if seen.get(name) != value:
            return f"part {name} is {seen.get(name)!r}, and the table says {value!r}"
    if unheard is not None:
        return f"no witness of reason {unheard.reason}: {unheard.seen}"
    return ""
