"""What services ask of a KMIP server, in the lab's words."""

from __future__ import annotations

from collections import Counter
from typing import Any, NoReturn, cast

import pytest

from protocol.errors import (
    CryptographicFailure,
    FeatureNotSupported,
    GeneralFailure,
    InvalidArgument,
    InvalidState,
    NotAvailable,
    NotSent,
    PermissionDenied,
    ProductError,
    WrongKeyLifecycleState,
)
from protocol.kmip import dialect
from protocol.kmip.enums import ResultReason, State
from protocol.kmip.message import RequestItem, ResponseItem
from protocol.kmip.payloads import ActivateRequest
from protocol.messages.kms import keys as key_messages
from protocol.messages.kms import replication as replication_messages
from protocol.terms import KeyId, KmipState, NodeName
from services.keyservers.address import BusAddress, Kmip, parse
from services.keyservers.client import AT_ONCE, KeyServers
from services.runtime import ports
from services.runtime.streams import Streams
from tests.services.keyservers.scripted import QuickClock, ScriptedServer, value_of

TAGS = [[(name, "v") for name in names] for names in (dialect.PRODUCT, dialect.USE)]
TO = Kmip("kms")
PERMISSION = ResultReason.PERMISSION_DENIED


class NoBus:
    """What was asked over the bus."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, object]] = []
        self.counted: Counter[str] = Counter()

    async def request(self, to: object, message: object, *, within_s: float) -> str:
        self.asked.append((to, message))
        return "an answer"

    def count(self, name: str, by: int = 1) -> None:
        self.counted[name] += by


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def bus() -> NoBus:
    return NoBus()


@pytest.fixture
def servers(server: ScriptedServer, bus: NoBus) -> KeyServers:
    clock = cast(ports.Clock, QuickClock())
    streams = cast(Streams, server)
    return KeyServers(cast(ports.Bus, bus), streams, clock, lambda: cast(Any, None))


def create(**more: Any) -> key_messages.CreateKey:
    return key_messages.CreateKey(operation_id="op", **more)


async def test_what_is_at_the_bus_is_asked_there(servers: KeyServers, bus: NoBus) -> None:
    message = key_messages.DiscoverVersions()
    answer: object = await servers.request(BusAddress(NodeName("kms")), message, within_s=5)
    assert answer == "an answer"
    assert bus.asked == [("kms", message)]


async def test_a_key_to_encrypt_with(server: ScriptedServer, servers: KeyServers) -> None:
    asked = create(activate=True, get=True)
    made = await servers.request(TO, asked, within_s=5, tags=TAGS)
    assert made.state is KmipState.ACTIVE
    assert made.material is not None
    assert made.material.keys == (value_of(made.key_id),)
    assert len(server.tags) == 6
    order = [messages[1] for messages in server.connections]
    assert order == [
        "Create", "GetAttributes(x-Product_Version)", "Get", "GetAttributes(x-Identifier)"
    ]  # fmt: skip


async def test_a_key_that_is_only_made(server: ScriptedServer, servers: KeyServers) -> None:
    made = await servers.request(TO, create(), within_s=5, tags=TAGS[:1])
    assert (made.state, made.material) == (KmipState.PRE_ACTIVE, None)
    assert server.keys == {made.key_id: State.PRE_ACTIVE}
    made = await servers.request(TO, create(activate=True), within_s=5)
    assert (made.state, made.material) == (KmipState.ACTIVE, None)


async def test_a_key_that_vcenter_does_not_ask_for_is_refused(servers: KeyServers) -> None:
    with pytest.raises(FeatureNotSupported):
        await servers.request(TO, create(length=128), within_s=5)


async def test_values_of_many_keys(server: ScriptedServer, servers: KeyServers) -> None:
    server.keys |= {"a": State.PRE_ACTIVE, "b": State.DEACTIVATED}
    ids = tuple(KeyId(key) for key in ("b", "missing", "a"))
    found = await servers.request(TO, key_messages.GetKeys(key_ids=ids), within_s=5)
    assert [(v.key_id, v.state, v.index) for v in found.values] == [
        ("b", KmipState.DEACTIVATED, 0),
        ("missing", None, None),
        ("a", KmipState.ACTIVE, 1),
    ]
    assert found.material.keys == (value_of("b"), value_of("a"))


async def test_a_key_that_cannot_be_activated_comes_without_a_value(
    server: ScriptedServer, servers: KeyServers
) -> None:
    """STD-18: it may not be used; that says nothing of the server, nor of other keys."""
    server.keys |= {"a": State.PRE_ACTIVE, "b": State.ACTIVE}
    server.refuses["Activate"] = ResultReason.PERMISSION_DENIED
    found = await servers.request(
        TO, key_messages.GetKeys(key_ids=(KeyId("a"), KeyId("b"))), within_s=5
    )
    assert [(v.key_id, v.state, v.index) for v in found.values] == [
        ("a", KmipState.PRE_ACTIVE, None),
        ("b", KmipState.ACTIVE, 0),
    ]
    assert found.material.keys == (value_of("b"),)


async def test_a_key_that_another_has_activated_meanwhile_is_used(
    server: ScriptedServer, servers: KeyServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KMIP refuses to activate an Active key; two that fetch a new one at once both try."""
    server.keys["a"] = State.PRE_ACTIVE
    answer = server.answer

    def slower(item: RequestItem) -> ResponseItem:
        if isinstance(item.request_payload, ActivateRequest):
            server.keys["a"], server.refuses["Activate"] = State.ACTIVE, PERMISSION
        return answer(item)

    monkeypatch.setattr(server, "answer", slower)
    found = await servers.request(TO, key_messages.GetKeys(key_ids=(KeyId("a"),)), within_s=5)
    assert [(v.state, v.index) for v in found.values] == [(KmipState.ACTIVE, 0)]
    server.keys["a"] = State.PRE_ACTIVE
    done = await servers.request(TO, key_messages.Activate(key_id=KeyId("a")), within_s=5)
    assert done.state is KmipState.ACTIVE


