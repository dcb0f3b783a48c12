"""``vm.live``: a VM of an operation's own, and each lie about it that the operation must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import msgspec
import pytest

from chaos.draws import Draws
from chaos.history import History, Record
from chaos.observe.guests import Guests
from chaos.observe.look import OWN, LabLook
from chaos.observe.states import States
from chaos.workload import Arrival, Means, perform
from chaos.workload.base import OperationCounts
from chaos.workload.lives import TASKS, Drifted, VmLife, Wrong, begin_life, end_life
from protocol.errors import InvalidState, NotFound
from protocol.messages.host import QueryVmConfig
from protocol.messages.vcenter import (
    AddDisk,
    AddVtpm,
    CloneVm,
    CreateSnapshot,
    CreateVm,
    DestroyVm,
    ListEvents,
    MarkAsTemplate,
    MarkAsVirtualMachine,
    MigrateVm,
    PowerOnVm,
    RecryptVm,
    RegisterVm,
    UnregisterVm,
)
from protocol.terms import NodeName, PowerState, VmName
from tests.chaos.bad_labs import Bad
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
VM = VmName(f"{OWN}x")
Lie = Callable[[Any], Any]
"""Another answer in the place of one."""


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=3, vms=1)
    yield made
    made.close()


def life_in(world: World, lab: Any = None) -> VmLife:
    lab = lab or world.lab
    means = Means(lab, Guests(lab, Draws(1, "guests")))
    info = world.run(LabLook(world.lab).vcenter_vms())[VmName("vm-01")]
    vcenter = world.run(means.vcenter(info.cluster))
    return VmLife(means, vcenter, info.cluster, VM, "life", Draws(1, "life"))


def lying(world: World, kind: type[Any], lie: Lie) -> Any:
    """A lab of which the answers to these messages are others."""
    bad: Any = Bad(world)
    real = bad.ask

    async def ask(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        if isinstance(message, kind):
            return lie(lambda: real(node, message, within_s=within_s))
        return await real(node, message, within_s=within_s)

    async def asked(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        found = await ask(node, message, within_s=within_s)
        return await found if hasattr(found, "__await__") else found

    bad.ask = asked
    return bad


def changed(**fields: Any) -> Lie:
    """The answer with other fields; of its VM those that begin with ``vm_``."""

    async def answered(real: Any) -> Any:
        answer = await real()
        about = {name[3:]: value for name, value in fields.items() if name.startswith("vm_")}
        rest = {name: value for name, value in fields.items() if not name.startswith("vm_")}
        if about:
            rest["vm"] = msgspec.structs.replace(answer.vm, **about)
        return msgspec.structs.replace(answer, **rest)

    return answered


def refusing(error: Exception) -> Lie:
    async def refused(real: Any) -> Any:
        raise error

    return refused


def answering(answer: Any) -> Lie:
    async def answered(real: Any) -> Any:
        return answer

    return answered


def with_events(lie: Callable[[Any], tuple[Any, ...]]) -> Lie:
    """Other events in the place of each one of the VM."""

    async def answered(real: Any) -> Any:
        answer = await real()
        found = (lie(event) if event.vm == VM else (event,) for event in answer.events)
        return msgspec.structs.replace(answer, events=tuple(chain.from_iterable(found)))

    return answered


def arrived(world: World, number: int) -> Record:
    lab = world.lab
    history = History(None, lab.monotonic)
    means = Means(lab, Guests(lab, Draws(1, "guests")))
    arrival = Arrival(at=0.0, op="vm.live", target="vm-01", number=number)
    world.run(perform(means, arrival, history, OperationCounts()))
    return history.records[-1]


@pytest.mark.slow
def test_each_task_succeeds_and_nothing_is_left(world: World) -> None:
    tasks = set()
    for number in range(1, 60):
        ended = arrived(world, number)
        assert ended.type == "ok" and "wrong" not in ended.data, ended.data
        tasks |= set(ended.data["tasks"])
        if tasks >= set(TASKS):
            break
    assert tasks == {*TASKS, "CreateVm"}
    assert set(world.run(LabLook(world.lab).vcenter_vms())) == {"vm-01"}
    assert set(world.run(LabLook(world.lab).vms())) == {"vm-01"}


@pytest.mark.parametrize(
    ("encrypted", "tasks"),
    [
        (True, ("migrate", "add_vtpm")),
        (True, ("add_vtpm", "migrate", "remove_vtpm")),
        (True, ("migrate", "add_disk")),
        (True, ("migrate", "snapshot", "clone")),
        (True, ("migrate", "recrypt_deep")),
        (False, ("add_vtpm", "migrate", "encrypt")),
        (False, ("add_vtpm", "migrate", "remove_vtpm")),
    ],
)
def test_a_trusted_host_fetches_the_keys_of_a_vm_that_came_to_it(
    encrypted: bool, tasks: tuple[str, ...]
) -> None:
    world = World(use="trusted", hosts=2, vms=1)
    try:
        world.run(_do(life_in(world), tasks, encrypted=encrypted))
    finally:
        world.close()


def test_looks_do_not_write_such_a_vm_down(world: World) -> None:
    history = History(None, world.lab.monotonic)
    states = States(world.lab, history)
    world.run(begin_life(life_in(world), encrypted=True))
    world.run(states.begin())
    seen = {record.node for record in history.records if record.op == "vm"}
    assert seen == {"vm-01"}


def test_an_operation_that_is_interrupted_says_where(world: World) -> None:
    bad = lying(world, CreateVm, refusing(NotFound("no cluster")))
    history = History(None, world.lab.monotonic)
    means = Means(bad, Guests(bad, Draws(1, "guests")))
    arrival = Arrival(at=0.0, op="vm.live", target="vm-01", number=1)
    world.run(perform(means, arrival, history, OperationCounts()))
    ended = history.records[-1]
    assert (ended.type, ended.data["error"]) == ("fail", "NotFound in CreateVm")


async def _do(life: VmLife, tasks: tuple[str, ...], *, encrypted: bool) -> None:
    await begin_life(life, encrypted=encrypted)
    for task in tasks:
        run, may_be = TASKS[task]
        assert may_be(life)
        await run(life)
        await life.look(task)
    await end_life(life)


LIES: dict[str, tuple[bool, tuple[str, ...], type[Any], Lie, str]] = {
    "no key": (True, (), CreateVm, changed(vm_key=None), "shows key False"),
    "no virtual TPM": (True, ("add_vtpm",), AddVtpm, changed(vm_vtpm=False), "virtual TPM False"),
    "no snapshot": (True, ("snapshot",), CreateSnapshot, changed(vm_snapshots=()), "snapshots ()"),
    "no disks": (True, (), QueryVmConfig, changed(disks=()), "files have disks ()"),
    "a home in clear": (
        True,
        (),
        QueryVmConfig,
        changed(home_encrypted=False),
        "home's encryption False",
    ),
    "a virtual TPM in its files": (
        True,
        (),
        QueryVmConfig,
        changed(vtpm=True),
        "files have virtual TPM True",
    ),
    "another disk": (True, ("add_disk",), AddDisk, changed(disk=7), "the disk is 7"),
    "it is no template": (
        False,
        ("template",),
        MarkAsTemplate,
        changed(vm_template=msgspec.UNSET),
        "and is none",
    ),
    "it is a template still": (
        False,
        ("template",),
        MarkAsVirtualMachine,
        changed(vm_template=True),
        "and is a template",
    ),
    "a template starts": (
        False,
        ("template",),
        PowerOnVm,
        answering(None),
        "PowerOnVm is not refused",
    ),
    "another refusal": (
        False,
        ("template",),
        PowerOnVm,
        refusing(NotFound("gone")),
        "refused with NotFound, and not InvalidState",
    ),
    "it is where it was": (
        False,
        ("migrate",),
        MigrateVm,
        changed(vm_host=NodeName("esxi-009")),
        "and is on esxi-009",
    ),
    "it stays in the inventory": (
        False,
        ("register",),
        UnregisterVm,
        answering(None),
        "out of the inventory, and is listed",
    ),
    "it comes back without its key": (
        True,
        ("register",),
        RegisterVm,
        changed(vm_key=None),
        "after RegisterVm vCenter shows key False",
    ),
    "it was under no key": (True, ("recrypt",), RecryptVm, changed(old=()), "under 0 keys before"),
    "it is under another key": (
        True,
        ("recrypt",),
        RecryptVm,
        changed(vm_key=None),
        "shows key False",
    ),
    "it is not destroyed": (False, (), DestroyVm, answering(None), "and vCenter lists it"),
    "an event is missing": (
        True,
        (),
        ListEvents,
        changed(events=()),
        "event 1 of its tasks is None",
    ),
    "there is one event more": (
        True,
        (),
        ListEvents,
        with_events(lambda event: (event, event)),
        "event 2 of its tasks is ToldEvent(",
    ),
    "an event of another key": (
        True,
        (),
        ListEvents,
        with_events(lambda event: (msgspec.structs.replace(event, keys=()),)),
        "and must be ToldEvent(",
    ),
    "a text without the VM": (
        True,
        (),
        ListEvents,
        with_events(lambda event: (msgspec.structs.replace(event, text=str(event.keys)),)),
        f"does not name {VM}",
    ),
    "a text without the key": (
        True,
        (),
        ListEvents,
        with_events(lambda event: (msgspec.structs.replace(event, text=VM),)),
        "does not name kms-provider/",
    ),
    "the clone has no key": (True, ("clone",), CloneVm, changed(vm_key=None), "after CloneVm"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_noticed(world: World, name: str) -> None:
    encrypted, tasks, kind, lie, told = LIES[name]
    life = life_in(world, lying(world, kind, lie))
    with pytest.raises(Wrong) as raised:
        world.run(_do(life, tasks, encrypted=encrypted))
    assert told in str(raised.value)


def test_a_disk_in_clear_is_noticed(world: World) -> None:
    async def in_clear(real: Any) -> Any:
        config = await real()
        disks = tuple(msgspec.structs.replace(disk, key=None) for disk in config.disks)
        return msgspec.structs.replace(config, disks=disks)

    life = life_in(world, lying(world, QueryVmConfig, in_clear))
    with pytest.raises(Wrong, match="encryption of the disks"):
        world.run(_do(life, (), encrypted=True))


def test_a_recrypt_that_keeps_its_key_is_noticed(world: World) -> None:
    async def kept(real: Any) -> Any:
        answer = await real()
        return msgspec.structs.replace(answer, old=(answer.key,))

    life = life_in(world, lying(world, RecryptVm, kept))
    with pytest.raises(Wrong, match="under one of them still"):
        world.run(_do(life, ("recrypt",), encrypted=True))


def test_a_vm_that_is_off_says_nothing_against_the_product(world: World) -> None:
    """Its host may have gone down."""
    life = life_in(world, lying(world, PowerOnVm, changed(vm_power=PowerState.OFF)))
    with pytest.raises(Drifted, match="after PowerOnVm it is poweredOff"):
        world.run(_do(life, ("power_on",), encrypted=True))


def test_a_refusal_of_a_vm_that_runs_is_not_relied_on(world: World) -> None:
    life = life_in(world, lying(world, DestroyVm, refusing(InvalidState("no"))))
    with pytest.raises(Drifted, match="DestroyVm is refused with InvalidState"):
        world.run(_do(life, ("power_on", "refusals"), encrypted=True))
