"""An older archive that was put back: by default it boots, with ``archive_counter`` it does not."""

from __future__ import annotations

import pytest

from protocol.messages.agent import NodeRunState, TpmBackend
from services.esxi.boot import SCREEN_B
from services.esxi.configuration.archive import find_rollback
from services.runtime.tpm.device import TpmDevice
from tests.services.esxi.rig import A, Rig, key

FILE = "bootbank/state.tgz"
COUNTING = {"archive_counter": True}
BACKENDS = [
    TpmBackend.MODEL,
    pytest.param(TpmBackend.LIBTPMS, marks=pytest.mark.tpm, id="libtpms"),
]
REMOVE = "system security keypersistence disable --remove-all-stored-keys"
SET = "system settings encryption set --mode=TPM"


def _device(rig: Rig) -> TpmDevice:
    found = rig.world.device(A)
    assert found is not None
    return found


def _stored(rig: Rig) -> None:
    assert rig.esxcli("system security keypersistence enable").exit_code == 0
    rig.make_safe()
    rig.add_keys(key("kek-1"))


def _digits(rig: Rig) -> str:
    table = rig.esxcli("system settings encryption recovery list").output
    return table.splitlines()[2].split()[1]


def _put_back_after_removal(rig: Rig) -> str:
    """Copy the archive, have all keys removed, put the copy back; the recovery key."""
    _stored(rig)
    digits = _digits(rig)
    older = rig.store().on_disk.read(FILE)
    assert rig.esxcli(REMOVE).exit_code == 0
    assert rig.summary().stored_keys == 0
    rig.power_off()
    rig.store().on_disk.write(FILE, older)
    return digits


def test_the_product_does_not_notice_an_older_archive(rig: Rig) -> None:
    rig.up()
    _put_back_after_removal(rig)
    assert rig.power_on().state is NodeRunState.RUNNING
    assert (rig.summary().key_persistence, rig.summary().stored_keys) == (True, 2)


@pytest.mark.parametrize("tpm", BACKENDS)
def test_the_counter_stops_at_an_older_archive_until_it_is_taken_on_purpose(
    rig: Rig, tpm: TpmBackend
) -> None:
    rig.up(knobs=COUNTING, tpm=tpm)
    digits = _put_back_after_removal(rig)
    status = rig.power_on()
    assert (status.state, status.screen) == (NodeRunState.HALTED, SCREEN_B)
    assert "older archive was put back" in rig.kinds("boot.stopped")[-1]["reason"]
    rig.power_off()
    assert rig.power_on(encryptionRecoveryKey=digits).state is NodeRunState.RUNNING
    assert rig.esxcli(SET).exit_code == 0
    rig.reboot()
    assert rig.status().state is NodeRunState.RUNNING


@pytest.mark.parametrize("way", ["stop", "crash", "power_loss"])
def test_the_last_archive_always_boots(rig: Rig, way: str) -> None:
    rig.up(knobs=COUNTING)
    _stored(rig)
    for number in range(3):
        rig.reboot(way=way)
        assert rig.summary().stored_keys == 2 + number
        rig.connect()
        rig.add_keys(key(f"more-{number}"))


def test_a_save_that_was_cut_before_the_counter_rose_is_made_up_for(rig: Rig) -> None:
    rig.up(knobs=COUNTING)
    _stored(rig)
    before = _device(rig).snapshot()
    rig.add_keys(key("kek-2"))
    rig.power_off(way="crash")
    _device(rig).restore(before)  # as if the host had fallen right before it raised the counter
    older = rig.store().on_disk.read(FILE)
    assert rig.power_on().state is NodeRunState.RUNNING
    assert rig.summary().stored_keys == 3
    rig.connect()
    rig.add_keys(key("kek-3"))
    rig.power_off()
    rig.store().on_disk.write(FILE, older)
    assert rig.power_on().screen == SCREEN_B


def test_the_counter_rises_only_behind_an_archive_that_is_on_disk(rig: Rig) -> None:
    """Raised before, it would call the last archive an older one, at every later boot."""
    rig.up(knobs=COUNTING)
    _stored(rig)
    rig.store().full = True
    assert rig.esxcli("system security keypersistence disable").exit_code == 1
    rig.store().full = False
    rig.reboot(way="power_loss")
    assert rig.status().state is NodeRunState.RUNNING
    assert rig.summary().stored_keys == 2


def test_a_tpm_that_was_put_back_far_is_noticed_too(rig: Rig) -> None:
    rig.up(knobs=COUNTING)
    before = _device(rig).snapshot()
    _stored(rig)
    rig.power_off()
    _device(rig).restore(before)
    assert rig.power_on().screen == SCREEN_B
    assert "TPM's state was put back" in rig.kinds("boot.stopped")[-1]["reason"]


def test_a_tpm_that_does_not_count_refuses_the_save(rig: Rig) -> None:
    rig.up(knobs=COUNTING)
    _device(rig).fail_nv(True)
    refused = rig.esxcli("system security keypersistence enable")
    assert refused.exit_code == 1
    assert "could not be saved" in refused.output


@pytest.mark.parametrize(
    ("archive", "tpm", "word"),
    [
        (0, None, ""),
        (1, None, "no counter"),
        (5, 5, ""),
        (6, 5, ""),
        (4, 5, "older archive"),
        (0, 1, "older archive"),
        (7, 5, "TPM's state"),
    ],
)
def test_the_verdict(archive: int, tpm: int | None, word: str) -> None:
    found = find_rollback(archive, tpm)
    assert (word in found) if word else (found == "")