@pytest.mark.parametrize("get", [False, True])
async def test_a_new_key_that_cannot_be_activated_is_not_active(
    server: ScriptedServer, servers: KeyServers, get: bool
) -> None:
    server.refuses["Activate"] = PERMISSION
    with pytest.raises(WrongKeyLifecycleState, match=r"Pre-Active.*Permission Denied"):
        await servers.request(TO, create(activate=True, get=get), within_s=5)


async def test_refused_credentials_at_an_activation_are_the_servers_word_on_everything(
    server: ScriptedServer, servers: KeyServers
) -> None:
    server.keys["a"] = State.PRE_ACTIVE
    server.refuses["Activate"] = ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
    with pytest.raises(PermissionDenied):
        await servers.request(TO, key_messages.GetKeys(key_ids=(KeyId("a"),)), within_s=5)


async def test_so_many_connections_at_once_and_no_more(
    server: ScriptedServer, servers: KeyServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, connect = 0, server.connect

    async def counted(*given: Any, **more: Any) -> Any:
        nonlocal most
        stream = await connect(*given, **more)
        most = max(most, server.open)
        return stream

    monkeypatch.setattr(server, "connect", counted)
    server.keys = {f"k{n}": State.ACTIVE for n in range(50)}
    found = await servers.request(
        TO, key_messages.GetKeys(key_ids=tuple(KeyId(key) for key in server.keys)), within_s=5
    )
    assert len(found.material.keys) == 50
    assert most == AT_ONCE


async def test_states_of_keys(server: ScriptedServer, servers: KeyServers) -> None:
    server.keys |= {"a": State.PRE_ACTIVE, "b": State.DESTROYED}
    ids = tuple(KeyId(key) for key in ("a", "missing", "b"))
    found = await servers.request(TO, key_messages.GetAttributes(key_ids=ids), within_s=5)
    assert {key.key_id: key.state for key in found.keys} == {
        "a": KmipState.PRE_ACTIVE,
        "b": KmipState.DESTROYED,
    }


async def test_activate_and_health(server: ScriptedServer, servers: KeyServers) -> None:
    server.keys["a"] = State.PRE_ACTIVE
    for _ in range(2):
        done = await servers.request(TO, key_messages.Activate(key_id=KeyId("a")), within_s=5)
        assert done.state is KmipState.ACTIVE
    assert (await servers.request(TO, key_messages.DiscoverVersions(), within_s=5)).versions == (
        "1.1",
    )


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (ResultReason.PERMISSION_DENIED, PermissionDenied),
        (ResultReason.AUTHENTICATION_NOT_SUCCESSFUL, PermissionDenied),
        (ResultReason.CRYPTOGRAPHIC_FAILURE, CryptographicFailure),
        (ResultReason.OPERATION_NOT_SUPPORTED, FeatureNotSupported),
        (ResultReason.MISSING_DATA, GeneralFailure),
    ],
)
async def test_a_refusal_is_an_error_of_the_lab(
    server: ScriptedServer,
    servers: KeyServers,
    reason: ResultReason,
    error: type[ProductError],
) -> None:
    server.refuses["Create"] = reason
    with pytest.raises(error, match=reason.title):
        await servers.request(TO, create(), within_s=5)


