"""A03 by count: what a host with stored keys says, and hears, from its power-on until its VMs run.

A whole lab, with every message that the broker carries, and the moment of each: with vCenter and
key server at hand, and with both off. Up to the moment at which the host is safe there is none.
Until its VMs run there is the doorbell of step B8 (which says nothing but that the host is there),
what vCenter does on it, and the host asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from lab.building.course import unheard
from lab.building.provision import provision
from lab.simulation.sim_lab import SimLab
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.subjects import parse_link
from protocol.terms import NodeName
from services.esxi import boot
from services.esxi.vms import ownership

pytestmark = pytest.mark.sim

HOST, VCENTER, KMS = NodeName("esxi-001"), NodeName("vcenter"), NodeName("kms")
BELL: Final = "HostChanged"
KEYS_COME_WITH: Final = {"AddKeys", "SetProviders", "CryptoManagerHostEnable"}


@dataclass
class Said:
    """A message from the host or to it: when, in lab seconds, by whom, and its name (of a reply:
    none)."""

    at: float
    by: NodeName
    name: str


@dataclass
class Boot:
    """A boot of the host: messages until it was safe, and from there until its last VM ran."""

    until_safe: list[Said]
    until_vms_run: list[Said]

    def asked_for(self) -> list[str]:
        """Requests of the host, but for the doorbell."""
        every = (*self.until_safe, *self.until_vms_run)
        return [said.name for said in every if said.by == HOST and said.name not in ("", BELL)]

    def brought(self) -> list[str]:
        """Messages with which keys come to a host."""
        return [s.name for s in self.until_vms_run if s.name in KEYS_COME_WITH and s.by != HOST]


@pytest.fixture
def lab() -> Iterator[SimLab]:
    """Ready, with two encrypted VMs on the host, whose keys are stored."""
    made = SimLab(plan(load("default", tpm="model", key_persistence=True)), 7)
    made.run(made.start())
    made.run(provision(made, unheard), seconds=10_000)
    made.run(made.sleep(60))
    yield made
    for store in made.world.stores.values():
        store.close()
    made.loop.close()


def rebooted(lab: SimLab, *, down: tuple[NodeName, ...] = ()) -> Boot:
    """A loss of power of the host, and what is said until its VMs run again, ``down`` being off."""
    said: list[Said] = []

    def hear(subject: str, reply: str, payload: bytes) -> None:
        link = parse_link(subject)
        src, dst = subject.split(".")[1:3] if link is None else (link.src, link.dst)
        if HOST in (src, dst) and src != dst:  # a broadcast has an event's name for ``dst``
            name = str(dst) if link is None else "" if link.reply else link.rest
            said.append(Said(lab.monotonic(), NodeName(src), name))

    async def down_and_up() -> int:
        for node in down:
            await lab.power_off(node, "stop")
        await lab.power_off(HOST, "power_loss")
        await lab.sleep(120)  # vCenter has noticed, and asks it no more
        before = len(lab.records)
        async with lab.tap(hear):
            await lab.power_on(HOST)
            await lab.sleep(60)
        return before

    before = lab.run(down_and_up(), seconds=1_000)
    mine = [line for line in lab.records[before:] if line.node == HOST]
    [safe] = [line for line in mine if line.fields.get("step") == "B5"]
    assert safe.fields["crypto_state"] == "safe"
    ran = [line.at for line in mine if line.kind == "vm.powered"]
    assert len(ran) == sum(vm.host == HOST for vm in lab.topology.vms) == 2
    return Boot(
        [one for one in said if one.at <= safe.at],
        [one for one in said if safe.at < one.at <= max(ran)],
    )


@pytest.mark.parametrize("down", [(), (VCENTER,), (VCENTER, KMS)])
def test_with_stored_keys_a_host_is_safe_and_starts_its_vms_without_a_question(
    lab: SimLab, down: tuple[NodeName, ...]
) -> None:
    seen = rebooted(lab, down=down)
    assert [one for one in seen.until_safe if one.by == HOST] == []
    assert seen.asked_for() == []
    assert seen.brought() == []


def test_nothing_is_said_at_all_while_vcenter_is_off(lab: SimLab) -> None:
    """But for the doorbell, to which nobody comes."""
    seen = rebooted(lab, down=(VCENTER, KMS))
    assert seen.until_safe == []
    assert {(said.by, said.name) for said in seen.until_vms_run} <= {(HOST, BELL)}


def test_the_doorbell_is_heard_here(lab: SimLab) -> None:
    """The ear is no deaf one: the ring of step B8 comes before the VMs run."""
    seen = rebooted(lab, down=(VCENTER, KMS))
    assert [said.name for said in seen.until_vms_run].count(BELL) >= 1


def test_a_host_that_rings_before_it_is_safe_is_caught(
    lab: SimLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: step B5 asks first."""
    step = boot._set_encryption_mode

    async def asking(host: Any) -> None:
        await host.uplink.ring()
        await step(host)

    monkeypatch.setattr(boot, "_set_encryption_mode", asking)
    assert [said.name for said in rebooted(lab).until_safe if said.by == HOST] == [BELL]


def test_a_host_that_waits_for_its_keys_to_be_brought_is_caught(
    lab: SimLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: what was stored is forgotten, vCenter brings it, and the VMs run."""
    start = ownership.start_wanted_vms

    async def forgetful(host: Any) -> None:
        for vm in host.vms.values():
            for key in vm.config.keys:
                host.keys.remove(key)
        await start(host)

    monkeypatch.setattr(ownership, "start_wanted_vms", forgetful)
    assert "AddKeys" in rebooted(lab).brought()
