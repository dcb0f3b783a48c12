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
from chaos.observe.look import OWN, LabLook, leaders
from chaos.observe.states import States
from chaos.workload import Arrival, Means, lives, perform
from chaos.workload.base import OperationCounts
from chaos.workload.life import Drifted, VmLife, Wrong
from chaos.workload.lives import TASKS, begin_life, end_life
from chaos.workload.operations import hosts_of_vcenter
from protocol.errors import InvalidState, NotFound
from protocol.messages.host.vms import GuestChallenge, GuestTpmSeal, GuestWrite, QueryVmConfig
from protocol.messages.vcenter.inventory import ListEvents
from protocol.messages.vcenter.providers import QueryCryptoKeyStatus
from protocol.messages.vcenter.vms import (
    AddDisk,
    AddVtpm,
    CloneVm,
    CreateSnapshot,
    CreateVm,
    DestroyVm,
    ListVms,
    MarkAsTemplate,
    MarkAsVirtualMachine,
    MigrateVm,
    PowerOnVm,
    RecryptVm,
    RegisterVm,
    RelocateVm,
    UnregisterVm,
    VmRelocated,
)
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    NodeName,
    PowerState,
    ProviderId,
    VmName,
)
from tests.chaos.lies import Lie, answering, changed, each, lying, nth, refusing
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
VM = VmName(f"{OWN}x")
OTHER = CryptoKeyId(KeyId("other"), ProviderId("kms-provider"))


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
    return VmLife(
        means=means,
        vcenter=vcenter,
        cluster=info.cluster,
        id="life",
        draws=Draws(1, "life"),
        vm=VM,
    )


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
        if tasks >= set(TASKS) - {"relocate"}:
            break
    assert tasks == {*TASKS, "CreateVm"} - {"relocate"}
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
    "another key when it is repeated": (
        True,
        ("add_disk",),
        AddDisk,
        nth(2, changed(vm_key=OTHER)),
        "AddDisk has another key when it is asked for once more",
    ),
    "no status of its key": (
        True,
        (),
        QueryCryptoKeyStatus,
        changed(keys=()),
        "has the status of 0 of 1 keys",
    ),
    "a status without the VM": (
        True,
        (),
        QueryCryptoKeyStatus,
        each("keys", encrypted_vms=()),
        "is not its key",
    ),
    "another disk of its guest": (
        True,
        ("power_on", "stream_policy"),
        GuestChallenge,
        changed(digest=b""),
        "the digest is not that of its blocks",
    ),
    "its memory travels in clear": (
        True,
        ("power_on", "migrate"),
        MigrateVm,
        changed(encrypted=False),
        "was migrated in clear",
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


DRIFTS: dict[str, tuple[tuple[str, ...], type[Any], Lie, str]] = {
    "its key cannot be had": (
        (),
        QueryCryptoKeyStatus,
        each("keys", available=False, reason=KeyUnavailableReason.CLUSTER_UNREACHABLE),
        "is not available",
    ),
    "its disk cannot be filled": (
        ("power_on",),
        GuestWrite,
        refusing(NotFound("gone")),
        "NotFound: gone",
    ),
    "its virtual TPM cannot be used": (
        ("power_on", "power_off", "add_vtpm", "power_on"),
        GuestTpmSeal,
        refusing(NotFound("gone")),
        "its virtual TPM: NotFound",
    ),
    "its guest does not answer": (
        ("power_on", "stream_policy"),
        GuestChallenge,
        refusing(NotFound("gone")),
        "NotFound: gone",
    ),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_what_cannot_be_asked_says_nothing_against_the_product(world: World, name: str) -> None:
    tasks, kind, lie, told = DRIFTS[name]
    life = life_in(world, lying(world, kind, lie))
    with pytest.raises(Drifted, match=told):
        world.run(_do(life, tasks, encrypted=True))


def test_a_virtual_tpm_in_an_encrypted_home_is_added_once(world: World) -> None:
    """A second request with the id of the first one is the same task."""
    world.run(_do(life_in(world), ("add_vtpm",), encrypted=True))


def test_the_guest_of_a_vm_is_read_back_over_its_tasks(world: World) -> None:
    tasks = ("power_on", "snapshot", "stream_policy", "revert", "clone", "remove_snapshot")
    life = life_in(world)
    world.run(_do(life, (*tasks, "power_off", "add_vtpm", "power_on"), encrypted=True))


@pytest.fixture
def two_vcenters() -> Iterator[World]:
    made = World(use="two-vcenters", vms=2)
    yield made
    made.close()


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_vm_goes_to_another_vcenter_and_back(two_vcenters: World, encrypted: bool) -> None:
    tasks = ("power_on", "relocate", "stream_policy", "power_off", "relocate", "refusals")
    life = life_in(two_vcenters)
    first = life.vcenter
    two_vcenters.run(_do(life, tasks, encrypted=encrypted))
    assert life.vcenter == first


async def _stays(real: Any) -> Any:
    answer = await real()
    return msgspec.structs.replace(
        answer, vms=tuple(vm for vm in answer.vms if not vm.vm.startswith(OWN))
    )


@pytest.mark.parametrize(
    ("kind", "lie", "told"),
    [
        (RelocateVm, changed(vm_host=NodeName("esxi-009")), "and is on esxi-009"),
        (ListVms, _stays, "which does not list it"),
    ],
)
def test_a_lie_about_another_vcenter_is_noticed(
    two_vcenters: World, kind: type[Any], lie: Lie, told: str
) -> None:
    life = life_in(two_vcenters, lying(two_vcenters, kind, lie))
    with pytest.raises(Wrong, match=told):
        two_vcenters.run(_do(life, ("relocate",), encrypted=False))


def test_a_vm_that_did_not_go_is_noticed(
    two_vcenters: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is of a move that was not made."""
    hosts = two_vcenters.run(hosts_of_vcenter(two_vcenters.lab, leaders(two_vcenters.lab)[1]))

    async def at_once(real: Any) -> Any:
        info = await life.listed()
        assert info is not None
        return VmRelocated(vm=msgspec.structs.replace(info, host=hosts[0]))

    async def first(*_: Any) -> tuple[NodeName, ...]:
        return hosts[:1]

    monkeypatch.setattr(lives, "hosts_of_vcenter", first)
    life = life_in(two_vcenters, lying(two_vcenters, RelocateVm, at_once))
    with pytest.raises(Wrong, match="lists it"):
        two_vcenters.run(_do(life, ("relocate",), encrypted=False))


def test_a_refusal_of_a_vm_that_runs_is_not_relied_on(world: World) -> None:
    life = life_in(world, lying(world, DestroyVm, refusing(InvalidState("no"))))
    with pytest.raises(Drifted, match="DestroyVm is refused with InvalidState"):
        world.run(_do(life, ("power_on", "refusals"), encrypted=True))
