"""Messages of KMIP that a server hands on: whole, for who sent them, and answered as there."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from protocol.errors import NotConnected, PermissionDenied, ResponseTooLarge
from protocol.kmip import payloads as p
from protocol.kmip.algorithms import WrappingMethod
from protocol.kmip.enums import ResultReason, ResultStatus, RevocationReasonCode, State
from protocol.kmip.fields import Fields
from protocol.kmip.message import ResponseItem, decode_response, encode_request
from protocol.kmip.objects import (
    Attribute,
    EncryptionKeyInformation,
    KeyWrappingSpecification,
    RevocationReason,
)
from protocol.messages.agent import SkewClock
from protocol.messages.base import Sealed, messages_of
from protocol.messages.kms import administration as admin_messages
from protocol.messages.kms import keys as key_messages
from protocol.messages.kms import replication as replication_messages
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName
from protocol.terms import ResultReason as ResultReasonName
from services.kms.access.authorization import KeyServerCaller
from services.kms.commit import group_commit
from services.kms.endpoints.forwarding import LIMIT, OPERATIONS, HandingOn
from services.kms.endpoints.kmip.messages import Messages
from services.kms.objects import request_types
from services.kms.service import KmsService
from services.kms.settings.config import KmsRole
from tests.services.kms.group_rig import A, B, C, GroupRig
from tests.services.kms.kmip_rig import message, new_key

pytestmark = pytest.mark.sim
APP = KeyServerCaller("kmip/app", KmsRole.OWNER, "apps")
USER = KeyServerCaller("kmip/user", KmsRole.CLIENT, "apps")
OTHER = KeyServerCaller("kmip/other", KmsRole.OWNER, "others")
NOBODY = KeyServerCaller("kmip/nobody", None, "")
LOST = RevocationReason(revocation_reason_code=RevocationReasonCode.KEY_COMPROMISE)
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
    rig: GroupRig, server: NodeName, caller: KeyServerCaller, *payloads: Fields, **header: Any
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


def whole(rig: GroupRig, server: NodeName, caller: KeyServerCaller = APP) -> str:
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
    told = "kms-1 takes the changes, and may or may not have done this"
    assert all(told in str(item.result_message) for item in items)
    [item] = ask(rig, B, APP, p.GetRequest(unique_identifier=key))
    assert item.result_status is ResultStatus.SUCCESS
    rig.at(B, replication_messages.MakeActive())
    rig.sleep(1)
    assert whole(rig, C) and whole(rig, B)
    assert rig.at_rest(B, "SELECT count(*) FROM keys WHERE origin = 'kms-2'") == [(2,)]


def test_a_stream_that_is_held_keeps_a_client_waiting_no_longer_than_a_server(
    group: Rigs,
) -> None:
    """The change is there; that this server knows of it is waited for, and not for ever."""
    rig = group(pair_timeout_s=4)
    learning = service(rig, B).group.learning  # type: ignore[union-attr]
    until = replication_messages.Mark(node=A, epoch=10**9, sequence=1)
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
    said = replication_messages.HandOnMessage(
        who="kmip/app", role=role, scope="apps", message=Sealed.of(data)
    )
    assert isinstance(rig.refused(server, said), error)


def test_it_is_handed_on_once(group: Rigs) -> None:
    """Two that take each other for active do not go on for ever."""
    rig = group()
    bus = service(rig, A).bus
    data = KeyMaterial(encode_request(message(new_key())))
    said = replication_messages.HandOnMessage(
        who="kmip/app", role="owner", scope="apps", message=Sealed.of(data)
    )
    with pytest.raises(NotConnected, match="kms-2 takes no changes; kms-1 does"):
        rig.run(bus.request(B, said, within_s=5))
    odd = replication_messages.HandOnMessage(
        who="kmip/app", role="king", scope="apps", message=Sealed.of(data)
    )
    with pytest.raises(PermissionDenied, match="nobody comes by KMIP as 'king'"):
        rig.run(service(rig, B).bus.request(A, odd, within_s=5))


def test_a_message_that_does_not_fit_is_refused_with_its_size(group: Rigs) -> None:
    rig = group()
    one = service(rig, B)
    hand_on = HandingOn(one.node, one.bus, one.clock, one.core, one.group)  # type: ignore[arg-type]
    with pytest.raises(ResponseTooLarge, match=f"at most {LIMIT}"):
        rig.run(hand_on(APP, [request_types.Create()], bytes(LIMIT + 1)))
    assert rig.at_rest(A, "SELECT count(*) FROM keys") == [(0,)]


class Failing:
    """A database whose disk reads nothing any more."""

    async def query(self, fn: Callable[..., Any], *, long: bool = False) -> Any:
        raise OSError(errno.EIO, "Input/output error")


def reject(rig: GroupRig, server: NodeName, *operations: str, **more: Any) -> None:
    why = ResultReasonName.GENERAL_FAILURE.value
    rig.at(
        server,
        admin_messages.RejectRequests(name="sealed", reason=why, operations=operations, **more),
    )


def refusals(rig: GroupRig, server: NodeName) -> list[tuple[Any, ...]]:
    return rig.at_rest(
        server, "SELECT who, operation, key_id, result FROM audit WHERE result <> 'Success'"
    )


@pytest.mark.parametrize("rejected", ["Create", "Get"])
def test_what_a_server_rejects_it_does_not_hand_on(group: Rigs, rejected: str) -> None:
    """A client would have what this server refuses by asking for a change in the same message."""
    rig = group()
    reject(rig, B, rejected)
    items = ask(rig, B, APP, new_key(), p.GetRequest())
    assert statuses(items) == [ResultReason.GENERAL_FAILURE] * 2
    assert {item.result_message for item in items} == {f"this key server rejects {rejected}"}
    assert rig.at_rest(A, "SELECT count(*) FROM keys") == [(0,)]
    assert refusals(rig, B) == [("kmip/app", rejected, "", "General Failure")]
    [one] = rig.at(B, admin_messages.QueryRejections()).items
    assert one.times == 1
    rig.at(B, admin_messages.EndRejection(name="sealed"))
    whole(rig, B)


@pytest.mark.parametrize("who", [APP, USER], ids=lambda who: who.role)
def test_nor_has_it_another_one_wrap_under_a_key_that_it_rejects_to_encrypt(
    group: Rigs, who: KeyServerCaller
) -> None:
    """A client, who may not Encrypt, is given keys wrapped as well."""
    rig = group()
    key, under = whole(rig, B), whole(rig, B)
    reject(rig, B, "Encrypt", keys=(KeyId(under),))
    specification = KeyWrappingSpecification(
        wrapping_method=WrappingMethod.ENCRYPT,
        encryption_key_information=EncryptionKeyInformation(unique_identifier=under),
    )
    get = p.GetRequest(unique_identifier=key, key_wrapping_specification=specification)
    items = ask(rig, B, who, new_key(), get)
    assert {item.result_message for item in items} == {"this key server rejects Encrypt"}
    assert refusals(rig, B) == [(who.who, "Encrypt", under, "General Failure")]


TAG = p.AddAttributeRequest(attribute=Attribute(attribute_name="x-a", attribute_value="1"))


@pytest.mark.parametrize("rejected", ["Get", "Get Attributes", "Add Attribute"])
@pytest.mark.parametrize("named", [True, False])
def test_nor_of_a_key_that_is_found_or_named_in_the_message(
    group: Rigs, rejected: str, named: bool
) -> None:
    """What the ID Placeholder means is a key as any other."""
    rig = group()
    key, other = whole(rig, B), whole(rig, B)
    for one, name in ((key, "mine"), (other, "other")):
        attribute = Attribute(attribute_name="x-name", attribute_value=name)
        add = p.AddAttributeRequest(unique_identifier=one, attribute=attribute)
        assert statuses(ask(rig, B, APP, add)) == [ResultStatus.SUCCESS]

    def items(one: str, name: str) -> list[ResponseItem]:
        attribute = Attribute(attribute_name="x-name", attribute_value=name)
        looked = () if named else (p.LocateRequest(attribute=(attribute,)),)
        about: dict[str, Any] = {"unique_identifier": one} if named else {}
        tag = msgspec.structs.replace(TAG, **about)
        return ask(
            rig, B, APP, *looked, tag, p.GetRequest(**about), p.GetAttributesRequest(**about)
        )

    reject(rig, B, rejected, keys=(KeyId(key),))
    refused = items(key, "mine")
    assert {item.result_message for item in refused} == {f"this key server rejects {rejected}"}
    assert set(statuses(items(other, "other"))) == {ResultStatus.SUCCESS}
    rig.at(B, admin_messages.EndRejection(name="sealed"))
    assert set(statuses(items(key, "mine"))) == {ResultStatus.SUCCESS}


def test_whoever_looks_for_states_is_judged_however_many_dates_have_come(
    group: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = group()
    soon = int(service(rig, B).clock.now()) + 5
    date = Attribute(attribute_name="Activation Date", attribute_value=soon)
    for _ in range(2):
        assert statuses(ask(rig, B, APP, new_key(date))) == [ResultStatus.SUCCESS]
    rig.sleep(10)
    monkeypatch.setattr(group_commit, "AT_ONCE", 1)
    reject(rig, B, "Destroy")
    state = Attribute(attribute_name="State", attribute_value=State.ACTIVE)
    items = ask(rig, B, APP, p.LocateRequest(attribute=(state,)), p.DestroyRequest())
    assert {item.result_message for item in items} == {"this key server rejects Destroy"}


def test_a_date_that_a_rejected_message_met_is_told_to_the_other_servers(group: Rigs) -> None:
    """Nothing is handed on, and still no server whose clock is behind calls the key Pre-Active
    after another one has written that its date has come."""
    rig = group()
    soon = int(service(rig, B).clock.now()) + 5
    date = Attribute(attribute_name="Activation Date", attribute_value=soon)
    [made] = ask(rig, B, APP, new_key(date))
    assert isinstance(made.response_payload, p.CreateResponse)
    key = made.response_payload.unique_identifier
    rig.sleep(1)
    for server in (A, C):
        rig.run(rig.agent.skew(SkewClock(node=server, skew_s=-3600)))
    rig.sleep(10)
    reject(rig, B, "Destroy")
    state = Attribute(attribute_name="State", attribute_value=State.ACTIVE)
    items = ask(rig, B, APP, p.LocateRequest(attribute=(state,)), p.DestroyRequest())
    assert {item.result_message for item in items} == {"this key server rejects Destroy"}
    assert rig.at_rest(B, "SELECT key_id FROM oplog WHERE node = 'kms-2'") == [(key,)]
    rig.sleep(1)
    told = [rig.attributes(server)[KeyId(key)].state for server in (A, B, C)]
    assert told == [KmipState.ACTIVE] * 3
    rig.healthy()


@pytest.mark.parametrize("operation", ["Create", "Activate", "Get", "Add Attribute"])
def test_nor_over_the_bus(group: Rigs, operation: str) -> None:
    rig = group()
    key = rig.key(B, "first")
    messages: dict[str, Any] = {
        "Create": key_messages.CreateKey(operation_id="1"),
        "Activate": key_messages.CreateKey(operation_id="1", activate=True),
        "Get": key_messages.CreateKey(operation_id="1", get=True),
        "Add Attribute": key_messages.AddAttribute(key_id=key, name="x-a", value="1"),
    }
    reject(rig, B, operation)
    assert f"this key server rejects {operation}" in str(rig.refused(B, messages[operation]))
    assert rig.at_rest(A, "SELECT key_id FROM keys") == [(key,)]
    rig.at(B, admin_messages.EndRejection(name="sealed"))
    rig.ask(B, messages[operation])


def test_every_message_that_is_handed_on_is_judged_before() -> None:
    handed = {
        message
        for message in messages_of("protocol.messages.kms").values()
        if "on_behalf" in message.__struct_fields__
    }
    assert handed == {*OPERATIONS} and len(handed) == 8


def test_only_for_the_keys_that_are_named_and_for_who_sees_them(group: Rigs) -> None:
    rig = group()
    mine, other = whole(rig, B), whole(rig, B)
    reject(rig, B, "Revoke", keys=(KeyId(mine),))
    revoked = {
        (key, caller.who): statuses(
            ask(rig, B, caller, p.RevokeRequest(unique_identifier=key, revocation_reason=LOST))
        )
        for key in (mine, other)
        for caller in (OTHER, APP)
    }
    assert revoked == {
        (mine, "kmip/other"): [ResultReason.ITEM_NOT_FOUND],
        (mine, "kmip/app"): [ResultReason.GENERAL_FAILURE],
        (other, "kmip/other"): [ResultReason.ITEM_NOT_FOUND],
        (other, "kmip/app"): [ResultStatus.SUCCESS],
    }


def test_the_trail_has_who_was_not_known(group: Rigs) -> None:
    rig = group()
    ask(rig, B, NOBODY, new_key())
    assert refusals(rig, B) == [("kmip/nobody", "Create", "", "Permission Denied")]


def test_a_disk_that_fails_takes_no_answer_away(group: Rigs) -> None:
    """What a message has changed is there: only that this server has it too is not seen."""
    for server in (A, B):
        rig = group()
        service(rig, server).group.learning._database = Failing()  # type: ignore[union-attr]
        [item] = ask(rig, B, APP, new_key())
        assert item.result_status is ResultStatus.SUCCESS, item.result_message
        assert rig.at_rest(A, "SELECT count(*) FROM keys") == [(1,)]


def test_whoever_may_have_done_it_is_not_said_to_be_unreached(group: Rigs) -> None:
    rig = group(pair_timeout_s=4)
    rig.cut((A, B))
    [item] = ask(rig, B, APP, new_key())
    assert item.result_reason is ResultReason.GENERAL_FAILURE
    assert "may or may not have done this" in str(item.result_message)


def test_a_key_that_is_given_while_it_is_changed_elsewhere_is_no_conflict(group: Rigs) -> None:
    """Of two servers of which one takes the changes."""
    rig = group()
    [item] = ask(rig, A, APP, new_key())
    assert isinstance(item.response_payload, p.CreateResponse)
    key = item.response_payload.unique_identifier
    rig.sleep(2)
    rig.cut((A, B), (A, C), (B, C))
    for server, payload in (
        (B, p.GetRequest(unique_identifier=key)),
        (A, p.ActivateRequest(unique_identifier=key)),
    ):
        assert statuses(ask(rig, server, APP, payload)) == [ResultStatus.SUCCESS]
    rig.heal()
    rig.sleep(60)
    assert rig.agree()
    assert [rig.group(server).conflicts for server in (A, B, C)] == [0, 0, 0]
