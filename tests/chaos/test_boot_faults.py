"""F5a, F5b, F6: set up while a host runs (latent), booted, undone; with a TPM and without."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from chaos.errors import ChaosError
from chaos.faults import make_fault
from chaos.faults.base import Fault
from protocol.messages.agent import NodeRunState, TpmAct, TpmBackend
from protocol.messages.host.session import Esxcli, QueryHost
from protocol.terms import HostCryptoState, NodeName
from services.runtime.tpm.backends import missing_for_libtpms
from tests.chaos.worlds import World, exec_installed_only

pytestmark = pytest.mark.sim

HOST = NodeName("esxi-001")
SCREEN = "Unable to restore the system configuration"
BUILD = "24585383"
STOPPING: list[tuple[str, dict[str, Any]]] = [
    ("host.boot_measure", {"secure_boot": False}),
    ("host.exec_option_removed", {}),
    ("host.tpm_disabled", {}),
    ("tpm.dead", {}),
]
"""F5a, and a dead TPM: a sealed host stops, and comes back when it is undone."""
PASSING: list[tuple[str, dict[str, Any]]] = [
    ("host.boot_measure", {"build": BUILD}),
    ("host.boot_measure", {"version": "2.0"}),
    ("host.boot_measure", {"event": "another driver", "pcr": 2}),
]
"""F5b: the policy holds."""


@pytest.fixture(params=["model", "libtpms"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "libtpms" and (why := missing_for_libtpms()):
        pytest.skip(why)
    made = World(hosts=2, vms=2, key_persistence=True, tpm=request.param)
    yield made
    made.close()


@pytest.fixture
def bare() -> Iterator[World]:
    """Hosts without a TPM."""
    made = World(hosts=2, vms=2, tpm="none")
    yield made
    made.close()


def fault_of(world: World, kind: str, values: dict[str, Any]) -> Fault:
    if kind == "host.exec_option_removed":
        world.run(exec_installed_only(world.lab))
    return make_fault(kind, "f", {"on": HOST, **values}, world.lab.directory(), seed=3)


def bite(world: World) -> str:
    [active] = world.keeper.active()
    return world.run(active.fault.bites(world.lab, world.keeper._kept["f"].notes))


def boot(world: World) -> NodeRunState:
    world.run(world.lab.power_off(HOST, "stop"))
    return world.run(world.lab.power_on(HOST)).state


def state(world: World) -> tuple[NodeRunState, int]:
    status = world.run(world.lab.status(HOST))
    return status.state, status.boot


def crypto_state(world: World) -> HostCryptoState:
    return world.run(world.lab.ask(HOST, QueryHost())).summary.crypto_state


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "values"), STOPPING)
def test_what_breaks_the_policy_is_latent_then_stops_and_then_is_undone(
    world: World, kind: str, values: dict[str, Any]
) -> None:
    fault = fault_of(world, kind, values)
    before = state(world)
    world.run(world.keeper.inject(fault))
    assert state(world) == before and crypto_state(world) is HostCryptoState.SAFE
    assert bite(world) == ""
    assert boot(world) is NodeRunState.HALTED
    assert world.run(world.lab.status(HOST)).screen.startswith(SCREEN)
    assert bite(world) == ""
    assert world.run(world.keeper.heal_all()).healed == ("f",)
    assert state(world)[0] is NodeRunState.RUNNING
    assert crypto_state(world) is HostCryptoState.SAFE, "its store is intact"
    assert boot(world) is NodeRunState.RUNNING


def test_a_heal_during_a_boot_leaves_no_host_at_its_screen() -> None:
    """The boot that is under way has the changed setting, and would stop after the heal."""
    world = World(hosts=1, vms=0, key_persistence=True)
    world.run(world.keeper.inject(fault_of(world, "host.boot_measure", {"secure_boot": False})))
    world.run(world.lab.power_off(HOST, "power_loss"))

    async def heal_during_boot() -> None:
        boot = asyncio.ensure_future(world.lab.power_on(HOST))
        while (await world.lab.status(HOST)).state is not NodeRunState.BOOTING:
            await world.lab.sleep(0.1)
        assert (await world.keeper.heal("f")).verified
        await boot
        while (await world.lab.status(HOST)).state is NodeRunState.BOOTING:
            await world.lab.sleep(1)

    world.run(heal_during_boot())
    assert state(world)[0] is NodeRunState.RUNNING
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "values"), STOPPING)
def test_what_was_never_booted_is_undone_without_a_trace(
    world: World, kind: str, values: dict[str, Any]
) -> None:
    fault = fault_of(world, kind, values)
    before = state(world)
    world.run(world.keeper.inject(fault))
    assert world.run(world.keeper.heal_all()).healed == ("f",)
    assert state(world)[1] - before[1] == (1 if kind == "tpm.dead" else 0)
    assert boot(world) is NodeRunState.RUNNING


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "values"), PASSING)
def test_what_the_policy_does_not_cover_boots(
    world: World, kind: str, values: dict[str, Any]
) -> None:
    pcrs = world.run(world.lab.tpm(HOST, TpmAct.INFO)).pcrs
    world.run(world.keeper.inject(fault_of(world, kind, values)))
    assert boot(world) is NodeRunState.RUNNING and bite(world) == ""
    now = world.run(world.lab.tpm(HOST, TpmAct.INFO)).pcrs
    assert now != pcrs and now[7] == pcrs[7]
    assert crypto_state(world) is HostCryptoState.SAFE
    version = world.run(world.lab.ask(HOST, Esxcli(arguments=("system", "version", "get"))))
    assert (BUILD in version.output) is ("build" in values)
    assert world.run(world.keeper.heal_all()).healed == ("f",)
    boot(world)
    assert world.run(world.lab.tpm(HOST, TpmAct.INFO)).pcrs == pcrs


def test_another_build_that_changes_what_is_sealed_is_no_other_build(world: World) -> None:
    """F5b is told from F5a by PCR 7: here somebody changed Secure Boot behind the fault's back."""
    world.run(world.keeper.inject(fault_of(world, "host.boot_measure", {"build": BUILD})))
    [active] = world.keeper.active()
    notes = world.keeper._kept["f"].notes
    notes["pcrs"][HOST]["7"] = "00" * 32
    boot(world)
    assert bite(world) == f"{HOST}: PCR 7 differs too"
    assert world.run(world.keeper.heal_all()).healed == (active.fault.id,)


