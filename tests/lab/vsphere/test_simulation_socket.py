"""Commands of other processes for a simulated lab behind an API server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("pyVmomi")

from lab.local.simulation_socket import find_simulation, simulation_socket
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.simulation.workers import Simulated
from tests.lab.cli.conftest import Cli
from tests.lab.vsphere.test_hosts import find_vm, hosts, on_host

if TYPE_CHECKING:
    from lab.vsphere.http.host_server import HostListeners
    from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]
__all__ = ["hosts"]


@pytest.fixture
def cli(served: Served, tmp_path: Path) -> Iterator[Cli]:
    """A command line that knows the served lab as ``story``."""
    made = Cli(tmp_path / "state", KEYSTEAD_NAME="story")
    folder = made.home / "labs" / "story"
    folder.mkdir(parents=True)
    stack = contextlib.AsyncExitStack()

    async def open_door() -> None:
        proxy = simulation_socket(folder, served.lab.simulated.call)
        await stack.enter_async_context(proxy)

    served.run(open_door)
    yield made
    served.run(stack.aclose)
    assert made("get", "vms").code != 0 and not list(folder.iterdir())


@pytest.mark.slow
def test_the_command_line_has_the_lab_and_its_time(served: Served, cli: Cli) -> None:
    before = served.do(c.GetStatus()).lab_time
    cli.ok("sleep", "10m")
    assert served.do(c.GetStatus()).lab_time - before == pytest.approx(600, abs=1)
    late = cli("wait", "--for", "vm.running=none", "--timeout", "10s")
    assert late.code == 6 and "running: vm-01" in late.err
    refused = cli("vm", "on", "vm-1")
    assert "there is no VM vm-1; did you mean vm-01?" in refused.err


def test_one_simulated_lab_has_a_name_and_answers_what_it_may(
    served: Served, tmp_path: Path
) -> None:
    async def play() -> None:
        call = served.lab.simulated.call
        async with simulation_socket(tmp_path, call):
            with pytest.raises(KeysteadError, match="another simulated lab is called"):
                async with simulation_socket(tmp_path, call):
                    pass
            client = await find_simulation(tmp_path)
            assert client is not None
            assert (await client.call("trace", b"")) == await call("trace", b"")
            with pytest.raises(KeysteadError, match="beside is not a call"):
                await client.call("beside", b"")
            lab = Simulated(client)
            assert len((await lab.do(c.GetNodes())).items) == 5
            with pytest.raises(KeysteadError, match="there is no node nobody"):
                await lab.do(c.LinkHeal("nobody", "kms"))
            await client.close()
        assert await find_simulation(tmp_path) is None

    served.run(play)


def test_a_look_is_no_step_of_the_simulation(served: Served) -> None:
    before = served.run(served.lab.trace)
    nodes = served.run(lambda: served.lab.simulated.look(c.GetNodes()))
    assert len(nodes.items) == 5 and served.run(served.lab.trace) == before
    served.run(lambda: served.lab.do(c.GetVms()))
    assert served.run(served.lab.trace) != before


def test_servers_of_one_lab_see_what_any_of_them_changed(
    served: Served, hosts: HostListeners
) -> None:
    with served.session() as si, on_host(served, hosts, "esxi-002") as own:
        here = find_vm(own, "vm-02")
        assert here.runtime.powerState == "poweredOn"
        there = si.content.searchIndex.FindByInventoryPath("dc/vm/vm-02")
        there.PowerOffVM_Task()
        assert here.runtime.powerState == "poweredOff"
        there.PowerOnVM_Task()
        assert here.runtime.powerState == "poweredOn"
