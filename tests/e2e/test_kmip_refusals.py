"""What administrators of key servers have them refuse: scopes, roles, rejections, a lost key."""

from __future__ import annotations

from typing import Any, Final

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.errors import KeysteadError

pytestmark = pytest.mark.sim

PROVIDER: Final = "kms-provider"
SERVERS: Final = ("kms-1", "kms-2")


def over_tls(**more: Any) -> Lab:
    """A pair of key servers that are asked by KMIP, over connections that stay open."""
    kms = {"replicas": 2, "mode": "sync-pair", "transport": "kmip"}
    knobs = {"kmip_connection": "pooled"}
    return Lab(mode="sim", seed=3, kms=kms, hosts=2, vms=3, knobs=knobs, **more)


async def refused(lab: Lab, vm: str) -> str:
    """Why a VM cannot have another key; empty when it has."""
    try:
        await lab.do(c.VmRecrypt(vm))
    except KeysteadError as error:
        return str(error)
    return ""


async def missing(lab: Lab) -> int:
    """How many keys their provider says that it does not have."""
    keys = (await lab.do(c.GetKeys())).items
    return sum(key.reason == "KeyStateMissingInKMS" for key in keys)


async def clients(lab: Lab, server: str) -> list[tuple[str, str, str, bool]]:
    found = (await lab.do(c.KmsIdentities(server))).items
    return [(one.client, one.role, one.scope, one.revoked) for one in found]


async def rows(lab: Lab, server: str) -> list[tuple[str, str, str]]:
    found = (await lab.do(c.GetAudit(server))).items
    return [(row.who, row.operation, row.result) for row in found]


# ---- scope and role ------------------------------------------------------------------------------


async def test_a_client_in_another_scope_has_other_keys_from_its_next_message_on() -> None:
    async with over_tls() as lab:
        assert not await refused(lab, "vm-01")
        for server in SERVERS:
            [told] = (await lab.do(c.KmsScope(server, "vcenter", "apps"))).items
            assert (told.role, told.scope) == ("client", "apps")
        assert await missing(lab) == len((await lab.do(c.GetKeys())).items), "as if none were"
        assert not await refused(lab, "vm-02"), "new ones are made there"
        await lab.reboot("kms-1")
        assert await clients(lab, "kms-1") == [("vcenter", "client", "apps", False)]
        for server in SERVERS:
            await lab.do(c.KmsScope(server, "vcenter", "vcenter"))
        assert await missing(lab) == 1, "keys stay where they were made"
        assert ("local/kms-1", "Move Identity", "Success") in await rows(lab, "kms-1")


async def test_a_client_with_another_role_may_do_other_things_at_once() -> None:
    async with over_tls() as lab:
        assert not await refused(lab, "vm-01")
        for server in SERVERS:
            await lab.do(c.KmsScope(server, "vcenter", role="operator"))
        assert "may not Get" in await refused(lab, "vm-02")
        for server in SERVERS:
            await lab.do(c.KmsScope(server, "vcenter", role="owner"))
        assert not await refused(lab, "vm-02")
        assert ("kmip/vcenter", "Get", "Permission Denied") in await rows(lab, "kms-1")


async def test_who_is_revoked_stays_so_when_it_is_moved() -> None:
    async with over_tls() as lab:
        await lab.do(c.KmsRevoke("kms-1", "vcenter"))
        await lab.do(c.KmsScope("kms-1", "vcenter", "apps"))
        assert await clients(lab, "kms-1") == [("vcenter", "client", "apps", True)]


async def test_what_is_no_move_is_refused() -> None:
    async with over_tls() as lab:
        for command, told in (
            (c.KmsScope("kms-1", "nobody", "apps"), "no client is nobody"),
            (c.KmsScope("kms-1", "vcenter", role="king"), "role: one of client, kps, operator"),
            (c.KmsScope("kms-1", "vcenter", role="peer"), "does not come through this endpoint"),
            (c.KmsScope("vcenter", "vcenter", "apps"), "is no key server"),
        ):
            with pytest.raises(KeysteadError, match=told):
                await lab.do(command)
        with pytest.raises(KeysteadError, match="give a scope, a role, or both"):
            c.KmsScope("kms-1", "vcenter")
        assert await clients(lab, "kms-1") == [("vcenter", "client", "vcenter", False)]


