"""Each cell of the truth table as a play on the model: staging, fault, event, and what is asked.

A play gives one outcome, or several where its cell holds partly: each under the name of its part.
"""

from __future__ import annotations

from collections.abc import Callable

from chaos.oracle.facts import (
    AttestationVerdict,
    Change,
    Kdk,
    KeyPlace,
    KeyProviderKind,
    Overrides,
    Question,
)
from chaos.oracle.judgement import Outcome
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from tests.chaos.oracle.staging import VM, Staging

Outcomes = dict[str, Outcome]
CHANGES = {TableFault.F5A: Change.POLICY, TableFault.F5B: Change.IMAGE, TableFault.F6: Change.TPM}
DOES_NOT_APPLY = {"": Outcome(Letter.NONE)}


def staging_of(block: Block) -> Staging:
    kind = {
        "S": KeyProviderKind.STANDARD,
        "T": KeyProviderKind.TRUSTED,
        "N": KeyProviderKind.NATIVE,
    }[block[0]]
    return Staging(kind, tpm=block[1] == "1", persistence=block[2] == "1")


def play(block: Block, fault: TableFault, event: TableEvent) -> Outcomes:
    """The outcomes of this cell's play, by part; under an empty name when there is one only."""
    made = staging_of(block)
    if fault is TableFault.F3 and made.kind is not KeyProviderKind.TRUSTED:
        return DOES_NOT_APPLY
    if fault is TableFault.F6 and not made.tpm:
        return DOES_NOT_APPLY
    return PLAYS[event](block, fault)


def staged(block: Block, fault: TableFault, event: TableEvent) -> Staging:
    """The lab with the fault in it, as the event finds it."""
    made = staging_of(block)
    on = {TableEvent.E1: "A", TableEvent.E3: "A", TableEvent.E11: "N"}.get(event, "B")
    if event is TableEvent.E11 and made.tpm and fault in (TableFault.F5A, TableFault.F6):
        on = "B"
    match fault:
        case TableFault.F1:
            made.kms = made.kms_from_host = False
        case TableFault.F2:
            made.vcenter = False
        case TableFault.F3:
            made.services = False
        case TableFault.F4:
            made.vcenter = made.kms = made.kms_from_host = made.services = False
        case TableFault.F5A | TableFault.F5B | TableFault.F6:
            _changed(made, fault, event, on)
        case TableFault.F7:
            if event is not TableEvent.E12 or made.kind is not KeyProviderKind.STANDARD:
                made.delete_provider()
        case TableFault.F8:
            _gone(made, event)
        case TableFault.F0:
            pass
    return made


def _changed(made: Staging, fault: TableFault, event: TableEvent, on: str) -> None:
    host = made.hosts[on]
    if event is TableEvent.E1 and made.kind is KeyProviderKind.TRUSTED and fault is TableFault.F5B:
        # The image of A's running build is withdrawn, and A is made to attest.
        host.image_known, host.attestation = False, AttestationVerdict.REFUSED
        return
    host.change = CHANGES[fault]
    if (
        fault is TableFault.F5B
        and made.kind is KeyProviderKind.TRUSTED
        and event is not TableEvent.E3
    ):
        host.image_known = False
    if event not in (TableEvent.E1, TableEvent.E3) and on == "B":
        made.boot("B")
        if event in (TableEvent.E2, TableEvent.E4, TableEvent.E12):
            made.reconnect("B")
        elif made.kind is KeyProviderKind.NATIVE:
            host.kdk = Kdk.ABSENT  # asked before vCenter has come to it


def _gone(made: Staging, event: TableEvent) -> None:
    match made.kind:
        case KeyProviderKind.STANDARD if event is TableEvent.E12:
            made.vsan_key_usable = False
        case KeyProviderKind.STANDARD:
            made.vm_key_usable = False
        case KeyProviderKind.TRUSTED:
            made.key_usable = False
        case KeyProviderKind.NATIVE:
            # Made again under its name, pushed, and not made default.
            made.vcenter_kdk = Kdk.OTHER
            for name in "ABCD":
                made.hosts[name].kdk = Kdk.OTHER


def _running(block: Block, fault: TableFault) -> Outcomes:
    made = staged(block, fault, TableEvent.E1)
    before = made.answer(Question.RUN, "A")
    if fault is not TableFault.F7:
        return {"": before}
    made.evict()
    assert made.answer(Question.RUN, "A") == before  # a running VM does not lose its data keys
    return {"": before}


def _booted(block: Block, fault: TableFault) -> Outcomes:
    made = staged(block, fault, TableEvent.E2)
    if fault not in CHANGES:
        made.boot("B")
        made.reconnect("B")
    return {"": made.answer(Question.BOOT, "B")}


def _started(block: Block, fault: TableFault) -> Outcomes:
    return _at_hand(block, fault, TableEvent.E3, Question.START, "A")


def _started_after_boot(block: Block, fault: TableFault) -> Outcomes:
    made = staged(block, fault, TableEvent.E4)
    if fault not in CHANGES:
        made.boot("B")
        made.reconnect("B")
    return {"": made.answer(Question.START, "B")}


def _restarted_with_key(block: Block, fault: TableFault) -> Outcomes:
    return _at_hand(block, fault, TableEvent.E5, Question.RESTART, "C")