def test_a_cleared_tpm_under_a_running_host_shows_at_its_next_boot(world: World) -> None:
    before = state(world)
    world.run(world.keeper.inject(fault_of(world, "tpm.clear", {"latent": True})))
    assert state(world) == before and crypto_state(world) is HostCryptoState.SAFE
    assert bite(world) == ""
    assert boot(world) is NodeRunState.HALTED and bite(world) == ""
    left = world.run(world.keeper.heal_all()).left
    assert [fault.id for fault in left] == ["f"]
    assert world.run(world.keeper.heal_all(with_cure=True)).healed == ("f",)
    assert crypto_state(world) is HostCryptoState.SAFE
    assert boot(world) is NodeRunState.RUNNING


def test_a_cleared_tpm_is_sealed_to_anew_before_any_boot(world: World) -> None:
    boots = state(world)[1]
    world.run(world.keeper.inject(fault_of(world, "tpm.clear", {"latent": True})))
    assert world.run(world.keeper.heal_all(with_cure=True)).healed == ("f",)
    assert state(world) == (NodeRunState.RUNNING, boots + 1)
    assert boot(world) is NodeRunState.RUNNING


@pytest.mark.parametrize(
    ("kind", "values", "why"),
    [
        ("host.boot_measure", {"secure_boot": True}, "is set up so already"),
        ("host.boot_measure", {"version": "1.0"}, "is set up so already"),
    ],
)
def test_a_fault_that_changes_nothing_is_refused(
    world: World, kind: str, values: dict[str, Any], why: str
) -> None:
    with pytest.raises(ChaosError, match=why) as caught:
        world.run(world.keeper.inject(fault_of(world, kind, values)))
    assert caught.value.id == "KS-CHAOS-106"


def test_an_option_that_is_not_set_cannot_be_removed(world: World) -> None:
    fault = make_fault("host.exec_option_removed", "f", {"on": HOST}, world.lab.directory(), 3)
    with pytest.raises(ChaosError, match="does not have execInstalledOnly=TRUE"):
        world.run(world.keeper.inject(fault))


def test_the_option_of_a_host_that_is_off_is_not_seen_to_be_back(world: World) -> None:
    world.run(world.keeper.inject(fault_of(world, "host.exec_option_removed", {})))
    world.run(world.lab.power_off(HOST, "stop"))
    report = world.run(world.keeper.heal_all())
    assert not report.healed and "does not run" in report.left[0].seen
    assert world.run(world.lab.power_on(HOST)).state is NodeRunState.HALTED
    assert world.run(world.keeper.heal_all()).healed == ("f",)


def test_a_tpm_without_power_does_not_show_that_it_is_mended(world: World) -> None:
    world.run(world.keeper.inject(fault_of(world, "tpm.dead", {})))
    world.run(world.lab.power_off(HOST, "stop"))
    report = world.run(world.keeper.heal_all())
    assert not report.healed and "is off" in report.left[0].seen
    assert world.run(world.lab.power_on(HOST)).state is NodeRunState.RUNNING
    assert world.run(world.keeper.heal_all()).healed == ("f",)


def test_without_a_tpm_nothing_was_enforced_and_every_boot_passes(bare: World) -> None:
    """R17: Secure Boot off, the option removed, another build: the host boots, and has no PCRs."""
    for line in ("kernel set -s execInstalledOnly -v TRUE",):
        done = bare.run(bare.lab.ask(HOST, Esxcli(arguments=("system", "settings", *line.split()))))
        assert done.exit_code == 0
    boot(bare)
    for kind, values in (*STOPPING[:2], *PASSING):
        fault = make_fault(kind, "f", {"on": HOST, **values}, bare.lab.directory(), seed=3)
        bare.run(bare.keeper.inject(fault))
        assert boot(bare) is NodeRunState.RUNNING and bite(bare) == ""
        assert bare.run(bare.keeper.heal_all()).healed == ("f",)
        boot(bare)
    assert bare.run(bare.lab.status(HOST)).tpm is TpmBackend.NONE
    for kind in ("host.tpm_disabled", "tpm.dead", "tpm.clear"):
        fault = make_fault(kind, "f", {"on": HOST}, bare.lab.directory(), seed=3)
        with pytest.raises(ChaosError, match="has no TPM"):
            bare.run(bare.keeper.inject(fault))
