"""``keyprovider.live``: a key provider of an operation's own, and each lie about it that the
operation must notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chaos.draws import Draws
from chaos.history import History, Record
from chaos.observe.guests import Guests
from chaos.observe.look import OWN, all_providers, leaders
from chaos.workload import Arrival, Means, perform
from chaos.workload.base import OperationCounts
from chaos.workload.life import Drifted, Wrong
from chaos.workload.provider_lives import ProviderTrial, _native, _standard
from protocol.messages.kms.keys import GetAttributes
from protocol.messages.vcenter.providers import (
    GenerateKey,
    GetDefaultKmsCluster,
    ImportProvider,
    KeyGenerated,
    KeyRemoved,
    KmsClusterUnregistered,
    ListKeys,
    ListKmsClusters,
    QueryCryptoKeyStatus,
    RemoveKey,
    UnregisterKmsCluster,
)
from protocol.messages.vcenter.vms import CreateVm, PowerOnVm
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    KmipState,
    NodeName,
    ProviderId,
    VmName,
)
from tests.chaos.lies import Lie, answering, changed, each, lying, nth, refusing
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
PROVIDER = ProviderId(f"{OWN}trial")
OTHER = CryptoKeyId(KeyId("other"), PROVIDER)
HOST = NodeName("esxi-001")


def own(item: Any) -> bool:
    return bool(item.provider == PROVIDER)


async def _always_the_same(real: Any) -> Any:
    answer = await real()
    return msgspec.structs.replace(answer, key=OTHER)


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=1)
    yield made
    made.close()


@pytest.fixture
def native() -> Iterator[World]:
    made = World(use="native", hosts=2, vms=1)
    yield made
    made.close()


def trial_in(world: World, lab: Any = None) -> ProviderTrial:
    lab = lab or world.lab
    means = Means(lab, Guests(lab, Draws(1, "guests")))
    vcenter = leaders(world.lab)[0]
    cluster = next(one.cluster for one in world.lab.directory().nodes if one.cluster)
    servers = world.run(all_providers(world.lab, vcenter))[0].servers
    nodes = tuple(server.node for server in servers)
    return ProviderTrial(means, vcenter, cluster, "trial", Draws(1, "trial"), PROVIDER, nodes)


@pytest.mark.parametrize("use", ["default", "kmip", "native", "trusted", "two-vcenters"])
def test_one_lives_in_each_lab(use: str) -> None:
    """Nothing of it is left in vCenter; beside a Trust Authority there is nothing to do."""
    world = World(use=use, vms=2)
    lab = world.lab
    try:
        before = [world.run(all_providers(lab, vcenter)) for vcenter in leaders(lab)]
        ended = arrived(world)
        assert (ended.type, ended.data) == ("ok", {"n": 1})
        after = [world.run(all_providers(lab, vcenter)) for vcenter in leaders(lab)]
        assert [[one.provider for one in some] for some in before] == [
            [one.provider for one in some] for some in after
        ]
    finally:
        world.close()


def test_one_of_wrapped_keys_lives() -> None:
    world = World(use="kmip", vms=2, key_type="wrappedKey")
    try:
        assert arrived(world).data == {"n": 1}
    finally:
        world.close()


def arrived(world: World, lab: Any = None) -> Record:
    history = History(None, world.lab.monotonic)
    means = Means(lab or world.lab, Guests(world.lab, Draws(1, "guests")))
    arrival = Arrival(at=0.0, op="keyprovider.live", target="", number=1)
    world.run(perform(means, arrival, history, OperationCounts()))
    return history.records[-1]


def test_what_it_sees_is_told(world: World) -> None:
    wrong = arrived(world, lying(world, ListKeys, changed(keys=())))
    assert wrong.type == "ok" and "is not among the keys of vCenter" in wrong.data["wrong"]


def test_what_it_could_not_ask_is_told(world: World) -> None:
    drifted = arrived(world, lying(world, GenerateKey, answering(KeyGenerated(success=False))))
    assert (drifted.type, drifted.data["error"]) == ("info", "no key was made: ")


STANDARD: dict[str, tuple[type[Any], Lie, str]] = {
    "it is not listed": (ListKmsClusters, changed(providers=()), "vCenter does not list"),
    "it is the default": (
        ListKmsClusters,
        each("providers", own, default=True),
        "default of own-trial is True, and not False",
    ),
    "a repeat makes another key": (GenerateKey, nth(2, changed(key=OTHER)), "made own-trial/"),
    "two operations make one key": (GenerateKey, _always_the_same, "is not among the keys"),
    "a key is not known": (ListKeys, changed(keys=()), "is not among the keys of vCenter"),
    "a key stays known": (RemoveKey, answering(KeyRemoved()), "is among the keys of vCenter"),
    "no status": (QueryCryptoKeyStatus, changed(keys=()), "vCenter has 0 statuses"),
    "it is available": (
        QueryCryptoKeyStatus,
        each("keys", available=True, reason=None),
        "is available, not",
    ),
    "it has users": (
        QueryCryptoKeyStatus,
        each("keys", encrypted_vms=(VmName("vm-01"),)),
        "is used by",
    ),
    "it is active": (
        GetAttributes,
        each("keys", state=KmipState.ACTIVE),
        "says that own-trial/.* is",
    ),
    "no server has it": (GetAttributes, changed(keys=()), "no key server has"),
    "a VM is under no key": (CreateVm, changed(vm_key=None), "was to be under a key of"),
    "a VM without its key starts": (PowerOnVm, answering(None), "PowerOnVm is not refused"),
    "another default": (
        GetDefaultKmsCluster,
        nth(3, changed(provider=None)),
        "the default of cluster-a was",
    ),
    "a default that is not shown": (
        ListKmsClusters,
        each("providers", own, default_of=()),
        "and vCenter does not show it",
    ),
    "it is not deleted": (
        UnregisterKmsCluster,
        answering(KmsClusterUnregistered()),
        "was deleted, and is listed",
    ),
}


@pytest.mark.parametrize("name", STANDARD)
def test_a_lie_is_noticed(world: World, name: str) -> None:
    kind, lie, told = STANDARD[name]
    with pytest.raises(Wrong, match=told):
        world.run(_standard(trial_in(world, lying(world, kind, lie))))


DRIFTS: dict[str, tuple[type[Any], Lie, str]] = {
    "its servers do not answer": (
        ListKmsClusters,
        each("providers", own, status="red"),
        "own-trial is red",
    ),
    "nobody can be asked for a key": (
        QueryCryptoKeyStatus,
        each("keys", available=False, reason=KeyUnavailableReason.CLUSTER_UNREACHABLE),
        "do not answer",
    ),
    "a host has the key still": (
        RemoveKey,
        nth(4, answering(KeyRemoved(hosts=(HOST,)))),
        "have not dropped",
    ),
    "a host has the provider still": (
        UnregisterKmsCluster,
        answering(KmsClusterUnregistered(hosts=(HOST,))),
        "have not dropped own-trial",
    ),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_a_fault_says_nothing_against_the_product(world: World, name: str) -> None:
    kind, lie, told = DRIFTS[name]
    with pytest.raises(Drifted, match=told):
        world.run(_standard(trial_in(world, lying(world, kind, lie))))


def _only_looking(world: World) -> Any:
    """A lab whose vCenter imports what it was to look at."""
    bad: Any = lying(world, type(None), refusing(ValueError()))
    real = bad.ask

    async def ask(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        if isinstance(message, ImportProvider) and message.dry_run:
            message = msgspec.structs.replace(message, dry_run=False)
        return await real(node, message, within_s=within_s)

    bad.ask = ask
    return bad


NATIVE: dict[str, tuple[type[Any], Lie, str]] = {
    "a key before its backup": (
        GenerateKey,
        answering(KeyGenerated(success=True, key=OTHER)),
        "made a key before it was backed up",
    ),
    "the key of another backup": (
        ImportProvider,
        changed(key_id="other"),
        "the backup of own-trial is of own-trial with the key other",
    ),
}


@pytest.mark.parametrize("name", NATIVE)
def test_a_lie_about_a_native_one_is_noticed(native: World, name: str) -> None:
    kind, lie, told = NATIVE[name]
    with pytest.raises(Wrong, match=told):
        native.run(_native(trial_in(native, lying(native, kind, lie))))


def test_an_import_over_one_that_is_there_is_noticed(native: World) -> None:
    with pytest.raises(Wrong, match="is imported, and not refused with AlreadyExists"):
        native.run(_native(trial_in(native, lying(native, ImportProvider, answering(None)))))


def test_an_import_that_was_only_to_look_is_noticed(native: World) -> None:
    with pytest.raises(Wrong, match="only to see what is in it, and is listed"):
        native.run(_native(trial_in(native, _only_looking(native))))
