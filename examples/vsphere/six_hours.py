"""Six hours without the key server, seen by a runbook of pyVmomi. They pass in seconds.

``python six_hours.py`` needs ``pip install 'keystead[vsphere]'``. The lab is simulated: its time
passes while the runbook waits in WaitForUpdatesEx or for a task.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from keystead import Lab

OUTAGE_S = 6 * 3600
PATHS = ("name", "runtime.powerState", "runtime.cryptoState")
PC = vmodl.query.PropertyCollector


class Watch:
    """VMs of a vCenter, as WaitForUpdatesEx reports them."""

    def __init__(self, si: Any) -> None:
        self.si, self.vms = si, {}  # type: ignore[var-annotated]
        content = si.content
        view = content.viewManager.CreateContainerView(
            content.rootFolder, [vim.VirtualMachine], True
        )
        walk = PC.TraversalSpec(type=type(view), path="view", skip=False)
        start = PC.ObjectSpec(obj=view, skip=True, selectSet=[walk])
        wanted = PC.PropertySpec(type=vim.VirtualMachine, pathSet=list(PATHS))
        self._collector = content.propertyCollector.CreatePropertyCollector()
        self._collector.CreateFilter(PC.FilterSpec(objectSet=[start], propSet=[wanted]), True)
        self._version = ""

    def wait(self, seconds: float) -> None:
        """Until something changes, or this much time of the lab has passed."""
        options = PC.WaitOptions(maxWaitSeconds=max(math.ceil(seconds), 0))
        found = self._collector.WaitForUpdatesEx(self._version, options)
        if found is None:
            return
        self._version = found.version
        for changed in (one for part in found.filterSet for one in part.objectSet):
            row = self.vms.setdefault(changed.obj, {})
            row.update({change.name: change.val for change in changed.changeSet})

    def wait_until(self, condition: Callable[[], bool], within: float) -> None:
        """Until it holds; ``TimeoutError`` after this much time of the lab."""
        end = self.now() + within
        while not condition():
            if self.now() >= end:
                raise TimeoutError(f"not after {within:g} seconds")
            self.wait(end - self.now())

    def now(self) -> float:
        """The time of the lab."""
        return float(self.si.CurrentTime().timestamp())

    def names(self, path: str, value: str) -> list[str]:
        """VMs whose property has a value."""
        return sorted(row["name"] for row in self.vms.values() if row.get(path) == value)


def provider_status(si: Any) -> str:
    """green, yellow or red, as monitoring asks for it."""
    task = si.content.cryptoManager.RetrieveKmipServersStatus_Task()
    WaitForTask(task, si=si)
    return str(task.info.result[0].overallStatus)


def play(lab: Lab, tell: Callable[[str], None] = print) -> None:
    """The outage, and what the runbook does about it."""
    trust = ssl.create_default_context(cafile=lab.ca_file)
    host, port = lab.url.removeprefix("https://").split(":")
    si = SmartConnect(
        host=host, port=int(port), user=lab.user, pwd=lab.password, sslContext=trust
    )  # fmt: skip
    watch = Watch(si)
    watch.wait(0)
    tell(f"before: key provider {provider_status(si)}, {len(watch.vms)} VMs")

    lab.cut("vcenter", "kms")
    lab.reboot("esxi-001")  # its keys were in memory only
    begun = watch.now()
    watch.wait_until(lambda: bool(watch.names("runtime.cryptoState", "locked")), 1800)
    tell(f"locked: {', '.join(watch.names('runtime.cryptoState', 'locked'))}")
    while watch.now() < begun + OUTAGE_S:
        watch.wait(begun + OUTAGE_S - watch.now())
    tell(f"after {(watch.now() - begun) / 3600:.0f} hours: key provider {provider_status(si)}")

    lab.heal(all=True)
    watch.wait_until(lambda: not watch.names("runtime.cryptoState", "locked"), 1800)
    for vm, row in watch.vms.items():
        if row["runtime.powerState"] == "poweredOff":
            WaitForTask(vm.PowerOnVM_Task(), si=si)
    watch.wait(0)
    running = watch.names("runtime.powerState", "poweredOn")
    tell(f"healed: key provider {provider_status(si)}, {len(running)} VMs run")
    Disconnect(si)


if __name__ == "__main__":
    with Lab("default", seed=7, serve=True) as served:
        start = time.monotonic()
        play(served)
        print(f"{time.monotonic() - start:.1f} seconds")
