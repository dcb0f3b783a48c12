"""Each witness is there when the letter came from its cause, and missing when it did not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chaos.conversation import Said
from chaos.matrix.judging.account import Account, EventCourse, KeyRequest, requests_on_bus
from chaos.matrix.judging.letters import SCREEN_A
from chaos.matrix.judging.witness import READERS, witnesses
from protocol.messages.agent import NodeRecord
from protocol.terms import NodeName
from tests.chaos.matrix.evidence import HOST, KEY, OTHER

VC, KMS = NodeName("vcenter"), NodeName("k1")
ID = str(KEY.key_id)


def said(t: float, src: str, dst: str, name: str, kind: str = "request", **more: Any) -> Said:
    return Said(t=t, src=src, dst=dst, name=name, kind=kind, **more)


def push(t: float, *keys: str) -> Said:
    body = {"keys": [{"key_id": key, "provider_id": "P"} for key in keys]}
    return said(t, VC, HOST, "AddKeys", body=body, boxes=("fp:1",))


def get(t: float, *keys: str) -> Said:
    return said(t, VC, KMS, "GetKeys", id=int(t), body={"key_ids": list(keys)})


def answer(t: float, of: float, key: str, index: int | None) -> Said:
    values = [{"key_id": key, "state": "Active", "index": index}]
    return said(t, KMS, VC, "KeyValues", "reply", id=int(of), body={"values": values})


def line(at: float, kind: str, **fields: Any) -> NodeRecord:
    return NodeRecord(at=at, node=HOST, boot=2, level="info", kind=kind, fields=fields)


SAFE_AT_5 = line(15, "boot.step", step="B5", crypto_state="safe")
LOADED = line(14, "keys.loaded", keys=[str(KEY)])
UNSEALED = line(12, "boot.step", step="B2", way="TPM")


def about(**more: Any) -> Account:
    """``asked``: messages of vCenter and key servers; those of the host are in ``said``."""
    course = EventCourse(
        host=HOST, asked=30.0, ended=40.0, keys=(KEY,), power_on=more.pop("power_on", None)
    )
    by_host = [one for one in more.get("said", ()) if HOST in (one.src, one.dst)]
    asked = tuple(requests_on_bus(more.pop("asked", ()), (KMS,)))
    return Account(
        **{
            "course": course,
            "letter": "OK",
            "said": (),
            "asked": asked,
            "asked_by_host": tuple(requests_on_bus(by_host, (KMS,))),
            "records": (),
            "servers": frozenset({KMS}),
            **more,
        }
    )


def holds(reason: int, account: Account) -> bool:
    (found,) = witnesses([reason], account)
    assert found.reason == reason and found.seen
    return found.held


def test_a_running_vm_needs_nothing() -> None:
    for reason in (1, 19):
        assert holds(reason, about(said=[push(35, ID)]))
        assert not holds(reason, about(letter="??"))


def test_a_key_that_was_in_the_cache_did_not_come_and_was_not_asked_for() -> None:
    before, after = push(29, ID), push(41, ID)
    assert holds(2, about(said=[before, after, said(35, VC, HOST, "QueryHost")]))
    assert not holds(2, about(said=[push(35, ID)]))
    assert not holds(2, about(said=[said(35, HOST, KMS, "GetKeys")]))
    by_kmip = KeyRequest(t=35.0, server=KMS, by=str(HOST), key="another", usable=True)
    assert not holds(2, about(asked_by_host=(by_kmip,)))
    assert not holds(2, about(unread=(KMS,))), "nobody knows whether it was asked"


@pytest.mark.parametrize("reason", [3, 4])
def test_a_key_that_was_fetched_was_asked_for_first_and_then_pushed(reason: int) -> None:
    assert holds(reason, about(said=[push(35, ID)], asked=[get(33, ID)]))
    both = about(said=[push(36, ID, "host-key")], asked=[get(33, ID), get(34, "host-key")])
    assert holds(reason, both)
    for said_, asked in (
        ([], [get(33, ID)]),
        ([push(35, ID)], []),
        ([push(35, ID)], [get(36, ID)]),
        ([push(35, str(OTHER.key_id))], [get(33, str(OTHER.key_id))]),
        ([push(35, ID, "host-key")], [get(33, ID)]),
        ([push(45, ID)], [get(33, ID)]),
        ([push(35, ID)], [get(33, ID), answer(34, 33, ID, None)]),
    ):
        assert not holds(reason, about(said=said_, asked=asked))
    host_key = said(
        35, VC, HOST, "CryptoManagerHostEnable", body={"key": {"key_id": "hk"}}, boxes=("fp",)
    )
    course = msgspec.structs.replace(about().course, keys=())
    assert holds(reason, about(course=course, said=[host_key], asked=[get(33, "hk")]))
    assert not holds(reason, about(course=course))


@pytest.mark.parametrize("reason", [35, 36, 37, 39])
def test_a_host_that_helps_itself_is_safe_before_it_speaks(reason: int) -> None:
    boot = (UNSEALED, LOADED, SAFE_AT_5)
    spoke = said(20, HOST, VC, "HostState", "reply")
    asked = said(12, VC, HOST, "QueryHost")  # a heartbeat that nobody answered
    assert holds(reason, about(power_on=10.0, records=boot, said=[asked, spoke]))
    for records, said_ in (
        ((UNSEALED, LOADED), [spoke]),
        ((UNSEALED, SAFE_AT_5), [spoke]),
        (boot, [said(13, HOST, VC, "HostState", "reply")]),
        (boot, [push(14, ID), spoke]),
    ):
        assert not holds(reason, about(power_on=10.0, records=records, said=said_))


def test_a_host_that_only_writes_down_that_it_is_safe_is_not_believed() -> None:
    boot = (UNSEALED, SAFE_AT_5)
    spoke = said(20, HOST, VC, "HostState", "reply")
    for proved, held in ((16.0, True), (20.0, True), (21.0, False), (None, False)):
        account = about(power_on=10.0, records=boot, said=[spoke])
        course = msgspec.structs.replace(account.course, keys=(), proved=proved)
        assert holds(35, msgspec.structs.replace(account, course=course)) is held


def test_a_purple_screen_is_a_refused_unseal() -> None:
    assert holds(18, about(records=[line(31, "boot.stopped", screen=SCREEN_A, reason="policy")]))
    assert not holds(18, about(records=[line(31, "boot.stopped", screen="another", reason="")]))
    assert not holds(18, about(records=[UNSEALED]))


def test_another_build_is_unsealed_and_told_of() -> None:
    assert holds(21, about(records=[UNSEALED], alarmed=True))
    assert not holds(21, about(records=[UNSEALED]))
    assert not holds(21, about(alarmed=True))
    new = msgspec.structs.replace(about().course, known=False)
    assert holds(21, about(records=[UNSEALED], course=new))


@pytest.mark.parametrize("reason", [29, 34])
def test_a_destroyed_key_was_asked_for_and_not_had(reason: int) -> None:
    asked = [get(33, ID), answer(34, 33, ID, None)]
    for letter in ("LK", "NO", "UNSAFE"):
        assert holds(reason, about(letter=letter, asked=asked))
    for wrong in (
        [],
        [get(33, ID)],
        [get(33, ID), answer(34, 33, ID, 0)],
        [get(33, "another"), answer(34, 33, "another", None)],
        [get(33, ID), answer(34, 32, ID, None)],
    ):
        assert not holds(reason, about(letter="LK", asked=wrong))
    assert witnesses([reason], about(letter="OK")) == ()


def test_reasons_without_a_witness_have_none() -> None:
    assert witnesses([5, 6, 20, 38], about()) == ()
    of_trusted = {40, 41, 42, 44, 45, 46, 47, 48, 49, 50, 53, 54}
    of_native = {55, 56, 57, 59, 60, 64, 65}
    of_both = {1, 2, 3, 4, 10, 18, 19, 21, 29, 34, 35, 36, 39}
    of_vsan = {15, 37}
    assert of_both | of_native | of_trusted | of_vsan == set(READERS)


def kdk(t: float, *kdks: str) -> Said:
    body = {"providers": [{"provider_id": "P"}, {"provider_id": "Q"}], "kdks": list(kdks)}
    return said(t, VC, HOST, "SetProviders", body=body, boxes=("fp:1",) * bool(kdks))


REFUSED = line(35, "vm.refused", error="EncryptionKeyRequired", missing=[str(KEY)])
NOT_DERIVED = line(15, "host_key.not_derived", reason="another one now")


def test_a_key_that_is_derived_comes_over_no_link() -> None:
    assert holds(55, about(said=[said(35, VC, HOST, "QueryHost"), kdk(29, "P")]))
    assert not holds(55, about(said=[kdk(35, "P")]))
    assert not holds(55, about(said=[push(35, ID)]))
    course = msgspec.structs.replace(about(power_on=10.0).course, keys=(), proved=16.0)
    boot = about(course=course, records=(UNSEALED, SAFE_AT_5))
    assert holds(55, boot)
    assert not holds(55, msgspec.structs.replace(boot, said=[kdk(14, "P")]))


@pytest.mark.parametrize("reason", [56, 59])
def test_a_host_without_the_kdk_was_brought_it_or_was_not_done(reason: int) -> None:
    assert holds(reason, about(said=[kdk(35, "Q", "P")]))
    assert not holds(reason, about(said=[kdk(35, "Q"), push(36, ID)]))
    assert holds(reason, about(letter="LK"))
    assert not holds(reason, about(letter="LK", said=[kdk(35, "P")]))


def test_a_host_that_is_left_out_is_brought_no_kdk() -> None:
    assert holds(57, about(letter="NO", said=[kdk(35, "Q")], earlier=[kdk(5)]))
    assert not holds(57, about(letter="NO", said=[kdk(35, "P")]))
    assert not holds(57, about(letter="NO", earlier=[kdk(5, "P")]))


def test_a_deleted_kdk_did_not_come_and_is_missed() -> None:
    for record in (REFUSED, NOT_DERIVED):
        assert holds(64, about(letter="LK", records=[record], earlier=[kdk(5, "Q")]))
    assert not holds(64, about(letter="LK"))
    assert not holds(64, about(letter="LK", records=[REFUSED], earlier=[kdk(5, "P")]))
    assert not holds(64, about(letter="UNSAFE", records=[NOT_DERIVED], said=[kdk(31, "P")]))
    new = msgspec.structs.replace(about().course, known=False)
    assert holds(64, about(letter="PT", course=new, said=[kdk(35, "Q")]))
    assert witnesses([64], about(letter="OK")) == ()


def test_another_kdk_came_and_what_it_derives_was_noticed() -> None:
    wrong = line(35, "keys.disproved", keys=[str(KEY)])
    for record in (wrong, NOT_DERIVED):
        assert holds(65, about(letter="LK", records=[record], earlier=[kdk(5, "P")]))
    assert not holds(65, about(letter="LK", records=[wrong]))
    assert not holds(65, about(letter="LK", records=[REFUSED], earlier=[kdk(5, "P")]))
    new = msgspec.structs.replace(about().course, known=False)
    assert holds(65, about(letter="PT", course=new, said=[kdk(35, "P")]))
