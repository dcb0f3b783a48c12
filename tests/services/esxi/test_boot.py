"""The boot: what survives it, what stops it, and the three screens (B0 to B9)."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.messages.agent import Firmware, FirmwareEvent, NodeRunState, TpmBackend
from protocol.messages.host.crypto import GetCryptoKeyStatus
from protocol.messages.host.session import SaveConfiguration
from protocol.terms import HostCryptoState, ProtectionMode
from protocol.tpm.errors import RC_FAILURE, tpm_error
from protocol.tpm.event_log import parse_log, replay
from protocol.tpm.structures import EventType, PcrSelection
from services.esxi.boot import SCREEN_A, SCREEN_B, SCREEN_C
from services.esxi.keys.key_cache import KeyCache
from services.runtime.tpm.device import TpmDevice
from tests.services.esxi.rig import HOST_KEY, A, B, Rig, key

BACKENDS = [
    TpmBackend.MODEL,
    pytest.param(TpmBackend.LIBTPMS, marks=pytest.mark.tpm, id="libtpms"),
]
WAYS = ("stop", "crash", "power_loss")
EXEC = "execInstalledOnly"


def device(rig: Rig) -> TpmDevice:
    found = rig.world.device(A)
    assert found is not None
    return found


def recovery_digits(rig: Rig) -> str:
    table = rig.esxcli("system settings encryption recovery list").output
    return table.splitlines()[2].split()[1]


def stored_host(rig: Rig, **host: Any) -> None:
    """A safe host with two keys in its persisted store."""
    rig.up(**host)
    assert rig.esxcli("system security keypersistence enable").exit_code == 0
    rig.make_safe()
    rig.add_keys(key("kek-1"))


def store_is_back(rig: Rig) -> bool:
    status = rig.console(GetCryptoKeyStatus(keys=(HOST_KEY, key("kek-1")))).keys
    safe = rig.summary().crypto_state is HostCryptoState.SAFE
    return safe and all(entry.present and entry.stored for entry in status)


def halts(rig: Rig, screen: str, **options: str) -> bool:
    """Whether a boot ends at exactly this screen, without a word to anybody."""
    sent: list[str] = []
    rig.broker.tap = lambda subject, reply, payload: sent.append(subject)
    status = rig.power_on(**options)
    rig.sleep(60)
    rig.broker.tap = None
    spoken = [subject for subject in sent if f".{A}." in subject and f"l.{A}.{A}." not in subject]
    return (
        status.state is NodeRunState.HALTED
        and rig.status().screen == screen
        and not [s for s in spoken if s.startswith(f"l.{A}.")]
    )


@pytest.mark.parametrize("tpm", BACKENDS)
def test_the_event_log_replays_to_the_pcrs(rig: Rig, tpm: TpmBackend) -> None:
    rig.up(tpm=tpm)
    every = PcrSelection(tuple(range(16)))
    events = parse_log(rig.host().event_log)
    assert len(events) > 20
    values = {pcr: device(rig).pcrs(PcrSelection((pcr,)))[pcr] for pcr in every.pcrs}
    assert replay(events, every) == values


@pytest.mark.parametrize("tpm", BACKENDS)
@pytest.mark.parametrize(("way", "safe"), [("stop", True), ("crash", False), ("power_loss", False)])
def test_only_an_orderly_stop_shuts_the_tpm_down(
    rig: Rig, tpm: TpmBackend, way: str, safe: bool
) -> None:
    rig.up(tpm=tpm)
    rig.reboot(way=way)
    assert device(rig).info().safe is safe


def test_steps_come_in_order_and_take_their_time(rig: Rig) -> None:
    rig.up()
    rig.sleep(30)
    steps = [r for r in rig.records if r.kind == "boot.step"]
    names = [r.fields["step"] for r in steps]
    assert names == ["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B9"]
    at = dict(zip(names, (r.at for r in steps), strict=True))
    for step, earlier in (("B4", "B3"), ("B5", "B4"), ("B6", "B5"), ("B7", "B6"), ("B8", "B7")):
        assert at[step] - at[earlier] >= 1.0
    rig.reboot(way="power_loss")
    rig.sleep(30)
    again = [r.fields for r in rig.records if r.kind == "boot.step"][len(steps) :]
    assert [fields["step"] for fields in again] == names
    assert {"text": "configuration", "stored": 0, "vms": 0}.items() <= again[3].items()


def forgets(rig: Rig, way: str) -> bool:
    """Whether a host without persistence comes back prepared, with no key, naming its host key."""
    rig.up()
    rig.make_safe()
    rig.add_keys(key("kek-1"))
    assert rig.summary().cached_keys == 2
    rig.reboot(way=way)
    now = rig.summary()
    assert now.crypto_key_id == HOST_KEY
    return (now.cached_keys, now.stored_keys) == (0, 0) and (
        now.crypto_state is HostCryptoState.PREPARED
    )


@pytest.mark.parametrize("way", WAYS)
def test_the_key_cache_is_empty_after_every_reboot(rig: Rig, way: str) -> None:
    """A02, STD-13."""
    assert forgets(rig, way)


def test_a_host_that_keeps_its_cache_over_a_reboot_is_caught(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: one cache for all lives."""
    kept = KeyCache()
    monkeypatch.setattr("services.esxi.host.KeyCache", lambda: kept)
    assert not forgets(rig, "stop")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("tpm", BACKENDS)
