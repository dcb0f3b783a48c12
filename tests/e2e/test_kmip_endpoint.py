"""A lab whose vCenter asks its key servers by KMIP under TLS: the story, and trust each way."""

from __future__ import annotations

from typing import Any, Final

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from protocol.errors import InvalidArgument
from protocol.messages.kms.keys import GetAttributes
from protocol.terms import ProviderId, VmCryptoState
from services.keyservers.address import Kmip
from services.kms.settings.config import kms_config
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim

PROVIDER: Final = "kms-provider"
SERVERS: Final = ("kms-1", "kms-2")
HEALTH_S: Final = 310.0
"""Lab seconds in which vCenter has looked at each server once more."""


def over_tls(seed: int = 3, **more: Any) -> Lab:
    """The default lab, with a pair of key servers that are asked by KMIP."""
    kms = {"replicas": 2, "mode": "sync-pair", "transport": "kmip"}
    return Lab(mode="sim", seed=seed, kms=kms, hosts=2, vms=3, key_persistence=True, **more)


async def status(lab: Lab) -> str:
    """Of the provider: green, yellow or red."""
    [found] = (await lab.do(c.GetProviders())).items
    return found.status


async def trust(lab: Lab) -> list[tuple[bool | None, bool | None]]:
    """Of each server: whether vCenter trusts it, and it vCenter."""
    found = await lab.do(c.ProviderTrust(PROVIDER))
    return [(one.client_trust_server, one.server_trust_client) for one in found.items]


async def refused(lab: Lab, vm: str) -> str:
    """Why a new VM cannot be encrypted; empty when it was."""
    await lab.do(c.VmCreate(vm, encrypted=False))
    try:
        await lab.do(c.VmEncrypt(vm))
    except KeysteadError as error:
        return str(error)
    return ""


async def states(lab: Lab) -> set[VmCryptoState | None]:
    """Of the VMs that the lab began with."""
    return {vm.crypto for vm in (await lab.do(c.GetVms())).items if vm.vm < "vm-04"}


@pytest.mark.slow
async def test_the_story_over_tls() -> None:
    """Keys come by KMIP; without the servers nothing new is encrypted, and stored keys do."""
    async with over_tls() as lab:
        assert await status(lab) == "green"
        assert await trust(lab) == [(True, True)] * 2
        assert not await refused(lab, "vm-new")
        await lab.do(c.VmRecrypt("vm-01"))
        for server in SERVERS:
            await lab.cut("vcenter", server)
        assert "no server of key provider kms-provider answers" in await refused(lab, "vm-late")
        assert await status(lab) == "red"
        await lab.reboot("esxi-001")
        await lab.sleep(120)
        assert await states(lab) == {VmCryptoState.UNLOCKED}
        await lab.do(c.Heal(all=True))
        await lab.sleep(HEALTH_S)
        assert await status(lab) == "green"
        await lab.do(c.VmEncrypt("vm-late"))


@pytest.mark.slow
async def test_one_server_is_enough() -> None:
    """STD-08: the other one is asked, and its pair has the key too."""
    async with over_tls() as lab:
        await lab.cut("vcenter", "kms-1")
        assert not await refused(lab, "vm-new")
        await lab.sleep(HEALTH_S)
        assert await status(lab) == "yellow"
        await lab.do(c.Heal(all=True))
        await lab.cut("vcenter", "kms-2")
        await lab.do(c.VmRecrypt("vm-new"))


@pytest.mark.slow
async def test_a_server_that_shows_another_certificate_is_not_trusted() -> None:
    """SC-06: trust is gone one way only; the cure is to accept what it shows."""
    async with over_tls() as lab:
        before = await lab.do(c.KmsIdentities("kms-1"))
        after = await lab.do(c.KmsRenewCertificate("kms-1"))
        assert before.fingerprint != after.fingerprint
        assert await trust(lab) == [(False, None), (True, True)]
        await lab.sleep(HEALTH_S)
        assert await status(lab) == "yellow"
        await lab.do(c.ProviderTrustServers(PROVIDER))
        assert await trust(lab) == [(True, True)] * 2
        assert await status(lab) == "green"


@pytest.mark.slow
async def test_a_server_that_is_off_keeps_nobody_from_trusting_the_other() -> None:
    """The pair's other half may have gone for good: what the rest shows is taken all the same."""
    async with over_tls() as lab:
        await lab.do(c.KmsRenewCertificate("kms-2"))
        await lab.do(c.HostPowerOff(("kms-1",)))
        assert await trust(lab) == [(None, None), (False, None)]
        told = await lab.do(c.ProviderTrustServers(PROVIDER))
        assert "kms-1" in told.items[0].reason
        assert await trust(lab) == [(None, None), (True, True)]
        await lab.do(c.HostPowerOff(("kms-2",)))
        with pytest.raises(KeysteadError, match="kms-1"):
            await lab.do(c.ProviderTrustServers(PROVIDER))


