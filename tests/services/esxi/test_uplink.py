"""Sessions, who may say what, and how a host finds its vCenter again."""

from __future__ import annotations

import asyncio

from protocol.errors import EncryptionKeyRequired, NoPermission, NotConnected
from protocol.messages.base import Request
from protocol.messages.host.crypto import AddKeys, CryptoManagerHostPrepare, SetProviders
from protocol.messages.host.session import Esxcli, OpenSession, QueryHost, SaveConfiguration
from protocol.messages.host.vms import GuestChallenge, HostPowerOnVm
from protocol.terms import HostCryptoState, PowerState
from tests.services.esxi.rig import VCENTER, VM, A, B, Controller, Rig, add, key


def ask(rig: Rig, message: Request[object], sender: Controller | None = None) -> object:
    return rig.run((sender or rig.controller).bus.request(A, message, within_s=5))


def refused(rig: Rig, message: Request[object]) -> Exception:
    return rig.refusal(rig.controller.bus.request(A, message, within_s=5))


def test_a_command_needs_the_session_in_force_and_a_newer_number(rig: Rig) -> None:
    rig.up()
    bare = CryptoManagerHostPrepare()
    assert isinstance(refused(rig, bare), NotConnected)
    first = rig.controller.sessions[A]
    one, two = first.stamp(bare), first.stamp(bare)
    ask(rig, two)
    assert isinstance(refused(rig, one), NotConnected)  # older than what was obeyed
    assert isinstance(refused(rig, two), NotConnected)
    rig.connect()
    assert isinstance(refused(rig, first.stamp(bare)), NotConnected)  # an older session
    assert rig.command(SetProviders(providers=())) is not None


def test_a_reboot_of_either_side_ends_the_session(rig: Rig) -> None:
    rig.up()
    old = rig.controller.sessions[A]
    rig.reboot()
    assert isinstance(refused(rig, old.stamp(CryptoManagerHostPrepare())), NotConnected)
    rig.connect()
    late = OpenSession(session="of the past", vcenter_boot=1)
    rig.reboot(VCENTER)
    rig.connect()
    assert isinstance(refused(rig, late), NotConnected)
    assert rig.summary().crypto_state is HostCryptoState.INCAPABLE


def test_keys_of_a_late_command_do_not_arrive(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    late: AddKeys = rig.controller.sessions[A].stamp(add(key("late")))
    rig.connect()
    assert isinstance(refused(rig, late), NotConnected)
    assert rig.summary().cached_keys == 1


def test_only_its_vcenter_and_its_own_console_may_speak(rig: Rig) -> None:
    rig.up()
    rig.add_host(B)
    rig.power_on(B)
    stranger = rig.host(B).ports.bus
    for message in (QueryHost(), OpenSession(session="mine", vcenter_boot=9), add(key("x"))):
        assert isinstance(rig.refusal(stranger.request(A, message, within_s=5)), NoPermission)
    for console in (
        Esxcli(arguments=("system",)),
        SaveConfiguration(),
        GuestChallenge(vm=VM, nonce=b"", blocks=(0,)),
    ):
        assert isinstance(refused(rig, console), NoPermission)
    assert rig.summary().session


def test_a_host_announces_itself_until_it_is_connected(rig: Rig) -> None:
    rig.add_vcenter()
    rig.power_on(VCENTER)
    rig.add_host()
    rig.power_on()
    rig.sleep(40)
    waiting = len(rig.controller.rung)
    assert 3 <= waiting <= 12  # with a growing pause
    assert rig.controller.rung[0] == 1
    rig.connect()
    rig.sleep(20)
    assert len(rig.controller.rung) == waiting


def test_silence_of_three_heartbeats_makes_it_announce_again(rig: Rig) -> None:
    rig.up()
    rig.sleep(25)
    before = len(rig.controller.rung)
    for _ in range(10):
        ask(rig, QueryHost())
        rig.sleep(10)
    assert len(rig.controller.rung) == before
    rig.sleep(60)
    assert len(rig.controller.rung) > before


def test_rings_meanwhile_are_one_ring(rig: Rig) -> None:
    """The first goes out at once; all that come while it is on its way share the next."""
    rig.up()
    before = len(rig.controller.rung)

    async def many() -> list[bool]:
        taken: list[bool] = []

        async def one() -> None:
            taken.append(await rig.host().uplink.ring())

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(one())
        return taken

    assert rig.run(many()) == [True] * 20
    assert len(rig.controller.rung) == before + 2


def test_a_vcenter_that_is_down_is_told_later(rig: Rig) -> None:
    rig.add_vcenter()
    rig.add_host()
    rig.power_on()
    rig.sleep(60)
    assert rig.kinds("uplink.failed")
    rig.power_on(VCENTER)
    rig.sleep(60)
    assert rig.controller.rung


def test_a_host_without_vcenter_asks_nobody(rig: Rig) -> None:
    rig.add_host(vcenter="")
    rig.power_on()
    rig.sleep(100)
    assert not rig.kinds("uplink.failed")


def test_the_local_administrators_power_on_has_vcenter_bring_the_key(rig: Rig) -> None:
    """Step 5 of the search for a key, begun at the host's own console."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.reboot(way="power_loss")
    rig.sleep(60)
    rig.connect()
    rig.make_safe()
    rig.controller.supply[key("kek-1")] = A
    reply = rig.console(HostPowerOnVm(vm=VM))
    assert reply.summary.power is PowerState.ON
    assert rig.works()


def test_without_a_supply_it_is_refused_after_a_moment_and_names_the_key(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.reboot(way="power_loss")
    rig.sleep(60)
    rig.connect()
    rig.make_safe()
    before = rig.loop.time()
    error = rig.refused_door(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired)
    assert error.keys == (key("kek-1"),)
    assert rig.loop.time() - before < 15
    told = len(rig.controller.rung)
    error = rig.refused_command(HostPowerOnVm(vm=VM))  # vCenter itself is not asked back
    assert isinstance(error, EncryptionKeyRequired)
    assert len(rig.controller.rung) == told


def test_a_vcenter_that_stays_away_is_rung_for_all_the_time(rig: Rig) -> None:
    """Pauses grow to thirty seconds and no longer: who comes back is found within a minute."""
    rig.add_vcenter()
    rig.add_host()
    rig.power_on()
    rig.sleep(3000)
    assert 50 <= len(rig.kinds("uplink.failed")) <= 200


def test_after_a_connection_the_pauses_begin_small_again(rig: Rig) -> None:
    """A vCenter that only restarts is found at once, however long it was away before."""
    rig.add_vcenter()
    rig.add_host()
    rig.power_on()
    rig.sleep(300)
    rig.power_on(VCENTER)
    rig.sleep(60)
    rig.connect()
    before = len(rig.controller.rung)
    rig.sleep(31)  # three heartbeats of silence
    rig.sleep(25)
    assert len(rig.controller.rung) - before >= 4
