"""vCenter, or the host, falls at every call of its ports while a VM of several disks and keys comes
under a key of another provider: what the VM says it is under is what opens it, then, when the task
is repeated, and when it is brought back."""

from __future__ import annotations

import asyncio

import pytest

from chaos.draws import Draws
from chaos.observe.guests import Guests
from protocol.errors import ProductError
from protocol.messages.vcenter.vms import (
    AddDisk,
    AddVtpm,
    CreateVm,
    PowerOffVm,
    PowerOnVm,
    RecryptVm,
    VmRecrypted,
)
from protocol.secret import KeyMaterial
from protocol.terms import ClusterName, CryptoKeyId, NodeName, ProviderId, VmName
from services.esxi.host import EsxiHost
from services.esxi.service import EsxiService
from services.esxi.vms.file_formats import VmConfig, open_vm
from services.esxi.vms.files import read_config
from services.esxi.vms.guest import decrypt_blocks
from services.esxi.vms.reconfigure import read_disk
from services.vcenter.service import VcenterService
from services.vcenter.tables import VmRow
from tests.chaos.worlds import World
from tests.e2e.falls import Falls

pytestmark = pytest.mark.sim

A, VCENTER, VM = NodeName("esxi-001"), NodeName("vcenter"), VmName("one")
FIRST, SECOND = ProviderId("kms-provider"), ProviderId("kms-provider-2")
KNOBS = {"remediation_interval_s": 60}
LIMIT = 60  # moments of one task


class Play:
    """One lab: a VM of two disks, the second under a key of its own, with a virtual TPM."""

    def __init__(self, *, deep: bool) -> None:
        self.world = World(seed=3, hosts=2, vms=0, providers=2, key_persistence=True, knobs=KNOBS)
        self.lab, self.deep = self.world.lab, deep
        self.guests = Guests(self.lab, Draws(3, "guests"))
        self.values: dict[CryptoKeyId, KeyMaterial] = {}
        self.data: list[list[bytes]] = []

    async def ready(self) -> None:
        lab, cluster = self.lab, ClusterName("cluster-a")
        create = CreateVm(operation_id="make", vm=VM, cluster=cluster, host=A, encrypted=True)
        await lab.ask(VCENTER, create, within_s=60)
        disk = AddDisk(operation_id="disk", vm=VM, blocks=4, own_key=True)
        await lab.ask(VCENTER, disk, within_s=60)
        await lab.ask(VCENTER, AddVtpm(operation_id="vtpm", vm=VM), within_s=60)
        await lab.ask(VCENTER, PowerOnVm(vm=VM), within_s=60)
        await self.guests.plant(VM, A)
        await lab.ask(VCENTER, PowerOffVm(vm=VM), within_s=60)
        self.data = await self.opened()
        assert len(self.row.keys) == 2 and len(self.data) == 2
        if not self.deep:
            await lab.ask(VCENTER, PowerOnVm(vm=VM), within_s=60)
        await lab.sleep(5)

    def task(self, name: str, provider: ProviderId) -> RecryptVm:
        return RecryptVm(operation_id=name, vm=VM, provider=provider, deep=self.deep)

    async def tried(self, message: RecryptVm) -> VmRecrypted | ProductError:
        try:
            return await self.lab.ask(VCENTER, message, within_s=60)
        except ProductError as error:
            return error

    @property
    def host(self) -> EsxiHost:
        service = self.lab.agent.machine(A).runner.service
        assert isinstance(service, EsxiService)
        return service.host

    @property
    def row(self) -> VmRow:
        service = self.lab.agent.machine(VCENTER).runner.service
        assert isinstance(service, VcenterService)
        return service.vcenter.inventory.vms[VM]

    async def config(self) -> VmConfig:
        return await read_config(self.host.datastore, VM)

    async def opened(self) -> list[list[bytes]]:
        """What its disks hold, opened with the keys that it says it is under and no others."""
        config = await self.config()
        for entry in self.host.keys.entries():
            self.values.setdefault(entry.key, entry.material)
        keys = open_vm(config, {key: self.values[key] for key in config.keys})
        images = [await read_disk(self.host.datastore, config, disk) for disk in config.disks]
        return [decrypt_blocks(dek, image) for dek, image in zip(keys.deks, images, strict=True)]

    async def right(self) -> tuple[CryptoKeyId, ...]:
        """The keys of the VM: its own, vCenter's and its host's word of it are one; it works."""
        config = await self.config()
        assert config.keys == self.row.keys, (config.keys, self.row)
        assert self.host.vms[VM].config == config
        data = await self.opened()
        if self.deep:
            assert data == self.data
            await self.lab.ask(VCENTER, PowerOnVm(vm=VM), within_s=60)
        asked = await self.guests.challenge(VM, A)
        assert asked.right, asked
        if self.deep:
            await self.lab.ask(VCENTER, PowerOffVm(vm=VM), within_s=60)
            self.data = await self.opened()
        return config.keys


async def _story(play: Play, node: NodeName, way: str, nth: int) -> Falls:
    lab = play.lab
    await play.ready()
    old = play.row.keys
    falls = Falls(lab, node, way, nth, array=node == A)
    there = play.task("there", SECOND)
    with falls.watching():
        asked = asyncio.ensure_future(play.tried(there))
        for _ in range(700):
            if falls.happened or asked.done():
                break
            await lab.sleep(0.1)
    if falls.happened:
        await lab.sleep(1)
        await lab.power_on(node)
    first = await asked
    await lab.sleep(150)
    keys = await play.right()
    new = keys != old
    assert all(key.provider_id == (SECOND if new else FIRST) for key in keys)
    assert new or not isinstance(first, VmRecrypted), "what was answered is kept"
    again = await play.tried(there if nth % 2 else play.task("a person tries again", SECOND))
    assert isinstance(again, VmRecrypted), again
    await lab.sleep(5)
    keys = await play.right()
    assert not play.row.recrypting
    assert keys == (again.key,) and again.key.provider_id == SECOND
    back = await play.tried(play.task("back", FIRST))
    assert isinstance(back, VmRecrypted) and back.old == keys
    await lab.power_off(A, "power_loss")
    await lab.power_on(A)
    await lab.sleep(120)
    assert await play.right() == (back.key,) and back.key.provider_id == FIRST
    return falls


@pytest.mark.slow
@pytest.mark.parametrize("way", ["crash", pytest.param("power_loss", marks=pytest.mark.sweep)])
@pytest.mark.parametrize("node", [VCENTER, A])
@pytest.mark.parametrize("deep", [False, True])
def test_who_falls_at_any_moment_leaves_it_under_the_keys_that_it_says(
    deep: bool, node: NodeName, way: str
) -> None:
    for nth in range(1, LIMIT):
        play = Play(deep=deep)
        try:
            falls = play.world.run(_story(play, node, way, nth))
        except BaseException as error:
            error.add_note(f"{node} fell at moment {nth}")
            raise
        finally:
            play.world.close()
        if not falls.happened:
            assert nth > 10
            return
    raise AssertionError(f"the task has more than {LIMIT} moments")