async def test_another_client_certificate_takes_the_place_of_the_first_at_once() -> None:
    """SC-08: the servers still trust the old one; the provider is down until they are told."""
    async with over_tls() as lab:
        await lab.do(c.ProviderRenewCertificate(PROVIDER))
        assert await trust(lab) == [(True, False)] * 2
        assert await status(lab) == "red"
        assert "no server of key provider" in await refused(lab, "vm-new")
        for server in SERVERS:
            told = await lab.do(c.KmsTrust(server, provider=PROVIDER))
            names = {one.client for one in told.items}
            assert len(names) == 2 and all(name.startswith("vcenter") for name in names)
        await lab.sleep(HEALTH_S)
        assert await trust(lab) == [(True, True)] * 2
        assert await status(lab) == "green"
        await lab.do(c.VmEncrypt("vm-new"))


async def test_kept_connections_end_with_the_certificate_that_they_showed() -> None:
    """STD-04: who keeps connections is no longer who it was, either."""
    async with over_tls(knobs={"kmip_connection": "pooled"}) as lab:
        assert not await refused(lab, "vm-new")
        await lab.do(c.ProviderRenewCertificate(PROVIDER))
        assert "no server of key provider" in await refused(lab, "vm-late")


def test_one_question_leaves_no_connection_behind() -> None:
    """It is asked over connections of its own, which nobody else would ever close."""
    kms = {"transport": "kmip"}
    world = World(hosts=1, vms=1, kms=kms, knobs={"kmip_connection": "pooled"})
    try:
        runner: Any = world.lab.agent.machine(world.lab.vcenter).runner
        open_before = len(runner.streams._connections)
        vcenter = runner.service.vcenter
        [row] = vcenter.inventory.vms.values()
        question = GetAttributes(key_ids=(row.keys[0].key_id,))
        for _ in range(3):
            asked = vcenter.providers.ask_server(ProviderId(PROVIDER), Kmip("kms"), question)
            assert len(world.run(asked).keys) == 1
        assert len(runner.streams._connections) == open_before
    finally:
        world.close()


@pytest.mark.slow
async def test_kept_connections_outlive_a_restart_of_their_server() -> None:
    """A server that was started again is not one that is down: no operation fails."""
    async with over_tls(knobs={"kmip_connection": "pooled"}) as lab:
        assert not await refused(lab, "vm-new")
        for server in SERVERS:
            await lab.reboot(server)
        assert not await refused(lab, "vm-late")


async def test_a_client_that_was_revoked_is_refused() -> None:
    """Its keys stay; a restart of the server changes nothing; trusting it again is the cure."""
    async with over_tls() as lab:
        for server in SERVERS:
            [told] = (await lab.do(c.KmsRevoke(server, "vcenter"))).items
            assert told.revoked
        assert await trust(lab) == [(True, False)] * 2
        await lab.reboot("kms-1")
        assert (await lab.do(c.KmsIdentities("kms-1"))).items[0].revoked
        assert await refused(lab, "vm-new")
        for server in SERVERS:
            await lab.do(c.KmsTrust(server, provider=PROVIDER))
        await lab.do(c.VmEncrypt("vm-new"))
        await lab.do(c.VmRecrypt("vm-01"))


@pytest.mark.slow
async def test_a_client_is_named_without_doubt() -> None:
    async with over_tls() as lab:
        await lab.do(c.ProviderRenewCertificate(PROVIDER))
        await lab.do(c.KmsTrust("kms-1", provider=PROVIDER))
        first, second = (await lab.do(c.KmsIdentities("kms-1"))).items
        assert {first.client, second.client} > {"vcenter"}  # the other one has a name of its own
        with pytest.raises(KeysteadError, match="name a client"):
            c.KmsRevoke("kms-1", "")  # each digest begins with that
        told = await lab.do(c.KmsRevoke("kms-1", first.digest[:20]))
        assert [one.revoked for one in told.items] == [True, False]
        told = await lab.do(c.KmsRevoke("kms-1", second.client))
        assert [one.revoked for one in told.items] == [True, True]
        with pytest.raises(KeysteadError, match="no client is nobody"):
            await lab.do(c.KmsRevoke("kms-1", "nobody"))
        with pytest.raises(KeysteadError, match="is no key server"):
            await lab.do(c.KmsIdentities("vcenter"))


