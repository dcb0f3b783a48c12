"""Requests that no client library sends: malformed, forged, unfinished."""

from __future__ import annotations

import contextlib
import gc
import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyVmomi")

from pyVmomi import vmodl
from starlette.requests import Request

from lab.vsphere.http import body, web
from lab.vsphere.soap import read_call, read_text
from tests.lab.vsphere.conftest import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]
COLLECTOR = '<_this type="PropertyCollector">propertyCollector</_this>'
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


class Wire:
    """A connection to the server, with the cookie of a session."""

    def __init__(self, served: Served, token: str) -> None:
        context = ssl.create_default_context(cafile=served.folder / "ca.pem")
        self.http = http.client.HTTPSConnection(
            "localhost", served.port, timeout=20, context=context
        )
        self.headers = {"Cookie": f"vmware_soap_session={token}"} if token else {}

    def post(self, data: bytes) -> str:
        """The name of the fault that a body gets; empty for an answer."""
        self.http.request("POST", "/sdk", data, self.headers)
        answer = self.http.getresponse().read().decode()
        assert "Traceback" not in answer
        found = re.search(r"<detail><(\w+)Fault", answer)
        return found[1] if found else ""

    def call(self, method: str, arguments: str = "", this: str = COLLECTOR) -> str:
        """The name of the fault that a call gets."""
        inner = f'<{method} xmlns="urn:vim25">{this}{arguments}</{method}>'
        return self.post(f"<Envelope {XSI}><Body>{inner}</Body></Envelope>".encode())


@pytest.fixture
def wire(served: Served) -> Iterator[Wire]:
    with served.session() as si:
        made = Wire(served, si._stub.cookie.split('"')[1])
        yield made
        made.http.close()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"<a><b></a>", b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b"<a>" * 65,
        b"<a>" + b"<b/>" * 50_000 + b"</a>", b"x" * (body.BODY_LIMIT + 1),
    ],
    ids=["empty", "broken", "DTD", "deep", "wide", "large"],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_an_invalid_request(wire: Wire, data: bytes) -> None:
    assert wire.post(data) == "InvalidRequest"
    assert wire.call("CancelWaitForUpdates") == ""


def test_headers_without_an_end_are_cut_off(served: Served, wire: Wire) -> None:
    context = ssl.create_default_context(cafile=served.folder / "ca.pem")
    with (
        socket.create_connection(("localhost", served.port), 20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as endless,
        contextlib.suppress(ConnectionError, ssl.SSLError),
    ):
        endless.sendall(b"POST /sdk HTTP/1.1\r\nHost: x\r\n")
        for number in range(200):
            endless.sendall(f"X-{number}: {'a' * 1000}\r\n".encode())
        while endless.recv(1 << 16):  # it ends, and does not wait
            pass
    assert wire.call("CancelWaitForUpdates") == ""


def test_a_client_does_not_choose_the_address_of_its_session(served: Served, wire: Wire) -> None:
    login = "<userName>administrator@vsphere.local</userName>"
    wire.headers = {"X-Forwarded-For": "192.0.2.7"}
    login += f"<password>{PASSWORD}</password>"
    assert wire.call("Login", login, '<_this type="SessionManager">SessionManager</_this>') == ""
    with served.session() as si:
        sessions = si.content.sessionManager.sessionList
        assert {s.ipAddress for s in sessions} == {"127.0.0.1"}
        others = {s.key for s in sessions} - {si.content.sessionManager.currentSession.key}
        si.content.sessionManager.TerminateSession(list(others))


def test_a_request_leaves_nothing_for_the_garbage_collector() -> None:
    inner = f'<Fetch xmlns="urn:vim25">{COLLECTOR}<prop>filter</prop></Fetch>'
    envelope = f"<Envelope {XSI}><Body>{inner}</Body></Envelope>".encode()
    wrong = envelope.replace(b"<prop>filter</prop>", b"<prop xsi:type='Folder'>x</prop>")
    torn = envelope.replace(b"filter", b"<x><y/></x>")
    gc.collect()
    gc.disable()  # parsers have memory that it does not count, and it may come late
    try:
        for _ in range(20):
            read_call(envelope, "vim.version.v8_0_3_0")
            for broken in (wrong, torn):
                with contextlib.suppress(vmodl.fault.InvalidRequest):
                    read_call(broken, "vim.version.v8_0_3_0")
            read_text("<a>1</a>", str)
        assert gc.collect() < 20
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("inside", "read"),
    [
        ('<CurrentTime><_this type="ServiceInstance">s</_this></CurrentTime>', True),
        ('<CurrentTime><_this type="ServiceInstance"></_this></CurrentTime>', False),
        ("<CurrentTime></CurrentTime>", False),
        ("", False),
    ],
    ids=["named", "empty", "absent", "no method"],
)
def test_a_call_names_its_object_and_its_method(inside: str, read: bool) -> None:
    envelope = (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
        f'<soapenv:Body xmlns="urn:vim25">{inside}</soapenv:Body></soapenv:Envelope>'
    ).encode()
    if read:
        call = read_call(envelope, "vim.version.v8_0_3_0")
        assert (call.name, call.id) == ("CurrentTime", "s")
        return
    with pytest.raises(vmodl.fault.InvalidRequest) as caught:
        read_call(envelope, "vim.version.v8_0_3_0")
    assert "names no object or no method" in caught.value.msg


