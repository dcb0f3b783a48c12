"""A trusted cluster on one machine, its Trust Authority on another, vCenters and key server here.

One lab for all tests; each leaves it with all nodes and VMs running.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from lab.local.remote import Remote
from lab.schema import commands as c
from lab.state.state_folder import LabFolder
from protocol.terms import HostCryptoState, PowerState, VmCryptoState
from protocol.trust import TrustItem
from services.runtime.tpm.backends import missing_for_libtpms
from tests.lab.cli.conftest import Cli, until
from tests.lab.machines.conftest import trusted_file
from tests.lab.machines.test_story import Far

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}"),
]
A = TypeVar("A")
HOST, VM = "esxi-001", "vm-01"
TRUSTED_HOSTS = ("get", "trusted-hosts", "-n", "far")
SERVICES = ("attestation-1", "keyprovider-1", "attestation-2", "keyprovider-2")


class Trusted:
    """The lab ``far`` with machines ``east``, of hosts, and ``west``, of services."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.here = folder, Cli(folder / "here")
        self.far = {name: Far(folder / name) for name in ("east", "west")}

    def bundle(self, machine: str) -> Path:
        return self.far[machine].cli.home.with_suffix(".bundle")

    def issue(self, machine: str) -> None:
        """Write its bundle, and have it join with that."""
        self.here.ok("lab", "bundle", machine, "-n", "far", "-o", str(self.bundle(machine)))
        self.far[machine].join(self.bundle(machine))

    def start(self) -> None:
        file = self.folder / "far.yaml"
        file.write_text(json.dumps(trusted_file()))
        up = self.here.begin("up", str(file), "-n", "far", "--progress", "plain")
        heard = ("wait for machine east, west" in line for line in up.stderr or ())
        assert any(heard), up.communicate(timeout=10)
        for name in self.far:
            self.issue(name)
        _, told = up.communicate(timeout=120)
        assert up.returncode == 0, told

    def end(self) -> None:
        for machine in self.far.values():
            machine.end()
        self.here.end()

    def ask(self, command: c.Command[A]) -> A:
        async def one() -> A:
            async with Remote(LabFolder("far")) as lab:
                return await lab.do(command)

        return asyncio.run(one())

    def standing(self, machine: str) -> str:
        return next(m.standing for m in self.ask(c.GetMachines()).items if m.machine == machine)

    def states(self) -> dict[str, str]:
        return {str(node.node): node.state for node in self.ask(c.GetNodes()).items}

    def attested(self) -> dict[str, str]:
        return {str(host.host): host.attestation for host in self.ask(c.GetTrustedHosts()).items}

    def vm_runs(self) -> bool:
        """As its host says, whatever vCenter knows."""
        view = self.ask(c.GetHostView(HOST))
        seen = {str(vm.vm): (vm.power, vm.missing) for vm in view.vms}
        return view.crypto_state is HostCryptoState.SAFE and seen == {VM: (PowerState.ON, ())}

    def crypto(self) -> VmCryptoState | None:
        return next(vm.crypto for vm in self.ask(c.GetVms()).items if vm.vm == VM)

    def heal(self) -> None:
        self.ask(c.Heal((), True))
        assert until(lambda: self.crypto() == "unlocked", 60), self.ask(c.GetVms())
        if not self.vm_runs():
            self.ask(c.VmOn((VM,)))  # unlocking powers nothing on (LOCK-05)
        assert until(lambda: set(self.attested().values()) == {"attested"}, 30)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusted]:
    made = Trusted(tmp_path_factory.mktemp("trusted"))
    patch = pytest.MonkeyPatch()
    patch.setenv("KEYSTEAD_STATE_HOME", str(made.here.home))
    try:
        made.start()
        yield made
    finally:
        made.end()
        patch.undo()


def private(home: Path) -> set[str]:
    """Nodes whose private identities lie below this state folder."""
    return {path.stem for path in home.glob("agents/*/identity/node/*.json")}


@pytest.mark.slow
def test_services_are_elsewhere_and_each_machine_has_identities_of_its_own(lab: Trusted) -> None:
    assert until(lambda: lab.attested() == {HOST: "attested", "esxi-002": "attested"}, 20)
    assert len(lab.far["west"].nodes()) == 2, "one process for each host of the Trust Authority"
    assert private(lab.far["west"].cli.home) == set(SERVICES)
    assert private(lab.far["east"].cli.home) == {HOST, "esxi-002"}
    # What services keep durably lies where they are, and nowhere else.
    stores = [path for path in lab.far["west"].cli.home.glob("agents/*/nodes/*/disk")]
    assert {path.parent.name for path in stores} == set(SERVICES)
    assert not [n for n in SERVICES if (lab.here.home / "labs/far/nodes" / n).exists()]


