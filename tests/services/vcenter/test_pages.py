"""Ids of 300 characters: every list of vCenter fits into its messages, and is whole in the end."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.observe.look import all_events, all_hosts, all_key_status, all_providers, all_vms
from protocol.codec import SIZE_LIMIT, encode_message
from protocol.events import EventTypeId
from protocol.messages.base import Request
from protocol.messages.host.crypto import AddKeys
from protocol.messages.vcenter.inventory import ConfigureCryptoKey, ListEvents, ListHosts
from protocol.messages.vcenter.providers import (
    KmipServer,
    ListKmsClusters,
    QueryCryptoKeyStatus,
    UnregisterKmsCluster,
)
from protocol.messages.vcenter.vms import ListVms
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KmipState,
    ManagementType,
    NodeName,
    ProviderId,
    VmName,
)
from services.vcenter import events
from services.vcenter.inventory import put
from services.vcenter.key_use import grant_keys
from services.vcenter.tables import DatabaseTable, HostRow, ProviderRow, VmRow
from tests.services.vcenter.peers import VCENTER, HostRecord, VmRecord
from tests.services.vcenter.rig import CLUSTER, KMS, A, P, Rig

KEYS = 900


def key(number: int, provider: ProviderId = P) -> CryptoKeyId:
    return CryptoKeyId(KeyId(f"{number:05d}".ljust(300, "x")), provider)


def vm(number: int, host: NodeName = A) -> VmRow:
    name = VmName(f"vm-{number:04d}")
    keys = (key(number),)
    locked = EventTypeId.VM_LOCKED_KEY_MISSING_ON_KMS
    return VmRow(name=name, cluster=CLUSTER, host=host, keys=keys, lock_event=locked, missing=keys)


class Asks:
    """The rig as the reader of long lists sees it; every answer is weighed."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.pages = 0

    async def ask(self, node: NodeName, message: Request[Any], *, within_s: float = 30.0) -> Any:
        assert node == VCENTER
        reply = await self._rig.ask(message, within_s)
        assert len(encode_message(reply)) < SIZE_LIMIT
        self.pages += 1
        return reply


@pytest.fixture
def many(rig: Rig) -> Rig:
    """A connected host whose cluster has many VMs, each under a key with a long id."""
    rig.up(A)
    record = rig.servers[KMS]
    for number in range(KEYS):
        record.keys[key(number).key_id] = (number.to_bytes(32, "big"), KmipState.ACTIVE)
    made = [vm(number) for number in range(KEYS)]
    rows = [put(DatabaseTable.VM, row.name, row) for row in made]
    grants = [edit for row in made for edit in grant_keys(row.name, CLUSTER, row.keys)]
    rig.run(rig.vcenter.inventory.commit(*rows, *grants))
    return rig


