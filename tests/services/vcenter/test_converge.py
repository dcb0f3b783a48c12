"""Random trouble, then peace: everything comes back within one reconcile and a minute (A21)."""

from __future__ import annotations

import random

import pytest

from protocol.errors import ProductError
from protocol.messages.vcenter.vms import EncryptVm, PowerOffVm, PowerOnVm
from protocol.terms import HostConnectionState, HostCryptoState, NodeName, VmCryptoState, VmName
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import KMS, A, B, C, P, Rig

HOSTS = (A, B, C)
VMS = tuple(VmName(f"vm-{n}") for n in range(1, 7))


def trouble(rig: Rig, draw: random.Random) -> None:
    """One thing that goes wrong, or one task in the middle of it."""
    host: NodeName = draw.choice(HOSTS)
    match draw.randrange(8):
        case 0:
            rig.cut((VCENTER, KMS))
        case 1:
            rig.cut((VCENTER, host))
        case 2:
            rig.reboot(host)
        case 3:
            rig.reboot(VCENTER, draw.choice(("crash", "power_loss", "stop")))
        case 4:
            rig.reboot(KMS)
        case 5:
            rig.heal()
        case 6:
            task(rig, draw, draw.choice(VMS))
        case 7:
            rig.broker.stop()
            rig.sleep(2)
            rig.broker.start()


def task(rig: Rig, draw: random.Random, vm: VmName) -> None:
    message = draw.choice(
        (EncryptVm(operation_id=f"again-{vm}", vm=vm), PowerOnVm(vm=vm), PowerOffVm(vm=vm))
    )

    async def try_it() -> None:
        try:
            await rig.ask(message, within_s=30)
        except ProductError:
            pass

    rig.world.spawn(None, "task", try_it())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_peace_after_trouble(seed: int) -> None:
    draw = random.Random(seed)
    rig = Rig(seed)
    rig.up(*HOSTS)
    for number, vm in enumerate(VMS):
        rig.vm(vm, HOSTS[number % 3], encrypted=number < 4)
    rig.sleep(10)
    for _ in range(25):
        trouble(rig, draw)
        rig.sleep(draw.choice((0.005, 0.5, 5, 40)))
    rig.heal()
    rig.sleep(360)

    inventory = rig.vcenter.inventory
    wanted = set(inventory.keys_of(inventory.hosts[A].cluster))
    assert len(wanted) >= 4
    for host in HOSTS:
        info = rig.host_info(host)
        assert info.connection is HostConnectionState.CONNECTED
        assert info.crypto_state is rig.hosts[host].crypto_state is HostCryptoState.SAFE
        assert wanted <= set(rig.hosts[host].cache)
        assert [ref.provider_id for ref in rig.hosts[host].providers] == [P]
    for vm in VMS:
        view = rig.vm_info(vm)
        real = rig.hosts[view.host].vms[vm]
        assert (view.power, view.key) == (real.power, real.keys[0] if real.keys else None)
        assert view.crypto in (None, VmCryptoState.UNLOCKED)
        assert rig.power_on_vm(vm).lock_event is None
    sequences = [event.sequence for event in rig.events()]
    assert sequences == list(range(1, len(sequences) + 1))
    rig.healthy()
    rig.close()
