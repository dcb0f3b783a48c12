"""Sessions, heartbeats, commands whose answers were lost, and who may speak at all."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from protocol.errors import (
    AlreadyExists,
    Busy,
    EncryptionKeyRequired,
    HostUnreachable,
    InvalidName,
    InvalidState,
    NoPermission,
    NotConnected,
    NotFound,
    ProductError,
)
from protocol.messages.agent import CutRule, DelayRule
from protocol.messages.base import Request
from protocol.messages.host.crypto import AddKeys, CryptoManagerHostEnable, SetProviders
from protocol.messages.host.session import HostSummary
from protocol.messages.host.vms import HostPowerOnVm
from protocol.messages.vcenter.inventory import AddHost, HostChanged, ListHosts, RemoveHost
from protocol.messages.vcenter.vms import CreateVm, ListVms, PowerOffVm, PowerOnVm
from protocol.terms import (
    ClusterName,
    HostConnectionState,
    HostCryptoState,
    NodeName,
    PowerState,
    VmConnectionState,
    VmName,
)
from tests.services.vcenter.peers import VCENTER, ScriptedHost, VmRecord
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, Rig

S = HostConnectionState


def session(rig: Rig, host: NodeName = A) -> str:
    service = rig.services[host]
    assert isinstance(service, ScriptedHost)
    return service.guard.session


def test_the_session_is_renewed_after_a_reboot_of_either_side(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    sessions = [session(rig)]
    for node in (A, VCENTER, A):
        rig.reboot(node)
        rig.sleep(30)
        assert rig.host_info().connection is S.CONNECTED
        sessions.append(session(rig))
        assert rig.hosts[A].crypto_state is HostCryptoState.SAFE
        assert rig.key_of() in rig.hosts[A].cache
    assert len(set(sessions)) == len(sessions) and "" not in sessions
    assert rig.power_on_vm().power is PowerState.ON


def test_three_misses_make_it_not_responding_and_its_vms_disconnected(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.power_off(A)
    rig.sleep(15)
    assert rig.host_info(A).connection is S.CONNECTED  # one miss is nothing
    rig.sleep(50)
    assert rig.host_info(A).connection is S.NOT_RESPONDING
    assert rig.host_info(A).alarms == ("alarm.HostConnectionFailure",)
    assert rig.vm_info().connection is VmConnectionState.DISCONNECTED
    assert rig.vm_info().lock_event is None  # nobody saw a missing key
    assert isinstance(rig.refused(PowerOnVm(vm=VM)), HostUnreachable)
    assert rig.host_info(B).connection is S.CONNECTED
    rig.power_on(A)
    rig.sleep(10)
    assert rig.host_info(A).connection is S.CONNECTED
    assert rig.vm_info().connection is VmConnectionState.CONNECTED


def test_a_cut_link_heals_without_anybodys_help(rig: Rig) -> None:
    rig.up(A)
    rig.cut((VCENTER, A))
    rig.sleep(200)
    assert rig.host_info().connection is S.NOT_RESPONDING
    rig.heal()
    rig.sleep(45)
    assert rig.host_info().connection is S.CONNECTED


def test_a_lost_answer_is_asked_for_again_under_a_new_number(rig: Rig) -> None:
    """The host does it, its answer is lost; the repeat finds it done."""
    rig.up(A)
    rig.vm(encrypted=False)
    one_way = CutRule(id="cut", src=A, dst=VCENTER)
    rig.world.rules.apply(rig.rules.put([one_way]))

    async def heal_later() -> None:
        await rig.world.sleep(6)
        rig.world.rules.apply(rig.rules.drop("cut"))

    rig.world.spawn(None, "heal", heal_later())
    before = len(rig.hosts[A].seen)
    assert rig.power_on_vm().power is PowerState.ON
    assert rig.hosts[A].seen[before:] == ["HostPowerOnVm", "HostPowerOnVm"]


def test_a_view_that_was_written_before_a_command_does_not_undo_it(rig: Rig) -> None:
    """The heartbeat's answer says *off*, lingers on the link, and comes after the power-on."""
    rig.up(A)
    rig.vm(encrypted=False)
    rig.sleep(15)
    lingers = DelayRule(id="cut", src=A, dst=VCENTER, base_s=6)
    rig.world.rules.apply(rig.rules.put([lingers]))
    before = len(rig.sent)
    while (VCENTER, A, "CheckForUpdates") not in rig.requests(before):
        rig.sleep(0.2)
    rig.sleep(0.2)
    rig.heal()
    assert rig.power_on_vm().power is PowerState.ON
    for _ in range(80):
        rig.sleep(0.1)
        assert rig.vm_info().power is PowerState.ON


