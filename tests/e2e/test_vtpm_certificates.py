"""The certificate of a virtual TPM (VTPM-04)."""

from __future__ import annotations

import pytest

from protocol.events import EventTypeId
from protocol.messages.host.vms import QueryVmConfig
from protocol.messages.vcenter.inventory import ListEvents
from protocol.messages.vcenter.vms import AddVtpm, CreateVm
from protocol.terms import ClusterName, NodeName, VmName
from services.vcenter.vcenter import VMCA_FILE
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim

HOST, VCENTER, VM = NodeName("esxi-001"), NodeName("vcenter"), VmName("one")


@pytest.mark.parametrize("damaged", [False, True])
def test_a_vtpm_without_a_certificate_is_added_and_an_event_says_why(damaged: bool) -> None:
    world = World(seed=3, hosts=1, vms=0)
    lab = world.lab

    async def play() -> tuple[bytes, list[str]]:
        if damaged:
            lab.world.stores[VCENTER].on_disk.write(VMCA_FILE, b"no certificate authority")
        create = CreateVm(operation_id="a", vm=VM, cluster=ClusterName("cluster-a"), host=HOST)
        await lab.ask(VCENTER, create, within_s=60)
        added = await lab.ask(VCENTER, AddVtpm(operation_id="b", vm=VM), within_s=60)
        assert added.vm.vtpm
        config = await lab.ask(HOST, QueryVmConfig(vm=VM), within_s=60)
        events = (await lab.ask(VCENTER, ListEvents(after=0, limit=1000), within_s=60)).events
        failed = EventTypeId.VTPM_FAILED_PROCESSING_CERTS
        return config.certificate, [one.text for one in events if one.event is failed]

    try:
        certificate, texts = world.run(play())
    finally:
        world.close()
    assert bool(certificate) is not damaged
    assert len(texts) == damaged and all(f"of {VM} could not be made: " in text for text in texts)
