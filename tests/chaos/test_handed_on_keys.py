"""``kms.key_state`` where one key server takes the changes, and the others hand them on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.errors import ChaosError
from protocol.messages.kms.keys import GetAttributes
from protocol.messages.vcenter.vms import ListVms
from protocol.terms import KmipState, NodeName
from tests.chaos.test_faults import fault_of
from tests.chaos.worlds import World

SERVERS = NodeName("kms-1"), NodeName("kms-2")


class Forwarding(World):
    """One VM with a key, and two key servers of which the first takes the changes."""

    def __init__(self) -> None:
        super().__init__(hosts=1, vms=1, kms={"replicas": 2, "mode": "forward"})
        [vm] = self.run(self.lab.ask(self.lab.vcenter, ListVms())).vms
        assert vm.key is not None
        self.vm, self._question = str(vm.vm), GetAttributes(key_ids=(vm.key.key_id,))

    def states(self) -> list[KmipState]:
        return [self.run(self.lab.ask(one, self._question)).keys[0].state for one in SERVERS]


@pytest.fixture
def world() -> Iterator[Forwarding]:
    made = Forwarding()
    yield made
    made.close()


def test_nothing_is_done_in_part_where_a_server_cannot_hand_on(world: Forwarding) -> None:
    fault = fault_of(world, "kms.key_state", {"vm": world.vm, "state": "compromise"})
    world.run(world.keeper.inject(fault_of(world, "link.cut", {"between": list(SERVERS)}, "cut")))
    with pytest.raises(ChaosError) as caught:
        world.run(world.keeper.inject(fault))
    assert caught.value.id == "KS-CHAOS-106"
    assert world.states() == [KmipState.ACTIVE] * 2
    assert [one.fault.id for one in world.keeper.active()] == ["cut"]
    world.run(world.keeper.heal("cut"))
    world.run(world.keeper.inject(fault))
    assert world.states() == [KmipState.COMPROMISED] * 2


def test_a_server_that_has_not_heard_of_it_yet_is_not_asked_to_do_it_again(
    world: Forwarding,
) -> None:
    slow = {"between": list(SERVERS), "dir": "to", "base": "1s"}
    world.run(world.keeper.inject(fault_of(world, "link.delay", slow, "slow")))
    fault = fault_of(world, "kms.key_state", {"vm": world.vm, "state": "destroy"})
    world.run(world.keeper.inject(fault))
    assert world.states() == [KmipState.DESTROYED] * 2
