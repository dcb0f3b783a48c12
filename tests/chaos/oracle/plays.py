"""Each cell of the truth table as a play on the model: staging, fault, event, and what is asked.

A play gives one outcome, or several where its cell holds partly: each under the name of its part.
"""

from __future__ import annotations

from collections.abc import Callable

from chaos.oracle.facts import Ask, Attestation, Change, Kdk, Kind, Overrides, Place
from chaos.oracle.judgement import Outcome
from chaos.oracle.terms import Block, Event, Fault, Letter
from tests.chaos.oracle.staging import VM, Staging

Outcomes = dict[str, Outcome]
CHANGES = {Fault.F5A: Change.POLICY, Fault.F5B: Change.IMAGE, Fault.F6: Change.TPM}
DOES_NOT_APPLY = {"": Outcome(Letter.NONE)}


def staging_of(block: Block) -> Staging:
    kind = {"S": Kind.STANDARD, "T": Kind.TRUSTED, "N": Kind.NATIVE}[block[0]]
    return Staging(kind, tpm=block[1] == "1", persistence=block[2] == "1")


def play(block: Block, fault: Fault, event: Event) -> Outcomes:
    """The outcomes of this cell's play, by part; under an empty name when there is one only."""
    made = staging_of(block)
    if fault is Fault.F3 and made.kind is not Kind.TRUSTED:
        return DOES_NOT_APPLY
    if fault is Fault.F6 and not made.tpm:
        return DOES_NOT_APPLY
    return PLAYS[event](block, fault)


def staged(block: Block, fault: Fault, event: Event) -> Staging:
    """The lab with the fault in it, as the event finds it."""
    made = staging_of(block)
    on = {Event.E1: "A", Event.E3: "A", Event.E11: "N"}.get(event, "B")
    if event is Event.E11 and made.tpm and fault in (Fault.F5A, Fault.F6):
        on = "B"
    match fault:
        case Fault.F1:
            made.kms = made.kms_from_host = False
        case Fault.F2:
            made.vcenter = False
        case Fault.F3:
            made.services = False
        case Fault.F4:
            made.vcenter = made.kms = made.kms_from_host = made.services = False
        case Fault.F5A | Fault.F5B | Fault.F6:
            _changed(made, fault, event, on)
        case Fault.F7:
            if event is not Event.E12 or made.kind is not Kind.STANDARD:
                made.delete_provider()
        case Fault.F8:
            _gone(made, event)
        case Fault.F0:
            pass
    return made


def _changed(made: Staging, fault: Fault, event: Event, on: str) -> None:
    host = made.hosts[on]
    if event is Event.E1 and made.kind is Kind.TRUSTED and fault is Fault.F5B:
        # The image of A's running build is withdrawn, and A is made to attest.
        host.image_known, host.attestation = False, Attestation.REFUSED
        return
    host.change = CHANGES[fault]
    if fault is Fault.F5B and made.kind is Kind.TRUSTED and event is not Event.E3:
        host.image_known = False
    if event not in (Event.E1, Event.E3) and on == "B":
        made.boot("B")
        if event in (Event.E2, Event.E4, Event.E12):
            made.reconnect("B")
        elif made.kind is Kind.NATIVE:
            host.kdk = Kdk.ABSENT  # asked before vCenter has come to it


def _gone(made: Staging, event: Event) -> None:
    match made.kind:
        case Kind.STANDARD if event is Event.E12:
            made.vsan_key_usable = False
        case Kind.STANDARD:
            made.vm_key_usable = False
        case Kind.TRUSTED:
            made.key_usable = False
        case Kind.NATIVE:
            # Made again under its name, pushed, and not made default.
            made.vcenter_kdk = Kdk.OTHER
            for name in "ABCD":
                made.hosts[name].kdk = Kdk.OTHER


def _running(block: Block, fault: Fault) -> Outcomes:
    made = staged(block, fault, Event.E1)
    before = made.answer(Ask.RUN, "A")
    if fault is not Fault.F7:
        return {"": before}
    made.evict()
    assert made.answer(Ask.RUN, "A") == before  # a running VM does not lose its data keys
    return {"": before}


def _booted(block: Block, fault: Fault) -> Outcomes:
    made = staged(block, fault, Event.E2)
    if fault not in CHANGES:
        made.boot("B")
        made.reconnect("B")
    return {"": made.answer(Ask.BOOT, "B")}


def _started(block: Block, fault: Fault) -> Outcomes:
    return _at_hand(block, fault, Event.E3, Ask.START, "A")


def _started_after_boot(block: Block, fault: Fault) -> Outcomes:
    made = staged(block, fault, Event.E4)
    if fault not in CHANGES:
        made.boot("B")
        made.reconnect("B")
    return {"": made.answer(Ask.START, "B")}


def _restarted_with_key(block: Block, fault: Fault) -> Outcomes:
    return _at_hand(block, fault, Event.E5, Ask.RESTART, "C")


