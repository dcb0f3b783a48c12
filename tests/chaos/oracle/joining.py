"""What becomes of a host that is added during a fault, part by part, by the model alone."""

from __future__ import annotations

from typing import Any

from chaos.oracle.facts import AttestationVerdict, Kdk, KeyProviderKind, Question
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from tests.chaos.oracle.plays import staged, staging_of
from tests.chaos.oracle.staging import HOST, Staging

Parts = dict[str, bool | int | str]


def joined_parts(block: Block, fault: TableFault) -> Parts:
    """The parts of cell E11 that rest on keys and attestation."""
    made = staged(block, fault, TableEvent.E11)
    new = made.hosts["N"]
    prepared = fault not in (TableFault.F0, TableFault.F5A, TableFault.F6)
    if made.kind is KeyProviderKind.TRUSTED:
        new.enrolled = prepared
    found: Parts = {"host_in_inventory": made.answer(Question.JOIN, "N").letter is not Letter.NO}
    made.reconnect("N")
    found |= _seen(made)
    found["unencrypted_move"] = _move(made, encrypted=False)
    match made.kind:
        case KeyProviderKind.STANDARD:
            _standard(made, found, fault)
        case KeyProviderKind.TRUSTED:
            _trusted(made, found, fault)
        case KeyProviderKind.NATIVE:
            found["kdk_p"] = {Kdk.ABSENT: "absent", Kdk.OTHER: "the new one"}[new.kdk]
            found["move_old_vm"] = found["move_to_new_host"]
    return found


def _seen(made: Staging) -> Parts:
    safe = made.answer(Question.BOOT, "N", booted=True).letter is Letter.SAFE
    return {
        "host_crypto_state": "safe" if safe else "prepared",
        "move_to_new_host": _move(made),
        "vm_keys": len(made.hosts["N"].places),
    }


def _move(made: Staging, **facts: Any) -> str:
    return "ok" if made.answer(Question.MOVE, "N", **facts).letter is Letter.OK else "refused"


def _standard(made: Staging, found: Parts, fault: TableFault) -> None:
    found["host_key"] = "present" if HOST in made.hosts["N"].places else "absent"
    if fault is TableFault.F8:
        found["move_hit_vm"] = _move(made)
        found["move_other_vm"] = _move(made, key_usable=True)
        found["vm_keys"] = "all but the hit one"
        return
    made.kms = made.listed = made.default = True
    made.reconnect("N")
    after = _seen(made)
    if after["host_crypto_state"] == "safe" and after["vm_keys"] == 2:
        moved = ", move ok" if fault is TableFault.F1 and after["move_to_new_host"] == "ok" else ""
        found["after_fault_ends"] = f"safe, all keys{moved}"


def _trusted(made: Staging, found: Parts, fault: TableFault) -> None:
    new = made.hosts["N"]
    attested = made.ask(Question.MOVE, "N").would_be_attested
    unknown = "notAttested or unknown" if not new.enrolled else "unknown"
    refused = "notAttested" if made.ask(Question.MOVE, "N").refused_attestation else unknown
    found["attestation"] = "attested" if attested else refused
    found["provider_on_host"] = "present" if made.listed else "absent"
    if not new.enrolled:
        new.image_known = False
        new.enrolled = True
        still = "still refused" if _move(made) == "refused" else "ok"
        found["after_registering_ek_only"] = still
    healed = staging_of(Block.T10)
    healed.hosts["N"].attestation = AttestationVerdict.UNKNOWN
    after = _seen(healed)
    if (after["host_crypto_state"], after["move_to_new_host"]) == ("safe", "ok"):
        for name, text in {
            "after_ek_image_and_remediation": "attested, safe, move ok",
            "after_image_import": "attested, safe, move ok",
            "after_fault_ends": "safe, move ok",
            "after_adding_by_name": "safe, move ok",
            "after_key_restored": "safe, move ok",
        }.items():
            found[name] = text
