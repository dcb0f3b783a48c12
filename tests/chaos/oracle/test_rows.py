"""What the model says where the truth table has no column: faults of one part only, knobs, others.

``row`` plays a block's events under a variant of a fault, as the cells are played.
"""

from __future__ import annotations

from typing import Any

import pytest

from chaos.oracle.facts import (
    AttestationVerdict,
    Kdk,
    KeyInMemory,
    KeyPlace,
    KeyProviderKind,
    Life,
    Question,
    may_persist,
)
from chaos.oracle.judgement import outcome, worst
from chaos.oracle.terms import Block, Letter
from tests.chaos.oracle.plays import staging_of
from tests.chaos.oracle.staging import HOST, VM, VSAN, Staging

OK, LK, NO, SAFE, UNSAFE = (
    Letter.OK,
    Letter.LOCKED,
    Letter.NO,
    Letter.SAFE,
    Letter.UNSAFE,
)


def _boot(made: Staging) -> Letter:
    made.boot("B")
    made.reconnect("B")
    return made.answer(Question.BOOT, "B").letter


def _start(made: Staging, host: str = "B", **facts: Any) -> Letter:
    return made.answer(Question.START, host, **facts).letter


def test_persistence_needs_a_tpm_but_for_native_providers() -> None:
    assert not may_persist(sealed=False, kinds=[KeyProviderKind.STANDARD])
    assert not may_persist(sealed=False, kinds=[KeyProviderKind.NATIVE, KeyProviderKind.TRUSTED])
    assert not may_persist(sealed=False, kinds=[])
    assert may_persist(sealed=True, kinds=[KeyProviderKind.STANDARD])
    assert may_persist(sealed=False, kinds=[KeyProviderKind.NATIVE])


def test_a_key_that_came_after_the_last_save_is_not_in_the_store() -> None:
    made = staging_of(Block.S11)
    made.hosts["B"].places["new"] = KeyPlace(KeyInMemory.CACHED, stored=False)
    made.kms = False
    assert (_boot(made), _start(made), _start(made, key="new")) == (SAFE, OK, LK)


@pytest.mark.parametrize("vcenter", [True, False])
def test_a_host_that_was_down_when_the_vm_was_made_has_no_key_to_load(vcenter: bool) -> None:
    made = staging_of(Block.S11)
    made.hosts["B"].places.pop(VM)
    made.kms, made.vcenter = False, vcenter
    assert (_boot(made), _start(made)) == (SAFE, LK)


def test_before_the_third_update_vsan_gains_nothing_by_persistence() -> None:
    made = staging_of(Block.S11)
    made.kms = made.kms_from_host = False
    made.boot("B")
    assert made.answer(Question.MOUNT, "B", vsan_persists=False).letter is NO
    assert made.answer(Question.MOUNT, "B").letter is OK and _start(made) is OK


@pytest.mark.parametrize("block", [Block.S11, Block.T11])
@pytest.mark.parametrize("remove_all", [True, False])
def test_with_persistence_disabled_a_boot_is_as_without(block: Block, remove_all: bool) -> None:
    made = staging_of(block)
    made.persistence = False
    if remove_all:
        for key, place in made.hosts["B"].places.items():
            made.hosts["B"].places[key] = KeyPlace(place.held)
    made.kms = made.services = False
    assert (_boot(made), _start(made)) == (UNSAFE, LK)
    made.persistence = True  # enabled once more: what was kept serves again
    assert (_boot(made), _start(made)) == ((UNSAFE, LK) if remove_all else (SAFE, OK))


@pytest.mark.parametrize("vcenter", [True, False])
def test_a_provider_for_hosts_with_tpm_keeps_others_out_and_locks_nothing(vcenter: bool) -> None:
    made = staging_of(Block.N0X)
    made.vcenter = vcenter
    made.hosts["B"].kdk = Kdk.ABSENT
    made.hosts["B"].places = {}
    for ask in (Question.START, Question.RESTART, Question.MOVE, Question.CREATE):
        found = made.answer(ask, "B", excluded=True)
        assert found.letter is NO and 57 in found.reasons
    assert made.answer(Question.START, "B", excluded=True, encrypted=False).letter is OK
    assert _start(made, "A") is OK


def test_a_native_provider_that_was_not_backed_up_makes_no_key() -> None:
    made = staging_of(Block.N1X)
    for ask in (Question.CREATE, Question.RECRYPT):
        found = made.answer(ask, "A", backed_up=False)
        assert (found.letter, found.reasons) == (NO, (58,))


def test_attestation_without_key_provider_service_is_as_without_both_for_keys() -> None:
    for block, host, vm in ((Block.T10, UNSAFE, LK), (Block.T11, SAFE, OK)):
        made = staging_of(block)
        made.boot("B")
        assert made.answer(Question.BOOT, "B", key_provider_service=False).letter is host
        assert _start(made, key_provider_service=False) is vm
        assert made.ask(Question.BOOT, "B", key_provider_service=False).would_be_attested
        assert made.answer(Question.MOVE, "D", key_provider_service=False).letter is NO
        assert made.answer(Question.CREATE, "A", key_provider_service=False).letter is NO