@pytest.mark.slow
def test_a_host_without_power_is_back_while_both_vcenters_are_down(lab: Trusted) -> None:
    lab.ask(c.FaultInject("vcenter.down", {}))
    boot = next(node.boot for node in lab.ask(c.GetNodes()).items if node.node == HOST)
    lab.ask(c.HostPowerLoss((HOST,)))
    assert until(lab.vm_runs, 30), lab.ask(c.GetHostView(HOST))
    view = lab.ask(c.GetHostView(HOST))
    assert view.session == "", "no vCenter has commanded it in this life"
    assert next(node.boot for node in lab.ask(c.GetNodes()).items if node.node == HOST) > boot
    lab.heal()


@pytest.mark.slow
def test_a_host_of_the_trust_authority_is_killed_and_the_other_one_serves(lab: Trusted) -> None:
    lab.ask(c.FaultInject("proc.kill", {"on": "attestation-1"}))
    assert (lab.states()["attestation-1"], lab.states()["keyprovider-1"]) == ("off", "off")
    lab.ask(c.HostPowerLoss((HOST,)))
    assert until(lab.vm_runs, 30), lab.ask(c.GetHostView(HOST))
    lab.heal()
    assert lab.states()["keyprovider-1"] == "running"


@pytest.mark.slow
def test_what_is_cut_off_from_both_hosts_gets_no_key_until_one_is_reached(lab: Trusted) -> None:
    for service in SERVICES:
        lab.ask(c.LinkCut(HOST, service))
    lab.ask(c.HostPowerLoss((HOST,)))
    assert until(lambda: lab.crypto() == "locked", 60), lab.ask(c.GetVms())
    assert not lab.vm_runs()
    lab.heal()


@pytest.mark.slow
def test_exports_and_imports_are_of_hosts_that_are_elsewhere(lab: Trusted, tmp_path: Path) -> None:
    """An image that is taken away is measured again there, and imported from here."""
    image = tmp_path / "image.json"
    lab.ask(c.TrustExport("base-image", str(image), host=HOST))
    version = json.loads(image.read_text())["base_image"]["version"]
    lab.ask(c.TrustRemove(TrustItem.BASE_IMAGE, version))
    lab.ask(c.HostPowerLoss((HOST,)))
    assert until(lambda: lab.attested()[HOST] == "notAttested", 60), lab.attested()
    assert not lab.vm_runs()
    told = lab.here.ok(*TRUSTED_HOSTS).out
    assert "is no imported base image" in told, told
    lab.ask(c.TrustImport(str(image)))
    lab.heal()


@pytest.mark.slow
def test_a_machine_of_services_that_is_lost_and_comes_back(lab: Trusted) -> None:
    """Its services keep what they are to have: nobody gives it to them again."""
    west = lab.far["west"]
    west.signal(signal.SIGKILL)
    assert until(lambda: west.nodes() == [] and lab.standing("west") == "away", 30)
    assert lab.vm_runs(), "what runs goes on"
    lab.ask(c.HostPowerLoss((HOST,)))
    assert until(lambda: lab.crypto() == "locked", 60), lab.ask(c.GetVms())
    west.join(lab.bundle("west"))
    assert until(lambda: lab.standing("west") == "joined", 60)
    vcenters = lab.ask(c.FaultInject("vcenter.down", {})).fault
    assert until(lambda: set(map(lab.states().get, SERVICES)) == {"off"}, 30)
    lab.ask(c.HostPowerOn(SERVICES))
    assert until(lambda: lab.ask(c.GetHostView(HOST)).crypto_state is HostCryptoState.SAFE, 60)
    lab.ask(c.Heal((vcenters.id,), False))
    lab.heal()


@pytest.mark.slow
def test_a_machine_of_services_that_is_replaced_is_trusted_when_its_services_are_imported(
    lab: Trusted, tmp_path: Path
) -> None:
    """Its disks are gone, and with them the certificates that tokens were signed with: what the
    services are to have they get by themselves, and hosts believe them when they are told to."""
    lab.far["west"].end()
    assert until(lambda: lab.standing("west") == "away", 30)
    lab.far["west"] = Far(lab.folder / "another-west")
    lab.issue("west")
    assert until(lambda: lab.standing("west") == "joined", 60)
    lab.ask(c.HostPowerOn(SERVICES))
    lab.ask(c.HostPowerLoss((HOST,)))
    assert until(lambda: lab.crypto() == "locked", 60), lab.ask(c.GetVms())
    assert until(lambda: "its issuer is unknown" in lab.here.ok(*TRUSTED_HOSTS).out, 60)
    services = tmp_path / "services.json"
    lab.ask(c.TrustExport("services-information", str(services)))
    lab.ask(c.TrustImport(str(services)))
    lab.ask(c.TrustRemediate("a"))
    lab.heal()


@pytest.mark.slow
def test_a_power_loss_of_all_hosts_as_an_experiment(lab: Trusted) -> None:
    words = ("chaos", "run", "trusted-outage-reboot", "--mode", "lab", "--on", "far")
    ran = lab.here(*words)
    assert ran.code == 0 and "PASS (exit 0)" in ran.out, ran
