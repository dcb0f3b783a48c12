"""A lab on two machines whose key server is asked by KMIP.

What is said between them passes a gate, under the link rules of both ends, as on one machine.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from lab.schema.commands import FaultInject, GetNodes, GetVms, Heal, HostPowerOn, LinkCut, VmCreate
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder
from tests.lab.cli.conftest import until
from tests.lab.machines.conftest import lab_file
from tests.lab.machines.test_story import Two, joined

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", params=["kms", pytest.param("vcenter", marks=pytest.mark.slow)])
def two(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Two]:
    """The key server stands there and vCenter here, or the other way round."""
    content = lab_file(kms=[{"name": "kms", "transport": "kmip"}])
    content["machines"][0]["nodes"] = [request.param]
    with joined(tmp_path_factory.mktemp("gates"), content) as made:
        yield made


@pytest.mark.slow
def test_a_vm_is_encrypted_with_a_key_that_came_by_kmip_from_there(two: Two) -> None:
    (there,) = (two.far.cli.home / "agents").glob("*/where.json")
    here = LabFolder("far").path / "where.json"
    names = [sorted(json.loads(path.read_bytes())) for path in (here, there)]
    assert sorted(names[0] + names[1]) == ["esxi-001", "esxi-002", "kms", "vcenter"]
    assert "esxi-002" in names[0] and "esxi-001" in names[1]
    two.ask(VmCreate("one", encrypted=True, host="esxi-001"))
    assert until(lambda: all(vm.crypto == "unlocked" for vm in two.ask(GetVms()).items), 30)


def refused(two: Two, name: str) -> bool:
    try:
        two.ask(VmCreate(name, encrypted=True, host="esxi-001"))
    except KeysteadError as error:
        return error.id == "KS-PRODUCT-001"
    return False


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["cut", "link.stall", "link.reset"])
def test_faults_of_the_link_bite_and_heal_as_on_one_machine(two: Two, fault: str) -> None:
    if fault == "cut":
        two.ask(LinkCut(a="vcenter", b="kms"))
    else:
        begun = two.ask(FaultInject(fault, {"between": ["vcenter", "kms"]})).fault
        assert begun.state == "active", begun
    assert refused(two, f"vm-{fault}")
    two.ask(Heal((), True))
    two.ask(VmCreate(f"after-{fault}", encrypted=True, host="esxi-001"))


@pytest.mark.slow
def test_a_machine_that_comes_again_is_found(two: Two) -> None:
    two.far.signal(signal.SIGKILL)
    two.far.join(two.bundle)
    assert until(lambda: two.stands("joined"), 40)

    def all_on() -> bool:
        nodes = two.ask(GetNodes()).items
        if off := tuple(n.node for n in nodes if n.state == "off"):
            two.ask(HostPowerOn(off))
        return all(n.state == "running" for n in nodes)

    assert until(all_on, 60)
    two.ask(VmCreate("again", encrypted=True, host="esxi-001"))
