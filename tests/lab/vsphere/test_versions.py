"""The release of a vCenter decides which version of the API it offers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from pyVmomi import vim

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.vsphere.service import ApiServer
from lab.vsphere.soap import newest
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
