"""A node falls at each of its port calls while a Trust Authority is administered.

Afterwards a change is there or it is not, on all services alike; what was acknowledged is there;
and asked for again it is done. The calls are those of the node's storage, and what it sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.errors import AlreadyExists, NotFound, ProductError
from protocol.messages.agent import NodeRunState, PowerOff
from protocol.messages.base import Request
from protocol.messages.vcenter.trust import (
    CreateTrustedKeyProvider,
    ImportServicesInformation,
    ImportToTrustAuthority,
    RemediateTrustedCluster,
    RemoveFromTrustAuthority,
    RenewStsCertificate,
    SetTrustedState,
    TrustKeyServers,
)
from protocol.terms import NodeName, ProviderHealth, ProviderId
from protocol.trust import TrustItem
from services.runtime.sim.gate import StorageCall
from tests.services.esxi.rig import A
from tests.services.trust.administration import (
    CLUSTER,
    ENABLE,
    PERIOD_S,
    TA,
    TA_CLUSTER,
    WORKLOAD,
    Administration,
)
from tests.services.trust.rig import AS1, AS2, KMS, KPS1, KPS2, TRUSTED

LIMIT = 60
WAYS = ("crash", "power_loss")


class Fall:
    """``node`` falls at its ``nth`` call from now on: ``at`` says at which, empty until then."""

    def __init__(self, lab: Administration, node: NodeName, nth: int, way: str) -> None:
        self.at = ""
        self._lab, self._node, self._left, self._way = lab, node, nth, way

    async def before(self, call: StorageCall) -> None:
        """The call never has its effect."""
        if self._reached(call.name):
            await asyncio.Event().wait()

    def within(self, call: StorageCall) -> None:
        """A commit is whole or not there: before and after it are enough."""

    async def after(self, call: StorageCall) -> None:
        """It has had its effect, and nobody is told."""
        if self._reached(f"after {call.name}"):
            await asyncio.Event().wait()

    def carried(self, sender: str) -> None:
        """What it has sent arrives; what comes of it, does not."""
        if sender == self._node:
            self._reached("bus")

    def _reached(self, what: str) -> bool:
        self._left -= 1
        if self._left != 0:
            return False
        self.at = what
        self._lab.world.spawn(None, "fall", self._fall())
        return True

    async def _fall(self) -> None:
        await self._lab.agent.power_off(PowerOff(node=self._node, way=self._way))


@contextmanager
def falling(lab: Administration, node: NodeName, nth: int, way: str) -> Iterator[Fall]:
    fall = Fall(lab, node, nth, way)
    store = lab.world.stores[node]
    store.gate, lab.carried = fall, fall.carried
    try:
        yield fall
    finally:
        store.gate, lab.carried = None, lambda sender: None


@dataclass(frozen=True)
class Step:
    """``ask`` for the ``nth`` change, ``there`` tells whether it is made."""

    name: str
    to: NodeName
    ask: Callable[[Administration, int], Request[Any]]
    there: Callable[[Administration, int], bool]
    again: type[ProductError] | None = AlreadyExists
    """What a second one is refused with; None: it changes nothing."""


def _image(lab: Administration, nth: int) -> Request[Any]:
    return ImportToTrustAuthority(base_image=replace(lab.image(), version=f"v-{nth}"))


def _provider(lab: Administration, nth: int) -> Request[Any]:
    [first] = [one for one in lab.services[KPS1].configuration.providers if one.provider == TRUSTED]
    return CreateTrustedKeyProvider(
        provider=ProviderId(f"p-{nth}"), primary_key_id=first.primary_key_id, servers=(KMS,)
    )


def _is_item(kind: str, prefix: str) -> Callable[[Administration, int], bool]:
    return lambda lab, nth: (kind, f"{prefix}-{nth}") in lab.items()


def _trusted(lab: Administration, nth: int) -> bool:
    return all(
        server.trusted
        for node in (KPS1, KPS2)
        for one in lab.services[node].configuration.providers
        for server in one.servers
        if one.provider == f"p-{nth}"
    )


IMAGE = Step("image", TA, _image, _is_item("baseImage", "v"))
PROVIDER = Step("provider", TA, _provider, _is_item("provider", "p"))
REMOVE = Step(
    "remove",
    TA,
    lambda lab, nth: RemoveFromTrustAuthority(kind=TrustItem.BASE_IMAGE, name=f"v-{nth}"),
    lambda lab, nth: ("baseImage", f"v-{nth}") not in lab.items(),
    NotFound,
)
REVIEW = Step(
    "review",
    TA,
    lambda lab, nth: TrustKeyServers(provider=ProviderId(f"p-{nth}")),
    _trusted,
    None,
)


def settled(lab: Administration, node: NodeName) -> None:
    """The node is up, and all had time to look at each other."""
    if lab.agent.machine(node).state is not NodeRunState.RUNNING:
        assert lab.power_on(node).state is NodeRunState.RUNNING
    lab.sleep(2.5 * PERIOD_S)


def struck(lab: Administration, step: Step, node: NodeName, nth: int, way: str) -> str:
    """One step with a fall in it, judged; what the node fell at, empty if it did not."""
    message = step.ask(lab, nth)
    before = step.there(lab, nth)
    acknowledged = True
    with falling(lab, node, nth, way) as fall:
        try:
            lab.do(message, step.to)
        except ProductError:
            acknowledged = False
            assert fall.at, f"{step.name} is refused, and nothing fell"
    settled(lab, node)
    assert lab.well(), f"{step.name}: {node} fell at {fall.at}: {lab.state()}"
    if acknowledged:
        assert step.there(lab, nth), f"{step.name} was acknowledged, and is lost"
    elif before:
        assert step.there(lab, nth)
    if step.again is None:
        lab.do(message, step.to)
    else:
        with suppress(step.again):
            lab.do(message, step.to)
    assert step.there(lab, nth) and lab.well()
    return fall.at


def sound(lab: Administration) -> None:
    """Nothing unexpected happened in any node; the lab is closed."""
    assert not lab.loop.escapes, lab.loop.escapes
    assert not lab.loop.unhandled, lab.loop.unhandled
    bad = ("node.internal_error", "node.background_failed", "node.start_failed")
    assert not [record for record in lab.records if record.kind in bad]
    lab.close()


@pytest.fixture
def lab() -> Iterator[Administration]:
    made = Administration()
    made.ready()
    yield made
    sound(made)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("node", [TA, AS1, AS2, KPS1, KPS2])
def test_a_change_is_made_on_all_services_or_on_none(
    lab: Administration, node: NodeName, way: str
) -> None:
    for step, first in ((IMAGE, None), (REMOVE, IMAGE), (PROVIDER, None), (REVIEW, PROVIDER)):
        fell = set()
        for nth in range(1, LIMIT):
            if first is not None and not first.there(lab, nth):
                lab.do(first.ask(lab, nth))
            found = struck(lab, step, node, nth, way)
            fell.add(found)
            if not found:
                break
        assert {"", "bus"} < fell, fell  # to its end, and storage calls were struck too


@pytest.mark.slow
@pytest.mark.parametrize("node", [TA, AS1, KPS1])
def test_the_state_is_enabled_whole_or_by_a_repeat(node: NodeName) -> None:
    """The second step, in a lab of its own for each fall."""
    fell = set()
    for nth in range(1, LIMIT):
        lab = Administration(seed=nth)
        lab.admins()
        with falling(lab, node, nth, WAYS[nth % 2]) as fall, suppress(ProductError):
            lab.do(ENABLE)
        fell.add(fall.at)
        settled(lab, node)
        with suppress(AlreadyExists):
            lab.do(ENABLE)
        assert lab.state().group == f"{TA}/{TA_CLUSTER}" and lab.well()
        assert isinstance(lab.refused(ENABLE), AlreadyExists)
        sound(lab)
        if not fall.at:
            break
    assert {"", "bus"} < fell, fell


def _off(lab: Administration) -> bool:
    return CLUSTER not in lab.trusted().clusters


def _services(lab: Administration) -> Request[Any]:
    return ImportServicesInformation(services=lab.services_information())


ON_THE_OTHER_SIDE: tuple[tuple[str, Callable[[Administration], Request[Any]]], ...] = (
    ("off", lambda lab: SetTrustedState(cluster=CLUSTER, trusted=False)),
    ("on", lambda lab: SetTrustedState(cluster=CLUSTER)),
    ("renew", lambda lab: RenewStsCertificate()),
    ("import", _services),
    ("remediate", lambda lab: RemediateTrustedCluster(cluster=CLUSTER)),
    ("wipe", lambda lab: RemediateTrustedCluster(cluster=CLUSTER, delete=True)),
)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("node", [WORKLOAD, A])
def test_what_is_desired_of_hosts_is_whole_and_remediation_applies_it(
    lab: Administration, node: NodeName, way: str
) -> None:
    fell = set()
    for name, ask in ON_THE_OTHER_SIDE:
        for nth in range(1, LIMIT):
            lab.do(RemediateTrustedCluster(cluster=CLUSTER, delete=True), WORKLOAD)
            if _off(lab) == (name != "on"):
                lab.do(SetTrustedState(cluster=CLUSTER, trusted=name != "on"), WORKLOAD)
            message, was_off, acknowledged = ask(lab), _off(lab), True
            with falling(lab, node, nth, way) as fall:
                try:
                    lab.do(message, WORKLOAD)
                except ProductError:
                    acknowledged = False
                    assert fall.at, f"{name} is refused, and nothing fell"
            fell.add(fall.at)
            settled(lab, node)
            if name in ("off", "on") and acknowledged:
                assert _off(lab) is not was_off
            with suppress(AlreadyExists):
                lab.do(message, WORKLOAD)
            if name in ("off", "on"):
                assert _off(lab) is not was_off
            lab.do(RemediateTrustedCluster(cluster=CLUSTER, delete=_off(lab)), WORKLOAD)
            health = [host.health for host in lab.trusted().hosts]
            assert health == ([] if _off(lab) else [ProviderHealth.OK]), (name, fall.at)
            if not fall.at:
                break
    assert {"", "bus"} < fell, fell


def test_what_a_judge_has_and_nobody_wanted_is_taken_back_whatever_its_number(
    lab: Administration,
) -> None:
    """vCenter fell before its change was durable, and the next one with that number is another."""
    for nth in range(1, LIMIT):
        with falling(lab, TA, nth, "power_loss") as fall, suppress(ProductError):
            lab.do(IMAGE.ask(lab, nth))
        if fall.at == "db.commit":
            break
        settled(lab, TA)
    lab.power_off(AS1, "power_loss")
    assert lab.power_on(TA).state is NodeRunState.RUNNING
    lab.do(IMAGE.ask(lab, LIMIT))
    assert lab.power_on(AS1).state is NodeRunState.RUNNING
    wrong = [one.name for one in lab.state().items if one.health is ProviderHealth.ERROR]
    assert wrong == [f"v-{LIMIT}", f"v-{nth}"]
    lab.sleep(2.5 * PERIOD_S)
    assert lab.well() and not IMAGE.there(lab, nth) and IMAGE.there(lab, LIMIT)
