"""Mode ``forward`` over KMIP: whichever server a client asks, one takes the changes (STD-01)."""

from __future__ import annotations

from typing import Any, Final

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.errors import KeysteadError

pytestmark = pytest.mark.sim

SERVERS: Final = ("kms-1", "kms-2", "kms-3")


def three(**more: Any) -> Lab:
    kms = {"replicas": 3, "mode": "forward", "transport": "kmip"}
    return Lab(mode="sim", seed=5, kms=kms, hosts=2, vms=3, **more)


async def refused(lab: Lab, vm: str) -> str:
    """Why a VM cannot have another key; empty when it has."""
    try:
        await lab.do(c.VmRecrypt(vm))
    except KeysteadError as error:
        return str(error)
    return ""


async def rows(lab: Lab, server: str, operation: str) -> list[tuple[str, str]]:
    found = (await lab.do(c.GetAudit(server))).items
    return [(row.who, row.result) for row in found if row.operation == operation]


@pytest.mark.slow
async def test_the_story_whichever_server_is_asked() -> None:
    """vCenter asks them in turn: each key is made by the active one, and is there at once."""
    async with three() as lab:
        for _ in range(3):
            assert [await refused(lab, vm) for vm in ("vm-01", "vm-02", "vm-03")] == [""] * 3
        made = [len(await rows(lab, server, "Create")) for server in SERVERS]
        assert made[0] >= 9 and made[1:] == [0, 0]
        assert {who for who, _ in await rows(lab, "kms-1", "Create")} == {"kmip/vcenter"}
        assert {who for who, _ in await rows(lab, "kms-1", "Add Attribute")} == {"kmip/vcenter"}
        await lab.reboot("esxi-001")
        await lab.sleep(60)
        assert {vm.crypto for vm in (await lab.do(c.GetVms())).items} == {"unlocked"}


async def test_without_the_active_server_keys_are_read_and_none_is_made() -> None:
    async with three() as lab:
        assert not await refused(lab, "vm-01")
        await lab.fault("proc.pause", on="kms-1")
        told = await refused(lab, "vm-02")
        assert "kms-1 takes the changes, and may or may not have done this" in told
        await lab.reboot("esxi-001")
        await lab.sleep(120)
        assert {vm.crypto for vm in (await lab.do(c.GetVms())).items} == {"unlocked"}
        await lab.fault("kms.failover", to="kms-2")
        assert not await refused(lab, "vm-02")
        assert len(await rows(lab, "kms-2", "Create")) == 1
