"""Faults of the link between clients and their servers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyVmomi")

from chaos.errors import ChaosError
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from tests.lab.vsphere.test_hosts import hosts, on_host

if TYPE_CHECKING:
    from lab.vsphere.http.host_server import HostListeners
    from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]
__all__ = ["hosts"]
SILENT_S = 0.15
"""Real seconds after which a client that has no answer is taken to wait."""


@contextlib.contextmanager
def during(served: Served, fault: Any) -> Iterator[None]:
    """With a fault of the lab, healed at the end."""
    served.do(fault)
    served.run(served.server.look_again)
    try:
        yield
    finally:
        served.do(c.Heal(all=True))
        served.run(served.server.look_again)


def ask(work: Any) -> Future[Any]:
    """The answer to a request that may wait."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work)
    finally:
        pool.shutdown(wait=False)


def wait_until(condition: Callable[[], bool]) -> None:
    """Until it holds; fails after a while."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end


def shakes_hands(served: Served, port: int) -> bool:
    context = ssl.create_default_context(cafile=served.folder / "ca.pem")
    with socket.create_connection(("localhost", port), SILENT_S) as plain:
        try:
            context.wrap_socket(plain, server_hostname="localhost").close()
        except TimeoutError:
            return False
        return True


@pytest.mark.parametrize("one_way", [False, True])
def test_a_client_that_is_cut_off_waits_until_the_link_is_healed(
    served: Served, one_way: bool
) -> None:
    with served.session() as si:
        with during(served, c.LinkCut("client", "vcenter", one_way=one_way)):
            answer = ask(si.CurrentTime)
            with pytest.raises(Late):
                answer.result(SILENT_S)
            assert not shakes_hands(served, served.port)
        assert answer.result(10) is not None and shakes_hands(served, served.port)


def test_a_cut_of_answers_lets_requests_in(served: Served) -> None:
    with served.session() as si:
        vm = si.content.searchIndex.FindByInventoryPath("dc/vm/vm-01")
        with during(served, c.LinkCut("vcenter", "client", one_way=True)):
            answer = ask(vm.PowerOffVM_Task)
            wait_until(lambda: served.do(c.GetVms()).items[0].power == "poweredOff")
            with pytest.raises(Late):
                answer.result(SILENT_S)
        assert answer.result(10).info.state == "success"
        vm.PowerOnVM_Task()


def test_a_delay_takes_time_of_the_lab_both_ways(served: Served) -> None:
    with served.session() as si:
        before = served.do(c.GetStatus()).lab_time
        with during(served, c.LinkDelay("client", "vcenter", 20.0)):
            si.CurrentTime()
        assert 40 <= round(served.do(c.GetStatus()).lab_time - before, 3) < 60


def test_connections_are_reset_when_they_are_used(served: Served) -> None:
    with served.session() as si:
        with during(served, c.LinkReset("client", "vcenter")), pytest.raises(OSError):
            si.CurrentTime()
        assert si.CurrentTime() is not None


def test_each_server_has_a_link_of_its_own(served: Served, hosts: HostListeners) -> None:
    with served.session() as si, on_host(served, hosts, "esxi-002") as own:
        with during(served, c.LinkCut("client", "esxi-002")):
            answer = ask(own.CurrentTime)
            with pytest.raises(Late):
                answer.result(SILENT_S)
            assert si.CurrentTime() is not None
            assert not shakes_hands(served, hosts.ports["esxi-002"])
            assert shakes_hands(served, hosts.ports["esxi-001"])
            served.do(c.LinkHeal("esxi-002", "client"))
            served.run(served.server.look_again)
            assert answer.result(10) is not None


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (c.LinkCut("client", "kms"), "clients have links to vCenters and hosts"),
        (c.LinkLoss("client", "vcenter", 0.5), "TCP repairs everything else"),
    ],
)
def test_a_link_that_clients_do_not_have(served: Served, fault: Any, text: str) -> None:
    with pytest.raises((ChaosError, KeysteadError), match=text):
        served.do(fault)