def test_arguments_that_are_missing_or_of_another_type_are_refused(wire: Wire) -> None:
    instance = '<_this type="ServiceInstance">ServiceInstance</_this>'
    root = "<obj type='Folder'>group-d1</obj>"
    scalar = (
        f"<spec><propSet><type>Folder</type><pathSet>name</pathSet></propSet><objectSet>{root}"
        "<selectSet xsi:type='TraversalSpec'><type>Folder</type><path>name</path></selectSet>"
        "</objectSet></spec><partialUpdates>true</partialUpdates>"
    )
    assert wire.call("RetrievePropertiesEx", "<specSet/>") == "InvalidRequest"
    assert wire.call("RetrievePropertiesEx", "<options/>") == ""
    assert wire.call("Fetch") == "InvalidRequest"
    assert wire.call("Fetch", f"<prop>{'content.' * 5000}x</prop>", instance) == "InvalidProperty"
    assert wire.call("CreateFilter", "<spec xsi:type='int'>5</spec>") == "InvalidRequest"
    assert wire.call("CreateFilter", scalar) == "InvalidProperty"
    assert wire.call("WaitForUpdatesEx", "<version>7</version>") == "InvalidCollectorVersion"


def test_privileges_are_asked_for_without_naming_one(si: Any) -> None:
    root, manager = si.content.rootFolder, si.content.authorizationManager
    found = manager.HasPrivilegeOnEntities([root], si.content.sessionManager.currentSession.key, [])
    assert [(one.entity, list(one.privAvailability)) for one in found] == [(root, [])]


ENTITY = "<entity type='Folder'>group-d1</entity>"


@pytest.mark.parametrize(
    ("this", "method", "arguments"),
    [
        ("PropertyCollector/propertyCollector", "RetrieveProperties",
         "<specSet><objectSet/></specSet>"),
        ("PropertyCollector/propertyCollector", "CreateFilter",
         "<spec><propSet/></spec><partialUpdates>true</partialUpdates>"),
        ("TaskManager/TaskManager", "CreateCollectorForTasks",
         "<filter><entity><recursion>all</recursion></entity></filter>"),
        ("EventManager/EventManager", "CreateCollectorForEvents",
         f"<filter><entity>{ENTITY}</entity></filter>"),
        ("CryptoManagerKmip/CryptoManager", "RegisterKmipServer",
         "<server><info><name>a</name><address>b</address><port>1</port></info></server>"),
        ("AuthorizationManager/AuthorizationManager", "HasPrivilegeOnEntities",
         "<entity type='LicenseManager'>LicenseManager</entity><sessionId>x</sessionId>"),
    ],
    ids=lambda value: value if value.isalpha() else "",
)  # fmt: skip
def test_a_part_that_is_missing_or_of_another_type_is_refused(
    wire: Wire, caplog: pytest.LogCaptureFixture, this: str, method: str, arguments: str
) -> None:
    kind, _, found = this.partition("/")
    this = f'<_this type="{kind}">{found}</_this>'
    assert wire.call(method, arguments, this) == "InvalidRequest"
    assert not caplog.records


def test_a_body_that_does_not_come_ends_after_a_time(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "BODY_TIMEOUT_S", 0.05)
    wire.http.putrequest("POST", "/sdk")
    wire.http.putheader("Content-Length", "100")
    wire.http.endheaders(b"<a>")
    answer = wire.http.getresponse()
    assert answer.status == 500 and b"not complete" in answer.read()


@pytest.mark.parametrize(
    ("cookie", "token"),
    [
        ('vmware_soap_session="ab12"', "ab12"),
        ("vmware_soap_session=ab12", "ab12"),
        ('vmware_soap_session="ab12"; Path=/; HttpOnly; Secure; SameSite=Lax', "ab12"),
        ("other=1; vmware_soap_session=ab12; last=2", "ab12"),
        ("my_vmware_soap_session=ab12", ""),
        ("vmware_soap_session=", ""),
        ("", ""),
    ],
)
def test_the_token_of_a_session_is_found_in_what_clients_send(cookie: str, token: str) -> None:
    headers = [(b"cookie", cookie.encode())] if cookie else []
    assert web.token_of(Request({"type": "http", "headers": headers})) == token


def _item(name: str, kind: str, inside: str) -> str:
    """An item of a list, which says that it is of another type."""
    return f'<{name} xsi:type="{kind}"><type>Folder</type>{inside}</{name}>'


_START = '<obj type="Folder">x</obj>'
_WHOLE = f"<propSet><type>Folder</type></propSet><objectSet>{_START}</objectSet>"


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        (_item("propSet", "TraversalSpec", "<path>x</path>"), "propSet is no PropertySpec"),
        (f"<objectSet>{_START}{_item('selectSet', 'PropertySpec', '')}</objectSet>",
         "selectSet is no SelectionSpec"),
    ],
)  # fmt: skip
def test_what_lies_in_a_list_has_the_type_of_its_place(more: str, wrong: str) -> None:
    inside = f"<RetrieveProperties xmlns='urn:vim25'>{COLLECTOR}<specSet>{_WHOLE}{more}</specSet>"
    body = f"<Envelope {XSI}><Body>{inside}</RetrieveProperties></Body></Envelope>".encode()
    with pytest.raises(vmodl.fault.InvalidRequest, match=wrong):
        read_call(body, "vim.version.v8_0_3_0")