def _moved_with_key(block: Block, fault: Fault) -> Outcomes:
    return _at_hand(block, fault, Event.E7, Ask.MOVE, "C")


def _at_hand(block: Block, fault: Fault, event: Event, ask: Ask, host: str) -> Outcomes:
    """What is asked of a host that has the key; the forks of cells that hold partly."""
    made = staged(block, fault, event)
    first = made.answer(ask, host)
    if fault is Fault.F7:
        made.evict()
        return {"in_grace": first, "evicted": made.answer(ask, host)}
    if made.kind is Kind.NATIVE and fault is Fault.F8:
        made.hosts[host].places[VM] = Place()
        return {"kek_cached": first, "kek_cold": made.answer(ask, host)}
    if (
        made.kind is Kind.TRUSTED
        and fault in (Fault.F3, Fault.F4)
        and made.ask(ask, host).goes_ahead
    ):
        made.hosts[host].attestation = Attestation.UNKNOWN
        expired = made.answer(ask, host)
        made.overrides = Overrides.NEVER
        return {
            "token_alive": first,
            "token_expired_unreachable_only": expired,
            "token_expired_never": made.answer(ask, host),
        }
    return {"": first}


def _restarted_without_key(block: Block, fault: Fault) -> Outcomes:
    return _without_key(block, fault, Event.E6, Ask.RESTART)


def _moved_without_key(block: Block, fault: Fault) -> Outcomes:
    return _without_key(block, fault, Event.E8, Ask.MOVE)


def _without_key(block: Block, fault: Fault, event: Event, ask: Ask) -> Outcomes:
    """D, which has not got the key; or B, which booted under the fault and is asked at once."""
    made = staged(block, fault, event)
    target = "B" if fault in CHANGES else "D"
    made.hosts[target].places[VM] = Place()
    if fault is Fault.F7:
        made.evict()
        made.hosts[target].evicted = False  # it had nothing that could leave it
    return {"": made.answer(ask, target)}


def _created(block: Block, fault: Fault) -> Outcomes:
    made = staged(block, fault, Event.E9)
    through = made.answer(Ask.CREATE, "A", key_usable=made.key_usable)
    if made.kind is Kind.NATIVE and not made.vcenter:
        return {"through_vc": through, "on_host": made.answer(Ask.CREATE, "A", on_host=True)}
    return {"": through}


def _recrypted(block: Block, fault: Fault) -> Outcomes:
    made = staged(block, fault, Event.E10)
    other = fault is Fault.F7 or (fault is Fault.F8 and made.kind is not Kind.STANDARD)
    first = made.answer(Ask.RECRYPT, "A", to_another=other)
    if made.kind is Kind.NATIVE and fault is Fault.F8:
        made.hosts["A"].places[VM] = Place()
        return {"kek_cached": first, "kek_cold": made.answer(Ask.RECRYPT, "A", to_another=True)}
    return {"": first}


def _joined(block: Block, fault: Fault) -> Outcomes:
    made = staged(block, fault, Event.E11)
    new = made.hosts["N"]
    if made.kind is Kind.TRUSTED:
        # In the rows of the services and their keys, N is prepared in full; else not at all,
        # or, with another build, in all but its image.
        new.enrolled = fault not in (Fault.F0, Fault.F5A, Fault.F6)
    return {"": made.answer(Ask.JOIN, "N")}


def _mounted(block: Block, fault: Fault) -> Outcomes:
    made = staged(block, fault, Event.E12)
    deleted = fault is Fault.F7 and made.kind is Kind.STANDARD
    if not deleted:
        if fault not in CHANGES:
            made.boot("B")
        return {"": made.answer(Ask.MOUNT, "B")}
    made.boot("B")
    refused = made.answer(Ask.MOUNT, "B")  # deletion was refused: nothing has changed
    made = staging_of(block)
    made.delete_provider()
    made.boot("B")
    return {"refuse": refused, "remove": made.answer(Ask.MOUNT, "B")}


PLAYS: dict[Event, Callable[[Block, Fault], Outcomes]] = {
    Event.E1: _running,
    Event.E2: _booted,
    Event.E3: _started,
    Event.E4: _started_after_boot,
    Event.E5: _restarted_with_key,
    Event.E6: _restarted_without_key,
    Event.E7: _moved_with_key,
    Event.E8: _moved_without_key,
    Event.E9: _created,
    Event.E10: _recrypted,
    Event.E11: _joined,
    Event.E12: _mounted,
}


def letter_of(outcomes: Outcomes) -> Letter:
    """The letter of a cell: the one that all parts have, else ``PT``."""
    letters = {found.letter for found in outcomes.values()}
    return letters.pop() if len(letters) == 1 else Letter.PARTLY


def reasons_of(outcomes: Outcomes) -> set[int]:
    return {number for found in outcomes.values() for number in found.reasons}
