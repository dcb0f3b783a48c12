"""Hosts of vSAN and Key Provider Services ask by KMIP, with certificates of their own."""

from __future__ import annotations

from typing import Any, Final

import pytest

from chaos.verdict import Exit
from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import VsanHealthReport
from lab.schema.errors import KeysteadError
from protocol.terms import PowerState, ProviderHealth
from protocol.vsan import VsanEncryptionIssue
from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker
from tests.e2e.modes import MODES
from tests.e2e.test_trusted import trusted
from tests.e2e.test_vsan import CLUSTER, HOSTS, A, mark, now, restart, unmounted, vsan, works
from tests.mutations.play import run_experiment, server

KMIP: Final[dict[str, Any]] = {"kms": {"transport": "kmip"}}
PROVIDER: Final = "kms-provider"
SERVICES: Final = ("keyprovider-1", "keyprovider-2")


async def who_asked(lab: Lab) -> set[str]:
    """Everybody who has had a value of the key server, as its trail names them."""
    rows = (await lab.do(c.GetAudit())).items
    return {row.who for row in rows if row.operation == "Get" and row.result == "Success"}


async def why(lab: Lab, host: str) -> set[str]:
    """Why disk groups of the host are not mounted."""
    return {group.why for group in (await now(lab)).groups if group.host == host}


def issues(report: VsanHealthReport, host: str) -> tuple[VsanEncryptionIssue, ...]:
    return next(one.issues for one in report.hosts if one.host == host)


# ---- hosts of vSAN -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", MODES)
async def test_a_host_mounts_by_kmip_without_vcenter(how: dict[str, Any]) -> None:
    """VSAN-03, STD-06: over TLS, under its own name, and nothing of it over the bus."""
    async with vsan(**how, **KMIP) as lab:
        host = (await mark(lab))[0]
        known = (await lab.do(c.KmsIdentities("kms"))).items
        assert {(one.client, one.role) for one in known} == {
            ("vcenter", "client"),
            *((host, "vsan") for host in HOSTS),
        }
        await lab.fault("vcenter.down")
        await restart(lab, host)
        assert await works(lab, host)
        asked = await who_asked(lab)
        assert f"kmip/{host}" in asked and not asked & {*HOSTS, "vcenter"}


@pytest.mark.sim
async def test_a_cut_link_keeps_its_connections_away() -> None:
    """VSAN-04, SC-50: the rule of one host's link holds what it says by KMIP, too."""
    async with vsan(**KMIP) as lab:
        host = (await mark(lab))[0]
        await lab.cut(host, "kms")
        await restart(lab, host)
        assert unmounted(await now(lab)) == [host]
        assert all("no connection to kms within" in each for each in await why(lab, host))
        await lab.do(c.Heal(all=True))
        await lab.do(c.VsanMount(host))
        assert unmounted(await now(lab)) == [] and await works(lab, host)


@pytest.mark.sim
async def test_the_power_of_the_whole_cluster_returns() -> None:
    """Each host fetches the keys of its disks, whoever is first; VMs are where HA has them."""
    async with Lab("sim", seed=7, tpm="model", topology="vsan", ha=True, **KMIP) as lab:
        await mark(lab)
        await restart(lab, *HOSTS, seconds=300)
        assert unmounted(await now(lab)) == []
        assert {vm.power for vm in (await lab.do(c.GetVms())).items} == {PowerState.ON}


@pytest.mark.sim
async def test_hosts_believe_the_certificates_that_vcenter_believes() -> None:
    """SC-06: a server shows another one; a boot finds it; vCenter's word is the cure."""
    async with vsan(**KMIP) as lab:
        host = (await mark(lab))[0]
        await lab.do(c.KmsRenewCertificate("kms"))
        await restart(lab, host)
        assert unmounted(await now(lab)) == [host]
        assert all("self-signed certificate" in each for each in await why(lab, host))
        await lab.do(c.ProviderTrustServers(PROVIDER))
        await lab.sleep(10)
        assert unmounted(await now(lab)) == [] and await works(lab, host)
        report = await lab.do(c.VsanHealth(CLUSTER))
        assert not any(issues(report, each) for each in HOSTS)


@pytest.mark.sim
async def test_one_host_is_revoked_and_trusted_again() -> None:
    """Its certificate is nobody else's: the others mount, and so does it with a new one."""
    async with vsan(**KMIP) as lab:
        host, other = await mark(lab)
        await lab.do(c.KmsRevoke("kms", host))
        await restart(lab, host, other)
        assert unmounted(await now(lab)) == [host]
        assert all("is revoked" in each for each in await why(lab, host))
        told = await lab.do(c.KmsTrust("kms", node=host, renew=True))
        own = [one for one in told.items if one.client.split(" ")[0] == host]
        assert sorted((one.revoked, one.role) for one in own) == [(False, "vsan"), (True, "vsan")]
        await lab.do(c.VsanMount(host))
        assert unmounted(await now(lab)) == []


@pytest.mark.slow
@pytest.mark.sim
async def test_another_provider_of_its_server_takes_nobody_back() -> None:
    """Who was revoked, or has another scope, has so; a renewed certificate has what was its own."""
    async with vsan(**KMIP) as lab:
        revoked, moved, _ = HOSTS
        await lab.do(c.KmsRevoke("kms", revoked))
        await lab.do(c.KmsScope("kms", moved, scope="apps"))
        await lab.do(c.ProviderAdd("second", ("kms",)))
        known = {one.client: one for one in (await lab.do(c.KmsIdentities("kms"))).items}
        assert known[revoked].revoked and known[moved].scope == "apps"
        told = await lab.do(c.KmsTrust("kms", node=moved, renew=True))
        own = [one for one in told.items if one.client.split(" ")[0] == moved]
        assert [(one.role, one.scope) for one in own] == [("vsan", "apps")] * 2