def test_all_keys_of_a_cluster_reach_a_host(many: Rig) -> None:
    asked = many.servers[KMS].asked
    before = len(many.hosts[A].seen), len(many.sent), len(asked)
    many.reboot(A)
    many.sleep(60)
    assert many.hosts[A].crypto_state is HostCryptoState.SAFE
    assert {key(n) for n in range(KEYS)} <= set(many.hosts[A].cache)
    pushes = many.hosts[A].seen[before[0] :].count(AddKeys.__name__)
    assert pushes == -(-KEYS // 256)
    status = [name for _, to, name in many.sent[before[1] :] if name == "GetCryptoKeyStatus"]
    assert len(status) > 1


def test_all_keys_of_a_deleted_provider_leave_a_host_in_one_pass(many: Rig) -> None:
    many.reboot(A)
    many.sleep(60)
    record = many.hosts[A]
    assert {key(n) for n in range(KEYS)} <= set(record.cache)
    many.do(UnregisterKmsCluster(provider=P))
    while not (evicted := [r for r in many.records if r.kind == "keys.evicted"]):
        many.sleep(5)
    assert [r.fields["count"] for r in evicted] == [KEYS + 1]
    assert not record.cache, "DEL-02: the host's own entry too; what is in memory stays"
    assert record.crypto_state is HostCryptoState.SAFE
    assert record.seen.count("EvictKeys") == 1


def test_vms_are_listed_page_by_page(many: Rig) -> None:
    asks = Asks(many)
    listed = many.run(all_vms(asks, VCENTER))
    assert [info.vm for info in listed] == [vm(number).name for number in range(KEYS)]
    assert asks.pages > 1
    first = many.do(ListVms())
    assert first.more and first.vms == listed[: len(first.vms)]
    rest = many.do(ListVms(after=listed[-2].vm))
    assert (rest.vms, rest.more) == (listed[-1:], False)


def test_the_view_of_a_host_is_taken_in_whole_however_many_pages_it_has(rig: Rig) -> None:
    """In the answer to the session, and at every later look."""
    names = [VmName(f"vm-{number:04d}") for number in range(KEYS)]
    record = rig.hosts[A] = HostRecord()
    for number, name in enumerate(names):
        record.vms[name] = VmRecord(keys=(key(number),))
    rig.up(A)
    rig.sleep(5)
    session = rig.vcenter.sessions.get(A)
    assert session is not None and session.summary is not None
    assert [vm.vm for vm in session.summary.vms] == names
    assert [vm.vm for vm in rig.run(all_vms(Asks(rig), VCENTER))] == names
    late = VmName("vm-9999")
    record.vms[late] = VmRecord()
    rig.sleep(30)
    listed = rig.run(all_vms(Asks(rig), VCENTER))
    assert (listed[-1].vm, listed[-1].host) == (late, A)
    assert [vm.vm for vm in session.summary.vms] == [*names, late]


def test_hosts_are_listed_page_by_page(rig: Rig) -> None:
    rig.up(A)
    names = [NodeName(f"esxi-{n:04d}".ljust(48, "z")) for n in range(2000)]
    rows = [put(DatabaseTable.HOST, name, HostRow(name=name, cluster=CLUSTER)) for name in names]
    rig.run(rig.vcenter.inventory.commit(*rows))
    asks = Asks(rig)
    listed = rig.run(all_hosts(asks, VCENTER))
    assert [info.host for info in listed] == sorted([A, *names])
    assert asks.pages > 1
    assert rig.do(ListHosts(after=names[-2])).hosts == listed[-1:]


def test_providers_are_listed_page_by_page(rig: Rig) -> None:
    rig.up(A)
    servers = tuple(KmipServer(name=f"server-{n}".ljust(48, "s"), node=KMS) for n in range(4))
    names = [ProviderId(f"provider-{n:04d}".ljust(128, "z")) for n in range(1000)]
    standard = ManagementType.VCENTER
    rows = [ProviderRow(name=n, management_type=standard, servers=servers) for n in names]
    rig.run(rig.vcenter.inventory.commit(*(put(DatabaseTable.PROVIDER, r.name, r) for r in rows)))
    asks = Asks(rig)
    listed = rig.run(all_providers(asks, VCENTER))
    assert [info.provider for info in listed] == sorted([P, *names])
    assert asks.pages > 1
    rest = rig.do(ListKmsClusters(after=listed[-2].provider))
    assert (rest.providers, rest.more) == (listed[-1:], False)


def test_status_of_all_keys_comes_page_by_page(many: Rig) -> None:
    many.do(ConfigureCryptoKey(host=A))
    asks, asked = Asks(many), many.servers[KMS].asked_states
    before = len(asked)
    found = many.run(all_key_status(asks, VCENTER))
    told = [key_id for ids in asked[before:] for key_id in ids]
    assert told == [s.key.key_id for s in found], "no key is asked for that its page cannot hold"
    host_key = many.hosts[A].host_key
    assert host_key is not None
    assert [s.key for s in found] == sorted([host_key, *(key(n) for n in range(KEYS))])
    assert all(status.available for status in found) and asks.pages > 1
    named = (key(7), key(3), key(7), key(5))
    assert [s.key for s in many.run(all_key_status(asks, VCENTER, named))] == [
        key(7),
        key(3),
        key(5),
    ]
    assert [s.key for s in many.do(QueryCryptoKeyStatus(keys=named, after=key(3))).keys] == [key(5)]


def test_events_come_page_by_page(rig: Rig) -> None:
    before = rig.mark()
    keys = tuple(key(number) for number in range(64))
    drafts = [events.host_send_error(A, keys, f"reason {number}") for number in range(60)]
    rig.run(rig.vcenter.inventory.commit(events=drafts))
    asks = Asks(rig)
    found = rig.run(all_events(asks, VCENTER, after=before))
    assert [event.text.split(".")[0].rsplit(" ", 1)[1] for event in found] == [
        str(number) for number in range(60)
    ]
    assert asks.pages > 1
    few = rig.run(all_events(asks, VCENTER, after=before, limit=20))
    assert few == found[:20]
    assert rig.do(ListEvents(after=before, limit=1)).more
    assert not rig.do(ListEvents(after=found[-1].sequence)).more