def test_numbers_overtaken_on_the_way_are_given_anew(rig: Rig) -> None:
    """With jitter on the link commands overtake each other; each has its effect once."""
    rig.up(A)
    names = [VmName(f"vm-{n}") for n in range(12)]
    jitter = DelayRule(id="cut", src=VCENTER, dst=A, base_s=0, jitter_s=0.5)
    rig.world.rules.apply(rig.rules.put([jitter]))

    async def create(name: VmName, outcomes: list[str]) -> None:
        for _ in range(20):  # a client that repeats its own operation
            try:
                await rig.ask(CreateVm(operation_id=f"c-{name}", vm=name, cluster=CLUSTER))
                outcomes.append(name)
                return
            except ProductError:
                await rig.world.sleep(1)

    async def all_at_once() -> list[str]:
        outcomes: list[str] = []
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(create(name, outcomes))
        return outcomes

    assert sorted(rig.run(all_at_once())) == sorted(names)
    assert sorted(rig.hosts[A].vms) == sorted(names)


def test_a_vm_has_a_name(rig: Rig) -> None:
    rig.up(A)
    for name in ("", "../../x", "a/b", "a\x1b[31m", "x" * 300):
        nameless = CreateVm(operation_id="op", vm=VmName(name), cluster=CLUSTER)
        assert isinstance(rig.refused(nameless), InvalidName)
    assert rig.do(ListVms()).vms == ()


def test_add_and_remove(rig: Rig) -> None:
    nowhere = AddHost(host=NodeName("esxi-009"), cluster=CLUSTER)
    assert isinstance(rig.refused(nowhere), HostUnreachable)
    assert rig.do(ListHosts()).hosts == ()
    rig.up(A)
    added = rig.do(AddHost(host=A, cluster=CLUSTER)).host
    assert added.connection is S.CONNECTED and added.cluster == CLUSTER
    assert isinstance(rig.refused(AddHost(host=A, cluster=ClusterName("other"))), AlreadyExists)
    for host, cluster in ((B, ""), (B, "a/b"), (B, "x" * 300), ("*", CLUSTER), (" ", CLUSTER)):
        nameless = AddHost(host=NodeName(host), cluster=ClusterName(cluster))
        assert isinstance(rig.refused(nameless), InvalidName)
    rig.vm()
    rig.power_on_vm()
    assert isinstance(rig.refused(RemoveHost(host=A)), InvalidState)
    rig.power_off(A)
    rig.sleep(60)
    rig.do(RemoveHost(host=A))
    rig.do(RemoveHost(host=A))
    assert rig.do(ListHosts()).hosts == () and rig.do(ListVms()).vms == ()
    assert rig.servers[KMS].keys  # KEY-03
    rig.power_on(A)
    rig.sleep(30)
    assert rig.do(ListHosts()).hosts == ()  # it announces itself in vain
    added = rig.do(AddHost(host=A, cluster=CLUSTER)).host
    assert [vm.vm for vm in rig.do(ListVms()).vms] == [VM]  # taken in with its key
    rig.sleep(5)
    assert rig.vm_info().key in rig.hosts[A].cache


