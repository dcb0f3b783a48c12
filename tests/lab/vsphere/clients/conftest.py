"""Clients of the real product, unmodified, as programs of this machine in front of a simulated lab.

A client is looked for in ``PATH`` and in the folders of ``KEYSTEAD_VSPHERE_CLIENTS`` (such as
``bin`` of a virtual environment). One that is not there is skipped, and pytest counts it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.schema import commands as c
from tests.lab.vsphere.conftest import PASSWORD, Served

USER = "administrator@vsphere.local"
_PATH = ":".join(
    [os.environ.get("KEYSTEAD_VSPHERE_CLIENTS", ""), os.environ.get("PATH", ""), "/usr/sbin"]
)


def find_program(name: str) -> str:
    """The path of a client; the test is skipped when it is not installed."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Machine:
    """A machine with clients: the lab that they see, and how they are run."""

    def __init__(self, served: Served, home: Path) -> None:
        self.served, self.home = served, home

    @property
    def environment(self) -> dict[str, str]:
        """What ``keystead env`` prints, and a home of its own."""
        port, authority = str(self.served.port), str(self.served.folder / "ca.pem")
        return {
            "PATH": _PATH,
            "HOME": str(self.home),
            "GOVC_URL": f"https://127.0.0.1:{port}/sdk",
            "GOVC_USERNAME": USER,
            "GOVC_PASSWORD": PASSWORD,
            "GOVC_TLS_CA_CERTS": authority,
            "GOVC_PERSIST_SESSION": "false",
            "VMWARE_HOST": "127.0.0.1",
            "VMWARE_PORT": port,
            "VMWARE_USER": USER,
            "VMWARE_PASSWORD": PASSWORD,
            "VMWARE_VALIDATE_CERTS": "true",
            "SSL_CERT_FILE": authority,
            "REQUESTS_CA_BUNDLE": authority,
        }

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a client to its end; both of its outputs are ``stdout``."""
        return subprocess.run(
            [find_program(words[0]), *words[1:]],
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            cwd=self.home,
        )

    # ---- the lab

    def pass_time(self, seconds: float) -> None:
        """Let time of the lab pass."""
        self.served.run(lambda: self.served.lab.sleep(seconds))
        self.served.server.watch.forget()

    @contextlib.contextmanager
    def without_key_server(self) -> Iterator[None]:
        """vCenter does not reach its key server, and has noticed."""
        fault = self.served.do(c.LinkCut("vcenter", "kms")).fault.id
        try:
            self.pass_time(600.0)
            yield
        finally:
            self.served.do(c.Heal((fault,), all=False))
            self.pass_time(600.0)

    @contextlib.contextmanager
    def without_host(self, host: str) -> Iterator[None]:
        """A host has lost its power, and vCenter has noticed."""
        self.served.do(c.HostPowerLoss((host,), stay_off=True))
        try:
            self.pass_time(600.0)
            yield
        finally:
            self.served.do(c.HostPowerOn((host,)))
            self.pass_time(600.0)
            self.served.do(c.VmOn(("all",)))

    @contextlib.contextmanager
    def without_vcenter(self) -> Iterator[None]:
        """vCenter is off, and its port is closed."""
        self.served.do(c.HostPowerOff(("vcenter",)))
        try:
            wait_until(lambda: not self.served.listener.is_open)
            yield
        finally:
            self.served.do(c.HostPowerOn(("vcenter",)))
            self.pass_time(60.0)
            wait_until(lambda: bool(self.served.listener.is_open))


def wait_until(condition: Callable[[], bool]) -> None:
    """Until it holds; fails after a while."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A machine in front of a lab of its own for each module."""
    made = Served(tmp_path_factory.mktemp("lab"))
    made.start()
    yield Machine(made, tmp_path_factory.mktemp("home"))
    made.stop()
