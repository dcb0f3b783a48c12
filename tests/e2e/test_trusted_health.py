"""HLT-06: what vCenter tells of a trusted provider before any host needs a key of it."""

from __future__ import annotations

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.terms import ProviderHealth

pytestmark = pytest.mark.sim
TRUST = "com.vmware.vc.kms.crypto.TrustAuthority."
PERIOD_S = 300.0


def trusted() -> Lab:
    return Lab("sim", topology="trusted", seed=7, hosts=2, vms=2, tpm="model")


async def told(lab: Lab) -> list[str]:
    found = [e.event.value for e in (await lab.do(c.GetEvents())).items]
    return [one.removeprefix(TRUST) for one in found if one.startswith(TRUST)]


async def health(lab: Lab) -> ProviderHealth | None:
    (found,) = (await lab.do(c.GetProviders())).items
    return found.health


@pytest.mark.slow
@pytest.mark.parametrize(
    ("off", "event", "shown"),
    [
        (("keyprovider-1", "keyprovider-2"), "ClusterNotAvailable", ProviderHealth.ERROR),
        (("keyprovider-2",), "ClusterUnhealthy", ProviderHealth.WARNING),
        (("kms",), "KmsUnhealthy", ProviderHealth.WARNING),
    ],
)
async def test_trouble_is_told_within_a_period_though_nobody_needs_a_key(
    off: tuple[str, ...], event: str, shown: ProviderHealth
) -> None:
    async with trusted() as lab:
        await lab.sleep(2 * PERIOD_S)
        assert await told(lab) == [] and await health(lab) is ProviderHealth.OK
        await lab.do(c.HostPowerOff(off))
        await lab.sleep(PERIOD_S + 30)
        assert await told(lab) == [event]
        assert await health(lab) is shown
        await lab.sleep(2 * PERIOD_S)
        assert await told(lab) == [event]  # it is the same trouble
        await lab.do(c.HostPowerOn(off))
        await lab.sleep(PERIOD_S + 30)
        assert await health(lab) is ProviderHealth.OK
        assert len(await told(lab)) == 1


async def test_a_host_that_waits_long_for_silent_services_is_heard() -> None:
    """It asks all of them at once, and vCenter waits for its answer longer than it for theirs."""
    knobs = {"trust_timeout_s": 40}
    async with Lab(
        "sim", topology="trusted", seed=7, hosts=2, vms=2, tpm="model", knobs=knobs
    ) as lab:
        await lab.sleep(PERIOD_S)
        for service in ("keyprovider-1", "keyprovider-2"):
            await lab.do(c.FaultInject("proc.pause", {"on": service}))
        await lab.sleep(PERIOD_S + 60)
        assert await told(lab) == ["ClusterNotAvailable"]


async def test_a_silent_host_does_not_hold_up_the_deletion_of_a_provider() -> None:
    """It is done, and the others know it (DEL-01); the one that was silent learns it later."""
    async with trusted() as lab:
        await lab.sleep(10)
        await lab.do(c.FaultInject("proc.pause", {"on": "esxi-001"}))
        await lab.do(c.ProviderDelete("trusted-provider"))
        assert not (await lab.do(c.GetProviders())).items


async def test_the_first_host_that_attests_in_vain_has_all_of_them_looked_at() -> None:
    services = ("attestation-1", "attestation-2", "keyprovider-1", "keyprovider-2")
    async with trusted() as lab:
        await lab.sleep(PERIOD_S + 10)
        await lab.do(c.HostPowerOff(services))
        await lab.do(c.HostPowerLoss(("esxi-001",)))
        await lab.sleep(120)
        assert (await told(lab))[-1] == "ClusterNotAvailable"
