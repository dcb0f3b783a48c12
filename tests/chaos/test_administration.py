"""Actions of vCenter's administrator: keys forgotten and known again, backups, native providers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.actions import ACTIONS
from chaos.actions.base import Acting
from chaos.observe.look import all_providers
from chaos.workload import OperationOutcome
from protocol.errors import AlreadyExists, InvalidState, NotFound, ResourceInUse
from protocol.messages.vcenter.providers import ListKeys
from protocol.terms import NodeName, ProviderId, VmName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
VCENTER, VM = NodeName("vcenter"), VmName("vm-01")


class Desk:
    """Gives actions in a lab, all in one run."""

    def __init__(self, use: str) -> None:
        self.world = World(use=use, hosts=2, vms=2)
        self._exports: dict[str, Any] = {}

    def do(self, kind: str, target: str = "", **values: Any) -> OperationOutcome:
        action = ACTIONS[kind]
        given = {**values, "on": target} if target else values
        acting = Acting(self.world.lab, f"made-by-{kind}", self._exports)

        async def give() -> OperationOutcome:
            return await action.run(acting, target, action.params.model_validate(given))

        return self.world.run(give())

    def providers(self) -> dict[ProviderId, Any]:
        return {p.provider: p for p in self.world.run(all_providers(self.world.lab, VCENTER))}


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    made = Desk(request.param)
    yield made
    made.world.close()


def known(desk: Desk) -> list[str]:
    listed = desk.world.run(desk.world.lab.ask(VCENTER, ListKeys()))
    return [str(key.key_id) for key in listed.keys]


@pytest.mark.parametrize("desk", ["default"], indirect=True)
def test_keys_of_a_vm_are_forgotten_by_force_only_and_known_again(desk: Desk) -> None:
    with pytest.raises(ResourceInUse):
        desk.do("vcenter.key.remove", str(VM))
    [key] = desk.do("vcenter.key.remove", str(VM), force=True).data["keys"]
    assert key not in known(desk)
    with pytest.raises(NotFound, match="knows no key of nobody"):
        desk.do("vcenter.key.remove", "nobody", force=True)
    assert desk.do("vcenter.key.add", str(VM)).data == {"keys": [key]}
    assert key in known(desk)
    with pytest.raises(AlreadyExists):
        desk.do("vcenter.key.add", str(VM))


@pytest.mark.parametrize("desk", ["native"], indirect=True)
def test_a_native_provider_is_made_exported_deleted_and_imported(desk: Desk) -> None:
    desk.do("provider.add-native", provider="second", tpm_required=True)
    made = desk.providers()[ProviderId("second")]
    assert made.tpm_required and not made.default and made.health.value == "ERROR"
    assert desk.do("provider.export", provider="second", backup="file").data == {
        "exported": "second"
    }
    desk.do("provider.delete", provider="second")
    with pytest.raises(NotFound, match="nothing was exported as another"):
        desk.do("provider.import", backup="another")
    assert desk.do("provider.import", backup="file").data == {"imported": "second"}
    assert desk.providers()[ProviderId("second")].key_id == made.key_id


@pytest.mark.parametrize("desk", ["native"], indirect=True)
def test_a_vcenter_is_put_back_to_its_backup_and_says_which_providers_are_gone(desk: Desk) -> None:
    with pytest.raises((NotFound, InvalidState)):
        desk.do("vcenter.restore", backup="monday")
    assert set(desk.providers()) == {ProviderId("nkp")}, "a backup that is missing changes nothing"
    desk.do("vcenter.backup", backup="monday")
    desk.do("provider.add-native", provider="young")
    found = desk.do("vcenter.restore", backup="monday")
    assert found.data == {"vcenter": "vcenter", "gone": ["young"]}
    assert set(desk.providers()) == {ProviderId("nkp")}
