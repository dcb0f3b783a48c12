"""A lab of real processes behind its API server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from pyVim.task import WaitForTask
from pyVmomi import vim

from lab.schema import commands as c
from lab.vsphere.http.host_server import HostListeners
from tests.lab.vsphere.conftest import PASSWORD, Served

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, "lab")
    made.start()
    yield made
    made.stop()


def _until_refused(read: Any) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            read()
        except OSError:
            return
        time.sleep(0.05)
    raise AssertionError("the port of a vCenter that is off is still open")


def test_a_task_is_done_and_a_vcenter_that_is_off_has_a_closed_port(real: Served) -> None:
    with real.session() as si:
        vm = si.content.searchIndex.FindByInventoryPath("dc/vm/vm-01")
        assert WaitForTask(vm.PowerOffVM_Task(), si=si) == "success"
        assert vm.runtime.powerState == "poweredOff"
        latest = si.content.eventManager.QueryEvents(vim.event.EventFilterSpec())[-1].createdTime
        since = (si.CurrentTime() - latest).total_seconds()
        assert 0 <= since < 120, "one clock for events, tasks and CurrentTime, at any pace"
        folder = si.content.rootFolder
        real.do(c.HostPowerOff(("vcenter",)))
        _until_refused(lambda: folder.name)
        real.do(c.HostPowerOn(("vcenter",)))
        end = time.monotonic() + 60
        while True:
            try:
                with pytest.raises(vim.fault.NotAuthenticated):
                    _ = folder.name
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.1)
    with real.session() as again:
        assert again.content.searchIndex.FindByInventoryPath("dc/vm/vm-01")._moId == vm._moId


def test_a_real_host_is_there_while_vcenter_is_off(real: Served) -> None:
    hosts = HostListeners(real.server, PASSWORD, real.folder)
    real.run(hosts.look)
    (port,) = hosts.ports.values()
    real.do(c.HostPowerOff(("vcenter",)))
    with real.session("root", port=port) as si:
        vm = si.content.searchIndex.FindByInventoryPath("ha-datacenter/vm/vm-01")
        assert WaitForTask(vm.PowerOffVM_Task(), si=si) == "success"
        assert vm.runtime.powerState == "poweredOff"
        assert WaitForTask(vm.PowerOnVM_Task(), si=si) == "success"
    real.do(c.HostPowerLoss(("esxi-001",), stay_off=True))
    real.run(hosts.look)
    with pytest.raises(OSError), real.session("root", port=port):
        pass
    real.run(hosts.close)


def test_clients_of_a_real_lab_hang_while_their_link_is_cut(real: Served) -> None:
    with real.session() as si, ThreadPoolExecutor(1) as pool:
        real.do(c.LinkCut("client", "vcenter"))
        answers: list[Any] = []
        _until(lambda: not real.listener.link.accepts)
        asking = pool.submit(lambda: answers.append(si.CurrentTime()))
        with socket.create_connection(("localhost", real.port), 1) as waiting:
            with pytest.raises(TimeoutError):
                waiting.recv(1)
        assert not answers
        real.do(c.Heal(all=True))
        asking.result(10)
        assert answers


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
