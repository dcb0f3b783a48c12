"""vAPI by both of its codecs: REST, and the JSON-RPC of the Automation SDK."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyVmomi")

from lab.schema import commands as c
from lab.vsphere.vapi.rest import OPERATIONS
from tests.lab.vsphere.conftest import PASSWORD

if TYPE_CHECKING:
    from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]
USER = "administrator@vsphere.local"
KMS = "com.vmware.vcenter.crypto_manager.kms.providers"
PROVIDERS = "/vcenter/crypto-manager/kms/providers"


def plain(value: Any) -> Any:
    """A typed value without its types."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    ((tag, held),) = value.items()
    if tag in ("STRUCTURE", "ERROR"):
        ((_, fields),) = held.items()
        return {k: plain(v) for k, v in fields.items() if plain(v) is not None}
    return plain(held) if tag == "OPTIONAL" else held


class Client:
    """One connection with a session, which speaks both."""

    def __init__(self, served: Served, user: str = USER, password: str = PASSWORD) -> None:
        context = ssl.create_default_context(cafile=served.folder / "ca.pem")
        self.http = http.client.HTTPSConnection(
            "localhost", served.port, timeout=20, context=context
        )
        login = {
            "schemeId": "com.vmware.vapi.std.security.user_pass",
            "userName": user,
            "password": password,
        }
        answer = self.rpc("com.vmware.cis.session", "create", security=login)
        self.token = answer.get("output", {}).get("SECRET", "")

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """Status and answer, which is text where it is no JSON."""
        self.http.request(method, path, body, headers)
        answer = self.http.getresponse()
        data = answer.read()
        assert b"Traceback" not in data
        is_json = "json" in answer.headers.get("content-type", "")
        return answer.status, json.loads(data) if is_json else data

    def raw(self, body: bytes) -> Any:
        """The answer to a body of JSON-RPC."""
        status, found = self.send("POST", "/api", body, {"content-type": "application/json"})
        assert status == 200 and found["jsonrpc"] == "2.0"
        return found

    def rpc(
        self, service: str, operation: str, security: dict[str, str] | None = None, **given: Any
    ) -> Any:
        """The result of an operation: its output, or its error."""
        scheme = "com.vmware.vapi.std.security.session_id"
        security = security or {"schemeId": scheme, "sessionId": self.token}
        params = {
            "ctx": {"appCtx": {"opId": "1"}, "securityCtx": security},
            "serviceId": service,
            "operationId": operation,
            "input": {"STRUCTURE": {"operation-input": given}},
        }
        call = {"jsonrpc": "2.0", "method": "invoke", "params": params, "id": "7"}
        found = self.raw(json.dumps(call).encode())
        assert found["id"] == "7"
        return found["result"]

    def rest(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        """Status and answer of REST."""
        headers = {"vmware-api-session-id": self.token}
        return self.send(method, "/api" + path, json.dumps(body).encode(), headers)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    made = Client(served)
    assert made.token
    yield made
    made.http.close()


def spec(name: str, **fields: Any) -> dict[str, Any]:
    return {"STRUCTURE": {f"{KMS}.{name}": fields}}


def test_both_codecs_say_the_same(client: Client, served: Served) -> None:
    reads = [o for o in OPERATIONS if o.service and o.method == "GET" and "{" not in o.path]
    assert len(reads) == 6
    for one in reads:
        status, found = client.rest("GET", one.path)
        assert status == 200
        assert plain(client.rpc(one.service, one.name)["output"]) == found
    vm = client.rest("GET", "/vcenter/vm?names=vm-02")[1][0]["vm"]
    wanted = {"OPTIONAL": {"STRUCTURE": {"com.vmware.vcenter.VM.filter_spec": {
        "names": {"OPTIONAL": ["vm-02"]}, "vms": {"OPTIONAL": None},
    }}}}  # fmt: skip
    listed = client.rpc("com.vmware.vcenter.VM", "list", filter=wanted)["output"]
    assert [row["vm"] for row in plain(listed)] == [vm]
    power = client.rpc("com.vmware.vcenter.vm.power", "get", vm=vm)
    assert plain(power["output"]) == client.rest("GET", f"/vcenter/vm/{vm}/power")[1]
    again = client.rpc("com.vmware.vcenter.vm.power", "start", vm=vm)["error"]
    assert list(again["ERROR"]) == ["com.vmware.vapi.std.errors.already_in_desired_state"]
    assert client.rest("POST", f"/vcenter/vm/{vm}/power?action=stop")[0] == 204
    assert client.rpc("com.vmware.vcenter.vm.power", "start", vm=vm) == {"output": None}
    rows = {str(v.vm): v.power.value for v in served.do(c.GetVms()).items}
    assert rows["vm-02"] == "poweredOn"
    host = client.rest("GET", "/vcenter/host?names=esxi-001")[1][0]["host"]
    path = f"/vcenter/trusted-infrastructure/hosts/{host}/hardware/tpm"
    assert client.rest("GET", path)[1][0]["major_version"] == 2
    pcrs = client.rest("GET", f"{path}/tpm0")[1]["banks"][0]["pcrs"]
    service = "com.vmware.vcenter.trusted_infrastructure.hosts.hardware.tpm"
    bank = plain(client.rpc(service, "get", host=host, tpm="tpm0")["output"])["banks"][0]
    entries = {e["key"]: base64.b64decode(e["value"]).hex() for e in bank["pcrs"]}
    assert entries == {int(number): digest for number, digest in pcrs.items()}


def test_a_native_provider_is_made_exported_and_imported(client: Client) -> None:
    made = client.rpc(KMS, "create", spec=spec("create_spec", provider="nkp-rpc"))
    assert made == {"output": None}
    try:
        again = client.rpc(KMS, "create", spec=spec("create_spec", provider="nkp-rpc"))["error"]
        assert list(again["ERROR"]) == ["com.vmware.vapi.std.errors.already_exists"]
        assert client.rest("GET", f"{PROVIDERS}/nkp-rpc")[1]["health"] != "OK"
        export = spec("export_spec", provider="nkp-rpc", password={"OPTIONAL": {"SECRET": "pw"}})
        place = plain(client.rpc(KMS, "export", spec=export)["output"])["location"]
        headers = {"authorization": f"Bearer {place['download_token']['token']}"}
        path = place["url"].partition(f":{client.http.port}")[2]
        status, backup = client.send("POST", path, b"", headers)
        assert status == 200 and backup
        assert client.send("POST", path, b"", headers)[0] == 401  # once for each token
        found = plain(client.rpc(KMS, "get", provider="nkp-rpc")["output"])
        assert found == client.rest("GET", f"{PROVIDERS}/nkp-rpc")[1]
        assert not any("NotBackedUp" in detail["id"] for detail in found["details"])
        host = client.rest("GET", "/vcenter/host")[1][0]["host"]
        of_host = client.rest("GET", f"/vcenter/crypto-manager/hosts/{host}/kms/providers")[1]
        assert [one["provider"] for one in of_host] == ["nkp-rpc"]
    finally:
        assert client.rpc(KMS, "delete", provider="nkp-rpc") == {"output": None}
    config = {"OPTIONAL": {"BINARY": base64.b64encode(backup).decode()}}
    wrong = spec("import_spec", config=config, password={"OPTIONAL": {"SECRET": "no"}})
    assert "error" in client.rpc(KMS, "import_provider", spec=wrong)
    right = spec("import_spec", config=config, password={"OPTIONAL": {"SECRET": "pw"}})
    done = plain(client.rpc(KMS, "import_provider", spec=right)["output"])
    assert done["provider"] == "nkp-rpc"
    assert done["native_info"]["key_id"] == found["native_info"]["key_id"]
    assert client.rest("DELETE", f"{PROVIDERS}/nkp-rpc")[0] == 204
    gone = client.rpc(KMS, "get", provider="nkp-rpc")["error"]["ERROR"]
    assert list(gone) == ["com.vmware.vapi.std.errors.not_found"]


def test_a_session_is_needed_and_its_user_needs_privileges(client: Client, served: Served) -> None:
    refused = client.rpc(KMS, "list", security={"sessionId": "forged"})["error"]["ERROR"]
    assert list(refused) == ["com.vmware.vapi.std.errors.unauthenticated"]
    assert client.send("GET", f"/api{PROVIDERS}", b"", {})[0] == 401
    assert plain(client.rpc("com.vmware.cis.session", "get")["output"])["user"] == USER
    served.do(c.RoleCreate("Blind", like="ReadOnly"))
    served.do(c.UserSet("blind@vsphere.local", "Blind"))
    try:
        other = Client(served, "blind@vsphere.local")
        for operation in ("list", "get"):
            found = other.rpc(KMS, operation, provider="x")["error"]["ERROR"]
            assert list(found) == ["com.vmware.vapi.std.errors.unauthorized"]
        other.http.close()
    finally:
        served.do(c.UserDelete("blind@vsphere.local"))
        served.do(c.RoleDelete("Blind"))
    assert client.rpc("com.vmware.cis.session", "delete") == {"output": None}
    assert "error" in client.rpc(KMS, "list")


def test_a_session_has_the_address_of_its_client(client: Client, served: Served) -> None:
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "X-Forwarded-For": "192.0.2.7"}
    assert client.send("POST", "/api/session", b"", headers)[0] == 201
    with served.session() as si:
        assert {s.ipAddress for s in si.content.sessionManager.sessionList} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700), (b"{", -32700), (b"[" * 9000, -32700), (b"[]", -32600), (b"7", -32600),
        (b'{"jsonrpc": "1.0"}', -32600), (b'{"jsonrpc": "2.0", "method": "x"}', -32601),
        (b'{"jsonrpc": "2.0", "method": "invoke"}', -32602),
        (b'{"jsonrpc": "2.0", "method": "invoke", "params": {"serviceId": 5}}', -32602),
        (b"x" * (1 << 20) + b"x", -32600),
    ],
)  # fmt: skip
def test_what_is_no_call_is_an_error_of_json_rpc(client: Client, body: bytes, code: int) -> None:
    assert client.raw(body)["error"]["code"] == code


@pytest.mark.parametrize(
    "value",
    [
        {"STRUCTURE": 5}, {"STRUCTURE": {"a": {}, "b": {}}}, {"BINARY": "%"}, {"SECRET": []}, {},
        {"NOPE": 1}, {"STRUCTURE": {"a": {"provider": {"OPTIONAL": {"SECRET": 5}}}}},
    ],
)  # fmt: skip
def test_a_value_that_is_none_is_refused(client: Client, value: Any) -> None:
    params = {"serviceId": KMS, "operationId": "create", "input": {
        "STRUCTURE": {"operation-input": {"spec": value}}
    }}  # fmt: skip
    call = {"jsonrpc": "2.0", "method": "invoke", "params": params, "id": 1}
    assert client.raw(json.dumps(call).encode())["error"]["code"] == -32602
    odd = {"STRUCTURE": {"x": {"provider": ["a"]}}}
    found = client.rpc(KMS, "create", spec=odd)["error"]["ERROR"]
    assert list(found) == ["com.vmware.vapi.std.errors.invalid_argument"]
