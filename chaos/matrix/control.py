"""Negative controls: what was spoilt must be noticed, or no right answer means anything.

One ciphertext bit of a VM's disk is flipped, and a wrapped DEK is replaced by another VM's; the
same questions are asked as in every cell, and must fail.
"""

from __future__ import annotations

import msgspec

from chaos.matrix.looks import Looks, plain
from chaos.matrix.scene import Scene, vm_of
from chaos.matrix.terms import Actor
from chaos.oracle.terms import Block, Event
from protocol.messages.vcenter import PowerOnVm

EVENTS = (Event.E1, Event.E3)
"""Whose VMs are spoilt: one that runs, one that is off."""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that was spoilt; ``noticed``: the questions failed, as they must."""

    block: Block
    what: str
    noticed: bool
    seen: str


async def controls(scene: Scene) -> tuple[Control, ...]:
    """Spoil both in a lab that was staged for ``EVENTS``."""
    return (await _flipped_bit(scene), await _other_dek(scene))


async def _flipped_bit(scene: Scene) -> Control:
    vm, host = vm_of(Event.E1, "run"), scene.host(Event.E1, Actor.A)
    await scene.bench.flip_bit(Event.E1, vm)
    asked = await scene.guests.read_back(vm, host)
    seen = asked.detail or "every block was read back right"
    return _control(scene, "a bit of a disk's ciphertext flipped", asked.right is not True, seen)


async def _other_dek(scene: Scene) -> Control:
    vm, host = vm_of(Event.E3, "off"), scene.host(Event.E3, Actor.A)
    looks = Looks(scene, scene.book.trail("control"))
    await scene.bench.replace_dek(Event.E3, vm, of=(Event.E1, vm_of(Event.E1, "run")))
    asked = await looks.ask(scene.vcenter, PowerOnVm(vm=vm))
    after = await looks.vm(vm, host)
    works = after.works.right is True
    seen = f"{asked.error}: {asked.text}" if not asked.done else f"it runs: {after.works.detail}"
    return _control(scene, "a wrapped DEK replaced by another VM's", not works, seen)


def _control(scene: Scene, what: str, noticed: bool, seen: str) -> Control:
    control = Control(block=scene.block, what=what, noticed=noticed, seen=seen)
    scene.book.write("probe", "", "control", **plain(control))
    return control
