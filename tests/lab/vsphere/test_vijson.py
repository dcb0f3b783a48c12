"""VI/JSON, with nothing but HTTP and JSON, as govc and generated clients send it."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyVmomi")

from lab.schema import commands as c
from tests.lab.vsphere.conftest import PASSWORD

if TYPE_CHECKING:
    from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]
MOREF = "ManagedObjectReference"


class Client:
    """One connection; ``session`` goes along once it is known."""

    def __init__(self, served: Served, release: str = "8.0.3.0") -> None:
        context = ssl.create_default_context(cafile=served.folder / "ca.pem")
        self.http = http.client.HTTPSConnection(
            "localhost", served.port, timeout=20, context=context
        )
        self.base, self.session = f"/sdk/vim25/{release}", ""

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Status and answer."""
        headers = {"vmware-api-session-id": self.session} if self.session else {}
        self.http.request(method, self.base + path, body, headers)
        answer = self.http.getresponse()
        data = answer.read()
        self.session = answer.headers.get("vmware-api-session-id", self.session)
        assert b"Traceback" not in data
        return answer.status, json.loads(data) if data else None

    def call(self, path: str, **arguments: Any) -> Any:
        """The result of a method that is no fault."""
        status, found = self.send("POST", path, json.dumps(arguments).encode())
        assert status in (200, 204), found
        return found

    def get(self, path: str) -> Any:
        """A property."""
        status, found = self.send("GET", path)
        assert status in (200, 204), found
        return found

    def refused(self, method: str, path: str, body: bytes = b"") -> str:
        """The type of the fault that a request gets."""
        status, found = self.send(method, path, body)
        assert status == 500 and found["faultstring"], found
        return str(found["_typeName"])


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    made = Client(served)
    session = made.call(
        "/SessionManager/SessionManager/Login",
        _typeName="LoginRequestType", userName="administrator@vsphere.local", password=PASSWORD,
    )  # fmt: skip
    assert session["_typeName"] == "UserSession" and made.session
    yield made
    made.call("/SessionManager/SessionManager/Logout")
    assert made.refused("GET", "/Folder/group-d1/name") == "NotAuthenticated"
    made.http.close()


def ref(kind: str, value: str) -> dict[str, str]:
    return {"_typeName": MOREF, "type": kind, "value": value}


def test_objects_are_those_of_soap(client: Client, si: Any) -> None:
    content = client.get("/ServiceInstance/ServiceInstance/content")
    assert content["about"]["apiType"] == "VirtualCenter"
    assert content["rootFolder"] == ref("Folder", "group-d1")
    vm = client.call("/SearchIndex/SearchIndex/FindByInventoryPath", inventoryPath="dc/vm/vm-02")
    same = si.content.searchIndex.FindByInventoryPath("dc/vm/vm-02")
    assert vm == ref("VirtualMachine", same._moId)
    config = client.get(f"/VirtualMachine/{vm['value']}/config")
    assert config["keyId"]["_typeName"] == "CryptoKeyId"
    assert config["keyId"]["keyId"] == same.config.keyId.keyId
    disk = config["hardware"]["device"][1]
    assert (disk["_typeName"], disk["backing"]["_typeName"]) == (
        "VirtualDisk",
        "VirtualDiskFlatVer2BackingInfo",
    )
    assert client.get(f"/VirtualMachine/{vm['value']}/snapshot") is None
    assert client.call("/ServiceInstance/ServiceInstance/CurrentTime").startswith("20")


VIEW = {"container": ref("Folder", "group-d1"), "type": ["Folder"], "recursive": False}
FILTER: dict[str, Any] = {"propSet": [{"type": "Folder"}], "objectSet": []}


