"""Two key providers with key servers of their own, as a lab begins with them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema.commands import GetProviders, LinkCut, VmCreate, VmEncrypt
from protocol.terms import PowerState
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.sim

P, Q = "kms-provider", "kms-provider-2"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """P with a pair of key servers, Q with one."""
    async with Lab(mode="sim", seed=3, hosts=2, vms=2, kms=2, providers=2) as made:
        yield made


async def test_both_are_registered_and_one_is_the_default(lab: Lab) -> None:
    listed = (await lab.do(GetProviders())).items
    assert {p.provider: p.default for p in listed} == {P: True, Q: False}


async def test_a_vm_is_encrypted_under_the_provider_that_is_named(lab: Lab) -> None:
    made = await lab.do(VmCreate("named", encrypted=True, provider=Q))
    assert made.key is not None and made.key.startswith(f"{Q}/")
    await lab.do(VmCreate("later"))
    later = await lab.do(VmEncrypt("later", provider=Q))
    assert later.key is not None and later.key.startswith(f"{Q}/")
    plain = await lab.do(VmCreate("default", encrypted=True))
    assert plain.key is not None and plain.key.startswith(f"{P}/")


async def test_a_link_fault_names_the_key_servers_of_one_provider(lab: Lab) -> None:
    cut = await lab.do(LinkCut("vcenter", f"provider:{P}"))
    assert cut.fault.summary == "cut vcenter <-> kms-1, kms-2"
    await refused(lab, VmCreate("no", encrypted=True))
    made = await lab.do(VmCreate("yes", encrypted=True, provider=Q))
    assert made.key is not None and made.key.startswith(f"{Q}/")
    await lab.heal(cut.fault.id)
    assert (await lab.do(VmCreate("again", encrypted=True))).key is not None
    assert [row.power for row in await lab.vm_on("yes", "again")] == [PowerState.ON] * 2