@pytest.mark.slow
@pytest.mark.sim
async def test_a_certificate_has_the_life_that_the_knob_says() -> None:
    """An issue of vSAN health tells of one that has ended; another one is the cure."""
    async with vsan(**KMIP, knobs={"kmip_certificate_days": 1}) as lab:
        for days, found in ((0.5, ()), (0.6, (VsanEncryptionIssue.CLIENT_CERTIFICATE,))):
            await lab.sleep(days * 86_400)
            assert issues(await lab.do(c.VsanHealth(CLUSTER)), A) == found
        await lab.do(c.KmsTrust("kms", node=A, renew=True))
        assert issues(await lab.do(c.VsanHealth(CLUSTER)), A) == ()


@pytest.mark.sim
async def test_connections_of_hosts_with_vsan_can_be_reset_and_of_no_others() -> None:
    async with vsan(**KMIP) as lab:
        await mark(lab)
        await lab.do(c.FaultInject("link.reset", {"between": [A, "kms"]}))
        await restart(lab, A)
        assert unmounted(await now(lab)) == [A]
        await lab.do(c.Heal(all=True))
    async with Lab("sim", seed=7, hosts=1, vms=0) as lab:
        with pytest.raises(KeysteadError, match="hosts without vSAN have no connections"):
            await lab.do(c.FaultInject("link.reset", {"between": [A, "kms"]}))


@pytest.mark.sim
async def test_a_seed_is_the_same_run_whatever_its_hosts_draw() -> None:
    seen = []
    for _ in range(2):
        async with vsan(**KMIP) as lab:
            await restart(lab, A)
            seen.append(await lab.trace())
    assert seen[0] == seen[1]


# ---- Key Provider Services -----------------------------------------------------------------------


@pytest.mark.parametrize("how", MODES)
async def test_key_provider_services_ask_by_kmip(how: dict[str, Any]) -> None:
    """R46: with both vCenters down, a host gets its keys back after a loss of power."""
    async with trusted(**how, **KMIP) as lab:
        known = (await lab.do(c.KmsIdentities("kms"))).items
        assert {(one.client, one.role) for one in known} == {(s, "kps") for s in SERVICES}
        await lab.fault("vcenter.down")
        await lab.do(c.HostPowerLoss((A,)))
        for _ in range(60):
            view = await lab.do(c.GetHostView(A))
            if view.vms and view.vms[0].power is PowerState.ON:
                break
            await lab.sleep(5)
        assert view.vms[0].power is PowerState.ON
        asked = await who_asked(lab)
        assert asked and asked <= {f"kmip/{service}" for service in SERVICES}


async def health(lab: Lab) -> ProviderHealth:
    """Of the trusted provider, when a period has passed in which it was looked at."""
    await lab.sleep(310)
    [found] = (await lab.do(c.GetProviders())).items
    return found.health


@pytest.mark.sim
async def test_a_trusted_provider_needs_trust_both_ways() -> None:
    """TA-02, step 10: other certificates of the server, or a service that it refuses."""
    async with trusted(**KMIP) as lab:
        assert await health(lab) is ProviderHealth.OK
        await lab.do(c.KmsRenewCertificate("kms"))
        assert await health(lab) is not ProviderHealth.OK
        await lab.do(c.TrustServers("trusted-provider"))
        assert await health(lab) is ProviderHealth.OK
        for service in SERVICES:
            await lab.do(c.KmsRevoke("kms", service))
        assert await health(lab) is not ProviderHealth.OK
        for service in SERVICES:
            await lab.do(c.KmsTrust("kms", node=service, renew=True))
        assert await health(lab) is ProviderHealth.OK
        await lab.reboot(SERVICES[0])
        assert await health(lab) is ProviderHealth.OK


@pytest.mark.sim
async def test_a_server_that_shows_nothing_is_not_trusted() -> None:
    async with trusted(**KMIP) as lab:
        for service in SERVICES:
            await lab.cut(service, "kms")
        with pytest.raises(KeysteadError, match="kms shows no certificate: TimedOut"):
            await lab.do(c.TrustServers("trusted-provider"))
        await lab.do(c.Heal(all=True))
        await lab.do(c.TrustServers("trusted-provider"))


@pytest.mark.sim
async def test_a_node_that_asks_nobody_has_nothing_to_show() -> None:
    async with trusted(**KMIP) as lab:
        for node, text in (("vcenter", "asks no key server by itself"), (A, "has no vSAN")):
            with pytest.raises(KeysteadError, match=text):
                await lab.do(c.KmsTrust("kms", node=node))
    for wrong in ({"node": A, "provider": PROVIDER}, {}, {"provider": PROVIDER, "renew": True}):
        with pytest.raises(KeysteadError):
            c.KmsTrust("kms", **wrong)


# ---- experiments ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workers() -> Any:
    made = server()
    yield made
    made.close()


PLAYED: Final = {
    "sc-03-kms-on-its-own-vsan": "",
    "sc-04-vcenter-on-an-encrypted-vsan": "",
    "sc-50-firewall-rule-missing-for-one-host": "vsan_keys_through_vcenter",
    "trusted-outage-reboot": "trusted_keys_through_vcenter",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAYED)
def test_experiments_pass_with_either_door(workers: ForkServer, name: str) -> None:
    verdict = run_in_worker(run_experiment, "", name, None, KMIP, server=workers)
    assert verdict.exit_code == Exit.PASS, verdict.checks


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, bug in PLAYED.items() if bug])
def test_they_fail_with_their_bug_too(workers: ForkServer, name: str) -> None:
    verdict = run_in_worker(run_experiment, PLAYED[name], name, None, KMIP, server=workers)
    assert verdict.exit_code == Exit.FAILED