@pytest.mark.parametrize(
    ("where", "arguments"),
    [
        ("ViewManager/ViewManager/CreateContainerView", VIEW | {"container": ref("Alarm", "x")}),
        ("ViewManager/ViewManager/CreateContainerView", VIEW | {"container": ref("string", "x")}),
        ("SearchIndex/SearchIndex/FindChild", {"entity": ref("SearchIndex", "x"), "name": "x"}),
        ("Datacenter/datacenter-2/PowerOnMultiVM_Task", {"vm": [ref("Folder", "group-d1")]}),
        ("ViewManager/ViewManager/CreateContainerView", VIEW | {"container": None}),
        ("ViewManager/ViewManager/CreateContainerView",
         VIEW | {"container": {"_typeName": "DynamicData"}}),
        ("PropertyCollector/propertyCollector/CreateFilter",
         {"spec": {"_typeName": "WaitOptions"}, "partialUpdates": True}),
        ("PropertyCollector/propertyCollector/CreateFilter",
         {"spec": FILTER | {"objectSet": [{"_typeName": "PropertySpec", "type": "Folder"}]},
          "partialUpdates": True}),
        ("ClusterComputeResource/x/PlaceVm",
         {"placementSpec": {"vm": ref("Folder", "x"), "placementType": "create"}}),
    ],
)  # fmt: skip
def test_a_value_has_the_type_of_its_place(
    client: Client, where: str, arguments: dict[str, Any]
) -> None:
    assert client.refused("POST", f"/{where}", json.dumps(arguments).encode()) == "InvalidRequest"


def test_an_empty_list_is_a_value_of_a_property(client: Client) -> None:
    """``govc events -type`` waits for the page of its collector, and crashes without a value."""
    none = {"eventTypeId": ["nothing"]}
    events = client.call("/EventManager/EventManager/CreateCollectorForEvents", filter=none)
    spec = {
        "propSet": [{"type": events["type"], "pathSet": ["latestPage"]}],
        "objectSet": [{"obj": events}],
    }
    collector = "/PropertyCollector/propertyCollector"
    made = client.call(f"{collector}/CreateFilter", spec=spec, partialUpdates=True)
    (change,) = client.call(f"{collector}/WaitForUpdatesEx")["filterSet"][0]["objectSet"][0][
        "changeSet"
    ]
    assert change["val"] == {"_typeName": "ArrayOfEvent", "_value": []}
    client.call(f"/PropertyFilter/{made['value']}/DestroyPropertyFilter")
    client.call(f"/EventHistoryCollector/{events['value']}/DestroyCollector")


def test_bytes_have_no_sign(client: Client, served: Served, si: Any) -> None:
    host = si.content.searchIndex.FindByInventoryPath("dc/vm/vm-02").runtime.host
    report = client.call(f"/HostSystem/{host._moId}/QueryTpmAttestationReport")
    seen = {str(p["pcrNumber"]): bytes(p["digestValue"]).hex() for p in report["tpmPcrValues"]}
    assert seen == served.do(c.TpmPcrs(host.name)).pcrs


def test_a_collector_and_a_task(client: Client) -> None:
    view = client.call(
        "/ViewManager/ViewManager/CreateContainerView",
        container=ref("Folder", "group-d1"), type=["VirtualMachine"], recursive=True,
    )  # fmt: skip
    walk = {
        "_typeName": "TraversalSpec", "name": "v", "type": "ContainerView", "path": "view",
        "skip": False,
    }  # fmt: skip
    spec = {
        "_typeName": "PropertyFilterSpec",
        "propSet": [{"type": "VirtualMachine", "pathSet": ["name", "runtime.powerState", "value"]}],
        "objectSet": [{"obj": view, "skip": True, "selectSet": [walk]}],
    }
    found = client.call(
        "/PropertyCollector/propertyCollector/RetrievePropertiesEx",
        specSet=[spec], options={"_typeName": "RetrieveOptions", "maxObjects": 4},
    )  # fmt: skip
    assert found["_typeName"] == "RetrieveResult" and len(found["objects"]) == 4
    values = {p["name"]: p["val"] for p in found["objects"][0]["propSet"]}
    assert values["name"]["_typeName"] == "string"
    assert values["runtime.powerState"] == {
        "_typeName": "VirtualMachinePowerState",
        "_value": "poweredOn",
    }
    assert values["value"] == {"_typeName": "ArrayOfCustomFieldValue", "_value": []}
    rest = client.call(
        "/PropertyCollector/propertyCollector/ContinueRetrievePropertiesEx", token=found["token"]
    )
    assert len(rest["objects"]) == 2 and "token" not in rest
    vm = rest["objects"][0]["obj"]["value"]
    task = client.call(f"/VirtualMachine/{vm}/PowerOnVM_Task")  # it is on
    info = client.get(f"/Task/{task['value']}/info")
    assert info["state"] == "error"
    assert info["error"]["_typeName"] == "LocalizedMethodFault"
    assert info["error"]["fault"]["_typeName"] == "InvalidPowerState"
    assert info["error"]["fault"]["existingState"] == "poweredOn"