def test_a_token_that_is_alive_carries_a_host_over_the_silence_of_its_attestation() -> None:
    made = staging_of(Block.T10)
    silent: dict[str, Any] = {"attestation_service": False}
    assert made.answer(Question.RESTART, "D", **silent).letter is OK
    assert made.answer(Question.CREATE, "A", **silent).letter is OK
    made.hosts["D"].attestation = made.hosts["A"].attestation = AttestationVerdict.UNKNOWN
    assert made.answer(Question.RESTART, "D", **silent).letter is LK
    assert made.answer(Question.CREATE, "A", **silent).letter is NO
    made.boot("B")  # a token does not outlive its boot
    assert made.answer(Question.BOOT, "B", **silent).letter is UNSAFE


def test_a_primary_key_that_the_service_keeps_makes_it_independent() -> None:
    made = staging_of(Block.T10)
    made.kms = False
    made.boot("B")
    assert made.answer(Question.BOOT, "B").letter is UNSAFE
    assert made.answer(Question.BOOT, "B", primary_key_cached=True).letter is SAFE


@pytest.mark.parametrize("block", [Block.S10, Block.S11])
def test_a_host_that_vcenter_does_not_reach_is_as_if_it_was_down_and_others_are_well(
    block: Block,
) -> None:
    made = staging_of(block)
    made.cut_from_vcenter = {"B"}
    expected = (SAFE, OK) if block is Block.S11 else (UNSAFE, LK)
    assert (_boot(made), _start(made)) == expected
    assert made.answer(Question.CREATE, "A").letter is OK
    assert made.answer(Question.MOVE, "C").letter is OK
    assert made.answer(Question.MOVE, "B").letter is NO


def test_vsan_hosts_have_a_way_of_their_own_to_the_key_server() -> None:
    made = staging_of(Block.S10)
    made.kms = False
    assert (_boot(made), _start(made)) == (UNSAFE, LK)
    assert made.answer(Question.MOUNT, "B").letter is OK
    made = staging_of(Block.S10)
    made.kms_from_host = False  # the firewall rule that was forgotten
    assert (_boot(made), _start(made)) == (SAFE, OK)
    assert made.answer(Question.MOUNT, "B").letter is NO


def test_of_two_keys_the_worse_one_decides() -> None:
    made = staging_of(Block.S10)
    made.boot("B")
    good, bad = (
        made.answer(Question.START, "B"),
        made.answer(Question.START, "B", kms=False),
    )
    assert worst([good, bad]) == worst([bad, good]) == bad and bad.letter is LK
    assert worst([good, good]).letter is OK


@pytest.mark.parametrize("block", Block)
@pytest.mark.parametrize("vcenter", [True, False])
def test_a_vm_without_encryption_needs_a_host_only(block: Block, vcenter: bool) -> None:
    made = staging_of(block)
    made.kms = made.services = made.listed = False
    made.vcenter = vcenter
    made.boot("B")
    for ask in (Question.RUN, Question.START, Question.RESTART):
        assert made.answer(ask, "B", encrypted=False).letter is OK
    assert (made.answer(Question.MOVE, "B", encrypted=False).letter is OK) == vcenter
    made.hosts["B"].life = Life.SCREEN
    assert made.answer(Question.START, "B", encrypted=False).letter is NO


def test_a_host_key_that_is_gone_is_renewed_where_a_default_provider_works() -> None:
    made = staging_of(Block.S10)
    made.boot("B")
    gone = made.ask(Question.BOOT, "B", key=HOST, key_usable=False)
    assert outcome(gone).letter is SAFE
    assert made.answer(Question.BOOT, "B", key_usable=False, default=False).letter is UNSAFE
    variants: tuple[dict[str, Any], ...] = ({"kms": False}, {"listed": False, "default": False})
    for silent in variants:
        assert made.answer(Question.BOOT, "B", **silent).letter is UNSAFE
        renewed = made.answer(Question.BOOT, "B", renewable=True, **silent)
        assert (renewed.letter, renewed.reasons) == (SAFE, (30,))


def test_a_key_that_is_taken_away_is_gone_from_both_places() -> None:
    made = staging_of(Block.S11)
    made.hosts["B"].places[VSAN] = made.hosts["B"].places[VSAN].after_removal()
    made.boot("B")
    assert made.answer(Question.MOUNT, "B", kms_from_host=False).letter is NO
    again = (
        KeyPlace()
        .after_receipt(persistence=True)
        .after_receipt(persistence=False, how=KeyInMemory.PUSHED)
    )
    assert again == KeyPlace(KeyInMemory.CACHED, stored=True)  # identical keys are no change
