"""The release of a vCenter decides which version of the API it offers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.vsphere.service import ApiServer
from lab.vsphere.soap import newest, read_call
from protocol.releases import RELEASES, format_release
from protocol.terms import ClusterName, NodeName, Role

pytestmark = pytest.mark.sim
OFFERED = {
    "7.0": "7.0.0.0", "7.0U1": "7.0.1.0", "7.0U2": "7.0.2.0", "7.0U3": "7.0.3.0", "8.0": "8.0.0.1",
    "8.0U1": "8.0.1.0", "8.0U2": "8.0.2.0", "8.0U3": "8.0.3.0", "9.0": "9.0.0.0",
}  # fmt: skip


class _Lab:
    """Two vCenters of different releases."""

    virtual = True
    changes = sleeps = 0

    def __init__(self, version: str) -> None:
        self.versions = {"a": version, "b": "7.0"}

    async def look(self, command: Any) -> Any:
        return await self.do(command)

    async def do(self, command: Any, vcenter: str = "", user: str = "") -> Any:
        assert command == c.GetNodes()
        return answers.NodeList(
            items=tuple(
                answers.Node(
                    node=NodeName(name), role=Role.VCENTER, site="main", cluster=ClusterName(""),
                    state=MachineState.RUNNING, boot=1, version=version,
                )
                for name, version in self.versions.items()
            )
        )  # fmt: skip

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


@pytest.mark.parametrize("version", [format_release(release) for release in RELEASES])
def test_a_release_offers_its_version_which_clients_know(version: str) -> None:
    server = ApiServer(_Lab(version), "x", "secret", "a")
    asyncio.run(server.find_version())
    assert server.api_version == OFFERED[version]
    assert server.about().apiVersion == OFFERED[version]
    assert newest(server.api_version)


def test_a_version_that_is_wished_and_a_second_vcenter() -> None:
    wished = ApiServer(_Lab("7.0U3"), "x", "secret", "a", "8.0.1.0")
    second = ApiServer(_Lab("8.0U3"), "x", "secret", "b")
    asyncio.run(wished.find_version())
    asyncio.run(second.find_version())
    assert (wished.api_version, second.api_version) == ("8.0.1.0", "7.0.0.0")
    assert isinstance(second.about(), vim.AboutInfo)


def _fetch(kind: str, path: str) -> str:
    return f'<Fetch><_this type="{kind}">x</_this><prop>{path}</prop></Fetch>'


def _retrieve(kind: str, path: str) -> str:
    return (
        '<RetrievePropertiesEx><_this type="PropertyCollector">x</_this><specSet><propSet>'
        f"<type>{kind}</type><pathSet>{path}</pathSet></propSet><objectSet>"
        '<obj type="Folder">x</obj></objectSet></specSet><options/></RetrievePropertiesEx>'
    )


def _crypto(method: str, arguments: str = "", manager: str = "CryptoManagerKmip") -> str:
    return f'<{method}><_this type="{manager}">x</_this>{arguments}</{method}>'


PROVIDER = "<keyProvider><id>kms</id></keyProvider>"
KEY = "<keys><keyId>k</keyId></keys>"
ATTRIBUTES = "<spec><attributes><key>a</key><value>b</value></attributes></spec>"
WRAPPED = "<defaultKeyType>wrappedKey</defaultKeyType>"
SERVER = f"<server><clusterId><id>a</id></clusterId><info><name>a</name></info>{WRAPPED}</server>"
CAME = [
    ("9.0", _crypto("GenerateKey", f"{PROVIDER}<keySpec><keyType>rawKey</keyType></keySpec>")),
    ("9.0", _crypto("RegisterKmipServer", SERVER)),
    ("8.0U3", _fetch("HostSystem", "runtime.partialMaintenanceMode")),
    ("8.0U1", _crypto("GenerateKey", PROVIDER + ATTRIBUTES)),
    ("8.0U1", _crypto("SetKeyCustomAttributes", f"<keyId><keyId>k</keyId></keyId>{ATTRIBUTES}")),
    ("8.0U1", _crypto("GetCryptoKeyStatus", KEY, "CryptoManagerHostKMS")),
    ("7.0U3", _retrieve("HostSystem", "runtime.stateEncryption.protectionMode")),
    ("7.0U3", _fetch("HostSystem", "runtime.stateEncryption")),
    ("7.0", _retrieve("VirtualMachine", "runtime.cryptoState")),
    ("7.0", _crypto("GenerateKey", PROVIDER)),
]
"""With which release something of the API came, and a call that needs it."""


@pytest.mark.parametrize(("release", "call"), CAME)
def test_what_came_with_a_release_is_refused_before_it(release: str, call: str) -> None:
    envelope = f'<Envelope><Body xmlns="urn:vim25">{call}</Body></Envelope>'.encode()
    order = list(OFFERED)
    for known in order:
        version = newest(OFFERED[known])
        if order.index(known) >= order.index(release):
            assert read_call(envelope, version).id == "x"
            continue
        faults = (
            vmodl.fault.MethodNotFound, vmodl.fault.InvalidRequest, vmodl.query.InvalidProperty
        )  # fmt: skip
        with pytest.raises(faults) as refused:
            read_call(envelope, version)
        text = refused.value.msg
        assert "does not have" in text or text.startswith("there is no property runtime."), text