# ---- rejections ----------------------------------------------------------------------------------


async def test_what_is_rejected_is_counted_told_and_ended() -> None:
    async with over_tls() as lab:
        fault = await lab.fault(
            "kms.reject", on=list(SERVERS), operations=["Get"], reason="Permission Denied"
        )
        assert "rejects Get" in await refused(lab, "vm-01")
        told = [one.rejects for one in (await lab.do(c.GetKms())).items]
        assert told == ["Get: Permission Denied, 1 so far"] * 2
        assert ("kmip/vcenter", "Get", "Permission Denied") in await rows(lab, "kms-1")
        await lab.reboot("kms-1")
        assert "rejects Get" in await refused(lab, "vm-01"), "its database remembers"
        assert (await lab.heal()).healed == (fault,)
        assert [one.rejects for one in (await lab.do(c.GetKms())).items] == ["", ""]
        assert not await refused(lab, "vm-01")
        done = [row[1] for row in await rows(lab, "kms-1")]
        assert done.count("Reject") == done.count("End Rejection") == 1


async def test_one_of_two_servers_that_rejects_is_passed_over_when_it_does_not_believe() -> None:
    """STD-08: whoever refuses the identity of vCenter looks as if it were down."""
    async with over_tls() as lab:
        await lab.fault(
            "kms.reject", on="kms-1", operations=["Create"], reason="Authentication Not Successful"
        )
        assert [await refused(lab, vm) for vm in ("vm-01", "vm-02", "vm-03")] == [""] * 3


async def test_an_answer_that_no_key_is_released_is_told_as_a_key_that_is_missing_there() -> None:
    """SC-09: it has to be recovered at the key server, by hand."""
    async with over_tls() as lab:
        await lab.fault("kms.reject", on=list(SERVERS), operations=["Get"])
        await lab.reboot("esxi-001")
        await lab.sleep(400)
        locked = [e.event for e in (await lab.do(c.GetEvents())).items if "VMLocked" in e.event]
        assert locked and {event.rpartition(".")[2] for event in locked} == {"KeyMissingOnKMS"}
        [provider] = (await lab.do(c.GetProviders())).items
        assert provider.status == "green"


# ---- the key of vCenter's certificate ------------------------------------------------------------


async def test_a_lost_private_key_is_told_and_another_certificate_is_the_cure() -> None:
    async with over_tls() as lab:
        await lab.fault("kms.certificate", of="client", becomes="key-lost")
        [provider] = (await lab.do(c.GetProviders())).items
        assert provider.status == "red"
        found = await lab.do(c.ProviderTrust(PROVIDER))
        assert found.key_lost
        assert all("has lost its private key" in one.reason for one in found.items)
        assert "has lost its private key" in await refused(lab, "vm-01")
        assert not (await lab.do(c.ProviderRenewCertificate(PROVIDER))).key_lost
        for server in SERVERS:
            await lab.do(c.KmsTrust(server, provider=PROVIDER))
        assert not await refused(lab, "vm-01")


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["General Failure", "Permission Denied"])
@pytest.mark.parametrize("transport", ["bus", "kmip"])
async def test_one_vms_key_that_is_rejected_keeps_no_other_vm_away(
    transport: str, reason: str
) -> None:
    """SC-09: over the bus many keys are one message, and are fetched all the same."""
    async with Lab(
        mode="sim", seed=5, kms={"replicas": 1, "transport": transport}, hosts=2, vms=6
    ) as lab:
        await lab.fault("kms.reject", on="kms", vm="vm-01", reason=reason)
        await lab.reboot("esxi-001")
        await lab.sleep(120)
        vms = (await lab.do(c.GetVms())).items
        assert sum(vm.host == "esxi-001" for vm in vms) == 3
        assert {vm.vm for vm in vms if vm.crypto != "unlocked"} == {"vm-01"}
