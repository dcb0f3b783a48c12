"""Messages of KMIP that a server hands on: whole, for who sent them, and answered as there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from protocol.errors import NotConnected, PermissionDenied, ResponseTooLarge
from protocol.kmip import payloads as p
from protocol.kmip.enums import ResultReason, ResultStatus
from protocol.kmip.fields import Fields
from protocol.kmip.message import ResponseItem, decode_response, encode_request
from protocol.messages import kms as m
from protocol.messages.base import Sealed
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.kms.access import Caller
from services.kms.config import KmsRole
from services.kms.doors.kmip.handing import LIMIT, HandingOn
from services.kms.doors.kmip.messages import Messages
from services.kms.service import KmsService
from tests.services.kms.group_rig import A, B, C, GroupRig
from tests.services.kms.kmip_rig import message, new_key

pytestmark = pytest.mark.sim
APP = Caller("kmip/app", KmsRole.OWNER, "apps")
USER = Caller("kmip/user", KmsRole.CLIENT, "apps")
OTHER = Caller("kmip/other", KmsRole.OWNER, "others")
NOBODY = Caller("kmip/nobody", None, "")
Rigs = Callable[..., GroupRig]


@pytest.fixture
def group() -> Iterator[Rigs]:
    made: list[GroupRig] = []

    def make(**given: Any) -> GroupRig:
        made.append(GroupRig(mode="forward", **given))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def service(rig: GroupRig, server: NodeName) -> KmsService:
    found = rig.agent.machine(server).runner.service
    assert isinstance(found, KmsService)
    return found


def ask(
    rig: GroupRig, server: NodeName, caller: Caller, *payloads: Fields, **header: Any
) -> list[ResponseItem]:
    """What a client of ``server`` is answered."""
    one = service(rig, server)
    assert one.group is not None
    hand_on = HandingOn(one.node, one.bus, one.clock, one.core, one.group)
    messages = Messages(one.core, one.clock, hand_on=hand_on)
    data = encode_request(message(*payloads, **header))
    return list(decode_response(rig.run(messages.answer(caller, data))).batch_item)


def statuses(items: list[ResponseItem]) -> list[Any]:
    return [item.result_reason or item.result_status for item in items]


def whole(rig: GroupRig, server: NodeName, caller: Caller = APP) -> str:
    """A key that is made, activated and got in one message, by the ID Placeholder."""
    items = ask(rig, server, caller, new_key(), p.ActivateRequest(), p.GetRequest())
    assert statuses(items) == [ResultStatus.SUCCESS] * 3, items
    created, _, got = [item.response_payload for item in items]
    assert isinstance(created, p.CreateResponse) and isinstance(got, p.GetResponse)
    assert got.unique_identifier == created.unique_identifier
    return created.unique_identifier


def test_a_batch_is_done_at_the_active_server_for_who_sent_it(group: Rigs) -> None:
    rig = group()
    key = whole(rig, B)
    assert rig.at_rest(A, "SELECT key_id, scope, origin FROM keys") == [(key, "apps", A)]
    done = rig.at_rest(A, "SELECT who, operation FROM audit WHERE operation <> 'Replicate'")
    assert done[:2] == [("kmip/app", "Create"), ("kmip/app", "Activate")]
    assert ("kmip/app", "Get") in done
    rig.healthy()


def test_what_was_made_through_a_server_is_there_at_once(group: Rigs) -> None:
    rig = group()
    for _ in range(5):
        key = whole(rig, B)
        [item] = ask(rig, B, APP, p.GetRequest(unique_identifier=key))
        assert item.result_status is ResultStatus.SUCCESS, "it reads for itself"


def test_items_fail_as_they_would_there(group: Rigs) -> None:
    rig = group()
    key = whole(rig, C)
    destroy = p.DestroyRequest(unique_identifier=key)
    for caller, reason in (
        (OTHER, ResultReason.ITEM_NOT_FOUND),
        (USER, ResultReason.PERMISSION_DENIED),
        (APP, ResultReason.PERMISSION_DENIED),  # it is Active
    ):
        assert statuses(ask(rig, C, caller, destroy)) == [reason]
        assert statuses(ask(rig, A, caller, destroy)) == [reason]
    both = ask(rig, C, APP, destroy, new_key())
    assert statuses(both) == statuses(ask(rig, A, APP, destroy, new_key()))


def test_the_version_and_the_size_of_the_answer_are_the_clients(group: Rigs) -> None:
    rig = group()
    [item] = ask(rig, B, APP, new_key(), minor=1)
    assert item.result_status is ResultStatus.SUCCESS
    [item] = ask(rig, B, APP, new_key(), maximum_response_size=200)
    assert item.result_status is ResultStatus.SUCCESS or item.result_reason


def test_a_client_that_the_server_does_not_know_is_not_handed_on(group: Rigs) -> None:
    rig = group()
    assert statuses(ask(rig, B, NOBODY, new_key())) == [ResultReason.PERMISSION_DENIED]
    assert rig.at_rest(A, "SELECT count(*) FROM keys") == [(0,)]


def test_without_the_active_server_each_item_says_why_and_questions_are_answered(
    group: Rigs,
) -> None:
    rig = group()
    key = whole(rig, B)
    rig.power_off(A)
    asked = (new_key(), p.ActivateRequest())
    items = ask(rig, B, APP, *asked)
    assert statuses(items) == [ResultReason.GENERAL_FAILURE] * 2
    assert all("kms-1 takes the changes, and is not reached" in i.result_message for i in items)  # type: ignore[operator]
    [item] = ask(rig, B, APP, p.GetRequest(unique_identifier=key))
    assert item.result_status is ResultStatus.SUCCESS
    rig.at(B, m.MakeActive())
    rig.sleep(1)
    assert whole(rig, C) and whole(rig, B)
    assert rig.at_rest(B, "SELECT count(*) FROM keys WHERE origin = 'kms-2'") == [(2,)]


def test_a_stream_that_is_held_keeps_a_client_waiting_no_longer_than_a_server(
    group: Rigs,
) -> None:
    """The change is there; that this server knows of it is waited for, and not for ever."""
    rig = group(pair_timeout_s=4)
    learning = service(rig, B).group.learning  # type: ignore[union-attr]
    until = m.Mark(node=A, epoch=10**9, sequence=1)
    clock = service(rig, B).clock
    before = clock.monotonic()
    assert rig.run(learning.learned(until, 3.0)) is False
    assert 3.0 <= clock.monotonic() - before < 3.5


@pytest.mark.parametrize(
    ("server", "role", "error"),
    [(A, "owner", PermissionDenied), (A, "peer", PermissionDenied), (B, "owner", PermissionDenied)],
)
def test_only_a_peer_speaks_for_others(
    group: Rigs, server: NodeName, role: str, error: type[Exception]
) -> None:
    rig = group()
    data = KeyMaterial(encode_request(message(new_key())))
    said = m.HandOnMessage(who="kmip/app", role=role, scope="apps", message=Sealed.of(data))
    assert isinstance(rig.refused(server, said), error)


def test_it_is_handed_on_once(group: Rigs) -> None:
    """Two that take each other for active do not go on for ever."""
    rig = group()
    bus = service(rig, A).bus
    data = KeyMaterial(encode_request(message(new_key())))
    said = m.HandOnMessage(who="kmip/app", role="owner", scope="apps", message=Sealed.of(data))
    with pytest.raises(NotConnected, match="kms-2 takes no changes; kms-1 does"):
        rig.run(bus.request(B, said, within_s=5))
    odd = m.HandOnMessage(who="kmip/app", role="king", scope="apps", message=Sealed.of(data))
    with pytest.raises(PermissionDenied, match="nobody comes by KMIP as 'king'"):
        rig.run(service(rig, B).bus.request(A, odd, within_s=5))


def test_a_message_that_does_not_fit_is_refused_with_its_size(group: Rigs) -> None:
    rig = group()
    one = service(rig, B)
    hand_on = HandingOn(one.node, one.bus, one.clock, one.core, one.group)  # type: ignore[arg-type]
    with pytest.raises(ResponseTooLarge, match=f"at most {LIMIT}"):
        rig.run(hand_on(APP, bytes(LIMIT + 1)))
    assert rig.at_rest(A, "SELECT count(*) FROM keys") == [(0,)]
