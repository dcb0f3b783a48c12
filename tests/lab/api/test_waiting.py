"""Waiting for a condition, in virtual time: what holds, what is missing, what is no condition."""

from __future__ import annotations

import pytest

from lab.client import Lab
from lab.schema.commands import HostCrash
from lab.schema.errors import KeysteadError, explanation_of
from lab.serve.waiting import condition

pytestmark = pytest.mark.sim


@pytest.mark.slow
async def test_a_wait_ends_when_it_is_so_and_names_what_is_missing_when_it_never_is() -> None:
    async with Lab(mode="sim", seed=5, hosts=2, vms=4) as lab:
        await lab.wait_for("vm.running=all", "host.connected=2", "fault.active=none")
        await lab.cut("vcenter", "kms")
        await lab.wait_for("fault.active=1", "fault.active=link-cut-1")
        await lab.reboot("esxi-001")
        await lab.wait_for("vm.locked=vm-01,vm-03", "vm.running=2", "host.running=all")
        with pytest.raises(KeysteadError) as late:
            await lab.wait_for("vm.running=all", "vm.locked=none", within_s=5)
        assert late.value.id == "KS-WAIT-001"
        assert "vm.running=all: not running: vm-01, vm-03" in str(late.value)
        assert "vm.locked=none: locked: vm-01, vm-03" in str(late.value)
        await lab.heal()
        await lab.wait_for("vm.unlocked=all", "vm.off=vm-01,vm-03", "host.safe=all")
    found = explanation_of("KS-WAIT-001")
    assert found is not None and found.exit_code == 6


async def test_vcenter_may_be_away_for_a_while() -> None:
    async with Lab(mode="sim", seed=5, hosts=1, vms=1) as lab:
        await lab.do(HostCrash(("vcenter",)))
        with pytest.raises(KeysteadError) as late:
            await lab.wait_for("vm.running=all", within_s=3)
        assert late.value.id == "KS-WAIT-001", "it waited"


async def test_what_was_last_seen_to_run_is_not_taken_to_run() -> None:
    async with Lab(mode="sim", seed=5, hosts=2, vms=2) as lab:
        await lab.do(HostCrash(("esxi-001",)))
        await lab.wait_for("vm.running=vm-02", "vm.running=1", "host.safe=1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing is none of vm.running"),
        ("vm.happy=all", "vm.happy is none of"),
        ("vm.running", "write vm.running=all"),
        ("vm.running=", "write vm.running=all"),
    ],
)
def test_what_is_no_condition_is_told_with_those_that_are(text: str, said: str) -> None:
    with pytest.raises(KeysteadError, match=said) as wrong:
        condition(text)
    assert wrong.value.id == "KS-USE-003"


async def test_all_of_nothing_is_not_all() -> None:
    async with Lab(mode="sim", seed=5, hosts=1, vms=0) as lab:
        await lab.wait_for("vm.running=none")
        with pytest.raises(KeysteadError, match="not running: "):
            await lab.wait_for("vm.running=all", within_s=2)
