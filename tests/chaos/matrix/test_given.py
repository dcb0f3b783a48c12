"""What key servers were asked for, read from messages of the bus and from their audit trails."""

from __future__ import annotations

from typing import Any

from chaos.matrix.judging.account import (
    Audited,
    KeyRequest,
    find_answering_server,
    requests_in_trail,
    requests_on_bus,
)
from chaos.observe.audit import asker
from protocol.messages.kms.keys import AuditRow
from protocol.terms import NodeName
from tests.chaos.matrix.evidence import HOST, KEY, OTHER
from tests.chaos.matrix.test_witness import ID, KMS, VC, answer, get, said

TWIN = NodeName("k2")


def row(
    t: float,
    operation: str,
    *,
    key: str = ID,
    result: str = "Success",
    who: str = f"kmip/{VC}",
    of: NodeName = KMS,
    times: int = 1,
) -> Audited:
    made = AuditRow(
        sequence=int(t),
        at=1_000.0 + t,
        who=who,
        operation=operation,
        key_id=key,
        result=result,
        times=times,
        digest=f"{t}",
    )
    return Audited(t=t, server=of, row=made)


def usable(*trail: Audited) -> list[tuple[float, bool | None]]:
    return [(one.t, one.usable) for one in requests_in_trail(trail)]


def test_who_asks_has_one_name_at_both_doors() -> None:
    over_the_bus = row(1, "Get", who=str(VC))
    assert asker(over_the_bus.row) == asker(row(1, "Get").row) == VC
    assert asker(row(1, "Get", who="local/k1").row) == "local/k1"
    renewed = row(1, "Get", who=f"kmip/{VC} b19479ff3e9c0e3a")
    assert asker(renewed.row) == VC
    [asked] = requests_in_trail([renewed])
    assert asked.by == VC
    unknown = f"unknown b19479ff3e9c0e3a {VC}"
    assert asker(row(1, "Get", who=f"kmip/{unknown}").row) == unknown


def test_a_row_of_get_says_who_was_given_what() -> None:
    [asked] = requests_in_trail([row(1, "Create"), row(2, "Get"), row(3, "Activate")])
    assert asked == KeyRequest(t=2, server=KMS, by=str(VC), key=ID, usable=True)


def test_a_refusal_gave_nothing_and_one_that_only_counts_names_no_key() -> None:
    gone = row(2, "Get", result="Item Not Found")
    counted = row(3, "Get", key="", result="Item Not Found", times=40)
    assert usable(gone, counted) == [(2, False)]


def test_a_key_that_is_revoked_is_given_and_may_not_be_used() -> None:
    before, after = row(2, "Get"), row(4, "Get")
    for end in (row(3, "Revoke", who="local/k1"), row(3, "Destroy", who="local/k1")):
        assert usable(before, end, after) == [(2, True), (4, False)]
    elsewhere = row(3, "Revoke", who="local/k2", of=TWIN)
    replicated = row(3.1, "Replicate", who="k2")
    assert usable(before, elsewhere, replicated, after) == [(2, True), (4, False)]


def test_what_was_refused_or_done_to_another_key_ends_no_key() -> None:
    refused = row(3, "Revoke", who="local/k1", result="Permission Denied")
    other = row(3, "Destroy", who="local/k1", key=str(OTHER.key_id))
    assert usable(refused, other, row(4, "Get")) == [(4, True)]


def test_on_the_bus_a_request_tells_who_was_asked_and_its_reply_what_was_given() -> None:
    def heard(*messages: Any) -> list[KeyRequest]:
        return list(requests_on_bus(messages, (KMS,)))

    assert heard(get(3, ID)) == [KeyRequest(t=3, server=KMS, by=VC, key=ID, usable=None)]
    assert [one.usable for one in heard(get(3, ID), answer(4, 3, ID, 0))] == [True]
    assert [one.usable for one in heard(get(3, ID), answer(4, 3, ID, None))] == [False]
    assert [one.usable for one in heard(get(3, ID), answer(4, 2, ID, 0))] == [None]
    assert heard(said(3, VC, HOST, "GetCryptoKeyStatus", body={"key_ids": [ID]})) == []


def test_an_answer_is_of_the_key_and_of_the_kind_that_is_looked_for() -> None:
    given = [KeyRequest(t=1, server=KMS, by=str(VC), key=str(KEY.key_id), usable=True)]
    assert find_answering_server(given, ID, usable=True) == KMS
    assert find_answering_server(given, ID, usable=False) is None
    assert find_answering_server(given, str(OTHER.key_id), usable=True) is None