async def test_no_key_without_a_state_is_used(
    server: ScriptedServer, servers: KeyServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.keys["a"] = State.ACTIVE
    monkeypatch.setattr(dialect, "state", lambda payload: None)
    for asked in (
        key_messages.GetKeys(key_ids=(KeyId("a"),)),
        key_messages.GetAttributes(key_ids=(KeyId("a"),)),
    ):
        with pytest.raises(WrongKeyLifecycleState, match="key a: the server names no State"):
            await servers.request(TO, cast(Any, asked), within_s=5)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (ResultReason.PERMISSION_DENIED, CryptographicFailure),
        (ResultReason.ILLEGAL_OPERATION, CryptographicFailure),
        (ResultReason.AUTHENTICATION_NOT_SUCCESSFUL, PermissionDenied),
    ],
)
async def test_a_refused_key_is_no_refused_client(
    server: ScriptedServer,
    servers: KeyServers,
    reason: ResultReason,
    error: type[ProductError],
) -> None:
    """A key of somebody else must not make a provider look as if it were down."""
    server.keys["a"] = State.ACTIVE
    server.refuses |= {"Get": reason, "State": reason}
    for asked in (
        key_messages.GetKeys(key_ids=(KeyId("a"),)),
        key_messages.GetAttributes(key_ids=(KeyId("a"),)),
    ):
        with pytest.raises(error, match=reason.title):
            await servers.request(TO, cast(Any, asked), within_s=5)


@pytest.mark.parametrize(
    "wrong", [InvalidArgument("no certificate"), InvalidState("no key"), NotAvailable("no way")]
)
async def test_what_is_wrong_at_this_end_is_no_answer_of_the_server(
    server: ScriptedServer,
    servers: KeyServers,
    monkeypatch: pytest.MonkeyPatch,
    wrong: ProductError,
) -> None:
    """A server that was not asked does not look as if it worked."""

    async def refuse(*_: object, **__: object) -> NoReturn:
        raise wrong

    monkeypatch.setattr(server, "connect", refuse)
    with pytest.raises(NotSent, match=str(wrong)):
        await servers.request(TO, key_messages.DiscoverVersions(), within_s=5)


async def test_what_no_kmip_client_asks_is_not_available(servers: KeyServers) -> None:
    with pytest.raises(NotAvailable, match="QueryPair"):
        await servers.request(TO, replication_messages.QueryPair(), within_s=5)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("bus:kms-1", BusAddress(NodeName("kms-1"))),
        ("kmip://kms-1", Kmip("kms-1")),
        ("kmip://keys.example:5696/", Kmip("keys.example", 5696)),
        ("kmip://[::1]:5696", Kmip("::1", 5696)),
    ],
)
def test_an_address(text: str, address: object) -> None:
    assert parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "bus:", "kms", "kmip:kms", "http://kms", "kmip://", "kmip://a:b", "kmip://a:99999",
     "kmip://a:0", "kmip://user:secret@a", "kmip://a/path", "kmip://a?b"],
)  # fmt: skip
def test_no_address(text: str) -> None:
    with pytest.raises(InvalidArgument, match="kmip://HOST:PORT") as refused:
        parse(text)
    assert "secret" not in str(refused.value)


class SetClock:
    """A clock whose readings are given."""

    def __init__(self, *readings: float) -> None:
        self.readings = list(readings)

    def monotonic(self) -> float:
        return self.readings.pop(0)


@pytest.mark.parametrize(
    ("took_s", "counter"),
    [(0.0, "kms_within_1ms"), (0.005, "kms_within_5ms"), (0.0051, "kms_within_10ms"),
     (10.0, "kms_within_10000ms"), (10.5, "kms_beyond")],
)  # fmt: skip
async def test_how_long_an_answer_took_is_counted(bus: NoBus, took_s: float, counter: str) -> None:
    clock = cast(ports.Clock, SetClock(100.0, 100.0 + took_s))
    servers = KeyServers(cast(ports.Bus, bus), None, clock, lambda: cast(Any, None))
    await servers.request(BusAddress(NodeName("kms")), key_messages.DiscoverVersions(), within_s=5)
    assert bus.counted == {counter: 1, "kms_total_us": round(took_s * 1e6)}


async def test_requests_without_an_answer_are_counted(servers: KeyServers, bus: NoBus) -> None:
    with pytest.raises(FeatureNotSupported):
        await servers.request(TO, create(length=128), within_s=5)
    assert bus.counted == {"kms_failed": 1}
