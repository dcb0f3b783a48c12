"""Stories of A22: which events come, and in which order."""

from __future__ import annotations

import pytest

from protocol.errors import EncryptionKeyRequired
from protocol.events import EventTypeId as E
from protocol.messages.host.session import HostProblem
from protocol.messages.vcenter.inventory import AcknowledgeAlarm, ListEvents, ListHosts
from protocol.messages.vcenter.vms import PowerOnVm
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KmipState,
    NodeName,
    PowerState,
    Role,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from services.vcenter.key_server_status import AlarmId
from services.vcenter.knobs import VcenterKnobs
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import KMS, VM, A, B, P, Rig

VM2 = VmName("vm-02")


def cluster_of_two(rig: Rig) -> None:
    """Hosts A and B, an encrypted VM on each, everything in place."""
    rig.up(A, B)
    rig.vm(VM, A)
    rig.vm(VM2, B)
    rig.sleep(5)


def about(rig: Rig, after: int, *, host: NodeName) -> list[E]:
    return [e.event for e in rig.events(after) if e.host == host or e.host is None]


def test_kms_lost_then_host_reboot_then_kms_back(rig: Rig) -> None:
    cluster_of_two(rig)
    rig.cut((VCENTER, KMS))
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(60)
    assert about(rig, mark, host=A) == [
        E.KMS_UNREACHABLE,
        E.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR,
        E.VM_LOCKED_KMS_CLUSTER_ERROR,
    ]
    locked = next(e for e in rig.events(mark) if e.event is E.VM_LOCKED_KMS_CLUSTER_ERROR)
    assert (locked.vm, locked.provider, locked.keys) == (VM, P, (rig.key_of(),))  # LOCK-07
    vm = rig.vm_info()
    assert (vm.crypto, vm.connection) == (VmCryptoState.LOCKED, VmConnectionState.INVALID)
    assert isinstance(rig.refused(PowerOnVm(vm=VM)), EncryptionKeyRequired)
    assert rig.host_info(A).crypto_state is HostCryptoState.PREPARED
    assert rig.vm_info(VM2).crypto is VmCryptoState.UNLOCKED  # B has its cache
    rig.sleep(700)
    told = about(rig, mark, host=A)
    assert sorted(set(told)) == sorted(told), "nothing is told twice"

    rig.heal()
    mark = rig.mark()
    rig.sleep(330)
    assert about(rig, mark, host=A) == [E.HOST_CRYPTO_ENABLED, E.VM_UNLOCKED]
    vm = rig.vm_info()
    assert (vm.crypto, vm.connection, vm.power) == (
        VmCryptoState.UNLOCKED,
        VmConnectionState.CONNECTED,
        PowerState.OFF,  # unlocking powers nothing on
    )
    assert rig.power_on_vm().power is PowerState.ON