def test_an_added_host_gets_host_key_and_all_keys_of_the_cluster(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.host(B)
    assert rig.host_info(B).crypto_state is HostCryptoState.SAFE
    assert rig.key_of() in rig.hosts[B].cache
    order = [n for n in rig.hosts[B].seen if n in ("CryptoManagerHostEnable", "AddKeys")]
    assert order == ["CryptoManagerHostEnable", "AddKeys"]  # STD-14: host key first


def test_a_host_added_while_the_kms_is_cut(rig: Rig) -> None:
    """PT01: in the inventory, prepared, no key; complete after the fault ends."""
    rig.up(A)
    rig.vm()
    rig.cut((VCENTER, KMS))
    rig.host(B)
    assert rig.host_info(B).crypto_state is HostCryptoState.PREPARED
    assert rig.hosts[B].cache == {}
    rig.heal()
    rig.sleep(330)
    assert rig.host_info(B).crypto_state is HostCryptoState.SAFE
    assert rig.key_of() in rig.hosts[B].cache


def test_the_emptiest_host_gets_the_next_vm(rig: Rig) -> None:
    rig.up(A, B)
    placed = [
        rig.do(CreateVm(operation_id=f"c{n}", vm=VmName(f"vm-{n}"), cluster=CLUSTER)).vm.host
        for n in range(4)
    ]
    assert placed == [A, B, A, B]
    again = CreateVm(operation_id="c9", vm=VmName("vm-1"), cluster=CLUSTER)
    assert isinstance(rig.refused(again), AlreadyExists)
    other = CreateVm(operation_id="d", vm=VmName("x"), cluster=ClusterName("none"))
    assert isinstance(rig.refused(other), NotFound)


def test_at_step_b8_the_hosts_summary_travels_once(rig: Rig) -> None:
    """OpenSession answers with it, and the pass works on that answer."""
    rig.up(A)
    rig.vm()
    before = len(rig.sent)
    rig.reboot(A)
    rig.sleep(3)
    told = [name for _, to, name in rig.requests(before) if to == A]
    assert told[0] == "OpenSession" and "CryptoManagerHostEnable" in told
    assert not {"CheckForUpdates", "QueryHost"} & {*told}


def ring(rig: Rig, host: NodeName = A, boot: int = 1) -> None:
    service = rig.services[host]
    assert isinstance(service, ScriptedHost)
    rig.run(service.bus.request(VCENTER, HostChanged(boot=boot), within_s=5))


def test_a_host_that_rings_is_looked_at_and_disturbed_only_if_need_be(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.sleep(5)
    rig.hosts[A].vms[VM].power = PowerState.ON
    before, now = len(rig.sent), session(rig)
    ring(rig)
    rig.sleep(0.1)
    assert [name for _, to, name in rig.requests(before) if to == A] == ["CheckForUpdates"]
    assert rig.vm_info().power is PowerState.ON
    ring(rig, boot=0)  # an earlier life's, late
    rig.sleep(0.1)
    assert [name for _, to, name in rig.requests(before) if to == A] == ["CheckForUpdates"] * 2
    assert session(rig) == now


@pytest.mark.parametrize("boot", [2, 3, 10**7])
def test_a_ring_that_names_a_life_the_host_does_not_live_shuts_nobody_out(
    rig: Rig, boot: int
) -> None:
    """What a ring says is a reason to look; which life the host lives, its own answer says."""
    rig.up(A)
    rig.vm()
    opened = len([name for _, _, name in rig.requests(0) if name == "OpenSession"])
    for _ in range(5):
        ring(rig, boot=boot)
        rig.sleep(0.1)
    now = len([name for _, _, name in rig.requests(0) if name == "OpenSession"])
    assert now - opened <= 1, "each lie costs a session"
    assert rig.host_info(A).connection is S.CONNECTED
    rig.reboot(A)
    rig.sleep(5)
    assert rig.host_info(A).connection is S.CONNECTED
    assert rig.key_of() in rig.hosts[A].cache


def test_a_host_that_rings_for_a_key_gets_it_even_for_a_vm_that_is_marked(rig: Rig) -> None:
    """Step 5 of the search: the way to the key is open again, and no check has noticed yet."""
    rig.up(A)
    rig.vm()
    rig.cut((VCENTER, KMS))
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info().lock_event is not None
    rig.heal()
    ring(rig, boot=2)
    rig.sleep(3)
    assert rig.key_of() in rig.hosts[A].cache
    assert rig.vm_info().lock_event is None


def test_a_host_that_rings_gets_keys_also_of_a_vm_that_counts_as_another_hosts(rig: Rig) -> None:
    """It is registered on both; the administrator of the other one powers it on there."""
    rig.up(B, A)
    rig.vm(host=A)
    key = rig.key_of()
    rig.hosts[B].vms[VM] = VmRecord(keys=(key,))
    del rig.hosts[B].cache[key]
    rig.sleep(15)
    assert rig.vm_info().host == A and key not in rig.hosts[B].cache
    ring(rig, B)
    rig.sleep(1)
    assert key in rig.hosts[B].cache


def test_a_ring_during_a_look_is_answered_by_another_look(rig: Rig) -> None:
    """What is on its way may have been written before that for which the host rings."""
    rig.up(B, A)
    rig.vm(host=A)
    key = rig.key_of()
    rig.hosts[B].vms[VM] = VmRecord(keys=(key,))
    del rig.hosts[B].cache[key]
    rig.sleep(15)
    lingers = DelayRule(id="cut", src=B, dst=VCENTER, base_s=3)
    rig.world.rules.apply(rig.rules.put([lingers]))
    before = len(rig.sent)
    while (VCENTER, B, "CheckForUpdates") not in rig.requests(before):
        rig.sleep(0.1)
    rig.sleep(0.1)
    rig.heal()
    ring(rig, B)
    rig.sleep(5)
    assert key in rig.hosts[B].cache


def test_a_host_that_was_connected_meanwhile_is_tried_again_soon(rig: Rig) -> None:
    """The pauses between tries grow with the failures since it last answered, and no longer."""
    rig.up(A)
    rig.cut((VCENTER, A))
    rig.sleep(300)
    rig.heal()
    rig.sleep(45)
    assert rig.host_info().connection is S.CONNECTED
    rig.cut((VCENTER, A))
    session = rig.vcenter.sessions.usable(A)
    session.rang(session.boot + 1)
    rig.sleep(rig.vcenter.node.knobs.request_timeout_s + 0.5)
    assert not session.connected
    rig.heal()
    rig.sleep(12)
    assert session.connected


def test_what_a_host_did_without_vcenter_is_learned(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.hosts[A].vms[VM].power = PowerState.ON  # by its local administrator
    rig.sleep(15)
    assert rig.vm_info().power is PowerState.ON


def test_only_hosts_speak_over_the_bus_and_each_for_itself(rig: Rig) -> None:
    rig.up(A, B)
    a = rig.services[A]
    assert isinstance(a, ScriptedHost)

    def refused(message: Request[object]) -> ProductError:
        async def tried() -> ProductError:
            try:
                await a.bus.request(VCENTER, message, within_s=5)
            except ProductError as error:
                return error
            raise AssertionError("it was not refused")

        return rig.run(tried())

    assert isinstance(refused(PowerOnVm(vm=VM)), NoPermission)
    assert isinstance(refused(ListVms()), NoPermission)
    assert isinstance(rig.refused(HostChanged(boot=1)), NotFound)  # a client is no host
    rig.do(RemoveHost(host=A))
    assert isinstance(refused(HostChanged(boot=1)), NotFound)


def test_a_host_that_refuses_keys_is_told_of_and_its_vm_locked(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.hosts[A].errors[AddKeys.__name__] = InvalidState("the store is full")
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(60)
    told = [e.event.value.removeprefix("com.vmware.vc.") for e in rig.events(mark)]
    assert told == [
        "host.Crypto.Enabled",
        "host.Crypto.SendKeyError.HostError",
        "vm.Crypto.VMLocked.KeyMissingOnHost",
    ]
    rig.hosts[A].errors.clear()
    rig.sleep(330)
    assert rig.vm_info().lock_event is None


def test_a_host_that_became_safe_meanwhile_has_refused_nothing(rig: Rig) -> None:
    """It has another host key than the one on its way: the next pass compares, and changes it."""
    rig.up(A)
    rig.vm()
    rig.hosts[A].errors[CryptoManagerHostEnable.__name__] = AlreadyExists("safe with another key")
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(60)
    assert not [e for e in rig.ids(mark) if e.value.endswith("HostError")]
    assert rig.key_of() in rig.hosts[A].cache
    rig.hosts[A].errors.clear()
    rig.sleep(330)
    assert rig.hosts[A].crypto_state is HostCryptoState.SAFE


def test_a_push_that_was_cut_short_is_made_again_at_the_next_heartbeat(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.sleep(5)
    mark = rig.mark()
    rig.hosts[B].errors[AddKeys.__name__] = Busy()  # no VM of its own tells that keys are missing
    rig.reboot(B)
    rig.sleep(60)
    rig.hosts[B].errors.clear()
    rig.sleep(25)
    assert rig.key_of() in rig.hosts[B].cache
    told = [e.event.value.removeprefix("com.vmware.vc.") for e in rig.events(mark)]
    assert told == ["host.Crypto.Enabled"]  # a host that did not answer is no reason to lock


def test_a_power_on_command_that_fails_at_the_host_is_handed_on(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.hosts[A].errors[HostPowerOnVm.__name__] = InvalidState("no")
    assert isinstance(rig.refused(PowerOnVm(vm=VM)), InvalidState)


def test_a_host_that_lacks_a_key_after_all_is_looked_at_at_once(rig: Rig) -> None:
    """Step B8 and the key's status said that it is there; the host must know."""
    rig.up(A)
    rig.vm()
    lacking = EncryptionKeyRequired("keys are missing", (rig.key_of(),))
    rig.hosts[A].errors[HostPowerOnVm.__name__] = lacking
    before = len(rig.sent)
    while (VCENTER, A, "CheckForUpdates") not in rig.requests(before):
        rig.sleep(0.1)  # a heartbeat, so that none comes soon
    before = len(rig.sent)
    assert isinstance(rig.refused(PowerOnVm(vm=VM)), EncryptionKeyRequired)
    rig.sleep(1)
    asked = [name for _, to, name in rig.requests(before) if to == A]
    assert "CheckForUpdates" in asked[asked.index("HostPowerOnVm") :]


def test_a_vm_whose_key_left_while_it_ran_is_marked_when_it_is_off(rig: Rig) -> None:
    """DEL-01."""
    rig.up(A)
    rig.vm()
    rig.power_on_vm()
    rig.sleep(15)
    key = rig.key_of()
    del rig.hosts[A].cache[key], rig.servers[KMS].keys[key.key_id]
    before = len(rig.sent)
    while (VCENTER, A, "CheckForUpdates") not in rig.requests(before):
        rig.sleep(0.1)
    rig.do(PowerOffVm(vm=VM))
    rig.sleep(1)
    assert rig.vm_info().lock_event is not None and rig.vm_info().missing == (key,)


def test_a_view_is_not_believed_while_a_command_is_on_its_way(rig: Rig) -> None:
    """The host may have written it before the command, and the command may come after it."""
    rig.up(A)
    session = rig.vcenter.sessions.usable(A)
    late = DelayRule(id="cut", src=VCENTER, dst=A, base_s=5.0)
    rig.world.rules.apply(rig.rules.put([late]))

    async def look_meanwhile() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(session.command(SetProviders(providers=())))
            await rig.world.sleep(0.1)
            rig.heal()
            await session.look()
            assert not session.view.is_current
        await session.look()
        assert session.view.is_current

    rig.run(look_meanwhile())


def test_a_command_to_an_earlier_life_of_a_host_hides_nothing_of_this_one(rig: Rig) -> None:
    """Nobody answers it any more, and vCenter waits long for it: the host's view counts."""
    rig.up(A)
    rig.vm(encrypted=False)
    session = rig.vcenter.sessions.usable(A)

    late = DelayRule(id="cut", src=VCENTER, dst=A, base_s=1000.0)
    rig.world.rules.apply(rig.rules.put([late]))
    command = session.command(SetProviders(providers=()), within_s=1200.0)
    waiting = rig.world.loop.create_task(command)
    rig.sleep(0.1)
    rig.heal()
    rig.reboot(A)
    rig.sleep(30)
    rig.hosts[A].vms[VM].power = PowerState.ON
    rig.sleep(30)
    assert not waiting.done() and session.view.is_current
    assert rig.vm_info().power is PowerState.ON
    rig.sleep(1200)
    assert waiting.done() and session.view.is_current


def test_what_did_not_reach_a_host_is_made_up_for_once(rig: Rig) -> None:
    rig.up(A)
    rig.sleep(30)
    rig.vcenter.passes.cut_short(A)
    before = len(rig.sent)
    rig.sleep(100)
    assert not rig.vcenter.passes.unfinished(A)
    asked = [name for _, to, name in rig.sent[before:] if to == A]
    assert 9 <= asked.count("CheckForUpdates") <= 13 and asked.count("GetCryptoKeyStatus") <= 1


@pytest.mark.parametrize("change", [{"boot": 9}, {"session": "of another"}])
def test_pages_of_two_lives_of_a_host_are_no_view(rig: Rig, change: dict[str, object]) -> None:
    rig.up(A)
    for number in range(2):
        rig.vm(VmName(f"vm-{number}"), encrypted=False)
    host, session = rig.services[A], rig.vcenter.sessions.usable(A)
    assert isinstance(host, ScriptedHost)
    whole = host.summary

    def page(after: str = "") -> HostSummary:
        view = whole()
        if after:
            return msgspec.structs.replace(view, vms=view.vms[1:], **change)
        return msgspec.structs.replace(view, vms=view.vms[:1], more_vms=True)

    host.summary = page  # type: ignore[method-assign]

    async def look() -> None:
        with pytest.raises(NotConnected, match="listed its VMs"):
            await session.look()

    rig.run(look())


def test_three_heartbeats_without_an_answer_and_not_two_or_four_end_a_session(rig: Rig) -> None:
    rig.up(A)
    rig.sleep(97)
    rig.cut((VCENTER, A))
    rig.sleep(25)
    assert rig.host_info().connection is HostConnectionState.CONNECTED
    rig.sleep(14)
    assert rig.host_info().connection is HostConnectionState.NOT_RESPONDING


def test_a_host_that_holds_another_session_is_connected_anew(rig: Rig) -> None:
    rig.up(A)
    rig.sleep(5)  # the pass that comes with a session is over, and no heartbeat is due
    host, session = rig.services[A], rig.vcenter.sessions.usable(A)
    assert isinstance(host, ScriptedHost)
    mine, whole = host.guard.session, host.summary
    host.summary = lambda after="": msgspec.structs.replace(  # type: ignore[method-assign]
        whole(after), session="of another"
    )

    async def look() -> None:
        with pytest.raises(HostUnreachable, match="holds another session"):
            await session.look()

    rig.run(look())
    host.summary = whole  # type: ignore[method-assign]
    rig.sleep(20)
    assert host.guard.session not in ("", mine) and session.connected


def test_a_host_that_refuses_the_session_is_connected_anew_at_once(rig: Rig) -> None:
    """It says so to a command only: what it tells of itself still names that session."""
    rig.up(A)
    rig.vm(encrypted=False)
    rig.sleep(15)
    refused_session = session(rig)
    rig.hosts[A].errors[HostPowerOnVm.__name__] = NotConnected("not this session")
    assert isinstance(rig.refused(PowerOnVm(vm=VM)), HostUnreachable)
    rig.hosts[A].errors.clear()
    rig.sleep(1)
    assert session(rig) not in ("", refused_session)
    (lost,) = [r for r in rig.records if r.kind == "host.lost"]
    assert (lost.fields["host"], lost.fields["reason"]) == (A, "the host refuses the session")
    assert rig.power_on_vm().power is PowerState.ON