def _moved_with_key(block: Block, fault: TableFault) -> Outcomes:
    return _at_hand(block, fault, TableEvent.E7, Question.MOVE, "C")


def _at_hand(
    block: Block, fault: TableFault, event: TableEvent, ask: Question, host: str
) -> Outcomes:
    """What is asked of a host that has the key; the forks of cells that hold partly."""
    made = staged(block, fault, event)
    first = made.answer(ask, host)
    if fault is TableFault.F7:
        made.evict()
        return {"in_grace": first, "evicted": made.answer(ask, host)}
    if made.kind is KeyProviderKind.NATIVE and fault is TableFault.F8:
        made.hosts[host].places[VM] = KeyPlace()
        return {"kek_cached": first, "kek_cold": made.answer(ask, host)}
    if (
        made.kind is KeyProviderKind.TRUSTED
        and fault in (TableFault.F3, TableFault.F4)
        and made.ask(ask, host).goes_ahead
    ):
        made.hosts[host].attestation = AttestationVerdict.UNKNOWN
        expired = made.answer(ask, host)
        made.overrides = Overrides.NEVER
        return {
            "token_alive": first,
            "token_expired_unreachable_only": expired,
            "token_expired_never": made.answer(ask, host),
        }
    return {"": first}


def _restarted_without_key(block: Block, fault: TableFault) -> Outcomes:
    return _without_key(block, fault, TableEvent.E6, Question.RESTART)


def _moved_without_key(block: Block, fault: TableFault) -> Outcomes:
    return _without_key(block, fault, TableEvent.E8, Question.MOVE)


def _without_key(block: Block, fault: TableFault, event: TableEvent, ask: Question) -> Outcomes:
    """D, which has not got the key; or B, which booted under the fault and is asked at once."""
    made = staged(block, fault, event)
    target = "B" if fault in CHANGES else "D"
    made.hosts[target].places[VM] = KeyPlace()
    if fault is TableFault.F7:
        made.evict()
        made.hosts[target].evicted = False  # it had nothing that could leave it
    return {"": made.answer(ask, target)}


def _created(block: Block, fault: TableFault) -> Outcomes:
    made = staged(block, fault, TableEvent.E9)
    through = made.answer(Question.CREATE, "A", key_usable=made.key_usable)
    if made.kind is KeyProviderKind.NATIVE and not made.vcenter:
        return {"through_vc": through, "on_host": made.answer(Question.CREATE, "A", on_host=True)}
    return {"": through}


def _recrypted(block: Block, fault: TableFault) -> Outcomes:
    made = staged(block, fault, TableEvent.E10)
    other = fault is TableFault.F7 or (
        fault is TableFault.F8 and made.kind is not KeyProviderKind.STANDARD
    )
    first = made.answer(Question.RECRYPT, "A", to_another=other)
    if made.kind is KeyProviderKind.NATIVE and fault is TableFault.F8:
        made.hosts["A"].places[VM] = KeyPlace()
        return {
            "kek_cached": first,
            "kek_cold": made.answer(Question.RECRYPT, "A", to_another=True),
        }
    return {"": first}


def _joined(block: Block, fault: TableFault) -> Outcomes:
    made = staged(block, fault, TableEvent.E11)
    new = made.hosts["N"]
    if made.kind is KeyProviderKind.TRUSTED:
        # In the rows of the services and their keys, N is prepared in full; else not at all,
        # or, with another build, in all but its image.
        new.enrolled = fault not in (TableFault.F0, TableFault.F5A, TableFault.F6)
    return {"": made.answer(Question.JOIN, "N")}


def _mounted(block: Block, fault: TableFault) -> Outcomes:
    made = staged(block, fault, TableEvent.E12)
    deleted = fault is TableFault.F7 and made.kind is KeyProviderKind.STANDARD
    if not deleted:
        if fault not in CHANGES:
            made.boot("B")
        return {"": made.answer(Question.MOUNT, "B")}
    made.boot("B")
    refused = made.answer(Question.MOUNT, "B")  # deletion was refused: nothing has changed
    made = staging_of(block)
    made.delete_provider()
    made.boot("B")
    return {"refuse": refused, "remove": made.answer(Question.MOUNT, "B")}


PLAYS: dict[TableEvent, Callable[[Block, TableFault], Outcomes]] = {
    TableEvent.E1: _running,
    TableEvent.E2: _booted,
    TableEvent.E3: _started,
    TableEvent.E4: _started_after_boot,
    TableEvent.E5: _restarted_with_key,
    TableEvent.E6: _restarted_without_key,
    TableEvent.E7: _moved_with_key,
    TableEvent.E8: _moved_without_key,
    TableEvent.E9: _created,
    TableEvent.E10: _recrypted,
    TableEvent.E11: _joined,
    TableEvent.E12: _mounted,
}


def letter_of(outcomes: Outcomes) -> Letter:
    """The letter of a cell: the one that all parts have, else ``PT``."""
    letters = {found.letter for found in outcomes.values()}
    return letters.pop() if len(letters) == 1 else Letter.PARTLY


def reasons_of(outcomes: Outcomes) -> set[int]:
    return {number for found in outcomes.values() for number in found.reasons}