def test_each_boot_tells_anew_that_the_host_needs_its_mode(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.cut((VCENTER, KMS))
    mark = rig.mark()
    for _ in range(2):
        rig.reboot(A)
        rig.sleep(400)
    assert rig.ids(mark).count(E.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR) == 2
    assert rig.ids(mark).count(E.VM_LOCKED_KMS_CLUSTER_ERROR) == 1  # it is locked already


def test_a_host_that_loses_its_mode_again_in_one_boot_is_told_of_again(rig: Rig) -> None:
    """It was made safe meanwhile: that trouble was over."""
    rig.up(A)
    rig.vm(VM)
    mark = rig.mark()
    for times in (1, 2):
        rig.cut((VCENTER, KMS))
        rig.hosts[A].crypto_state = HostCryptoState.PREPARED
        rig.sleep(330)
        assert rig.ids(mark).count(E.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR) == times
        rig.heal()
        rig.sleep(330)
        assert rig.hosts[A].crypto_state is HostCryptoState.SAFE


def test_a_pass_waits_for_a_silent_key_server_once(rig: Rig) -> None:
    """Host key and VM keys come from the same server: its silence is heard once per pass."""
    rig.up(A)
    rig.vm(VM)
    rig.cut((VCENTER, KMS))
    rig.reboot(A)
    rig.sleep(1)
    began = rig.loop.time()
    while rig.vm_info().lock_event is None:
        rig.sleep(0.5)
    assert rig.loop.time() - began < 1.5 * VcenterKnobs().request_timeout_s


def test_key_destroyed_then_host_reboot(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.vm(VM2)
    rig.servers[KMS].set_state(rig.key_of(VM).key_id, KmipState.DESTROYED)
    mark = rig.mark()
    rig.sleep(650)
    assert rig.ids(mark) == [E.KMS_KEYS_UNUSABLE]  # the cache hides it from VM and host
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(60)
    assert rig.ids(mark) == [E.HOST_CRYPTO_ENABLED, E.VM_LOCKED_KEY_MISSING_ON_KMS]
    assert rig.events(mark)[-1].vm == VM
    assert rig.vm_info(VM2).crypto is VmCryptoState.UNLOCKED


@pytest.mark.parametrize("state", [KmipState.DEACTIVATED, KmipState.COMPROMISED])
def test_key_not_active(rig: Rig, state: KmipState) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.servers[KMS].set_state(rig.key_of(VM).key_id, state)
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(60)
    assert rig.ids(mark) == [E.HOST_CRYPTO_ENABLED, E.VM_LOCKED_KEY_MISSING_ON_KMS]
    assert "KeyStateNotActiveOrEnabled" in rig.events(mark)[-1].text


def test_a_pre_active_key_is_activated_and_used(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    key = rig.key_of(VM)
    rig.servers[KMS].set_state(key.key_id, KmipState.PRE_ACTIVE)
    rig.reboot(A)
    rig.sleep(60)
    assert rig.servers[KMS].keys[key.key_id][1] is KmipState.ACTIVE
    assert key in rig.hosts[A].cache


def test_the_same_with_persistence_tells_nothing_of_host_and_vm(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.hosts[A].persistence = True
    rig.cut((VCENTER, KMS))
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(700)
    assert rig.ids(mark) == [E.KMS_UNREACHABLE]
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED
    assert rig.power_on_vm().power is PowerState.ON


def test_the_first_failed_contact_is_told_once_and_at_the_latest_by_the_health_check(
    rig: Rig,
) -> None:
    rig.up(A)
    rig.cut((VCENTER, KMS))
    mark = rig.mark()
    rig.sleep(311)
    assert rig.ids(mark) == [E.KMS_UNREACHABLE]
    rig.sleep(900)
    assert rig.ids(mark) == [E.KMS_UNREACHABLE]
    rig.heal()
    rig.sleep(301)
    rig.cut((VCENTER, KMS))
    rig.sleep(311)
    assert rig.ids(mark) == [E.KMS_UNREACHABLE, E.KMS_UNREACHABLE]


def test_a_running_vm_is_never_locked(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.power_on_vm()
    rig.cut((VCENTER, KMS))
    rig.hosts[A].cache.pop(rig.key_of())
    mark = rig.mark()
    rig.sleep(1300)
    locks = [e for e in rig.ids(mark) if "VMLocked" in e.value]
    assert locks == [] and rig.vm_info().crypto is VmCryptoState.UNLOCKED


def test_a_missing_key_that_can_be_had_is_repaired_in_silence(rig: Rig) -> None:
    """LOCK-01: vCenter was down while the host booted; the way to the key is open."""
    rig.up(A)
    rig.vm(VM)
    mark = rig.mark()
    rig.power_off(VCENTER)
    rig.reboot(A)
    rig.sleep(100)
    rig.power_on(VCENTER)
    rig.sleep(60)
    assert [e for e in rig.ids(mark) if "VMLocked" in e.value] == []
    assert rig.power_on_vm().power is PowerState.ON


def test_locked_at_first_sight_when_the_way_of_supply_is_shut(rig: Rig) -> None:
    """F2, then vCenter comes back with its way to the KMS cut."""
    rig.up(A)
    rig.vm(VM)
    rig.power_off(VCENTER)
    rig.reboot(A)
    rig.sleep(60)
    rig.cut((VCENTER, KMS))
    rig.power_on(VCENTER)
    rig.sleep(60)
    vm = rig.vm_info()
    assert vm.lock_event is E.VM_LOCKED_KMS_CLUSTER_ERROR
    assert vm.connection is VmConnectionState.INVALID
    rig.heal()
    mark = rig.mark()
    rig.sleep(330)
    assert E.VM_UNLOCKED in rig.ids(mark)


def test_marks_and_events_survive_a_crash_of_vcenter(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.cut((VCENTER, KMS))
    rig.reboot(A)
    rig.sleep(60)
    before = rig.events()
    assert rig.vm_info().lock_event is not None
    rig.reboot(VCENTER)
    assert rig.vm_info().lock_event is E.VM_LOCKED_KMS_CLUSTER_ERROR
    assert rig.events()[: len(before)] == before
    rig.sleep(100)
    again = [e for e in rig.ids(before[-1].sequence) if "VMLocked" in e.value]
    assert again == [], "the mark is there: it is not told again"


def test_a_new_recovery_key_is_told_once(rig: Rig) -> None:
    rig.add(A, Role.ESXI)
    rig.hosts[A].recovery_id = "{ID-1}"
    rig.host(A)
    rig.sleep(700)
    rig.reboot(A)
    rig.sleep(30)
    assert rig.ids().count(E.HOST_TPM_CONFIG_ENCRYPTION) == 1
    rig.hosts[A].recovery_id = "{ID-2}"
    rig.sleep(301)
    assert rig.ids().count(E.HOST_TPM_CONFIG_ENCRYPTION) == 2


def test_the_alarm_of_a_recovery_key_ends_with_the_key(rig: Rig) -> None:
    """A host that was installed anew, or went back to a release without one (UPG-02), has none."""

    def alarms() -> tuple[str, ...]:
        return next(host for host in rig.do(ListHosts()).hosts if host.host == A).alarms

    rig.add(A, Role.ESXI)
    rig.hosts[A].recovery_id = "{ID-1}"
    rig.host(A)
    rig.sleep(30)
    assert AlarmId.HOST_RECOVERY_KEY in alarms()
    rig.hosts[A].recovery_id = ""
    rig.sleep(301)
    assert AlarmId.HOST_RECOVERY_KEY not in alarms()
    assert rig.ids().count(E.HOST_TPM_CONFIG_ENCRYPTION) == 1, "no key is no news to be kept"
    rig.hosts[A].recovery_id = "{ID-1}"
    rig.sleep(301)
    assert AlarmId.HOST_RECOVERY_KEY in alarms()
    rig.do(AcknowledgeAlarm(host=A))
    assert AlarmId.HOST_RECOVERY_KEY not in alarms()


def problem(number: int) -> HostProblem:
    text = f"/bin/hostd crashed ({number} time(s) so far)"
    key = CryptoKeyId(KeyId("host-key"), P)
    return HostProblem(number=number, event=E.HOSTD_CORE_DUMPED, text=text, key=key)


def test_a_problem_without_key_and_vm_is_told_of_the_host(rig: Rig) -> None:
    rig.up(A)
    no_room = HostProblem(number=1, event=E.TPM2_PROVISIONING, text="it could not be provisioned")
    rig.hosts[A].problems.append(no_room)
    rig.sleep(20)
    (told,) = [e for e in rig.events() if e.event is E.TPM2_PROVISIONING]
    assert (told.host, told.vm, told.provider, told.keys) == (A, None, None, ())


def test_a_problem_of_a_host_is_told_once_in_each_boot(rig: Rig) -> None:
    """DUMP-02: at the next heartbeat; a restart of vCenter tells nothing again."""
    rig.up(A)
    rig.hosts[A].problems.append(problem(1))
    rig.sleep(20)
    (told,) = [e for e in rig.events() if e.event is E.HOSTD_CORE_DUMPED]
    assert (told.host, told.provider) == (A, P) and "1 time(s)" in told.text
    rig.reboot(VCENTER)
    rig.sleep(30)
    rig.hosts[A].problems.append(problem(2))
    rig.sleep(20)
    assert rig.ids().count(E.HOSTD_CORE_DUMPED) == 2
    rig.hosts[A].problems[:] = [problem(1)]
    rig.reboot(A)
    rig.sleep(30)
    assert rig.ids().count(E.HOSTD_CORE_DUMPED) == 3


def test_a_host_without_vms_of_its_own_is_told_of_by_send_key_error(rig: Rig) -> None:
    """PT03: the new host gets every key but the destroyed one."""
    rig.up(A)
    rig.vm(VM)
    rig.vm(VM2)
    rig.servers[KMS].set_state(rig.key_of(VM).key_id, KmipState.DESTROYED)
    mark = rig.mark()
    rig.host(B)
    assert rig.ids(mark) == [E.HOST_CRYPTO_ENABLED, E.KMS_SEND_KEY_ERROR_KEY_MISSING]
    assert rig.events(mark)[-1].keys == (rig.key_of(VM),)
    assert rig.key_of(VM2) in rig.hosts[B].cache and rig.key_of(VM) not in rig.hosts[B].cache
    assert rig.host_info(B).crypto_state is HostCryptoState.SAFE


def test_events_are_listed_in_pages(rig: Rig) -> None:
    cluster_of_two(rig)
    everything = rig.events()
    assert [e.sequence for e in everything] == list(range(1, len(everything) + 1))
    page = rig.do(ListEvents(after=2, limit=2)).events
    assert list(page) == everything[2:4]
    assert rig.do(ListEvents(limit=-1)).events == ()


def test_a_safe_host_is_not_told_as_unsafe_because_its_next_key_cannot_be_had(rig: Rig) -> None:
    """It goes on with the old one, and changes it when the key server is back."""
    rig.up(A)
    rig.vm()
    recorded = rig.hosts[A].host_key
    old = CryptoKeyId(KeyId("an older one"), P)
    rig.sleep(30)
    rig.cut((VCENTER, KMS))
    rig.hosts[A].host_key = old
    mark = rig.mark()
    rig.sleep(330)
    assert not [event for event in rig.ids(mark) if "ReqEnable" in event.value]
    assert rig.hosts[A].host_key == old
    rig.heal()
    rig.sleep(400)
    assert rig.hosts[A].host_key == recorded