def test_an_older_release_has_no_newer_fields(client: Client) -> None:
    client.base = "/sdk/vim25/8.0.1.0"
    status = client.call(
        "/CryptoManagerKmip/CryptoManager/ListKmsClusters", includeKmsServers=True
    )[0]
    assert status["clusterId"]["id"] == "kms-provider"
    client.base = "/sdk/vim25/9.9.9.9"
    assert client.get("/Folder/group-d1/name") == "Datacenters"


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("/SessionManager/SessionManager/Login", b"{", "InvalidRequest"),
        ("/SessionManager/SessionManager/Login", b"[1]", "InvalidRequest"),
        ("/SessionManager/SessionManager/Login", b'{"userName": 5}', "InvalidRequest"),
        ("/SessionManager/SessionManager/Login", b'{"userName": "a"}', "InvalidRequest"),
        ("/Folder/group-d1/Erase", b"{}", "MethodNotFound"),
        ("/Folder/group-d1/__init__", b"{}", "MethodNotFound"),
        ("/Folder/group-v9999/Destroy_Task", b"{}", "ManagedObjectNotFound"),
        ("/VirtualMachine/group-d1/PowerOnVM_Task", b"{}", "ManagedObjectNotFound"),
        ("/Nonsense/group-d1/PowerOnVM_Task", b"{}", "MethodNotFound"),
        ("/ViewManager/ViewManager/CreateListView", b'{"obj": [{"type": 5}]}', "InvalidRequest"),
        (
            "/PropertyCollector/propertyCollector/CreateFilter",
            b'{"spec": {"_typeName": "Folder"}, "partialUpdates": true}', "InvalidRequest",
        ),
        (
            "/PropertyCollector/propertyCollector/CreateFilter",
            b'{"spec": {"propSet": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}", "InvalidRequest",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(client: Client, path: str, body: bytes, fault: str) -> None:
    assert client.refused("POST", path, body) == fault


def test_a_property_that_there_is_not_and_a_wrong_password(client: Client, served: Served) -> None:
    assert client.refused("GET", "/Folder/group-d1/nope") == "InvalidProperty"
    assert client.refused("GET", "/Folder/group-d1/name.x.y") == "InvalidProperty"
    other = Client(served)
    body = json.dumps({"userName": "administrator@vsphere.local", "password": "x"}).encode()
    assert other.refused("POST", "/SessionManager/SessionManager/Login", body) == "InvalidLogin"
    other.http.close()


def test_values_that_a_type_does_not_have_are_refused(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    folder = {"_typeName": MOREF, "type": "Folder", "value": "group-d1"}
    for found in (
        {"entity": {"entity": folder, "recursion": "nonsense"}},
        {"entity": {"recursion": "all"}},
        {"alarm": folder},
    ):
        body = json.dumps({"filter": found}).encode()
        path = "/TaskManager/TaskManager/CreateCollectorForTasks"
        assert client.refused("POST", path, body) == "InvalidRequest"
    empty = json.dumps({"specSet": [{"propSet": [], "objectSet": []}]}).encode()
    status, _ = client.send(
        "POST", "/PropertyCollector/propertyCollector/RetrieveProperties", empty
    )
    assert status == 200
    assert not caplog.records