@pytest.mark.parametrize("scope", ["a\nb", "\x1b[2J", "-x", "s" * 161])
def test_what_is_no_scope_is_refused(scope: str) -> None:
    """It is printed in tables and in the trail."""
    for made in (
        lambda: c.KmsScope("kms-1", "vcenter", scope),
        lambda: c.KmsTrust("kms-1", provider=PROVIDER, scope=scope),
    ):
        with pytest.raises(KeysteadError, match="is no scope of keys") as refused:
            made()
        assert refused.value.id == "KS-USE-003"
    with pytest.raises(InvalidArgument, match="is no scope of keys"):
        kms_config({"local_scope": scope})
    with pytest.raises(InvalidArgument, match="is no scope of keys"):
        kms_config({"identities": {"vcenter": {"scope": scope}}})


async def test_both_ends_tell_keys_by_the_same_digests() -> None:
    async with over_tls() as lab:
        at_vcenter = await lab.do(c.ProviderTrust(PROVIDER))
        for server in at_vcenter.items:
            at_server = await lab.do(c.KmsIdentities(server.server))
            assert at_server.digest == server.digest
            assert [one.digest for one in at_server.items] == [at_vcenter.digest]


async def test_who_is_asked_over_the_bus_has_no_certificates() -> None:
    async with Lab(mode="sim", seed=3, hosts=1, vms=0) as lab:
        with pytest.raises(KeysteadError, match="no KMIP endpoint"):
            await lab.do(c.KmsIdentities("kms"))
        with pytest.raises(KeysteadError, match="no server of kms-provider is asked by KMIP"):
            await lab.do(c.ProviderTrust(PROVIDER))


@pytest.mark.slow
async def test_a_seed_is_the_same_run_whatever_tls_draws() -> None:
    seen = []
    for _ in range(2):
        async with over_tls(seed=11) as lab:
            await refused(lab, "vm-new")
            await lab.reboot("esxi-001")
            await lab.sleep(60)
            seen.append(await lab.trace())
    assert seen[0] == seen[1]


async def test_a_provider_that_comes_back_is_asked_as_before() -> None:
    """LOCK-06: a node whose door is KMIP is not asked over the bus because a person adds it."""
    async with over_tls() as lab:
        await lab.do(c.ProviderDelete(PROVIDER))
        added = await lab.do(c.ProviderAdd(PROVIDER, SERVERS, default=True))
        assert (added.servers, added.status) == (SERVERS, "green")
        assert await trust(lab) == [(True, True)] * 2
        await lab.do(c.VmRecrypt("vm-01"))


@pytest.mark.slow
async def test_a_server_with_a_door_of_kmip_is_not_asked_over_the_bus() -> None:
    """STD-03: who is revoked there shall have no other way in."""
    async with over_tls() as lab:
        with pytest.raises(KeysteadError, match="kms-1 takes clients by KMIP alone") as no:
            await lab.do(c.ProviderAdd("other", ("bus:kms-1",)))
        assert no.value.id == "KS-USE-003"
        assert [one.provider for one in (await lab.do(c.GetProviders())).items] == [PROVIDER]
    async with Lab(mode="sim", seed=3, hosts=1, vms=0) as lab:
        added = await lab.do(c.ProviderAdd("other", ("bus:kms",)))
        assert (added.servers, added.status) == (("kms",), "green")


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("kmip://kms-1", "has a port"),
        ("kmip://a:b", "write bus:NODE"),
        ("kmip://a:0/path", "write bus:NODE"),
        ("kms-3", "kms"),
    ],
)
async def test_what_is_no_server_is_refused(server: str, why: str) -> None:
    async with Lab(mode="sim", seed=3, hosts=1, vms=0) as lab:
        with pytest.raises(KeysteadError, match=why):
            await lab.do(c.ProviderAdd("outside", (server,)))
        assert len((await lab.do(c.GetProviders())).items) == 1


async def test_nothing_is_outside_of_a_simulation() -> None:
    """A server that cannot be asked is not one that has answered."""
    async with Lab(mode="sim", seed=3, hosts=1, vms=0) as lab:
        added = await lab.do(c.ProviderAdd("outside", ("kmip://127.0.0.1:5696",)))
        assert (added.servers, added.status) == (("127.0.0.1:5696",), "red")
        [found] = (await lab.do(c.ProviderTrust("outside"))).items
        assert "outside of the simulation" in found.reason