def test_persisted_keys_come_back_before_a_word_is_said(
    rig: Rig, tpm: TpmBackend, way: str
) -> None:
    """A03: safe with its keys, with nobody asked: vCenter is down."""
    stored_host(rig, tpm=tpm)
    rig.power_off("vcenter", "crash")  # type: ignore[arg-type]
    rig.reboot(way=way)
    assert store_is_back(rig)
    assert not [r for r in rig.records if r.boot == 2 and r.kind == "uplink.failed"]


@pytest.mark.parametrize("tpm", BACKENDS)
def test_secure_boot_off_stops_the_boot_and_on_again_brings_all_back(
    rig: Rig, tpm: TpmBackend
) -> None:
    stored_host(rig, tpm=tpm)
    rig.power_off()
    rig.set_firmware(secure_boot=False)
    assert halts(rig, SCREEN_A)
    rig.power_off()
    rig.set_firmware(secure_boot=True)
    assert rig.power_on().state is NodeRunState.RUNNING
    assert store_is_back(rig)


def test_an_unseal_that_ignores_pcrs_is_caught(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the test above: sealed to the TPM only, the changed boot goes on."""
    monkeypatch.setattr(
        "services.esxi.configuration.sealing.sealing_selection", lambda *a, **k: PcrSelection((23,))
    )
    stored_host(rig)
    rig.power_off()
    rig.set_firmware(secure_boot=False)
    assert not halts(rig, SCREEN_A)


@pytest.mark.parametrize("tpm", BACKENDS)
@pytest.mark.parametrize("act", ["clear", "swap", "disabled"])
def test_a_lost_tpm_stops_the_boot_and_the_recovery_key_brings_the_store_back(
    rig: Rig, tpm: TpmBackend, act: str
) -> None:
    """A06, A07, REC-05. The rebound configuration then boots by itself again."""
    stored_host(rig, tpm=tpm)
    digits = recovery_digits(rig)
    rig.power_off()
    if act == "clear":
        device(rig).clear()
    elif act == "swap":
        device(rig).swap()
    else:
        rig.set_firmware(tpm_enabled=False)
    assert halts(rig, SCREEN_A)
    rig.power_off()
    assert rig.power_on(encryptionRecoveryKey=digits).state is NodeRunState.RUNNING
    assert store_is_back(rig)
    rig.power_off()
    assert halts(rig, SCREEN_A)  # not bound to the present TPM yet
    rig.power_off()
    if act == "disabled":
        rig.set_firmware(tpm_enabled=True)
    else:
        rig.power_on(encryptionRecoveryKey=digits)
        assert rig.esxcli("system settings encryption set --mode=TPM").exit_code == 0
        rig.power_off(way="power_loss")
    assert rig.power_on().state is NodeRunState.RUNNING
    assert store_is_back(rig)


def test_wrong_and_malformed_recovery_keys(rig: Rig) -> None:
    """Screens B and C; the right one may be typed afterwards (SC-28)."""
    stored_host(rig)
    digits = recovery_digits(rig)
    wrong = "-".join(reversed(digits.split("-")))
    rig.power_off()
    device(rig).clear()
    for typed, screen in (
        (wrong, SCREEN_B),
        (digits[:-1], SCREEN_C),
        (digits + "-000000", SCREEN_C),
        ("", SCREEN_C),
        (digits.replace("-", " "), SCREEN_C),
    ):
        assert halts(rig, screen, encryptionRecoveryKey=typed)
        rig.power_off()
    assert rig.power_on(encryptionRecoveryKey=digits).state is NodeRunState.RUNNING
    assert store_is_back(rig)


def test_rotate_voids_the_old_recovery_key(rig: Rig) -> None:
    """A08; also when power is lost right after the command has answered."""
    stored_host(rig)
    old = recovery_digits(rig)
    assert rig.esxcli("system settings encryption recovery rotate").exit_code == 0
    new = recovery_digits(rig)
    assert new != old
    rig.power_off(way="power_loss")
    device(rig).clear()
    assert halts(rig, SCREEN_B, encryptionRecoveryKey=old)
    rig.power_off()
    assert rig.power_on(encryptionRecoveryKey=new).state is NodeRunState.RUNNING
    assert store_is_back(rig)


def test_a_recovery_key_on_a_host_without_one_cannot_be_used(rig: Rig) -> None:
    rig.up(tpm=TpmBackend.NONE)
    rig.power_off()
    assert halts(rig, SCREEN_C, encryptionRecoveryKey="-".join(["123456"] * 16))


def test_without_tpm_nothing_is_bound_to_the_boot(rig: Rig) -> None:
    """Mode NONE: Secure Boot may change, the host boots (R17)."""
    rig.up(tpm=TpmBackend.NONE)
    assert rig.summary().protection_mode is ProtectionMode.NONE
    rig.power_off()
    rig.set_firmware(secure_boot=False)
    assert rig.power_on().state is NodeRunState.RUNNING


def test_a_tpm_that_fails_at_first_boot_leaves_mode_none_until_it_is_set(rig: Rig) -> None:
    """CFG-01, CFG-02: NONE to TPM with a new config key; then the boot is bound."""
    rig.add_vcenter()
    rig.power_on("vcenter")  # type: ignore[arg-type]
    rig.add_host()
    device(rig).fail_nv(True)
    assert rig.power_on().state is NodeRunState.RUNNING
    assert rig.summary().protection_mode is ProtectionMode.NONE
    refused = rig.esxcli("system settings encryption set --mode=TPM")
    assert refused.exit_code == 1
    assert "TPM" in refused.output
    rig.power_off()
    device(rig).fail_nv(False)
    rig.power_on()
    old_key = rig.host().archive.config_key
    assert rig.esxcli("system security keypersistence enable").exit_code == 1
    assert rig.esxcli("system settings encryption set --mode=TPM").exit_code == 0
    assert rig.host().archive.config_key != old_key
    assert rig.esxcli("system security keypersistence enable").exit_code == 0
    assert [r["record"] for r in rig.kinds("audit")] == [
        "configenc.tpm.enable",
        "configenc.reqsb.enable",
    ]
    rig.power_off(way="power_loss")
    device(rig).clear()
    assert halts(rig, SCREEN_A)


def test_a_boot_that_could_not_be_measured_seals_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed under registers that nothing was measured into, no later boot could open it."""
    rig.add_vcenter()
    rig.power_on("vcenter")  # type: ignore[arg-type]
    rig.add_host()
    with monkeypatch.context() as failing:
        failing.setattr(type(device(rig)), "extend_log", _fails)
        assert rig.power_on().state is NodeRunState.RUNNING
        assert rig.summary().protection_mode is ProtectionMode.NONE
        refused = rig.esxcli("system settings encryption set --mode=TPM")
        assert (refused.exit_code, "was not measured" in refused.output) == (1, True)
    rig.reboot(way="power_loss")
    assert rig.esxcli("system settings encryption set --mode=TPM").exit_code == 0
    rig.reboot(way="power_loss")
    assert rig.status().state is NodeRunState.RUNNING


def _fails(*_: object) -> bytes:
    raise tpm_error(RC_FAILURE)


def test_a_dead_tpm_at_runtime_changes_nothing_until_the_next_boot(rig: Rig) -> None:
    """A dead TPM: the archive's key is in memory, so keys are persisted all the same."""
    stored_host(rig)
    digits = recovery_digits(rig)
    device(rig).fail_nv(True)
    rig.add_keys(key("kek-2"))
    rig.power_off(way="power_loss")
    assert halts(rig, SCREEN_A)
    rig.power_off()
    rig.power_on(encryptionRecoveryKey=digits)
    assert store_is_back(rig)
    assert rig.console(GetCryptoKeyStatus(keys=(key("kek-2"),))).keys[0].present


def test_lockout_of_the_tpm_does_not_stop_a_boot(rig: Rig) -> None:
    """Root key and blob have noDA: the real chip unseals while it is locked out."""
    stored_host(rig)
    device(rig).lockout()
    rig.reboot()
    assert store_is_back(rig)


def test_another_build_and_another_firmware_boot_but_a_strict_policy_stops_them(rig: Rig) -> None:
    """POL-02 and POL-06."""
    stored_host(rig)
    rig.power_off()
    rig.set_firmware(version="2.0")
    assert rig.power_on().state is NodeRunState.RUNNING
    assert store_is_back(rig)
    rig.add_host(B, knobs={"seal_pcrs": (0, 2, 4, 7)})
    rig.power_on(B)
    rig.power_off(B)
    rig.set_firmware(B, version="2.0")
    assert rig.power_on(B).screen == SCREEN_A


def test_a_measured_change_of_the_secure_boot_state_stops_the_boot(rig: Rig) -> None:
    stored_host(rig)
    rig.power_off()
    rig.set_firmware(extra=(FirmwareEvent(7, EventType.EFI_ACTION, b"a new db entry"),))
    assert halts(rig, SCREEN_A)


def test_secure_boot_is_required_after_it_was_turned_on_and_set(rig: Rig) -> None:
    """POL-03 both ways round."""
    stored_host(rig, firmware=Firmware(secure_boot=False))
    set_it = "system settings encryption set --require-secure-boot="
    assert rig.esxcli(set_it + "T").exit_code == 1  # not on
    rig.power_off()
    rig.set_firmware(secure_boot=True)
    assert rig.power_on().state is NodeRunState.RUNNING
    assert rig.esxcli(set_it + "T").exit_code == 0
    rig.power_off(way="power_loss")
    rig.set_firmware(secure_boot=False)
    assert halts(rig, SCREEN_A)
    rig.power_off()
    rig.set_firmware(secure_boot=True)
    rig.power_on()
    assert rig.esxcli(set_it + "F").exit_code == 0
    rig.power_off()
    rig.set_firmware(secure_boot=False)
    assert rig.power_on().state is NodeRunState.RUNNING
    assert store_is_back(rig)


def test_exec_only_is_enforced_by_the_tpm(rig: Rig) -> None:
    """POL-04: the option must be there at set time, and at every boot afterwards."""
    stored_host(rig)
    require = "system settings encryption set --require-exec-installed-only=T"
    assert rig.esxcli(require).exit_code == 1
    assert rig.esxcli(f"system settings kernel set -s {EXEC} -v TRUE").exit_code == 0
    assert rig.esxcli(require).exit_code == 1  # in force from the next boot
    rig.reboot(way="power_loss")
    assert rig.esxcli(require).exit_code == 0
    rig.reboot()
    assert store_is_back(rig)
    rig.power_off()
    assert halts(rig, SCREEN_A, **{EXEC: "FALSE"})
    rig.power_off()
    rig.power_on()
    assert store_is_back(rig)


def test_a_damaged_archive_stops_the_boot(rig: Rig) -> None:
    stored_host(rig)
    rig.power_off()
    good = rig.store().on_disk.read("bootbank/state.tgz")
    for damaged in (good[:-1], good[:40], b"", good[:-1] + bytes([good[-1] ^ 1])):
        rig.store().on_disk.write("bootbank/state.tgz", damaged)
        assert halts(rig, SCREEN_B)
        rig.power_off()
    rig.store().on_disk.write("bootbank/state.tgz", good)
    rig.power_on()
    assert store_is_back(rig)


def test_one_hosts_archive_does_not_open_on_anothers_tpm(rig: Rig) -> None:
    """A25, SC-43."""
    stored_host(rig)
    rig.add_host(B)
    rig.power_on(B)
    rig.power_off()
    rig.power_off(B)
    stolen = rig.store().on_disk.read("bootbank/state.tgz")
    own = rig.store(B).on_disk.read("bootbank/state.tgz")
    assert own != stolen
    rig.store(B).on_disk.write("bootbank/state.tgz", stolen)
    assert rig.power_on(B).screen == SCREEN_A


def test_saving_by_hand_is_durable(rig: Rig) -> None:
    rig.up(knobs={"config_save": "hourly"})
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.console(SaveConfiguration())
    rig.reboot(way="power_loss")
    assert rig.summary().stored_keys == 1
