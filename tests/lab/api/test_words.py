"""What an administrator reads is in the product's words: no name of a message of ours is in it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import TypeVar

import msgspec
import pytest

import protocol.messages
from lab.schema import commands as c
from lab.schema.answers import Answer
from lab.schema.errors import KeysteadError
from lab.serve.table import perform
from lab.simulation.sim_lab import SimLab, make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.base import Request

pytestmark = pytest.mark.sim
A = TypeVar("A", bound=Answer)


def message_names() -> list[str]:
    """Requests whose name is no word of a language: two capitals at least."""
    for module in pkgutil.walk_packages(protocol.messages.__path__, "protocol.messages."):
        importlib.import_module(module.name)
    found: list[type] = [Request]
    for kind in found:
        found += kind.__subclasses__()
    return [k.__name__ for k in found if re.search(r"[a-z][A-Z]", k.__name__)]


class Reader:
    """An administrator of a simulated lab, who keeps all that he reads."""

    def __init__(self) -> None:
        self.lab: SimLab
        topology = plan(load("default", hosts=2, vms=2, tpm="model", key_persistence=True))
        self.lab, self.session = make(topology, 5)
        self.read: list[str] = []

    def do(self, command: c.Command[A]) -> A | None:
        try:
            answer = self.lab.run(perform(self.session, command))
        except KeysteadError as error:
            self.read.append(f"{error} {error.fix}")
            return None
        self.read.append(msgspec.json.encode(answer).decode())
        return answer


def test_no_message_is_named_to_an_administrator() -> None:
    reader = Reader()
    reader.do(c.HostPause(("esxi-002",)))
    reader.do(c.DescribeHost("esxi-002"))
    reader.do(c.Esx("esxi-002", ("vm", "process", "list")))
    reader.do(c.LinkCut("vcenter", "esxi-001"))
    reader.do(c.VmOn(("vm-01",)))
    reader.do(c.LinkCut("vcenter", "kms"))
    reader.do(c.VmCreate("vm-09", encrypted=True))
    reader.do(c.GetKeys())
    reader.lab.run(reader.lab.sleep(400))
    for vm in ("vm-01", "vm-02"):
        reader.do(c.DescribeVm(vm))
    for host in ("esxi-001", "esxi-002"):
        reader.do(c.DescribeHost(host))
    reader.do(c.DescribeProvider("kms-provider"))
    reader.do(c.GetEvents())
    names = re.compile(r"\b(" + "|".join(message_names()) + r")\b")
    assert len(message_names()) > 40
    text = "\n".join(reader.read)
    assert "did not answer within" in text  # somebody was silent, and it was told
    assert not names.findall(text)
    reader.lab.loop.close()


def test_a_host_is_described_with_its_keys() -> None:
    reader = Reader()
    described = reader.do(c.DescribeHost("esxi-001"))
    assert described is not None and described.host_view is not None
    assert len(described.keys) == described.host_view.cached_keys > 1
    assert all(key.cached and key.stored for key in described.keys)
    reader.do(c.Esx("esxi-001", ("system", "security", "keypersistence", "disable", "-r")))
    described = reader.do(c.DescribeHost("esxi-001"))
    assert described is not None
    assert described.keys and all(key.cached and not key.stored for key in described.keys)
    reader.lab.loop.close()
